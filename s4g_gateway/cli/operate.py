"""``s4g operate``: one Control through a running gateway."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from s4g_gateway.cli.busy import busy
from s4g_gateway.cli.failures import ExitCode, say_error
from s4g_gateway.cli.target import complete_reference, gateway_options, socket_for

if TYPE_CHECKING:
    from s4g_gateway.runtime.local_client import LocalClient

_NEGATIVE: Final = re.compile(r"-\.?\d")
_BOOLEANS: Final = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


class _NegativeValues(click.Command):
    """Takes ``-3000`` for a value, not for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for word in args[: args.index("--") if "--" in args else None]:
            name = word.partition("=")[0]
            if word.startswith("-") and len(word) > 1 and not _NEGATIVE.match(word) and name not in known:
                from difflib import get_close_matches

                raise click.NoSuchOption(name, possibilities=get_close_matches(name, known), ctx=ctx)
        return super().parse_args(ctx, args)


@click.command(cls=_NegativeValues, context_settings={"ignore_unknown_options": True})
@click.argument("control_reference", metavar="REF", shell_complete=complete_reference)
@click.argument("value", required=False)
@gateway_options
@click.option("--select", "service", flag_value="select", help="Select only (select before operate).")
@click.option("--cancel", "service", flag_value="cancel", help="Cancel a selection; takes no VALUE.")
@click.option(
    "--release", "service", flag_value="release", help="Give the device back to its own rule; takes no VALUE."
)
@click.option("--for", "for_s", type=float, metavar="SECONDS", help="Validity; the site's default without.")
@click.option(
    "--priority",
    type=click.IntRange(1, 255),
    default=8,
    show_default=True,
    help="1 is the strongest; a weaker Control never replaces a stronger one that holds.",
)
@click.option(
    "--test", is_flag=True, help="Ask and answer as for a real Control, but send the device nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def operate(
    *,
    control_reference: str,
    value: str | None,
    site: Path,
    socket_path: Path | None,
    service: str | None,
    for_s: float | None,
    priority: int,
    test: bool,
    as_json: bool,
) -> None:
    """Send one Control to REF: VALUE in the point's own unit (`s4g read` shows units).

    The signs are those of the model: positive power flows from the equipment towards the grid, so a negative
    value charges a battery. The answer comes after the device has confirmed. A set-point ends by itself: after
    --for SECONDS, or after the site's setpoint_validity_s.

    Exits with 1 if the Control is refused, with 3 if no gateway answers.

    \b
    Examples:
      s4g operate ESS1/DWGC1.WSpt -3000 --for 600      charge with 3 kW for ten minutes
      s4g operate ESS1/DWGC1.WSpt --release
      s4g operate PCC1/CSWI1.Pos true --select && s4g operate PCC1/CSWI1.Pos true
    """
    from s4g_gateway.runtime.local_client import LocalClient

    service = service or "operate"
    if (service in ("select", "operate")) != (value is not None):
        expected = "needs a VALUE" if value is None else "takes no VALUE"
        raise click.UsageError(f"{service} {expected}")
    if for_s is not None and not for_s > 0:
        raise click.BadParameter("expected more than 0 seconds", param_hint="--for")
    fields: dict[str, Any] = {"service": service, "priority": priority, "test": test}
    if for_s is not None:
        fields["for_s"] = for_s
    with LocalClient(socket_for(site, socket_path)) as client, busy(f"waiting for {control_reference}"):
        if value is not None:
            fields["value"] = _typed(client, control_reference, value)
        answer = client.ask("operate", reference=control_reference, **fields)
    if as_json:
        click.echo(json.dumps({key: answer[key] for key in ("accepted", "add_cause", "detail")}))
    elif answer["accepted"]:
        click.echo(f"accepted: {answer['detail'] or control_reference}")
    else:
        cause = answer["add_cause"].lower().replace("_", "-")
        say_error(f"refused: {cause}: {answer['detail']}")
    if not answer["accepted"]:
        raise click.exceptions.Exit(ExitCode.PROBLEMS)


def _typed(client: LocalClient, reference: str, text: str) -> float | int | bool | str:
    """Returns the value in the type that the point declares; what no point declares goes as it reads."""
    pattern = "".join(f"[{character}]" if character in "*?[" else character for character in reference)
    points = client.ask("list", match=[pattern])["points"]
    kind = points[0]["control"]["value_type"] if points and "control" in points[0] else "float"
    if kind == "text":
        return text
    try:
        if kind == "boolean":
            return _BOOLEANS[text.lower()]
        return int(text) if kind in ("integer", "enumerated") else float(text)
    except (KeyError, ValueError):
        expected = {"boolean": "true or false", "float": "a number"}.get(kind, "a whole number")
        raise click.BadParameter(f"{text!r}; expected {expected}", param_hint="VALUE") from None
