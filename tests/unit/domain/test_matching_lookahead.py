"""The look-ahead stops where something happens and, what it is for, nowhere else."""

from __future__ import annotations

import pytest

from tests.unit.domain.matching_desk import EUR, NS, START_S, D, Desk, request, trailing
from tradekeel.domain.matching import FinancingRate
from tradekeel.domain.messages import OrderRequest
from tradekeel.domain.ticks import Tick, TickWindow


def window(desk: Desk, bids: list[str], symbol: str = EUR, gap_s: float = 1) -> TickWindow:
    """Ticks that follow, each with a spread of a pip."""
    first = desk.matcher.position + 1
    start_ns = round(desk.now_s * NS)
    step = D("0.0001") if symbol == EUR else D("0.01")
    return TickWindow(
        tuple(
            Tick(symbol, start_ns + round((n + 1) * gap_s * NS), D(bid), D(bid) + step, first + n)
            for n, bid in enumerate(bids)
        )
    )


def test_without_orders_and_positions_everything_is_quiet():
    desk = Desk()
    assert desk.matcher.quiet_until(window(desk, ["1.1", "0.5", "9.9"]), 0) == 3


@pytest.mark.parametrize("index", [0, 1, 63, 64, 65, 127, 128, 199])
def test_it_stops_at_the_tick_that_touches_an_order(index: int):
    desk = Desk()
    desk.place("a", "sell", 1000, "limit", price="1.10200")
    bids = ["1.10100"] * 200
    bids[index] = "1.10200"
    ahead = window(desk, bids)
    assert desk.matcher.quiet_until(ahead, 0) == index
    assert desk.matcher.quiet_until(ahead, index) == index
    assert desk.matcher.quiet_until(ahead, index + 1) == 200


def test_it_passes_ticks_that_were_seen_already():
    desk = Desk()
    ahead = window(desk, ["1.10000", "1.10300", "1.10000"])
    desk.matcher.advance(ahead, 2)
    desk.place("a", "sell", 1000, "limit", price="1.10200")
    assert desk.matcher.quiet_until(ahead, 0) == 3


def test_it_sees_the_order_that_was_placed_since_it_last_looked():
    desk = Desk()
    ahead = window(desk, ["1.10000", "1.10000", "1.10000"])
    assert desk.matcher.quiet_until(ahead, 0) == 3
    desk.place("a", "buy", 1000)
    assert desk.matcher.quiet_until(ahead, 0) == 0
    desk.cancel("a")
    assert desk.matcher.quiet_until(ahead, 0) == 3


def test_an_order_on_its_way_is_waited_for():
    desk = Desk(latency_ms=2500)
    desk.place("a", "buy", 1000)
    assert desk.matcher.quiet_until(window(desk, ["1.10000"] * 5), 0) == 2


def test_a_trailing_stop_moves_at_a_better_price_only():
    desk = Desk()
    desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"),))
    desk.tick("1.10000/1.10010")
    assert desk.matcher.quiet_until(window(desk, ["1.10000", "1.09950", "1.10000", "1.10001"]), 0) == 3
    assert desk.matcher.quiet_until(window(desk, ["1.10000", "1.09950", "1.09900"]), 0) == 2


def test_an_expiry_stops_at_a_tick_of_any_instrument():
    desk = Desk()
    desk.place("a", "buy", 1000, "limit", price="1", tif="gtd", expire_at_ns=(START_S + 4) * NS)
    assert desk.matcher.quiet_until(window(desk, ["101.00"] * 9, "USD_JPY"), 0) == 2


def test_a_rollover_stops_it_only_with_a_financed_position():
    desk = Desk(financing={EUR: FinancingRate(long=D(-3), short=D(1))})
    ticks = ["1.10000"] * 30
    assert desk.matcher.quiet_until(window(desk, ticks, gap_s=3600), 0) == 30
    desk.place("in", "buy", 1000)
    desk.tick("1.10000/1.10010")
    # 16:53:22 and then every hour: 21:00 is passed at the fifth
    assert desk.matcher.quiet_until(window(desk, ticks, gap_s=3600), 0) == 4


class TestMargin:
    def desk(self) -> Desk:
        """1000 units on 111 dollars at 1:10: the margin call comes at 1.04105/1.04115 or so."""
        desk = Desk(deposit="111", leverage="10", quote="1.10000/1.10000")
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10000")
        return desk

    def test_that_is_not_in_danger_stops_nothing_however_far_the_market_runs(self):
        desk = self.desk()
        bids = [f"{1.1 + n * 0.001:.5f}" for n in range(500)]
        assert desk.matcher.quiet_until(window(desk, bids), 0) == 500

    def test_that_comes_near_the_call_is_looked_at_and_stops_only_the_call(self):
        desk = self.desk()
        bids = [f"{1.1 - n * 0.0005:.5f}" for n in range(200)]
        index = desk.matcher.quiet_until(window(desk, bids), 0)
        told = [desk.tick(f"{bid}/{D(bid) + D('0.0001')}") for bid in bids[: index + 1]]
        assert all(line == [] for line in told[:-1])
        assert told[-1][0].startswith("margin_called")

    def test_that_left_its_guard_gets_a_new_one_around_where_it_is(self):
        desk = self.desk()
        desk.tick("1.60000/1.60010")
        assert desk.matcher.is_quiet(desk.next_tick("1.60100/1.60110"))

    def test_stops_at_a_pair_that_may_change_the_conversion(self):
        desk = Desk(conversion_rates={"USD_JPY": D(100)}, deposit="100000")
        desk.tick("110.000/110.010", "EUR_JPY")
        desk.place("in", "buy", 1000, instrument="EUR_JPY")
        desk.tick("110.000/110.010", "EUR_JPY")
        assert desk.matcher.quiet_until(window(desk, ["101.00"], "USD_JPY"), 0) == 0
        assert desk.tick("101.000/101.010", "USD_JPY") == []
        assert desk.matcher.quiet_until(window(desk, ["101.01"], "USD_JPY"), 0) == 1


def test_ten_thousand_orders_do_not_make_a_tick_slower_than_their_nearest():
    desk = Desk(deposit="1000000000")
    for number in range(10_000):
        price = D("1.00000") - D("0.00001") * number
        desk.matcher.place(request_at(f"o{number}", price))
    looked_at = 0
    book = desk.matcher._orders.books[EUR]
    touched = book.take_touched

    def counted(bid: D, ask: D, ts_ns: int) -> set[str]:
        nonlocal looked_at
        found = touched(bid, ask, ts_ns)
        looked_at += len(found)
        return found

    book.take_touched = counted  # type: ignore[method-assign]
    assert desk.tick("0.99995/0.99998") == [
        "o0 buy 1000 at 0.99998 taker",
        "o1 buy 1000 at 0.99998 taker",
        "o2 buy 1000 at 0.99998 taker",
    ]
    assert looked_at == 3
    changes = desk.matcher.take_changes()
    assert len(changes.orders) == 10_000
    assert desk.tick("0.99990/0.99997") == ["o3 buy 1000 at 0.99997 maker"]
    assert [order.client_order_id for order in desk.matcher.take_changes().orders] == ["o3"]


def request_at(name: str, price: D) -> OrderRequest:
    """A resting buy."""
    return request(name, "buy", 1000, "limit", price=str(price))
