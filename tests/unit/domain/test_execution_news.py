"""The venue's record is booked entry by entry: once, in order, every unit of every fill on a trade; what contradicts us halts."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import structs

from tests.unit.domain.executor_desk import ExecutorDesk, K, Side, buy, leave, placed_in, records_in, sell
from tradekeel.domain import book as books
from tradekeel.domain import records as r
from tradekeel.domain.entries import Entry
from tradekeel.domain.orders import Order, OrderStatus, OrderType
from tradekeel.domain.positions import Position
from tradekeel.domain.recovery import fold
from tradekeel.domain.rows import Latch, VenueCursor
from tradekeel.domain.trades import CloseReason, TradeSide, TradeStatus
from tradekeel.domain.view import View
from tradekeel.errors import Defect

D = Decimal
S = OrderStatus


def entry_of(desk: ExecutorDesk, **more: object) -> Order:
    return desk.order(placed_in(desk.decide(buy(**more)))[0])  # type: ignore[arg-type]  # whatever buy takes


# --- once, and in order -----------------------------------------------------------------------------------------------


def test_an_entry_that_is_booked_already_is_skipped() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    accepted, filled = desk.entry(K.ORDER_ACCEPTED, order), desk.fill_entry(order)
    desk.keep(desk.core.news([accepted, filled], desk.now_ns))
    before = desk.book.save()

    assert not desk.core.news([accepted, filled], desk.now_ns)
    assert desk.book.save() == before


def test_a_fill_that_is_told_again_under_another_number_is_booked_once() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.accept(order)
    told = desk.fill_entry(order, 500)
    desk.keep(desk.core.news([told], desk.now_ns))
    before = desk.order(order.client_order_id), dict(desk.book.positions), desk.book.money
    again = structs.replace(told, sequence=told.sequence + 1)

    effects = desk.keep(desk.core.news([again], desk.now_ns))

    assert [type(row) for found in effects.entries for row in found.rows] == [VenueCursor]
    assert (desk.order(order.client_order_id), desk.book.positions, desk.book.money) == before
    assert desk.book.cursor == again.sequence
    assert desk.latch() is Latch.OPEN
    assert told.fill is not None
    assert books.Book.load(desk.book.save()).knows_fill(told.fill)
    view = View(strategy=None)
    for entry in fold(books.Book(), [(n, r.decode_record(row)) for n, row in enumerate(desk.journal, 1)]).entries:
        view.follow(entry)
    assert view.balance == desk.book.money.balance


def test_the_same_fill_id_of_another_order_is_another_fill() -> None:
    desk = ExecutorDesk()
    first, second = entry_of(desk), entry_of(desk)
    told = desk.fill_entry(first)
    desk.keep(desk.core.news([told], desk.now_ns))
    other = desk.fill_entry(second)
    assert told.fill is not None
    assert other.fill is not None
    same_id = structs.replace(other, fill=structs.replace(other.fill, fill_id=told.fill.fill_id))

    desk.keep(desk.core.news([same_id], desk.now_ns))

    assert desk.book.net("EUR_USD") == D(2000)


def test_a_gap_in_the_record_is_a_defect() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.entry(K.ORDER_ACCEPTED, order)
    filled = desk.fill_entry(order)

    with pytest.raises(Defect, match="the venue's record has a gap"):
        desk.core.news([filled], desk.now_ns)


def test_a_fill_may_come_before_the_accept_and_the_reply() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)

    desk.fill(order, 400)
    desk.accept(order)
    assert desk.order(order.client_order_id).status is S.PARTIALLY_FILLED

    desk.fill(order, 600)
    assert desk.order(order.client_order_id).status is S.FILLED
    assert desk.book.cursor == desk.sequence


def test_in_replay_news_happens_when_the_venue_says_and_live_when_it_arrives() -> None:
    for replayable in (True, False):
        desk = ExecutorDesk(replayable=replayable)
        order = entry_of(desk)
        entry = structs.replace(desk.entry(K.ORDER_ACCEPTED, order), ts_ns=desk.now_ns - 5)

        (booked,) = desk.core.news([entry], desk.now_ns).entries

        assert booked.record.ts_ns == desk.now_ns - (5 if replayable else 0)


def test_news_belongs_to_its_tick_and_never_before_what_is_in_the_journal() -> None:
    desk = ExecutorDesk()
    desk.tick("1.10001")
    order = entry_of(desk)  # at tick 2, after the strategies saw it
    (accepted,) = desk.accept(order).entries
    desk.tick("1.10002")
    (filled,) = [e for e in desk.fill(order).entries if isinstance(e.record, r.VenueReported)]
    late = desk.entry(K.ORDER_CANCELED, order, position=1)
    (after,) = desk.core.news([late], desk.now_ns).entries

    assert [e.record.stamp for e in (accepted, filled, after)] == [5, 6, 6]


def test_somebody_elses_order_concerns_us_by_its_fills_only() -> None:
    desk = ExecutorDesk()

    effects = desk.news(K.ORDER_ACCEPTED, client_order_id="theirs", venue_order_id="1")
    desk.news(K.ORDER_AMENDED, client_order_id="theirs", price=D("1.2"))

    assert records_in(effects) == ["venue_reported"]
    assert not desk.book.orders


# --- which trade a fill belongs to ------------------------------------------------------------------------------------


def test_a_fill_that_nobody_here_asked_for_closes_trades_first_in_first_out() -> None:
    desk = ExecutorDesk()
    first, second = desk.open(), desk.open(strategy="b")

    desk.fill(None, 1300, side=Side.SELL, fee=D("1.30"))

    assert desk.trade(first).status is TradeStatus.CLOSED
    assert desk.trade(first).exit_reason is CloseReason.VENUE
    assert desk.trade(second).open_quantity == 700
    assert desk.trade(first).exit_fee + desk.trade(second).exit_fee == D("1.30")


def test_a_margin_call_says_so() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    desk.news(K.MARGIN_CALLED, reason="equity at or below margin")

    desk.fill(None, 1000, side=Side.SELL, reason="margin_call")

    assert desk.trade(trade).exit_reason is CloseReason.MARGIN_CALL


def test_what_is_left_over_is_a_trade_that_nobody_decided() -> None:
    desk = ExecutorDesk()
    trade = desk.open()

    desk.fill(None, 1500, side=Side.SELL)

    assert desk.trade(trade).status is TradeStatus.CLOSED
    (adopted,) = desk.book.trades.values()
    assert (adopted.side, adopted.open_quantity, adopted.strategy, adopted.tags) == (
        TradeSide.SHORT,
        D(500),
        None,
        ("adopted",),
    )
    desk.fill(None, 500, side=Side.BUY)
    assert desk.trade(adopted).status is TradeStatus.CLOSED
    assert desk.book.money.realised == desk.book.trades_gross


def test_an_exit_that_fills_beyond_its_quantity_closes_others_adopts_the_rest_and_halts() -> None:
    desk = ExecutorDesk()
    first, second = desk.open(), desk.open(strategy="b")
    (exit_id,) = placed_in(desk.decide(leave(first)))

    desk.fill(desk.order(exit_id), 2500)

    assert desk.latch() is Latch.HALTED
    assert [desk.trade(t).status for t in (first, second)] == [TradeStatus.CLOSED] * 2
    (adopted,) = desk.book.trades.values()
    assert (adopted.open_quantity, adopted.side) == (D(500), TradeSide.SHORT)
    desk.fill(None, 500, side=Side.BUY)
    assert not desk.book.trades


def test_an_adopted_trade_closes_while_the_order_that_brought_it_still_lives() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    desk.fill(None, 800, side=Side.SELL)
    desk.fill(desk.order(exit_id), 500)
    (adopted,) = [t for t in desk.book.trades.values() if "adopted" in t.tags]

    desk.fill(None, 300, side=Side.BUY)

    assert desk.trade(adopted).status is TradeStatus.CLOSED


def test_an_entry_that_fills_beyond_its_quantity_books_it_all_and_halts() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)

    desk.fill(order, 1200)

    assert desk.latch() is Latch.HALTED
    assert desk.book.trades[order.trade_id or ""].open_quantity == 1200


def test_a_fill_of_a_denied_order_is_a_position_of_the_venues_and_halts() -> None:
    desk = ExecutorDesk()
    desk.core.pause(True, "", "anna", desk.now_ns)
    desk.decide(buy())
    (denied,) = desk.book.ended.values()

    desk.fill(denied)

    assert desk.latch() is Latch.HALTED
    (adopted,) = desk.book.trades.values()
    assert adopted.strategy is None


def test_a_late_fill_opens_a_closed_trade_again() -> None:
    desk = ExecutorDesk(at_venue=False)
    order = entry_of(desk, type=OrderType.LIMIT, price="1.10010")
    desk.accept(order)
    desk.fill(order, 400)
    desk.news(K.ORDER_CANCELED, order)
    trade = desk.book.trades[order.trade_id or ""]
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    desk.fill(desk.order(exit_id), 400)
    assert desk.trade(trade).status is TradeStatus.CLOSED

    desk.fill(order, 600)

    again = desk.trade(trade)
    assert (again.status, again.open_quantity) == (TradeStatus.OPEN, D(600))
    assert desk.order(order.client_order_id).status is S.FILLED
    assert desk.latch() is Latch.OPEN, "a venue may report a cancel before the fill that preceded it"


def test_a_fill_of_an_order_whose_trade_is_history_is_adopted() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(order)
    desk.news(K.ORDER_CANCELED, order)
    del desk.book.closed[order.trade_id or ""]

    desk.fill(order, 100)

    (adopted,) = desk.book.trades.values()
    assert adopted.tags == ("adopted",)


def test_on_a_hedging_account_a_fill_of_the_venues_closes_trades_of_its_position_only() -> None:
    desk = ExecutorDesk(hedging=True, at_venue=False)
    first, second = desk.open(ref="p1"), desk.open(ref="p2")

    desk.fill(None, 600, side=Side.SELL, ref="p2", reason="margin_call")

    assert (desk.trade(first).open_quantity, desk.trade(second).open_quantity) == (D(1000), D(400))


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_balance_that_differs_halts_and_after_a_release_halts_again() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.balance += D("0.01")

    desk.accept(order)
    assert desk.latch() is Latch.HALTED

    desk.keep(desk.core.release("looked at it", "anna", desk.now_ns))
    desk.fill(order)
    assert desk.latch() is Latch.HALTED


def test_a_venue_that_tells_no_balance_is_not_compared() -> None:
    desk = ExecutorDesk()

    desk.news(K.ORDER_ACCEPTED, entry_of(desk), balance=None)

    assert desk.latch() is Latch.OPEN


def test_financing_is_shared_by_what_the_trades_hold_and_sums_exactly() -> None:
    desk = ExecutorDesk()
    trades = [desk.open(buy(n)) for n in (1000, 1000, 1000)]

    desk.news(K.FINANCED, amount=D("-0.0100"), instrument="EUR_USD")

    shares = [desk.trade(t).financing for t in trades]
    assert sum(shares) == D("-0.0100")
    assert shares == [D("-0.0033"), D("-0.0033"), D("-0.0034")]
    assert desk.book.money.financing == D("-0.0100")
    assert sum(desk.trade(t).pnl for t in trades) == D("-0.0100")


def test_on_a_hedging_account_financing_belongs_to_the_trades_of_its_position() -> None:
    desk = ExecutorDesk(hedging=True, at_venue=False)
    first, second = desk.open(ref="p1"), desk.open(sell(), ref="p2")

    desk.news(K.FINANCED, amount=D("0.0200"), instrument="EUR_USD", venue_order_id="p2")

    assert (desk.trade(first).financing, desk.trade(second).financing) == (D(0), D("0.0200"))


def test_financing_of_a_position_that_no_trade_holds_is_the_accounts() -> None:
    desk = ExecutorDesk()

    desk.news(K.FINANCED, amount=D("-1"), instrument="EUR_USD")

    assert desk.book.money.balance == 9_999


# --- contradictions ---------------------------------------------------------------------------------------------------


def test_news_that_no_state_allows_is_kept_changes_nothing_and_halts() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.news(K.ORDER_REJECTED, order, reason="no")

    effects = desk.accept(order)

    assert records_in(effects) == ["venue_reported", "latch_changed"]
    assert desk.order(order.client_order_id).status is S.REJECTED
    assert desk.latch() is Latch.HALTED


def test_repeated_news_is_no_contradiction() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.accept(order)
    desk.accept(order)
    desk.fill(order)
    desk.accept(order)

    assert desk.latch() is Latch.OPEN
    assert desk.order(order.client_order_id).status is S.FILLED


# --- best and worst prices --------------------------------------------------------------------------------------------


def test_a_closed_trade_knows_the_best_and_the_worst_price_it_saw() -> None:
    desk = ExecutorDesk(at_venue=False)
    desk.tick("1.20000")
    trade = desk.open()
    for bid in ("1.10050", "1.09900", "1.10020"):
        desk.tick(bid)
    (exit_id,) = placed_in(desk.decide(leave(trade)))

    desk.tick("1.10010")
    desk.fill(desk.order(exit_id), price="1.10010")

    closed = desk.trade(trade)
    assert (closed.best_price, closed.worst_price) == (D("1.20000"), D("1.09900")), "from the tick of its entry on"


def resumed(desk: ExecutorDesk, seen_to: int) -> None:
    """A new process goes on from a cut at ``seen_to``, whose memory reaches that far."""
    memories = desk.core.memories
    decoded = [(n, r.decode_record(row)) for n, row in enumerate(desk.journal, 1)]
    desk._begin(fold(books.Book(), decoded).book)
    desk.core.resume(memories, seen_to, [Entry(n, record) for n, record in decoded])
    desk.core.ready = True


def test_what_the_feed_has_not_come_back_to_yet_is_told_later() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open()
    desk.tick("1.10050")
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    closing = desk.fill_entry(desk.order(exit_id), price="1.09900", position=4)

    resumed(desk, seen_to=2)
    desk.keep(desk.core.news([closing], desk.now_ns))
    assert desk.trade(trade).worst_price is None

    resumed(desk, seen_to=2)  # killed once more before the feed was there
    assert not desk.tick("1.09950").entries
    effects = desk.tick("1.09900")

    assert records_in(effects) == ["excursion_seen"]
    assert (desk.trade(trade).best_price, desk.trade(trade).worst_price) == (D("1.10050"), D("1.09900"))
    assert not desk.tick("1.05000").entries, "told once"
    resumed(desk, seen_to=2)
    assert not desk.tick("1.05000").entries


def test_nothing_is_told_of_a_market_that_was_never_seen() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open()
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    desk.fill(desk.order(exit_id), position=7)
    desk.core.memories.clear()

    desk.core.seen_to = 0
    assert not desk.keep(desk.core.see(8, {}, {}, desk.now_ns))


def test_positions_follow_the_fills_alone() -> None:
    desk = ExecutorDesk()
    desk.open()
    desk.fill(None, 400, "1.10500", side=Side.SELL)

    assert desk.book.positions == {("EUR_USD", None): Position("EUR_USD", D(600), D("660.06000"))}
    assert desk.book.net("EUR_USD") == 600
    assert desk.book.net("GBP_USD") == 0


def test_a_trade_says_what_its_entry_fills_tied_up() -> None:
    desk = ExecutorDesk(at_venue=False)
    order = entry_of(desk, quantity=3000)
    desk.accept(order)

    desk.fill(order, 1000, "1.10000")
    desk.fill(desk.order(order.client_order_id), 2000, "1.20000")

    rate = desk.terms.instruments[order.instrument].margin_rate
    trade = desk.book.trades[order.trade_id or ""]
    assert trade.margin == 1100 * rate + 2400 * rate > 0
    desk.fill(desk.exits(trade)[0] if placed_in(desk.decide(leave(trade))) else None, price="1.20000")
    assert desk.trade(trade).margin == trade.margin, "the record of what it took does not go with the trade"


def test_a_trade_says_what_margin_its_entries_tied_up() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)

    desk.fill(order, 400)
    desk.fill(order, 600)

    assert desk.book.trades[order.trade_id or ""].margin == D("14.6533") + D("21.9800")


def test_an_instrument_that_is_not_ours_ties_up_what_nobody_here_can_say() -> None:
    desk = ExecutorDesk(symbols=("GBP_USD",))

    desk.fill(None, 500, side=Side.SELL)

    (adopted,) = desk.book.trades.values()
    assert adopted.margin == 0


def test_a_partial_exit_of_an_entry_that_ended_closes_with_its_last_unit() -> None:
    desk = ExecutorDesk(at_venue=False)
    order = entry_of(desk, type=OrderType.LIMIT, price="1.10010")
    desk.fill(order, 400)
    desk.fill(None, 400, side=Side.SELL)
    trade_id = order.trade_id or ""
    assert desk.book.trades[trade_id].status is TradeStatus.OPEN, "its entry may still fill"

    desk.news(K.ORDER_CANCELED, order)

    assert desk.book.closed[trade_id].status is TradeStatus.CLOSED


def test_an_entry_that_was_taken_again_ends_without_its_trade() -> None:
    desk = ExecutorDesk()
    order = entry_of(desk)
    desk.keep(desk.core.lost(order.client_order_id, "timeout", desk.now_ns))
    desk.keep(desk.core.not_sent(order.client_order_id, "", desk.now_ns, never_arrived=True))

    assert desk.book.trades[order.trade_id or ""].status is TradeStatus.PENDING


def test_news_of_an_attached_exit_whose_trade_is_closed_moves_nothing_any_more() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    desk.fill(None, 1000, side=Side.SELL)

    desk.news(K.ORDER_AMENDED, stop, price=D("1.09500"))

    assert desk.order(stop.client_order_id).stop_price == D("1.09500")
    assert desk.trade(trade).stop_loss == D("1.09000")


# --- books that are not the newest ------------------------------------------------------------------------------------


def test_an_order_with_our_mark_that_our_books_never_knew_halts_the_account() -> None:
    """Every order of ours is durable here before it is sent: these books are a copy, or not the only ones."""
    desk = ExecutorDesk()

    desk.news(K.ORDER_ACCEPTED, client_order_id="tk-of-another-copy")

    assert desk.latch() is Latch.HALTED


@pytest.mark.parametrize("stranger", [None, "theirs-1"])
def test_an_order_of_somebody_else_halts_nothing(stranger: str | None) -> None:
    desk = ExecutorDesk()

    desk.news(K.ORDER_ACCEPTED, client_order_id=stranger)

    assert desk.latch() is Latch.OPEN
