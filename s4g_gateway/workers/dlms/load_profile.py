"""Reads a load profile by range of time.

Source: IEC 62056-6-2 Profile generic, selective access by range (clause unverified, via the Gurux source).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s4g_gateway.workers.dlms import axdr
from s4g_gateway.workers.dlms.association import Association
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer
from s4g_gateway.workers.dlms.plan import obis_bytes
from s4g_gateway.workers.dlms.reader import SCALER_UNIT_OF, MeterReader
from s4g_gateway.workers.dlms.services import Result, Target

_PROFILE_GENERIC: Final = 7
_CLOCK: Final = 8
_BUFFER, _CAPTURE_OBJECTS, _CAPTURE_PERIOD = 2, 3, 4


def read_profile(reader: MeterReader, from_ns: int, to_ns: int) -> dict[str, Any]:
    """Reads the rows of a meter's load profile.

    Args:
        reader: the meter, in whose thread this runs.
        from_ns: first time, ns since 1970 UTC.
        to_ns: last time, included.

    Returns:
        ``columns`` (obis, attribute, unit code or None) and ``rows`` (ISO times, scaled numbers, text).

    Raises:
        MeterFaultError: the meter has no profile, refuses, or answers something else.
    """
    plan = reader.plan
    if not plan.profile_obis:
        raise MeterFaultError(FaultKind.LOCAL, "no load profile is configured for it")
    association = reader.associated()
    columns = _columns(_one(association, _target(reader, _CAPTURE_OBJECTS)))
    period_s = _one(association, _target(reader, _CAPTURE_PERIOD))
    if not plan.short_names:
        reader.learn_scalers(association, [column for column in columns if column.attribute == 2])
    sort = next((column for column in columns if column.class_id == _CLOCK), None)
    if sort is None:
        raise MeterFaultError(FaultKind.LOCAL, "the load profile has no clock to select by")
    selection = _range(sort, from_ns, to_ns)
    rows = _one(association, _target(reader, _BUFFER, selection))
    if not isinstance(rows, list):
        raise bad_answer("a load profile that is no array")
    names = [_describe(reader, column) for column in columns]
    return {"columns": names, "rows": _rows(reader, columns, rows, period_s)}


def _target(reader: MeterReader, attribute: int, selection: bytes = b"") -> Target:
    plan = reader.plan
    return Target(
        class_id=_PROFILE_GENERIC,
        logical_name=obis_bytes(plan.profile_obis),
        attribute=attribute,
        base_name=plan.profile_base_name,
        selection=selection,
    )


def _one(association: Association, target: Target) -> axdr.AnyValue:
    result: Result = association.read([target])[0]
    if result.error:
        raise MeterFaultError(
            FaultKind.REFUSED, f"attribute {target.attribute} of the load profile: result {result.error}"
        )
    return axdr.whole(result.data)


def _columns(value: axdr.AnyValue) -> list[Target]:
    columns = []
    for entry in value if isinstance(value, list) else []:
        if not isinstance(entry, list) or len(entry) != 4:
            raise bad_answer("capture objects of another form")
        class_id, name, attribute, _ = entry
        if not isinstance(class_id, int) or not isinstance(attribute, int):
            raise bad_answer("capture objects of another form")
        if not isinstance(name, bytes) or len(name) != 6:
            raise bad_answer("capture objects of another form")
        columns.append(Target(class_id=class_id, logical_name=name, attribute=attribute))
    if not columns:
        raise bad_answer("a load profile without columns")
    return columns


def _range(sort: Target, from_ns: int, to_ns: int) -> bytes:
    """Returns selector 1 with the range descriptor: restricting object, from, to, all columns."""

    def octets(data: bytes) -> bytes:
        return b"\x09" + bytes((len(data),)) + data

    def moment(time_ns: int) -> bytes:
        return octets(axdr.encode_time(datetime.fromtimestamp(time_ns // 10**9, UTC)))

    restricting = b"\x02\x04\x12" + sort.class_id.to_bytes(2, "big") + octets(sort.logical_name)
    restricting += b"\x0f" + bytes((sort.attribute,)) + b"\x12\x00\x00"
    return b"\x01\x02\x04" + restricting + moment(from_ns) + moment(to_ns) + b"\x01\x00"


def _describe(reader: MeterReader, column: Target) -> dict[str, Any]:
    scaler_unit = _scaler_unit(reader, column)
    return {
        "obis": ".".join(map(str, column.logical_name)),
        "attribute": column.attribute,
        "unit_code": None if scaler_unit is None else scaler_unit[1],
    }


def _scaler_unit(reader: MeterReader, column: Target) -> tuple[int, int] | None:
    if column.class_id in SCALER_UNIT_OF and column.attribute == 2:
        return reader.scaler_units.get(column.logical_name)
    return None


def _rows(
    reader: MeterReader, columns: list[Target], rows: list[axdr.AnyValue], period_s: axdr.AnyValue
) -> list[list[Any]]:
    found: list[list[Any]] = []
    last: datetime | None = None
    for row in rows:
        if not isinstance(row, list) or len(row) != len(columns):
            raise bad_answer("a row of the load profile with another number of values than columns")
        values: list[Any] = []
        for column, raw in zip(columns, row, strict=True):
            if column.class_id == _CLOCK and column.attribute == 2:
                # a meter may leave a time out that is one period after the row before
                if raw is None and last is not None and isinstance(period_s, int):
                    last += timedelta(seconds=period_s)
                else:
                    last = axdr.decode_time(raw)
                values.append(f"{last:%Y-%m-%dT%H:%M:%S}Z")
                continue
            scaler_unit = _scaler_unit(reader, column)
            if scaler_unit is not None:
                values.append(axdr.scaled(raw, scaler_unit[0]))
            else:
                values.append(raw.hex() if isinstance(raw, bytes) else raw)
        found.append(values)
    return found
