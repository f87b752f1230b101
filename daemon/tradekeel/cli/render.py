"""Tables that fit the terminal, with every amount written out.

A table gives up columns, the least important first, before it cuts anything: an amount that is shown is shown to its last
digit. `--json` has everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 80
Row = Mapping[str, Any]
Cell = Callable[[Row], str | Text]


class Column(Struct, frozen=True):
    """One column. ``weight`` says how long it stays when room is short: 0 for ever, 9 goes first."""

    title: str
    cell: Cell
    weight: int = 0
    right: bool = False
    folds: bool = False  # a text that may take several lines


def console() -> Console:
    """Standard output, 80 columns wide where it is no terminal."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_table(rows: Sequence[Row], columns: Sequence[Column], empty: str, out: Console | None = None) -> None:
    """The rows as a table, or a sentence where there are none."""
    shown = out if out is not None else console()
    if not rows:
        shown.print(empty)
        return
    shown.print(make_table(rows, columns, shown.width))


def make_table(rows: Sequence[Row], columns: Sequence[Column], width: int) -> Table:
    """A table of as many columns as the width has room for."""
    cells = {column.title: [column.cell(row) for row in rows] for column in columns}
    kept = fitting(columns, cells, width)
    fits = _width_of(kept, cells) <= width  # where nothing helps, lines are folded: a digit is never left out
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in kept:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=fits and not column.folds,
            overflow="fold",
        )
    for index in range(len(rows)):
        table.add_row(*(cells[column.title][index] for column in kept))
    return table


def fitting(columns: Sequence[Column], cells: Mapping[str, Sequence[str | Text]], width: int) -> list[Column]:
    """The columns that there is room for, in their order."""
    kept = list(columns)
    while len(kept) > 1 and _width_of(kept, cells) > width:
        least = max(kept, key=lambda column: column.weight)
        if least.weight == 0:
            break  # nothing that may go is left: then lines are folded
        kept.remove(least)
    return kept


FOLDED_WIDTH_MIN = 24


def _width_of(columns: Sequence[Column], cells: Mapping[str, Sequence[str | Text]]) -> int:
    return sum(_column_width(column, cells[column.title]) for column in columns) + 2 * (len(columns) - 1)


def _column_width(column: Column, cells: Sequence[str | Text]) -> int:
    widest = max([len(column.title), *(len(cell) for cell in cells)])
    return min(widest, max(FOLDED_WIDTH_MIN, len(column.title))) if column.folds else widest


# --- cells --------------------------------------------------------------------------------------------------------------------


def text(name: str) -> Cell:
    """A value as it stands."""
    return lambda row: "" if row.get(name) is None else str(row[name])


def time(name: str) -> Cell:
    """A moment to the second, in UTC."""
    return lambda row: moment(row.get(name))


def moment(iso: str | None) -> str:
    """``2014-05-08T13:30:01.000000000Z`` as ``2014-05-08 13:30:01``."""
    return "" if not iso else iso[:19].replace("T", " ")


def amount(name: str) -> Cell:
    """An amount to its last digit, without zeros that say nothing."""
    return lambda row: trimmed(row.get(name))


def money(name: str) -> Cell:
    """Profit or loss: in colour, to its last digit."""
    return lambda row: coloured(row.get(name))


def trimmed(value: str | None) -> str:
    """Zeros at the end of a fraction are left out; nothing is rounded."""
    if value is None:
        return ""
    whole, point, fraction = value.partition(".")
    kept = fraction.rstrip("0")
    return f"{whole}.{kept}" if point and kept else whole


def coloured(value: str | None) -> Text:
    """Green above zero, red below."""
    shown = trimmed(value)
    style = "red" if shown.startswith("-") else "green" if shown.strip("0.") else ""
    return Text(shown, style=style)


def rounded(value: str | None, digits: int) -> str:
    """A ratio for the eye; never an amount of money."""
    return "" if value is None else f"{float(value):.{digits}f}"
