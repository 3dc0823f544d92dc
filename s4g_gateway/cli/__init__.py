"""The ``s4g`` command. One module per subcommand, imported when it is used."""

from __future__ import annotations


def main() -> None:
    """Runs ``s4g``; the console script."""
    from s4g_gateway.cli.root import s4g

    s4g(prog_name="s4g")


__all__ = ["main"]
