"""Backtests that were worked out by hand, continued: positions, margin, nights, other currencies, and what trading costs.

Unless it says otherwise: an account of 10,000 dollars, leverage 30, EUR_USD, a quote a second. What is decided at a tick
meets the next one. Each scenario says how its figures come about; a product like ``1000*1.10020`` is units times price.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.backtest.scene import (
    EUR,
    Script,
    account,
    alone,
    buy,
    filled,
    leave,
    leave_trade,
    ns,
    play,
    sell,
    tape,
    traded,
)
from tradekeel.domain.matching import Commission, FinancingRate, PaperSettings, Slippage
from tradekeel.domain.messages import TransactionKind
from tradekeel.domain.orders import OrderType

LIMIT = OrderType.LIMIT
ENDINGS = (TransactionKind.ORDER_CANCELED, TransactionKind.ORDER_EXPIRED)


# --- positions --------------------------------------------------------------------------------------------------------


def test_reduce_only_orders_end_with_their_position_and_netting_shows_as_attribution() -> None:
    long, short = Script({1: [buy("1000", stop_loss="1.09900")]}), Script({3: [sell("1000")]})
    done = play(
        account({"long": long, "short": short}),
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020",
            "1.10005 1.10015",
            "1.10000 1.10010",  # the short's entry closes the position: the stop has nothing left to reduce
            "1.09890 1.09900",  # so it is kept by us, and seen here
            "1.09880 1.09890",
            "1.09900 1.09910",
        ),
    )
    # The account: 1000 x (1.10000 - 1.10020) = -0.20 realised at tick 4, when the position is flat, and a new one at 1.09880.
    # The trades: 1000 x (1.09880 - 1.10020) = -1.40 for the long; the short is still open. Netting booked 1.20 more.
    assert done.fills == [
        filled(2, "buy", "1000", "1.10020"),
        filled(4, "sell", "1000", "1.10000", realised="-0.20"),
        filled(6, "sell", "1000", "1.09880"),
    ]
    assert done.told(*ENDINGS) == [(4, "nothing_to_reduce")]
    assert done.trades == [
        traded("LONG", "1000*1.10020", "1000*1.09880", pnl="-1.40", reason="stop_loss"),
        traded("SHORT", "1000*1.10000", None, pnl="0", reason=None),
    ]
    assert done.kernel.account.book.attribution == Decimal("1.20")
    # Short 1000 from 1.09880, at the ask: 1000 x (1.09880 - 1.09910) = -0.30
    assert done.ends(balance="9999.80", equity="9999.50")


def test_a_reduce_only_order_shrinks_to_what_is_left_to_close() -> None:
    long, short = Script({1: [buy("1000", take_profit="1.10200")]}), Script({2: [sell("400")]})
    done = play(
        account({"long": long, "short": short}),
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020",
            "1.10050 1.10060",  # the short's entry leaves 600
            "1.10200 1.10210",  # which is all that the target can close
            "1.10230 1.10240",  # what it has left of its trade goes by the monitor's order
            "1.10230 1.10240",
        ),
    )
    # The account: 400 x (1.10050 - 1.10020) = 0.12 and 600 x (1.10200 - 1.10020) = 1.08, then short 400 from 1.10230.
    # The long: 600 x 1.10200 + 400 x 1.10230 - 1000 x 1.10020 = 661.20 + 440.92 - 1100.20 = 1.92: netting booked 0.72 less.
    assert done.fills == [
        filled(2, "buy", "1000", "1.10020"),
        filled(3, "sell", "400", "1.10050", realised="0.12"),
        filled(4, "sell", "600", "1.10200", realised="1.08"),
        filled(5, "sell", "400", "1.10230"),
    ]
    assert done.told(*ENDINGS) == [(4, "nothing_to_reduce")]
    assert done.trades == [
        traded("LONG", "1000*1.10020", "600*1.10200+400*1.10230", pnl="1.92", reason="take_profit"),
        traded("SHORT", "400*1.10050", None, pnl="0", reason=None),
    ]
    assert done.kernel.account.book.attribution == Decimal("-0.72")
    assert done.ends(balance="10001.20", equity="10001.16")


def test_layers_of_a_hedging_account_are_closed_in_any_order_each_against_its_own_entry() -> None:
    done = alone(
        {1: [buy("1000")], 2: [buy("2000")], 3: [buy("3000")], 5: leave_trade(1), 6: leave_trade(1), 7: [leave()]},
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020",
            "1.09960 1.09970",
            "1.09910 1.09920",
            "1.09990 1.10000",
            "1.10000 1.10010",
            "1.09950 1.09960",
            "1.10030 1.10040",
        ),
        hedging=True,
    )
    # Second layer: 2000 x (1.10000 - 1.09970) = 0.60; third: 3000 x (1.09950 - 1.09920) = 0.90;
    # first: 1000 x (1.10030 - 1.10020) = 0.10
    assert done.fills == [
        filled(2, "buy", "1000", "1.10020"),
        filled(3, "buy", "2000", "1.09970"),
        filled(4, "buy", "3000", "1.09920"),
        filled(6, "sell", "2000", "1.10000", realised="0.60"),
        filled(7, "sell", "3000", "1.09950", realised="0.90"),
        filled(8, "sell", "1000", "1.10030", realised="0.10"),
    ]
    first, second, third, *closed = (fill.position_ref for fill in done.venue_fills)
    assert closed == [second, third, first]
    assert done.trades == [
        traded("LONG", "1000*1.10020", "1000*1.10030", pnl="0.10", reason="signal"),
        traded("LONG", "2000*1.09970", "2000*1.10000", pnl="0.60", reason="signal"),
        traded("LONG", "3000*1.09920", "3000*1.09950", pnl="0.90", reason="signal"),
    ]
    assert done.kernel.account.book.attribution == 0
    assert done.ends(balance="10001.60", equity="10001.60")


def test_layers_of_a_netting_account_share_one_cost() -> None:
    done = alone(
        {1: [buy("1000")], 2: [buy("1000")], 4: leave_trade(1), 5: [leave()]},
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020",
            "1.09910 1.09920",
            "1.10000 1.10010",
            "1.10000 1.10010",
            "1.10010 1.10020",
        ),
    )
    # Together they cost 1100.20 + 1099.20 = 2199.40, half of it 1099.70. The account: 1100.00 - 1099.70 = 0.30, then 0.40.
    # The trades: the second 1000 x (1.10000 - 1.09920) = 0.80, the first 1000 x (1.10010 - 1.10020) = -0.10: 0.70 in all, too.
    assert done.fills[2:] == [
        filled(5, "sell", "1000", "1.10000", realised="0.30"),
        filled(6, "sell", "1000", "1.10010", realised="0.40"),
    ]
    assert done.trades == [
        traded("LONG", "1000*1.10020", "1000*1.10010", pnl="-0.10", reason="signal"),
        traded("LONG", "1000*1.09920", "1000*1.10000", pnl="0.80", reason="signal"),
    ]
    assert done.kernel.account.book.attribution == 0
    assert done.ends(balance="10000.70", equity="10000.70")


# --- margin -----------------------------------------------------------------------------------------------------------


def test_an_order_that_the_margin_does_not_cover_is_refused_or_ended_at_its_fill() -> None:
    done = alone(
        {1: [buy("300000"), buy("280000", type=LIMIT, price="1.09990"), buy("270000", type=LIMIT, price="1.09980")]},
        tape("1.10000 1.10010", "1.09980 1.09990", "1.09970 1.09980", "1.09970 1.09980"),
    )
    # A thirtieth of 300,000 x 1.10005 is 11,000.50; of 280,000 x 1.09985, when the limit is reached, 10,265.27; both are
    # more than 10,000. Of 270,000 x 1.09975 it is 9,897.75. At the last quote: 270,000 x (1.09970 - 1.09980) = -27
    assert done.fills == [filled(3, "buy", "270000", "1.09980")]
    refused = done.told(TransactionKind.ORDER_REJECTED, TransactionKind.ORDER_CANCELED)
    assert refused == [(1, "INSUFFICIENT_MARGIN"), (2, "INSUFFICIENT_MARGIN")]
    assert done.ends(balance="10000", equity="9973")


def test_a_margin_call_closes_at_the_quote_that_brought_it() -> None:
    done = alone(
        {1: [buy("25000")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.08000 1.08010", "1.07800 1.07810", "1.10000 1.10010"),
        deposit="1000",
    )
    # Margin is a thirtieth of 25,000 at the middle, and half of it calls.
    # Tick 3: equity 1000 + 25,000 x (1.08000 - 1.10020) = 495.00, half the margin 450.02: nothing.
    # Tick 4: equity 1000 + 25,000 x (1.07800 - 1.10020) = 445.00, half the margin 449.19: closed at 1.07800, -555.00.
    assert done.fills == [
        filled(2, "buy", "25000", "1.10020"),
        filled(4, "sell", "25000", "1.07800", realised="-555.00"),
    ]
    assert done.trades == [traded("LONG", "25000*1.10020", "25000*1.07800", pnl="-555.00", reason="margin_call")]
    assert [tick for tick, _ in done.told(TransactionKind.MARGIN_CALLED)] == [4]
    assert done.ends(balance="445.00", equity="445.00")


@pytest.mark.parametrize(("bid", "closes"), [("1.00001", False), ("1.00000", True)])
def test_a_margin_call_comes_at_its_level_and_not_a_step_before(bid: str, closes: bool) -> None:
    quotes = tape("1.10000 1.10010", "1.10010 1.10020", f"{bid} 1.00010")
    done = alone({1: [buy("10000")]}, quotes, deposit="1502.025", leverage="10")
    # Margin is a tenth: at 1.00000/1.00010 it is 1000.05, and equity 1502.025 + 10,000 x (1.00000 - 1.10020) = 500.025, the half.
    # At 1.00001/1.00010 the half is 500.0275, and equity 500.125.
    assert bool(done.told(TransactionKind.MARGIN_CALLED)) is closes
    assert done.ends(balance="500.025" if closes else "1502.025", equity="500.025" if closes else "500.125")


# --- nights -----------------------------------------------------------------------------------------------------------


def test_a_position_pays_for_the_weekend_on_wednesday() -> None:
    done = alone(
        {1: [buy("10000")]},
        tape(
            "1.10000 1.10010 @2024-01-02T20:00:00Z",  # a Tuesday; 17:00 in New York is 22:00 UTC
            "1.10010 1.10020 @2024-01-02T20:00:01Z",
            "1.10100 1.10110 @2024-01-02T22:30:00Z",
            "1.10200 1.10210 @2024-01-03T22:00:00Z",
            "1.10300 1.10310 @2024-01-08T01:00:00Z",  # a Monday
        ),
        settings=PaperSettings(financing={EUR: FinancingRate(long=Decimal("-2.1"), short=Decimal("0.7"))}),
    )
    # 2.1 percent a year of 10,000 at the middle before the tick, over 365 days:
    #   Tuesday    11,001.50 x 0.021 x 1 / 365 = 0.63296...  0.6330
    #   Wednesday  11,010.50 x 0.021 x 3 / 365 = 1.90044...  1.9004
    #   Thursday   11,020.50 x 0.021 x 1 / 365 = 0.63405...  0.6341, and Friday the same
    booked = [(n.position, n.amount, n.reason) for n in done.record if n.kind is TransactionKind.FINANCED]
    assert booked == [
        (3, Decimal("-0.6330"), "1 night"),
        (4, Decimal("-1.9004"), "3 nights"),
        (5, Decimal("-0.6341"), "1 night"),
        (5, Decimal("-0.6341"), "1 night"),
    ]
    assert done.trades == [traded("LONG", "10000*1.10020", None, pnl="-3.8016", reason=None)]
    # 10,000 x (1.10300 - 1.10020) = 28
    assert done.ends(balance="9996.1984", equity="10024.1984")


def test_a_pair_that_settles_in_a_day_pays_for_the_weekend_on_thursday_in_the_accounts_currency() -> None:
    done = alone(
        {1: [sell("10000", instrument="USD_CAD")]},
        tape(
            "USD_CAD 1.24995 1.25005 @2024-01-03T20:00:00Z",
            "USD_CAD 1.24995 1.25005 @2024-01-03T20:00:01Z",
            "USD_CAD 1.24995 1.25005 @2024-01-04T20:00:00Z",
            "USD_CAD 1.24995 1.25005 @2024-01-05T20:00:00Z",
        ),
        instruments=("USD_CAD",),
        settings=PaperSettings(
            financing={"USD_CAD": FinancingRate(unit="pips_per_day", long=Decimal("-0.9"), short=Decimal("0.5"))}
        ),
    )
    # Half a pip of 10,000 is 0.50 Canadian dollars a night, each worth 1 / 1.25 = 0.80: 0.40 on Wednesday, 1.20 on Thursday.
    booked = [(n.position, n.amount, n.reason) for n in done.record if n.kind is TransactionKind.FINANCED]
    assert booked == [(3, Decimal("0.40"), "1 night"), (4, Decimal("1.20"), "3 nights")]
    # Sold at 1.24995, worth 1.25005: -1.00 Canadian dollar, -0.80
    assert done.ends(balance="10001.60", equity="10000.80")


# --- other currencies -------------------------------------------------------------------------------------------------


def test_an_account_in_euros_trades_pounds_against_dollars() -> None:
    done = alone(
        {2: [buy("10000", instrument="GBP_USD")], 5: [leave(instrument="GBP_USD")]},
        tape(
            "EUR_USD 1.09990 1.10010",  # a dollar is 1 / 1.10 = 0.90909090909091 euros
            "GBP_USD 1.27000 1.27010",
            "GBP_USD 1.27020 1.27030",
            "EUR_USD 1.07990 1.08010",  # now 1 / 1.08 = 0.92592592592593
            "GBP_USD 1.27100 1.27110",
            "GBP_USD 1.27130 1.27140",
        ),
        instruments=("EUR_USD", "GBP_USD"),
        currency="EUR",
        settings=PaperSettings(commission=Commission(model="per_million", taker=Decimal(30))),
    )
    # 10,000 x (1.27130 - 1.27030) = 10 dollars, at 0.92592592592593: 9.2593 euros.
    # Commission, 30 in a million of the euros, rounded up: 12,703 x 0.90909090909091 = 11,548.1818..., 0.346445...: 0.3465;
    # 12,713 x 0.92592592592593 = 11,771.2962..., 0.353138...: 0.3532
    assert done.fills == [
        filled(3, "buy", "10000", "1.27030", fee="0.3465"),
        filled(6, "sell", "10000", "1.27130", fee="0.3532", realised="9.2593"),
    ]
    assert [fill.rate for fill in done.venue_fills] == [Decimal("0.90909090909091"), Decimal("0.92592592592593")]
    assert done.trades == [traded("LONG", "10000*1.27030", "10000*1.27130", pnl="8.5596", reason="signal")]
    assert done.ends(balance="10008.5596", equity="10008.5596")


def test_an_account_in_euros_trades_dollars_against_yen_by_way_of_the_dollar() -> None:
    done = alone(
        {2: [sell("10000", instrument="USD_JPY")], 3: [leave(instrument="USD_JPY")]},
        tape(
            "EUR_USD 1.09990 1.10010",
            "USD_JPY 150.000 150.010",
            "USD_JPY 150.100 150.110",
            "USD_JPY 149.995 150.005",
        ),
        instruments=("EUR_USD", "USD_JPY"),
        currency="EUR",
    )
    # 10,000 x (150.100 - 150.005) = 950 yen. A yen is 0.00666666666667 dollars (the middle is 150.0000 at tick 4), a dollar
    # 0.90909090909091 euros, so a yen is 0.00606060606061 euros: 5.757575... euros.
    assert done.fills == [
        filled(3, "sell", "10000", "150.100"),
        filled(4, "buy", "10000", "150.005", realised="5.7576"),
    ]
    assert done.venue_fills[1].rate == Decimal("0.00606060606061")
    assert done.ends(balance="10005.7576", equity="10005.7576")


def test_an_account_in_yen_books_hundredths_of_a_yen() -> None:
    done = alone(
        {2: [buy("1001")], 3: [leave("500")]},
        tape("USD_JPY 151.111 151.222", "1.10000 1.10010", "1.10010 1.10020", "1.10033 1.10043", "1.10044 1.10054"),
        instruments=(EUR, "USD_JPY"),
        currency="JPY",
        deposit="1000000",
    )
    # A dollar is (151.111 + 151.222) / 2 = 151.1665 yen. 500 x (1.10033 - 1.10020) = 0.065 dollars, 9.8258... yen.
    # Left: 501 x (1.10044 - 1.10020) = 0.12024 dollars, 18.1762... yen.
    assert done.fills == [filled(3, "buy", "1001", "1.10020"), filled(4, "sell", "500", "1.10033", realised="9.83")]
    assert done.ends(balance="1000009.83", equity="1000028.01")


# --- costs ------------------------------------------------------------------------------------------------------------


def test_a_commission_has_its_minimum_once_an_order() -> None:
    done = alone(
        {1: [buy("50000")], 3: [leave()]},
        tape("1.10000 1.10010", "1.10000 1.10010 90000x20000", "1.10000 1.10010", "1.10000 1.10010"),
        settings=PaperSettings(commission=Commission(model="per_lot", taker=Decimal("3.5"), minimum=Decimal(1))),
    )
    # A fifth of a lot is 0.70, less than the minimum: 1.00. With the next three tenths it is 1.75 in all: 0.75 more.
    # The exit, 50,000 at once: 1.75. 50,000 x (1.10000 - 1.10010) = -5.00
    assert done.fills == [
        filled(2, "buy", "20000", "1.10010", fee="1.00"),
        filled(3, "buy", "30000", "1.10010", fee="0.75"),
        filled(4, "sell", "50000", "1.10000", fee="1.75", realised="-5.00"),
    ]
    assert done.trades == [traded("LONG", "20000*1.10010+30000*1.10010", "50000*1.10000", pnl="-8.50", reason="signal")]
    assert done.ends(balance="9991.50", equity="9991.50")


def test_only_what_has_rested_in_the_book_pays_the_makers_commission() -> None:
    done = alone(
        {1: [buy("1000", type=LIMIT, price="1.10010", take_profit="1.10110")]},
        tape("1.10000 1.10010", "1.10000 1.10010", "1.10050 1.10060", "1.10110 1.10120"),
        settings=PaperSettings(commission=Commission(model="percent", taker=Decimal("0.02"), maker=Decimal("0.011"))),
    )
    # A limit that the first tick it meets can fill takes from the market; a target that the market comes to does not.
    # 1100.10 x 0.0002 = 0.22002, rounded up; 1101.10 x 0.00011 = 0.121121, rounded up. 1000 x (1.10110 - 1.10010) = 1.00
    assert done.fills == [
        filled(2, "buy", "1000", "1.10010", fee="0.2201"),
        filled(4, "sell", "1000", "1.10110", fee="0.1212", realised="1.00"),
    ]
    assert done.trades == [traded("LONG", "1000*1.10010", "1000*1.10110", pnl="0.6587", reason="take_profit")]
    assert done.ends(balance="10000.6587", equity="10000.6587")


SLIPPAGES = {
    "fixed": (Slippage(model="fixed", pips=Decimal("0.5")), "1.10015", "1.09995"),  # half a pip
    "spread": (Slippage(model="spread", share=Decimal("0.3")), "1.10013", "1.09997"),  # three tenths of a pip
    # 1 pip for 100,000: 0.8 pips for 80,000, and 0.2 for the 20,000 that are sold
    "impact": (Slippage(model="impact", pips=Decimal(1)), "1.10018", "1.09998"),
}


@pytest.mark.parametrize("model", SLIPPAGES)
def test_slippage_makes_market_orders_and_stops_worse_and_never_a_limit(model: str) -> None:
    slippage, bought, sold = SLIPPAGES[model]
    quiet = "1.10000 1.10010"
    done = alone(
        {1: [buy("80000")], 2: [leave("20000")], 3: [sell("1000", type=LIMIT, price="1.10000")]},
        tape(quiet, quiet, quiet, quiet),
        settings=PaperSettings(slippage=slippage),
        hedging=True,
    )
    loss = 20_000 * (Decimal(sold) - Decimal(bought))
    assert done.fills == [
        filled(2, "buy", "80000", bought),
        filled(3, "sell", "20000", sold, realised=f"{loss:f}"),
        filled(4, "sell", "1000", "1.10000"),
    ]
    open_ = 60_000 * (Decimal("1.10000") - Decimal(bought)) + 1_000 * (Decimal("1.10000") - Decimal("1.10010"))
    assert done.ends(balance=f"{10_000 + loss:f}", equity=f"{10_000 + loss + open_:f}")


def test_slippage_by_hash_is_on_the_grid_within_its_bounds_and_the_same_each_time() -> None:
    quotes = ["1.10000 1.10010"] * 60
    script = {tick: [buy("1000")] for tick in range(1, 60)}
    settings = PaperSettings(slippage=Slippage(model="random", pips=Decimal("0.4")), seed=3)
    prices = [fill.price for fill in alone(script, tape(*quotes), settings=settings).fills]
    assert set(prices) == {Decimal("1.10010") + Decimal("0.00001") * step for step in range(5)}
    assert prices == [fill.price for fill in alone(script, tape(*quotes), settings=settings).fills]


def test_an_order_meets_the_first_tick_from_its_arrival_on() -> None:
    script = {1: [buy("1000"), buy("500", type=LIMIT, price="1.09990")]}
    quotes = tape("1.10000 1.10010", "1.09950 1.09960", "1.10020 1.10030", "1.10040 1.10050", "1.10040 1.10050")
    done = alone(script, quotes, settings=PaperSettings(latency_ms=2_000))
    # It arrives with tick 3, two seconds later; the limit would have been reached at tick 2, and is not there yet.
    # 1000 x (1.10040 - 1.10030) = 0.10
    assert done.fills == [filled(3, "buy", "1000", "1.10030")]
    assert done.ends(balance="10000", equity="10000.10")

    done = alone(script, quotes, settings=PaperSettings(latency_ms=2_001))
    assert done.fills == [filled(4, "buy", "1000", "1.10050")]
    assert done.ends(balance="10000", equity="9999.90")


def test_what_is_held_at_the_end_is_in_the_figures() -> None:
    """Bought at 1.10010 and never sold: at the last tick, half a minute later, 1,000 units are worth 50 dollars less."""
    lines = ["1.10000 1.10010", "1.10000 1.10010", "1.10400 1.10410", "1.05010 1.05020 @2024-01-03T13:00:30Z"]
    done = alone({1: [buy("1000")]}, tape(*lines))
    report = done.kernel.monitor.report()
    assert done.ends(balance="10000", equity="9950.00")
    assert report.equity == Decimal("9950.00")
    assert report.returns.total_pnl == Decimal("-50.00")
    assert report.drawdown.deepest is not None
    assert report.drawdown.deepest.value == Decimal("50.00")
    assert report.last_ns == ns("2024-01-03T13:00:30Z")
    assert report.exposure_percent is not None
    assert report.exposure_percent > 96
    assert done.kernel.monitor.tracker.report().equity == Decimal("9999.90"), "asking for it changed nothing"


@pytest.mark.parametrize("quiet", [0, 40], ids=["each tick by itself", "among others"])
def test_what_is_held_is_looked_at_at_the_first_tick_of_each_five_minutes(quiet: int) -> None:
    """Bought at 1.10010. In the next five minutes it is worth 40 less at the first tick and 60 less at the second, then all is
    well again: the fall that counts is that of the first one. When nothing is held any more, nobody looks.
    """
    calm = ["1.10010 1.10020"] * quiet
    lines = ["1.10000 1.10010", "1.10000 1.10010", *calm, "1.06010 1.06020 @2024-01-03T13:05:10Z", "1.04010 1.04020"]
    lines += [
        "1.10010 1.10020 @2024-01-03T13:10:00Z",
        *calm,
        "1.10010 1.10020",
        "1.10010 1.10020 @2024-01-03T13:29:00Z",
    ]
    last_held = len(lines) - 2
    done = alone({1: [buy("1000")], last_held: [leave()]}, tape(*lines))
    deepest = done.kernel.monitor.report().drawdown.deepest
    assert done.ends(balance="10000", equity="10000")
    assert deepest is not None
    assert (deepest.value, deepest.trough_ns) == (Decimal("40.00"), ns("2024-01-03T13:05:10Z"))
