"""Reads data tables: CSV with a heading, every problem named with its file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from s4g_gateway.errors import ModelError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        table: file name, for messages.
        line: line number from 1, the heading being line 1.
        cells: text of each column.
    """

    table: str
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def fail(self, message: str) -> ModelError:
        """Returns the error that names this line."""
        return ModelError(f"{self.table} line {self.line}: {message}")

    def number(self, column: str) -> float:
        """Returns a column as a number.

        Raises:
            ModelError: the cell is no number.
        """
        try:
            return float(self.cells[column])
        except ValueError:
            raise self.fail(f"{column} is {self.cells[column]!r}, expected a number") from None

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        """Returns a column that must be one of a few words.

        Raises:
            ModelError: it is none of them.
        """
        if self.cells[column] not in allowed:
            raise self.fail(f"{column} is {self.cells[column]!r}, expected one of {', '.join(allowed)}")
        return self.cells[column]


CERTAINTY = ("solid", "medium", "weak")


def table_text(name: str) -> str:
    """Returns the text of one of the model's data files."""
    return (files("s4g_gateway.model") / "data" / name).read_text(encoding="utf-8")


def rows(table: str, text: str, columns: Sequence[str]) -> Iterator[Row]:
    """Yields the lines of a CSV table.

    Args:
        table: file name, for messages.
        text: content of the file.
        columns: the heading it must have, in order.

    Raises:
        ModelError: another heading, or a line of another width.
    """
    reader = csv.reader(text.splitlines())
    heading = next(reader, [])
    if heading != list(columns):
        raise ModelError(f"{table} line 1: heading is {heading}, expected {list(columns)}")
    for cells in reader:
        row = Row(table, reader.line_num, dict(zip(columns, cells, strict=False)))
        if len(cells) != len(columns):
            raise row.fail(f"{len(cells)} cells, expected {len(columns)}")
        yield row
