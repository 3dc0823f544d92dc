"""``s4g schema``: the JSON Schema of site.toml, for editors."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of site.toml.

    Editors with TOML support (such as Taplo or Even Better TOML) complete and check a site file with it. It
    covers the connectors whose libraries are installed here.

    \b
    Examples:
      s4g schema > site.schema.json
      (then, as the first line of site.toml)  #:schema ./site.schema.json
    """
    from s4g_gateway.runtime.config import site_json_schema

    click.echo(json.dumps(site_json_schema(), indent=2))
