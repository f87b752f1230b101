"""The order's state machine: its table, what no sequence of events can break, and the table as documentation."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import NOON_NS, dec, order
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import (
    IN_DOUBT,
    TERMINAL,
    TRANSITIONS,
    Order,
    OrderEvent,
    OrderStatus,
    Side,
    apply,
    contradicts_proof,
    fill,
    next_status,
)
from tradekeel.errors import Defect, IllegalTransition

S, E = OrderStatus, OrderEvent
AT_VENUE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCEL_REQUESTED})
DOCUMENT = Path(__file__).parents[3] / "docs" / "orders.md"
REGENERATE = "python -m tests.unit.domain.test_orders"

quantities = st.decimals(min_value=dec("0.01"), max_value=dec(600), places=2)
prices = st.decimals(min_value=dec("0.00001"), max_value=dec(100_000), places=5)
steps = st.lists(
    st.one_of(
        st.sampled_from([event for event in E if event is not E.FILL]),
        st.tuples(quantities, prices, st.decimals(min_value=-5, max_value=5, places=4)),
    ),
    max_size=25,
)
venue_ids = st.sampled_from([None, "v1"])


def step_in(status: OrderStatus, **fields: object) -> Order:
    return order(status=status, **fields)


def step(life: Order, event: OrderEvent | tuple[Decimal, Decimal, Decimal], now: int) -> Order:
    if isinstance(event, tuple):
        quantity, price, fee = event
        return fill(life, quantity, price, fee, now)
    return apply(life, event, now)


class TestTheTable:
    def test_lists_every_state(self):
        assert set(TRANSITIONS) == set(S)

    def test_every_event_is_used(self):
        assert {event for events in TRANSITIONS.values() for event in events} == set(E)

    def test_every_state_but_the_first_can_be_reached(self):
        reached = {t for state, events in TRANSITIONS.items() for t in events.values() if t is not state}
        assert reached | {S.INTENDED, S.FILLED} == set(S)  # FILLED is decided from the quantities
        assert S.INTENDED not in reached

    def test_no_event_leaves_a_terminal_state(self):
        for state in TERMINAL:
            assert set(TRANSITIONS[state].values()) == {state}

    def test_every_state_takes_a_fill(self):
        for state in S:
            assert E.FILL in TRANSITIONS[state]

    def test_unknown_leads_to_whatever_the_truth_is(self):
        targets = set(TRANSITIONS[S.UNKNOWN].values())
        assert targets == set(S) - {S.INTENDED, S.SUBMITTED, S.DENIED, S.CANCEL_REQUESTED, S.FILLED}

    def test_whatever_the_venue_may_hold_can_be_lost(self):
        for state in {S.INTENDED, S.SUBMITTED, S.UNKNOWN} | AT_VENUE:
            assert TRANSITIONS[state][E.LOSE] is S.UNKNOWN

    def test_only_what_may_never_have_arrived_can_be_proved_unsent(self):
        provable = {state for state in S if E.PROVE_NOT_SENT in TRANSITIONS[state]}
        assert provable == IN_DOUBT | {S.CANCEL_REQUESTED, S.NOT_SENT}

    def test_only_an_intent_can_be_denied(self):
        assert [state for state in S if E.DENY in TRANSITIONS[state]] == [S.INTENDED]

    def test_every_state_is_in_one_part_of_life(self):
        parts = [TERMINAL, AT_VENUE, IN_DOUBT]
        assert sum(map(len, parts)) == len(frozenset().union(*parts)) == len(S)


ILLEGAL = [(state, event) for state in S for event in E if event not in TRANSITIONS[state]]


class TestIllegalEvents:
    @pytest.mark.parametrize(("state", "event"), ILLEGAL, ids=lambda x: str(x))
    def test_raise_and_name_state_and_event(self, state, event):
        before = step_in(state)
        with pytest.raises(IllegalTransition, match=f"{event.name} is not allowed in state {state.name}"):
            apply(before, event, NOON_NS)
        assert before == step_in(state)

    @pytest.mark.parametrize(("state", "event"), ILLEGAL)
    def test_are_the_tables_word(self, state, event):
        with pytest.raises(IllegalTransition):
            next_status(state, event)

    def test_a_fill_has_its_own_function(self):
        with pytest.raises(Defect, match="use fill"):
            apply(order(), E.FILL, NOON_NS)

    @pytest.mark.parametrize("quantity", ["0", "-1"])
    def test_a_fill_of_nothing_is_a_defect(self, quantity):
        with pytest.raises(Defect, match="above zero"):
            fill(order(), dec(quantity), dec(1), ZERO, NOON_NS)


class TestAnOrdersLife:
    def test_goes_from_intent_to_filled(self):
        life = order()
        life = apply(life, E.SUBMIT, 1, submitted_ns=1)
        life = apply(life, E.ACCEPT, 2, venue_order_id="v1")
        life = fill(life, dec(400), dec("1.1"), dec("0.5"), 3)
        assert life.status is S.PARTIALLY_FILLED
        assert (life.open_quantity, life.filled_value, life.fee) == (dec(600), dec("440.0"), dec("0.5"))
        life = fill(life, dec(600), dec("1.2"), dec("0.5"), 4)
        assert (life.status, life.open_quantity, life.updated_ns) == (S.FILLED, ZERO, 4)
        assert (life.filled_value, life.fee) == (dec("1160.0"), dec("1.0"))

    def test_an_accept_after_a_fill_changes_nothing(self):
        part = fill(order(status=S.SUBMITTED), dec(1), dec(1), ZERO, 1)
        assert apply(part, E.ACCEPT, 2).status is S.PARTIALLY_FILLED

    def test_an_unknown_order_with_fills_is_partially_filled_once_it_is_found(self):
        lost = apply(fill(order(status=S.SUBMITTED), dec(1), dec(1), ZERO, 1), E.LOSE, 2)
        assert lost.status is S.UNKNOWN
        assert apply(lost, E.ACCEPT, 3).status is S.PARTIALLY_FILLED

    def test_a_refused_cancel_gives_the_order_back(self):
        asked = apply(order(status=S.ACCEPTED, venue_order_id="v1"), E.REQUEST_CANCEL, 1)
        assert apply(asked, E.REFUSE_CANCEL, 2).status is S.ACCEPTED
        part = fill(asked, dec(1), dec(1), ZERO, 2)
        assert part.status is S.CANCEL_REQUESTED
        assert apply(part, E.REFUSE_CANCEL, 3).status is S.PARTIALLY_FILLED

    def test_a_refused_cancel_of_an_order_nobody_has_seen_says_nothing(self):
        asked = apply(order(status=S.SUBMITTED), E.REQUEST_CANCEL, 1)
        assert asked.in_doubt
        assert apply(asked, E.REFUSE_CANCEL, 2).status is S.UNKNOWN

    @pytest.mark.parametrize("status", [S.ACCEPTED, S.PARTIALLY_FILLED])
    def test_a_second_refusal_is_no_news(self, status):
        assert apply(order(status=status), E.REFUSE_CANCEL, 1).status is status

    def test_a_late_fill_books_and_the_end_stays(self):
        late = fill(order(status=S.CANCELED), dec(400), dec(1), ZERO, 1)
        assert (late.status, late.filled_quantity, late.open_quantity) == (S.CANCELED, dec(400), ZERO)

    @pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED])
    def test_a_late_fill_that_completes_it_makes_it_filled(self, end):
        assert fill(order(status=end), dec(1000), dec(1), ZERO, 1).status is S.FILLED

    @pytest.mark.parametrize("end", [S.NOT_SENT, S.DENIED, S.REJECTED])
    def test_a_fill_that_should_not_be_books_and_is_no_success(self, end):
        after = fill(order(status=end), dec(1000), dec(1), ZERO, 1)
        assert (after.status, after.filled_quantity) == (end, dec(1000))

    def test_an_order_that_was_seen_at_the_venue_cannot_be_proved_unsent(self):
        for seen in (
            order(status=S.UNKNOWN, venue_order_id="v1"),
            order(status=S.UNKNOWN, filled_quantity=dec(1)),
        ):
            with pytest.raises(IllegalTransition):
                apply(seen, E.PROVE_NOT_SENT, 1)

    def test_further_fields_change_with_the_event(self):
        after = apply(order(status=S.SUBMITTED), E.REJECT, 7, status_reason="no margin")
        assert (after.status, after.status_reason, after.updated_ns) == (S.REJECTED, "no margin", 7)

    @pytest.mark.parametrize(
        ("status", "fields", "doubt"),
        [
            (S.INTENDED, {}, True),
            (S.SUBMITTED, {}, True),
            (S.UNKNOWN, {"venue_order_id": "v1"}, True),
            (S.CANCEL_REQUESTED, {}, True),
            (S.CANCEL_REQUESTED, {"venue_order_id": "v1"}, False),
            (S.CANCEL_REQUESTED, {"filled_quantity": dec(1)}, False),
            (S.ACCEPTED, {}, False),
            (S.CANCELED, {}, False),
        ],
    )
    def test_is_in_doubt_while_nobody_has_said_that_the_venue_has_it(self, status, fields, doubt):
        assert order(status=status, **fields).in_doubt is doubt


class TestContradictions:
    @pytest.mark.parametrize("end", [S.NOT_SENT, S.DENIED, S.REJECTED])
    def test_a_fill_of_an_order_that_never_was(self, end):
        before = order(status=end)
        after = fill(before, dec(1), dec(1), ZERO, 1)
        assert contradicts_proof(before, after) == f"order tk1 was {end} and has a fill"

    def test_an_overfill(self):
        before = order(status=S.ACCEPTED)
        after = fill(before, dec(1001), dec(1), ZERO, 1)
        assert after.status is S.FILLED
        assert contradicts_proof(before, after) == "order tk1 is filled beyond its quantity: 1001 of 1000"

    def test_a_sign_of_life_of_an_order_that_was_proved_unsent(self):
        before = order(status=S.NOT_SENT)
        after = apply(before, E.ACCEPT, 1, venue_order_id="v9")
        assert after.status is S.NOT_SENT
        assert contradicts_proof(before, after) == "order tk1 was not_sent and the venue has it as v9"

    def test_nothing_where_everything_is_as_it_should_be(self):
        before = order(status=S.ACCEPTED)
        assert contradicts_proof(before, fill(before, dec(1000), dec(1), ZERO, 1)) is None
        unsent = order(status=S.NOT_SENT)
        assert contradicts_proof(unsent, apply(unsent, E.PROVE_NOT_SENT, 1)) is None
        refused = order(status=S.REJECTED)
        assert contradicts_proof(refused, apply(refused, E.REJECT, 1)) is None

    def test_an_overfill_is_told_once(self):
        before = fill(order(status=S.ACCEPTED), dec(1001), dec(1), ZERO, 1)
        assert contradicts_proof(before, apply(before, E.CANCEL, 2)) is None


class TestAnySequenceOfEvents:
    @given(steps, venue_ids)
    def test_keeps_the_invariants(self, sequence, venue_id):
        life = order(venue_order_id=venue_id)
        ended: OrderStatus | None = None
        fills = []
        for now, event in enumerate(sequence):
            before = life
            try:
                life = step(life, event, now)
                if isinstance(event, tuple):
                    fills.append(event)
            except IllegalTransition:
                assert life is before
                assert not isinstance(event, tuple), "a fill is never illegal"
                continue
            assert life.updated_ns == now
            # a terminal state stays, unless the order is now filled
            if ended is not None:
                assert life.status is ended or (life.status is S.FILLED and isinstance(event, tuple))
            if life.is_terminal:
                ended = life.status
            # amounts are the dumb sums of the fills
            assert life.filled_quantity == sum((q for q, _, _ in fills), ZERO)
            assert life.filled_value == sum((q * p for q, p, _ in fills), ZERO)
            assert life.fee == sum((f for _, _, f in fills), ZERO)
            # status and amounts agree
            full = life.filled_quantity >= life.quantity
            if life.status is S.FILLED:
                assert full
            if full:
                assert life.status in {S.FILLED, S.DENIED, S.REJECTED, S.NOT_SENT}
            if life.status is S.PARTIALLY_FILLED:
                assert fills
            if life.status is S.ACCEPTED:
                assert not fills
            assert life.open_quantity == (ZERO if life.is_terminal else max(life.quantity - life.filled_quantity, ZERO))
            # nothing else changed
            assert (life.client_order_id, life.quantity, life.side) == ("tk1", dec(1000), Side.BUY)

    @given(steps)
    def test_gives_the_same_order_every_time(self, sequence):
        def run() -> Order:
            life = order()
            for now, event in enumerate(sequence):
                try:
                    life = step(life, event, now)
                except IllegalTransition:
                    continue
            return life

        assert run() == run()

    @given(st.lists(st.tuples(quantities, prices), min_size=1, max_size=8), st.randoms(use_true_random=False))
    def test_fills_may_come_in_any_order(self, fills, random):
        def run(sequence) -> Order:
            life = order(status=S.ACCEPTED)
            for quantity, price in sequence:
                life = fill(life, quantity, price, ZERO, 1)
            return life

        shuffled = list(fills)
        random.shuffle(shuffled)
        assert run(fills) == run(shuffled)


@pytest.mark.parametrize("side", Side)
def test_sides_are_opposite(side):
    assert side.opposite is not side
    assert side.opposite.opposite is side
    assert side.sign == -side.opposite.sign


# --- the table as documentation ---------------------------------------------------------------------------------------


TURNS = """\
## One order that turns

An entry with `closes` (`Enter(reverse=True)`) is an entry and an exit at once. Its states are those of any
order; what it does beside them:

- It holds the claim on each trade that it names, whole, from the intent to its end: nobody else may leave them
  meanwhile. Whatever ends it lets go of what is still open, and where the venue keeps no stop of that any more,
  the monitor does.
- It waits until the protective orders of these trades have ended. What one of them has closed by then it is
  smaller by (the order ends as `not_sent`, another one `renews` it), so that the new trade never gets more than
  was asked for.
- Its fills close these trades first, one after the other, and open the new trade with the rest. Fees are shared
  by quantity, and the last part takes the remainder. Units that somebody else has closed in the meantime do not
  go to the new trade: they close other trades the other way, first in, first out, and are adopted where there
  are none.
- Pause, reduce-only, halt, the end of its strategy and of the run treat it as an entry: unsent it is
  `not_sent`, at work it is canceled. The strategy is told, and may leave its trades by exits; a flatten does so
  by itself.
"""


def transcript() -> str:
    """docs/orders.md, from the table."""
    lines = [
        "# The life of an order",
        "",
        "Every state, every event, and what follows. This page is generated from `TRANSITIONS` in",
        f"`domain/orders.py`: do not edit it, run `{REGENERATE}`. What is not listed is illegal: it raises,",
        "changes nothing, and names state and event.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> intended",
    ]
    for state in S:
        if state in TERMINAL:
            lines.append(f"    {state} --> [*]")
            continue
        arrows: dict[OrderStatus, list[str]] = {}
        for event, target in TRANSITIONS[state].items():
            if target is not state:
                arrows.setdefault(target, []).append(event.value)
        lines += [f"    {state} --> {target}: {', '.join(events)}" for target, events in arrows.items()]
    lines += ["    partially_filled --> filled: fill (complete)", "```", ""]
    events = list(E)
    lines.append("| state | " + " | ".join(e.value for e in events) + " |")
    lines.append("|---" * (len(events) + 1) + "|")
    for state in S:
        cells = [_cell(state, TRANSITIONS[state].get(event)) for event in events]
        kind = "**" if state in TERMINAL else ""
        lines.append(f"| {kind}{state}{kind} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Terminal states are bold; `=` stays; an empty cell is illegal. What the table cannot know is decided from the",
        "fills: a fill that completes the order makes it `filled` (not if it was `denied`, `rejected` or `not_sent`:",
        "such a fill halts the account); an accepted order with fills is `partially_filled`; a refused cancel of an order",
        "that nobody has seen at the venue leaves it `unknown`; an order that was seen there cannot be proved unsent.",
        "",
        *TURNS.splitlines(),
        "",
    ]
    return "\n".join(lines)


def _cell(state: OrderStatus, target: OrderStatus | None) -> str:
    if target is None:
        return ""
    return "=" if target is state else target.value


def test_the_documentation_shows_the_table_as_it_is():
    found = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    assert found == transcript(), f"docs/orders.md is stale: run `{REGENERATE}`"


def test_the_transcript_changes_with_the_table():
    cells = hashlib.blake2b(transcript().encode()).hexdigest()
    TRANSITIONS[S.DENIED][E.CANCEL] = S.DENIED
    try:
        assert hashlib.blake2b(transcript().encode()).hexdigest() != cells
    finally:
        del TRANSITIONS[S.DENIED][E.CANCEL]


if __name__ == "__main__":
    DOCUMENT.write_text(transcript(), encoding="utf-8")
    print(f"wrote {DOCUMENT}")
