"""The contract: what a strategy that overrides nothing does, and what a class must show before it trades."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct

from tests.unit.strategies.driver import D, Market
from tradekeel.domain.messages import Request
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.errors import InputError
from tradekeel.strategies.base import (
    HANDLERS,
    Paused,
    Resumed,
    Started,
    Stopped,
    Strategy,
    StrategyContext,
    TimerFired,
    check_strategy_class,
    overrides,
)


class NoParams(Struct, frozen=True):
    pass


class Counted(Struct, frozen=True):
    count: int = 0


class Quiet(Strategy[NoParams, Counted]):
    Params = NoParams
    State = Counted


class Counter(Quiet):
    def on_tick(self, tick: Tick, state: Counted, context: StrategyContext) -> tuple[Counted, Sequence[Request]]:
        return Counted(state.count + 1), ()


class Pair(Struct, frozen=True):
    prices: tuple[Decimal, Decimal]


class Nested(Struct, frozen=True):
    parts: tuple[Pair, ...] = ()
    by_name: dict[str, int] = {}
    flags: frozenset[str] = frozenset()
    maybe: Pair | None = None


class Loose(Struct):
    price: int = 0


class HoldsLoose(Struct, frozen=True):
    part: Loose | None = None


class HoldsList(Struct, frozen=True):
    prices: dict[str, tuple[list[int], ...]] = {}


class HoldsSet(Struct, frozen=True):
    names: set[str] = set()


class HoldsObject(Struct, frozen=True):
    thing: Market | None = None


class Recursive(Struct, frozen=True):
    inner: Recursive | None = None


def strategy_of(state: Any, params: Any = NoParams, version: int = 1) -> type[Strategy[Any, Any]]:
    return type("Mine", (Strategy,), {"State": state, "Params": params, "state_version": version})


def test_a_strategy_that_overrides_nothing_changes_nothing_and_asks_for_nothing():
    m = Market(Quiet(NoParams()))
    before = m.state
    m.tick("1.1", "1.2")
    m.call(m.strategy.on_bar, Bar("EUR_USD", "1m", 0, 1, D(1), D(1), D(1), D(1), 1))
    m.call(m.strategy.on_timer, TimerFired(name="t", ts_ns=1))
    m.call(m.strategy.on_pause, Paused(ts_ns=1))
    m.call(m.strategy.on_resume, Resumed(ts_ns=1))
    m.call(m.strategy.on_stop, Stopped(ts_ns=1))
    m.call(m.strategy.on_start, Started(ts_ns=1, resumed=True))
    assert m.state is before
    assert m.log == []
    assert m.strategy.timeframes() == ()
    assert m.strategy.is_warm(m.state)


def test_only_handlers_of_its_own_are_overrides():
    assert overrides(Counter(NoParams()), "on_tick")
    assert [name for name in HANDLERS if overrides(Counter, name)] == ["on_tick"]
    assert not any(overrides(Quiet, name) for name in HANDLERS)


def test_a_handler_that_does_not_exist_is_a_mistake_of_the_caller():
    with pytest.raises(InputError, match="'on_tack' is no handler of a strategy: on_start, on_tick"):
        overrides(Quiet, "on_tack")


def test_a_frozen_state_of_values_passes():
    for state in (Counted, Nested, Recursive):
        check_strategy_class(strategy_of(state))


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (strategy_of(Loose), "Mine.State is not frozen. Write `class Loose.Struct, frozen=True.`: the same ticks"),
        (strategy_of(Counted, Loose), "Mine.Params is not frozen"),
        (strategy_of(HoldsLoose), "HoldsLoose.part is a Loose, which is not frozen"),
        (strategy_of(HoldsList), "HoldsList.prices is a list; use tuple"),
        (strategy_of(HoldsSet), "HoldsSet.names is a set; use frozenset"),
        (strategy_of(HoldsObject), "HoldsObject.thing is a Market, which msgspec cannot save"),
        (strategy_of(int), "Mine.State must be a class derived from msgspec.Struct, found <class 'int'>"),
        (strategy_of(Counted, version=0), "state_version counts from 1, found 0"),
        (type("Mine", (Strategy,), {"Params": NoParams}), "Mine has no State"),
        (type("Mine", (Strategy,), {"State": Counted}), "Mine has no Params"),
    ],
)
def test_what_could_be_changed_or_not_be_saved_is_refused_with_what_to_do(cls: Any, words: str):
    with pytest.raises(InputError, match=words):
        check_strategy_class(cls)
