"""Two executions lined up: which trades belong together, what differs, and why as far as the books can tell."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.backtest.reporting.reports import closed
from tests.unit.storage import samples
from tradekeel.backtest.reporting.comparing import TOLERANCE_NS, Comparison, Difference, compare, pair_up
from tradekeel.backtest.reporting.model import Traded
from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.domain.orders import Order, OrderStatus, OrderType, Side
from tradekeel.domain.rows import Mode
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus

SECOND = samples.SECOND
ENDED_NS = samples.START_NS + 1_000 * 3_600 * SECOND


def pips(symbol: str) -> Decimal | None:
    return Decimal("0.0001") if symbol == "EUR_USD" else None


def side(
    name: str, trades: list[Trade], signals: list[Signal] | None = None, orders: list[Order] | None = None
) -> Traded:
    return Traded(
        name=name,
        run=samples.execution(name, mode=Mode.BACKTEST),
        trades=tuple(trades),
        signals=tuple(signals or [signal_of(trade) for trade in trades]),
        orders=tuple(orders or [order_of(trade) for trade in trades]),
        first_ns=samples.START_NS,
        last_ns=ENDED_NS,
    )


def signal_of(trade: Trade, **changes: Any) -> Signal:
    assert trade.signal_id is not None
    made = samples.signal(
        signal_id=trade.signal_id,
        trade_id=trade.trade_id,
        generated_at_ns=(trade.entry_time_ns or 0) - SECOND,
        side=trade.side.entry_side,
        strategy=trade.strategy,
    )
    return structs.replace(made, **changes)


def order_of(trade: Trade, **changes: Any) -> Order:
    made = samples.order(
        client_order_id=trade.entry_order_id,
        signal_id=trade.signal_id,
        trade_id=trade.trade_id,
        status=OrderStatus.FILLED,
        filled_quantity=trade.entered_quantity,
    )
    return structs.replace(made, **changes)


def there(number: int = 1, **changes: Any) -> Trade:
    """The same trade in the other execution, where ids are others."""
    return closed(
        number,
        **({"trade_id": f"other-{number}", "signal_id": f"so-{number}", "entry_order_id": f"o-{number}"} | changes),
    )


def only(found: Comparison) -> Difference:
    (difference,) = found.differences
    return difference


def lined_up(one: Trade, other: Trade) -> Difference:
    return only(compare(side("a", [one]), side("b", [other]), pips))


def test_the_same_trades_differ_in_nothing_though_their_ids_do() -> None:
    found = compare(side("a", [closed(1), closed(2)]), side("b", [there(1), there(2)]), pips)
    assert found.is_same
    assert (found.pairs, found.same, found.missing, found.extra) == (2, 2, 0, 0)
    assert found.pnl == 0


def test_a_price_is_told_in_pips_and_as_slippage_where_both_saw_the_same() -> None:
    found = lined_up(closed(1), there(1, entry_value=Decimal("1392.30"), gross_pnl=Decimal("4.8")))
    assert [(change.what, change.by) for change in found.changes] == [("entry price", "2 pips"), ("pnl", "-0.2")]
    assert found.why == ("both saw 1.39210, slippage 0 and 0.0002",)
    assert found.pnl == Decimal("-0.2")


def test_slippage_of_a_stop_order_counts_from_its_stop_as_in_the_figures() -> None:
    one, other = closed(1), there(1, entry_value=Decimal("1392.30"))
    stops = {"type": OrderType.STOP, "stop_price": Decimal("1.3920"), "reference_price": Decimal("1.3900")}
    found = compare(
        side("a", [one], orders=[order_of(one, **stops)]), side("b", [other], orders=[order_of(other, **stops)]), pips
    )
    assert only(found).why == ("both saw 1.3920, slippage 0.0001 and 0.0003",)


def test_other_quotes_are_told_as_such() -> None:
    one, other = closed(1), there(1, entry_value=Decimal("1392.30"))
    found = compare(
        side("a", [one]), side("b", [other], orders=[order_of(other, reference_price=Decimal("1.3923"))]), pips
    )
    assert only(found).why == ("decided on other quotes: 1.39210 and 1.3923",)


def test_a_later_fill_of_the_same_decision_is_latency() -> None:
    one = closed(1)
    assert one.entry_time_ns is not None
    other = there(1, entry_time_ns=one.entry_time_ns + 250_000_000)
    found = compare(
        side("a", [one]),
        side("b", [other], signals=[signal_of(other, generated_at_ns=one.entry_time_ns - SECOND)]),
        pips,
    )
    assert only(found).changes[0].by == "0.25 s"
    assert only(found).why == ("decided at the same moment, filled 1 s and 1.25 s later: latency",)


def test_a_size_that_was_asked_for_is_told_from_one_that_was_filled_in_part() -> None:
    one, other = closed(1), there(1, entered_quantity=Decimal(500), exited_quantity=Decimal(500))
    other = structs.replace(other, entry_value=one.entry_value / 2, exit_value=one.exit_value / 2)
    assert lined_up(one, other).why == ("asked for 1000 in both, and filled in part",)
    smaller = [order_of(other, quantity=Decimal(500))]
    found = compare(side("a", [one]), side("b", [other], orders=smaller), pips)
    assert only(found).why == ("asked for 1000 and 500",)


def test_another_way_out_is_named() -> None:
    found = lined_up(closed(1), there(1, exit_reason=CloseReason.TIME))
    assert found.why == ("left by take_profit and time",)
    moved = lined_up(closed(1), there(1, exit_value=Decimal(1390), stop_loss=Decimal("1.3900")))
    assert "filled elsewhere" in moved.why[0]


@pytest.mark.parametrize(
    ("status", "reason", "why"),
    [
        (OrderStatus.REJECTED, "no money", "rejected by the venue of b: no money"),
        (OrderStatus.NOT_SENT, "paused", "not sent by b: paused"),
        (OrderStatus.EXPIRED, "", "expired in b"),
        (OrderStatus.UNKNOWN, "timeout", "nobody knows what became of it in b: timeout"),
    ],
)
def test_a_missing_trade_says_what_became_of_its_order(status: OrderStatus, reason: str, why: str) -> None:
    one = closed(1)
    failed = there(1, status=TradeStatus.FAILED, entry_time_ns=None)
    wish = signal_of(failed, generated_at_ns=(one.entry_time_ns or 0) - SECOND)
    order = order_of(failed, status=status, status_reason=reason, filled_quantity=Decimal(0))
    found = compare(side("a", [one]), side("b", [failed], [wish], [order]), pips)
    assert (only(found).kind, only(found).why, only(found).pnl) == ("missing", (why,), Decimal(-5))
    assert only(found).trade_pnl == one.pnl == Decimal(5)


def test_a_denied_trade_says_why() -> None:
    one = closed(1)
    denied = signal_of(
        one, execution_status=SignalStatus.DENIED, status_reason="quantity_max: too large", trade_id=None
    )
    found = compare(side("a", [one]), side("b", [], [denied]), pips)
    assert only(found).why == ("denied by b: quantity_max: too large",)


def test_one_that_nobody_wanted_says_so() -> None:
    one = closed(1)
    opposite = signal_of(one, side=Side.SELL)
    far = signal_of(one, generated_at_ns=(one.entry_time_ns or 0) - 3_600 * SECOND)
    assert only(compare(side("a", [one]), side("b", [], [opposite]), pips)).why == (
        "another signal: b wanted SHORT then",
    )
    assert only(compare(side("a", [one]), side("b", [], [far]), pips)).why == ("no such signal: b wanted nothing then",)
    assert only(compare(side("a", [one]), side("b", []), pips)).why == ("b has no signal of strategy floor",)


@pytest.mark.parametrize("gap_ns", [-TOLERANCE_NS - 1, -TOLERANCE_NS, TOLERANCE_NS, TOLERANCE_NS + 1])
def test_a_wish_belongs_to_a_trade_up_to_the_tolerance(gap_ns: int) -> None:
    one = closed(1)
    at = signal_of(one).generated_at_ns + gap_ns
    denied = signal_of(one, generated_at_ns=at, execution_status=SignalStatus.DENIED, status_reason="x", trade_id=None)
    (why,) = only(compare(side("a", [one]), side("b", [], [denied]), pips)).why
    assert why == ("denied by b: x" if abs(gap_ns) <= TOLERANCE_NS else "no such signal: b wanted nothing then")


def test_what_came_before_or_after_the_other_one_says_so() -> None:
    one, other = closed(1), side("b", [])
    ended = structs.replace(other, last_ns=samples.START_NS + 5)
    began = structs.replace(other, first_ns=ENDED_NS)
    assert only(compare(side("a", [one]), ended, pips)).why[0].startswith("b had ended, or has not come so far")
    assert only(compare(side("a", [one]), began, pips)).why[0].startswith("b had not begun, or had done nothing yet")


def test_an_extra_one_is_explained_by_the_first() -> None:
    found = compare(side("a", []), side("b", [there(1)]), pips)
    assert (only(found).kind, only(found).first_trade, only(found).pnl) == ("extra", None, Decimal(5))


def test_of_several_the_nearest_belong_together() -> None:
    at = closed(1).entry_time_ns or 0
    one = [closed(1, trade_id=f"a{n}", entry_time_ns=at + n * 10 * SECOND) for n in range(2)]
    other = [closed(1, trade_id=f"b{n}", entry_time_ns=at + gap * SECOND) for n, gap in enumerate((9, 12))]
    pairs = {(a.trade_id, b.trade_id) for a, b in pair_up(one, other, TOLERANCE_NS)}
    assert pairs == {("a1", "b0"), ("a0", "b1")}


def test_another_side_strategy_or_instrument_is_another_trade() -> None:
    for changes in ({"side": TradeSide.SHORT}, {"strategy": "x"}, {"symbol": "GBP_USD"}):
        found = compare(side("a", [closed(1)]), side("b", [there(1, **changes)]), pips)
        assert (found.pairs, found.missing, found.extra) == (0, 1, 1)


GAPS = st.lists(st.integers(0, 300), max_size=25)


@given(GAPS, GAPS, st.integers(0, 90))
def test_no_trade_is_in_two_pairs_and_none_is_left_that_could_have_had_one(
    ones: list[int], others: list[int], tolerance_s: int
) -> None:
    first = [closed(1, trade_id=f"a{n}", entry_time_ns=gap * SECOND) for n, gap in enumerate(ones)]
    second = [closed(1, trade_id=f"b{n}", entry_time_ns=gap * SECOND) for n, gap in enumerate(others)]
    pairs = pair_up(first, second, tolerance_s * SECOND)
    assert len({a.trade_id for a, _ in pairs}) == len({b.trade_id for _, b in pairs}) == len(pairs)
    assert all(abs((a.entry_time_ns or 0) - (b.entry_time_ns or 0)) <= tolerance_s * SECOND for a, b in pairs)
    paired = {trade.trade_id for pair in pairs for trade in pair}
    for a in first:
        for b in second:
            near = abs((a.entry_time_ns or 0) - (b.entry_time_ns or 0)) <= tolerance_s * SECOND
            assert not (near and a.trade_id not in paired and b.trade_id not in paired)


@given(GAPS, GAPS, st.integers(0, 90))
def test_the_pairs_are_those_of_all_pairs_taken_nearest_first(
    ones: list[int], others: list[int], tolerance_s: int
) -> None:
    first = [closed(1, trade_id=f"a{n}", entry_time_ns=gap * SECOND) for n, gap in enumerate(ones)]
    second = [closed(1, trade_id=f"b{n}", entry_time_ns=gap * SECOND) for n, gap in enumerate(others)]

    def entry(trade: Trade) -> tuple[int, str]:
        return trade.entry_time_ns or 0, trade.trade_id

    wanted: list[tuple[Trade, Trade]] = []
    everybody = ((a, b) for a in first for b in second)
    for a, b in sorted(everybody, key=lambda pair: (abs(entry(pair[0])[0] - entry(pair[1])[0]), *map(entry, pair))):
        near = abs(entry(a)[0] - entry(b)[0]) <= tolerance_s * SECOND
        if near and all(a is not one and b is not other for one, other in wanted):
            wanted.append((a, b))
    assert pair_up(first, second, tolerance_s * SECOND) == wanted


def test_a_tolerance_is_not_below_zero() -> None:
    with pytest.raises(ValueError, match="below zero"):
        compare(side("a", []), side("b", []), pips, -1)
