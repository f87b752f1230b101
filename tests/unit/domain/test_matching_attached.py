"""Exits that hang on an entry: they wake with its fills, share the position with their siblings, and end with it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.domain.matching_desk import NS, START_S, D, Desk, stop, target, trailing


def bracket(desk: Desk, **fields: Any) -> list[str]:
    """A market entry of 1000 with a stop at 1.09900 and a target at 1.10200."""
    return desk.place("e", "buy", 1000, attached=(stop("sl", "1.09900"), target("tp", "1.10200")), **fields)


def test_exits_wake_with_the_first_fill_for_the_quantity_filled():
    desk = Desk()
    assert bracket(desk) == ["e accepted 1000"]
    assert desk.tick("1.10000/1.10010") == [
        "e buy 1000 at 1.10010 taker",
        "sl accepted 1000 at 1.09900",
        "tp accepted 1000 at 1.10200",
    ]


def test_exits_grow_with_further_fills():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010", ask_size=400)
    assert desk.tick("1.10000/1.10010") == [
        "e buy 600 at 1.10010 taker",
        "sl amended now 1000",
        "tp amended now 1000",
    ]


def test_exits_of_an_entry_that_turns_protect_what_it_opens():
    desk = Desk()
    desk.place("long", "buy", 700)
    desk.tick("1.10000/1.10010")
    attached = (stop("sl", "1.10500"), target("tp", "1.09000"))
    assert desk.place("turn", "sell", 1700, attached=attached, closes=D(700)) == ["turn accepted 1700"]
    assert desk.tick("1.10000/1.10010", bid_size=600) == ["turn sell 600 at 1.10000 taker"]
    assert desk.tick("1.10000/1.10010", bid_size=300) == [
        "turn sell 300 at 1.10000 taker",
        "sl accepted 200 at 1.10500",
        "tp accepted 200 at 1.09000",
    ]
    assert desk.tick("1.10000/1.10010") == [
        "turn sell 800 at 1.10000 taker",
        "sl amended now 1000",
        "tp amended now 1000",
    ]
    assert desk.held() == -1000


def test_one_that_ends_within_what_it_closes_takes_them_with_it():
    desk = Desk()
    desk.place("long", "buy", 700)
    desk.tick("1.10000/1.10010")
    desk.place("turn", "sell", 1700, attached=(stop("sl", "1.10500"),), closes=D(700))
    desk.tick("1.10000/1.10010", bid_size=600)
    assert desk.cancel("turn") == [
        "turn canceled 1100 (client_request)",
        "sl canceled 1000 (parent_ended)",
    ]


def test_the_filled_exit_cancels_its_sibling():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    desk.tick("1.10000/1.10010")
    assert desk.tick("1.10200/1.10210") == ["tp sell 1000 at 1.10200 maker", "sl canceled 1000 (oco)"]
    assert desk.held() == 0
    assert desk.matcher.state().orders == ()


def test_an_exit_whose_first_tick_reaches_it_takes():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    assert desk.tick("1.10200/1.10210") == ["tp sell 1000 at 1.10200 taker", "sl canceled 1000 (oco)"]


def test_a_partly_filled_exit_shrinks_its_sibling():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    assert desk.tick("1.10200/1.10210", bid_size=300) == [
        "tp sell 300 at 1.10200 taker",
        "sl amended now 700",
    ]
    assert desk.tick("1.09890/1.09900", bid_size=500) == ["sl sell 500 at 1.09890 taker", "tp amended now 500"]
    assert desk.tick("1.09890/1.09900") == ["sl sell 200 at 1.09890 taker", "tp canceled 200 (oco)"]
    assert desk.held() == 0


def test_exits_meet_only_ticks_after_the_fill_that_woke_them():
    desk = Desk()
    bracket(desk)
    assert desk.tick("1.09800/1.09810") == [
        "e buy 1000 at 1.09810 taker",
        "sl accepted 1000 at 1.09900",
        "tp accepted 1000 at 1.10200",
    ]
    assert desk.tick("1.09800/1.09810") == ["sl sell 1000 at 1.09800 taker", "tp canceled 1000 (oco)"]


def test_where_one_tick_reaches_both_the_stop_is_taken():
    desk = Desk()
    desk.place("e", "buy", 1000, attached=(target("tp", "1.10200"), stop("sl", "1.09900")))
    desk.tick("1.10000/1.10010")
    desk.amend("sl", "1.10300")  # now any bid from 1.10200 to 1.10300 reaches both
    assert desk.tick("1.10250/1.10260") == ["sl sell 1000 at 1.10250 taker", "tp canceled 1000 (oco)"]


@pytest.mark.parametrize("how", ["canceled", "expired", "rejected", "margin"])
def test_an_entry_that_ends_without_a_fill_takes_its_exits_with_it(how: str):
    desk = Desk(deposit="50")
    exits = (stop("sl", "1.09000"), target("tp", "1.11000"))
    ended = ["sl canceled {q} (parent_ended)", "tp canceled {q} (parent_ended)"]
    if how == "canceled":
        desk.place("e", "buy", 1000, "limit", price="1.09990", attached=exits)
        assert desk.cancel("e")[1:] == [line.format(q=1000) for line in ended]
    elif how == "expired":
        until = (START_S + 2) * NS
        desk.place("e", "buy", 1000, "limit", price="1.09990", tif="gtd", expire_at_ns=until, attached=exits)
        assert desk.tick("1.10000/1.10010")[1:] == [line.format(q=1000) for line in ended]
    elif how == "rejected":
        told = desk.place("e", "buy", 100_000, attached=exits)
        assert told == ["e rejected (INSUFFICIENT_MARGIN)", *(line.format(q=100_000) for line in ended)]
    else:
        desk.place("e", "buy", 2000, "limit", price="1.10000", attached=exits)
        told = desk.tick("1.09990/1.10000")
        assert told == ["e canceled 2000 (INSUFFICIENT_MARGIN)", *(line.format(q=2000) for line in ended)]
    assert desk.matcher.state().orders == ()


def test_exits_of_a_partly_filled_entry_outlive_it():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010", ask_size=400)
    assert desk.cancel("e") == ["e canceled 600 (client_request)"]
    assert desk.tick("1.09900/1.09910") == ["sl sell 400 at 1.09900 taker", "tp canceled 400 (oco)"]


def test_an_exit_that_fills_ends_an_entry_that_still_works():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010", ask_size=400)
    told = desk.tick("1.09890/1.09900", ask_size=0)
    assert told == [
        "sl sell 400 at 1.09890 taker",
        "tp canceled 400 (oco)",
        "e canceled 600 (exit_filled)",
    ]


def test_a_position_closed_by_others_takes_the_exits_with_it():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    desk.place("out", "sell", 1000)
    assert desk.tick("1.10000/1.10010") == [
        "out sell 1000 at 1.10000 taker",
        "sl canceled 1000 (nothing_to_reduce)",
        "tp canceled 1000 (nothing_to_reduce)",
    ]


def test_exits_of_an_entry_that_only_reduced_the_position_have_nothing_to_reduce():
    desk = Desk()
    desk.place("short", "sell", 3000)
    desk.tick("1.10000/1.10010")
    bracket(desk)
    assert desk.tick("1.10000/1.10010") == [
        "e buy 1000 at 1.10010 taker",
        "sl accepted 1000 at 1.09900",
        "tp accepted 1000 at 1.10200",
        "sl canceled 1000 (nothing_to_reduce)",
        "tp canceled 1000 (nothing_to_reduce)",
    ]


def test_an_exit_fills_no_more_than_the_position_still_holds():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    desk.place("part", "sell", 700)
    desk.tick("1.10000/1.10010")
    assert desk.tick("1.09900/1.09910") == [
        "sl sell 300 at 1.09900 taker",
        "tp amended now 700",
        "sl canceled 700 (nothing_to_reduce)",
        "tp canceled 700 (nothing_to_reduce)",
    ]
    assert desk.held() == 0


def test_a_canceled_exit_leaves_its_sibling_working():
    desk = Desk()
    bracket(desk)
    desk.tick("1.10000/1.10010")
    assert desk.cancel("tp") == ["tp canceled 1000 (client_request)"]
    assert desk.tick("1.09900/1.09910") == ["sl sell 1000 at 1.09900 taker"]


def test_an_exit_canceled_or_moved_before_it_wakes_stays_so():
    desk = Desk()
    bracket(desk)
    assert desk.cancel("tp") == ["tp canceled 1000 (client_request)"]
    assert desk.amend("sl", "1.09800") == ["sl amended to 1.09800"]
    assert desk.tick("1.10000/1.10010") == ["e buy 1000 at 1.10010 taker", "sl accepted 1000 at 1.09800"]
    assert desk.tick("1.09850/1.09860") == []


def test_a_waiting_exit_can_be_asked_for_but_is_not_working():
    desk = Desk()
    bracket(desk)
    found = desk.matcher.order("sl")
    assert found is not None
    assert (found.state, found.venue_order_id, found.filled_quantity) == ("working", "2-1", D(0))
    assert [order.client_order_id for order in desk.matcher.open_orders()] == ["e"]


class TestTrailing:
    def test_begins_at_its_distance_from_the_quote_of_the_first_fill(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"),))
        assert desk.tick("1.10000/1.10010")[1] == "ts accepted 1000 at 1.09900"

    def test_begins_where_the_order_says(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100", "1.09500"),))
        assert desk.tick("1.10000/1.10010")[1] == "ts accepted 1000 at 1.09500"

    def test_follows_the_best_bid_of_a_long_and_never_goes_back(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"),))
        desk.tick("1.10000/1.10010")
        assert desk.tick("1.10001/1.10011") == ["ts amended to 1.09901"]
        assert desk.tick("1.10050/1.10060") == ["ts amended to 1.09950"]
        assert desk.tick("1.09960/1.09970") == []
        assert desk.tick("1.10050/1.10060") == []
        assert desk.tick("1.09949/1.09959") == ["ts sell 1000 at 1.09949 taker"]

    def test_follows_the_best_ask_of_a_short(self):
        desk = Desk()
        desk.place("e", "sell", 1000, attached=(trailing("ts", "0.00100"),))
        assert desk.tick("1.10000/1.10010")[1] == "ts accepted 1000 at 1.10110"
        assert desk.tick("1.09900/1.09910") == ["ts amended to 1.10010"]
        assert desk.tick("1.10000/1.10010") == ["ts buy 1000 at 1.10010 taker"]

    def test_keeps_its_distance_at_least_where_the_quote_is_off_the_grid(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"),))
        assert desk.tick("1.100009/1.100109")[1] == "ts accepted 1000 at 1.09900"
        assert desk.tick("1.100019/1.100119") == ["ts amended to 1.09901"]
        assert desk.tick("1.1000199/1.1001199") == []

    def test_and_target_are_siblings_like_any_exits(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"), target("tp", "1.10100")))
        desk.tick("1.10000/1.10010")
        assert desk.tick("1.10100/1.10110") == [
            "ts amended to 1.10000",
            "tp sell 1000 at 1.10100 taker",
            "ts canceled 1000 (oco)",
        ]

    def test_can_be_amended_by_hand_and_trails_on_from_there(self):
        desk = Desk()
        desk.place("e", "buy", 1000, attached=(trailing("ts", "0.00100"),))
        desk.tick("1.10000/1.10010")
        desk.amend("ts", "1.09980")
        assert desk.tick("1.10070/1.10080") == []
        assert desk.tick("1.10081/1.10091") == ["ts amended to 1.09981"]


class TestHedging:
    def test_each_entry_opens_a_position_that_bears_its_id(self):
        desk = Desk(hedging=True)
        desk.place("a", "buy", 1000)
        desk.place("b", "sell", 500)
        desk.tick("1.10000/1.10010")
        assert [(p.ref, p.quantity, p.cost) for p in desk.matcher.positions()] == [
            ("2", D(1000), D("1100.1")),
            ("3", D(-500), D(-550)),
        ]

    def test_an_exit_names_its_position_and_cannot_take_more(self):
        desk = Desk(hedging=True)
        desk.place("a", "buy", 1000)
        desk.place("b", "buy", 500)
        desk.tick("1.10000/1.10010")
        desk.place("out", "sell", 700, position_ref="3")
        assert desk.tick("1.10000/1.10010") == ["out sell 500 at 1.10000 taker", "out canceled 200 (nothing_to_reduce)"]
        assert [(p.ref, p.quantity) for p in desk.matcher.positions()] == [("2", D(1000))]
        fill = desk.record[-2].fill
        assert fill is not None
        assert fill.position_ref == "3"

    def test_attached_exits_close_their_own_position_only(self):
        desk = Desk(hedging=True)
        desk.place("other", "buy", 1000)
        desk.tick("1.10000/1.10010")
        bracket(desk)
        desk.tick("1.10000/1.10010")
        desk.tick("1.09900/1.09910")
        assert [p.ref for p in desk.matcher.positions()] == ["2"]

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"position_ref": "99"}, "UNKNOWN_POSITION"),
            ({"reduce_only": True}, "UNKNOWN_POSITION"),
            ({"position_ref": "2", "side": "buy"}, "WRONG_SIDE"),
        ],
    )
    def test_an_exit_that_closes_nothing_is_rejected(self, fields: dict, why: str):
        desk = Desk(hedging=True)
        desk.place("a", "buy", 1000)
        desk.tick("1.10000/1.10010")
        side = fields.pop("side", "sell")
        assert desk.place("out", side, 1000, **fields) == [f"out rejected ({why})"]

    def test_a_netting_account_knows_no_position_ids(self):
        desk = Desk()
        desk.place("a", "buy", 1000)
        desk.tick("1.10000/1.10010")
        assert desk.place("out", "sell", 1000, position_ref="2") == ["out rejected (UNKNOWN_POSITION)"]
