"""The risk gate: every limit at its edge, missing input denies, and exits are let out."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import NOON_NS, SECOND_NS, dec, order, quote
from tradekeel.config.decode import decode
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import TERMINAL, Order, OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.positions import Rate
from tradekeel.domain.risk import Denial, DenialCode, Pending, RiskGate, RiskLimits, RiskView, pending_of
from tradekeel.domain.risk_limits import BOUNDS
from tradekeel.domain.risk_signals import SignalFilter, SignalRule
from tradekeel.domain.rows import Latch

C = DenialCode


def view(**fields: Any) -> RiskView:
    """A dollar account at noon that trades EUR_USD and EUR_GBP and holds nothing."""
    known: dict[str, Any] = {
        "account_currency": "USD",
        "instruments": CATALOGUE,
        "quotes": {"EUR_USD": quote("1.1000", "1.1002"), "EUR_GBP": quote("0.8500", "0.8502")},
        "rates": {"GBP": Rate(dec("1.25"), NOON_NS)},
        "balance": dec(10_000),
        "equity": dec(10_000),
        "day_start_equity": dec(10_000),
        "peak_equity": dec(10_000),
        "session": "LONDON",
    }
    return RiskView(**(known | fields))


def ask(limits: dict[str, Any], entry: Order | None = None, seen: RiskView | None = None) -> Denial | None:
    gate = RiskGate(RiskLimits(**limits))
    return gate.check_entry(entry or order(reference_price=dec("1.1002")), seen or view(), NOON_NS)


def code(denial: Denial | None) -> DenialCode | None:
    return None if denial is None else denial.code


def test_without_limits_an_order_passes():
    assert ask({}) is None


class TestEveryLimitAtItsEdge:
    """(limit, what still passes, what does not): one step apart."""

    @pytest.mark.parametrize(
        ("limits", "passes", "denied", "expected"),
        [
            ({"quantity_max": dec(1000)}, order(quantity=dec(1000)), order(quantity=dec(1001)), C.QUANTITY_MAX),
            # 1000 at the ask of 1.1002
            (
                {"notional_max": dec("1100.2")},
                order(quantity=dec(1000)),
                order(quantity=dec(1001)),
                C.NOTIONAL_MAX,
            ),
            # 1000 EUR_GBP at 0.8502 pounds, each 1.25 dollars
            (
                {"notional_max": dec("1062.75")},
                order(instrument="EUR_GBP"),
                order(instrument="EUR_GBP", quantity=dec(1001)),
                C.NOTIONAL_MAX,
            ),
            # a limit dearer than the ask counts at its own price
            (
                {"notional_max": dec(1200)},
                order(type=OrderType.LIMIT, price=dec("1.2")),
                order(type=OrderType.LIMIT, price=dec("1.20001")),
                C.NOTIONAL_MAX,
            ),
            (
                {"notional_max": dec(1200)},
                order(type=OrderType.STOP, stop_price=dec("1.2")),
                order(type=OrderType.STOP, stop_price=dec("1.20001")),
                C.NOTIONAL_MAX,
            ),
            ({"position_max": dec(1000)}, order(), order(quantity=dec(1001)), C.POSITION_MAX),
            (
                {"position_notional_max": dec("1100.2")},
                order(),
                order(quantity=dec(1001)),
                C.POSITION_NOTIONAL_MAX,
            ),
            ({"exposure_max": dec("1100.2")}, order(), order(quantity=dec(1001)), C.EXPOSURE_MAX),
            # 5 pips from the ask, or from the bid on the other side
            (
                {"price_collar_pips": dec(5)},
                order(price=dec("1.1007")),
                order(price=dec("1.10071")),
                C.PRICE_COLLAR,
            ),
            (
                {"price_collar_pips": dec(5)},
                order(stop_price=dec("1.0995")),
                order(stop_price=dec("1.09949")),
                C.PRICE_COLLAR,
            ),
            (
                {"price_collar_pips": dec(5)},
                order(reference_price=dec("1.0995")),
                order(reference_price=dec("1.09949")),
                C.PRICE_COLLAR,
            ),
            ({"instruments": ("EUR_USD",)}, order(), order(instrument="EUR_GBP"), C.INSTRUMENT_NOT_ALLOWED),
        ],
    )
    def test_of_the_order(self, limits, passes, denied, expected):
        assert ask(limits, passes) is None
        assert code(ask(limits, denied)) is expected

    @pytest.mark.parametrize(
        ("limits", "passes", "denied", "expected"),
        [
            ({"open_orders_max": 3}, {"open_orders": 2}, {"open_orders": 3}, C.OPEN_ORDERS_MAX),
            (
                {"open_orders_max": 5},
                {"open_orders": 2, "attached": 2},
                {"open_orders": 2, "attached": 3},
                C.OPEN_ORDERS_MAX,
            ),
            (
                {"daily_loss_max": dec(500)},
                {"equity": dec("9500.01")},
                {"equity": dec(9500)},
                C.DAILY_LOSS_MAX,
            ),
            ({"drawdown_max": dec(500)}, {"equity": dec("9500.01")}, {"equity": dec(9500)}, C.DRAWDOWN_MAX),
            (
                {"drawdown_max_percent": dec(5)},
                {"equity": dec("9500.01")},
                {"equity": dec(9500)},
                C.DRAWDOWN_MAX_PERCENT,
            ),
            (
                {"price_age_max_s": dec("1.5")},
                {"quotes": {"EUR_USD": quote("1.1", "1.1", NOON_NS - 1_500_000_000)}},
                {"quotes": {"EUR_USD": quote("1.1", "1.1", NOON_NS - 1_500_000_001)}},
                C.PRICE_STALE,
            ),
            (
                {"price_age_max_s": dec("1.5")},
                {"quotes": {"EUR_USD": quote("1.1", "1.1", NOON_NS + 1_500_000_000)}},
                {"quotes": {"EUR_USD": quote("1.1", "1.1", NOON_NS + 1_500_000_001)}},
                C.PRICE_STALE,
            ),
        ],
    )
    def test_of_the_account(self, limits, passes, denied, expected):
        assert ask(limits, seen=view(**passes)) is None
        assert code(ask(limits, seen=view(**denied))) is expected

    def test_a_rate_as_old_as_allowed_passes(self):
        limits = {"notional_max": dec(10**6), "rate_age_max_s": dec(10)}
        entry = order(instrument="EUR_GBP")
        for age_ns, expected in ((10 * SECOND_NS, None), (10 * SECOND_NS + 1, C.RATE_STALE)):
            seen = view(rates={"GBP": Rate(dec("1.25"), NOON_NS - age_ns)})
            assert code(ask(limits, entry, seen)) is expected


class TestTheSize:
    @pytest.mark.parametrize("quantity", ["0", "-1", "0.5", "100000001"])
    def test_outside_of_what_the_instrument_trades_is_denied(self, quantity):
        assert code(ask({}, order(quantity=dec(quantity)))) is C.QUANTITY_INVALID

    def test_between_two_steps_is_denied(self):
        denial = ask({}, order(quantity=dec("1000.5")))
        assert code(denial) is C.QUANTITY_INVALID
        assert str(denial) == "EUR_USD is traded in steps of 1 units, found 1000.5"

    def test_in_fractions_passes_where_the_instrument_trades_fractions(self):
        seen = view(quotes={"BTC_USDT": quote("60000", "60001")})
        assert ask({}, order(instrument="BTC_USDT", quantity=dec("0.12345")), seen) is None

    def test_of_an_unknown_instrument_is_denied(self):
        assert code(ask({}, order(instrument="XXX_YYY"))) is C.INSTRUMENT_UNKNOWN


class TestMissingInputDenies:
    @pytest.mark.parametrize(
        ("limits", "missing", "expected"),
        [
            ({}, {"quotes": {}}, C.PRICE_MISSING),
            ({}, {"quotes": {"EUR_USD": quote("1.1", "1.0")}}, C.PRICE_INVALID),
            ({}, {"quotes": {"EUR_USD": quote("0", "1.0")}}, C.PRICE_INVALID),
            ({"daily_loss_max": dec(1)}, {"equity": None}, C.EQUITY_MISSING),
            ({"daily_loss_max": dec(1)}, {"day_start_equity": None}, C.EQUITY_MISSING),
            ({"drawdown_max": dec(1)}, {"peak_equity": None}, C.EQUITY_MISSING),
            ({"drawdown_max_percent": dec(1)}, {"peak_equity": None}, C.EQUITY_MISSING),
            ({"exposure_max": dec(10**9)}, {"positions": {"USD_JPY": dec(1)}}, C.PRICE_MISSING),
            ({"exposure_max": dec(10**9)}, {"pending": {"AAA_BBB": Pending(buy=dec(1))}}, C.PRICE_MISSING),
            (
                {"exposure_max": dec(10**9), "rate_age_max_s": dec(1)},
                {
                    "positions": {"EUR_GBP": dec(1)},
                    "quotes": {
                        "EUR_USD": quote("1.1", "1.1"),
                        "EUR_GBP": quote("1", "1", NOON_NS - 2 * SECOND_NS),
                    },
                },
                C.PRICE_STALE,
            ),
            (
                {"signal_filter": SignalFilter(confidence_threshold=dec(0))},
                {"confidence": None},
                C.CONFIDENCE,
            ),
            ({"signal_filter": SignalFilter(min_risk_reward=dec(0))}, {"risk_reward": None}, C.RISK_REWARD),
            ({}, {"ready": False}, C.NOT_READY),
        ],
    )
    def test_of_the_account(self, limits, missing, expected):
        assert code(ask(limits, seen=view(**missing))) is expected

    @pytest.mark.parametrize("limit", ["notional_max", "position_notional_max", "exposure_max"])
    def test_of_a_conversion_rate(self, limit):
        denial = ask({limit: dec(10**9)}, order(instrument="EUR_GBP"), view(rates={}))
        assert code(denial) is C.RATE_MISSING
        assert str(denial) == "there is no conversion rate from GBP to USD"

    def test_of_the_price_that_a_market_order_saw(self):
        assert code(ask({"price_collar_pips": dec(5)}, order())) is C.PRICE_COLLAR

    @pytest.mark.parametrize("field", ["price", "stop_price"])
    def test_of_a_price_that_is_none(self, field):
        assert code(ask({}, order(**{field: ZERO}))) is C.PRICE_INVALID


class TestTheWorstCase:
    limit: dict[str, Any] = {"position_max": dec(5000)}  # noqa: RUF012  # read only

    def test_adds_what_is_held_and_what_may_still_fill_on_the_orders_side(self):
        held = {"positions": {"EUR_USD": dec(3000)}, "pending": {"EUR_USD": Pending(buy=dec(1000), sell=dec(9000))}}
        assert ask(self.limit, order(quantity=dec(1000)), view(**held)) is None
        denial = ask(self.limit, order(quantity=dec(1001)), view(**held))
        assert str(denial) == ("EUR_USD would come to 5001 units with all open orders filled, allowed are 5000")

    def test_looks_the_other_way_for_a_sell(self):
        held = {"positions": {"EUR_USD": dec(-3000)}, "pending": {"EUR_USD": Pending(buy=dec(9000), sell=dec(1000))}}
        assert ask(self.limit, order(side=Side.SELL, quantity=dec(1000)), view(**held)) is None
        assert code(ask(self.limit, order(side=Side.SELL, quantity=dec(1001)), view(**held))) is C.POSITION_MAX

    def test_leaves_room_on_the_side_that_reduces(self):
        held = view(positions={"EUR_USD": dec(-3000)})
        assert ask(self.limit, order(quantity=dec(8000)), held) is None
        assert code(ask(self.limit, order(quantity=dec(8001)), held)) is C.POSITION_MAX

    def test_a_position_still_the_other_way_has_no_value_to_limit(self):
        held = view(positions={"EUR_USD": dec(-3000)})
        assert ask({"position_notional_max": dec("0.01")}, order(), held) is None

    def test_exposure_is_gross_over_all_instruments_and_their_worse_side(self):
        held = view(
            positions={"EUR_GBP": dec(-1000), "USD_JPY": ZERO},
            pending={"EUR_GBP": Pending(sell=dec(1000), buy=dec(500)), "EUR_USD": Pending(sell=dec(400))},
        )
        # 2000 short EUR_GBP are 2000 x 0.8502 x 1.25 = 2125.5; 1000 EUR_USD are 1100.2
        assert ask({"exposure_max": dec("3225.7")}, order(), held) is None
        assert code(ask({"exposure_max": dec("3225.6")}, order(), held)) is C.EXPOSURE_MAX

    def test_exposure_counts_a_sell_on_its_own_side(self):
        held = view(positions={"EUR_USD": dec(1000)})
        assert ask({"exposure_max": dec("1100.2")}, order(side=Side.SELL, quantity=dec(2000)), held) is None
        sell = order(side=Side.SELL, quantity=dec(2001))
        assert code(ask({"exposure_max": dec("1100.2")}, sell, held)) is C.EXPOSURE_MAX

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(OrderStatus),
                st.sampled_from(Side),
                st.integers(1, 5000),
                st.integers(0, 5000),
                st.sampled_from(["EUR_USD", "EUR_GBP"]),
            ),
            max_size=12,
        )
    )
    def test_what_may_fill_is_the_dumb_sum_of_open_quantities(self, rows):
        orders = [
            order(
                client_order_id=str(number),
                status=status,
                side=side,
                quantity=dec(quantity),
                filled_quantity=dec(filled),
                instrument=symbol,
            )
            for number, (status, side, quantity, filled, symbol) in enumerate(rows)
        ]
        found = pending_of(orders)
        for symbol in ("EUR_USD", "EUR_GBP"):
            for side in Side:
                expected = sum(
                    max(o.quantity - o.filled_quantity, ZERO)
                    for o in orders
                    if o.instrument == symbol and o.side is side and o.status not in TERMINAL
                )
                assert getattr(found.get(symbol, Pending()), side.value) == expected

    def test_an_order_in_doubt_counts_whole(self):
        assert pending_of([order(status=OrderStatus.UNKNOWN)])["EUR_USD"] == Pending(buy=dec(1000))

    def test_siblings_that_cancel_each_other_count_once(self):
        stop = order(client_order_id="a", purpose=Purpose.EXIT, side=Side.SELL, oco_group="g", quantity=dec(900))
        target = order(client_order_id="b", purpose=Purpose.EXIT, side=Side.SELL, oco_group="g")
        other = order(client_order_id="c", side=Side.SELL, quantity=dec(5))
        assert pending_of([stop, target, other])["EUR_USD"] == Pending(sell=dec(1005))
        assert pending_of([target, stop, other])["EUR_USD"] == Pending(sell=dec(1005))
        again = order(client_order_id="d", purpose=Purpose.EXIT, side=Side.SELL, oco_group="g")
        assert pending_of([target, stop, again])["EUR_USD"] == Pending(sell=dec(1000))

    def test_exits_that_wait_for_siblings_count_in_their_place_and_not_beside_them(self):
        child: dict[str, Any] = {"purpose": Purpose.EXIT, "side": Side.SELL, "oco_group": "tk0"}
        stop = order(client_order_id="stop", parent_id="tk0", **child)
        target = order(client_order_id="target", parent_id="tk0", **child)
        waits: dict[str, Any] = {"purpose": Purpose.EXIT, "side": Side.SELL, "after_cancel_of": ("stop", "target")}
        part = order(client_order_id="part", quantity=dec(400), **waits)
        rest = order(client_order_id="rest", quantity=dec(700), **waits)
        assert pending_of([stop, target, part])["EUR_USD"] == Pending(sell=dec(1000))
        assert pending_of([part, target, rest])["EUR_USD"] == Pending(sell=dec(1100)), "the dearer of the two"
        ended = order(client_order_id="stop", status=OrderStatus.CANCELED, parent_id="tk0", **child)
        assert pending_of([ended, part, rest])["EUR_USD"] == Pending(sell=dec(1100))
        flip = order(client_order_id="flip", side=Side.SELL, after_cancel_of=("stop", "target"))
        assert pending_of([stop, target, flip])["EUR_USD"] == Pending(sell=dec(2000)), "an entry closes nothing"

    def test_an_entry_that_turns_counts_in_the_place_of_what_protects_the_trades_that_it_closes(self):
        child: dict[str, Any] = {"purpose": Purpose.EXIT, "side": Side.SELL}
        one = order(client_order_id="s1", parent_id="e1", oco_group="e1", trade_id="t1", **child)
        two = order(client_order_id="s2", parent_id="e2", oco_group="e2", trade_id="t2", **child)
        other = order(client_order_id="s3", parent_id="e3", oco_group="e3", trade_id="t3", **child)
        waits = ("s1", "s2", "s3")
        turn = order(side=Side.SELL, quantity=dec(3000), closes=("t1", "t2"), after_cancel_of=waits)
        for orders in ([one, two, turn], [turn, two, one]):
            assert pending_of(orders)["EUR_USD"] == Pending(sell=dec(3000))
        assert pending_of([one, turn, other])["EUR_USD"] == Pending(sell=dec(4000)), "it does not close that one"

    def test_exits_of_an_entry_that_has_not_filled_can_close_nothing(self):
        entry = order(status=OrderStatus.UNKNOWN)
        attached = order(client_order_id="a", side=Side.SELL, parent_id="tk1", oco_group="tk1")
        assert pending_of([entry, attached])["EUR_USD"] == Pending(buy=dec(1000))
        part = order(status=OrderStatus.PARTIALLY_FILLED, filled_quantity=dec(300))
        assert pending_of([part, attached])["EUR_USD"] == Pending(buy=dec(700), sell=dec(300))
        assert pending_of([attached])["EUR_USD"] == Pending(sell=dec(1000))


class TestLatches:
    @pytest.mark.parametrize(
        ("latched", "expected"),
        [
            ({"latch": Latch.HALTED}, C.HALTED),
            ({"latch": Latch.REDUCE_ONLY}, C.REDUCE_ONLY),
            ({"paused": True}, C.PAUSED),
            ({"latch": Latch.HALTED, "paused": True}, C.HALTED),
            ({"stopping": True}, C.STOPPING),
            ({"paused": True, "stopping": True}, C.PAUSED),
        ],
    )
    def test_close_the_gate_for_entries(self, latched, expected):
        assert code(ask({}, seen=view(**latched))) is expected


class TestExits:
    exit_order = order(purpose=Purpose.EXIT, side=Side.SELL, quantity=dec(500))

    def leave(self, limits: dict[str, Any] | None = None, exit_: Order | None = None, **fields: Any) -> Denial | None:
        gate = RiskGate(RiskLimits(**(limits or {})))
        known = {"closable": dec(500)} | fields
        return gate.check_exit(exit_ or self.exit_order, view(**known), NOON_NS)

    def test_face_no_loss_limit_staleness_collar_pause_or_size(self):
        tight: dict[str, Any] = {
            "instruments": ("USD_JPY",),
            "quantity_max": dec(1),
            "notional_max": dec(1),
            "position_max": dec(1),
            "position_notional_max": dec(1),
            "exposure_max": dec(1),
            "price_collar_pips": dec(1),
            "orders_per_second": 1,
            "orders_per_minute": 1,
            "open_orders_max": 1,
            "daily_loss_max": dec(1),
            "drawdown_max": dec(1),
            "drawdown_max_percent": dec(1),
            "price_age_max_s": dec(1),
            "signal_filter": SignalFilter(confidence_threshold=dec(1)),
        }
        gate = RiskGate(RiskLimits(**tight))
        blind = view(
            closable=dec(500),
            quotes={},
            rates={},
            equity=None,
            latch=Latch.REDUCE_ONLY,
            paused=True,
            held="the books' server is away",
            ready=False,
            open_orders=99,
        )
        for _ in range(5):
            assert gate.check_exit(self.exit_order, blind, NOON_NS) is None

    def test_face_the_halt(self):
        assert code(self.leave(latch=Latch.HALTED)) is C.HALTED

    def test_are_not_begun_while_the_run_is_being_stopped(self):
        denial = self.leave(stopping=True)
        assert code(denial) is C.STOPPING
        assert str(denial) == "the run is being stopped, or is over: nothing new is begun"

    def test_face_what_can_be_closed(self):
        assert self.leave() is None
        denial = self.leave(closable=dec(499))
        assert code(denial) is C.CLOSABLE_SIZE
        assert str(denial) == "the exit asks for 500 units, allowed are 499"
        assert code(self.leave(closable=ZERO)) is C.NOTHING_TO_CLOSE

    def test_of_nothing_are_denied(self):
        assert code(self.leave(exit_=order(quantity=ZERO))) is C.CLOSABLE_SIZE

    def test_face_the_hard_message_rate(self):
        gate = RiskGate(RiskLimits(messages_per_second=2))
        seen = view(closable=dec(500))
        answers = [gate.check_exit(self.exit_order, seen, NOON_NS) for _ in range(3)]
        assert [code(a) for a in answers] == [None, None, C.MESSAGES_PER_SECOND]
        assert gate.check_exit(self.exit_order, seen, NOON_NS + SECOND_NS) is None

    def test_are_counted_as_orders_so_that_entries_wait_for_them(self):
        gate = RiskGate(RiskLimits(orders_per_second=1))
        assert gate.check_exit(self.exit_order, view(closable=dec(500)), NOON_NS) is None
        assert code(gate.check_entry(order(), view(), NOON_NS)) is C.ORDERS_PER_SECOND


def test_what_holds_entries_for_a_while_is_said_and_ends_with_it():
    gate = RiskGate(RiskLimits())
    denial = gate.check_entry(order(), view(held="the books' server is away"), NOON_NS)
    assert str(denial) == "no new exposure for now: the books' server is away"
    assert code(denial) is C.STORE_AWAY
    assert gate.check_entry(order(), view(), NOON_NS) is None


class TestRates:
    def entries(self, gate: RiskGate, times: list[int]) -> list[DenialCode | None]:
        return [code(gate.check_entry(order(), view(), NOON_NS + at)) for at in times]

    def test_a_second_holds_so_many_orders(self):
        gate = RiskGate(RiskLimits(orders_per_second=2))
        late = SECOND_NS - 1
        assert self.entries(gate, [0, 0, late, SECOND_NS]) == [None, None, C.ORDERS_PER_SECOND, None]

    def test_a_minute_holds_so_many_orders(self):
        gate = RiskGate(RiskLimits(orders_per_minute=2))
        times = [0, 30 * SECOND_NS, 59 * SECOND_NS, 60 * SECOND_NS]
        assert self.entries(gate, times) == [None, None, C.ORDERS_PER_MINUTE, None]

    def test_what_is_denied_is_not_counted(self):
        gate = RiskGate(RiskLimits(orders_per_second=1, quantity_max=dec(1000)))
        assert code(gate.check_entry(order(quantity=dec(2000)), view(), NOON_NS)) is C.QUANTITY_MAX
        assert gate.check_entry(order(), view(), NOON_NS) is None

    def test_cancels_and_orders_share_the_message_rate(self):
        gate = RiskGate(RiskLimits(messages_per_second=2))
        gate.rates.note_message(NOON_NS)
        assert gate.check_entry(order(), view(), NOON_NS) is None
        denial = gate.check_entry(order(), view(), NOON_NS)
        assert denial is not None
        assert denial.sentence == "2 messages have gone out within this second, which is all that is allowed"
        assert code(denial) is C.MESSAGES_PER_SECOND

    def test_survive_a_restart_through_their_saved_state(self):
        limits = RiskLimits(orders_per_second=2, orders_per_minute=3, messages_per_second=5)
        gate = RiskGate(limits)
        assert self.entries(gate, [0, 1]) == [None, None]
        saved = msgspec.msgpack.encode(gate.saved_rates())
        again = RiskGate(limits, msgspec.msgpack.decode(saved, type=type(gate.rates)))
        times = [2, SECOND_NS, SECOND_NS + 1]
        assert self.entries(again, times) == [C.ORDERS_PER_SECOND, None, C.ORDERS_PER_MINUTE]

    def test_survive_a_reload_with_other_limits(self):
        gate = RiskGate(RiskLimits(orders_per_second=3))
        assert self.entries(gate, [0, 1, 2]) == [None] * 3
        tighter = RiskGate(RiskLimits(orders_per_second=2, orders_per_minute=9), gate.rates)
        assert self.entries(tighter, [3, SECOND_NS + 1]) == [C.ORDERS_PER_SECOND, None]
        looser = RiskGate(RiskLimits(orders_per_second=4), gate.rates)
        assert self.entries(looser, [3, 4]) == [None, C.ORDERS_PER_SECOND]


class TestTheSignalFilter:
    table = SignalFilter(
        confidence_threshold=dec("0.6"), modes={}, sessions={"TOKYO": SignalRule(min_risk_reward=dec(2))}
    )

    @pytest.mark.parametrize(
        ("seen", "expected"),
        [
            ({"confidence": dec("0.6")}, None),
            ({"confidence": dec("0.59")}, C.CONFIDENCE),
            ({"confidence": dec("0.6"), "session": "TOKYO", "risk_reward": dec(2)}, None),
            ({"confidence": dec("0.6"), "session": "TOKYO", "risk_reward": dec("1.99")}, C.RISK_REWARD),
            ({"confidence": dec("0.59"), "session": "TOKYO", "risk_reward": dec(2)}, C.CONFIDENCE),
        ],
    )
    def test_holds_what_the_session_asks_for(self, seen, expected):
        assert code(ask({"signal_filter": self.table}, seen=view(**seen))) is expected

    def test_says_what_was_found_and_where(self):
        denial = ask({"signal_filter": self.table}, seen=view(confidence=dec("0.5"), parameter_mode="calm"))
        assert denial == Denial(
            C.CONFIDENCE,
            "the signal's confidence is 0.5, at least 0.6 is asked for in session LONDON, mode calm",
            "0.5",
            "0.6",
        )
        missing = ask({"signal_filter": self.table}, seen=view(session=None))
        assert str(missing) == (
            "the signal's confidence is not known, at least 0.6 is asked for in session none, mode none"
        )

    def test_answers_alike_the_second_time(self):
        gate = RiskGate(RiskLimits(signal_filter=self.table))
        for _ in range(2):
            assert gate.check_entry(order(), view(confidence=dec("0.6")), NOON_NS) is None
            assert code(gate.check_entry(order(), view(confidence=dec("0.5")), NOON_NS)) is C.CONFIDENCE

    def test_of_an_empty_table_asks_for_nothing(self):
        assert ask({"signal_filter": SignalFilter()}) is None


class TestDenials:
    def test_compare_two_figures_in_one_sentence(self):
        denial = ask({"notional_max": dec(1000)})
        assert denial == Denial(
            C.NOTIONAL_MAX, "the order is worth 1100.2000 USD, allowed are 1000", "1100.2000", "1000"
        )

    def test_say_how_stale_a_price_is(self):
        old = view(quotes={"EUR_USD": quote("1.1", "1.1", NOON_NS - 61 * SECOND_NS)})
        assert str(ask({}, seen=old)) == "the price of EUR_USD is 61 s away from now, allowed are 60 s"

    def test_say_how_many_orders_would_be_open(self):
        denial = ask({"open_orders_max": 3}, seen=view(open_orders=3))
        assert str(denial) == "4 orders would be open, allowed are 3"
        denial = ask({"open_orders_max": 3}, seen=view(open_orders=1, attached=2))
        assert denial == Denial(
            C.OPEN_ORDERS_MAX, "4 orders would be open with the entry's own exits, allowed are 3", "4", "3"
        )

    def test_say_by_how_many_pips_a_price_is_off(self):
        denial = ask({"price_collar_pips": dec(5)}, order(price=dec("1.12345")))
        assert str(denial) == "1.12345 is away from the quote by 232.5 pips, allowed are 5"

    @pytest.mark.parametrize(
        ("price", "pips"), [("1.100701", "5.1"), ("1.098765", "12.4"), ("1.1007" + "0" * 50 + "1", "5.1")]
    )
    def test_never_say_that_a_price_off_by_more_is_off_by_what_is_allowed(self, price, pips):
        """The gate is asked inside the ledger, where a rounding without a name raises: it must deny, not crash."""
        denial = ask({"price_collar_pips": dec(5)}, order(price=dec(price)))
        assert str(denial) == f"{price} is away from the quote by {pips} pips, allowed are 5"

    def test_say_how_stale_a_price_is_to_the_nanosecond_in_every_context(self):
        old = view(quotes={"EUR_USD": quote("1.1", "1.1", NOON_NS - 61_000_000_001)})
        with decimal.localcontext(decimal.Context(prec=3)):
            assert str(ask({}, seen=old)) == "the price of EUR_USD is 61.000000001 s away from now, allowed are 60 s"

    @pytest.mark.parametrize(("lost", "percent"), [(dec(500), "5"), (dec("512.345"), "5.12"), (dec(12_000), "120")])
    def test_say_how_deep_the_drawdown_is(self, lost, percent):
        denial = ask({"drawdown_max_percent": dec(5)}, seen=view(equity=dec(10_000) - lost))
        assert str(denial) == f"equity is below its peak by {percent} percent, allowed are 5"

    def test_an_account_whose_peak_is_gone_has_lost_everything(self):
        denial = ask({"drawdown_max_percent": dec(5)}, seen=view(equity=dec(-1), peak_equity=ZERO))
        assert str(denial) == "equity is below its peak by 100 percent, allowed are 5"

    def test_nothing_is_lost_at_the_peak_of_nothing(self):
        assert ask({"drawdown_max_percent": dec(5)}, seen=view(equity=ZERO, peak_equity=ZERO)) is None


class TestTheGateIsPure:
    everything = RiskLimits(
        quantity_max=dec(10**6),
        notional_max=dec(10**7),
        position_max=dec(10**7),
        position_notional_max=dec(10**7),
        exposure_max=dec(10**8),
        price_collar_pips=dec(100),
        open_orders_max=100,
        daily_loss_max=dec(500),
        drawdown_max=dec(1000),
        drawdown_max_percent=dec(10),
    )

    @given(
        st.sampled_from(Side),
        st.integers(1, 2 * 10**6),
        st.integers(-(10**7), 10**7),
        st.integers(0, 10**7),
        st.integers(8_000, 11_000),
    )
    def test_the_same_question_has_the_same_answer_in_every_decimal_context(self, side, quantity, net, pending, equity):
        entry = order(side=side, quantity=dec(quantity), reference_price=dec("1.1"))
        seen = view(
            positions={"EUR_USD": dec(net)},
            pending={"EUR_USD": Pending(dec(pending), dec(pending))},
            equity=dec(equity),
        )
        first = RiskGate(self.everything).check_entry(entry, seen, NOON_NS)
        with decimal.localcontext(decimal.Context(prec=3)):
            assert RiskGate(self.everything).check_entry(entry, seen, NOON_NS) == first
        with ledger():
            assert RiskGate(self.everything).check_entry(entry, seen, NOON_NS) == first

    @given(st.integers(1, 3000), st.integers(1, 3000), st.integers(-3000, 3000), st.integers(0, 3000))
    def test_what_passes_never_exceeds_the_position_whatever_fills(self, quantity, limit, net, pending):
        entry = order(quantity=dec(quantity))
        seen = view(positions={"EUR_USD": dec(net)}, pending={"EUR_USD": Pending(buy=dec(pending))})
        passed = ask({"position_max": dec(limit)}, entry, seen) is None
        assert passed == (net + pending + quantity <= limit)


class TestTheLimitsThemselves:
    def test_are_read_from_toml(self):
        found = msgspec.convert(
            {
                "instruments": ["EUR_USD"],
                "notional_max": "10000",
                "orders_per_second": 5,
                "drawdown_max_percent": 2.5,
                "on_trip": "halt",
                "signal_filter": {
                    "confidence_threshold": 0.6,
                    "sessions": {"TOKYO": {"confidence_threshold": 0.7}},
                    "modes": {"calm": {"min_risk_reward": 2, "sessions": {"NY": {"min_risk_reward": 3}}}},
                },
            },
            RiskLimits,
        )
        assert (found.notional_max, found.drawdown_max_percent, found.on_trip) == (dec(10_000), dec("2.5"), "halt")
        assert found.signal_filter.rule("NY", "calm").min_risk_reward == 3

    @pytest.mark.parametrize(
        ("where", "table"),
        [
            ("", lambda rule: rule),
            (".sessions.TOKYO", lambda rule: {"sessions": {"TOKYO": rule}}),
            (".modes.calm", lambda rule: {"modes": {"calm": rule}}),
            (".modes.calm.sessions.NY", lambda rule: {"modes": {"calm": {"sessions": {"NY": rule}}}}),
        ],
    )
    def test_ask_for_a_confidence_from_0_to_1_wherever_it_stands_in_the_file(self, where, table):
        for value, allowed in (("0", True), ("1", True), ("-0.01", False), ("1.01", False), ("55", False)):
            problems: list[str] = []
            rule = {"confidence_threshold": dec(value)}
            found = decode({"signal_filter": table(rule)}, RiskLimits, "risk", problems)
            assert (found is not None) is allowed
            said = f"found {value} (a number), allowed: a decimal number from 0 to 1"
            assert problems == ([] if allowed else [f"risk.signal_filter{where}.confidence_threshold: {said}"])

    @pytest.mark.parametrize("name", sorted(BOUNDS))
    @pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "1e30"])
    def test_must_be_above_zero_and_within_reason(self, name, value):
        wrong: Any = (
            int(float(value)) if name.endswith(("second", "minute", "orders_max")) and value[0] in "0-1" else dec(value)
        )
        with pytest.raises(ValueError, match=f"{name} must be above 0 and at most"):
            RiskLimits(**{name: wrong})

    def test_of_age_hold_to_the_nanosecond_and_allow_no_more_than_was_set(self):
        limits = {"price_age_max_s": dec("1.2500000019" + "9" * 50)}
        for age_ns, expected in ((1_250_000_001, None), (1_250_000_002, C.PRICE_STALE)):
            seen = view(quotes={"EUR_USD": quote("1.1", "1.1", NOON_NS - age_ns)})
            assert code(ask(limits, seen=seen)) is expected

    def test_are_all_bounded(self):
        free = {"instruments", "on_trip", "signal_filter"}
        assert set(RiskLimits.__struct_fields__) == set(BOUNDS) | free

    def test_name_all_that_is_wrong_at_once(self):
        with pytest.raises(ValueError, match=r"quantity_max .*found -1; instruments is an empty list"):
            RiskLimits(quantity_max=dec(-1), instruments=())

    def test_refuse_a_word_they_do_not_know(self):
        with pytest.raises(msgspec.ValidationError, match="unknown field `notionl_max`"):
            msgspec.convert({"notionl_max": 1}, RiskLimits)

    def test_tell_which_input_they_need(self):
        assert not RiskLimits().needs_equity
        assert not RiskLimits().needs_value
        assert RiskLimits(drawdown_max=dec(1)).needs_equity
        assert RiskLimits(exposure_max=dec(1)).needs_value


def test_a_gate_is_quick_to_say_what_it_never_looked_at():
    """An account without limits needs no rates, no equity and no positions."""
    bare = RiskView(
        account_currency="USD",
        instruments={"EUR_USD": CATALOGUE["EUR_USD"]},
        quotes={"EUR_USD": quote("1", "1")},
    )
    assert RiskGate(RiskLimits()).check_entry(order(), bare, NOON_NS) is None


def test_a_lot_that_is_not_one_is_held_to_its_grid():
    gold = Instrument(
        symbol="XAU_USD",
        base="XAU",
        quote="USD",
        tick_size=Decimal("0.01"),
        pip_size=Decimal("0.1"),
        lot_step=dec(100),
        quantity_min=dec(100),
    )
    seen = view(instruments={"XAU_USD": gold}, quotes={"XAU_USD": quote("2000", "2001")})
    assert ask({}, order(instrument="XAU_USD", quantity=dec(300)), seen) is None
    assert code(ask({}, order(instrument="XAU_USD", quantity=dec(350)), seen)) is C.QUANTITY_INVALID
