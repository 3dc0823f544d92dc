"""Mapping data: which SunSpec point is which canonical point, in ``mapping/*.toml`` and ``devices/*.toml``.

A mapping file serves a family of models (101 to 103 and 111 to 113 share it); a device template says which
mapping files make up a device and under which logical devices. Names in braces are filled in by the template.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ConfigError, Problem, ProfileError
from s4g_gateway.model import ValueType
from s4g_gateway.model.units import check_unit
from s4g_gateway.profiles.sunspec.definition import known_models

_PACKAGE = files("s4g_gateway.profiles.sunspec")

Rate = Literal["measurement", "setting"]
Rule = Literal["sum", "difference", "magnitude", "positive", "signed", "share", "health", "window"]
Recipe = Literal["set-and-enable", "storage-window", "command"]


class PointMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SunSpec point as a canonical point.

    Attributes:
        point: path of the SunSpec point within its model.
        reference: pattern of the ObjectReference.
        unit: canonical unit.
        cdc: common data class.
        type: kind of value.
        rate: read with the measurements or with the settings.
        factor: canonical value = SunSpec value x factor x sign.
        sign: 1, -1, or the name of a per-device sign option.
        values: SunSpec state to canonical state; others become questionable without value.
        bit: number of the bit of a bitfield that is the value.
        equals: states that make the value true.
        models: only for these models of the file's list; empty for all.
        deadband: smallest change worth reporting, in unit.
        minimum: smallest plausible value.
        maximum: greatest plausible value.
        rated: plausible up to this many times the device's rated power, both ways where signed.
        description: one line for people.
    """

    point: str
    reference: str
    unit: str = ""
    cdc: str = "MV"
    type: ValueType = ValueType.FLOAT
    rate: Rate = "measurement"
    factor: float = 1.0
    sign: Literal[1, -1, "meter", "battery"] = 1
    values: dict[str, int] = {}
    bit: Annotated[int, Meta(ge=0, le=63)] | None = None
    equals: list[int] = []
    models: list[int] = []
    deadband: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    rated: float | None = None
    description: str

    @property
    def is_analog(self) -> bool:
        """True where the value is scaled, not translated."""
        return self.type is ValueType.FLOAT


class ControlMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One controllable point.

    Attributes:
        reference: pattern of the ObjectReference.
        recipe: how it is carried out: ``set-and-enable`` writes a value and an enable register;
            ``storage-window`` closes model 124's charge/discharge window on the set-point; ``command`` writes
            the register value that stands for a state.
        value: path of the register that takes the value.
        enable: path of the register that puts it in force.
        enabled: raw value of ``enable`` in force.
        released: raw value of ``enable`` when given back.
        preset: raw values of other registers, written first.
        reversion: path of the device's own reversion timer, in s.
        commands: canonical state to raw value.
        excitation: ``sign`` where the sign of the value says over-excited (+) or under-excited (-); else path
            of the register that says so (0 over, 1 under).
        excitation_reference: pattern of the point that chooses the excitation.
        unit: canonical unit.
        type: kind of ctlVal.
        factor: canonical value = register value x factor.
        minimum: smallest ctlVal.
        maximum: greatest ctlVal.
        rated: limits are this many times the device's rated storage power, both ways.
        models: only for these models of the file's list; empty for all.
        expires: as in ControlPoint.
        functions: codes of the functions of TR 61850-90-7 whose set-point it is.
        description: one line for people.
    """

    reference: str
    recipe: Recipe
    value: str
    enable: str = ""
    enabled: int = 1
    released: int = 0
    preset: dict[str, int] = {}
    reversion: str = ""
    commands: dict[str, int] = {}
    excitation: str = ""
    excitation_reference: str = ""
    unit: str = ""
    type: ValueType = ValueType.FLOAT
    factor: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    rated: float | None = None
    models: list[int] = []
    expires: bool = True
    functions: tuple[str, ...] = ()
    description: str


class FunctionMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Functions of TR 61850-90-7 that are more than one set-point; which registers they use says their table.

    Attributes:
        reference: pattern of the ObjectReference that takes their requests.
        functions: their codes.
        description: one line for people.
    """

    reference: str
    functions: Annotated[tuple[str, ...], Meta(min_length=1)]
    description: str


class Derivation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A canonical point made of several SunSpec points.

    Attributes:
        reference: pattern of the ObjectReference.
        rule: name of a rule of ``derived.py``.
        inputs: ``model:point``, or reference patterns of the same device's measurements.
        unit: as in PointMapping, likewise the others.
    """

    reference: str
    rule: Rule
    inputs: Annotated[list[str], Meta(min_length=1)]
    unit: str = ""
    cdc: str = "MV"
    type: ValueType = ValueType.FLOAT
    deadband: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    rated: float | None = None
    description: str


class MappingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mapping file.

    Attributes:
        title: what it maps.
        models: the models it serves; the first that the device has is taken.
        point: its points.
        control: its controllable points.
        function: functions that its models carry.
        derived: points made of several of its points.
    """

    title: str
    models: Annotated[list[int], Meta(min_length=1)]
    point: list[PointMapping] = []
    control: list[ControlMapping] = []
    function: list[FunctionMapping] = []
    derived: list[Derivation] = []


class Use(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping file as part of a device.

    Attributes:
        mapping: name of the file.
        fill: names in braces and what stands for them; may hold logical-device names in braces.
        occurrence: which of several such models of the device, from 1.
        omit: reference patterns, as the file has them, that this device does not offer.
        optional: true where devices of this kind may well lack the model: it is then not said.
    """

    mapping: str
    fill: dict[str, str] = {}
    occurrence: Annotated[int, Meta(ge=1)] = 1
    omit: list[str] = []
    optional: bool = False


class Template(msgspec.Struct, frozen=True, eq=False, kw_only=True, forbid_unknown_fields=True):
    """A kind of device; two templates are the same only if they are one object.

    Attributes:
        title: what it is, for people.
        logical_devices: roles and the conventional names of their logical devices.
        use: the mapping files it is made of.
        derived: points made of several others.
        notes: what to know when connecting one.
    """

    title: str
    logical_devices: Annotated[dict[str, str], Meta(min_length=1)]
    use: Annotated[list[Use], Meta(min_length=1)]
    derived: list[Derivation] = []
    notes: str = ""


T = TypeVar("T", MappingFile, Template)


def template_names() -> tuple[str, ...]:
    """Returns the names of the templates that come with the product."""
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in (_PACKAGE / "devices").iterdir()
            if entry.name.endswith(".toml")
        )
    )


def load_template(name: str, directory: Path | None = None) -> Template:
    """Loads a device template.

    Args:
        name: name of one that comes with the product, or path of a TOML file of the user's.
        directory: folder where relative paths start.

    Raises:
        ConfigError: there is none of that name, or the file breaks the rules.
    """
    if name.endswith(".toml"):
        path = (directory or Path()) / name
        try:
            return _decode(path.read_bytes(), Template, str(path))
        except OSError as error:
            raise ConfigError(
                [Problem(file=str(path), key="", found=str(error), expected="a device template")]
            ) from error
        except ProfileError as error:
            raise ConfigError(
                [Problem(file=str(path), key="", found=str(error), expected="a device template")]
            ) from error
    if name not in template_names():
        expected = "one of " + ", ".join(template_names()) + ", or a path that ends in .toml"
        raise ConfigError([Problem(file="", key="template", found=repr(name), expected=expected)])
    return _bundled_template(name)


@cache
def _bundled_template(name: str) -> Template:
    return _decode((_PACKAGE / "devices" / f"{name}.toml").read_bytes(), Template, f"devices/{name}.toml")


@cache
def load_mapping(name: str) -> MappingFile:
    """Loads a mapping file.

    Raises:
        ProfileError: there is none of that name, or it breaks the rules; the message names file and key.
    """
    try:
        data = (_PACKAGE / "mapping" / f"{name}.toml").read_bytes()
    except FileNotFoundError:
        raise ProfileError(f"no mapping file {name!r}") from None
    where = f"mapping/{name}.toml"
    mapping = _decode(data, MappingFile, where)
    for model_id in mapping.models:
        if model_id not in known_models():
            raise ProfileError(f"{where}: models: no SunSpec definition of model {model_id}")
    for position, point in enumerate(mapping.point):
        check_unit(point.unit)
        if point.is_analog and (point.values or point.equals or point.bit is not None):
            raise ProfileError(f"{where}: point[{position}]: a float has no values, equals or bit")
    return mapping


def _decode(data: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.toml.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ProfileError(f"{where}: {error}") from error
