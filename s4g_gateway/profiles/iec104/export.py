"""The signal list as the control centre gets it: CSV, Markdown, XLSX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import BinaryIO, Final

from s4g_gateway.errors import PermanentError
from s4g_gateway.profiles.iec104.signals import CommandSignal, Signal, SignalList

COLUMNS: Final = (
    "CA", "IOA", "type", "reference", "description", "unit", "scaling", "deadband", "commands",
)  # fmt: skip
Row = tuple[str, ...]

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_WIDTHS: Final = (7, 10, 22, 34, 44, 8, 26, 10, 44)


def signal_list_rows(signals: SignalList) -> list[Row]:
    """Returns one row of ``COLUMNS`` per address, ordered by common address and IOA.

    Scaling is the rule ``value = number * factor + offset`` as ``x factor offset offset``. The column commands says of
    a command how it is given and its limits, and of a monitored point which address commands it.
    """
    commanded = {command.reference: command for command in signals.commands}
    entries: list[Signal | CommandSignal] = [*signals.signals, *signals.commands]
    entries.sort(key=lambda entry: (entry.common_address, entry.ioa))
    return [
        (
            str(entry.common_address),
            str(entry.ioa),
            entry.type_label,
            str(entry.reference),
            entry.description,
            entry.unit,
            str(entry.scaling),
            f"{entry.deadband:.10g}" if isinstance(entry, Signal) else "",
            _commands(entry, commanded.get(entry.reference)),
        )
        for entry in entries
    ]


def _commands(entry: Signal | CommandSignal, commanded_by: CommandSignal | None) -> str:
    if isinstance(entry, Signal):
        return "" if commanded_by is None else f"{commanded_by.type_id.name} at IOA {commanded_by.ioa}"
    limits = [
        f"{name} {limit:.10g}"
        for name, limit in (("min", entry.minimum), ("max", entry.maximum))
        if limit is not None
    ]
    return ", ".join([entry.mode, *limits])


def csv_text(rows: Sequence[Row]) -> str:
    """Returns the rows as CSV with a heading.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(tuple(_harmless(cell) for cell in row) for row in rows)
    return out.getvalue()


def _harmless(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def markdown_text(rows: Sequence[Row]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    for character in "\\|<>[]*`":
        cell = cell.replace(character, "\\" + character)
    return " ".join(cell.split())


def write_xlsx(rows: Sequence[Row], stream: BinaryIO, *, site: str) -> None:
    """Writes the rows as a workbook with one sheet; every cell is text or number, never a formula.

    Args:
        rows: from ``signal_list_rows``.
        stream: where to; must be seekable.
        site: name of the sheet.

    Raises:
        PermanentError: the extra ``xlsx`` is not installed.
    """
    try:
        import xlsxwriter  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise PermanentError("XLSX needs the extra: pip install 's4g-gateway[xlsx]'") from error
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(stream, options)
    sheet = book.add_worksheet(site[:31])
    bold = book.add_format({"bold": True})
    for column, (heading, width) in enumerate(zip(COLUMNS, _WIDTHS, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, heading, bold)
    for line, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            if column < 2:
                sheet.write_number(line, column, int(cell))
            else:
                sheet.write_string(line, column, cell)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(len(rows), 1), len(COLUMNS) - 1)
    book.close()
