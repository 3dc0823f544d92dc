"""Reading and checking one variable of a data file."""

from __future__ import annotations

import re

import msgspec

from s4g_gateway.errors import ModelError
from s4g_gateway.interfaces.description import Carrier, Frame, Literal, Variable
from s4g_gateway.model import ObjectReference, ValueType, parse_reference
from s4g_gateway.model.units import check_unit

DEFAULT_DEVICE = "S4G1"
"""Logical device of what belongs to a Storage4Grid component itself."""

# Factor from canonical unit to SenML unit.
_FACTORS = {
    ("", ""): 1.0,
    ("W", "W"): 1.0,
    ("W", "kW"): 0.001,
    ("var", "var"): 1.0,
    ("var", "kvar"): 0.001,
    ("Wh", "Wh"): 1.0,
    ("Wh", "kWh"): 0.001,
    ("V", "V"): 1.0,
    ("s", "s"): 1.0,
    ("%", "%EL"): 1.0,
    ("deg", "lat"): 1.0,
    ("deg", "lon"): 1.0,
}
_CDC = {
    ValueType.FLOAT: "MV",
    ValueType.INTEGER: "INS",
    ValueType.BOOLEAN: "SPS",
    ValueType.ENUMERATED: "ENS",
    ValueType.TEXT: "VSS",
}
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_COMMAND_NAMES = frozenset({"cmd.priority"})


class VariableEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One ``[[message.variable]]`` as written."""

    d31: str = ""
    part: str = ""
    d31_unit: str = ""
    carrier: Carrier = Carrier.RECORD
    reference: str = ""
    device: str = ""
    name: str = ""
    type: ValueType = ValueType.FLOAT
    cdc: str = ""
    unit: str = ""
    wire_unit: str = ""
    factor: float = 1.0
    sign: int = 1
    half: bool = False
    frame: Frame = Frame.NONE
    minimum: float | None = None
    maximum: float | None = None
    mandatory: bool = True
    array: bool = False
    values: tuple[tuple[int | str, str], ...] = ()
    pattern: str = ""
    slot_priority: bool = False
    note: str = ""


def read_variable(entry: VariableEntry) -> Variable:
    """Turns an entry into a Variable.

    Raises:
        ModelError: what is wrong with which key.
    """
    device, name, reference, point = _names(entry)
    _check_scaling(entry, name)
    _check_values(entry)
    return Variable(
        d31=entry.d31,
        part=entry.part,
        d31_unit=entry.d31_unit,
        name=name,
        device=device,
        reference=reference,
        point=point,
        value_type=entry.type,
        cdc=entry.cdc or _CDC[entry.type],
        unit=entry.unit,
        wire_unit=entry.wire_unit,
        factor=entry.factor,
        sign=entry.sign,
        half=entry.half,
        frame=entry.frame,
        minimum=entry.minimum,
        maximum=entry.maximum,
        mandatory=entry.mandatory,
        array=entry.array,
        values=tuple(Literal(value=value, meaning=meaning) for value, meaning in entry.values),
        pattern=entry.pattern,
        carrier=entry.carrier,
        slot_priority=entry.slot_priority,
        note=entry.note,
    )


def _names(entry: VariableEntry) -> tuple[str, str, ObjectReference | None, ObjectReference | None]:
    """Returns logical device, wire name, reference and point."""
    if entry.carrier is not Carrier.RECORD:
        _require(not (entry.reference or entry.device), "reference", "expected only where carrier is record")
    if entry.carrier is Carrier.TIME:
        _require(not entry.name, "name", "the time of the records has none")
        return "", "t", None, None
    if entry.carrier is Carrier.COMMAND:
        _require(
            entry.name in _COMMAND_NAMES, "name", f"found {entry.name!r}, expected {sorted(_COMMAND_NAMES)}"
        )
        return "", entry.name, None, None
    own_sign = entry.sign != 1 or entry.half
    if entry.name or not entry.reference:
        _require(
            _SNAKE.match(entry.name) is not None,
            "name",
            f"found {entry.name!r}, expected lower_snake where there is no reference",
        )
    if not entry.reference:
        _require(not own_sign, "sign", "expected 1 and no half without a reference")
        device = entry.device or DEFAULT_DEVICE
        camel = "".join(word.capitalize() for word in entry.name.split("_"))
        point = ObjectReference(f"{device}/GGIO1.{camel}")
        parse_reference(point)
        return device, entry.name, None, point
    parts = parse_reference(entry.reference)
    _require(not entry.device, "device", "expected only where there is no reference")
    # A record under a reference's name has that reference's sign everywhere, so other signs need other names.
    _require(
        bool(entry.name) is own_sign,
        "name",
        "expected with a reference only where sign is -1 or half is true",
    )
    reference = ObjectReference(entry.reference)
    return parts.logical_device, entry.name or f"{parts.logical_node}.{parts.data}", reference, reference


def _check_scaling(entry: VariableEntry, name: str) -> None:
    check_unit(entry.unit)
    factor = _FACTORS.get((entry.unit, entry.wire_unit))
    pairs = ", ".join(f"{unit!r} to {wire!r}" for unit, wire in _FACTORS)
    _require(
        factor is not None, "wire_unit", f"{entry.unit!r} to {entry.wire_unit!r}; expected one of {pairs}"
    )
    _require(entry.factor == factor, "factor", f"found {entry.factor}, expected {factor}")
    _require(entry.sign in (1, -1), "sign", f"found {entry.sign}, expected 1 or -1")
    power = entry.unit in ("W", "var")
    _require(
        power is (entry.frame is not Frame.NONE), "frame", f"found {entry.frame} for {name} in {entry.unit!r}"
    )
    low = entry.minimum
    if entry.frame is Frame.MAGNITUDE:
        _require(
            entry.half or (low is not None and low >= 0), "minimum", "expected 0 or more for a magnitude"
        )
    _require(not entry.half or entry.frame is Frame.MAGNITUDE, "frame", "expected magnitude for a half")
    _require(
        low is None or entry.maximum is None or low < entry.maximum,
        "minimum",
        f"found {low}, expected less than maximum {entry.maximum}",
    )


def _check_values(entry: VariableEntry) -> None:
    number = entry.type in (ValueType.FLOAT, ValueType.INTEGER)
    if entry.type is not ValueType.FLOAT:
        _require(not entry.unit, "unit", f"expected none for {entry.type}")
    if not number:
        _require(
            entry.minimum is None and entry.maximum is None, "minimum", f"expected none for {entry.type}"
        )
        _require(not entry.array, "array", "expected of numbers only")
    if entry.type is ValueType.ENUMERATED:
        _require(bool(entry.values), "values", "expected for an enumerated variable")
    _require(
        not entry.slot_priority or (entry.array and entry.type is ValueType.INTEGER),
        "slot_priority",
        "expected of an integer array only",
    )
    kind = {ValueType.ENUMERATED: int, ValueType.TEXT: str}.get(entry.type)
    for value, _ in entry.values:
        _require(kind is not None and isinstance(value, kind), "values", f"{value!r} is no {entry.type}")
    found = [value for value, _ in entry.values]
    _require(len(set(found)) == len(found), "values", "one stands twice")
    _require(not entry.pattern or entry.type is ValueType.TEXT, "pattern", "expected for text only")
    try:
        re.compile(entry.pattern)
    except re.error as error:
        raise ModelError(f"pattern: {entry.pattern!r} is no regular expression: {error}") from error


def _require(condition: bool, key: str, detail: str) -> None:
    if not condition:
        raise ModelError(f"{key}: {detail}")
