"""Tables that fit the terminal, with amounts and prices in the digits that they are booked and quoted in.

Where room is short a table first writes times and ids shorter and then gives up columns, the least important first; what
tells rows apart stays, and of an amount that is shown no digit is cut for want of room. `--json` has everything, exactly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 80
WIDTH_MIN, WIDTH_MAX = 20, 10_000
ID_END_CHARACTERS = 6
Row = Mapping[str, Any]
Cell = Callable[[Row], str | Text]


class Column(Struct, frozen=True):
    """One column. ``weight`` says how long it stays when room is short: 0 for ever, the highest goes first; before any
    column goes, those that have a ``short`` form take it."""

    title: str
    cell: Cell
    weight: int = 0
    right: bool = False
    folds: bool = False  # a text that may take several lines
    short: Cell | None = None


def console() -> Console:
    """Standard output; where it is no terminal, as wide as COLUMNS says, or 80."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=pipe_width(os.environ))


def pipe_width(environ: Mapping[str, str]) -> int:
    """COLUMNS, where it is a sensible number."""
    given = environ.get("COLUMNS", "")
    wanted = int(given) if given.isascii() and given.isdigit() else PIPE_WIDTH
    return wanted if WIDTH_MIN <= wanted <= WIDTH_MAX else PIPE_WIDTH


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
    shorter = {
        column.title: [column.short(row) for row in rows] if column.short is not None else cells[column.title]
        for column in columns
    }
    if _width_of(columns, cells) > width:
        kept = fitting(columns, shorter, width)
        for column in sorted(kept, key=lambda column: column.weight):  # the room that is left goes to long forms
            longer = shorter | {column.title: cells[column.title]}
            if _width_of(kept, longer) <= width:
                shorter = longer
        cells = shorter
    else:
        kept = list(columns)
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


def time_of_year(name: str) -> Cell:
    """A moment without its year: ``05-08 13:30:01``."""
    return lambda row: moment(row.get(name))[5:]


def end_of_id(name: str) -> Cell:
    """The end of an id, which is as good as random: enough to tell rows apart."""
    return lambda row: shortened(text(name)(row))


def shortened(id_: str | Text) -> str:
    """``tk5omjf6k2njvmenu3scs4r2alwy`` as ``…r2alwy``."""
    whole = str(id_)
    return whole if len(whole) <= ID_END_CHARACTERS + 1 else f"…{whole[-ID_END_CHARACTERS:]}"


def amount(name: str) -> Cell:
    """An amount to its last digit, without zeros that say nothing."""
    return lambda row: trimmed(row.get(name))


def money(name: str, currency: str = "currency") -> Cell:
    """Profit or loss: in colour, in the digits of its currency."""
    return lambda row: coloured(in_currency(row.get(name), row.get(currency)))


def cash(name: str) -> Cell:
    """An amount of money in the digits of its currency."""
    return lambda row: trimmed(in_currency(row.get(name), row.get("currency")))


def price(name: str, symbol: str) -> Cell:
    """A price, or an average of prices, in the digits of its instrument and one more."""
    return lambda row: trimmed(at_price(row.get(name), row.get(symbol)))


def in_currency(value: str | None, currency: str | None) -> str | None:
    """An amount rounded to what is booked in its currency; as it is where nobody says which that is."""
    from tradekeel.bootstrap import digits

    return value if currency is None else digits.amount(value, currency)


def at_price(value: str | None, symbol: str | None) -> str | None:
    """A price rounded for its instrument."""
    from tradekeel.bootstrap import digits

    return value if symbol is None else digits.price(value, symbol)


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
    if value is None:
        return ""
    near = round(float(value), digits)
    return f"{near or abs(near):.{digits}f}"  # minus nothing is nothing
