"""Message <-> Report: which DataSet a message is, and its values in the units of the wire.

An array travels as one record per slot, each with the slot's time; so it is as many Reports of the message's
DataSet as it has slots (``s4g_gateway.interfaces.plans``), and everything here deals with one moment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from s4g_gateway.errors import LocalProtocolError, ModelError
from s4g_gateway.interfaces.description import Carrier, Message, Variable
from s4g_gateway.interfaces.errors import MessageError
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report, Value, ValueType
from s4g_gateway.model.quality import GOOD, INVALID, OUT_OF_RANGE, QUESTIONABLE, worst
from s4g_gateway.model.reference import parse_reference

_OUTSIDE = QUESTIONABLE | OUT_OF_RANGE


@dataclass(frozen=True, slots=True)
class WireField:
    """One record of a message.

    Attributes:
        variable: its description.
        device: logical device under which it travels at this site.
        position: its member in the DataSet; the two halves of a signed power share one.
        divisor: wire value = canonical value / ``divisor``, sign included; 1 leaves it as it is.
        limits: smallest and greatest canonical value; infinite for none.
        literals: the values it may take; empty for any.
        pattern: what a text matches whole; None for anything.
    """

    variable: Variable
    device: str
    position: int
    divisor: float
    limits: tuple[float, float]
    literals: frozenset[Value]
    pattern: re.Pattern[str] | None

    @property
    def name(self) -> str:
        """Wire name without logical device, such as ``MMXU1.TotW``."""
        return self.variable.name

    @property
    def path(self) -> str:
        """Logical device and name, such as ``PCC1/MMXU1.TotW``; the SenML name is ``<site>/<path>``."""
        return f"{self.device}/{self.variable.name}"

    @property
    def unit(self) -> str:
        """SenML unit, empty for none."""
        return self.variable.wire_unit

    def to_wire(self, value: Value) -> Value:
        """Returns a canonical value as it travels."""
        if value is None or self.divisor == 1.0 or not isinstance(value, (int, float)):
            return value
        scaled = value / self.divisor
        return max(0.0, scaled) if self.variable.half else scaled

    def from_wire(self, value: Value) -> tuple[Value, int]:
        """Returns the canonical value and its quality: questionable, outOfRange where it breaks a limit.

        Raises:
            MessageError: the value is not of the variable's type.
        """
        checked = _typed(value, self.variable.value_type, self.path)
        if isinstance(checked, str):
            good = self.pattern is None or self.pattern.fullmatch(checked) is not None
        elif isinstance(checked, bool):
            return checked, GOOD
        else:
            good = checked >= 0 or not self.variable.half
            if self.divisor != 1.0:
                checked = _multiplied(checked, self.divisor)
            good = good and self.limits[0] <= checked <= self.limits[1]
        if self.literals and checked not in self.literals:
            good = False
        return checked, GOOD if good else _OUTSIDE


@dataclass(frozen=True, slots=True, eq=False)
class MessageBinding:
    """A message compiled for one site.

    Attributes:
        message: the description.
        data_set: the canonical members, under the site's own references.
        fields: the records, in the message's order.
        by_path: position in ``fields`` by logical device and name.
    """

    message: Message
    data_set: DataSet
    fields: tuple[WireField, ...]
    by_path: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_path", {entry.path: at for at, entry in enumerate(self.fields)})

    def to_wire(self, report: Report) -> tuple[Value, ...]:
        """Returns one wire value per field; None where there is none or the member is not included.

        Raises:
            LocalProtocolError: the Report is of another DataSet.
        """
        self._check(report)
        values, included = report.values, report.included
        return tuple(
            entry.to_wire(values[entry.position]) if included is None or included[entry.position] else None
            for entry in self.fields
        )

    def wire_quality(self, report: Report) -> tuple[int, ...]:
        """Returns one IEC 61850 quality per field; good where the member is not included.

        A field without value and with good quality is not sent at all; one without value and with another
        quality is sent as its quality alone.

        Raises:
            LocalProtocolError: the Report is of another DataSet.
        """
        self._check(report)
        quality, included = report.quality, report.included
        return tuple(
            quality[entry.position] if included is None or included[entry.position] else GOOD
            for entry in self.fields
        )

    def from_wire(
        self,
        values: Sequence[Value],
        *,
        time_ns: int,
        quality: Sequence[int] | None = None,
        reason: Reason = Reason.INTEGRITY,
    ) -> Report:
        """Returns the Report of values that arrived.

        Args:
            values: one per field; None where no value arrived.
            time_ns: their time, ns since 1970 UTC.
            quality: one per field; None for good. A field without value and with good quality did not arrive.
            reason: why the message was sent.

        Returns:
            Canonical values. A member that did not arrive is None, invalid and not included; a value outside
            its limits is questionable, outOfRange.

        Raises:
            MessageError: the number of values or the type of one is wrong.
        """
        qualities = (GOOD,) * len(self.fields) if quality is None else quality
        if len(values) != len(self.fields) or len(qualities) != len(self.fields):
            raise MessageError(
                f"{self.message.name}: {len(values)} values and {len(qualities)} qualities, "
                f"expected {len(self.fields)} of each"
            )
        columns: list[Value] = [None] * len(self.data_set)
        states = [INVALID] * len(self.data_set)
        included = bytearray(len(self.data_set))
        for entry, value, state in zip(self.fields, values, qualities, strict=True):
            if value is None and state == GOOD:
                continue
            at = entry.position
            total = state
            if value is not None:
                canonical, found = entry.from_wire(value)
                total = worst(state, found)
                # The other half of a signed power is here already: what counts is the sum.
                earlier = columns[at]
                if isinstance(earlier, (int, float)) and isinstance(canonical, (int, float)):
                    canonical += earlier
                columns[at] = canonical
            states[at] = worst(states[at], total) if included[at] else total
            included[at] = 1
        return Report(
            self.data_set,
            tuple(columns),
            tuple(states),
            time_ns,
            reason,
            None if all(included) else bytes(included),
        )

    def missing(self, values: Sequence[Value]) -> tuple[str, ...]:
        """Returns the paths of mandatory fields without a value."""
        return tuple(
            entry.path
            for entry, value in zip(self.fields, values, strict=True)
            if value is None and entry.variable.mandatory
        )

    def _check(self, report: Report) -> None:
        if report.data_set is not self.data_set:
            raise LocalProtocolError(
                f"{self.message.name}: a Report of {report.data_set.name!r}, expected the binding's"
            )


def bind_message(
    message: Message, roles: Mapping[str, str] | None = None, devices: Sequence[str] = ()
) -> MessageBinding:
    """Compiles a message for a site.

    Args:
        message: any message that is not open.
        roles: what the site calls conventional things. A key is a reference (``PCC1/MMXU1.TotW``), replaced
            by another reference while the wire keeps the conventional name; or a logical device (``ESS1``),
            renamed on the wire too. Keys that the message does not hold are left alone.
        devices: for a message per device: the logical devices of the site that it tells of, each with every
            variable; empty for the conventional one (or its role).

    Returns:
        The binding.

    Raises:
        MessageError: the message is open or not per device, a role is no reference or logical device, or two
            variables come to stand on one point.
    """
    if message.open:
        raise MessageError(f"{message.name} is open: its variables are the site's own points")
    if devices and not message.per_device:
        raise MessageError(f"{message.name} is one message for the whole site; expected no list of devices")
    names = dict(roles or {})
    _check_roles(names)
    members: dict[ObjectReference, Member] = {}
    halves: set[ObjectReference] = set()
    fields: list[WireField] = []
    # A message per device is the conventional one, once under each device's name.
    for device in devices or ("",):
        for variable in message.records:
            moved = replace(variable, point=_on_device(variable, device)) if device else variable
            reference, logical_device = _at_site(moved, names, renamed=not device)
            if reference in members and not (variable.half and reference in halves):
                raise MessageError(
                    f"{message.name}: {variable.name} and another variable are both {reference}"
                )
            if variable.half:
                halves.add(reference)
            members.setdefault(reference, _member(variable, reference))
            position = list(members).index(reference)
            fields.append(_wire_field(variable, logical_device, position))
    binding = MessageBinding(message, DataSet(message.name, tuple(members.values())), tuple(fields))
    if len(binding.by_path) != len(fields):
        raise MessageError(f"{message.name}: the roles give two variables one name")
    return binding


def message_data_set(
    message: Message, roles: Mapping[str, str] | None = None, devices: Sequence[str] = ()
) -> DataSet:
    """Returns the DataSet of a message, as ``bind_message`` makes it."""
    return bind_message(message, roles, devices).data_set


def _check_roles(roles: Mapping[str, str]) -> None:
    for key, value in roles.items():
        if ("/" in key) is not ("/" in value):
            raise MessageError(f"role {key!r} = {value!r}: expected two references or two logical devices")
        for text in (key, value):
            try:
                parse_reference(text if "/" in text else f"{text}/LLN0.Mod")
            except ModelError as error:
                raise MessageError(f"role {key!r} = {value!r}: {error}") from error


def _on_device(variable: Variable, device: str) -> ObjectReference:
    _, _, rest = str(variable.point).partition("/")
    reference = f"{device}/{rest}"
    try:
        parse_reference(reference)
    except ModelError as error:
        raise MessageError(f"device {device!r}: {error}") from error
    return ObjectReference(reference)


def _at_site(variable: Variable, roles: Mapping[str, str], *, renamed: bool) -> tuple[ObjectReference, str]:
    """Returns the site's reference and the logical device on the wire."""
    device, _, rest = str(variable.point).partition("/")
    wire_device = roles.get(device, device) if renamed else device
    for key in (f"{device}/{rest}", f"{wire_device}/{rest}"):
        if key in roles:
            return ObjectReference(roles[key]), wire_device
    return ObjectReference(f"{wire_device}/{rest}"), wire_device


def _member(variable: Variable, reference: ObjectReference) -> Member:
    label = f"{variable.d31}: {variable.part}" if variable.part else variable.d31
    return Member(
        reference=reference,
        value_type=variable.value_type,
        unit=variable.unit,
        cdc=variable.cdc,
        description=label or variable.name,
        minimum=variable.minimum,
        maximum=variable.maximum,
    )


def _wire_field(variable: Variable, device: str, position: int) -> WireField:
    # Divided by 1000 a value is the nearest double; times 0.001 it often is not.
    return WireField(
        variable=variable,
        device=device,
        position=position,
        divisor=round(1 / variable.factor) * float(variable.sign),
        limits=(
            -math.inf if variable.minimum is None else variable.minimum,
            math.inf if variable.maximum is None else variable.maximum,
        ),
        literals=frozenset(literal.value for literal in variable.values),
        pattern=re.compile(variable.pattern) if variable.pattern else None,
    )


def _multiplied(value: float, factor: float) -> float:
    """Returns the product without the trace of rounding: 32.767 kW is 32767 W, not 32767.000000000004."""
    product = value * factor
    short = round(product, 6)
    return short if abs(short - product) <= abs(product) * 1e-15 else product


def _typed(value: Value, kind: ValueType, path: str) -> float | int | bool | str:
    """Returns the value if it is of the kind; a number without fraction counts as an integer."""
    if kind is ValueType.TEXT and isinstance(value, str):
        return value
    if kind is ValueType.BOOLEAN and isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        if kind is ValueType.FLOAT:
            return value
        if kind in (ValueType.INTEGER, ValueType.ENUMERATED) and value == int(value):
            return int(value)
    raise MessageError(f"{path}: found {value!r}, expected {kind}")


def is_setpoint(variable: Variable) -> bool:
    """True for a record of a command that sets something, as against one that only describes the command."""
    return variable.carrier is Carrier.RECORD and variable.cdc in {"APC", "ASG", "SPC", "ENC", "INC", "SPG"}
