"""What changed between the signal list that a control centre has and the one of today."""

from __future__ import annotations

import csv
import io

from s4g_gateway.errors import Problem
from s4g_gateway.profiles.iec104.export import COLUMNS, Row, signal_list_rows
from s4g_gateway.profiles.iec104.signals import SignalList

_CA, _IOA, _TYPE, _REFERENCE, _SCALING = (
    COLUMNS.index(name) for name in ("CA", "IOA", "type", "reference", "scaling")
)


def compare(old_csv_text: str, signals: SignalList, *, file: str) -> list[Problem]:
    """Compares a handed-out signal list with the present one.

    Args:
        old_csv_text: what ``csv_text`` wrote once; columns may stand in another order, further ones are ignored.
        signals: the signal list of today.
        file: path of the old list, for the findings.

    Returns:
        One finding per address, type or scaling that differs, per point that is gone and per point that is new:
        ``found`` is what holds today, ``expected`` what the old list says. Empty where nothing matters changed.
    """
    old, problems = _read(old_csv_text, file)
    if problems:
        return problems
    new = {_key(row): row for row in signal_list_rows(signals)}
    for key, (line, row) in old.items():
        name = f"line {line}: {key[1]}" + (" (command)" if key[0] else "")
        now = new.get(key)
        if now is None:
            expected = f"{row[_TYPE]} at {_place(row)}"
            problems.append(Problem(file=file, key=name, found="no such point any more", expected=expected))
            continue
        if _place(now) != _place(row):
            problems.append(
                Problem(file=file, key=f"{name}: address", found=_place(now), expected=_place(row))
            )
        problems += [
            Problem(file=file, key=f"{name}: {COLUMNS[column]}", found=now[column], expected=row[column])
            for column in (_TYPE, _SCALING)
            if now[column] != row[column]
        ]
    problems += [
        Problem(
            file=file,
            key=f"{row[_REFERENCE]}" + (" (command)" if key[0] else ""),
            found=f"{row[_TYPE]} at {_place(row)}",
            expected="no such point: it is new",
        )
        for key, row in new.items()
        if key not in old
    ]
    return problems


_Key = tuple[bool, str]


def _key(row: Row) -> _Key:
    return row[_TYPE].startswith("C_"), row[_REFERENCE]


def _place(row: Row) -> str:
    return f"CA {row[_CA]} IOA {row[_IOA]}"


def _read(text: str, file: str) -> tuple[dict[_Key, tuple[int, Row]], list[Problem]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    heading = next(reader, [])
    missing = [name for name in ("CA", "IOA", "type", "reference", "scaling") if name not in heading]
    if missing:
        found = ",".join(heading)[:80]
        return {}, [Problem(file=file, key="line 1", found=found, expected="columns " + ", ".join(missing))]
    places = [heading.index(name) if name in heading else None for name in COLUMNS]
    rows: dict[_Key, tuple[int, Row]] = {}
    problems: list[Problem] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line = reader.line_num
        if len(cells) < len(heading):
            problems.append(
                Problem(
                    file=file,
                    key=f"line {line}",
                    found=f"{len(cells)} cells",
                    expected=f"{len(heading)} cells",
                )
            )
            continue
        row = tuple("" if place is None else cells[place].strip().removeprefix("'") for place in places)
        if _key(row) in rows:
            problems.append(
                Problem(file=file, key=f"line {line}", found=row[_REFERENCE], expected="each point once")
            )
        rows[_key(row)] = (line, row)
    return rows, problems
