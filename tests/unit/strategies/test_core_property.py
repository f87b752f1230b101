"""Strategists in windows of any size, put back whenever somebody decides earlier, restored from any state: one way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.days import costs, story, world
from tests.unit.domain.gambler import Gambler, GamblerParams
from tests.unit.domain.markets import tick_bars, walk
from tests.unit.domain.world import EUR, RUN, Unlucky, World
from tradekeel.domain import records as r
from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Decision, Stamp
from tradekeel.domain.recovery import view_at
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.domain.view import View
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore, _Base
from tradekeel.strategies.saving import decode_execution_state

pytestmark = pytest.mark.untraced
"""The lines of a day are those that the cores' own tests run."""

D = Decimal
seeds = st.integers(0, 10**6)


def gamblers(seed: int, count: int = 3) -> dict[str, Gambler]:
    """Some that decide often and some that hardly do; the last one wants bars."""
    return {
        f"s{n}": Gambler(GamblerParams(seed=seed + n, one_in=3 + 5 * n, answers=n == 1, bars=n == count - 1))
        for n in range(count)
    }


def day(seed: int, window: int, cut_every: int = 3, unlucky: Unlucky | None = None) -> World:
    ticks = walk(seed, 90, symbols=("EUR_USD", "GBP_USD"))
    return World(
        ticks,
        gamblers(seed),
        symbols=("EUR_USD", "GBP_USD"),
        exits_at_venue=False,
        bars=tick_bars(ticks),
        window=window,
        cut_every=cut_every,
        unlucky=unlucky,
    ).run()


@given(seeds, st.integers(2, 100))
def test_the_size_of_the_windows_changes_nothing(seed: int, window: int) -> None:
    """In windows of one tick nobody ever runs ahead of anybody: that is the straight run."""
    straight, ahead = day(seed, 1), day(seed, window)

    assert ahead.journal == straight.journal
    assert story(ahead) == story(straight)
    for name, core in ahead.strategists.items():
        assert core.save() == straight.strategists[name].save()


@given(seeds, st.integers(1, 40), st.integers(0, 4))
def test_nor_does_how_often_states_are_saved(seed: int, window: int, cut_every: int) -> None:
    assert day(seed, window, cut_every).journal == day(seed, 16, 3).journal


class Alone:
    """One strategist over the journal of a day that is over: what it decides must be what it decided then."""

    def __init__(self, done: World, name: str) -> None:
        self.done, self.name = done, name
        self.entries: Sequence[Entry] = done.tail
        self.decided: dict[int, Decision] = {}
        self.saved: list[tuple[bytes, int]] = []
        self.settings = StrategySettings(name=name, execution=RUN, instruments=done.instruments)

    def fresh(self) -> StrategistCore:
        return self._core(View(strategy=self.name), None)

    def restored(self, state: bytes) -> StrategistCore:
        saved = decode_execution_state(state)
        return self._core(view_at(None, self.entries, self.name, saved.inbox), state)

    def _core(self, view: View, state: bytes | None) -> StrategistCore:
        saved = None if state is None else decode_execution_state(state)
        core = StrategistCore(self.done.strategies[self.name], self.settings, view, saved)
        core.deliver([e for e in self.entries if e.sequence > view.inbox])
        core.start(self.done.now_ns)
        return core

    def walk(self, core: StrategistCore, window: int, *, save: bool = False) -> StrategistCore:
        """To the end of the day, whoever else decides what."""
        ticks = self.done.ticks
        for start in range(0, len(ticks), window):
            part = ticks[start : start + window]
            bars = {i: self.done.bars[start + i] for i in range(len(part)) if start + i in self.done.bars}
            until = Stamp.after(part[-1].position)
            if core.position >= part[-1].position and core.stamp >= until and not core.has_more(until):
                continue
            self._window(core, TickWindow(tuple(part), bars), until)
            if save:
                self.saved.append((core.save(), part[-1].position))
        return core

    def _window(self, core: StrategistCore, window: TickWindow, until: int) -> None:
        while True:
            stamp = core.run(window, until)
            if stamp >= until and not core.has_more(until):
                return
            decision = core.confirm(window, stamp)
            if decision is not None:
                self.decided[decision.number] = decision


@given(seeds, st.sampled_from(["a", "b"]), st.integers(1, 50), st.randoms(use_true_random=False))
def test_alone_with_the_journal_a_strategist_takes_the_same_decisions_from_any_state_it_saved(
    seed: int, name: str, window: int, chance: random.Random
) -> None:
    done = world(seed & ~1, settings=costs, cut_every=0).run()
    straight = Alone(done, name)
    end = straight.walk(straight.fresh(), window, save=True)
    own = {number: d for (who, number), d in done.decisions.items() if who == name}
    assert _contents(straight.decided) == _contents(own)

    states = [state for state, _ in straight.saved] + [d.state for d in straight.decided.values()]
    for state in chance.sample(states, min(3, len(states))):
        again = Alone(done, name)
        assert again.walk(again.restored(state), window).save() == end.save()
        number = decode_execution_state(state).decisions
        assert _contents(again.decided) == {k: v for k, v in _contents(straight.decided).items() if k > number}


def _contents(decisions: dict[int, Decision]) -> dict[int, tuple[object, ...]]:
    return {n: (d.position, d.stamp, d.inbox, d.requests, d.state) for n, d in decisions.items()}


@given(seeds, st.integers(1, 60), st.integers(0, 60))
def test_going_back_is_as_if_it_had_never_gone_ahead(seed: int, ahead: int, back: int) -> None:
    ticks = walk(seed, 60)
    window = TickWindow(tuple(ticks), tick_bars(ticks))
    settings = StrategySettings(name="s", execution=RUN, instruments={EUR: CATALOGUE[EUR]})
    gambler = Gambler(GamblerParams(seed=seed, one_in=40, bars=True))

    def fresh() -> StrategistCore:
        core = StrategistCore(gambler, settings, View(strategy="s"), None)
        core.start(ticks[0].ts_ns)
        return core

    went, stayed = fresh(), fresh()
    reached = went.run(window, Stamp.after(ahead))
    to = min(reached, Stamp.after(back))
    first = went.confirm(window, to)
    assert stayed.run(window, to) == to
    second = stayed.confirm(window, to)

    assert _contents({1: first} if first else {}) == _contents({1: second} if second else {})
    assert went.save() == stayed.save()
    assert deepcopy(went.state) == stayed.state


def test_the_days_are_busy_enough_to_mean_something() -> None:
    """Strategists really run ahead and are put back, several decide at one tick, and some decide on news."""
    backs, answers, together = 0, 0, 0
    rewind = StrategistCore._rewind

    class Counting(StrategistCore):
        def _rewind(self, base: _Base, window: TickWindow | None, stamp: int) -> None:
            nonlocal backs
            backs += 1
            rewind(self, base, window, stamp)

    for seed in range(5):
        done = day(seed, 32)
        by_stamp: dict[int, set[str]] = {}
        for _, record in done.decoded():
            if isinstance(record, r.DecisionTaken):
                by_stamp.setdefault(record.stamp, set()).add(record.strategy)
                answers += record.stamp % 2 == 0
        together += sum(len(names) > 1 for names in by_stamp.values())
        for name, strategy in done.strategies.items():
            settings = StrategySettings(name=name, execution=RUN, instruments=done.instruments)
            core = Counting(strategy, settings, View(strategy=name), None)
            ticks: list[Tick] = done.ticks[:16]
            core.run(TickWindow(tuple(ticks)), Stamp.after(16))
            core.confirm(TickWindow(tuple(ticks)), Stamp.after(1))
    assert backs >= 5
    assert answers >= 5
    assert together >= 5
