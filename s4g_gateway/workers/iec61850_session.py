"""One association with an IEC 61850 server: what it declares, its reports, its readings.

Source: IEC 61850-7-2 reporting and data sets (clauses unverified, via libiec61850).
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from s4g_gateway.errors import TransientError
from s4g_gateway.model import Reason
from s4g_gateway.model import quality as q
from s4g_gateway.workers.contract import Channel
from s4g_gateway.workers.iec61850_entries import EntryFile
from s4g_gateway.workers.iec61850_layout import Layout, PointTask, Scaling, layout, read_parts, scaling
from s4g_gateway.workers.libiec61850.client import (
    FC,
    Client,
    ClientError,
    ConnectionState,
    DirectoryKind,
    ServiceError,
)
from s4g_gateway.workers.libiec61850.reports import RcbState, ReceivedReport, ReportControl
from s4g_gateway.workers.libiec61850.values import MmsPython

_BUSY: Final = (ClientError.TEMPORARILY_UNAVAILABLE, ClientError.ACCESS_DENIED)
# Entry ids kept to know a repeat.
_REMEMBERED: Final = 256
_RESERVE_S: Final = 60


@dataclass(slots=True)
class Subscription:
    """An enabled report control block."""

    control: ReportControl
    state: RcbState
    # By member of its data set: (point, where its parts stand).
    places: list[list[tuple[int, Layout]]]
    # Without a report to go on after, what the buffer has lost is nothing that was ours.
    resumes: bool = False
    seen: deque[bytes] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Columns:
    """The latest values, qualities and times of all points."""

    def __init__(self, size: int) -> None:
        self.values: list[float | int | bool | str | None] = [None] * size
        self.quality = [q.INVALID | q.OLD_DATA] * size
        self.times_ns = [0] * size


class Session:
    """An association, from connecting to its end; everything blocks.

    Args:
        channel: to the gateway.
        tasks: the points, in the order of the DataSet.
        reports: ``buffered``, ``unbuffered`` or ``none``: the kind of reports preferred.
        period_s: how often everything is told, and what no report carries is read.
        entries: ids of the last buffered reports.
        connect_timeout_s: longest wait for the association.
        request_timeout_s: longest wait for an answer.
    """

    def __init__(
        self,
        channel: Channel,
        tasks: tuple[PointTask, ...],
        *,
        reports: str,
        period_s: float,
        entries: EntryFile,
        connect_timeout_s: float,
        request_timeout_s: float,
    ) -> None:
        self._channel, self._tasks = channel, tasks
        self._reports, self._period_s, self._entries = reports, period_s, entries
        self._queue: queue.SimpleQueue[tuple[Subscription, ReceivedReport] | None] = queue.SimpleQueue()
        self._columns = Columns(len(tasks))
        self._scalings: list[Scaling] = []
        self._polls: list[tuple[str, FC, list[tuple[int, Layout]]]] = []
        self._subscriptions: list[Subscription] = []
        self.client = Client(
            on_state=self._state_changed,
            connect_timeout_s=connect_timeout_s,
            request_timeout_s=request_timeout_s,
        )

    def wake(self) -> None:
        """Ends a wait of ``serve``; from any thread."""
        self._queue.put(None)

    def connect(self, host: str, port: int) -> None:
        """Associates, finds the points and sets reports up.

        Raises:
            TransientError: no answer.
        """
        self.client.connect(host, port)
        self._scalings = []
        for task in self._tasks:
            found = scaling(self.client, task)
            if found.fault:
                self._channel.log("warning", "point is not served", object=task.object, fault=found.fault)
            self._scalings.append(found)
        covered = self._subscribe() if self._reports != "none" else set()
        self._plan_polls(covered)

    def serve(self, stopping: Callable[[], bool]) -> None:
        """Reads and forwards until the association ends or ``stopping`` says so.

        Raises:
            TransientError: the server no longer answers.
        """
        due_s = time.monotonic()
        while not stopping() and self.client.is_connected:
            wait_s = due_s - time.monotonic()
            if wait_s <= 0:
                self._poll()
                self._tell_all()
                due_s = max(due_s + self._period_s, time.monotonic())
                continue
            try:
                received = self._queue.get(timeout=wait_s)
            except queue.Empty:
                continue
            if received is not None:
                self._take(*received)

    def release(self) -> None:
        """Disables reports that nobody would read; a buffer goes on filling."""
        for subscription in self._subscriptions:
            try:
                subscription.control.disable()
            except (TransientError, ServiceError):
                return

    # -- set-up ----------------------------------------------------------------------------------

    def _subscribe(self) -> set[int]:
        """Enables control blocks whose data sets carry points; returns the points carried."""
        covered: set[int] = set()
        preferred = self._reports == "buffered"
        for buffered in (preferred, not preferred):
            for device in dict.fromkeys(task.object.split("/")[0] for task in self._tasks):
                for reference in self._control_blocks(device, buffered=buffered):
                    self._try(reference, covered)
        return covered

    def _control_blocks(self, device: str, *, buffered: bool) -> list[str]:
        kind = DirectoryKind.BUFFERED_REPORTS if buffered else DirectoryKind.UNBUFFERED_REPORTS
        found: list[str] = []
        try:
            for node in self.client.logical_nodes(device):
                names = self.client.directory(f"{device}/{node}", kind)
                found += [f"{device}/{node}.{'BR' if buffered else 'RP'}.{name}" for name in names]
        except ServiceError as error:
            self._channel.log("warning", "reports cannot be listed", device=device, fault=str(error))
        return found

    def _try(self, reference: str, covered: set[int]) -> None:
        control = ReportControl(self.client, reference)
        try:
            state = control.read()
            if not state.data_set or state.enabled or (state.reserved and not state.buffered):
                return
            places = self._places(state.data_set.replace("$", "."))
            carried = {point for members in places for point, where in members if where.value is not None}
            if not carried - covered:
                return
            if any(state.rpt_id == other.state.rpt_id for other in self._subscriptions):
                self._channel.log(
                    "warning", "another report has the same RptID, so its points are read", report=reference
                )
                return
            subscription = Subscription(control, state, places)
            self._enable(subscription)
        except ServiceError as error:
            if error.code not in _BUSY:
                self._channel.log("warning", "report cannot be used", report=reference, fault=str(error))
            return
        covered |= carried
        self._subscriptions.append(subscription)

    def _enable(self, subscription: Subscription) -> None:
        """Enables a block: a buffered one goes on after the last report that was passed on.

        Raises:
            ServiceError: refused.
        """
        control, state = subscription.control, subscription.state
        control.subscribe(
            lambda received: self._queue.put((subscription, received)),
            rpt_id=state.rpt_id or control.reference,
        )
        entry = self._entries.last(control.reference) if state.buffered else b""
        reserve_s = _RESERVE_S if state.buffered else None
        if entry:
            subscription.resumes = True
            subscription.seen.append(entry)
            try:
                control.enable(reserve_s=reserve_s, entry_id=entry, interrogate=True)
            except ServiceError as error:
                if error.code in _BUSY:
                    raise
                self._channel.count("report_gaps_total")
                self._channel.log(
                    "warning",
                    "reports were lost: the server no longer knows the last one",
                    report=control.reference,
                )
            else:
                return
        control.enable(reserve_s=reserve_s, interrogate=True)

    def _places(self, data_set: str) -> list[list[tuple[int, Layout]]]:
        places: list[list[tuple[int, Layout]]] = []
        for member in self.client.data_set_members(data_set):
            reference, _, rest = member.partition("[")
            fc = rest.rstrip("]")
            found: list[tuple[int, Layout]] = []
            for point, task in enumerate(self._tasks):
                if task.fc != fc:
                    continue
                where = layout(self.client, task, reference)
                if where is not None:
                    found.append((point, where))
            places.append(found)
        return places

    def _plan_polls(self, covered: set[int]) -> None:
        self._polls = []
        for point, task in enumerate(self._tasks):
            if point in covered:
                continue
            try:
                where = layout(self.client, task, task.object)
            except ServiceError as error:
                self._channel.log("warning", "point is not served", object=task.object, fault=str(error))
                continue
            if where is None or where.value is None:
                self._channel.log(
                    "warning", "point is not served", object=task.object, fault=f"it has no {task.value}"
                )
                continue
            self._polls.append((task.object, FC[task.fc], [(point, where)]))

    # -- values ----------------------------------------------------------------------------------

    def _poll(self) -> None:
        now_ns = time.time_ns()
        for reference, fc, places in self._polls:
            structure = self._read(reference, fc)
            for point, where in places:
                self._set(point, where, structure, now_ns)
        if not self._polls and self._tasks:
            # Reports alone would not show that the server has gone silent.
            self._read(self._tasks[0].object, FC[self._tasks[0].fc])

    def _read(self, reference: str, fc: FC) -> MmsPython:
        try:
            return self.client.read(reference, fc)
        except ServiceError:
            self._channel.count("read_refusals_total")
            return None

    def _set(self, point: int, where: Layout, structure: MmsPython, now_ns: int) -> None:
        found, columns = read_parts(structure, where), self._columns
        if where.value is not None:
            value = self._scalings[point].apply(found.value, self._tasks[point].kind)
            columns.values[point] = value
            if value is None:
                columns.quality[point] = (found.quality or 0) | q.INVALID
            elif found.quality is not None:
                columns.quality[point] = found.quality
            elif where.quality is None:
                columns.quality[point] = q.GOOD
        elif found.quality is not None:
            columns.quality[point] = found.quality
        columns.times_ns[point] = found.time_ns or now_ns

    def _take(self, subscription: Subscription, received: ReceivedReport) -> None:
        """Passes a report on, once."""
        entry = received.entry_id
        if entry and subscription.state.buffered:
            if entry in subscription.seen:
                self._channel.count("report_repeats_total")
                return
            subscription.seen.append(entry)
        if received.overflow and subscription.resumes:
            self._channel.count("report_gaps_total")
            self._channel.log(
                "warning", "reports were lost: the server's buffer ran over", report=received.rcb_reference
            )
        subscription.resumes = True
        now_ns = received.time_ns or time.time_ns()
        included = bytearray(len(self._tasks))
        for position, reason in enumerate(received.reasons):
            if reason and position < len(subscription.places):
                for point, where in subscription.places[position]:
                    self._set(point, where, received.values[position], now_ns)
                    included[point] = 1
        self._channel.count("reports_total")
        if any(included):
            self._send(Reason.DATA_CHANGE, bytes(included))
        if entry and subscription.state.buffered and not received.more_follows:
            self._entries.passed_on(subscription.control.reference, entry)

    def _tell_all(self) -> None:
        # A point that nothing has been heard of stays out, so that it ages.
        heard = bytes(time_ns > 0 for time_ns in self._columns.times_ns)
        if any(heard):
            self._send(Reason.INTEGRITY, None if all(heard) else heard)
        self._entries.save()

    def _send(self, reason: Reason, included: bytes | None) -> None:
        columns = self._columns
        self._channel.send_report(
            0,
            tuple(columns.values),
            tuple(columns.quality),
            tuple(columns.times_ns),
            reason=reason,
            included=included,
        )

    def _state_changed(self, state: ConnectionState) -> None:
        if state in (ConnectionState.CLOSING, ConnectionState.CLOSED):
            self._queue.put(None)
