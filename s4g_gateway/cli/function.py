"""``s4g function``: grid-support functions of a device, shown, set and read back through a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from s4g_gateway.cli.busy import busy
from s4g_gateway.cli.failures import ExitCode, say_error
from s4g_gateway.cli.target import socket_for, socket_option

if TYPE_CHECKING:
    from s4g_gateway.profiles.iec61850_90_7 import Function, FunctionRequest, Parameter, ParameterValue
    from s4g_gateway.runtime.local_client import LocalClient

_BOOLEANS: Final = {"true": True, "on": True, "false": False, "off": False}


@click.command()
@click.argument("words", nargs=-1, metavar="[SITE.TOML] FUNCTION")
@socket_option
@click.option(
    "--list", "as_list", is_flag=True, help="List the functions and ready-made curves; needs no gateway."
)
@click.option(
    "--device", metavar="NAME", help="Device of the site; not needed where only one has the function."
)
@click.option(
    "--curve",
    "curve_words",
    metavar="X:Y,...",
    help="Points in order of x, or the name of a ready-made curve.",
)
@click.option("--ramp-s", type=int, help="Time to move from the old to the new set-point.")
@click.option("--window-s", type=int, help="Random start within this window.")
@click.option("--revert-s", type=int, help="Go back to what was before after this time.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter. May be repeated.")
@click.option("--on", "switch", flag_value="on", help="Switch on with what the device holds.")
@click.option("--off", "switch", flag_value="off", help="Switch off.")
@click.option("--release", "switch", flag_value="release", help="Give the device back to what it did before.")
@click.option(
    "--show", is_flag=True, help="Only show what the device says; the same as naming nothing to set."
)
@click.option(
    "--priority", type=click.IntRange(1, 255), default=8, show_default=True, help="1 is the strongest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def function(
    *,
    words: tuple[str, ...],
    socket_path: Path | None,
    as_list: bool,
    device: str | None,
    curve_words: str | None,
    ramp_s: int | None,
    window_s: int | None,
    revert_s: int | None,
    settings: tuple[str, ...],
    switch: str | None,
    show: bool,
    priority: int,
    as_json: bool,
) -> None:
    """Show or set a grid-support function (IEC TR 61850-90-7) of a device, and read it back.

    FUNCTION is a name or code of `s4g function --list`. Voltages of curves are per unit, powers percent, in the
    generator frame. The answer comes after the device's registers have read back as written. Curves stay until they
    are changed, or for --revert-s; set-points end like those of `s4g operate`.

    Exits with 1 if the request is refused, with 3 if no gateway answers.

    \b
    Examples:
      s4g function --list
      s4g function site.toml volt-var
      s4g function site.toml volt-var --curve 0.92:44,0.98:0,1.02:0,1.08:-44 --set y_reference=va-max
      s4g function site.toml volt-var --curve ieee1547-volt-var-1 --revert-s 3600
      s4g function site.toml max-generation --set limit_pct=60 --revert-s 600
      s4g function site.toml volt-var --off
    """
    if as_list:
        click.echo(json.dumps(_table(), indent=2) if as_json else "\n".join(_table_lines()))
        return
    if not 1 <= len(words) <= 2:
        raise click.UsageError("expected [SITE.TOML] FUNCTION, or --list")
    site = Path(words[0]) if len(words) == 2 else Path("site.toml")
    times = {"ramp_s": ramp_s, "window_s": window_s, "revert_s": revert_s}
    given = {name: value for name, value in times.items() if value is not None}
    wants_change = bool(curve_words or given or settings or switch)
    if show and wants_change:
        raise click.UsageError("--show goes with nothing to set")
    from s4g_gateway.profiles.iec61850_90_7 import find_function
    from s4g_gateway.runtime.local_client import LocalClient

    wanted = find_function(words[-1])
    request = None
    if switch != "release" and (wants_change or (wanted.is_off and not show)):
        request = _request(wanted, curve_words, given, settings, enabled=switch != "off")
    elif switch == "release" and (curve_words or given or settings):
        raise click.UsageError("--release goes with nothing else to set")
    answer: dict[str, Any] = {}
    with LocalClient(socket_for(site, socket_path)) as client:
        point = _point(client, request.function if request else wanted, device)
        with busy(f"waiting for {point['control']['device']}"):
            if request is not None or switch == "release":
                answer = _send(client, point, request, priority)
            if answer.get("accepted", True):
                answer |= _state(client, point, wanted, request)
    _print(point, answer, as_json=as_json)
    if not answer.get("accepted", True):
        raise click.exceptions.Exit(ExitCode.PROBLEMS)


def _request(
    wanted: Function,
    curve_words: str | None,
    times: Mapping[str, int],
    settings: tuple[str, ...],
    *,
    enabled: bool,
) -> FunctionRequest:
    from s4g_gateway.profiles.iec61850_90_7 import function_request, named_curves, parse_curve

    parameters: dict[str, ParameterValue] = {}
    curve: tuple[tuple[float, float], ...] = ()
    if curve_words:
        named = named_curves().get(curve_words)
        if named is None and ":" not in curve_words:
            expected = ", ".join(named_curves())
            raise click.BadParameter(f"{curve_words!r}; expected x:y,... or {expected}", param_hint="--curve")
        if named is not None:
            parameters |= named.parameters
            curve = named.points
        else:
            curve = parse_curve(curve_words)
    for entry in settings:
        name, equals, text = entry.partition("=")
        if not equals:
            raise click.BadParameter(f"{entry!r}; expected NAME=VALUE", param_hint="--set")
        parameters[name] = _value(wanted.parameters.get(name), text)
    return function_request(wanted, enabled=enabled, parameters={**parameters, **times}, curve=curve)


def _value(parameter: Parameter | None, text: str) -> ParameterValue:
    """Returns a value as its parameter has it; what is no value is left for the check to complain of."""
    if parameter is not None and parameter.type == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    if parameter is not None and parameter.type == "enumerated":
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _point(client: LocalClient, wanted: Function, device: str | None) -> dict[str, Any]:
    """Returns the one point of the site that takes the function's requests."""
    code = wanted.code
    points: list[dict[str, Any]] = [
        point
        for point in client.ask("list")["points"]
        if code in point.get("control", {}).get("functions", ())
    ]
    devices = [point["control"]["device"] for point in points]
    if device is not None:
        points = [point for point in points if point["control"]["device"] == device]
    if len(points) == 1:
        return points[0]
    names = ", ".join(devices)
    if not devices:
        raise click.ClickException(
            f"no device of this site takes {wanted.name}; a template with functions does"
        )
    if not points:
        raise click.BadParameter(f"{device!r}; expected one of {names}", param_hint="--device")
    raise click.UsageError(f"several devices take {wanted.name}; name one with --device: {names}")


def _send(
    client: LocalClient, point: Mapping[str, Any], request: FunctionRequest | None, priority: int
) -> dict[str, Any]:
    from s4g_gateway.profiles.iec61850_90_7 import encode_request

    reference = point["reference"]
    if request is None:
        answer = client.ask("operate", reference=reference, service="release", priority=priority)
    else:
        fields: dict[str, Any] = {}
        if request.parameters.get("revert_s"):
            fields["for_s"] = request.parameters["revert_s"]
        answer = client.ask(
            "operate", reference=reference, value=encode_request(request), priority=priority, **fields
        )
    return {key: answer[key] for key in ("accepted", "add_cause", "detail")}


def _state(
    client: LocalClient, point: Mapping[str, Any], wanted: Function, request: FunctionRequest | None
) -> dict[str, Any]:
    code = request.function.code if request is not None and request.enabled else ""
    if code not in point["control"]["functions"] and wanted.code in point["control"]["functions"]:
        code = wanted.code
    answer = client.ask("function", reference=point["reference"], code=code)
    keys = ("function", "enabled", "parameters", "curve", "points_limit", "place")
    return {key: answer[key] for key in keys}


def _print(point: Mapping[str, Any], answer: Mapping[str, Any], *, as_json: bool) -> None:
    place = {"reference": point["reference"], "device": point["control"]["device"]}
    if as_json:
        click.echo(json.dumps({**place, **answer}))
        return
    if not answer.get("accepted", True):
        cause = answer["add_cause"].lower().replace("_", "-")
        say_error(f"refused: {cause}: {answer['detail']}")
        return
    if "accepted" in answer:
        click.echo(f"accepted: {answer['detail'] or place['reference']}")
    click.echo("\n".join(_state_lines(place, answer)))


def _state_lines(place: Mapping[str, str], answer: Mapping[str, Any]) -> Iterator[str]:
    from s4g_gateway.profiles.iec61850_90_7 import curve_text, find_function

    found = find_function(answer["function"])
    state = {True: "on", False: "off", None: "unknown"}[answer["enabled"]]
    yield f"{found.name} ({found.code}) of {place['device']}, {place['reference']}: {state}"
    for name, value in answer["parameters"].items():
        unit = found.parameters[name].unit if name in found.parameters else ""
        text = (
            str(value).lower()
            if isinstance(value, bool)
            else value
            if isinstance(value, str)
            else f"{value:.10g}"
        )
        yield f"  {name}: {text} {unit}".rstrip()
    if answer["curve"]:
        yield f"  curve: {curve_text(tuple((x, y) for x, y in answer['curve']))}"
    limit = f", at most {answer['points_limit']} points" if answer["points_limit"] else ""
    yield f"  read from {answer['place']}{limit}"


def _table() -> dict[str, Any]:
    import msgspec

    from s4g_gateway.profiles.iec61850_90_7 import load_functions, named_curves

    table: dict[str, Any] = msgspec.to_builtins(
        {"functions": list(load_functions().values()), "curves": list(named_curves().values())}
    )
    return table


def _table_lines() -> Iterator[str]:
    from s4g_gateway.profiles.iec61850_90_7 import curve_text, load_functions, named_curves

    for entry in load_functions().values():
        models = ", ".join(str(twin.model) for twin in entry.sunspec)
        places = f"LN {entry.ln or 'none'}; SunSpec {models}; certainty {entry.certainty}"
        yield f"{entry.code}  {entry.name}: {entry.title} ({places})"
        if entry.curve is not None and not entry.is_off:
            shape = entry.curve
            x, y = (
                f"{axis.quantity} {axis.minimum:g} to {axis.maximum:g} ({axis.description})"
                for axis in (shape.x, shape.y)
            )
            yield f"      --curve, {shape.min_points} to {shape.max_points} points: {x} : {y}"
        for parameter in () if entry.is_off else entry.parameter:
            kind = ", ".join(parameter.choices) or parameter.unit or parameter.type
            limits = "" if parameter.maximum is None else f" {parameter.minimum:g} to {parameter.maximum:g}"
            yield f"      {parameter.name} ({kind}{limits}): {parameter.description}"
    yield ""
    for curve in named_curves().values():
        extra = ", ".join(f"{name}={value}" for name, value in curve.parameters.items())
        yield f"{curve.name} ({curve.function}): {' '.join(filter(None, (curve_text(curve.points), extra)))}"
