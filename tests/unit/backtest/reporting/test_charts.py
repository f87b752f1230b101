"""Charts go to the last tick that is known, with what is open then, and show no more than there is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import structs

from tests.unit.backtest.reporting.reports import START_NS, closed, held, report
from tests.unit.storage import samples
from tradekeel.backtest.reporting.charts import MARKS_AT_FIRST, all_charts
from tradekeel.backtest.reporting.drawing import MARKS_MAX, Chart, moment_of
from tradekeel.backtest.reporting.held import OpenTrades
from tradekeel.backtest.reporting.model import CurvePoint, PricePoint, RunReport
from tradekeel.domain.sessions import DAY_NS
from tradekeel.domain.trades import Trade

LAST_NS = START_NS + 3 * DAY_NS  # of the report's equity and prices


def chart(made: RunReport, name: str) -> Chart:
    (found,) = (each for each in all_charts(made) if each.name == name)
    return found


def with_open(trades: list[Trade], each: str = "-40") -> RunReport:
    by_trade = {trade.trade_id: Decimal(each) for trade in trades if trade.exit_time_ns is None}
    total = sum(by_trade.values(), Decimal(0))
    return report(trades, held=OpenTrades(trades=len(by_trade), unrealised=total, booked=Decimal(0), by_trade=by_trade))


def test_a_layer_that_is_open_is_drawn_to_the_last_tick() -> None:
    times = chart(with_open([closed(0), held(3)]), "layer-times")
    (layer,) = times.data
    entered = [moment_of(START_NS + hours * 3_600 * samples.SECOND) for hours in (0, 3)]
    left = moment_of(START_NS + 1_800 * samples.SECOND)
    assert layer["x"] == [entered[0], left, None, entered[1], moment_of(LAST_NS), None]


def test_of_many_layers_those_that_are_open_are_drawn_however_old_they_are() -> None:
    trades = [held(0), *(closed(number) for number in range(1, MARKS_MAX + 2))]
    times = chart(with_open(trades), "layer-times")
    assert times.note == f"The newest {MARKS_MAX:,} of {len(trades):,} trades, and all open ones."
    assert moment_of(START_NS) in times.data[0]["x"]


def test_beside_the_profit_of_a_layer_stands_what_is_open_of_it() -> None:
    bars = chart(with_open([closed(0, "3"), held(3), closed(1, "1")]), "layers")
    done, still = bars.data
    assert (done["x"], done["y"], done["text"]) == (["layer 0", "layer 1"], [3.0, 1.0], ["1 trade", "1 trade"])
    assert (still["x"], still["y"], still["text"]) == (["layer 0"], [-40.0], ["1 trade"])
    assert still["name"].endswith(", open")
    assert "unrealised" in bars.note
    (only,) = chart(with_open([closed(0, "3"), closed(1, "1")]), "layers").data
    assert only["name"].endswith(", closed")


def test_charts_of_closed_trades_say_what_is_not_in_them() -> None:
    made = with_open([closed(0), held(3)])
    for name in ("distribution", "durations"):
        assert chart(made, name).note == "1 open trade is not in it: unrealised -40 USD at the last tick."


def priced(trades: list[Trade]) -> dict[str, Any]:
    """The layout of a price chart with so many trades that it is zoomed in; prices fall far below the last entries."""
    prices = tuple(
        PricePoint(START_NS + hours * 3_600 * samples.SECOND, price, price)
        for hours in range(400)
        for price in [Decimal("1.39") - Decimal(hours) / 1_000]
    )
    return chart(structs.replace(with_open(trades), prices={"EUR_USD": prices}), "price-0").layout


def test_a_price_chart_that_is_zoomed_in_shows_the_prices_that_open_trades_have_gone_through() -> None:
    trades = [*(closed(number) for number in range(MARKS_AT_FIRST)), held(MARKS_AT_FIRST)]
    layout = priced(trades)
    assert layout["xaxis"]["range"][1] > moment_of(START_NS + 399 * 3_600 * samples.SECOND)
    assert layout["yaxis"]["range"][0] < 1.39 - 0.399
    over = priced([closed(number) for number in range(MARKS_AT_FIRST + 1)])
    assert over["xaxis"]["range"][1] < moment_of(START_NS + 160 * 3_600 * samples.SECOND)
    assert over["yaxis"]["range"][0] > 1.39 - 0.2


def test_whether_the_deepest_fall_is_over_is_said() -> None:
    assert "Shaded: the deepest fall, and its peak was not reached again." in chart(report(), "equity").note
    over = report(equities=["10000", "9990", "10001"])
    assert "Shaded: the deepest fall, until its peak was reached again." in chart(over, "equity").note


def test_an_account_that_never_fell_has_its_line_at_the_top_of_the_water() -> None:
    made = report()
    flat = structs.replace(made.curve, under_water=(CurvePoint(START_NS, Decimal(0)), CurvePoint(LAST_NS, Decimal(0))))
    assert chart(structs.replace(made, curve=flat), "under-water").layout["yaxis"]["range"] == [-1, 0]
    assert "range" not in chart(made, "under-water").layout["yaxis"]


def held_for(seconds: int) -> Chart:
    one = closed(0)
    return chart(with_open([structs.replace(one, exit_time_ns=START_NS + seconds * samples.SECOND)]), "durations")


def test_how_long_trades_were_held_is_told_in_a_unit_that_the_longest_has_a_few_of() -> None:
    for seconds, unit, value in (
        (90, "seconds", 90),
        (7_200, "minutes", 120),
        (86_400, "hours", 24),
        (432_000, "days", 5),
    ):
        drawn = held_for(seconds)
        assert drawn.layout["xaxis"]["title"]["text"] == f"held, {unit}"
        assert drawn.data[0]["x"] == [value]
        assert f" {unit}, " in drawn.data[0]["hovertemplate"]


def test_where_all_trades_won_or_lost_a_chart_says_which() -> None:
    for name in ("distribution", "durations"):
        assert chart(report([closed(0)]), name).layout["showlegend"]
