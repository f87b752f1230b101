"""Backtests that were worked out by hand: every fill, fee, trade and balance to the last digit.

Unless it says otherwise: an account of 10,000 dollars, leverage 30, EUR_USD, a quote a second. What is decided at a tick
meets the next one. Each scenario says how its figures come about; a product like ``1000*1.10020`` is units times price.
"""

from __future__ import annotations

from decimal import Decimal

from tests.unit.backtest.scene import (
    START,
    alone,
    buy,
    filled,
    leave,
    ns,
    sell,
    tape,
    traded,
)
from tradekeel.domain.messages import Liquidity, TransactionKind
from tradekeel.domain.orders import OrderStatus, OrderType, TimeInForce
from tradekeel.domain.times import NS_PER_S

LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
ENDINGS = (TransactionKind.ORDER_CANCELED, TransactionKind.ORDER_EXPIRED)


# --- order types ------------------------------------------------------------------------------------------------------


def test_a_market_order_buys_at_the_ask_and_sells_at_the_bid() -> None:
    done = alone(
        {1: [buy("1000")], 3: [leave()]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10050 1.10060", "1.10040 1.10050", "1.10090 1.10100"),
    )
    # 1000 x (1.10040 - 1.10020) = 0.20
    assert done.fills == [filled(2, "buy", "1000", "1.10020"), filled(4, "sell", "1000", "1.10040", realised="0.20")]
    assert done.trades == [traded("LONG", "1000*1.10020", "1000*1.10040", pnl="0.20", reason="signal")]
    assert done.ends(balance="10000.20", equity="10000.20")


def test_a_short_sells_at_the_bid_and_is_bought_back_at_the_ask() -> None:
    done = alone(
        {1: [sell("1000")], 3: [leave("400")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10050 1.10060", "1.10040 1.10050", "1.09990 1.10000"),
    )
    # 400 x (1.10010 - 1.10050) = -0.16; what is left is worth 600 x (1.10010 - 1.10000) = 0.06
    assert done.fills == [filled(2, "sell", "1000", "1.10010"), filled(4, "buy", "400", "1.10050", realised="-0.16")]
    assert done.trades == [traded("SHORT", "1000*1.10010", "400*1.10050", pnl="-0.16", reason="signal")]
    assert done.ends(balance="9999.84", equity="9999.90")


def test_a_limit_that_is_touched_fills_at_its_price() -> None:
    done = alone(
        {1: [buy("1000", type=LIMIT, price="1.09990")]},
        tape("1.10000 1.10010", "1.09981 1.09991", "1.09980 1.09990", "1.10000 1.10010"),
    )
    # The ask is a hundred-thousandth above it at tick 2, and at it at tick 3. 1000 x (1.10000 - 1.09990) = 0.10
    assert done.fills == [filled(3, "buy", "1000", "1.09990")]
    assert done.venue_fills[0].liquidity is Liquidity.MAKER
    assert done.trades == [traded("LONG", "1000*1.09990", None, pnl="0", reason=None)]
    assert done.ends(balance="10000", equity="10000.10")


def test_a_limit_that_the_market_gaps_through_fills_at_the_better_quote() -> None:
    done = alone(
        {1: [buy("1000", type=LIMIT, price="1.09990"), sell("300", type=LIMIT, price="1.10100")]},
        tape("1.10000 1.10010", "1.09950 1.09960", "1.10130 1.10140"),
        hedging=True,
    )
    # Bought at the ask, 3 pips better than asked for; sold at the bid, 3 pips better. At the last quote:
    # 1000 x (1.10130 - 1.09960) + 300 x (1.10130 - 1.10140) = 1.70 - 0.03
    assert done.fills == [filled(2, "buy", "1000", "1.09960"), filled(3, "sell", "300", "1.10130")]
    assert done.ends(balance="10000", equity="10001.67")


def test_a_stop_that_is_touched_fills_at_the_market() -> None:
    done = alone(
        {1: [buy("1000", type=STOP, stop_price="1.10050")]},
        tape("1.10000 1.10010", "1.10039 1.10049", "1.10040 1.10050", "1.10040 1.10050"),
    )
    # 1000 x (1.10040 - 1.10050) = -0.10
    assert done.fills == [filled(3, "buy", "1000", "1.10050")]
    assert done.ends(balance="10000", equity="9999.90")


def test_a_stop_that_the_market_gaps_through_fills_at_the_worse_quote() -> None:
    done = alone(
        {1: [buy("1000", type=STOP, stop_price="1.10050"), sell("1000", type=STOP, stop_price="1.09950")]},
        tape("1.10000 1.10010", "1.10080 1.10090", "1.09900 1.09910"),
        hedging=True,
    )
    # 4 pips worse, and 5 pips worse. At the last quote: 1000 x (1.09900 - 1.10090) + 1000 x (1.09900 - 1.09910)
    assert done.fills == [filled(2, "buy", "1000", "1.10090"), filled(3, "sell", "1000", "1.09900")]
    assert done.ends(balance="10000", equity="9998.00")


def test_a_stop_limit_rests_where_the_market_has_gapped_through_both_prices() -> None:
    done = alone(
        {1: [buy("1000", type=STOP_LIMIT, stop_price="1.10050", price="1.10060")]},
        tape("1.10000 1.10010", "1.10080 1.10090", "1.10051 1.10061", "1.10045 1.10055", "1.10045 1.10055"),
    )
    # Triggered at tick 2, at whose ask it may not buy; at tick 4 the ask is half a pip better than its limit.
    assert done.fills == [filled(4, "buy", "1000", "1.10055")]
    assert done.venue_fills[0].liquidity is Liquidity.MAKER
    assert done.ends(balance="10000", equity="9999.90")


# --- time in force, and what a tick offers ----------------------------------------------------------------------------


def test_an_ioc_takes_what_its_first_tick_offers_and_no_more() -> None:
    done = alone(
        {1: [buy("1000", type=LIMIT, price="1.10020", time_in_force=TimeInForce.IOC)]},
        tape("1.10000 1.10010", "1.10005 1.10015 500x400", "1.10005 1.10015 500x400"),
    )
    # 400 are offered on the ask's side. 400 x (1.10005 - 1.10015) = -0.04
    assert done.fills == [filled(2, "buy", "400", "1.10015")]
    assert done.told(*ENDINGS) == [(2, "ioc_remainder")]
    assert done.trades == [traded("LONG", "400*1.10015", None, pnl="0", reason=None)]
    assert done.ends(balance="10000", equity="9999.96")


def test_a_fok_fills_whole_or_not_at_all() -> None:
    wanted = buy("1000", time_in_force=TimeInForce.FOK)
    done = alone(
        {1: [wanted], 2: [wanted]},
        tape("1.10000 1.10010", "1.10000 1.10010 9000x999", "1.10010 1.10020 9000x1000"),
    )
    assert done.fills == [filled(3, "buy", "1000", "1.10020")]
    assert done.told(*ENDINGS) == [(2, "fok_unfilled")]
    assert [order.status for order in done.orders] == [OrderStatus.CANCELED, OrderStatus.FILLED]
    assert done.ends(balance="10000", equity="9999.90")


def test_a_gtd_order_ends_before_it_meets_the_tick_at_which_its_time_is_over() -> None:
    until = ns(START) + 3 * NS_PER_S
    wanted = buy("1000", type=LIMIT, price="1.09990", time_in_force=TimeInForce.GTD, expire_at_ns=until)
    at_its_time = tape("1.10000 1.10010", "1.10000 1.10010", "1.10000 1.10010", "1.09980 1.09990")
    done = alone({1: [wanted]}, at_its_time)
    assert done.fills == []
    assert done.told(*ENDINGS) == [(4, "gtd")]
    assert done.ends(balance="10000", equity="10000")

    a_tick_before = tape("1.10000 1.10010", "1.10000 1.10010", "1.09980 1.09990", "1.09980 1.09990")
    done = alone({1: [wanted]}, a_tick_before)
    assert done.fills == [filled(3, "buy", "1000", "1.09990")]
    assert done.ends(balance="10000", equity="9999.90")


def test_a_large_order_fills_in_parts_and_its_cost_is_released_in_parts() -> None:
    done = alone(
        {1: [buy("1000")], 5: [leave()]},
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020 9000x300",
            "1.10020 1.10030 9000x500",
            "1.10040 1.10050 9000x900",
            "1.10100 1.10110",
            "1.10100 1.10110 700x9000",
            "1.10000 1.10010 700x9000",
        ),
    )
    # Cost: 300 x 1.10020 + 500 x 1.10030 + 200 x 1.10050 = 330.060 + 550.150 + 220.100 = 1100.310
    # 700 of 1000 release 770.217, and bring 770.700: 0.483. The rest, 330.093, brings 330.000: -0.093
    assert done.fills == [
        filled(2, "buy", "300", "1.10020"),
        filled(3, "buy", "500", "1.10030"),
        filled(4, "buy", "200", "1.10050"),
        filled(6, "sell", "700", "1.10100", realised="0.483"),
        filled(7, "sell", "300", "1.10000", realised="-0.093"),
    ]
    entry, exit_ = "300*1.10020+500*1.10030+200*1.10050", "700*1.10100+300*1.10000"
    assert done.trades == [traded("LONG", entry, exit_, pnl="0.390", reason="signal")]
    assert done.ends(balance="10000.39", equity="10000.39")


def test_what_a_release_rounds_away_stays_with_the_rest_of_the_position() -> None:
    done = alone(
        {1: [buy("3")], 3: [leave("1")], 4: [leave("1")], 5: [leave("1")]},
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020 9x1",
            "1.10020 1.10030 9x2",
            "1.11000 1.11010",
            "1.11000 1.11010",
            "1.11000 1.11010",
        ),
    )
    # Cost 1.10020 + 2 x 1.10030 = 3.30080. A third of it, to the twelfth digit, is 1.100266666667; half of what is left,
    # 2.200533333333, lies between two steps and goes to the even one, 1.100266666666; the last has 1.100266666667.
    # Each sale brings 1.11000: 0.009733333333, 0.009733333334 and 0.009733333333, each booked as 0.0097.
    assert done.fills[2:] == [filled(tick, "sell", "1", "1.11000", realised="0.0097") for tick in (4, 5, 6)]
    costs = [entry.moved.cost for entry in done.entries if entry.moved is not None]
    assert costs[1:] == [Decimal("3.30080"), Decimal("2.200533333333"), Decimal("1.100266666667"), Decimal(0)]
    assert done.trades == [traded("LONG", "1*1.10020+2*1.10030", "3*1.11000", pnl="0.0291", reason="signal")]
    assert done.ends(balance="10000.0291", equity="10000.0291")


# --- exits ------------------------------------------------------------------------------------------------------------


def test_a_target_at_the_venue_cancels_the_stop_beside_it() -> None:
    done = alone(
        {1: [buy("1000", stop_loss="1.09900", take_profit="1.10200")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10030 1.10040", "1.10201 1.10211"),
    )
    # 1000 x (1.10201 - 1.10020) = 1.81
    assert done.fills == [filled(2, "buy", "1000", "1.10020"), filled(4, "sell", "1000", "1.10201", realised="1.81")]
    assert done.told(*ENDINGS) == [(4, "oco")]
    assert done.trades == [traded("LONG", "1000*1.10020", "1000*1.10201", pnl="1.81", reason="take_profit")]
    assert done.ends(balance="10001.81", equity="10001.81")


def test_a_stop_at_the_venue_that_is_gapped_through_loses_more_and_cancels_the_target() -> None:
    done = alone(
        {1: [sell("1000", stop_loss="1.10100", take_profit="1.09900")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10140 1.10150"),
    )
    # 1000 x (1.10010 - 1.10150) = -1.40
    assert done.fills == [filled(2, "sell", "1000", "1.10010"), filled(3, "buy", "1000", "1.10150", realised="-1.40")]
    assert done.told(*ENDINGS) == [(3, "oco")]
    assert done.trades == [traded("SHORT", "1000*1.10010", "1000*1.10150", pnl="-1.40", reason="stop_loss")]
    assert done.ends(balance="9998.60", equity="9998.60")


def test_a_target_that_fills_in_part_leaves_the_stop_the_rest() -> None:
    done = alone(
        {1: [buy("1000", stop_loss="1.09900", take_profit="1.10200")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10200 1.10210 300x9000", "1.09890 1.09900"),
    )
    # 300 x (1.10200 - 1.10020) = 0.54; the stop, shrunk to 700: 700 x (1.09890 - 1.10020) = -0.91
    assert done.fills == [
        filled(2, "buy", "1000", "1.10020"),
        filled(3, "sell", "300", "1.10200", realised="0.54"),
        filled(4, "sell", "700", "1.09890", realised="-0.91"),
    ]
    amended = [news.quantity for news in done.record if news.kind is TransactionKind.ORDER_AMENDED]
    assert amended == [Decimal(700)]
    assert done.trades == [traded("LONG", "1000*1.10020", "300*1.10200+700*1.09890", pnl="-0.37", reason="stop_loss")]
    assert done.ends(balance="9999.63", equity="9999.63")


def test_a_trailing_stop_follows_and_never_goes_back() -> None:
    done = alone(
        {1: [buy("1000", trailing_distance="0.00050")]},
        tape(
            "1.10000 1.10010",
            "1.10010 1.10020",  # filled; the stop begins at 1.10010 - 0.00050 = 1.09960
            "1.10060 1.10070",  # 1.10010
            "1.10020 1.10030",
            "1.10110 1.10120",  # 1.10060
            "1.10055 1.10065",  # half a pip through it
        ),
    )
    # 1000 x (1.10055 - 1.10020) = 0.35
    assert done.fills == [filled(2, "buy", "1000", "1.10020"), filled(6, "sell", "1000", "1.10055", realised="0.35")]
    moves = [(n.position, n.price) for n in done.record if n.kind is TransactionKind.ORDER_AMENDED]
    assert moves == [(3, Decimal("1.10010")), (5, Decimal("1.10060"))]
    assert done.trades == [traded("LONG", "1000*1.10020", "1000*1.10055", pnl="0.35", reason="trailing_stop")]
    assert done.ends(balance="10000.35", equity="10000.35")


def test_a_stop_that_we_keep_is_seen_at_one_tick_and_filled_at_the_next() -> None:
    done = alone(
        {1: [buy("1000", stop_loss="1.09900")]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.09895 1.09905", "1.09880 1.09890"),
        exits_at_venue=False,
    )
    # 1000 x (1.09880 - 1.10020) = -1.40
    assert done.fills == [filled(2, "buy", "1000", "1.10020"), filled(4, "sell", "1000", "1.09880", realised="-1.40")]
    assert done.trades == [traded("LONG", "1000*1.10020", "1000*1.09880", pnl="-1.40", reason="stop_loss")]
    assert done.ends(balance="9998.60", equity="9998.60")


def test_an_exit_by_time_goes_out_at_the_first_tick_from_then_on() -> None:
    done = alone(
        {1: [buy("1000", exit_at_ns=ns(START) + 2 * NS_PER_S)]},
        tape("1.10000 1.10010", "1.10010 1.10020", "1.10030 1.10040", "1.10045 1.10055"),
    )
    # 1000 x (1.10045 - 1.10020) = 0.25
    assert done.fills == [filled(2, "buy", "1000", "1.10020"), filled(4, "sell", "1000", "1.10045", realised="0.25")]
    assert done.trades == [traded("LONG", "1000*1.10020", "1000*1.10045", pnl="0.25", reason="time")]
    assert done.ends(balance="10000.25", equity="10000.25")
