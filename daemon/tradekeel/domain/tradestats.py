"""Figures over many closed trades, exact however many they are: sums in Decimal, one division at the end of each.

The tally is told of one trade after another and keeps sums only, so that it can go through millions of rows in little
space. What is undefined is None and never 0: there is no win rate, average, best or worst of nothing.
"""

from __future__ import annotations

import decimal
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.money import ZERO, Rounding
from tradekeel.domain.positions import COST_STEP
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import RATIO_STEP

# Sums of any amounts that can be stored: the digits are only taken where they are needed.
_SUMS = decimal.Context(
    prec=2_000,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


class TradeFigures(Struct, frozen=True, kw_only=True):
    """Figures of some closed trades, in account currency, net of fees and financing.

    A trade wins above zero and loses below; one that broke even is in the count only. ``win_rate`` is winners over all, 0 to 1,
    with six digits; ``average`` is rounded to twelve; all other amounts are exact.
    """

    count: int = 0
    winning: int = 0
    losing: int = 0
    win_rate: Decimal | None = None
    pnl: Decimal = ZERO
    average: Decimal | None = None
    best: Decimal | None = None
    worst: Decimal | None = None


class TradeStats(TradeFigures, frozen=True, kw_only=True):
    """Figures of all, and of each symbol, strategy, session, and UTC day of the exit (as 2026-01-31).

    Trades without a strategy or a session are under "".
    """

    by_symbol: dict[str, TradeFigures] = {}
    by_strategy: dict[str, TradeFigures] = {}
    by_session: dict[str, TradeFigures] = {}
    by_day: dict[str, TradeFigures] = {}


class _Sums:
    __slots__ = ("best", "count", "losing", "pnl", "winning", "worst")

    def __init__(self) -> None:
        self.count = self.winning = self.losing = 0
        self.pnl = ZERO
        self.best: Decimal | None = None
        self.worst: Decimal | None = None

    def add(self, pnl: Decimal) -> None:
        self.count += 1
        self.winning += pnl > ZERO
        self.losing += pnl < ZERO
        self.pnl = _SUMS.add(self.pnl, pnl)
        if self.best is None or pnl > self.best:
            self.best = pnl
        if self.worst is None or pnl < self.worst:
            self.worst = pnl

    def figures(self) -> dict[str, int | Decimal | None]:
        return {
            "count": self.count,
            "winning": self.winning,
            "losing": self.losing,
            "win_rate": _quotient(Decimal(self.winning), self.count, RATIO_STEP),
            "pnl": self.pnl,
            "average": _quotient(self.pnl, self.count, COST_STEP),
            "best": self.best,
            "worst": self.worst,
        }


def _quotient(total: Decimal, count: int, step: Decimal) -> Decimal | None:
    if not count:
        return None
    exact = _SUMS.divide(total, Decimal(count))
    return _SUMS.add(exact.quantize(step, Rounding.DISPLAY.mode, _SUMS), ZERO)  # never a negative zero


class StatsTally:
    """See the module."""

    def __init__(self) -> None:
        self._all = _Sums()
        self._groups: tuple[dict[str, _Sums], ...] = ({}, {}, {}, {})

    def add(
        self, pnl: Decimal, symbol: str, strategy: str | None, session: str | None, exit_time_ns: int | None
    ) -> None:
        """One more closed trade."""
        self._all.add(pnl)
        day = "" if exit_time_ns is None else _day(exit_time_ns)
        for group, word in zip(self._groups, (symbol, strategy or "", session or "", day), strict=True):
            sums = group.get(word)
            if sums is None:
                sums = group[word] = _Sums()
            sums.add(pnl)

    def stats(self) -> TradeStats:
        """The figures, groups in the order of their names."""
        symbols, strategies, sessions, days = (
            {word: TradeFigures(**group[word].figures()) for word in sorted(group)}  # type: ignore[arg-type]  # as named there
            for group in self._groups
        )
        return TradeStats(
            **self._all.figures(),  # type: ignore[arg-type]  # as named there
            by_symbol=symbols,
            by_strategy=strategies,
            by_session=sessions,
            by_day=days,
        )


def _day(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // NS_PER_S, UTC).strftime("%Y-%m-%d")
