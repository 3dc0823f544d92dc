"""``s4g senml``: SenML from one representation to another."""

from __future__ import annotations

from typing import BinaryIO

import click

FORMATS = click.Choice(["json", "cbor", "xml"])


@click.group()
def senml() -> None:
    """Convert SenML packs (RFC 8428).

    \b
    Example:
      s4g senml convert --from json --to cbor pack.json > pack.cbor
    """


@senml.command()
@click.option("--from", "source", type=FORMATS, required=True, help="Representation of FILE.")
@click.option("--to", "target", type=FORMATS, required=True, help="Wanted representation.")
@click.option(
    "--dialect",
    type=click.Choice(["strict", "s4g-historic"]),
    default="strict",
    show_default=True,
    help="Rules for reading: RFC 8428, or what historic Storage4Grid components sent.",
)
@click.argument("file", type=click.File("rb"))
@click.option(
    "-o", "--output", type=click.File("wb"), default="-", help="Write here, not to standard output."
)
def convert(source: str, target: str, dialect: str, file: BinaryIO, output: BinaryIO) -> None:
    """Convert the SenML pack in FILE; - is standard input.

    The pack is checked against the rules of RFC 8428 on its way; the first fault ends it with exit code 1.

    \b
    Examples:
      s4g senml convert --from json --to cbor pack.json -o pack.cbor
      mosquitto_sub -t 's4g/v1/#' -C 1 | s4g senml convert --from json --to xml -
    """
    from s4g_gateway.codecs.senml import DIALECTS, Format
    from s4g_gateway.codecs.senml import convert as convert_pack

    pack = convert_pack(file.read(), Format(source), Format(target), dialect=DIALECTS[dialect])
    output.write(pack)
