"""Writes docs/cli.md from the commands themselves; ``--check`` only compares."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from s4g_gateway.cli.root import s4g

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# The `s4g` command

This page is made from the commands themselves by `python docs/render_cli.py`.

## Exit codes

| Code | Meaning |
|---|---|
| 0 | done |
| 1 | problems found, a Control refused, or something failed; standard error says what |
| 2 | wrong usage |
| 3 | no running gateway reached |
| 4 | an optional part is not installed; the message names the extra |

Results go to standard output, everything else to standard error, one line for each error.

## Which gateway

`read`, `operate`, `reload` and `watch` talk to the running gateway over its Unix socket. They take it from
`--socket` (or `S4G_SOCKET`), else from the site file of `--site` (or `S4G_SITE`), else from `site.toml` in the
current folder. See [operations](operations.md) for who may use the socket.

## Shell completion

`s4g completion bash|zsh|fish` prints the script. Besides commands and options it completes the references of the
running gateway.
"""


def page() -> str:
    """Returns the page; the layout is ours, so that it does not change with click's versions."""
    return "\n".join([HEAD, *(_section(path, command) for path, command in commands(s4g, ("s4g",)))])


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yields every command with its path, depth first."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from commands(found, (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    arguments = [
        _argument(parameter) for parameter in command.params if isinstance(parameter, click.Argument)
    ]
    tail = ["COMMAND ..."] if isinstance(command, click.Group) else arguments
    usage = " ".join([*path, "[OPTIONS]", *tail])
    lines = [f"## {' '.join(path)}", "", f"    {usage}", "", *_paragraphs(command.help or "")]
    options = [_option(parameter) for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        lines += ["| Option | Meaning |", "|---|---|", *options, ""]
    return "\n".join(lines)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0] == "\b":
            heading, *rest = lines[1:]
            yield from (heading, "", "```sh", *(line.strip() for line in rest), "```", "")
        else:
            yield from (" ".join(line.strip() for line in lines), "")


def _argument(parameter: click.Argument) -> str:
    name = parameter.metavar or (parameter.name or "").upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    takes = ""
    if isinstance(option.type, click.Choice):
        takes = " " + "\\|".join(str(choice) for choice in option.type.choices)
    elif option.metavar or not option.is_flag:
        takes = f" {option.metavar or option.type.name.partition(' ')[0].upper()}"
    meaning = " ".join((option.help or "").split()).replace("|", "\\|")
    default = option.default
    if option.show_default and not callable(default) and isinstance(default, str | int | float | Path):
        shown = option.opts[0].lstrip("-") if option.secondary_opts and default else default
        meaning += f" Default: `{shown}`."
    return f"| {names}{takes} | {meaning} |"


def main() -> int:
    """Writes the page, or with --check tells whether it is current."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE} is not current; run python docs/render_cli.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
