"""How each order type meets the market, to the last digit."""

from __future__ import annotations

import pytest

from tests.unit.domain.matching_desk import NS, START_S, D, Desk


def test_a_market_order_is_accepted_at_once_and_fills_at_the_next_tick():
    desk = Desk()
    assert desk.place("a", "buy", 1000) == ["a accepted 1000"]
    assert desk.held() == 0
    assert desk.tick("1.10020/1.10030") == ["a buy 1000 at 1.10030 taker"]
    assert desk.held() == 1000


def test_a_market_sell_takes_the_bid():
    desk = Desk()
    desk.place("a", "sell", 1000)
    assert desk.tick("1.10020/1.10030") == ["a sell 1000 at 1.10020 taker"]
    assert desk.held() == -1000


def test_an_order_waits_for_a_tick_of_its_own_instrument():
    desk = Desk()
    desk.place("a", "buy", 1000)
    assert desk.tick("101.000/101.010", "USD_JPY") == []
    assert desk.tick("1.10000/1.10010") == ["a buy 1000 at 1.10010 taker"]


def test_an_order_never_meets_a_tick_from_before_its_acceptance():
    desk = Desk()
    desk.place("a", "buy", 1000)
    accepted = desk.record[-1]
    desk.tick("1.10000/1.10010")
    filled = desk.record[-1]
    assert filled.fill is not None
    assert (accepted.position, filled.position) == (1, 2)
    assert accepted.ts_ns < filled.ts_ns == filled.fill.ts_ns


def test_a_tick_that_was_seen_already_does_nothing():
    desk = Desk()
    desk.place("a", "buy", 1000)
    tick = desk.next_tick("1.10000/1.10010")
    assert len(desk.matcher.on_tick(tick)) == 1
    assert desk.matcher.on_tick(tick) == desk.matcher.step(tick) == []


class TestLimit:
    def test_rests_until_the_market_comes_to_it_and_then_is_the_maker(self):
        desk = Desk()
        assert desk.place("a", "buy", 1000, "limit", price="1.09990") == ["a accepted 1000 at 1.09990"]
        assert desk.tick("1.09985/1.09995") == []
        assert desk.tick("1.09980/1.09990") == ["a buy 1000 at 1.09990 maker"]

    def test_gets_the_better_price_when_the_market_gaps_through_it(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09990")
        desk.tick("1.10000/1.10010")
        assert desk.tick("1.09900/1.09910") == ["a buy 1000 at 1.09910 maker"]

    def test_that_is_marketable_at_its_first_tick_takes(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "limit", price="1.09990")
        assert desk.tick("1.10000/1.10010") == ["a sell 1000 at 1.10000 taker"]

    def test_has_rested_when_a_quiet_tick_went_by(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "limit", price="1.10100")
        desk.tick("1.10000/1.10010")
        assert desk.tick("1.10100/1.10110") == ["a sell 1000 at 1.10100 maker"]


class TestStop:
    def test_buys_when_the_ask_reaches_it_at_the_ask_of_that_tick(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "stop", stop_price="1.10050")
        assert desk.tick("1.10039/1.10049") == []
        assert desk.tick("1.10040/1.10050") == ["a buy 1000 at 1.10050 taker"]

    def test_that_is_gapped_through_fills_at_the_worse_market(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "stop", stop_price="1.09950")
        assert desk.tick("1.09800/1.09810") == ["a sell 1000 at 1.09800 taker"]

    def test_is_not_touched_by_the_other_side_of_the_spread(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "stop", stop_price="1.09950")
        assert desk.tick("1.09951/1.09960") == []
        assert desk.tick("1.09951/1.09949") == []  # a crossed quote: only the bid counts for a sell

    def test_beyond_the_market_triggers_at_the_next_tick(self):
        desk = Desk()
        assert desk.place("a", "buy", 1000, "stop", stop_price="1.09000") == ["a accepted 1000 at 1.09000"]
        assert desk.tick("1.10000/1.10010") == ["a buy 1000 at 1.10010 taker"]

    def test_once_triggered_stays_a_market_order_until_it_is_filled(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "stop", stop_price="1.09950")
        assert desk.tick("1.09950/1.09960", bid_size=400) == ["a sell 400 at 1.09950 taker"]
        assert desk.tick("1.10000/1.10010") == ["a sell 600 at 1.10000 taker"]


class TestStopLimit:
    def test_fills_at_the_triggering_tick_if_it_is_marketable(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "stop_limit", stop_price="1.10050", price="1.10060")
        assert desk.tick("1.10045/1.10055") == ["a buy 1000 at 1.10055 taker"]

    def test_that_is_gapped_through_rests_as_a_limit(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "stop_limit", stop_price="1.10050", price="1.10060")
        assert desk.tick("1.10100/1.10110") == []
        assert desk.tick("1.10080/1.10090") == []
        assert desk.tick("1.10050/1.10060") == ["a buy 1000 at 1.10060 maker"]

    def test_does_not_buy_below_its_stop_before_it_triggers(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "stop_limit", stop_price="1.10050", price="1.10060")
        assert desk.tick("1.09900/1.09910") == []


class TestTimeInForce:
    def test_ioc_takes_what_there_is_and_cancels_the_rest(self):
        desk = Desk()
        desk.place("a", "buy", 1000, tif="ioc")
        assert desk.tick("1.10000/1.10010", ask_size=300) == [
            "a buy 300 at 1.10010 taker",
            "a canceled 700 (ioc_remainder)",
        ]

    def test_an_ioc_limit_that_is_not_marketable_is_canceled_at_its_first_tick(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09990", tif="ioc")
        assert desk.tick("1.10000/1.10010") == ["a canceled 1000 (ioc_remainder)"]

    def test_fok_fills_whole_or_not_at_all(self):
        desk = Desk()
        desk.place("a", "buy", 1000, tif="fok")
        assert desk.tick("1.10000/1.10010", ask_size=999) == ["a canceled 1000 (fok_unfilled)"]
        desk.place("b", "buy", 1000, tif="fok")
        assert desk.tick("1.10000/1.10010", ask_size=1000) == ["b buy 1000 at 1.10010 taker"]

    def test_an_ioc_stop_waits_for_its_trigger_and_then_does_not_wait_any_more(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "stop", stop_price="1.10050", tif="ioc")
        assert desk.tick("1.10000/1.10010") == []
        assert desk.tick("1.10040/1.10050", ask_size=1) == [
            "a buy 1 at 1.10050 taker",
            "a canceled 999 (ioc_remainder)",
        ]

    def test_gtd_expires_before_matching_at_the_first_tick_from_then_on(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09990", tif="gtd", expire_at_ns=(START_S + 3) * NS)
        assert desk.tick("1.10000/1.10010") == []
        assert desk.tick("1.09980/1.09990") == ["a expired 1000 (gtd)"]

    def test_gtd_expires_at_a_tick_of_any_instrument(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09990", tif="gtd", expire_at_ns=(START_S + 3) * NS)
        assert desk.tick("101.000/101.010", "USD_JPY", after_s=5) == ["a expired 1000 (gtd)"]

    def test_gtd_fills_until_then(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09990", tif="gtd", expire_at_ns=(START_S + 3) * NS)
        assert desk.tick("1.09980/1.09990", after_s=0.5) == ["a buy 1000 at 1.09990 taker"]


class TestSize:
    def test_is_used_up_once_a_tick_in_time_priority(self):
        desk = Desk()
        desk.place("first", "buy", 1000)
        desk.place("second", "buy", 1000)
        assert desk.tick("1.10000/1.10010", ask_size=1500) == [
            "first buy 1000 at 1.10010 taker",
            "second buy 500 at 1.10010 taker",
        ]
        assert desk.tick("1.10000/1.10020", ask_size=9999) == ["second buy 500 at 1.10020 taker"]

    def test_of_one_side_is_not_that_of_the_other(self):
        desk = Desk()
        desk.place("a", "buy", 1000)
        desk.place("b", "sell", 1000)
        assert desk.tick("1.10000/1.10010", ask_size=100, bid_size=200) == [
            "a buy 100 at 1.10010 taker",
            "b sell 200 at 1.10000 taker",
        ]

    def test_below_one_lot_fills_nothing(self):
        desk = Desk()
        desk.place("a", "buy", 1000)
        assert desk.tick("1.10000/1.10010", ask_size="0.7") == []
        assert desk.tick("1.10000/1.10010") == ["a buy 1000 at 1.10010 taker"]

    def test_a_partly_filled_limit_keeps_working_and_becomes_the_maker(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.10010")
        assert desk.tick("1.10000/1.10010", ask_size=400) == ["a buy 400 at 1.10010 taker"]
        assert desk.tick("1.10000/1.10011") == []
        assert desk.tick("1.09999/1.10009") == ["a buy 600 at 1.10009 maker"]


class TestLatency:
    def test_an_order_meets_no_tick_before_it_has_arrived(self):
        desk = Desk(latency_ms=1500)
        desk.place("a", "buy", 1000)
        assert desk.tick("1.10000/1.10010") == []  # one second later
        assert desk.tick("1.10000/1.10020") == ["a buy 1000 at 1.10020 taker"]

    def test_a_limit_that_arrives_late_has_not_rested_at_its_first_tick(self):
        desk = Desk(latency_ms=1500)
        desk.place("a", "buy", 1000, "limit", price="1.10010")
        assert desk.tick("1.10000/1.10010") == []
        assert desk.tick("1.10000/1.10010") == ["a buy 1000 at 1.10010 taker"]

    def test_a_limit_that_arrived_and_rested_is_the_maker(self):
        desk = Desk(latency_ms=500)
        desk.place("a", "buy", 1000, "limit", price="1.09990")
        desk.tick("1.10000/1.10010")
        assert desk.tick("1.09980/1.09990") == ["a buy 1000 at 1.09990 maker"]

    def test_jitter_is_the_same_for_the_same_order_at_the_same_tick_whatever_its_id(self):
        due = set()
        for name in ("a", "b", "renewed-c"):
            desk = Desk(latency_jitter_ms=5000, seed=7)
            desk.place(name, "buy", 1000)
            due.add(desk.matcher.state().orders[0].due_ns)
        assert len(due) == 1
        jitter_ns = due.pop() - (START_S + 1) * NS
        assert 0 <= jitter_ns <= 5 * NS


class TestReduceOnly:
    def test_takes_off_no_more_than_there_is(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.place("out", "sell", 5000, reduce_only=True)
        assert desk.tick("1.10020/1.10030") == [
            "out sell 1000 at 1.10020 taker",
            "out canceled 4000 (nothing_to_reduce)",
        ]
        assert desk.held() == 0

    @pytest.mark.parametrize("side", ["buy", "sell"])
    def test_with_nothing_to_reduce_is_rejected(self, side: str):
        desk = Desk()
        assert desk.place("out", side, 1000, reduce_only=True) == ["out rejected (REDUCE_ONLY_NOTHING)"]

    def test_that_rests_is_canceled_in_the_tick_that_closes_the_position(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.place("rest", "sell", 1000, "limit", price="1.20000", reduce_only=True)
        desk.place("out", "sell", 1000)
        assert desk.tick("1.10020/1.10030") == [
            "out sell 1000 at 1.10020 taker",
            "rest canceled 1000 (nothing_to_reduce)",
        ]

    def test_that_rests_is_canceled_when_the_position_flips(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.place("rest", "sell", 1000, "limit", price="1.20000", reduce_only=True)
        desk.place("flip", "sell", 1500)
        assert desk.tick("1.10020/1.10030")[-1] == "rest canceled 1000 (nothing_to_reduce)"
        assert desk.held() == -500


class TestCancelAndAmend:
    def test_a_cancel_ends_the_order_at_once(self):
        desk = Desk()
        desk.place("a", "buy", 1000)
        assert desk.cancel("a") == ["a canceled 1000 (client_request)"]
        assert desk.tick("1.10000/1.10010") == []

    @pytest.mark.parametrize("twice", ["filled", "canceled", "never there"])
    def test_a_cancel_too_late_is_refused(self, twice: str):
        desk = Desk()
        if twice == "filled":
            desk.place("a", "buy", 1000)
            desk.tick("1.10000/1.10010")
        elif twice == "canceled":
            desk.place("a", "buy", 1000)
            desk.cancel("a")
        assert desk.cancel("a") == ["a change refused (ORDER_NOT_FOUND)"]

    def test_an_amended_limit_works_at_its_new_price_and_takes_at_its_first_tick_there(self):
        desk = Desk()
        desk.place("a", "buy", 1000, "limit", price="1.09000")
        desk.tick("1.10000/1.10010")
        assert desk.amend("a", "1.10020") == ["a amended to 1.10020"]
        assert desk.tick("1.10000/1.10010") == ["a buy 1000 at 1.10010 taker"]

    def test_an_amended_stop_is_not_touched_at_its_old_price(self):
        desk = Desk()
        desk.place("a", "sell", 1000, "stop", stop_price="1.09950")
        desk.amend("a", "1.09000")
        assert desk.tick("1.09900/1.09910") == []
        assert desk.tick("1.09000/1.09010") == ["a sell 1000 at 1.09000 taker"]

    def test_what_cannot_be_amended_is_refused_and_stays(self):
        desk = Desk()
        desk.place("market", "buy", 1000)
        desk.place("limit", "buy", 1000, "limit", price="1.09000")
        desk.place("sl", "buy", 1000, "stop_limit", stop_price="1.10011", price="1.10011")
        assert desk.amend("market", "1.1") == ["market change refused (TYPE_INVALID)"]
        assert desk.amend("limit", "1.090001") == ["limit change refused (PRICE_PRECISION)"]
        assert desk.amend("limit", "-1") == ["limit change refused (PRICE_INVALID)"]
        assert desk.amend("nobody", "1.1") == ["nobody change refused (ORDER_NOT_FOUND)"]
        desk.tick("1.10100/1.10110")
        assert desk.amend("sl", "1.2") == ["sl change refused (ALREADY_TRIGGERED)"]


def test_orders_are_described_with_what_has_filled():
    desk = Desk()
    desk.place("a", "buy", 1000)
    desk.tick("1.10000/1.10010", ask_size=300)
    order = desk.matcher.order("a")
    assert order is not None
    assert (order.state, order.quantity, order.filled_quantity, order.venue_order_id) == (
        "working",
        D(1000),
        D(300),
        "2",
    )
    assert desk.matcher.open_orders() == [order]
    desk.tick("1.10000/1.10010")
    assert desk.matcher.order("a") is None
    assert desk.matcher.open_orders() == []
