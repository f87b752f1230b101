"""A figure as it is shown, the same for terminal and page: exact amounts, rounded ratios, "–" for what is undefined."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.domain.instruments import shown_amount, shown_price
from tradekeel.domain.money import ZERO, Rounding, ledger, plain, round_to
from tradekeel.domain.performance_days import HUNDRED
from tradekeel.domain.times import NS_PER_S, iso

UNDEFINED = "–"
SECOND_ENDS = len("2026-01-31T00:00:00")


class Cell(Struct, frozen=True):
    """A value as it is shown, and as it is sorted by where that is another one."""

    text: str
    order: str = ""  # a number
    tone: str = ""  # good, bad


def money(value: Decimal | None, currency: str = "") -> Cell:
    """An exact amount of profit or loss, in colour."""
    return Cell(UNDEFINED) if value is None else structs.replace(sum_of(value, currency), tone=_tone(value))


def sum_of(value: Decimal | None, currency: str = "") -> Cell:
    """An exact amount of anything else."""
    return Cell(UNDEFINED) if value is None else Cell(f"{_whole(plain(value))} {currency}".rstrip(), plain(value))


def measured(value: Decimal | None, currency: str, *, named: bool = True) -> Cell:
    """An amount that nobody books, at the rates of the moment: to the smallest step that is booked in its currency."""
    if value is None:
        return Cell(UNDEFINED)
    return Cell(f"{shown_amount(value, currency)} {currency if named else ''}".rstrip(), plain(value))


def average(value: Decimal | None, currency: str) -> Cell:
    """An amount that is a quotient: to the smallest step that is booked in its currency."""
    return Cell(UNDEFINED) if value is None else _with_currency(mean(value, currency), currency)


def mean(value: Decimal | None, currency: str) -> Cell:
    """The same without the name of the currency."""
    return Cell(UNDEFINED) if value is None else Cell(shown_amount(value, currency), plain(value), _tone(value))


def _with_currency(cell: Cell, currency: str) -> Cell:
    return structs.replace(cell, text=f"{cell.text} {currency}")


def price(value: Decimal | None, symbol: str) -> Cell:
    """A price, or an average of prices."""
    return Cell(UNDEFINED) if value is None else Cell(shown_price(value, symbol), plain(value))


def percent(value: Decimal | None, *, toned: bool = False) -> Cell:
    """A percentage to two digits."""
    if value is None:
        return Cell(UNDEFINED)
    return Cell(f"{_rounded(value, 2)} %", plain(value), _tone(value) if toned else "")


def share(value: Decimal | None) -> Cell:
    """A share of one, as a percentage."""
    if value is None:
        return Cell(UNDEFINED)
    with ledger():
        return percent(value * HUNDRED)


def ratio(value: Decimal | None, digits: int = 3) -> Cell:
    """A ratio."""
    return Cell(UNDEFINED) if value is None else Cell(_rounded(value, digits), plain(value))


def count(value: int) -> Cell:
    """A number of things."""
    return Cell(f"{value:,}", str(value))


def span(ns: int | None) -> Cell:
    """A stretch of time: 2d 03:14:05, or below a minute 5.250s."""
    if ns is None:
        return Cell(UNDEFINED)
    if abs(ns) < 60 * NS_PER_S:
        seconds = _rounded(Decimal(ns).scaleb(-9), 3)
        return Cell(f"{seconds}s", str(ns))
    whole = ns // NS_PER_S
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3_600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return Cell(f"{days}d {clock}" if days else clock, str(ns))


def moment(ns: int | None) -> Cell:
    """A time to the second, UTC."""
    if ns is None:
        return Cell(UNDEFINED)
    return Cell(iso(ns)[:SECOND_ENDS].replace("T", " "), str(ns))


def word(value: str | None) -> Cell:
    """A text; an empty one is shown as none is."""
    return Cell(value or UNDEFINED)


def visible(text: str) -> str:
    """A text from outside, with a mark in the place of each character that no page and no file of text may have."""
    return "".join(c if c in "\n\t\u00a0" or c.isprintable() else "\ufffd" for c in text)


def _rounded(value: Decimal, digits: int) -> str:
    step = Decimal(1).scaleb(-digits)
    shown = round_to(value, step, Rounding.DISPLAY)
    return f"{shown or abs(shown):.{digits}f}"


def _whole(text: str) -> str:
    """Without the zeros at the end of a fraction: no digit that says anything is left out."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tone(value: Decimal) -> str:
    return "good" if value > ZERO else "bad" if value < ZERO else ""
