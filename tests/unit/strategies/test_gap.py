"""After a restart on a live feed: the ticks in between are gone, and the journal's news of that time is taken all the same."""

from __future__ import annotations

from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Stamp
from tradekeel.domain.records import DaemonStarted
from tradekeel.domain.view import View
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

FRONTIER = Stamp.after(40)


def core_with_news_of_tick_40() -> StrategistCore:
    settings = StrategySettings(name="ema", execution="e", instruments={"EUR_USD": CATALOGUE["EUR_USD"]})
    core = StrategistCore(EmaCross(EmaCrossParameters()), settings, View(strategy="ema"), None)
    core.deliver([Entry(1, DaemonStarted(ts_ns=1, stamp=FRONTIER, version="1", wall_ns=1))])
    return core


def test_news_waits_for_the_ticks_before_it_where_the_feed_comes_back_to_them() -> None:
    core = core_with_news_of_tick_40()
    assert core.run(None, FRONTIER) < FRONTIER
    assert core.view.inbox == 0


def test_where_those_ticks_are_gone_nothing_waits_for_them() -> None:
    core = core_with_news_of_tick_40()
    core.skip(40)
    assert core.run(None, FRONTIER) == FRONTIER
    assert (core.view.inbox, core.position) == (1, 40)


def test_a_strategy_is_never_put_back() -> None:
    core = core_with_news_of_tick_40()
    core.skip(40)
    core.skip(12)
    assert core.position == 40


def test_ticks_that_are_missed_in_the_middle_are_told_and_it_has_to_warm_up_again() -> None:
    core = core_with_news_of_tick_40()
    core.skip(40)
    core.run(None, FRONTIER)
    core.warm = True
    core.skip(90)
    assert not core.miss(5_000_000_000)
    assert not core.warm
    assert (core.position, core.stamp) == (90, Stamp.after(90))


def test_nobody_is_put_back_behind_what_was_missed() -> None:
    core = core_with_news_of_tick_40()
    core.skip(90)
    core.miss(5_000_000_000)
    assert core.confirm(None, Stamp.after(41)) is None
    assert core.stamp == Stamp.after(90)
