"""The table of ASDU types: how each one's information element lies in octets.

The table itself is ``data/elements.toml``; this module loads it once, checks it and freezes it.
"""

from __future__ import annotations

import struct
import tomllib
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from s4g_gateway.codecs.iec104.cp56time import TIME_BYTES
from s4g_gateway.codecs.iec104.identifiers import TypeId
from s4g_gateway.errors import ProfileError

ADDRESS_BYTES: Final = 3
_FIELD_BITS: Final = {"B": 8, "b": 8, "H": 16, "h": 16, "I": 32, "i": 32, "f": 32}
_COLUMNS: Final = ("value", "quality", "qualifier", "select")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where one logical column of an element stands.

    Attributes:
        field: index into the element's wire fields.
        mask: its bits in that field; 0 for the whole field.
        shift: how far the bits are shifted down.
        sign: weight of the sign bit after shifting; 0 for an unsigned column.
    """

    field: int
    mask: int = 0
    shift: int = 0
    sign: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AsduType:
    """One row of the table.

    Attributes:
        type_id: type identification.
        element: name of its information element.
        fields: struct code of each wire field, little endian.
        value: column of the value; None for types without one.
        quality: column of the quality bits.
        qualifier: column of the command qualifier, transient bit or counter flags.
        select: column of the select/execute bit.
        timed: a CP56Time2a follows the element.
        control: sent by the master; else by the outstation.
        sequence: SQ=1 is allowed.
        single: exactly one object is allowed.
        element_struct: element and time tag without address.
        object_struct: address as low 16 and high 8 bits, then element and time tag.
    """

    type_id: TypeId
    element: str
    fields: str
    value: Column | None
    quality: Column | None
    qualifier: Column | None
    select: Column | None
    timed: bool
    control: bool
    sequence: bool
    single: bool
    element_struct: struct.Struct
    object_struct: struct.Struct

    @property
    def is_float(self) -> bool:
        """True where the value is a short float."""
        return self.value is not None and self.fields[self.value.field] == "f"


def _fail(what: str, found: object, expected: str) -> ProfileError:
    return ProfileError(f"elements.toml: {what}: found {found!r}, expected {expected}")


def _column(name: str, key: str, raw: dict[str, Any], fields: str) -> Column:
    field, mask = raw.get("field"), raw.get("mask", 0)
    unknown = raw.keys() - {"field", "mask", "signed"}
    if unknown or not isinstance(field, int) or not 0 <= field < len(fields):
        raise _fail(f"element.{name}.{key}", raw, f"field 0 to {len(fields) - 1}, mask, signed")
    if not isinstance(mask, int) or not 0 <= mask < 1 << _FIELD_BITS[fields[field]]:
        raise _fail(f"element.{name}.{key}.mask", mask, "bits of the field")
    lowest = (mask & -mask).bit_length() - 1 if mask else 0
    width = (mask >> lowest).bit_length()
    return Column(
        field=field,
        mask=mask,
        shift=0 if key == "quality" else lowest,
        sign=1 << (width - 1) if raw.get("signed", False) else 0,
    )


def load_asdu_types(text: str) -> MappingProxyType[int, AsduType]:
    """Returns the table that ``text`` (TOML) describes, by type identification.

    Raises:
        ProfileError: a row or column that contradicts itself; names its key.
    """
    table = tomllib.loads(text)
    rows: dict[int, AsduType] = {}
    for number, raw in table["type"].items():
        name, element = raw.get("name"), raw.get("element")
        unknown = raw.keys() - {"name", "element", "time", "direction", "sequence", "single"}
        if unknown or raw.get("direction") not in ("monitor", "control"):
            raise _fail(f"type.{number}", raw, "name, element, time, direction, sequence, single")
        if TypeId.__members__.get(name) != int(number):
            raise _fail(f"type.{number}.name", name, "the name of that type")
        if element not in table["element"]:
            raise _fail(f"type.{number}.element", element, "an element of the table")
        layout = table["element"][element]
        fields = layout["format"]
        if any(code not in _FIELD_BITS for code in fields):
            raise _fail(f"element.{element}.format", fields, f"codes of {' '.join(_FIELD_BITS)}")
        timed = bool(raw.get("time", False))
        tail = f"{TIME_BYTES}s" if timed else ""
        columns = {
            key: _column(element, key, layout[key], fields) if key in layout else None for key in _COLUMNS
        }
        rows[int(number)] = AsduType(
            type_id=TypeId(int(number)),
            element=element,
            fields=fields,
            timed=timed,
            control=raw["direction"] == "control",
            sequence=bool(raw.get("sequence", False)),
            single=bool(raw.get("single", False)),
            element_struct=struct.Struct(f"<{fields}{tail}"),
            object_struct=struct.Struct(f"<HB{fields}{tail}"),
            **columns,
        )
    missing = set(TypeId) - rows.keys()
    if missing:
        raise _fail("type", sorted(missing), "a row for every TypeId")
    return MappingProxyType(rows)


ASDU_TYPES: Final = load_asdu_types(
    resources.files("s4g_gateway.codecs.iec104").joinpath("data/elements.toml").read_text(encoding="utf-8")
)
"""Every type this stack knows, by type identification."""
