"""Out-of-sample parts put together, and what was left of the figures in sample."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tradekeel.backtest.optimising.stitching import Outcome, efficiency, kept, stitched
from tradekeel.domain.performance_days import YEAR_NS

D = Decimal


def outcome(total: str | None, gains: tuple[str, ...] = (), *, trades: int = 4, years: str = "1") -> Outcome:
    return Outcome(
        figures={},
        total_return_percent=None if total is None else D(total),
        gains=tuple(map(D, gains)),
        trades=trades,
        winning=trades // 2,
        losing=trades - trades // 2,
        pnl=D(10),
        gross_profit=D(30),
        gross_loss=D(-20),
        span_ns=int(D(years) * YEAR_NS),
    )


def test_returns_are_chained_and_not_summed() -> None:
    assert stitched([outcome("10"), outcome("-10")]).total_return_percent == D(-1)


def test_trades_and_their_profit_are_summed() -> None:
    together = stitched([outcome("1"), outcome("2", trades=6)])
    assert (together.parts, together.trades, together.pnl) == (2, 10, D(20))
    assert together.profit_factor == D("1.5")
    assert together.win_rate == D("0.5")


def test_a_fall_may_go_on_from_one_part_to_the_next() -> None:
    together = stitched([outcome("0", ("0.1", "-0.1")), outcome("0", ("-0.1", "0.2"))])
    assert together.max_drawdown_percent == D(19)


def test_the_sharpe_ratio_is_that_of_all_days_in_a_row() -> None:
    days = ("0.01", "-0.005", "0.02", "0.003")
    assert stitched([outcome("0", days[:2]), outcome("0", days[2:])]).sharpe == stitched([outcome("0", days)]).sharpe


def test_what_is_undefined_is_none() -> None:
    together = stitched([outcome(None)])
    assert (together.total_return_percent, together.sharpe, together.max_drawdown_percent) == (None, None, None)


@pytest.mark.parametrize(
    ("inside", "outside", "left"),
    [("2", "1", "0.5"), ("2", "-1", "-0.5"), ("0", "1", None), ("-1", "1", None), (None, "1", None), ("1", None, None)],
)
def test_what_was_kept(inside: str | None, outside: str | None, left: str | None) -> None:
    found = kept(None if inside is None else D(inside), None if outside is None else D(outside))
    assert found == (None if left is None else D(left))


def test_efficiency_compares_returns_a_year() -> None:
    within, without = [outcome("12", years="3"), outcome("12", years="3")], [outcome("2"), outcome("0")]
    assert efficiency(within, without) == D("0.25")
    assert efficiency([outcome("-1")], [outcome("5")]) is None
