"""Logical nodes and common data classes: which names exist, of which kind, and where they come from.

The tables are ``data/logical_nodes.csv`` and ``data/cdc.csv``; ``data/SOURCE.toml`` says where they come
from. LN classes of TR 61850-90-8 (DEEV, DESE, DEOL) are of medium certainty, and most of their presence
codes are not public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import TypeVar

from s4g_gateway.errors import ModelError
from s4g_gateway.model.data_set import ValueType
from s4g_gateway.model.reference import parse_reference
from s4g_gateway.model.tables import CERTAINTY, rows, table_text

PRESENCE: Mapping[str, str] = MappingProxyType(
    {
        "M": "mandatory",
        "O": "optional",
        "F": "forbidden but in derived statistics",
        "MF": "mandatory where the argument is present, else forbidden",
        "OF": "optional where the argument is present, else forbidden",
        "Mmulti": "mandatory, several with an instance number",
        "Omulti": "optional, several with an instance number",
        "MmultiF": "several mandatory where the argument is present, else forbidden",
        "AtLeastOne": "at least one of the group",
        "AtMostOne": "at most one of the group",
        "AllOnlyOneGroup": "exactly one group of the class, complete",
        "MOcond": "mandatory under a condition of the standard, else optional",
        "MONamPlt": "mandatory where the name plate differs from LLN0, else optional",
        "MOrootLD": "mandatory in the root logical device, else optional",
        "unknown": "not in any public source",
    }
)
"""Presence codes in our words.

Source: IEC NSD code component, 7-4:2007B and 7-420:2019A (clauses unverified).
"""

_LISTED = 60  # a longer list helps nobody in an error message
_T = TypeVar("_T")
_KINDS = ("status", "measured", "control", "setting", "description")
_CDC_COLUMNS = ("cdc", "kind", "fc", "value_type", "sub_names", "sub_cdc", "sub_value_type")
_LN_COLUMNS = (
    "namespace",
    "ln_class",
    "certainty",
    "inherited_from",
    "data_object",
    "cdc",
    "enum",
    "presence",
    "presence_args",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonDataClass:
    """A CDC of IEC 61850-7-3, as far as the model needs it.

    Attributes:
        name: such as ``MV``.
        kind: status, measured, control, setting or description.
        fc: functional constraint under which its value is read: ST, MX, SP or DC.
        value_type: kind of its one value; None where it has no single value (WYE, CSG, DPL ...).
        sub_names: names that may follow the data object, such as ``phsA``.
        sub_cdc: CDC of a sub-name; empty where a sub-name is a plain attribute.
        sub_value_type: kind of a sub-name's value.
    """

    name: str
    kind: str
    fc: str
    value_type: ValueType | None
    sub_names: tuple[str, ...]
    sub_cdc: str
    sub_value_type: ValueType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """A data object of a logical node class.

    Attributes:
        name: such as ``SocEffWhPct``; without the instance number of a repeatable one.
        cdc: common data class.
        enum: enumeration of its values, empty for none or not public.
        presence: a key of ``PRESENCE``.
        presence_args: group or partner that the presence code refers to.
        inherited_from: abstract class that declares it; empty for its own.
    """

    name: str
    cdc: str
    enum: str
    presence: str
    presence_args: str
    inherited_from: str

    @property
    def is_repeatable(self) -> bool:
        """True where an instance number may follow the name, as in ``StrTm1``."""
        return "multi" in self.presence


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalNode:
    """A logical node class.

    Attributes:
        ln_class: four letters, such as ``DSTO``.
        namespace: name space that defines it.
        certainty: solid, medium or weak: how well its source is known.
        data_objects: by name, inherited ones included.
    """

    ln_class: str
    namespace: str
    certainty: str
    data_objects: Mapping[str, DataObject]


def parse_common_data_classes(text: str) -> Mapping[str, CommonDataClass]:
    """Reads ``cdc.csv``.

    Raises:
        ModelError: unknown kind or value type, a CDC twice, sub-names without a value type.
    """
    classes: dict[str, CommonDataClass] = {}
    value_types = ("", *(value_type.value for value_type in ValueType))
    for row in rows("cdc.csv", text, _CDC_COLUMNS):
        name = row["cdc"]
        if name in classes:
            raise row.fail(f"CDC {name} stands twice")
        own, sub = row.choice("value_type", value_types), row.choice("sub_value_type", value_types)
        if bool(row["sub_names"]) != bool(sub):
            raise row.fail("sub_names and sub_value_type go together")
        classes[name] = CommonDataClass(
            name=name,
            kind=row.choice("kind", _KINDS),
            fc=row.choice("fc", ("ST", "MX", "SP", "DC")),
            value_type=ValueType(own) if own else None,
            sub_names=tuple(row["sub_names"].split()),
            sub_cdc=row["sub_cdc"],
            sub_value_type=ValueType(sub) if sub else None,
        )
    return MappingProxyType(classes)


def parse_logical_nodes(text: str, data_classes: Mapping[str, CommonDataClass]) -> Mapping[str, LogicalNode]:
    """Reads ``logical_nodes.csv``.

    Args:
        text: content of the table.
        data_classes: the CDCs that may occur.

    Raises:
        ModelError: unknown CDC, presence code or certainty, a data object twice, or an LN class that stands
            in two name spaces; the message names the line.
    """
    objects: dict[str, dict[str, DataObject]] = {}
    heads: dict[str, tuple[str, str]] = {}
    for row in rows("logical_nodes.csv", text, _LN_COLUMNS):
        ln_class, name = row["ln_class"], row["data_object"]
        head = (row["namespace"], row.choice("certainty", CERTAINTY))
        if heads.setdefault(ln_class, head) != head:
            raise row.fail(f"{ln_class} is {head} here and {heads[ln_class]} above")
        if row["cdc"] not in data_classes:
            raise row.fail(f"unknown CDC {row['cdc']!r} of {ln_class}.{name}")
        if row["presence"] not in PRESENCE:
            raise row.fail(f"unknown presence code {row['presence']!r} of {ln_class}.{name}")
        own = objects.setdefault(ln_class, {})
        if name in own:
            raise row.fail(f"{ln_class}.{name} stands twice")
        own[name] = DataObject(
            name=name,
            cdc=row["cdc"],
            enum=row["enum"],
            presence=row["presence"],
            presence_args=row["presence_args"],
            inherited_from=row["inherited_from"],
        )
    return MappingProxyType(
        {
            ln_class: LogicalNode(
                ln_class=ln_class,
                namespace=namespace,
                certainty=certainty,
                data_objects=MappingProxyType(objects[ln_class]),
            )
            for ln_class, (namespace, certainty) in heads.items()
        }
    )


@cache
def load_common_data_classes() -> Mapping[str, CommonDataClass]:
    """Returns the CDCs by name; read once."""
    return parse_common_data_classes(table_text("cdc.csv"))


@cache
def load_logical_nodes() -> Mapping[str, LogicalNode]:
    """Returns the logical node classes by name; read once."""
    return parse_logical_nodes(table_text("logical_nodes.csv"), load_common_data_classes())


def common_data_class(cdc: str) -> CommonDataClass:
    """Returns a CDC.

    Raises:
        ModelError: it is not in the table.
    """
    return _entry("CDC", cdc, load_common_data_classes())


def value_type_of(cdc: str) -> ValueType:
    """Returns the kind of the CDC's one value.

    Raises:
        ModelError: unknown CDC, or one without a single value.
    """
    entry = common_data_class(cdc)
    if entry.value_type is None:
        hint = f"; expected one of its members {', '.join(entry.sub_names)}" if entry.sub_names else ""
        raise ModelError(f"CDC {cdc} has no single value{hint}")
    return entry.value_type


def is_controllable(cdc: str) -> bool:
    """True where data of this CDC takes Controls (SPC, DPC, INC, ENC, APC); settings (ASG ...) do not count.

    Raises:
        ModelError: unknown CDC.
    """
    return common_data_class(cdc).kind == "control"


def logical_node(ln_class: str) -> LogicalNode:
    """Returns a logical node class.

    Raises:
        ModelError: it is not in the table; the message names what comes close.
    """
    return _entry("LN class", ln_class, load_logical_nodes())


def check_against_table(reference: str) -> DataObject:
    """Finds the data object that an ObjectReference names.

    Args:
        reference: such as ``ESS1/DSTO1.SocEffWhPct``, ``SCH1/FSCH1.StrTm1`` or ``PCC1/MMXU1.PhV.phsA``.

    Returns:
        The data object; for ``PhV.phsA`` it is ``PhV``.

    Raises:
        ModelError: malformed, or the LN class, data object or sub-name is not in the tables; the message
            names what comes close.
    """
    return _resolve(reference)[0]


def leaf_cdc(reference: str) -> str:
    """Returns the CDC of what the reference's last name is: ``CMV`` for ``PCC1/MMXU1.PhV.phsA``.

    A plain attribute, such as ``LPHD1.PhyNam.vendor``, has its data object's CDC.

    Raises:
        ModelError: see ``check_against_table``.
    """
    data_object, sub_name = _resolve(reference)
    return (common_data_class(data_object.cdc).sub_cdc if sub_name else "") or data_object.cdc


def point_type(reference: str) -> ValueType:
    """Returns the kind of value a point with this reference carries.

    Raises:
        ModelError: see ``check_against_table``; or the reference names a structure, not a single value.
    """
    data_object, sub_name = _resolve(reference)
    entry = common_data_class(data_object.cdc)
    if sub_name and entry.sub_value_type is not None:
        return entry.sub_value_type
    return value_type_of(data_object.cdc)


def _resolve(reference: str) -> tuple[DataObject, str]:
    parts = parse_reference(reference)
    node = logical_node(parts.ln_class)
    name, _, sub_name = parts.data.partition(".")
    data_object = node.data_objects.get(name)
    if data_object is None:
        base = node.data_objects.get(name.rstrip("0123456789"))
        if base is None or not base.is_repeatable:
            kind = f"data object of {node.ln_class}"
            raise ModelError(f"{reference}: {_unknown(kind, name, node.data_objects)}")
        data_object = base
    if sub_name:
        allowed = common_data_class(data_object.cdc).sub_names
        if sub_name not in allowed:
            kind = f"member of {node.ln_class}.{name} (CDC {data_object.cdc})"
            raise ModelError(f"{reference}: {_unknown(kind, sub_name, allowed)}")
    return data_object, sub_name


def _entry(kind: str, name: str, table: Mapping[str, _T]) -> _T:
    if name not in table:
        raise ModelError(_unknown(kind, name, table))
    return table[name]


def _unknown(kind: str, name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    close = get_close_matches(name, list(known), n=3, cutoff=0.5)
    if close:
        return f"{name!r} is no known {kind}; did you mean {' or '.join(close)}?"
    listing = f"; expected one of {', '.join(known)}" if 0 < len(known) <= _LISTED else ""
    return f"{name!r} is no known {kind}{listing}"
