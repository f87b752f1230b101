"""Tables of a report: exact amounts, and a dash for what nobody can say."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import Struct, structs

from tests.unit.backtest.reporting.reports import closed, figures_of, held, report
from tradekeel.backtest.reporting import cells, curves, tables
from tradekeel.backtest.reporting.cells import UNDEFINED
from tradekeel.backtest.reporting.held import OpenTrades
from tradekeel.backtest.reporting.model import CurvePoint, FundsMove, PricePoint
from tradekeel.backtest.reporting.tables import Table
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.domain.performance_report import GroupFigures, PeriodFigures


def shown(table: Table) -> dict[str, str]:
    return {row[0].text: row[1].text for row in table.rows}


def test_a_dozen_key_figures() -> None:
    held = OpenTrades(trades=2, unrealised=Decimal("-7.5"), booked=Decimal(0), by_trade={})
    table = tables.key_figures(figures_of([closed(1), closed(2, "-3")], ["10000", "9994.5"]), held, "USD")
    assert len(table.rows) == 15
    figures = shown(table)
    assert figures["profit and loss"] == "-5.5 USD"
    assert (figures["trades that closed"], figures["won, of the closed"]) == ("2", "50.00 %")
    assert (figures["trades still open"], figures["open trades, unrealised"]) == ("2", "-7.5 USD")
    assert figures["profit factor"] == "1.667"


def test_what_is_undefined_is_a_dash_and_never_zero() -> None:
    figures = shown(tables.key_figures(figures_of([]), None, "USD"))
    for name in (
        "profit and loss",
        "return",
        "Sharpe (252 days a year)",
        "won, of the closed",
        "profit factor",
        "a closed trade brings",
        "open trades, unrealised",
        "deepest fall",
    ):
        assert figures[name] == UNDEFINED, name
    assert figures["trades that closed"] == "0"
    assert all(cell.text for table in tables.all_figures(report([], [])) for row in table.rows for cell in row), (
        "no cell is empty"
    )


def test_sums_of_money_keep_every_digit() -> None:
    exact = "1234567.123456789012"
    cell = cells.money(Decimal(exact), "USD")
    assert cell.text == f"{exact} USD"
    assert cell.order == exact
    assert cells.money(Decimal("5.0000")).text == "5"
    assert cells.money(Decimal("1E+3")).text == "1000"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, UNDEFINED),
        (0, "0.000s"),
        (1_500_000_000, "1.500s"),
        (3_661 * 10**9, "01:01:01"),
        (90_061 * 10**9, "1d 01:01:01"),
    ],
)
def test_stretches_of_time(ns: int | None, text: str) -> None:
    assert cells.span(ns).text == text


@pytest.mark.parametrize("kind", tables.GROUPS)
def test_every_group_has_a_table(kind: str) -> None:
    made = report()
    assert made.figures is not None
    table = tables.group_table(made.figures, kind, "USD", made.held)
    assert table.rows
    assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(("kind", "figures"), [("side", GroupFigures), ("month", PeriodFigures)])
def test_a_group_has_every_figure_that_its_json_has(kind: str, figures: type[Struct]) -> None:
    made = figures_of([closed(1, entry_fee=Decimal("0.25")), closed(2, "-3", exit_fee=Decimal("0.5"))], ["10000"])
    table = tables.group_table(made, kind, "USD", None)
    assert len(table.columns) == 1 + len(figures.__struct_fields__)
    (row,) = table.rows
    cells = dict(zip(table.columns, (cell.text for cell in row), strict=True))
    assert cells["fees>"] == "0.75"
    (trading,) = (each for each in tables.all_figures(report(figures=made)) if each.name == "trading")
    assert shown(trading)["fees"] == "0.75 USD"
    if kind == "side":
        # 4.75 won and 3.5 lost: (4.75 - 3.5) / 2, and 1/2 - (1/2) / (4.75 / 3.5)
        assert (cells["expectancy>"], cells["Kelly>"]) == ("0.625", "13.16 %")
        assert cells["slippage>"] == UNDEFINED, "nobody has seen a price"


def test_of_too_many_trades_the_newest_are_listed_and_it_is_said() -> None:
    table = tables.trade_table([closed(number) for number in range(5)], {}, rows_max=2)
    assert [row[0].text for row in table.rows] == ["2014-05-13 20:53:20", "2014-05-13 19:53:20"]
    assert "3 older ones" in table.note


def test_trades_that_are_open_are_listed_however_old_they_are_with_what_they_would_bring() -> None:
    trades = [held(0), *(closed(number) for number in range(1, 5))]
    table = tables.trade_table(trades, {trades[0].trade_id: Decimal("-12.5")}, rows_max=2)
    unrealised = table.columns.index("unrealised>")
    assert [row[unrealised].text for row in table.rows] == [UNDEFINED, UNDEFINED, "-12.5"]
    assert "2 older ones" in table.note
    closed_since = tables.trade_table(trades, {trades[4].trade_id: Decimal("-12.5")}, rows_max=5)
    assert {row[unrealised].text for row in closed_since.rows} == {UNDEFINED}, "what it came to stands in its pnl"


def test_what_open_trades_have_booked_stands_beside_what_they_would_bring_where_there_is_any() -> None:
    half = OpenTrades(trades=1, unrealised=Decimal("-7.5"), booked=Decimal("3.2"), by_trade={})
    figures = figures_of([closed(1)], ["10000"])
    assert shown(tables.key_figures(figures, half, "USD"))["open trades, booked already"] == "3.2 USD"
    (returns,) = (each for each in tables.all_figures(report(held=half)) if each.name == "returns")
    assert shown(returns)["of open trades, booked already"] == "3.2 USD"


@pytest.mark.parametrize(("unrealised", "left"), [("-3", None), ("-2.9998", "-0.0002 USD"), (None, None)])
def test_what_is_left_between_trades_and_account_is_said_to_the_last_digit(
    unrealised: str | None, left: str | None
) -> None:
    """The account has won 2, and its closed trade 5."""
    made = figures_of([closed(1, "5")], ["10000", "10002"])
    some = OpenTrades(
        trades=1, unrealised=None if unrealised is None else Decimal(unrealised), booked=Decimal(0), by_trade={}
    )
    assert shown(tables.key_figures(made, some, "USD")).get("netting and rounding") == left


def test_beside_figures_of_closed_trades_stands_what_is_open() -> None:
    made = figures_of([closed(1)], ["10000"])
    some = OpenTrades(trades=2, unrealised=Decimal("-7.5"), booked=Decimal(0), by_trade={})
    said = "2 open trades are not in it: unrealised -7.5 USD at the last tick."
    assert tables.group_table(made, "side", "USD", some).note == said
    (trading,) = (each for each in tables.all_figures(report(held=some)) if each.name == "trading")
    assert trading.note == said
    assert tables.still_open(structs.replace(some, trades=1, unrealised=None), "USD") == (
        "1 open trade is not in it: unrealised – at the last tick."
    )
    assert tables.still_open(structs.replace(some, trades=0, unrealised=Decimal(0)), "USD") == ""


@pytest.mark.parametrize(("days", "text"), [(6, "– (6 days)"), (30, "12.88 %")])
def test_the_growth_of_a_few_days_is_not_carried_on_for_a_year_among_the_first_figures(days: int, text: str) -> None:
    """One percent in six days are eighty in a year. The figures themselves have it all the same."""
    made = figures_of([], ["10000", *["10100"] * days])
    assert made.returns.cagr_percent is not None
    assert shown(tables.key_figures(made, None, "USD"))["a year (CAGR)"] == text
    (returns,) = (each for each in tables.all_figures(report(figures=made)) if each.name == "returns")
    assert ("carried on from 6 days" in returns.note) is (days == 6)


@pytest.mark.parametrize(("days", "few"), [(6, True), (30, False)])
def test_a_ratio_of_a_few_days_says_of_how_few(days: int, few: bool) -> None:
    equity = [str(10_000 + 50 * (day % 2)) for day in range(days + 1)]
    figures = shown(tables.key_figures(figures_of([], equity), None, "USD"))
    assert figures["Sharpe (252 days a year)"].endswith(f"({days} days)") is few


def test_layers_have_what_their_open_trades_would_bring() -> None:
    trades = [closed(0, "3"), held(3), closed(1, "1")]
    layer, cycle = tables.layer_tables(trades, {trades[1].trade_id: Decimal(-40)}, rows_max=10)
    for table, first in ((layer, ("0", "2", "1", "3", "-40")), (cycle, ("1", "2", "0", "4", UNDEFINED))):
        places = [2, 3, 4, 6, 7]
        assert tuple(table.rows[0][place].text for place in places) == first
    unknown, _ = tables.layer_tables(trades, {}, rows_max=10)
    assert unknown.rows[0][7].text == UNDEFINED, "no price of it is known"


def test_layers_and_cycles_of_a_floor_strategy() -> None:
    trades = [closed(number, "1.5" if number % 3 else "-1") for number in range(7)]
    layer, cycle = tables.layer_tables(trades, {}, rows_max=10)
    assert [(row[2].text, row[3].text, row[6].text) for row in layer.rows] == [
        ("0", "3", "-3"),
        ("1", "2", "3"),
        ("2", "2", "3"),
    ]
    assert [row[2].text for row in cycle.rows] == ["1", "2", "3"]
    assert tables.layer_tables([closed(1, metadata={})], {}, 10) == ()


# --- curves -------------------------------------------------------------------------------------------------------------------


def test_under_water_is_percent_below_the_highest_so_far() -> None:
    points = [CurvePoint(n, Decimal(value)) for n, value in enumerate(("100", "110", "99", "121"))]
    assert [point.value for point in curves.under_water(points)] == [0, 0, -10, 0]


def test_buy_and_hold_spreads_the_stake_evenly_at_the_first_quotes() -> None:
    prices = {
        "A": (PricePoint(1, Decimal(9), Decimal(11)), PricePoint(3, Decimal(20), Decimal(20))),
        "B": (PricePoint(2, Decimal(50), Decimal(50)), PricePoint(3, Decimal(25), Decimal(25))),
        "C": (),
    }
    held = curves.buy_and_hold(Decimal(100), prices)
    # A doubles, B halves: 100 * (2 + 1/2) / 2
    assert [(point.ts_ns, int(point.value)) for point in held] == [(1, 100), (2, 100), (3, 125)]
    assert curves.buy_and_hold(Decimal(100), {}) == ()


def points_of(*values: str) -> list[CurvePoint]:
    return [CurvePoint(n, Decimal(value)) for n, value in enumerate(values)]


def test_a_deposit_in_the_middle_of_a_fall_is_no_rise_and_takes_no_part_of_it_away() -> None:
    """From 100 to 90, then 90 more come, so that the peak is worth 200: at 170 the account has fallen by 15 percent."""
    equity = points_of("100", "90", "170", "200", "220")
    moves = [FundsMove(2, Decimal(90))]
    assert [point.value for point in curves.under_water(equity, moves)] == [0, -10, -15, 0, 0]
    tracker = PerformanceTracker()
    for n, value in enumerate(("100", "90", "170", "200", "220")):
        if n == 2:
            tracker.funds_moved(Decimal(90))
        tracker.equity_observed(Decimal(value), n)
    steepest = tracker.report().drawdown.steepest
    assert steepest is not None
    assert -min(point.value for point in curves.under_water(equity, moves)) == steepest.percent


def test_a_withdrawal_in_the_middle_of_a_fall_does_not_make_it_deeper() -> None:
    equity = points_of("100", "90", "45", "40", "50")
    moves = [FundsMove(2, Decimal(-45))]
    # Half of it goes, so the peak is worth 50: 45 is 10 percent below, and 40 is 20.
    assert [point.value for point in curves.under_water(equity, moves)] == [0, -10, -10, -20, 0]


def test_where_nothing_is_left_the_way_begins_anew() -> None:
    equity = points_of("100", "90", "0", "30", "27")
    moves = [FundsMove(2, Decimal(-90)), FundsMove(3, Decimal(30))]
    assert [point.value for point in curves.under_water(equity, moves)] == [0, -10, 0, 0, -10]


def test_what_comes_in_the_middle_buys_the_benchmark_at_its_price_then_and_what_goes_sells_it() -> None:
    """A hundred at a price of 10; it halves, and a hundred more buy twice as much; then half of the price is made up for."""
    prices = {"A": [PricePoint(n, Decimal(p), Decimal(p)) for n, p in enumerate(("10", "5", "5", "7.5", "7.5", "15"))]}
    moves = [FundsMove(2, Decimal(100)), FundsMove(4, Decimal(-75))]
    held = [point.value for point in curves.buy_and_hold(Decimal(100), prices, moves)]
    assert held == [100, 50, 150, 225, 150, 300]
    gone = curves.buy_and_hold(Decimal(100), prices, [FundsMove(3, Decimal(-80)), FundsMove(4, Decimal(30))])
    assert [point.value for point in gone] == [100, 50, 50, 0, 30, 60], "no more is sold than there is"


def test_funds_that_come_between_two_quotes_or_before_the_first_are_in_the_benchmark() -> None:
    prices = {"A": [PricePoint(n, Decimal(p), Decimal(p)) for n, p in ((10, "10"), (20, "20"))]}
    moves = [FundsMove(5, Decimal(50)), FundsMove(15, Decimal(30)), FundsMove(25, Decimal(-60))]
    held = curves.buy_and_hold(Decimal(100), prices, moves)
    assert [(p.ts_ns, int(p.value)) for p in held] == [(10, 150), (15, 180), (20, 360), (25, 300)]


def test_the_rolling_ratio_over_all_days_is_the_ratio_of_the_run() -> None:
    """Both are of trading days that are over: the last one here has just begun."""
    equities = [str(10_000 + (n * 37) % 11 + 3 * n) for n in range(16)]
    figures = figures_of([], equities)
    rolling = curves.rolling_sharpe(figures)
    assert len(figures.periods.by_day) == figures.returns.days + 1
    assert len(rolling) == figures.returns.days - curves.ROLLING_DAYS_MIN + 1
    assert round(rolling[-1].value, 3) == round(figures.returns.sharpe or 0, 3)
    assert curves.rolling_sharpe(figures_of([], equities[:5])) == ()
    assert curves.rolling_sharpe(None) == ()


def test_what_nobody_books_has_no_more_digits_than_what_is_booked() -> None:
    """Slippage at the rates of the moment: sixteen digits of it would push the other columns off a terminal."""
    cost = Decimal("9.6726957587755848")
    assert cells.measured(cost, "EUR") == cells.Cell("9.6727 EUR", str(cost))
    assert cells.measured(cost, "EUR", named=False).text == "9.6727"
    assert cells.measured(None, "EUR").text == cells.UNDEFINED
