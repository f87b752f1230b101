"""What the venue refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.domain.matching_desk import EUR, NS, START_S, D, Desk, stop, target, trailing
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import Commission, FinancingRate, Matcher, PaperAccount, PaperSettings, Slippage
from tradekeel.domain.orders import AttachedExit, OrderType
from tradekeel.errors import InputError


@pytest.mark.parametrize(
    ("why", "order"),
    [
        ("UNKNOWN_INSTRUMENT", {"instrument": "EUR_XXX"}),
        ("CLIENT_ID_INVALID", {"client_order_id": ""}),
        ("CLIENT_ID_INVALID", {"client_order_id": "x" * 65}),
        ("TYPE_INVALID", {"type_": "trailing_stop"}),
        ("PRICE_MISSING", {"type_": "limit"}),
        ("PRICE_MISSING", {"type_": "stop"}),
        ("PRICE_MISSING", {"type_": "stop_limit", "stop_price": "1.2"}),
        ("PRICE_INVALID", {"type_": "limit", "price": "0"}),
        ("PRICE_INVALID", {"type_": "stop", "stop_price": "-1"}),
        ("PRICE_INVALID", {"type_": "limit", "price": "NaN"}),
        ("PRICE_INVALID", {"type_": "market", "price": "1.1"}),
        ("PRICE_INVALID", {"type_": "limit", "price": "1.1", "stop_price": "1.1"}),
        ("PRICE_PRECISION", {"type_": "limit", "price": "1.100001"}),
        ("QUANTITY_TOO_SMALL", {"quantity": "0"}),
        ("QUANTITY_TOO_SMALL", {"quantity": "-5"}),
        ("QUANTITY_TOO_SMALL", {"quantity": "NaN"}),
        ("QUANTITY_TOO_SMALL", {"quantity": "0.5"}),
        ("QUANTITY_TOO_LARGE", {"quantity": "100000001"}),
        ("QUANTITY_TOO_LARGE", {"quantity": "1e9"}),
        ("QUANTITY_PRECISION", {"quantity": "1000.5"}),
        ("EXPIRY_MISSING", {"type_": "limit", "price": "1.1", "tif": "gtd"}),
        ("EXPIRY_IN_PAST", {"type_": "limit", "price": "1.1", "tif": "gtd", "expire_at_ns": (START_S + 1) * NS}),
        ("NO_PRICE", {"instrument": "GBP_USD"}),
        ("INSUFFICIENT_MARGIN", {"quantity": "1000000"}),
        ("ATTACHED_INVALID", {"attached": (stop("a", "1.0"),)}),
        ("ATTACHED_INVALID", {"attached": (stop("s", "1.0"), target("s", "1.2"))}),
        ("ATTACHED_INVALID", {"attached": (stop("", "1.0"),)}),
        ("ATTACHED_INVALID", {"attached": tuple(stop(f"s{n}", "1.0") for n in range(9))}),
        ("ATTACHED_INVALID", {"attached": (stop("s", "1.0"),), "reduce_only": True}),
        ("ATTACHED_INVALID", {"attached": (AttachedExit(client_order_id="s", type=OrderType.MARKET),)}),
        ("PRICE_MISSING", {"attached": (AttachedExit(client_order_id="s", type=OrderType.STOP),)}),
        ("PRICE_MISSING", {"attached": (AttachedExit(client_order_id="s", type=OrderType.TRAILING_STOP),)}),
        ("PRICE_PRECISION", {"attached": (target("t", "1.200001"),)}),
        ("PRICE_PRECISION", {"attached": (trailing("t", "0.001", "1.000001"),)}),
        ("WRONG_SIDE", {"attached": (stop("s", "1.2"), target("t", "1.1"))}),
        ("WRONG_SIDE", {"side": "sell", "attached": (stop("s", "1.1"), target("t", "1.2"))}),
        ("WRONG_SIDE", {"type_": "limit", "price": "1.05", "attached": (stop("s", "1.05"),)}),
        ("WRONG_SIDE", {"type_": "stop", "stop_price": "1.2", "attached": (target("t", "1.15"),)}),
    ],
)
def test_a_request_that_is_wrong_is_rejected_with_the_reason(why: str, order: dict[str, Any]):
    desk = Desk()
    fields = {"client_order_id": "a", "side": "buy", "quantity": "1000", **order}
    told = desk.place(fields.pop("client_order_id"), fields.pop("side"), fields.pop("quantity"), **fields)
    assert told[0].endswith(f"rejected ({why})")
    assert desk.matcher.state().orders == ()
    assert desk.tick("1.10000/1.10010") == []


def test_a_rejection_is_an_entry_of_the_record_with_an_id_of_its_own():
    desk = Desk()
    desk.place("a", "buy", "0.5")
    entry = desk.record[-1]
    assert (entry.sequence, entry.venue_order_id, entry.instrument, entry.quantity) == (2, "2", EUR, D("0.5"))


class TestClientIds:
    def test_are_unique_among_open_orders_only(self):
        desk = Desk()
        desk.place("a", "buy", 1000)
        assert desk.place("a", "buy", 1000) == ["a rejected (DUPLICATE_CLIENT_ID)"]
        desk.tick("1.10000/1.10010")
        # As at real venues: once the first has filled, the same id buys twice.
        assert desk.place("a", "buy", 1000) == ["a accepted 1000"]
        desk.tick("1.10000/1.10010")
        assert desk.held() == 2000

    def test_of_waiting_exits_count(self):
        desk = Desk()
        desk.place("e", "buy", 1000, "limit", price="1.09", attached=(stop("s", "1.0"),))
        assert desk.place("s", "buy", 1000) == ["s rejected (DUPLICATE_CLIENT_ID)"]

    def test_of_exits_must_be_free_and_the_open_order_stays_untouched(self):
        desk = Desk()
        desk.place("taken", "buy", 1000, "limit", price="1.09")
        told = desk.place("e", "buy", 1000, attached=(stop("taken", "1.0"), target("free", "1.2")))
        assert told == ["e rejected (DUPLICATE_CLIENT_ID)", "free canceled 1000 (parent_ended)"]
        assert [o.client_order_id for o in desk.matcher.open_orders()] == ["taken"]


def test_no_more_orders_are_open_than_the_venue_allows():
    desk = Desk(open_orders_max=3)
    desk.place("a", "buy", 1000, "limit", price="1.09")
    assert desk.place("b", "buy", 1000, attached=(stop("s", "1.0"), target("t", "1.2")))[0] == (
        "b rejected (TOO_MANY_ORDERS)"
    )
    assert desk.place("b", "buy", 1000, attached=(stop("s", "1.0"),)) == ["b accepted 1000"]


class TestSimulatedRejects:
    def test_refuse_the_configured_share(self):
        desk = Desk(deposit="1000000000", reject_rate=D("0.25"), seed=11)
        rejected = 0
        for number in range(400):
            desk.tick("1.10000/1.10010")
            rejected += desk.place(f"o{number}", "buy", 1000) == [f"o{number} rejected (SIMULATED_REJECT)"]
        assert 70 <= rejected <= 130

    def test_do_not_depend_on_ids(self):
        def answers(prefix: str) -> list[bool]:
            desk = Desk(deposit="1000000000", reject_rate=D("0.5"), seed=11)
            told = []
            for number in range(30):
                desk.tick("1.10000/1.10010")
                told.append("accepted" in desk.place(f"{prefix}{number}", "buy", 1000)[0])
            return told

        assert answers("a") == answers("b")
        assert True in answers("a")
        assert False in answers("a")

    def test_of_all_or_of_none(self):
        assert Desk(reject_rate=D(1)).place("a", "buy", 1000) == ["a rejected (SIMULATED_REJECT)"]
        assert Desk(reject_rate=D(0)).place("a", "buy", 1000) == ["a accepted 1000"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Slippage(model="fixed"),
        lambda: Slippage(model="spread", pips=D(1)),
        lambda: Slippage(model="fixed", pips=D(-1)),
        lambda: Slippage(model="impact", pips=D(1), quantity=D(0)),
        lambda: Commission(taker=D(1)),
        lambda: Commission(model="per_unit", taker=D(-1)),
        lambda: Commission(model="per_lot", lot=D("NaN")),
        lambda: FinancingRate(long=D("Infinity"), short=D(0)),
        lambda: PaperSettings(reject_rate=D("1.1")),
        lambda: PaperSettings(drop_rate=D("-0.1")),
        lambda: PaperSettings(margin_call_level=D(-1)),
        lambda: PaperSettings(conversion_rates={"USDJPY": D(1)}),
        lambda: PaperSettings(conversion_rates={"USD_JPY": D(0)}),
        lambda: PaperAccount(account="a", currency="USD", deposit=D(0)),
        lambda: PaperAccount(account="a", currency="USD", deposit=D(1), leverage=D(0)),
    ],
)
def test_settings_that_make_no_sense_cannot_be_made(wrong: Any):
    with pytest.raises(InputError):
        wrong()


def test_the_default_settings_are_a_perfect_venue():
    matcher = Matcher(PaperAccount(account="a", currency="USD", deposit=D(1)), CATALOGUE, PaperSettings())
    assert not matcher.is_open
    assert [entry.amount for entry in matcher.open()] == [1]
