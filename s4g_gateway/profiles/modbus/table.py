"""Register tables: any Modbus device described in a TOML file.

docs/modbus.md explains the format; ``RegisterTable`` and ``Register`` are its schema.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ConfigError, ModelError, Problem
from s4g_gateway.model import ValueType, parse_reference
from s4g_gateway.model.units import check_unit
from s4g_gateway.profiles.modbus.reads import MAX_READ_REGISTERS, Function

RegisterType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string", "bit"
]
Place = Literal["holding", "input", "coil", "discrete"]
Order = Literal["big", "little"]

FUNCTIONS: dict[str, Function] = {
    "holding": Function.READ_HOLDING_REGISTERS,
    "input": Function.READ_INPUT_REGISTERS,
    "coil": Function.READ_COILS,
    "discrete": Function.READ_DISCRETE_INPUTS,
}
CODES: dict[str, str] = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f",
    "float64": "d",
}  # fmt: skip
_REGISTERS = {"h": 1, "H": 1, "i": 2, "I": 2, "q": 4, "Q": 4, "f": 2, "d": 4}


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of the device.

    Attributes:
        address: PDU address of its first register, or of its coil, from 0.
        type: how it is coded; ``bit`` alone for coils and discrete inputs, or with ``bit`` for one bit of a
            register.
        reference: ObjectReference, roles of ``logical_devices`` in braces.
        place: which of the four tables of Modbus; the file's ``place`` where missing.
        count: registers of a string.
        bit: number of the bit within a 16-bit register, 0 the least significant.
        word_order: order of the registers of a longer value.
        byte_order: order of the bytes within a register.
        scale: canonical value = raw x scale x sign + offset; exact decimal.
        offset: see scale, in ``unit``.
        sign: -1 where the device counts the other way round.
        values: raw state to canonical state.
        invalid: raw values that mean "no value".
        unit: canonical unit.
        cdc: common data class.
        value_type: kind of value where type and ``values`` do not say it: integer keeps a count unscaled.
        rate: read with the measurements or with the settings.
        writable: true makes it a controllable point; holding registers and coils only.
        release: canonical value that gives the device back to its own rule; none where a set-point stays.
        deadband: smallest change worth reporting, in ``unit``.
        minimum: smallest plausible value and smallest set-point.
        maximum: greatest plausible value and greatest set-point.
        description: one line for people.
    """

    address: Annotated[int, Meta(ge=0, le=65535)]
    type: RegisterType
    reference: str
    place: Place | None = None
    count: Annotated[int, Meta(ge=1, le=MAX_READ_REGISTERS)] | None = None
    bit: Annotated[int, Meta(ge=0, le=15)] | None = None
    word_order: Order | None = None
    byte_order: Order | None = None
    scale: float = 1.0
    offset: float = 0.0
    sign: Literal[1, -1] = 1
    values: dict[str, int] = {}
    invalid: list[int] = []
    unit: str = ""
    cdc: str = ""
    value_type: Literal["float", "integer"] | None = None
    rate: Literal["measurement", "setting"] = "measurement"
    writable: bool = False
    release: float | None = None
    deadband: Annotated[float, Meta(ge=0)] = 0.0
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    @property
    def kind(self) -> ValueType:
        """Kind of the canonical value."""
        if self.type == "bit":
            return ValueType.BOOLEAN
        if self.type == "string":
            return ValueType.TEXT
        if self.values:
            return ValueType.ENUMERATED
        return ValueType.INTEGER if self.value_type == "integer" else ValueType.FLOAT

    @property
    def registers(self) -> int:
        """How many registers or bits it fills."""
        if self.type == "string":
            return self.count or 1
        return 1 if self.type == "bit" else _REGISTERS[CODES[self.type]]

    @property
    def code(self) -> str:
        """Struct code of its registers."""
        if self.type == "string":
            return f"{2 * self.registers}s"
        return "H" if self.type == "bit" else CODES[self.type]


class RegisterTable(msgspec.Struct, frozen=True, eq=False, kw_only=True, forbid_unknown_fields=True):
    """A kind of device; two tables are the same only if they are one object.

    Attributes:
        title: what it is, for people.
        register: its values.
        logical_devices: roles and the usual names of their logical devices.
        place: table of Modbus of rows that do not say.
        word_order: word order of rows that do not say.
        byte_order: byte order of rows that do not say.
        max_registers: longest read the device allows.
        gap_limit_registers: greatest run of unlisted registers to read along; 0 for devices that refuse reads
            of registers they do not have.
    """

    title: str
    register: Annotated[list[Register], Meta(min_length=1)]
    logical_devices: dict[str, str] = {}
    place: Place = "holding"
    word_order: Order = "big"
    byte_order: Order = "big"
    max_registers: Annotated[int, Meta(ge=4, le=MAX_READ_REGISTERS)] = MAX_READ_REGISTERS
    gap_limit_registers: Annotated[int, Meta(ge=0, le=MAX_READ_REGISTERS)] = 16


def load_table(path: Path) -> RegisterTable:
    """Reads a register table.

    Raises:
        ConfigError: every problem, with file and key.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            [Problem(file=str(path), key="", found=str(error), expected="a register table")]
        ) from error
    return parse_table(data, str(path))


@lru_cache(maxsize=64)
def parse_table(data: bytes, file: str) -> RegisterTable:
    """Decodes and checks a register table; errors as ``load_table``.

    A thousand devices of one kind share one table.

    Args:
        data: the file's contents.
        file: its path, for errors.
    """
    try:
        table = msgspec.toml.decode(data, type=RegisterTable)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        problem = Problem(
            file=file, key=where.rstrip("`"), found=what, expected="the format of docs/modbus.md"
        )
        raise ConfigError([problem]) from error
    except msgspec.DecodeError as error:
        raise ConfigError([Problem(file=file, key="", found=str(error), expected="a TOML file")]) from error
    problems = [
        Problem(file=file, key=f"register[{position}].{key}", found=found, expected=expected)
        for position, row in enumerate(table.register)
        for key, found, expected in _faults(table, row)
    ]
    if problems:
        raise ConfigError(problems)
    return table


def _faults(table: RegisterTable, row: Register) -> list[tuple[str, str, str]]:
    faults: list[tuple[str, str, str]] = []
    place = row.place or table.place
    is_bits = place in ("coil", "discrete")
    if is_bits and (row.type != "bit" or row.bit is not None):
        faults.append(("type", f"{row.type} in a {place}", "bit, without a bit number"))
    if not is_bits and row.type == "bit" and row.bit is None:
        faults.append(("bit", "nothing", "the number of the bit within the register, 0 to 15"))
    if row.bit is not None and row.type != "bit":
        faults.append(("bit", str(row.bit), f"no bit number for {row.type}"))
    if (row.count is not None) != (row.type == "string"):
        faults.append(("count", str(row.count), "a count for strings, and for strings only"))
    if row.type in ("bit", "string", "float32", "float64") and (row.values or row.value_type == "integer"):
        faults.append(("values", row.type, "states and counts only of integer types"))
    if row.scale == 0 or not isfinite(row.scale):
        faults.append(("scale", str(row.scale), "a finite number other than 0"))
    if not isfinite(row.offset):
        faults.append(("offset", str(row.offset), "a finite number"))
    if row.kind is not ValueType.FLOAT and (row.scale != 1 or row.offset != 0 or row.sign != 1):
        faults.append(("scale", "scale, offset or sign", f"none of them for {row.kind} values"))
    if row.writable and place not in ("holding", "coil"):
        faults.append(("writable", f"true in {place}", "true for holding registers and coils only"))
    if row.writable and (row.type == "string" or (row.type == "bit" and not is_bits)):
        faults.append(("writable", f"true for {row.type}", "true for numbers, states and coils only"))
    if row.release is not None and not row.writable:
        faults.append(("release", str(row.release), "no release value where writable is not true"))
    if row.address + row.registers > 65536:
        faults.append(("address", str(row.address), "registers up to 65535"))
    faults += [
        (f"values.{state}", state, "a raw integer as key")
        for state in row.values
        if not state.lstrip("-").isdigit()
    ]
    try:
        check_unit(row.unit)
    except ModelError as error:
        faults.append(("unit", repr(row.unit), str(error).partition("; expected ")[2]))
    try:
        parse_reference(row.reference.format_map(table.logical_devices))
    except (ModelError, KeyError, ValueError, IndexError) as error:
        faults.append(("reference", row.reference, f"an ObjectReference ({error})"))
    return faults
