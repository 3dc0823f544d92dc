"""A word to the user while something takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

PATIENCE_S = 1.0


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Says on standard error, if it is a terminal, what is going on, once it takes longer than a second."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(PATIENCE_S, lambda: click.echo(f"{what} ...", err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
