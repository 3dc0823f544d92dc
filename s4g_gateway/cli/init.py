"""``s4g init``: an example site to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from s4g_gateway.errors import PermanentError


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite a site.toml that is there.")
def init(directory: Path, *, force: bool) -> None:
    """Write a commented example site to DIRECTORY/site.toml.

    The folder is made if it is not there. The example reads a hybrid inverter over SunSpec and serves a control
    centre (IEC 60870-5-104) and a broker (SenML over MQTT); change it to what you have.

    \b
    Examples:
      s4g init mysite
      s4g check mysite/site.toml
    """
    text = (files("s4g_gateway.cli") / "data" / "site.toml").read_text(encoding="utf-8")
    path = directory / "site.toml"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise PermanentError(f"{path} is there already; --force overwrites it") from error
    click.echo(f"wrote {path}; next: edit it, then s4g check {path}")
