"""The function table: ``data/functions.toml`` loaded and checked against the logical-node tables.

Source: IEC TR 61850-90-7 (clauses unverified; ``data/SOURCE.toml`` says how each part was read).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ModelError, ProfileError
from s4g_gateway.model import ValueType
from s4g_gateway.model.logical_nodes import check_against_table
from s4g_gateway.model.units import check_unit

Certainty = Literal["solid", "medium", "weak"]
TwinKind = Literal["adopt", "slots", "settings", "control"]
_DATA = files("s4g_gateway.profiles.iec61850_90_7") / "data"


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One parameter of a function.

    Attributes:
        name: lower_snake, ending in its unit.
        data_object: DO of the logical node.
        cdc: its common data class.
        type: float, integer, boolean or enumerated (then its value is one of ``choices``).
        unit: canonical unit.
        minimum: smallest value.
        maximum: greatest value.
        choices: values of an enumerated parameter.
        default: value where a request with a curve leaves it out; None leaves the device's.
        required: true where an enabling request must have it.
        codes: value to state of the DO, for a boolean behind an enumerated DO.
        has_code: false where the DO's states are not public: it is not written to an IEC 61850 device.
        description: one line for people.
    """

    name: str
    data_object: str
    cdc: str
    type: Literal["float", "integer", "boolean", "enumerated"] = "float"
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    default: float | bool | str | None = None
    required: bool = False
    codes: dict[str, int] = {}
    has_code: bool = True
    description: str


class Axis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One axis of a curve: what it counts, its unit ("" for a ratio) and range."""

    quantity: str
    unit: str
    minimum: float
    maximum: float
    description: str


class CurveShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a function's curve may look like; x always rises.

    Attributes:
        data_object: the CSG; empty where 7-420 has none.
        min_points: fewest points.
        max_points: most points.
        y_falls: true where y must not rise with x.
        x: the axis of the input.
        y: the axis of the answer.
    """

    data_object: str = ""
    min_points: Annotated[int, Meta(ge=1)]
    max_points: Annotated[int, Meta(le=100)]
    y_falls: bool = False
    x: Axis
    y: Axis


class TwinPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value stands in a SunSpec model.

    Attributes:
        points: paths, one leading "." for "in the curve"; all of them get the value.
        factor: SunSpec value = value x factor.
        codes: value to raw state.
        rule: how it is converted where a factor does not say it.
        of: the point that is 100 %, for rule ``share``.
    """

    points: Annotated[tuple[str, ...], Meta(min_length=1)]
    factor: float = 1.0
    codes: dict[str, int] = {}
    rule: Literal["", "droop", "magnitude", "positive", "share"] = ""
    of: str = ""


class Twin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A SunSpec model that does the same.

    Attributes:
        model: its number.
        kind: how it is written; see the head of ``functions.toml``.
        enable: the point that puts it in force.
        enabled: raw value of ``enable`` in force.
        slot: path of one curve; empty where the model has none.
        slots: the point that counts the curves.
        adopt: the point that asks the device to adopt a curve.
        result: the point that says what became of it (0 in progress, 1 completed, 2 failed).
        active: the point that names the curve in force.
        read_only: the point that is 1 where a curve cannot be written.
        count: the point that counts the points in use.
        points_limit: the point that says how many points a curve may have.
        x: inputs of the curve.
        y: answers of the curve.
        value: the set-point, for kind ``control``.
        preset: raw values written along.
        needs_preset: true where a device without those points cannot do the function.
        parameters: where each parameter stands; one that is missing here cannot be given to the device.
    """

    model: int
    kind: TwinKind
    enable: str = ""
    enabled: int = 1
    slot: str = ""
    slots: str = ""
    adopt: str = ""
    result: str = ""
    active: str = ""
    read_only: str = ""
    count: str = ""
    points_limit: str = ""
    x: TwinPoint | None = None
    y: TwinPoint | None = None
    value: TwinPoint | None = None
    preset: dict[str, int] = {}
    needs_preset: bool = False
    parameters: dict[str, TwinPoint] = {}


class Function(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """One function.

    Attributes:
        code: as TR 61850-90-7 names it, such as ``VV11``.
        name: for people, such as ``volt-var``.
        title: one line.
        ln: LN class of 7-420 Ed.2; empty where there is none.
        ln_below: LN class of the part of a frequency curve below the nominal frequency.
        timing_ln: LN class of the timing parameters where it is another one.
        role: ``inverter`` or ``storage``: whose logical device it belongs to.
        has_mode: true where ``Mod`` (1 on, 5 off) puts it in force.
        value: the parameter that is its set-point; empty for none.
        is_off: true for a function that says that another one is off.
        curve: its curve; None for none.
        parameter: its own parameters, then the timing parameters.
        sunspec: its SunSpec twins, the preferred one first.
        certainty: how sure the product is of the parameters.
        source: where they come from.
    """

    code: str
    name: str
    title: str
    ln: str
    ln_below: str = ""
    timing_ln: str = ""
    role: Literal["inverter", "storage"] = "inverter"
    has_mode: bool = True
    value: str = ""
    is_off: bool = False
    curve: CurveShape | None = None
    parameter: tuple[Parameter, ...] = ()
    sunspec: tuple[Twin, ...] = ()
    certainty: Certainty
    source: str

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters by name."""
        return MappingProxyType({parameter.name: parameter for parameter in self.parameter})

    def ln_of(self, parameter: Parameter) -> str:
        """Returns the LN class that holds a parameter."""
        return self.timing_ln if self.timing_ln and parameter.name in _TIMING_NAMES else self.ln


_TIMING_NAMES = ("window_s", "ramp_s", "revert_s")


@cache
def load_functions() -> Mapping[str, Function]:
    """Returns every function by code.

    Raises:
        ProfileError: the table breaks the rules; the message names the function.
    """
    return parse_functions((_DATA / "functions.toml").read_text(encoding="utf-8"))


def parse_functions(text: str) -> Mapping[str, Function]:
    """Reads a function table.

    Raises:
        ProfileError: it breaks the rules; the message names the function.
    """
    try:
        document = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise ProfileError(f"functions.toml: {error}") from error
    timing = {entry["name"]: entry for entry in document["timing"]}
    raw: dict[str, dict[str, Any]] = {}
    functions: dict[str, Function] = {}
    for entry in document["function"]:
        where = f"functions.toml: {entry.get('code', '?')}"
        raw[entry["code"]] = whole = _whole(entry, raw, where)
        names = whole.pop("timing", ())
        own = list(whole.get("parameter", ()))
        try:
            function = msgspec.convert({**whole, "parameter": [*own, *(timing[n] for n in names)]}, Function)
        except (msgspec.ValidationError, KeyError) as error:
            raise ProfileError(f"{where}: {error}") from error
        whole["timing"] = names
        _check(function, where)
        functions[function.code] = function
    return MappingProxyType(functions)


def _whole(entry: dict[str, Any], earlier: Mapping[str, dict[str, Any]], where: str) -> dict[str, Any]:
    """Fills in what a function, and each of its twins, takes from another one (``like``)."""
    whole = dict(entry)
    like = whole.pop("like", None)
    if like is not None:
        if like not in earlier:
            raise ProfileError(f"{where}: like = {like!r}, expected a function further up")
        whole = {**earlier[str(like)], **whole}
    y_range = whole.pop("y_range", None)
    if isinstance(y_range, list) and isinstance(whole.get("curve"), dict):
        curve = dict(whole["curve"])
        curve["y"] = {**curve["y"], "minimum": y_range[0], "maximum": y_range[1]}
        whole["curve"] = curve
    twins = []
    for twin in whole.get("sunspec", ()):
        model_of = twin.get("like")
        base: dict[str, Any] = {}
        if model_of is not None:
            known = earlier[model_of]["sunspec"]
            base = next(other for other in known if other["model"] == twin["model"])
        twins.append({**base, **{key: value for key, value in twin.items() if key != "like"}})
    whole["sunspec"] = twins
    return whole


def _check(function: Function, where: str) -> None:
    names = [parameter.name for parameter in function.parameter]
    if function.value and function.value not in names:
        raise ProfileError(f"{where}: value = {function.value!r}, expected one of {', '.join(names)}")
    try:
        for parameter in function.parameter:
            check_unit(parameter.unit)
            ln = function.ln_of(parameter)
            if ln:
                _check_data_object(ln, parameter.data_object, parameter.cdc, where)
        if function.curve is not None and function.curve.data_object:
            _check_data_object(function.ln, function.curve.data_object, "CSG", where)
    except ModelError as error:
        raise ProfileError(f"{where}: {error}") from error
    for twin in function.sunspec:
        for name in twin.parameters.keys() - set(names):
            raise ProfileError(f"{where}: model {twin.model}: {name!r} is no parameter of the function")


def _check_data_object(ln: str, data_object: str, cdc: str, where: str) -> None:
    found = check_against_table(f"LD1/{ln}1.{data_object}")
    if found.cdc != cdc:
        raise ProfileError(f"{where}: {ln}.{data_object} is {found.cdc}, not {cdc}")


def find_function(name: str) -> Function:
    """Returns a function by code (any case) or name.

    Raises:
        ProfileError: there is none; the message lists near ones or all.
    """
    functions = load_functions()
    found = functions.get(name.upper())
    if found is not None:
        return found
    by_name = {function.name: function for function in functions.values()}
    if name.lower() in by_name:
        return by_name[name.lower()]
    near = get_close_matches(name.lower(), by_name, 3)
    expected = ", ".join(near or by_name)
    raise ProfileError(f"no function {name!r}; expected {'such as ' if near else 'one of '}{expected}")


def value_type(parameter: Parameter) -> ValueType:
    """Returns the kind of value of a parameter."""
    return ValueType(parameter.type)
