"""Reconciliation: every difference is found, named, and has one consequence; agreement finds nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec, order
from tradekeel.domain.messages import VenueOrder
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import IN_DOUBT, TERMINAL, Order, OrderStatus, Side
from tradekeel.domain.reconcile import (
    POLICY,
    Finding,
    FindingKind,
    OurSide,
    Resolution,
    TheirSide,
    balanced,
    compare,
)
from tradekeel.errors import FailureWord

K, S = FindingKind, OrderStatus
AT_VENUE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCEL_REQUESTED})


def ours(*orders: Order, **fields: Any) -> OurSide:
    known: dict[str, Any] = {
        "cursor": 7,
        "balance": dec(10_000),
        "positions": {},
        "orders": {o.client_order_id: o for o in orders},
    }
    return OurSide(**(known | fields))


def theirs(*orders: VenueOrder, **fields: Any) -> TheirSide:
    known: dict[str, Any] = {"last_sequence": 7, "balance": dec(10_000), "positions": {}, "orders": orders}
    return TheirSide(**(known | fields))


def there(client_id: str | None = "tk1", state: str = "working", filled: int = 0, **fields: Any) -> VenueOrder:
    known: dict[str, Any] = {
        "client_order_id": client_id,
        "venue_order_id": "v1",
        "instrument": "EUR_USD",
        "side": Side.BUY,
        "quantity": dec(1000),
        "filled_quantity": dec(filled),
        "state": state,
    }
    return VenueOrder(**(known | fields))


def working(**fields: Any) -> Order:
    return order(**({"status": S.ACCEPTED, "venue_order_id": "v1"} | fields))


def kinds(our: OurSide, their: TheirSide) -> list[FindingKind]:
    return [finding.kind for finding in compare(our, their)]


class TestAgreement:
    def test_finds_nothing(self):
        assert compare(ours(), theirs()) == []
        held: dict[str, Any] = {"positions": {("EUR_USD", None): dec(5), ("EUR_USD", "p1"): dec(-3)}}
        assert compare(ours(working(), **held), theirs(there(), **held)) == []

    def test_does_not_mind_how_a_number_is_written(self):
        assert compare(ours(balance=dec("10000.00")), theirs()) == []
        assert compare(ours(positions={("EUR_USD", None): ZERO}), theirs()) == []

    def test_does_not_ask_for_exits_that_wait_for_their_entry(self):
        entry = working()
        attached = order(client_order_id="tk2", parent_id="tk1")
        assert compare(ours(entry, attached), theirs(there())) == []
        half = working(status=S.PARTIALLY_FILLED, filled_quantity=dec(500))
        assert kinds(ours(half, attached), theirs(there(filled=500))) == [K.ORDER_IN_DOUBT]
        assert kinds(ours(attached), theirs()) == [K.ORDER_IN_DOUBT]


class TestTheRecord:
    def test_is_read_on_before_anything_else_is_said(self):
        found = compare(ours(cursor=5, balance=dec(1)), theirs(there("stranger")))
        assert [f.kind for f in found] == [K.BEHIND]
        assert (found[0].ours, found[0].theirs) == ("entry 5", "entry 7")
        assert (found[0].resolution, found[0].word) == (Resolution.READ_ON, FailureWord.RETRY)

    def test_that_became_shorter_halts(self):
        found = compare(ours(cursor=9), theirs())
        assert [(f.kind, f.word) for f in found] == [(K.RECORD_SHRANK, FailureWord.HALT)]


class TestOrdersAtTheVenue:
    @pytest.mark.parametrize(
        ("client_id", "ended", "kind", "resolution"),
        [
            ("stranger", {}, K.ORDER_FOREIGN, Resolution.ADOPT),
            (None, {}, K.ORDER_FOREIGN, Resolution.ADOPT),
            ("tk9", {}, K.ORDER_OURS_NOT_BOOKED, Resolution.HALT),
            ("tk9", {"tk9": S.CANCELED}, K.ORDER_ENDED_BUT_WORKING, Resolution.HALT),
            ("tk9", {"tk9": S.FILLED}, K.ORDER_ENDED_BUT_WORKING, Resolution.HALT),
            ("tk9", {"tk9": S.NOT_SENT}, K.ORDER_DISPROVES, Resolution.HALT),
            ("tk9", {"tk9": S.DENIED}, K.ORDER_DISPROVES, Resolution.HALT),
        ],
    )
    def test_that_we_do_not_have_alive(self, client_id, ended, kind, resolution):
        (found,) = compare(ours(ended=ended), theirs(there(client_id)))
        assert (found.kind, found.resolution, found.venue_order) == (kind, resolution, there(client_id))

    @pytest.mark.parametrize("status", sorted(IN_DOUBT))
    def test_that_were_in_doubt_have_arrived(self, status):
        (found,) = compare(ours(order(status=status)), theirs(there()))
        assert (found.kind, found.client_order_id) == (K.ORDER_ARRIVED, "tk1")

    @pytest.mark.parametrize("status", sorted(AT_VENUE))
    def test_that_we_have_alike_are_no_finding(self, status):
        assert compare(ours(working(status=status)), theirs(there())) == []

    def test_of_which_more_is_filled_than_we_booked_halt(self):
        (found,) = compare(ours(working()), theirs(there(filled=400)))
        assert (found.kind, found.word) == (K.ORDER_QUANTITY, FailureWord.HALT)
        assert (found.ours, found.theirs) == ("accepted, 0 of 1000 filled", "working, 400 of 1000 filled")


class TestOrdersWithUs:
    @pytest.mark.parametrize("status", sorted(S))
    def test_that_are_not_working_there(self, status):
        expected = [K.ORDER_IN_DOUBT] if status in IN_DOUBT else [K.ORDER_MISSING]
        assert kinds(ours(working(status=status)), theirs()) == ([] if status in TERMINAL else expected)

    def test_a_cancel_that_overtook_the_answer_leaves_an_order_in_doubt(self):
        asked = order(status=S.CANCEL_REQUESTED)
        assert kinds(ours(asked), theirs()) == [K.ORDER_IN_DOUBT]

    @pytest.mark.parametrize("state", ["filled", "canceled", "expired", "rejected"])
    def test_whose_end_was_looked_up_end_as_the_venue_says(self, state):
        (found,) = compare(ours(working()), theirs(looked_up={"tk1": there(state=state)}))
        assert (found.kind, found.resolution) == (K.ORDER_ENDED_THERE, Resolution.ADOPT)
        assert found.venue_order == there(state=state)

    def test_that_were_looked_up_and_are_working_have_arrived(self):
        assert kinds(ours(order()), theirs(looked_up={"tk1": there()})) == [K.ORDER_ARRIVED]

    def test_that_filled_without_a_fill_in_the_record_halt(self):
        their = theirs(looked_up={"tk1": there(state="filled", filled=1000)})
        assert kinds(ours(working()), their) == [K.ORDER_QUANTITY]

    def test_in_doubt_may_have_fills_that_a_record_with_gaps_did_not_tell(self):
        for state, kind in (("filled", K.ORDER_ENDED_THERE), ("working", K.ORDER_ARRIVED)):
            looked_up = {"tk1": there(state=state, filled=700)}
            assert kinds(ours(order()), theirs(looked_up=looked_up, gap_free=False)) == [kind]
            assert kinds(ours(order()), theirs(looked_up=looked_up)) == [K.ORDER_QUANTITY]
        assert kinds(ours(order()), theirs(there(filled=700), gap_free=False)) == [K.ORDER_ARRIVED]
        assert kinds(ours(order()), theirs(there(filled=700))) == [K.ORDER_QUANTITY]

    def test_that_the_venue_does_not_know(self):
        unknown: dict[str, Any] = {"looked_up": {"tk1": None}}
        assert kinds(ours(order()), theirs(**unknown)) == [K.ORDER_IN_DOUBT]
        (found,) = compare(ours(working()), theirs(**unknown))
        assert (found.kind, found.resolution, found.theirs) == (
            K.ORDER_MISSING,
            Resolution.MAKE_UNKNOWN,
            "not known to it",
        )


class TestPositions:
    def test_that_differ_halt(self):
        (found,) = compare(ours(positions={("EUR_USD", None): dec(5)}), theirs(positions={("EUR_USD", None): dec(4)}))
        assert (found.kind, found.ours, found.theirs) == (K.POSITION_DIFFERS, "5", "4")
        assert found.position == ("EUR_USD", None)

    @pytest.mark.parametrize("gap_free", [True, False])
    def test_that_only_one_side_has(self, gap_free):
        held: dict[str, Any] = {"positions": {("EUR_USD", None): dec(5)}}
        assert kinds(ours(**held), theirs(gap_free=gap_free)) == [K.POSITION_DIFFERS]
        foreign = K.POSITION_DIFFERS if gap_free else K.POSITION_FOREIGN
        assert kinds(ours(), theirs(gap_free=gap_free, **held)) == [foreign]

    def test_of_a_hedging_account_are_compared_by_their_reference(self):
        mine = {("EUR_USD", "p1"): dec(5), ("EUR_USD", "p2"): dec(-5)}
        yours = {("EUR_USD", "p1"): dec(5), ("EUR_USD", "p3"): dec(-5)}
        found = compare(ours(positions=mine), theirs(positions=yours))
        assert [(f.kind, f.what) for f in found] == [
            (K.POSITION_DIFFERS, "position p2 in EUR_USD"),
            (K.POSITION_DIFFERS, "position p3 in EUR_USD"),
        ]

    @pytest.mark.parametrize(
        ("difference", "explained"), [(1000, True), (1, True), (1001, False), (-200, True), (-201, False)]
    )
    def test_that_orders_in_doubt_explain_wait_for_their_answer(self, difference, explained):
        buy = order(status=S.UNKNOWN)
        sell = order(client_order_id="tk2", side=Side.SELL, quantity=dec(200), status=S.SUBMITTED)
        other = order(client_order_id="tk3", instrument="USD_JPY", quantity=dec(10**6))
        found = kinds(
            ours(buy, sell, other, positions={("EUR_USD", None): dec(50)}),
            theirs(positions={("EUR_USD", None): dec(50 + difference)}),
        )
        assert (K.POSITION_IN_DOUBT in found) is explained
        assert (K.POSITION_DIFFERS in found) is not explained


class TestTheBalance:
    def test_that_differs_halts(self):
        (found,) = compare(ours(balance=dec("9999.9999")), theirs())
        assert (found.kind, found.word) == (K.BALANCE_DIFFERS, FailureWord.HALT)
        assert str(found) == "balance_differs: balance: ours 9999.9999, theirs 10000 (halt: halt)"

    def test_waits_for_the_answer_of_an_order_in_doubt(self):
        assert kinds(ours(order(), balance=dec(1)), theirs(there()))[-1] is K.BALANCE_IN_DOUBT
        assert kinds(ours(working(), balance=dec(1)), theirs(there())) == [K.BALANCE_DIFFERS]


class TestThePolicy:
    def test_has_one_consequence_for_every_kind(self):
        assert set(POLICY) == set(FindingKind)

    @pytest.mark.parametrize("kind", FindingKind)
    def test_halting_and_the_word_halt_go_together(self, kind):
        rule = POLICY[kind]
        assert (rule.resolution is Resolution.HALT) == (rule.word is FailureWord.HALT)

    def test_whatever_is_in_doubt_is_asked_for_again(self):
        for kind in FindingKind:
            if POLICY[kind].resolution in (Resolution.LOOK_UP, Resolution.MAKE_UNKNOWN):
                assert POLICY[kind].word is FailureWord.RETRY

    @pytest.mark.parametrize("kind", FindingKind)
    def test_trading_goes_on_unless_something_halts_or_news_is_waiting(self, kind):
        found = [Finding(kind=kind, what="", ours="", theirs="")]
        assert balanced(found) is (POLICY[kind].word is not FailureWord.HALT and kind is not K.BEHIND)
        assert balanced([])


positions = st.dictionaries(
    st.tuples(st.sampled_from(["EUR_USD", "USD_JPY"]), st.sampled_from([None, "p1", "p2"])),
    st.integers(-3, 3).map(Decimal),
    max_size=5,
)


class TestAnyTwoBooks:
    @given(positions, positions, st.integers(0, 2), st.integers(0, 2))
    def test_agree_exactly_when_nothing_is_found(self, mine, yours, my_balance, their_balance):
        same = {k: v for k, v in mine.items() if v} == {k: v for k, v in yours.items() if v}
        found = compare(
            ours(positions=mine, balance=Decimal(my_balance)),
            theirs(positions=yours, balance=Decimal(their_balance)),
        )
        assert (found == []) == (same and my_balance == their_balance)
        assert len(found) == sum(mine.get(k, ZERO) != yours.get(k, ZERO) for k in {*mine, *yours}) + (
            my_balance != their_balance
        )

    @given(positions, st.randoms(use_true_random=False))
    def test_are_compared_in_a_stable_order(self, yours, random):
        shuffled = list(yours.items())
        random.shuffle(shuffled)
        assert compare(ours(), theirs(positions=yours)) == compare(ours(), theirs(positions=dict(shuffled)))
