"""What is kept of closed trades: a ratio that is computed faster than the trade does it, and a log that stays small."""

from __future__ import annotations

import decimal
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec, trade
from tradekeel.domain.performance_trades import (
    REOPENABLE_MAX,
    SETTLED_AT_ONCE,
    SUMS,
    Streaks,
    TradeLog,
    closing_of,
    net_of,
    risk_reward,
)
from tradekeel.domain.trades import TradeStatus

levels = (
    st.none()
    | st.decimals(min_value=Decimal("0.5"), max_value=2, places=5)
    | st.sampled_from([dec("1e39"), dec("1e95")])
)
quantities = st.sampled_from([dec(0), dec(1), dec(3), dec(7)])


@given(levels, levels, quantities, st.decimals(min_value=1, max_value=9, places=5))
def test_the_risk_reward_is_the_trades_own(stop, target, quantity, value):
    one = trade(initial_stop_loss=stop, take_profit=target, entered_quantity=quantity, entry_value=value)
    assert risk_reward(one) == one.risk_reward_ratio


def test_a_stop_at_the_entry_risks_nothing_and_has_no_ratio():
    at = trade(initial_stop_loss=dec("1.1"), take_profit=dec(2), entered_quantity=dec(2), entry_value=dec("2.2"))
    assert risk_reward(at) is at.risk_reward_ratio is None


@given(st.lists(st.decimals(min_value=-9, max_value=9, places=9), min_size=4, max_size=4))
def test_the_result_is_the_trades_own(amounts):
    gross, entry_fee, exit_fee, financing = amounts
    one = trade(gross_pnl=gross, entry_fee=entry_fee, exit_fee=exit_fee, financing=financing)
    with decimal.localcontext(SUMS):
        assert net_of(one) == one.pnl


def test_a_trade_that_broke_even_ends_a_streak() -> None:
    streaks = Streaks()
    for pnl in (1, 1, 0, 1, -1, -1, -1, 0, -1):
        streaks.follow(dec(pnl))
    assert (streaks.winning, streaks.losing, streaks.run) == (2, 3, -1)


def test_the_log_keeps_what_may_be_taken_back_and_leaves_the_rest_in_portions() -> None:
    log = TradeLog()
    closings = REOPENABLE_MAX + 2 * SETTLED_AT_ONCE
    with decimal.localcontext(SUMS):
        for number in range(closings):
            one = trade(trade_id=f"t{number}", status=TradeStatus.CLOSED, gross_pnl=dec(number))
            log.add(one.trade_id, closing_of(one, dec(0), None))
            assert len(log.last) < REOPENABLE_MAX + SETTLED_AT_ONCE
    assert list(log.last) == [f"t{number}" for number in range(closings - REOPENABLE_MAX, closings)]
    assert log.total.count == 2 * SETTLED_AT_ONCE
    assert log.settled().total.best == closings - 1
    assert log.take("t0") is None
    assert log.take(f"t{closings - 1}") is not None
    assert log.settled().total.best == closings - 2
