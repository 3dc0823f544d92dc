"""Reads one meter in its period, and says what became of it: values, or why there are none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from s4g_gateway.errors import EncodeError
from s4g_gateway.model import Value
from s4g_gateway.model import quality as q
from s4g_gateway.model.quality_map import from_dlms
from s4g_gateway.workers.contract import Channel
from s4g_gateway.workers.dlms import axdr
from s4g_gateway.workers.dlms.association import PUBLIC_CLIENT, Association
from s4g_gateway.workers.dlms.counters import LAST, CounterFile
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer
from s4g_gateway.workers.dlms.hdlc_frame import encode_address
from s4g_gateway.workers.dlms.links import HdlcLink, Link, WrapperLink
from s4g_gateway.workers.dlms.plan import MeterPlan, PointPlan, obis_bytes
from s4g_gateway.workers.dlms.services import Result, Target
from s4g_gateway.workers.dlms.streams import SerialStream, Stream, TcpStream

ScalerUnit = tuple[int, int]
DEVICE_NAME: Final = Target(class_id=1, logical_name=bytes((0, 0, 42, 0, 0, 255)), base_name=0xFD00)
# interface class -> attribute of its scaler-unit
SCALER_UNIT_OF: Final = {3: 3, 4: 3, 5: 4}
# An unprotected counter may move ours forward, but not use the key up.
_MAX_COUNTER_JUMP: Final = 10_000_000
_FAREWELL_S: Final = 0.5


class MeterReader:
    """One meter.

    Args:
        plan: what is known of it.
        channel: where values and log lines go.
        exclusive: true where other meters share the line, so that it is left after each reading.

    Attributes:
        plan: as given.
        due_s: monotonic time of the next reading.
        scaler_units: of the objects read so far.
    """

    def __init__(self, plan: MeterPlan, channel: Channel, *, exclusive: bool = False) -> None:
        self.plan = plan
        self.due_s = time.monotonic()
        self.scaler_units: dict[bytes, ScalerUnit] = {}
        self._channel = channel
        self._exclusive = exclusive
        self._link: Link | None = None
        self._association: Association | None = None
        self._counter: CounterFile | None = None
        self._counter_checked = not plan.counter_obis
        self._device_name = plan.device_name
        self._title = plan.meter_system_title
        self._fault: FaultKind | None = None
        self._failures = 0
        self._bad_points: set[int] = set()

    # -- cycle --

    def poll(self) -> None:
        """Reads the points once and sends a Report; sets when to come back."""
        plan, started_s = self.plan, time.monotonic()
        try:
            association = self.associated()
            results = association.read([_target(point) for point in plan.points])
        except MeterFaultError as fault:
            self.fail(fault)
            return
        if self._exclusive:
            self.close()
        self._report(results)
        self._failures = 0
        self._channel.count("readings_total")
        self._channel.count("values_total", len(results))
        if self._fault is not None:
            self._fault = None
            self._channel.log("info", "meter is back", meter=plan.name)
        self.due_s += plan.period_s
        if self.due_s <= started_s:  # behind: skip what was missed, keep the rhythm
            missed = int((started_s - self.due_s) // plan.period_s) + 1
            self._channel.count("missed_readings_total", missed)
            self.due_s += missed * plan.period_s

    def fail(self, fault: MeterFaultError) -> None:
        """Ends the association, makes the points invalid, and says so once for each kind of fault."""
        plan = self.plan
        self.close()
        if fault.kind is FaultKind.REFUSED:
            self._counter_checked = not plan.counter_obis
        self._failures += 1
        self._channel.count("failed_readings_total")
        size = len(plan.points)
        self._channel.send_report(plan.data_set_index, [None] * size, [q.INVALID] * size, time.time_ns())
        if fault.kind is not self._fault:
            self._fault = fault.kind
            self._channel.log(
                "warning", "meter lost", meter=plan.name, kind=str(fault.kind), reason=fault.reason
            )
        wait_s = min(plan.retry_max_s, plan.retry_min_s * 2.0 ** min(self._failures - 1, 20))
        self.due_s = time.monotonic() + wait_s

    def associated(self) -> Association:
        """Returns the open association, opened anew where there is none.

        Raises:
            MeterFaultError: the meter cannot be reached or is not what it should be.
        """
        if self._association is None:
            self._prepare_counter()
            self._association = self._open(public=False)
            self._identify(self._association)
            self._learn_scalers(self._association, [_target(point) for point in self.plan.points])
        return self._association

    def close(self) -> None:
        """Ends association and link; idempotent."""
        link, self._link, self._association = self._link, None, None
        if link is not None:
            link.close(time.monotonic() + min(_FAREWELL_S, self.plan.timeout_s))

    # -- opening --

    def _open(self, *, public: bool) -> Association:
        link = self._link = self._new_link(public=public)
        link.open(time.monotonic() + max(self.plan.timeout_s, 5.0 if self.plan.link == "mode-e" else 0.0))
        association = Association(self.plan, link, self._counter, public=public)
        association.open()
        self._channel.count("associations_total")
        return association

    def _new_link(self, *, public: bool) -> Link:
        plan = self.plan
        stream: Stream
        if plan.serial_path:
            stream = SerialStream(plan.serial_path, plan.baud_rate)
        else:
            stream = TcpStream(plan.host, plan.port, plan.timeout_s)
        client = PUBLIC_CLIENT if public else plan.client_address
        if plan.link == "wrapper":
            return WrapperLink(stream, client, plan.server_address)
        try:
            server = encode_address(plan.server_address, plan.physical_address, size=plan.address_bytes)
            own = encode_address(client)
        except EncodeError as error:
            stream.close()
            raise MeterFaultError(FaultKind.LOCAL, str(error)) from error
        return HdlcLink(stream, own, server, mode_e=plan.link == "mode-e")

    def _prepare_counter(self) -> None:
        plan = self.plan
        if not plan.counter_file:
            return
        if self._counter is None:
            self._counter = CounterFile(Path(plan.counter_file))
        if self._counter_checked:
            return
        association = self._open(public=True)
        target = Target(class_id=1, logical_name=obis_bytes(plan.counter_obis))
        (result,) = association.read([target])
        association.release()
        self.close()
        seen = axdr.whole(result.data) if not result.error else None
        if isinstance(seen, bool) or not isinstance(seen, int):
            raise MeterFaultError(FaultKind.REFUSED, f"{plan.counter_obis} holds no counter")
        jump = seen + 1 - self._counter.next
        if jump > _MAX_COUNTER_JUMP or seen >= LAST:
            raise bad_answer(f"an unprotected counter of {seen}, {jump} ahead of ours")
        self._counter.skip_to(seen + 1)
        self._counter_checked = True

    def _identify(self, association: Association) -> None:
        if association.system_title:
            if self._title and association.system_title != self._title:
                raise bad_answer(
                    f"system title {association.system_title.hex()}, expected {self._title.hex()}"
                )
            self._title = association.system_title
        (result,) = association.read([DEVICE_NAME])
        if result.error:
            if self.plan.device_name:
                raise MeterFaultError(FaultKind.REFUSED, "it does not tell its logical device name")
            return
        value = axdr.whole(result.data)
        name = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        if self._device_name and name != self._device_name:
            raise bad_answer(f"it is {name!r}, expected {self._device_name!r}")
        self._device_name = name

    def _learn_scalers(self, association: Association, targets: Sequence[Target]) -> None:
        wanted = [
            Target(
                class_id=target.class_id,
                logical_name=target.logical_name,
                attribute=SCALER_UNIT_OF[target.class_id],
                base_name=target.base_name,
            )
            for target in targets
            if target.class_id in SCALER_UNIT_OF and target.logical_name not in self.scaler_units
        ]
        for target, result in zip(wanted, association.read(wanted), strict=True):
            if result.error:
                continue  # the value says what is wrong with the object
            found = axdr.whole(result.data)
            if isinstance(found, list) and len(found) == 2:
                scaler, unit = found
                if isinstance(scaler, int) and isinstance(unit, int) and -30 <= scaler <= 30:
                    self.scaler_units[target.logical_name] = (scaler, unit)

    def learn_scalers(self, association: Association, targets: Sequence[Target]) -> None:
        """Reads the scaler-units of objects that are no points; those known already are not asked for."""
        self._learn_scalers(association, targets)

    # -- values --

    def _report(self, results: Sequence[Result]) -> None:
        values: list[Value] = [None] * len(results)
        quality = [q.INVALID] * len(results)
        for point, result in zip(self.plan.points, results, strict=True):
            raw = axdr.whole(result.data) if not result.error else None
            found = self.judge(point, raw, result.error)
            values[point.position], quality[point.position] = found
        self._channel.send_report(self.plan.data_set_index, values, quality, time.time_ns())

    def judge(self, point: PointPlan, raw: axdr.AnyValue, error: int = 0) -> tuple[Value, int]:
        """Returns value and quality of a point; says once when an object is not what it should be."""
        problem, quality, value = "", q.GOOD, None
        if error:
            problem, quality = f"data access result {error}", from_dlms(error)
        elif (scaler_unit := self._scaler_unit(point)) is None:
            problem, quality = "it has no scaler and unit", q.INVALID | q.INCONSISTENT
        elif scaler_unit[1] not in point.units:
            problem, quality = (
                f"unit code {scaler_unit[1]}, expected {point.units}",
                q.INVALID | q.INCONSISTENT,
            )
        else:
            value = axdr.scaled(raw, scaler_unit[0], point.factor)
            if value is None:
                problem, quality = f"{type(raw).__name__} where a number was expected", q.INVALID
            elif (point.minimum is not None and value < point.minimum) or (
                point.maximum is not None and value > point.maximum
            ):
                problem, value = f"{value} is not plausible", None
                quality = q.INVALID | q.OUT_OF_RANGE
        if problem and point.position not in self._bad_points:
            self._bad_points.add(point.position)
            self._channel.log(
                "warning", "object cannot be used", meter=self.plan.name, obis=point.obis, reason=problem
            )
        elif not problem and point.position in self._bad_points:
            self._bad_points.discard(point.position)
            self._channel.log("info", "object is back", meter=self.plan.name, obis=point.obis)
        return value, quality

    def _scaler_unit(self, point: PointPlan) -> ScalerUnit | None:
        if point.scaler is not None:
            return point.scaler, point.units[0]
        return self.scaler_units.get(point.logical_name)


def _target(point: PointPlan) -> Target:
    return Target(
        class_id=point.class_id,
        logical_name=point.logical_name,
        attribute=point.attribute,
        base_name=point.base_name,
    )


Job = Callable[[MeterReader], None]
