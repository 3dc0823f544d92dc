"""What the catalogue says about an interface: frozen descriptions, no behaviour beyond naming.

Signs follow ``s4g_gateway.model``. A record that bears an ObjectReference's name always carries that
reference's own sign; a variable with another sign has a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from s4g_gateway.model import ObjectReference, ValueType

ANSWER_SUFFIX = "-answer"
SECONDARY_UNITS = frozenset({"kW", "kWh", "Wh", "kvar"})
"""SenML units of this catalogue that need ``bver`` 26.

Source: RFC 8798, RFC 9100 (clauses unverified).
"""


class Kind(StrEnum):
    """What a message is for; decides its topic and whether its last one is retained."""

    MEASUREMENT = "measurement"
    STATUS = "status"
    COMMAND = "command"
    REQUEST = "request"


class PeriodKind(StrEnum):
    """How often a message is sent.

    PERIODIC within ``min_s`` to ``max_s``; AT_LEAST every ``max_s``; PACKAGE of slots of ``slot_s``; EVENT
    and ON_REQUEST when something happens; VARIABLE where D3.1 leaves it open.
    """

    PERIODIC = "periodic"
    AT_LEAST = "at-least"
    PACKAGE = "package"
    EVENT = "event"
    ON_REQUEST = "on-request"
    VARIABLE = "variable"


class Carrier(StrEnum):
    """Where a variable travels: a SenML record, the time of the records, or a ``cmd.`` record."""

    RECORD = "record"
    TIME = "time"
    COMMAND = "command"


class Frame(StrEnum):
    """How a power is signed: generator frame, never negative, or no power at all."""

    GENERATOR = "generator"
    MAGNITUDE = "magnitude"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Periodicity of a message.

    Attributes:
        text: D3.1's wording.
        kind: which of the fields below count.
        min_s: shortest interval in seconds.
        max_s: longest interval in seconds.
        slot_s: length of one slot of a package in seconds.
        or_event: sent out of turn too, when something happens.
        advised_min_s: shortest interval that D3.1 advises, in seconds.
        advised_max_s: longest interval that D3.1 advises, in seconds.
    """

    text: str
    kind: PeriodKind
    min_s: float | None = None
    max_s: float | None = None
    slot_s: float | None = None
    or_event: bool = False
    advised_min_s: float | None = None
    advised_max_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One hop of a message."""

    sender: str
    receiver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """One value that a variable may take, and what it means."""

    value: int | str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a message.

    Attributes:
        d31: D3.1's wording of the table row, with its unit; empty where the variable is ours.
        part: which part of the row, where one row holds several variables.
        d31_unit: unit as D3.1 prints it, empty for none.
        name: wire name: LN.DO of the reference, else lower_snake, else a ``cmd.`` member.
        device: logical device under which it travels, such as ``ESS1``; empty unless ``carrier`` is RECORD.
        reference: canonical ObjectReference; None where IEC 61850 has no data object.
        point: the reference in a DataSet: ``reference``, else an extension of GGIO named after ``name``; None
            unless ``carrier`` is RECORD.
        value_type: kind of value.
        cdc: common data class.
        unit: canonical unit.
        wire_unit: SenML unit, empty for none.
        factor: wire value = canonical value x ``factor`` x ``sign``.
        sign: 1 or -1.
        half: the wire value is 0 where it would be negative; its counterpart carries the other direction.
        frame: how a power is signed.
        minimum: smallest value, in ``unit``; None for no limit.
        maximum: greatest value, in ``unit``; None for no limit.
        mandatory: whether every message holds it.
        array: one value per slot, each a record with the slot's time.
        values: the values it may take; empty for any.
        pattern: regular expression that a text matches whole; empty for any.
        carrier: where it travels.
        slot_priority: it is the priority of the set-points of its slot, not a set-point.
        note: one line for people: what D3.1 leaves open and how it is decided here.
    """

    d31: str = ""
    part: str = ""
    d31_unit: str = ""
    name: str
    device: str = ""
    reference: ObjectReference | None = None
    point: ObjectReference | None = None
    value_type: ValueType = ValueType.FLOAT
    cdc: str = "MV"
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
    values: tuple[Literal, ...] = ()
    pattern: str = ""
    carrier: Carrier = Carrier.RECORD
    slot_priority: bool = False
    note: str = ""

    def wire_range(self) -> tuple[float | None, float | None]:
        """Returns the smallest and greatest value on the wire, in ``wire_unit``; None for no limit."""
        if self.half:
            return 0.0, None
        low, high = (
            None if limit is None else limit * self.factor * self.sign
            for limit in (self.minimum, self.maximum)
        )
        return (low, high) if self.sign > 0 else (high, low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of an interface.

    Attributes:
        interface: slug of its interface.
        slug: its name in a topic.
        kind: what it is for.
        title: D3.1's Message ID.
        description: D3.1's description.
        direction_text: D3.1's wording of the directions.
        directions: the hops, in order.
        period: how often.
        variables: in D3.1's order; empty if ``open``.
        per_device: logical device that stands for each device of the site, empty where the message is one for
            the whole site.
        open: its variables are any points of the site, under their own references.
        ours: D3.1 has no table with it.
    """

    interface: str
    slug: str
    kind: Kind
    title: str
    description: str
    direction_text: str
    directions: tuple[Direction, ...]
    period: Period
    variables: tuple[Variable, ...]
    per_device: str = ""
    open: bool = False
    ours: bool = False

    @property
    def name(self) -> str:
        """Interface and message, such as ``lessag-eb/measurement``; also the DataSet's name."""
        return f"{self.interface}/{self.slug}"

    @property
    def publisher(self) -> str:
        """The component whose values the message carries; for a request the one that answers."""
        return (self.directions[-1] if self.kind is Kind.REQUEST else self.directions[0]).sender

    @property
    def initiator(self) -> str:
        """The component that begins: the publisher, the one that commands, or the one that asks."""
        if self.kind is Kind.REQUEST and len(self.directions) == 1:
            return self.directions[0].receiver
        return self.directions[0].sender

    @property
    def partner(self) -> str:
        """The component at the other end of the first hop."""
        first = self.directions[0]
        return first.receiver if self.initiator == first.sender else first.sender

    @property
    def retained(self) -> bool:
        """Whether the broker keeps the last one: states are kept, commands and requests never."""
        return self.kind in (Kind.MEASUREMENT, Kind.STATUS)

    @property
    def records(self) -> tuple[Variable, ...]:
        """The variables that travel as records of their own."""
        return tuple(variable for variable in self.variables if variable.carrier is Carrier.RECORD)

    @property
    def senml_version(self) -> int:
        """The ``bver`` of its packs: 26 where a secondary unit occurs, else 10. Source: RFC 9100."""
        return 26 if any(variable.wire_unit in SECONDARY_UNITS for variable in self.records) else 10

    def variable(self, name: str) -> Variable:
        """Returns the variable with this wire name, with or without its logical device before it.

        Raises:
            KeyError: none, or more than one.
        """
        found = [v for v in self.variables if name in (v.name, f"{v.device}/{v.name}")]
        if len(found) != 1:
            raise KeyError(f"{self.name} has {len(found)} variables named {name!r}")
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledBy:
    """What fills an interface beyond D3.1's table.

    Attributes:
        standard: the standard or protocol.
        standard_source: where D3.1 names it; empty where it is the product's choice.
        decision: how it is used here.
        messages_of: slug of the interface whose messages it has too, empty for none.
        marked_as_ours: the decision is the product's, not D3.1's.
    """

    standard: str
    standard_source: str = ""
    decision: str
    messages_of: str = ""
    marked_as_ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface of D3.1.

    Attributes:
        id: D3.1's name, such as ``EB#LESSAg``.
        slug: its name in a topic and of its data file.
        number: its number in D3.1's Table 3 or 13; None for Aggregator#GESSCon.
        section: D3.1's section.
        table: D3.1's table, empty where there is none.
        summary: what it is for, in a few words.
        information_models: D3.1's Table 20.
        filled_by: the standard or decision that fills it; None where D3.1's table says it all.
        messages: in D3.1's order.
    """

    id: str
    slug: str
    number: int | None
    section: str
    table: str
    summary: str
    information_models: tuple[str, ...]
    filled_by: FilledBy | None
    messages: tuple[Message, ...]

    @property
    def ends(self) -> tuple[str, str]:
        """The two components, in D3.1's order."""
        first, _, second = self.id.partition("#")
        return first, second

    def message(self, slug: str) -> Message:
        """Returns the message with this slug.

        Raises:
            KeyError: it has none.
        """
        for message in self.messages:
            if message.slug == slug:
                return message
        raise KeyError(f"{self.id} has no message {slug!r}")


def interface_slug(identifier: str) -> str:
    """Returns the slug of an interface: both ends in lower case, D3.1's order, the event broker last.

    ``EB#LESSAg`` gives ``lessag-eb``, ``GESSCon#LESSAg`` gives ``gesscon-lessag``.
    """
    first, _, second = identifier.partition("#")
    if first == "EB":
        first, second = second, first
    return f"{first}-{second}".lower()
