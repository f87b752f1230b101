"""Trades: their states, their profit to the last digit, and the handing out of fills."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec, trade
from tradekeel.domain.money import ONE, ZERO, ledger
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import COST_STEP
from tradekeel.domain.trades import (
    TRANSITIONS,
    CloseReason,
    ExitBooking,
    Trade,
    TradeEvent,
    TradeSide,
    TradeStatus,
    enter,
    leave,
    move,
    next_status,
    split_fill,
)
from tradekeel.errors import Defect, IllegalTransition

T, V = TradeStatus, TradeEvent
ILLEGAL = [(state, event) for state in T for event in V if event not in TRANSITIONS[state]]

quantities = st.decimals(min_value=dec("0.01"), max_value=dec(10**6), places=2)
prices = st.decimals(min_value=dec("0.00001"), max_value=dec(200_000), places=5)
fees = st.decimals(min_value=-10, max_value=10, places=4)
sides = st.sampled_from(TradeSide)


def out(quantity: Decimal | str, price: Decimal | str, **fields: object) -> ExitBooking:
    known: dict[str, object] = {
        "quantity": Decimal(quantity),
        "price": Decimal(price),
        "fee": ZERO,
        "rate": ONE,
        "reason": CloseReason.SIGNAL,
        "order_id": "x1",
        "account_currency": "USD",
        "entry_over": True,
    }
    return ExitBooking(**(known | fields))  # type: ignore[arg-type]  # fields of a test's choice


def entered(quantity: str = "1000", price: str = "1.1", **fields: object) -> Trade:
    return enter(trade(**fields), dec(quantity), dec(price), ZERO, 1)


class TestStates:
    def test_every_state_is_listed(self):
        assert set(TRANSITIONS) == set(T)

    def test_an_entrys_fill_is_taken_in_every_state(self):
        assert all(V.ENTER in events for events in TRANSITIONS.values())

    @pytest.mark.parametrize(("state", "event"), ILLEGAL, ids=lambda x: str(x))
    def test_an_illegal_event_raises_and_changes_nothing(self, state, event):
        before = trade(status=state)
        with pytest.raises(IllegalTransition, match=f"trade: {event.name} is not allowed in state {state.name}"):
            move(before, event, 1)
        with pytest.raises(IllegalTransition):
            next_status(state, event)
        assert before == trade(status=state)

    def test_a_trade_goes_from_pending_to_closed(self):
        life = entered()
        assert (life.status, life.entry_time_ns, life.version) == (T.OPEN, 1, 1)
        life = move(life, V.CLAIM, 2)
        assert life.status is T.CLOSING
        life = leave(life, out("400", "1.2"), 3)
        assert life.status is T.CLOSING
        life = move(life, V.RELEASE, 4)
        assert life.status is T.OPEN
        life = leave(life, out("600", "1.2", order_id="x2"), 5)
        assert (life.status, life.exit_order_ids, life.exit_time_ns) == (T.CLOSED, ("x1", "x2"), 5)
        assert (life.version, life.updated_ns) == (5, 5)

    def test_it_stays_open_while_its_entry_may_still_fill(self):
        flat = leave(entered(), out("1000", "1.2", entry_over=False), 2)
        assert (flat.status, flat.open_quantity) == (T.OPEN, ZERO)
        assert move(flat, V.CLOSE, 3).status is T.CLOSED

    @pytest.mark.parametrize("end", [T.CLOSED, T.FAILED])
    def test_a_late_fill_of_the_entry_opens_it_again(self, end):
        again = enter(trade(status=end, entry_time_ns=7), dec(5), ONE, ZERO, 9)
        assert (again.status, again.open_quantity, again.entry_time_ns) == (T.OPEN, dec(5), 7)

    @pytest.mark.parametrize(("status", "is_open"), [(s, s not in (T.CLOSED, T.FAILED)) for s in T])
    def test_it_is_open_while_it_may_hold_something(self, status, is_open):
        assert trade(status=status).is_open is is_open

    @pytest.mark.parametrize(("status", "holds"), [(s, s in (T.OPEN, T.CLOSING)) for s in T])
    def test_it_holds_nothing_before_its_entry_and_behind_its_exits(self, status, holds):
        assert trade(status=status).holds is holds

    def test_further_fields_change_with_the_event(self):
        assert entered(status=T.PENDING).tags == ()
        assert enter(trade(), ONE, ONE, ZERO, 1, liquidity="taker").liquidity == "taker"
        assert leave(entered(), out("1", "1"), 2, worst_price=dec("0.9")).worst_price == dec("0.9")


class TestDefects:
    @pytest.mark.parametrize("quantity", ["0", "-1"])
    def test_an_entry_of_nothing(self, quantity):
        with pytest.raises(Defect, match="above zero"):
            enter(trade(), dec(quantity), ONE, ZERO, 1)

    @pytest.mark.parametrize("quantity", ["0", "-1", "1000.01"])
    def test_an_exit_of_nothing_or_more_than_is_held(self, quantity):
        with pytest.raises(Defect, match="cannot close"):
            leave(entered(), out(quantity, "1"), 2)


class TestProfit:
    def test_of_a_long_trade(self):
        closed = leave(entered(), out("1000", "1.25", fee=dec("0.5")), 2)
        assert (closed.gross_pnl, closed.pnl) == (dec(150), dec("149.5"))

    def test_of_a_short_trade(self):
        closed = leave(entered(side=TradeSide.SHORT), out("1000", "1.25"), 2)
        assert closed.gross_pnl == dec(-150)

    def test_is_net_of_fees_and_financing(self):
        closed = leave(entered(entry_fee=dec(2), financing=dec("-0.7")), out("1000", "1.1", fee=dec(3)), 2)
        assert closed.pnl == dec("-5.7")

    def test_is_converted_at_the_venues_rate_and_rounded_as_booked(self):
        closed = leave(entered("3", "100"), out("3", "100.37", rate=dec("0.00934"), account_currency="EUR"), 2)
        assert closed.gross_pnl == dec("0.0104")

    @given(
        sides,
        st.lists(st.tuples(quantities, prices, fees), min_size=1, max_size=8),
        st.lists(st.tuples(quantities, prices, fees), max_size=12),
    )
    def test_of_any_allocations_equals_a_dumb_recomputation(self, side, entries, exits):
        life = trade(side=side)
        for quantity, price, fee in entries:
            life = enter(life, quantity, price, fee, 1)
        done: list[tuple[Decimal, Decimal, Decimal]] = []
        for quantity, price, fee in exits:
            part = min(quantity, life.open_quantity)
            if part:
                life = leave(life, out(part, price, fee=fee), 2)
                done.append((part, price, fee))
        assert Fraction(life.open_quantity) == _total(entries) - _total(done)
        assert Fraction(life.entry_value) == _value(entries)
        assert Fraction(life.exit_value) == _value(done)
        assert life.entry_fee == sum((f for _, _, f in entries), ZERO)
        assert life.exit_fee == sum((f for _, _, f in done), ZERO)
        # cost released and cost still open are the cost laid out, to the last digit; profit is what exits brought less
        # the cost they released, each booked in ten-thousandths of a dollar
        released = Fraction(life.entry_value) - Fraction(life.open_cost)
        brought = (_value(done) - released) * side.sign
        assert abs(Fraction(life.gross_pnl) - brought) <= len(done) * Fraction("0.00005")
        # pro rata, within the named rounding of the released cost
        if entries and life.open_quantity:
            share = Fraction(life.open_quantity) / _total(entries)
            assert abs(Fraction(life.open_cost) - _value(entries) * share) <= len(done) * Fraction(COST_STEP)
        if not life.open_quantity:
            assert (life.open_cost, life.status) == (ZERO, T.CLOSED)
            assert brought == (_value(done) - _value(entries)) * side.sign

    @given(sides, st.lists(st.tuples(quantities, prices), min_size=1, max_size=6), prices)
    def test_closed_at_once_is_the_same_as_closed_in_parts_at_one_price(self, side, parts, price):
        total = sum((q for q, _ in parts), ZERO)
        life = enter(trade(side=side), total, dec("1.2345"), ZERO, 1)
        whole = leave(life, out(total, price), 2)
        for quantity, _ in parts:
            life = leave(life, out(quantity, price), 2)
        assert (life.open_cost, life.exit_value) == (whole.open_cost, whole.exit_value)
        assert abs(life.gross_pnl - whole.gross_pnl) <= (len(parts) + 1) * dec("0.00005")


class TestFigures:
    def test_averages_are_for_display(self):
        life = leave(enter(entered(), dec(500), dec("1.4"), ZERO, 2), out("900", "1.5"), 3)
        assert (life.entry_price, life.exit_price) == (dec("1.2"), dec("1.5"))

    def test_nothing_is_known_before_there_is_something(self):
        life = trade()
        assert life.entry_price is life.exit_price is life.pnl_percentage is life.r_multiple is None
        assert life.risk_reward_ratio is entered().r_multiple is entered().pnl_percentage is None

    def test_the_percentage_is_in_the_trades_direction(self):
        assert leave(entered(), out("1000", "1.21"), 2).pnl_percentage == 10
        assert leave(entered(side=TradeSide.SHORT), out("1000", "1.21"), 2).pnl_percentage == -10

    def test_r_is_the_result_in_units_of_the_first_risk(self):
        life = leave(entered(initial_stop_loss=dec("1.0"), stop_loss=dec("1.09")), out("1000", "1.4"), 2)
        assert life.r_multiple == 3
        short = entered(side=TradeSide.SHORT, initial_stop_loss=dec("1.2"))
        assert leave(short, out("1000", "1.3"), 2).r_multiple == -2

    def test_of_levels_with_more_digits_than_the_ledger_are_shown_all_the_same(self):
        """A row is written and a trade is counted inside the ledger: a level that a strategy chose must not end either."""
        wild = entered(take_profit=dec("1e39"), initial_stop_loss=dec("1." + "0" * 59 + "1"))
        with ledger():
            done = leave(wild, out("1000", "1.3"), 2)
            assert (done.r_multiple, done.pnl_percentage) == (dec(2), dec("18.181818"))
            assert done.risk_reward_ratio == dec(10**40 - 11)

    def test_risk_reward_is_target_over_stop(self):
        assert entered(initial_stop_loss=dec("1.0"), take_profit=dec("1.25")).risk_reward_ratio == dec("1.5")

    @pytest.mark.parametrize(
        "fields",
        [
            {"initial_stop_loss": dec("1.1"), "take_profit": dec("1.2")},
            {"initial_stop_loss": dec("1.0")},
            {"take_profit": dec("1.2")},
        ],
    )
    def test_ratios_are_none_where_they_are_undefined(self, fields):
        assert entered(**fields).risk_reward_ratio is None
        closed = leave(entered(**fields), out("1000", "1.2"), 2)
        if fields.get("initial_stop_loss") != dec("1.0"):
            assert closed.r_multiple is None


class TestHandingOutAFill:
    @given(quantities, st.lists(st.tuples(st.text(max_size=3), st.one_of(st.just(ZERO), quantities)), max_size=8))
    def test_gives_every_unit_to_one_trade_or_leaves_it_over(self, quantity, closable):
        parts, left = split_fill(quantity, closable)
        assert _exact(q for _, q in parts) + Fraction(left) == Fraction(quantity)
        assert all(q > ZERO for _, q in parts)
        assert left >= ZERO
        held = _exact(q for _, q in closable)
        assert Fraction(left) == max(Fraction(quantity) - held, Fraction(0))

    def test_goes_in_order(self):
        assert split_fill(dec(15), [("a", dec(10)), ("b", ZERO), ("c", dec(10)), ("d", dec(10))]) == (
            [("a", dec(10)), ("c", dec(5))],
            ZERO,
        )


@pytest.mark.parametrize(("side", "entry", "sign"), [("LONG", Side.BUY, 1), ("SHORT", Side.SELL, -1)])
def test_a_direction_is_that_of_its_entry(side, entry, sign):
    assert (TradeSide(side).entry_side, TradeSide(side).sign) == (entry, sign)
    assert TradeSide.of(entry) is TradeSide(side)


def _exact(values) -> Fraction:
    return sum(map(Fraction, values), Fraction(0))


def _total(rows) -> Fraction:
    return _exact(q for q, _, _ in rows)


def _value(rows) -> Fraction:
    return sum((Fraction(q) * Fraction(p) for q, p, _ in rows), Fraction(0))
