"""Attributes of common data classes: the table ``data/cdc_attributes.csv`` turned into object types.

Source: IEC 61850-7-3 (names from the IEC NSD code component, standards.md §1.9; clauses unverified).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from s4g_gateway.errors import ModelError
from s4g_gateway.model import ControlModel
from s4g_gateway.model.tables import CERTAINTY, rows
from s4g_gateway.profiles.iec61850.parts import Attribute, ObjectType, SubObject

BASIC_TYPES: Final = frozenset(
    (
        "BOOLEAN", "INT8", "INT16", "INT32", "INT64", "INT8U", "INT16U", "INT32U", "FLOAT32", "Enum", "Dbpos",
        "Quality", "Timestamp", "Check", "VisString64", "VisString255", "Unicode255", "Octet64", "ObjRef",
        "Currency", "Struct", "EntryTime",
    )
)  # fmt: skip
_COLUMNS = ("cdc", "attribute", "fc", "basic_type", "detail", "triggers", "role", "when", "certainty")
_ROLES = (
    "", "value", "quality", "time", "description", "unit", "pulse", "model", "sbo_timeout", "minimum", "maximum",
    "vendor", "hwRev", "swRev", "serNum", "model", "location", "name", "owner", "configRev", "ldNs", "lnNs",
)  # fmt: skip
_CONTROL: Final = "@control"
_ANALOGUE: Final = "@analogue"
_ORIGIN: Final = "@origin"
_SUB: Final = "sub:"
_SELECTING: Final = (ControlModel.SBO_NORMAL, ControlModel.SBO_ENHANCED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdcRow:
    """One attribute of a CDC.

    Attributes:
        attribute: path of the attribute, or ``@control`` for Oper, SBO, SBOw and Cancel.
        fc: functional constraint.
        basic_type: SCL basic type, or ``@`` and a part that is described elsewhere.
        detail: enumeration; ``*`` for the one that the data object names.
        triggers: dchg, qchg, dupd.
        role: what of a point it carries.
        when: always, or the feature that it comes with.
    """

    attribute: str
    fc: str
    basic_type: str
    detail: str
    triggers: str
    role: str
    when: str


@dataclass(frozen=True, slots=True)
class Features:
    """What a data object needs beyond what is always there.

    Attributes:
        words: any of description, unit, minimum, maximum.
        subs: sub-names in use, such as ``phsA``, each with its own features.
        enum: enumeration of its values.
        model: its control model; STATUS_ONLY has no control attributes.
    """

    words: frozenset[str] = frozenset()
    subs: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    enum: str = ""
    model: ControlModel = ControlModel.STATUS_ONLY


def parse_cdc_attributes(text: str) -> Mapping[str, tuple[CdcRow, ...]]:
    """Reads ``cdc_attributes.csv``.

    Raises:
        ModelError: an unknown basic type, role or certainty, or an attribute twice; the message names the line.
    """
    found: dict[str, list[CdcRow]] = {}
    for row in rows("cdc_attributes.csv", text, _COLUMNS):
        row.choice("certainty", CERTAINTY)
        kind = row["basic_type"]
        if kind not in BASIC_TYPES and not kind.startswith("@"):
            raise row.fail(f"unknown basic type {kind!r}, expected one of {', '.join(sorted(BASIC_TYPES))}")
        entry = CdcRow(
            attribute=row["attribute"],
            fc=row["fc"],
            basic_type=kind,
            detail=row["detail"],
            triggers=row["triggers"],
            role=row.choice("role", _ROLES),
            when=row["when"],
        )
        own = found.setdefault(row["cdc"], [])
        if any(other.attribute == entry.attribute for other in own):
            raise row.fail(f"{row['cdc']}.{entry.attribute} stands twice")
        own.append(entry)
    return MappingProxyType({cdc: tuple(entries) for cdc, entries in found.items()})


def parse_enumerations(text: str) -> Mapping[str, Mapping[int, str]]:
    """Reads ``enumerations.csv``.

    Raises:
        ModelError: a value that is no integer or stands twice; the message names the line.
    """
    found: dict[str, dict[int, str]] = {}
    for row in rows("enumerations.csv", text, ("enum", "value", "literal", "certainty")):
        row.choice("certainty", CERTAINTY)
        value = int(row.number("value"))
        own = found.setdefault(row["enum"], {})
        if value in own:
            raise row.fail(f"{row['enum']} {value} stands twice")
        own[value] = row["literal"]
    return MappingProxyType({name: MappingProxyType(own) for name, own in found.items()})


def _text(name: str) -> str:
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")


@cache
def load_cdc_attributes() -> Mapping[str, tuple[CdcRow, ...]]:
    """Returns the attributes of each CDC; read once."""
    return parse_cdc_attributes(_text("cdc_attributes.csv"))


@cache
def load_enumerations() -> Mapping[str, Mapping[int, str]]:
    """Returns the enumerations whose literals are public; read once."""
    return parse_enumerations(_text("enumerations.csv"))


def cdc_rows(cdc: str) -> tuple[CdcRow, ...]:
    """Returns the attributes of a CDC.

    Raises:
        ModelError: the table has none for it.
    """
    found = load_cdc_attributes().get(cdc)
    if found is None:
        raise ModelError(f"CDC {cdc} has no attributes in cdc_attributes.csv")
    return found


def attribute_for(cdc: str, role: str) -> CdcRow | None:
    """Returns the attribute of a CDC that carries the value, quality, time or unit; None where it has none."""
    return next((row for row in cdc_rows(cdc) if row.role == role), None)


class TypeTable:
    """Object types by structure: equal ones are made once."""

    def __init__(self) -> None:
        self.types: dict[str, ObjectType] = {}
        self._known: dict[tuple[str, tuple[Attribute | SubObject, ...]], str] = {}
        self._counts: dict[str, int] = {}

    def type_for(self, cdc: str, features: Features) -> str:
        """Returns the id of the type of data objects with these features.

        Raises:
            ModelError: the CDC is not in the table.
        """
        parts: list[Attribute | SubObject] = []
        for row in cdc_rows(cdc):
            if not _is_wanted(row, features):
                continue
            if row.basic_type.startswith("@C"):
                words = features.subs.get(row.attribute, frozenset())
                parts.append(
                    SubObject(
                        name=row.attribute, type_id=self.type_for(row.basic_type[1:], Features(words=words))
                    )
                )
            elif row.attribute == _CONTROL:
                parts += _control_attributes(row, features)
            else:
                _place(parts, row.attribute.split("."), row, features)
        key = (cdc, tuple(parts))
        known = self._known.get(key)
        if known is None:
            self._counts[cdc] = self._counts.get(cdc, 0) + 1
            known = self._known[key] = f"{cdc}_{self._counts[cdc]}"
            self.types[known] = ObjectType(type_id=known, cdc=cdc, parts=tuple(parts))
        return known


def _is_wanted(row: CdcRow, features: Features) -> bool:
    if row.when == "always" or row.when in features.words:
        return True
    if row.when.startswith(_SUB):
        return row.when.removeprefix(_SUB) in features.subs
    if row.when == "control":
        return features.model is not ControlModel.STATUS_ONLY
    return row.when == "select" and features.model in _SELECTING


def _enum(row: CdcRow, features: Features) -> str:
    if row.basic_type != "Enum":
        return ""
    return features.enum or "UnspecifiedKind" if row.detail == "*" else row.detail


def _place(parts: list[Attribute | SubObject], path: Sequence[str], row: CdcRow, features: Features) -> None:
    """Puts an attribute at its path, making structures on the way."""
    if len(path) == 1:
        inner = _origin(row.fc) if row.basic_type == _ORIGIN else ()
        basic = "Struct" if row.basic_type == _ORIGIN else row.basic_type
        parts.append(
            Attribute(
                name=path[0],
                fc=row.fc,
                basic_type=basic,
                enum=_enum(row, features),
                triggers=row.triggers,
                parts=inner,
            )
        )
        return
    below: list[Attribute | SubObject] = []
    last = parts[-1] if parts else None
    if isinstance(last, Attribute) and last.name == path[0]:
        below += last.parts
        parts.pop()
    _place(below, path[1:], row, features)
    kept = tuple(part for part in below if isinstance(part, Attribute))
    parts.append(Attribute(name=path[0], fc=row.fc, basic_type="Struct", triggers=row.triggers, parts=kept))


def _origin(fc: str) -> tuple[Attribute, ...]:
    return (
        Attribute(name="orCat", fc=fc, basic_type="Enum", enum="OriginatorCategoryKind"),
        Attribute(name="orIdent", fc=fc, basic_type="Octet64"),
    )


def _control_attributes(row: CdcRow, features: Features) -> Iterable[Attribute]:
    """Returns SBO or SBOw, Oper and Cancel as the control model wants them.

    Source: IEC 61850-8-1 control service parameters (clause unverified, via libiec61850).
    """
    fc = row.fc
    if row.basic_type == _ANALOGUE:
        value = Attribute(
            name="ctlVal",
            fc=fc,
            basic_type="Struct",
            parts=(Attribute(name="f", fc=fc, basic_type="FLOAT32"),),
        )
    else:
        value = Attribute(name="ctlVal", fc=fc, basic_type=row.basic_type, enum=_enum(row, features))
    shared = (
        value,
        Attribute(name="origin", fc=fc, basic_type="Struct", parts=_origin(fc)),
        Attribute(name="ctlNum", fc=fc, basic_type="INT8U"),
        Attribute(name="T", fc=fc, basic_type="Timestamp"),
        Attribute(name="Test", fc=fc, basic_type="BOOLEAN"),
    )
    whole = (*shared, Attribute(name="Check", fc=fc, basic_type="Check"))
    if features.model is ControlModel.SBO_NORMAL:
        yield Attribute(name="SBO", fc=fc, basic_type="ObjRef")
    if features.model is ControlModel.SBO_ENHANCED:
        yield Attribute(name="SBOw", fc=fc, basic_type="Struct", parts=whole)
    yield Attribute(name="Oper", fc=fc, basic_type="Struct", parts=whole)
    if features.model in _SELECTING:
        yield Attribute(name="Cancel", fc=fc, basic_type="Struct", parts=shared)
