"""What is of another kind than what a backtest asks for is refused at once, in words that say what to give instead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs

from tests.unit.feeds.markets import ticks_of
from tradekeel.backtest import BacktestExecutor, FeedSource, TicksSource
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.matching.terms import Commission, Slippage
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

TICKS = ticks_of(100)
FAST = EmaCross(EmaCrossParameters(fast=5, slow=20))
EUR_USD = CATALOGUE["EUR_USD"]


def backtest(**other: Any) -> BacktestExecutor:
    given: dict[str, Any] = {"data_source": TICKS, "strategy": FAST, "initial_balance": Decimal(10_000)}
    return BacktestExecutor(**(given | other))


def unlike(value: object) -> Any:
    """What no type checker would let pass."""
    return value


class Half:
    """A source of which half is missing."""

    info = TicksSource(TICKS).info

    def windows(self, after: int = 0) -> Sequence[Any]:
        return ()


class About(TicksSource):
    """A source that says something else about itself."""

    def __init__(self, **said: Any) -> None:
        super().__init__(TICKS)
        self.info = structs.replace(self.info, **said)


class Nobody:
    """No strategy."""


class Params(Struct, frozen=True):
    fast: int = 5


class Other(Struct, frozen=True):
    fast: int = 5


class State(Struct, frozen=True):
    """Nothing."""


class Quiet(Strategy[Params, State]):
    Params = Params
    State = State


class Unmade(Quiet):
    def __init__(self) -> None:
        """Without parameters."""


def price(bid: Any, ts_ns: Any = 1) -> list[Tick]:
    return [Tick("EUR_USD", ts_ns, bid, Decimal("1.1"), 1)]


WRONG: dict[str, tuple[Any, str]] = {
    "a path": (
        ("data_source", "ticks.csv"),
        "is a path, 'ticks.csv', and has to be read: tick_data(\"ticks.csv\", instrument=",
    ),
    "a Path": (
        ("data_source", Path("a/ticks.csv")),
        'tick_data("a/ticks.csv", instrument="EUR_USD"), with `from tradekeel.scr',
    ),
    "a generator": (
        ("data_source", (tick for tick in TICKS)),
        "data_source is a generator, which can be gone through once, and",
    ),
    "an iterator": (("data_source", iter(TICKS)), "give list(…) of it"),
    "a dict": (("data_source", {1: 2}), 'data_source is a dict, {1: 2}: give tick_data("ticks.csv"), with'),
    "nothing": (("data_source", None), "data_source is None: give tick_data("),
    "a class of sources": (
        ("data_source", TicksSource),
        "data_source is the class TicksSource: give one that is made, such as",
    ),
    "half a source": (
        ("data_source", Half()),
        "is a Half, which lacks quality, progress, close: a source of ticks has all",
    ),
    "rows": (("data_source", [("EUR_USD", 1, 1.1, 1.2)]), 'tick 1 is a tuple: make each with Tick("EUR_USD", 1_700'),
    "binary prices": (
        ("data_source", price(1.1)),
        "tick 1 has the bid 1.1, the ask Decimal('1.1') and the time 1: prices are Decimal",
    ),
    "text for a time": (
        ("data_source", price(Decimal("1.1"), "2024")),
        "and the time '2024': prices are Decimal, and the time whole nano",
    ),
    "no tick": (("data_source", []), "there are no ticks"),
    "no number for a price": (
        ("data_source", price(Decimal("NaN"))),
        "tick 1 has the bid NaN and the ask 1.1: prices are",
    ),
    "a price without end": (
        ("data_source", price(Decimal("Infinity"))),
        "the bid Infinity and the ask 1.1: prices are above",
    ),
    "a price of nothing": (
        ("data_source", price(Decimal(0))),
        "tick 1 has the bid 0 and the ask 1.1: prices are above zero",
    ),
    "a time in another unit": (
        ("data_source", price(Decimal("1.1"), 2**70)),
        "tick 1 has the time 1180591620717411303424, which is not between 1970 and 2200: it is nanoseconds UTC",
    ),
    "a time before 1970": (
        ("data_source", price(Decimal("1.1"), -5)),
        "tick 1 has the time -5, which is not between 1970",
    ),
    "true for a time": (
        ("data_source", price(Decimal("1.1"), True)),
        "and the time True: prices are Decimal, and the time",
    ),
    "nothing for an instrument": (
        ("data_source", [structs.replace(TICKS[0], instrument=unlike(None))]),
        "tick 1 has the instrument None, which is no text: make each with Tick(",
    ),
    "a binary size": (
        ("data_source", [structs.replace(TICKS[0], bid_size=unlike(1.5))]),
        "tick 1 has the sizes 1.5 and Decimal('0.10'): sizes are Decimal, not below zero, or None",
    ),
    "a source of no instruments": (("data_source", About(instruments=())), "its info names no instruments"),
    "one of letters": (
        ("data_source", About(instruments="EUR_USD")),
        "info: instruments is a str, 'EUR_USD': expected",
    ),
    "a strategy's class": (
        ("strategy", EmaCross),
        "strategy is the class EmaCross: give an instance of it, EmaCross(EmaCrossParameters(…))",
    ),
    "a strategy's name": (
        ("strategy", "ema_cross"),
        "strategy is a str, 'ema_cross': give an instance of a class that is derived from",
    ),
    "no strategy at all": (
        ("strategy", Nobody()),
        "strategy is a Nobody: give an instance of a class that is derived from",
    ),
    "several in a list": (
        ("strategy", [FAST]),
        'strategy is a list: give one strategy, or several by their names: {"fast": EmaCross(',
    ),
    "a class among several": (("strategy", {"a": FAST, "b": EmaCross}), "strategy 'b' is the class EmaCross"),
    "a number for a name": (("strategy", {1: FAST}), "strategy has an int, 1 for a name"),
    "a table for parameters": (
        ("strategy", Quiet(unlike({"fast": 5}))),
        "the parameters of Quiet are a dict, {'fast': 5}: make it with Quiet(Params(…))",
    ),
    "another's parameters": (("strategy", Quiet(unlike(Other()))), "the parameters of Quiet are an Other"),
    "none made": (("strategy", Unmade()), "the parameters of Unmade are None: make it with Unmade(Params(…))"),
    "a fraction for a count": (
        ("strategy", EmaCross(EmaCrossParameters(fast=unlike(5.5)))),
        "EmaCrossParameters: fast is a float, 5.5: expected `int`, got `float`",
    ),
    "a binary distance": (
        ("strategy", EmaCross(EmaCrossParameters(stop_loss_pips=unlike(1.5)))),
        'stop_loss_pips is a float, 1.5: expected `decimal`, got `float`; write Decimal("1.5")',
    ),
    "binary money": (
        ("initial_balance", 10_000.0),
        'initial_balance is a float, 10000.0, and binary fractions are not exact: give Decimal("10000"),',
    ),
    "money in words": (("initial_balance", "10,000"), "initial_balance: '10,000' is not a decimal number"),
    "true for money": (("initial_balance", True), "initial_balance is a bool, True"),
    "no money": (("initial_balance", 0), "initial_balance must be above zero, found 0"),
    "no number": (("initial_balance", Decimal("NaN")), "initial_balance must be above zero, found NaN"),
    "small letters": (("currency", "usd"), "currency is a str, 'usd': give one in capitals, like \"USD\""),
    "instruments in a list": (
        ("instruments", [EUR_USD]),
        "instruments is a list, [Instrument(symbol='EUR_USD', base='EUR'",
    ),
    "a table for an instrument": (
        ("instruments", {"A": {}}),
        "instruments['A'] is a dict, {}: give an Instrument, instruments={",
    ),
    "another's symbol": (
        ("instruments", {"A": EUR_USD}),
        "instruments['A'] is the instrument 'EUR_USD': give it by its own symbol",
    ),
    "settings in a table": (
        ("settings", {"latency_ms": 5}),
        "settings is a dict, {'latency_ms': 5}: give PaperSettings, like PaperSettings(latency_ms=50)",
    ),
    "limits for settings": (("settings", RiskLimits()), "settings is a RiskLimits"),
    "text for a latency": (
        ("settings", PaperSettings(latency_ms=unlike("5"))),
        "settings: latency_ms is a str, '5': expected `int`, got `str`",
    ),
    "a class of limits": (
        ("limits", RiskLimits),
        "limits is the class RiskLimits: give RiskLimits, like RiskLimits(quantity_max=Decimal(20_000))",
    ),
    "a binary limit": (
        ("limits", RiskLimits(quantity_max=unlike(0.5))),
        'limits: quantity_max is a float, 0.5: expected `decimal | null`, got `float`; write Decimal("0.5")',
    ),
    "a binary leverage": (
        ("leverage", 30.0),
        'leverage is a float, 30.0, and binary fractions are not exact: give Decimal("30")',
    ),
    "no leverage": (("leverage", 0), "leverage must be above zero, found 0"),
    "words for yes": (("hedging", "no"), "hedging is a str, 'no': give True or False"),
    "a number for yes": (("exits_at_venue", 0), "exits_at_venue is an int, 0: give True or False"),
    "a fraction of days": (("days_a_year", 252.0), "days_a_year is a float, 252.0: give a whole number, such as 252"),
    "a date": (("begins_ns", datetime(2024, 1, 2, tzinfo=UTC)), "begins_ns is a datetime, datetime.datetime(2024"),
    "a start in another unit": (("begins_ns", 2**80), "which is not between 1970 and 2200: it is nanoseconds UTC"),
    "seconds with a fraction": (("begins_ns", 1.7e9), "give a whole number, nanoseconds UTC, as ts_ns of a tick"),
    "a path for a journal": (
        ("journal", Path("books.db")),
        "which lacks append, cut, last_cut: leave it out to keep the journal in memory",
    ),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_of_another_kind_is_refused_with_what_to_give(which: str) -> None:
    (name, value), told = WRONG[which]
    with pytest.raises(InputError) as refused:
        backtest(**{name: value})
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "right",
    [
        {"initial_balance": 10_000},
        {"initial_balance": "10000.50", "leverage": 30},
        {"leverage": None, "days_a_year": 365, "hedging": True},
        {"data_source": tuple(TICKS), "instruments": {"EUR_USD": EUR_USD}},
        {"data_source": deque(TICKS)},
        {
            "limits": RiskLimits(quantity_max=unlike(20_000)),
            "settings": PaperSettings(slippage=Slippage(model="fixed", pips=Decimal(1))),
        },
        {"settings": PaperSettings(conversion_rates={"USD_JPY": Decimal("151.30")}, latency_ms=50)},
        {"strategy": {"a": FAST, "b": EmaCross(EmaCrossParameters(stop_loss_pips=unlike(20)))}},
    ],
)
def test_whole_numbers_and_text_are_exact_and_taken(right: dict[str, Any]) -> None:
    assert backtest(**right).execute().ticks == len(TICKS)


def test_the_sources_themselves_say_it_too() -> None:
    wrong: list[tuple[Callable[[Any], object], Any, str]] = [
        (FeedSource, "ticks.csv", "str is no feed: `tick_data` of tradekeel.scripting makes a source of a file's path"),
        (TicksSource, "ticks.csv", "tick 1 is a str: make each with Tick("),
    ]
    for make, value, told in wrong:
        with pytest.raises(InputError) as refused:
            make(value)
        assert told in str(refused.value)


@pytest.mark.parametrize("number", [0.5, 1, "0.5"])
def test_what_the_venue_is_like_is_exact_too(number: Any) -> None:
    for make in (
        lambda: Slippage(model="fixed", pips=number),
        lambda: Commission(model="per_lot", taker=number),
        lambda: PaperSettings(reject_rate=number),
    ):
        with pytest.raises(InputError, match=f'amounts are exact, write Decimal\\("{number}"\\)'):
            make()


def test_who_is_told_how_far_it_is_has_to_be_a_function() -> None:
    wrong: Any = "loudly"
    run = backtest()
    with pytest.raises(
        InputError, match="tell is a str, 'loudly': give a function of one tick's position, such as print"
    ):
        run.execute(wrong)
    assert run.execute().ticks == len(TICKS)
