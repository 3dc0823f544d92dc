"""Report control blocks, as a client sees them: read, enable, receive, resynchronise.

Source: IEC 61850-7-2 reporting, mapped by IEC 61850-8-1 (clauses unverified, via libiec61850).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from s4g_gateway.model import NS_PER_MS
from s4g_gateway.workers.libiec61850.client import Client, ClientError, ServiceError, check
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.values import MmsPython, decode, new_octets, owned


class Trigger(IntFlag):
    """TrgOps, as the library counts them."""

    DATA_CHANGE = 1
    QUALITY_CHANGE = 2
    DATA_UPDATE = 4
    INTEGRITY = 8
    GENERAL_INTERROGATION = 16


class Option(IntFlag):
    """OptFlds, as the library counts them."""

    SEQUENCE_NUMBER = 1
    TIME_STAMP = 2
    REASON = 4
    DATA_SET = 8
    DATA_REFERENCE = 16
    BUFFER_OVERFLOW = 32
    ENTRY_ID = 64
    CONF_REV = 128


class Inclusion(IntFlag):
    """Why a member stands in a report; 0 where it does not."""

    NOT_INCLUDED = 0
    DATA_CHANGE = 1
    QUALITY_CHANGE = 2
    DATA_UPDATE = 4
    INTEGRITY = 8
    GENERAL_INTERROGATION = 16
    UNKNOWN = 32


class RcbElement(IntFlag):
    """Elements of a report control block that a write may set."""

    RPT_ID = 1
    RPT_ENA = 2
    RESV = 4
    DATA_SET = 8
    OPT_FLDS = 32
    BUF_TM = 64
    TRG_OPS = 256
    INTG_PD = 512
    GI = 1024
    PURGE_BUF = 2048
    ENTRY_ID = 4096
    RESV_TMS = 16384


DEFAULT_TRIGGERS = (
    Trigger.DATA_CHANGE | Trigger.QUALITY_CHANGE | Trigger.INTEGRITY | Trigger.GENERAL_INTERROGATION
)
DEFAULT_OPTIONS = (
    Option.SEQUENCE_NUMBER
    | Option.TIME_STAMP
    | Option.REASON
    | Option.DATA_SET
    | Option.BUFFER_OVERFLOW
    | Option.ENTRY_ID
    | Option.CONF_REV
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RcbState:
    """A report control block as read from the server.

    Attributes:
        reference: such as ``ER1/LLN0.BR.brcb01``.
        rpt_id: RptID.
        enabled: RptEna.
        reserved: Resv of an unbuffered one.
        data_set: DatSet, such as ``ER1/LLN0$measurements``.
        conf_rev: ConfRev.
        buffered: BRCB or URCB.
        buffer_time_ms: BufTm.
        integrity_ms: IntgPd, 0 for none.
        reserve_s: ResvTms of a buffered one; None where the server has no such element.
        entry_id: EntryID of a buffered one, empty otherwise.
        owner: Owner, empty where nobody owns it or the server does not say.
    """

    reference: str
    rpt_id: str
    enabled: bool
    reserved: bool
    data_set: str
    conf_rev: int
    buffered: bool
    buffer_time_ms: int
    integrity_ms: int
    reserve_s: int | None
    entry_id: bytes
    owner: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """A report from the server.

    Attributes:
        rcb_reference: the control block it came through.
        rpt_id: RptID.
        data_set: DatSet; empty where the report does not carry it.
        sequence: SqNum, None where not carried.
        sub_sequence: SubSqNum, None where not carried.
        more_follows: true where another segment of this report follows.
        entry_id: EntryID; empty where not carried.
        time_ns: TimeOfEntry, None where not carried.
        overflow: true where a buffered block has lost reports.
        conf_rev: ConfRev, None where not carried.
        values: one per member of the data set; None where not included.
        reasons: one per member.
    """

    rcb_reference: str
    rpt_id: str
    data_set: str
    sequence: int | None
    sub_sequence: int | None
    more_follows: bool
    entry_id: bytes
    time_ns: int | None
    overflow: bool
    conf_rev: int | None
    values: tuple[MmsPython, ...]
    reasons: tuple[Inclusion, ...]


_REPORT_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("ascii", "replace")


def decode_report(report: int) -> ReceivedReport:
    """Copies a report of the library.

    Args:
        report: the ClientReport that the library lends to a callback.
    """
    lib = load()
    array = lib.ClientReport_getDataSetValues(report)
    size = lib.MmsValue_getArraySize(array) if array else 0
    reasons = tuple(Inclusion(lib.ClientReport_getReasonForInclusion(report, index)) for index in range(size))
    values = tuple(
        decode(lib.MmsValue_getElement(array, index)) if reason else None
        for index, reason in enumerate(reasons)
    )
    entry = decode(lib.ClientReport_getEntryId(report))
    has_sub = lib.ClientReport_hasSubSeqNum(report)
    return ReceivedReport(
        rcb_reference=_text(lib.ClientReport_getRcbReference(report)),
        rpt_id=_text(lib.ClientReport_getRptId(report)),
        data_set=_text(lib.ClientReport_getDataSetName(report))
        if lib.ClientReport_hasDataSetName(report)
        else "",
        sequence=lib.ClientReport_getSeqNum(report) if lib.ClientReport_hasSeqNum(report) else None,
        sub_sequence=lib.ClientReport_getSubSeqNum(report) if has_sub else None,
        more_follows=bool(has_sub and lib.ClientReport_getMoreSeqmentsFollow(report)),
        entry_id=entry if isinstance(entry, bytes) else b"",
        time_ns=lib.ClientReport_getTimestamp(report) * NS_PER_MS
        if lib.ClientReport_hasTimestamp(report)
        else None,
        overflow=bool(lib.ClientReport_hasBufOvfl(report) and lib.ClientReport_getBufOvfl(report)),
        conf_rev=lib.ClientReport_getConfRev(report) if lib.ClientReport_hasConfRev(report) else None,
        values=values,
        reasons=reasons,
    )


class ReportControl:
    """One report control block of a server.

    Args:
        client: the association.
        reference: such as ``ER1/LLN0.BR.brcb01`` or ``ER1/LLN0.RP.urcb01``.
    """

    def __init__(self, client: Client, reference: str) -> None:
        self._client = client
        self._lib: Any = load()
        self.reference = reference
        self._handler: Any = None
        self.faults = 0
        """How often the callback raised; the reports concerned are lost."""

    def read(self) -> RcbState:
        """Reads the block (GetBRCBValues, GetURCBValues).

        Raises:
            TransientError: no answer.
            ServiceError: the server refused.
        """
        block = self._get()
        try:
            return self._state(block)
        finally:
            self._lib.ClientReportControlBlock_destroy(block)

    def subscribe(self, on_report: Callable[[ReceivedReport], None], *, rpt_id: str) -> None:
        """Has reports delivered; do it before ``enable``, or the first ones are lost.

        Args:
            on_report: called on the library's thread with every report: be quick, call nothing back.
            rpt_id: RptID of the block, by which the library tells reports apart.
        """

        def deliver(parameter: int | None, report: int) -> None:
            del parameter
            try:
                on_report(decode_report(report))
            except Exception:  # noqa: BLE001 - a C caller knows no exceptions
                self.faults += 1

        handler = _REPORT_HANDLER(deliver)
        self._lib.IedConnection_installReportHandler(
            self._client.handle, self.reference.encode(), rpt_id.encode(), handler, None
        )
        self._handler = handler

    def enable(
        self,
        *,
        triggers: Trigger = DEFAULT_TRIGGERS,
        options: Option = DEFAULT_OPTIONS,
        integrity_ms: int | None = None,
        buffer_time_ms: int | None = None,
        data_set: str | None = None,
        reserve_s: int | None = None,
        entry_id: bytes | None = None,
        purge: bool = False,
        interrogate: bool = False,
    ) -> RcbState:
        """Reserves the block, sets it up and enables it.

        Args:
            triggers: TrgOps.
            options: OptFlds.
            integrity_ms: IntgPd; None leaves it.
            buffer_time_ms: BufTm; None leaves it.
            data_set: DatSet, such as ``ER1/LLN0$measurements``; None leaves it.
            reserve_s: ResvTms of a buffered block; None reserves an unbuffered one and leaves a buffered one.
            entry_id: EntryID of the last report received: the server goes on after it.
            purge: drop what is buffered.
            interrogate: ask for a general interrogation right away.

        Returns:
            The block as read before.

        Raises:
            TransientError: no answer.
            ServiceError: refused; TEMPORARILY_UNAVAILABLE or ACCESS_DENIED where another client has it.
        """
        lib = self._lib
        block = self._get()
        try:
            before = self._state(block)
            mask = RcbElement.TRG_OPS | RcbElement.OPT_FLDS
            lib.ClientReportControlBlock_setTrgOps(block, int(triggers))
            lib.ClientReportControlBlock_setOptFlds(block, int(options))
            if before.buffered and reserve_s is not None and before.reserve_s is not None:
                lib.ClientReportControlBlock_setResvTms(block, reserve_s)
                self._set(block, RcbElement.RESV_TMS)
            elif not before.buffered:
                lib.ClientReportControlBlock_setResv(block, True)
                self._set(block, RcbElement.RESV)
            if integrity_ms is not None:
                lib.ClientReportControlBlock_setIntgPd(block, integrity_ms)
                mask |= RcbElement.INTG_PD
            if buffer_time_ms is not None:
                lib.ClientReportControlBlock_setBufTm(block, buffer_time_ms)
                mask |= RcbElement.BUF_TM
            if data_set is not None:
                lib.ClientReportControlBlock_setDataSetReference(block, data_set.encode())
                mask |= RcbElement.DATA_SET
            if purge and before.buffered:
                lib.ClientReportControlBlock_setPurgeBuf(block, True)
                mask |= RcbElement.PURGE_BUF
            self._set(block, mask)
            if entry_id and before.buffered and not purge:
                with owned(new_octets(entry_id)) as octets:
                    lib.ClientReportControlBlock_setEntryId(block, octets)
                self._set(block, RcbElement.ENTRY_ID)
            lib.ClientReportControlBlock_setRptEna(block, True)
            self._set(block, RcbElement.RPT_ENA)
        finally:
            lib.ClientReportControlBlock_destroy(block)
        if interrogate:
            self.interrogate()
        return before

    def disable(self) -> None:
        """Disables the block; its buffer stays."""
        block = self._get()
        try:
            self._lib.ClientReportControlBlock_setRptEna(block, False)
            self._set(block, RcbElement.RPT_ENA)
        finally:
            self._lib.ClientReportControlBlock_destroy(block)

    def interrogate(self) -> None:
        """Asks for a report of every member (GI)."""
        error = ctypes.c_int()
        self._lib.IedConnection_triggerGIReport(
            self._client.handle, ctypes.byref(error), self.reference.encode()
        )
        check(error.value, f"general interrogation of {self.reference}")

    def _get(self) -> int:
        error = ctypes.c_int()
        block = self._lib.IedConnection_getRCBValues(
            self._client.handle, ctypes.byref(error), self.reference.encode(), None
        )
        check(error.value, f"read {self.reference}")
        if not block:
            raise ServiceError(f"read {self.reference}", ClientError.OBJECT_DOES_NOT_EXIST)
        return int(block)

    def _set(self, block: int, mask: RcbElement) -> None:
        error = ctypes.c_int()
        self._lib.IedConnection_setRCBValues(
            self._client.handle, ctypes.byref(error), block, int(mask), False
        )
        check(error.value, f"set {self.reference} ({mask.name})")

    def _state(self, block: int) -> RcbState:
        lib = self._lib
        entry = decode(lib.ClientReportControlBlock_getEntryId(block))
        owner = decode(lib.ClientReportControlBlock_getOwner(block))
        has_reserve = lib.ClientReportControlBlock_hasResvTms(block)
        return RcbState(
            reference=self.reference,
            rpt_id=_text(lib.ClientReportControlBlock_getRptId(block)),
            enabled=lib.ClientReportControlBlock_getRptEna(block),
            reserved=lib.ClientReportControlBlock_getResv(block),
            data_set=_text(lib.ClientReportControlBlock_getDataSetReference(block)),
            conf_rev=lib.ClientReportControlBlock_getConfRev(block),
            buffered=lib.ClientReportControlBlock_isBuffered(block),
            buffer_time_ms=lib.ClientReportControlBlock_getBufTm(block),
            integrity_ms=lib.ClientReportControlBlock_getIntgPd(block),
            reserve_s=lib.ClientReportControlBlock_getResvTms(block) if has_reserve else None,
            entry_id=entry if isinstance(entry, bytes) else b"",
            owner=owner if isinstance(owner, bytes) else b"",
        )
