"""``s4g interfaces``: the catalogue of D3.1's interfaces."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown", "asyncapi"]),
    help="table (default), json, markdown (default with NAME), or asyncapi 3.0.",
)
def interfaces(name: str | None, form: str | None) -> None:
    """Print the interface catalogue: what Storage4Grid components say to each other.

    NAME is an interface's slug or its name in D3.1; without it, all of them.

    \b
    Examples:
      s4g interfaces
      s4g interfaces lessag-eb
      s4g interfaces --format asyncapi > s4g.asyncapi.json
    """
    from s4g_gateway.interfaces import Catalogue, load_catalogue
    from s4g_gateway.interfaces.render import render_asyncapi, render_json, render_markdown

    catalogue = load_catalogue()
    if name is not None:
        try:
            catalogue = Catalogue((catalogue.interface(name),))
        except KeyError as error:
            raise click.BadParameter(str(error.args[0]), param_hint="NAME") from error
    form = form or ("table" if name is None else "markdown")
    if form == "table":
        width = max(len(interface.id) for interface in catalogue)
        slug_width = max(len(interface.slug) for interface in catalogue)
        for interface in catalogue:
            number = "" if interface.number is None else str(interface.number)
            messages = ", ".join(message.slug for message in interface.messages)
            line = f"{number:>2}  {interface.id:{width}}  {interface.slug:{slug_width}}  {messages}"
            click.echo(line.rstrip())
        return
    render = {"json": render_json, "markdown": render_markdown, "asyncapi": render_asyncapi}[form]
    click.echo(render(catalogue), nl=False)
