"""Performance, computed the long way: everything that happened is kept in lists, and each figure goes through all of it.

Fractions where the figures are exact, floats where they have roots and powers.
"""

from __future__ import annotations

import statistics
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tradekeel.domain.sessions import trading_day
from tradekeel.domain.trades import Trade

DAY_NS = 86_400 * 10**9
RETURN_GRID = 10**12

Told = tuple[str, Any, int]


class Dumb:
    """``told`` is what a tracker was told, in order: (what, value, ts_ns)."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.trades: list[Trade] = []  # as they closed, without those that were taken back

    def tell(self, what: str, value: Any, ts_ns: int) -> None:
        self.told.append((what, value, ts_ns))
        if what == "closed":
            self.trades.append(value)
        elif what == "reopened":
            self.trades.remove(value)

    # --- trades ----------------------------------------------------------------------------------------------------------

    def of(self, trades: list[Trade]) -> dict[str, Any]:
        results = [Fraction(t.pnl) for t in trades]
        won, lost = [r for r in results if r > 0], [r for r in results if r < 0]
        average_win = sum(won) / len(won) if won else None
        average_loss = sum(lost) / len(lost) if lost else None
        payoff = None if average_win is None or average_loss is None else average_win / -average_loss
        p = Fraction(len(won), len(won) + len(lost)) if won or lost else None
        deviation = statistics.stdev(map(float, results)) if len(results) > 1 and len(set(results)) > 1 else None
        return {
            "count": len(results),
            "winning": len(won),
            "losing": len(lost),
            "win_rate": Fraction(len(won), len(results)) if results else None,
            "pnl": sum(results),
            "gross_profit": sum(won),
            "gross_loss": sum(lost),
            "profit_factor": sum(won) / -sum(lost) if lost else None,
            "expectancy": sum(results) / len(results) if results else None,
            "average_win": average_win,
            "average_loss": average_loss,
            "payoff": payoff,
            "best": max(results, default=None),
            "worst": min(results, default=None),
            "kelly": None if payoff is None or p is None else p - (1 - p) / payoff,
            "sqn": None
            if deviation is None
            else statistics.fmean(map(float, results)) / deviation * len(results) ** 0.5,
            "fees": sum(Fraction(t.entry_fee + t.exit_fee) for t in trades),
            "average_win_ns": self._held([t for t in trades if t.pnl > 0]),
            "average_loss_ns": self._held([t for t in trades if t.pnl < 0]),
        }

    @staticmethod
    def _held(trades: list[Trade]) -> Fraction | None:
        held = [
            t.exit_time_ns - t.entry_time_ns
            for t in trades
            if t.exit_time_ns is not None and t.entry_time_ns is not None
        ]
        return Fraction(sum(held), len(held)) if held else None

    def streaks(self) -> tuple[int, int]:
        signs = "".join("w" if t.pnl > 0 else "l" if t.pnl < 0 else "." for t in self.trades)
        longest = [max(map(len, signs.replace(".", other).split(other))) for other in "lw"]
        return longest[0], longest[1]

    # --- equity ----------------------------------------------------------------------------------------------------------

    def observed(self) -> list[tuple[Fraction, int, Fraction]]:
        """Each observation: equity, time, and funds moved since the one before."""
        found, moved = [], Fraction(0)
        for what, value, ts_ns in self.told:
            if what == "funds":
                moved += Fraction(value)
            elif what == "equity":
                found.append((Fraction(value), ts_ns, moved))
                moved = Fraction(0)
        return found

    def gains(self) -> list[Fraction]:
        """Returns of the trading days that are over: from the first equity of each to the first of the next."""
        starts: list[tuple[Any, Fraction, Fraction]] = []
        moved = Fraction(0)
        for equity, ts_ns, funds in self.observed():
            moved += funds
            day = trading_day(ts_ns)
            if not starts or starts[-1][0] != day:
                starts.append((day, equity, moved))
                moved = Fraction(0)
        found = []
        for (_, start, _), (_, end, funds) in pairwise(starts):
            if start > 0:
                found.append(Fraction(round((end - funds - start) / start * RETURN_GRID), RETURN_GRID))
        return found

    def total_pnl(self) -> Fraction | None:
        seen = self.observed()
        return seen[-1][0] - seen[0][0] - sum((funds for *_, funds in seen[1:]), Fraction(0)) if seen else None

    def deepest(self) -> tuple[Fraction, int, int, int | None] | None:
        """The largest fall by value: value, and when its peak, its trough and its recovery were."""
        points: list[tuple[Fraction, int]] = []  # as if funds had never been moved
        moved = Fraction(0)
        for equity, ts_ns, funds in self.observed():
            moved += funds if points else 0
            points.append((equity - moved, ts_ns))
        best = None
        for index, (value, trough_ns) in enumerate(points):
            peak = max(v for v, _ in points[: index + 1])
            if peak > value and (best is None or peak - value > best[0]):
                peak_ns = max(t for v, t in points[:index] if v == peak)
                recovered = next((t for v, t in points[index:] if v >= peak), None)
                best = (peak - value, peak_ns, trough_ns, recovered)
        return best

    def under_water_ns(self) -> int | None:
        """All the time between a last sight of the highest equity so far, and the next; None where none was seen."""
        points: list[tuple[Fraction, int]] = []
        moved = Fraction(0)
        for equity, ts_ns, funds in self.observed():
            moved += funds if points else 0
            points.append((equity - moved, ts_ns))
        if not points:
            return None
        total, high, at_ns, below = 0, None, 0, False
        for value, ts_ns in points:
            if high is not None and value < high:
                below = True
                continue
            total += ts_ns - at_ns if below else 0
            high, at_ns, below = value, ts_ns, False
        return total + (points[-1][1] - at_ns if below else 0)


def near(found: Decimal | int | None, expected: Fraction | float | None, tolerance: float = 1e-6) -> bool:
    """Whether a rounded figure is what it should be."""
    if found is None or expected is None:
        return found is None and expected is None
    if isinstance(found, int):
        return abs(found - expected) <= Fraction(1, 2)
    return abs(float(found) - float(expected)) <= tolerance * max(1.0, abs(float(expected)))
