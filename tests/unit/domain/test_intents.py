"""From a wish to an order: signal, trade, entry and attached exits, and what goes over the wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from tests.unit.domain.make import order, trade
from tradekeel.domain.ids import Numbering
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.intents import AccountTerms, Bracket, ExitWish, bracket, exit_order, order_request, renewed
from tradekeel.domain.messages import Decision, Enter
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.trades import TradeSide

D = Decimal
TERMS = AccountTerms(account="paper-1", venue="paper", currency="USD", instruments=CATALOGUE, exits_at_venue=True)
QUOTE = Quote(D("1.10000"), D("1.10010"), 1)


def made(enter: Enter, quote: Quote | None = QUOTE, terms: AccountTerms = TERMS) -> Bracket:
    decision = Decision(
        strategy="floor", number=3, position=5, inbox=9, stamp=11, ts_ns=77, requests=(enter,), state=b""
    )
    return bracket(enter, 0, decision, Numbering("e1"), terms, quote, "LONDON")


def enter(side: Side = Side.BUY, **more: Any) -> Enter:
    return Enter(instrument="EUR_USD", side=side, quantity=D(1000), **more)


def test_one_wish_becomes_a_signal_an_order_and_a_trade_that_know_each_other() -> None:
    found = made(enter(confidence=D("0.8"), pattern_type="p", tags=("x",), metadata={"layer": 2}, timeframe="1m"))

    entry, signal, opened = found.entry, found.signal, found.trade
    assert entry.trade_id == opened.trade_id == signal.trade_id
    assert entry.signal_id == signal.signal_id == opened.signal_id == entry.correlation_id == opened.correlation_id
    assert opened.entry_order_id == entry.client_order_id
    assert (entry.status, entry.purpose, entry.stamp, entry.decision, entry.leg) == (
        OrderStatus.INTENDED,
        Purpose.ENTRY,
        11,
        3,
        0,
    )
    assert (signal.session, signal.confidence, signal.generated_at_ns) == ("LONDON", D("0.8"), 77)
    assert (opened.metadata, opened.tags, opened.confidence_score, opened.timeframe) == (
        {"layer": 2},
        ("x",),
        D("0.8"),
        "1m",
    )


@pytest.mark.parametrize(
    ("wish", "seen", "wanted"),
    [
        (enter(), "1.10010", "1.10010"),
        (enter(Side.SELL), "1.10000", "1.10000"),
        (enter(type=OrderType.LIMIT, price=D("1.09")), "1.10010", "1.09"),
        (enter(type=OrderType.STOP, stop_price=D("1.12")), "1.10010", "1.12"),
    ],
)
def test_the_price_wanted_is_the_orders_own_or_what_was_seen(wish: Enter, seen: str, wanted: str) -> None:
    found = made(wish)

    assert found.entry.reference_price == D(seen)
    assert found.signal.entry_price == D(wanted)


def test_without_a_quote_nothing_was_seen() -> None:
    found = made(enter(trailing_percent=D(1)), quote=None)

    assert found.entry.reference_price is None
    assert found.signal.entry_price is None
    assert found.trade.trailing_distance is None


def test_a_trailing_percentage_becomes_a_distance_on_the_price_grid() -> None:
    assert made(enter(trailing_percent=D("0.5"))).trade.trailing_distance == D("0.00550")
    assert made(enter(trailing_percent=D("0.0001"))).trade.trailing_distance == D("0.00001"), "a tick at least"
    assert made(enter(trailing_distance=D("0.002004"))).trade.trailing_distance == D("0.00200")


def test_a_trailing_percentage_of_whatever_digits_becomes_a_distance_inside_the_ledger() -> None:
    third = D("0." + "3" * 40)
    with ledger():
        found = made(enter(type=OrderType.LIMIT, price=1 + third, trailing_percent=third))

    assert found.trade.trailing_distance == D("0.00444")


def test_attached_exits_are_siblings_on_the_other_side() -> None:
    found = made(enter(Side.SELL, stop_loss=D("1.12"), take_profit=D("1.08"), trailing_distance=D("0.01")))

    assert [(o.type, o.close_reason) for o in found.attached] == [
        (OrderType.STOP, "stop_loss"),
        (OrderType.LIMIT, "take_profit"),
        (OrderType.TRAILING_STOP, "trailing_stop"),
    ]
    for child in found.attached:
        assert (child.side, child.parent_id, child.oco_group) == (
            Side.BUY,
            found.entry.client_order_id,
            found.entry.client_order_id,
        )
        assert child.reduce_only
    assert found.trade.exits_at_venue
    assert found.trade.side is TradeSide.SHORT


def test_where_the_monitor_keeps_the_exits_none_are_attached() -> None:
    found = made(enter(stop_loss=D("1.09")), terms=structs.replace(TERMS, exits_at_venue=False))

    assert not found.attached
    assert not found.trade.exits_at_venue
    assert (found.trade.stop_loss, found.trade.initial_stop_loss) == (D("1.09"), D("1.09"))


def test_an_entry_without_levels_leaves_nothing_to_the_venue() -> None:
    assert not made(enter()).trade.exits_at_venue


def test_an_exit_closes_its_trade_at_the_market() -> None:
    wish = ExitWish(
        trade=trade(position_ref="p1"),
        quantity=D(400),
        reason="manual",
        source="operator",
        decider="#account",
        number=17,
        leg=1,
        ts_ns=5,
        stamp=8,
        reference_price=D("1.1"),
        reduce_only=True,
        after_cancel_of=("tk9",),
    )

    exit_ = exit_order(wish, Numbering("e1"))

    assert (exit_.side, exit_.type, exit_.quantity, exit_.position_ref) == (Side.SELL, OrderType.MARKET, D(400), "p1")
    assert (exit_.source, exit_.close_reason, exit_.after_cancel_of) == ("operator", "manual", ("tk9",))


def test_a_renewed_order_is_the_same_wish_under_a_new_id_with_no_past() -> None:
    lost = order(status=OrderStatus.UNKNOWN, status_reason="timeout", submitted_ns=4, stamp=9, leg=2)

    again = renewed(lost, 99)

    assert again.client_order_id != lost.client_order_id
    assert (again.renews, again.attempt, again.stamp, again.leg) == ("tk1", 1, 9, 2)
    assert (again.status, again.status_reason, again.submitted_ns, again.created_ns) == (
        OrderStatus.INTENDED,
        "",
        None,
        99,
    )
    assert renewed(lost, 100).client_order_id == again.client_order_id, "it depends on what it renews alone"
    assert renewed(again, 1).client_order_id != again.client_order_id


def test_a_renewed_attached_exit_belongs_to_the_renewed_entry() -> None:
    child = renewed(order(parent_id="tk0", oco_group="tk0"), 1, parent=order(client_order_id="tk-new"))

    assert (child.parent_id, child.oco_group) == ("tk-new", "tk-new")


def test_what_goes_over_the_wire_is_what_was_decided() -> None:
    found = made(enter(type=OrderType.LIMIT, price=D("1.09"), stop_loss=D("1.08"), take_profit=D("1.12")))

    request = order_request(found.entry, found.attached)

    assert (request.client_order_id, request.price, request.quantity) == (
        found.entry.client_order_id,
        D("1.09"),
        D(1000),
    )
    assert [a.client_order_id for a in request.attached] == [o.client_order_id for o in found.attached]
