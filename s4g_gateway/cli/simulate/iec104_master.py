"""``s4g simulate iec104-master``."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import click

from s4g_gateway.cli.failures import ExitCode, say_error
from s4g_gateway.cli.simulate.running import duration_option

if TYPE_CHECKING:
    from s4g_gateway.codecs.iec104 import MasterEvent
    from s4g_gateway.simulators.iec104_master import Iec104Master, MasterAnswer

COMMAND_TYPES = ("C_SC_NA_1", "C_DC_NA_1", "C_RC_NA_1", "C_SE_NA_1", "C_SE_NB_1", "C_SE_NC_1")


@click.command("iec104-master")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the outstation is.")
@click.option("--port", type=click.IntRange(1, 65535), default=2404, show_default=True, help="Its TCP port.")
@click.option(
    "--common-address", type=click.IntRange(1, 65535), default=1, show_default=True, help="Of the station."
)
@click.option(
    "--interrogate/--no-interrogate", default=True, show_default=True, help="Ask for everything first."
)
@click.option(
    "--command",
    "commands",
    type=(click.Choice(COMMAND_TYPES), click.IntRange(1, 0xFFFFFF), float),
    multiple=True,
    metavar="TYPE IOA VALUE",
    help="Give a command after the interrogation; may be repeated. Values as on the wire.",
)
@click.option("--select", is_flag=True, help="Select before each command.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per value and line.")
@duration_option
def iec104_master(
    *,
    host: str,
    port: int,
    common_address: int,
    interrogate: bool,
    commands: tuple[tuple[str, int, float], ...],
    select: bool,
    as_json: bool,
    duration_s: float | None,
) -> None:
    """Run a control centre: connect to an outstation, interrogate it, print what comes.

    Prints one line per value: common address, IOA, type, cause, value, quality bits. Exits with 1 if a request is
    refused or the connection is lost.

    \b
    Examples:
      s4g simulate iec104-master --duration 10
      s4g simulate iec104-master --duration 1 --command C_SE_NC_1 9001 -1500
    """

    def on_event(event: MasterEvent) -> None:
        columns = getattr(event, "columns", None)
        if columns is None or columns.values is None:
            return
        header, type_name = columns.header, columns.type_id.name
        for position, address in enumerate(columns.addresses):
            quality = columns.qualities[position] if columns.qualities is not None else 0
            row: dict[str, Any] = {
                "common_address": header.common_address,
                "ioa": address,
                "type": type_name,
                "cause": header.cause,
                "value": columns.values[position],
                "quality": quality,
            }
            click.echo(json.dumps(row) if as_json else "  ".join(str(cell) for cell in row.values()))

    async def session() -> bool:
        from s4g_gateway.simulators.iec104_master import Iec104Master

        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        async with await Iec104Master.connect(host, port, on_event=on_event) as master:
            await master.start()
            click.echo(f"connected to {host}:{port}", err=True)
            fine = True
            if interrogate:
                fine = _told("interrogation", await master.interrogate(common_address))
            for type_name, ioa, value in commands:
                fine &= await _command(master, common_address, type_name, ioa, value, select=select)
            ends = [loop.create_task(stopped.wait()), loop.create_task(master.wait_closed())]
            done, _ = await asyncio.wait(ends, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
            if ends[1] in done:
                say_error(f"the connection is over: {ends[1].result()}")
                fine = False
            for end in ends:
                end.cancel()
        return fine

    if not asyncio.run(session()):
        raise click.exceptions.Exit(ExitCode.PROBLEMS)


async def _command(
    master: Iec104Master, common_address: int, type_name: str, ioa: int, value: float, *, select: bool
) -> bool:
    from s4g_gateway.codecs.iec104 import InformationObject, TypeId

    type_id = TypeId[type_name]
    sent = value if type_name == "C_SE_NC_1" else int(value)
    fine = True
    if select:
        item = InformationObject(ioa, sent, select=True)
        fine = _told(f"selection of {ioa}", await master.command(common_address, type_id, item))
    if fine:
        item = InformationObject(ioa, sent)
        fine = _told(f"command to {ioa}", await master.command(common_address, type_id, item))
    return fine


def _told(what: str, answer: MasterAnswer) -> bool:
    if answer.is_positive:
        click.echo(f"{what}: {answer.outcome}", err=True)
    else:
        say_error(f"{what}: {answer.outcome}")
    return answer.is_positive
