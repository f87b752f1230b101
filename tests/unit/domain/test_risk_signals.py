"""The signal filter's table: the most specific entry that sets a figure wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Side
from tradekeel.domain.risk_signals import ModeRule, SignalFilter, SignalRule, risk_reward

FULL = SignalFilter(
    confidence_threshold=dec("0.1"),
    min_risk_reward=dec(1),
    sessions={"TOKYO": SignalRule(confidence_threshold=dec("0.2"))},
    modes={
        "calm": ModeRule(
            confidence_threshold=dec("0.3"),
            sessions={"TOKYO": SignalRule(confidence_threshold=dec("0.4")), "NY": SignalRule(min_risk_reward=dec(9))},
        ),
    },
)


@pytest.mark.parametrize(
    ("session", "mode", "confidence", "ratio"),
    [
        ("LONDON", None, "0.1", 1),
        ("TOKYO", None, "0.2", 1),
        ("LONDON", "calm", "0.3", 1),
        ("TOKYO", "calm", "0.4", 1),
        ("NY", "calm", "0.3", 9),
        ("TOKYO", "another mode", "0.2", 1),
        (None, "calm", "0.3", 1),
        (None, None, "0.1", 1),
    ],
)
def test_the_most_specific_entry_that_sets_a_figure_wins(session, mode, confidence, ratio):
    rule = FULL.rule(session, mode)
    assert (rule.confidence_threshold, rule.min_risk_reward) == (dec(confidence), dec(ratio))


def test_a_figure_that_no_entry_sets_is_not_asked_for():
    rule = SignalFilter(sessions={"NY": SignalRule(min_risk_reward=dec(2))}).rule("TOKYO", None)
    assert (rule.confidence_threshold, rule.min_risk_reward) == (None, None)


@pytest.mark.parametrize(
    ("table", "asks"),
    [
        (SignalFilter(), False),
        (SignalFilter(sessions={"NY": SignalRule()}, modes={"calm": ModeRule(sessions={"NY": SignalRule()})}), False),
        (SignalFilter(min_risk_reward=ZERO), True),
        (SignalFilter(sessions={"NY": SignalRule(confidence_threshold=ZERO)}), True),
        (SignalFilter(modes={"calm": ModeRule(confidence_threshold=ZERO)}), True),
        (SignalFilter(modes={"calm": ModeRule(sessions={"NY": SignalRule(min_risk_reward=ZERO)})}), True),
    ],
)
def test_a_table_knows_whether_it_asks_for_anything(table, asks):
    assert table.asks_anything is asks


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence_threshold", "-0.01"),
        ("confidence_threshold", "1.01"),
        ("confidence_threshold", "NaN"),
        ("min_risk_reward", "-1"),
        ("min_risk_reward", "1001"),
        ("min_risk_reward", "Infinity"),
    ],
)
@pytest.mark.parametrize("kind", [SignalRule, ModeRule, SignalFilter])
def test_figures_outside_of_their_range_are_refused(kind, field, value):
    with pytest.raises(ValueError, match=f"{field} must be from 0 to .*found {value}"):
        kind(**{field: dec(value)})


@pytest.mark.parametrize("kind", [ModeRule, SignalFilter])
def test_a_session_that_does_not_exist_is_refused(kind):
    with pytest.raises(ValueError, match="unknown session PARIS: choose from LONDON, NY, OVERLAP, SYDNEY, TOKYO"):
        kind(sessions={"PARIS": SignalRule()})


class TestRiskReward:
    @pytest.mark.parametrize(
        ("side", "entry", "stop", "target", "ratio"),
        [
            (Side.BUY, "1.10", "1.09", "1.12", "2"),
            (Side.SELL, "1.10", "1.11", "1.07", "3"),
            (Side.BUY, "1.10", "1.07", "1.12", "0.666666"),
        ],
    )
    def test_is_reward_over_risk_rounded_down(self, side, entry, stop, target, ratio):
        assert risk_reward(side, dec(entry), dec(stop), dec(target)) == dec(ratio)

    @pytest.mark.parametrize(
        ("entry", "stop", "target"),
        [
            (None, "1.09", "1.12"),
            ("1.10", None, "1.12"),
            ("1.10", "1.09", None),
            ("1.10", "1.11", "1.12"),  # a stop on the winning side
            ("1.10", "1.09", "1.08"),  # a target on the losing side
            ("1.10", "1.10", "1.12"),
            ("1.10", "1.09", "1.10"),
        ],
    )
    def test_is_none_where_it_makes_no_sense(self, entry, stop, target):
        prices = [None if p is None else dec(p) for p in (entry, stop, target)]
        assert risk_reward(Side.BUY, *prices) is None

    def test_of_levels_further_apart_than_the_ledger_has_digits_is_a_figure_all_the_same(self):
        low, middle, high = dec("1e-38"), dec("1e30"), dec("1e38")
        assert risk_reward(Side.BUY, middle, low, high) == dec("99999999")
        assert risk_reward(Side.SELL, middle, high, low) == ZERO
        assert risk_reward(Side.BUY, low, middle, high) is None

    @given(*[st.decimals(min_value=1, max_value=2, places=5) for _ in range(3)])
    def test_of_a_sell_is_that_of_the_mirrored_buy(self, entry, stop, target):
        mirrored = risk_reward(Side.SELL, -entry, -stop, -target)
        assert risk_reward(Side.BUY, entry, stop, target) == mirrored
