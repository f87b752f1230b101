"""What is handed from one program to the other: an equity curve, and our figures of it.

Amounts are in account currency, times in UTC nanoseconds; numbers are text, with all of their digits. The names say the rest.
Standard library and nothing else: both environments read this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Curve:
    """See the module."""

    name: str
    days: list[tuple[str, str]]  # trading days that are over, and their returns as shares
    present_day: str
    today: str  # its return so far
    equities: list[tuple[int, str]]  # every one that was looked at
    funds: list[tuple[int, str]]  # before how many of the equities so much was moved
    held: list[tuple[int, bool]]  # whether anything was held from then on
    trades: list[str]  # what each brought, in the order in which they closed
    figures: dict[str, Any]  # our report

    @property
    def gains(self) -> list[float]:
        """The returns of the days that are over."""
        return [float(gain) for _, gain in self.days]

    @property
    def results(self) -> list[float]:
        """What the trades brought."""
        return [float(result) for result in self.trades]

    @property
    def days_a_year(self) -> int:
        """What our figures are annualised with."""
        return int(self.figures["days_a_year"])

    def ours(self, path: str) -> float | None:
        """A figure of the report: ``returns.sharpe``."""
        value: Any = self.figures
        for part in path.split("."):
            value = value[part]
        return None if value is None else float(value)


def read_curve(path: Path) -> Curve:
    """What :mod:`tests.comparisons.curves` wrote."""
    return Curve(**json.loads(path.read_text(encoding="utf-8")))
