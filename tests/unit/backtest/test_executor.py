"""A backtest from Python: it is interrupted and goes on as if it had not been, and says what it cannot do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from tests.scenarios.support_bars import TICKS_A_BAR, Hears
from tests.unit.backtest.bench import market, written
from tests.unit.feeds.markets import Market, ticks_of
from tradekeel.backtest import BacktestExecutor, FeedSource, TickDataSource, TicksSource
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.source import CutSource
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.rows import StrategyEvent
from tradekeel.domain.tasks import TaskStatus
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.errors import IllegalTransition, InputError
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters
from tradekeel.strategies.parameters import Parameters

TICKS = 12_000


@pytest.fixture(scope="module")
def ticks() -> Sequence[Tick]:
    prices = (Decimal(11_000 + abs(step % 80 - 40)) / 10_000 for step in range(TICKS))
    return [
        Tick("EUR_USD", 1_700_000_000_000_000_000 + number * 10**9, price, price + Decimal("0.0001"), number)
        for number, price in enumerate(prices, start=1)
    ]


def backtest(ticks: Any, **more: Any) -> BacktestExecutor:
    return BacktestExecutor(ticks, EmaCross(EmaCrossParameters(fast=5, slow=20)), "10000", **more)


@pytest.fixture(scope="module")
def undisturbed(ticks: Sequence[Tick]) -> list[bytes]:
    result = backtest(ticks).execute()
    assert result.status is TaskStatus.COMPLETED
    assert len(result.trades) > 100
    return written(result.entries)


def test_one_that_is_stopped_goes_on_to_the_same_journal(ticks: Sequence[Tick], undisturbed: list[bytes]) -> None:
    run = backtest(ticks)
    result = run.execute(lambda position: run.stop())
    assert (result.status, result.ticks < TICKS, 0 < run.progress < 100) == (TaskStatus.PAUSED, True, True)
    while result.status is TaskStatus.PAUSED:
        result = run.execute()
    assert (written(result.entries), run.progress) == (undisturbed, 100)


def test_one_that_was_interrupted_between_two_saved_states_goes_on_likewise(
    ticks: Sequence[Tick], undisturbed: list[bytes]
) -> None:
    run, heard = backtest(ticks), []

    def interrupt(position: int) -> None:
        heard.append(position)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.execute(interrupt)
    assert written(run.execute().entries) == undisturbed


class _Fails(TicksSource):
    """A source that cannot be reached a few times."""

    fails = 2

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        for window in super().windows(after):
            if window.last_position > 6_000 and self.fails:
                self.fails -= 1
                raise OSError("out of reach")
            yield window


def test_one_whose_source_threw_goes_on_when_it_is_executed_again(
    ticks: Sequence[Tick], undisturbed: list[bytes]
) -> None:
    run = backtest(_Fails(ticks))
    for _ in range(_Fails.fails):
        with pytest.raises(OSError, match="out of reach"):
            run.execute()
        assert run.status is TaskStatus.PAUSED
    assert written(run.execute().entries) == undisturbed


def test_one_that_is_paused_waits_until_it_may_go_on(ticks: Sequence[Tick], undisturbed: list[bytes]) -> None:
    run, reached = backtest(ticks), threading.Event()
    entries: list[bytes] = []

    def pause(position: int) -> None:
        if not reached.is_set():
            run.pause()
            reached.set()

    thread = threading.Thread(target=lambda: entries.extend(written(run.execute(pause).entries)))
    thread.start()
    assert reached.wait(10)
    assert not entries
    run.resume()
    thread.join(30)
    assert entries == undisturbed


@pytest.mark.parametrize(
    "other",
    [
        lambda journal, ticks: backtest(ticks[:2_000], journal=journal),
        lambda journal, ticks: backtest(ticks, journal=journal, hedging=True),
        lambda journal, ticks: BacktestExecutor(
            ticks, EmaCross(EmaCrossParameters(fast=6, slow=20)), "10000", journal=journal
        ),
    ],
)
@pytest.mark.parametrize("is_over", [False, True])
def test_the_journal_of_another_backtest_is_refused(ticks: Sequence[Tick], is_over: bool, other: Any) -> None:
    journal = MemoryJournal()
    run = backtest(ticks, journal=journal)
    run.execute(lambda position: None if is_over else run.stop())
    written_by_it = written(journal.entries)
    with pytest.raises(InputError, match=r"the journal is that of another backtest \(\w+\), on other data or terms"):
        other(journal, ticks).execute()
    assert written(journal.entries) == written_by_it
    assert backtest(ticks, journal=journal).execute().balance == backtest(ticks).execute().balance


def test_one_that_is_being_run_is_not_run_beside_itself(ticks: Sequence[Tick], undisturbed: list[bytes]) -> None:
    run = backtest(ticks)

    def again(position: int) -> None:
        with pytest.raises(InputError, match="this backtest is being run"):
            run.execute()

    assert written(run.execute(again).entries) == undisturbed


def test_a_stop_that_comes_before_the_first_tick_is_heeded(ticks: Sequence[Tick], undisturbed: list[bytes]) -> None:
    run = backtest(ticks)
    run.stop()
    assert run.execute().status is TaskStatus.PAUSED
    assert written(run.execute().entries) == undisturbed


def test_one_that_is_over_is_not_run_again(ticks: Sequence[Tick]) -> None:
    run = backtest(ticks[:100])
    run.execute()
    with pytest.raises(IllegalTransition):
        run.execute()


def test_what_cannot_be_tested_is_refused() -> None:
    ticks = ticks_of(10)
    with pytest.raises(InputError, match="needs a strategy"):
        BacktestExecutor(ticks, {}, 10_000)
    with pytest.raises(InputError, match="instrument XAU_USD is not known: give it with instruments="):
        backtest([Tick("XAU_USD", 1, Decimal(1), Decimal(2), 1)])
    with pytest.raises(InputError, match="days_a_year must be 1 or more, found 0"):
        backtest(ticks, days_a_year=0)


def on_bars(source: Any) -> BacktestExecutor:
    return BacktestExecutor(source, EmaCross(EmaCrossParameters(fast=5, slow=20, timeframe="5s")), "10000")


@pytest.mark.parametrize("timeframes", [None, {"EUR_USD": ("1m",)}])
def test_a_source_is_asked_for_the_bars_that_strategies_want(ticks: Sequence[Tick], timeframes: Any) -> None:
    asked = on_bars(TicksSource(ticks, timeframes=timeframes)).execute()
    assert len(asked.trades) > 10
    assert written(asked.entries) == written(on_bars(ticks).execute().entries)


def test_two_backtests_of_one_source_have_each_its_own_bars(ticks: Sequence[Tick]) -> None:
    source = TicksSource(ticks)
    first = on_bars(source)
    BacktestExecutor(source, EmaCross(EmaCrossParameters(fast=5, slow=20, timeframe="1m")), "10000")
    assert written(first.execute().entries) == written(on_bars(ticks).execute().entries)


def test_a_part_of_a_source_is_asked_for_bars_of_its_own_ticks(ticks: Sequence[Tick]) -> None:
    begins_ns = ticks[1_000].ts_ns
    part = on_bars(CutSource(TicksSource(ticks), begins_ns, None, {})).execute()
    rest = on_bars([structs.replace(tick, position=at) for at, tick in enumerate(ticks[1_000:], start=1)]).execute()
    assert len(part.trades) > 10
    assert [(fill.ts_ns, fill.price) for fill in part.fills] == [(fill.ts_ns, fill.price) for fill in rest.fills]


def test_a_feed_is_asked_likewise() -> None:
    asked, told = on_bars(market(4_000)).execute(), on_bars(market(4_000, timeframes=("5s",))).execute()
    assert asked.trades
    assert written(asked.entries) == written(told.entries)


class _Bare:
    """A source of somebody's own, which knows of no bars."""

    def __init__(self, source: TickDataSource) -> None:
        self.info = source.info
        self._source = source

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        return self._source.windows(after)

    def quality(self) -> dict[str, int]:
        return {}

    def progress(self) -> float | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def test_what_cannot_be_asked_for_bars_is_refused_where_strategies_want_some() -> None:
    ticks = ticks_of(100)
    for source in (_Bare(TicksSource(ticks)), Market(ticks), FeedSource(Market(ticks))):
        with pytest.raises(InputError, match=r"cannot be asked for.* build_bars"):
            on_bars(source)
    assert backtest(_Bare(TicksSource(ticks))).execute().ticks == 100


class _Given(_Bare):
    """A source that says it has some ticks, and gives others, in these windows."""

    def __init__(self, said: Sequence[Tick], *windows: Sequence[Tick]) -> None:
        super().__init__(TicksSource(said))
        self._windows = windows

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        return (TickWindow(ticks) for ticks in self._windows)


def test_a_source_of_ones_own_is_refused_where_its_time_steps_back_or_a_tick_is_missing(ticks: Sequence[Tick]) -> None:
    first, second, third = ticks[:100], ticks[100:200], ticks[200:300]
    back = structs.replace(second[50], ts_ns=second[49].ts_ns - 1)
    for given, why in (
        ([*second[:50], back, *second[51:]], "tick 151 is earlier than the one before it"),
        ([structs.replace(second[0], ts_ns=first[0].ts_ns), *second[1:]], "tick 101 is earlier than the one before it"),
        (third, "tick 101 has position 201; positions count from 1 without a gap"),
    ):
        run = backtest(_Given(ticks, first, given))
        with pytest.raises(InputError, match=why):
            run.execute()
        assert run.status is TaskStatus.FAILED
    assert backtest(_Given(ticks, first, second, third)).execute().ticks == 300


def test_a_window_without_a_tick_is_none(ticks: Sequence[Tick]) -> None:
    given = backtest(_Given(ticks, [], ticks[:100], [], ticks[100:300])).execute()
    assert written(given.entries) == written(backtest(_Given(ticks, ticks[:100], ticks[100:300])).execute().entries)


class _Gives(_Bare):
    """A source whose windows are whatever it was made with."""

    def __init__(self, said: Sequence[Tick], windows: Any) -> None:
        super().__init__(TicksSource(said))
        self._windows = windows

    def windows(self, after: int = 0) -> Iterator[TickWindow]:
        given: Iterator[TickWindow] = self._windows
        return given


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (
            lambda ticks: None,
            r"windows\(after\) gave a NoneType: it is to yield windows of ticks, each made with TickWindow",
        ),
        (lambda ticks: ticks, r"windows\(after\) gave a Tick: it is to yield windows"),
        (lambda ticks: [TickWindow(ticks), None], r"windows\(after\) gave a NoneType"),
        (lambda ticks: [TickWindow(iter(ticks))], "a window has a list_iterator for its ticks: give them as a list"),
    ],
)
def test_a_source_of_ones_own_that_gives_no_windows_is_told_what_to_give(
    ticks: Sequence[Tick], what: Any, why: str
) -> None:
    run = backtest(_Gives(ticks, what(ticks[:100])))
    with pytest.raises(InputError, match=why):
        run.execute()
    assert run.status is TaskStatus.FAILED


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"bid": 1.1}, r"tick 151 has the bid 1\.1, the ask Decimal"),
        ({"bid": "1.1"}, r"tick 151 has the bid '1\.1', the ask Decimal"),
        ({"ask": Decimal("NaN")}, r"tick 151 has the bid .* and the ask NaN: prices are above zero"),
        ({"ts_ns": 2**63 - 1}, "tick 151 has the time 9223372036854775807, which is not between 1970 and 2200"),
        (
            {"ask_size": Decimal(-1)},
            r"tick 151 has the sizes None and Decimal\('-1'\): sizes are Decimal, not below zero",
        ),
        ({"instrument": "GBP_USD"}, "tick 151 is of GBP_USD, and the source says that it has EUR_USD"),
    ],
)
def test_every_tick_of_a_source_of_ones_own_is_looked_at(ticks: Sequence[Tick], wrong: Any, why: str) -> None:
    first, second = ticks[:100], list(ticks[100:200])
    second[50] = structs.replace(second[50], **wrong)
    run = backtest(_Given(ticks, first, second))
    with pytest.raises(InputError, match=why):
        run.execute()
    assert run.status is TaskStatus.FAILED


class _Counts(_Bare):
    """A source that counts nothing, and says so in its own way."""

    def __init__(self, ticks: Sequence[Tick], quality: Any, progress: Any) -> None:
        super().__init__(TicksSource(ticks))
        self._said = quality, progress

    def quality(self) -> dict[str, int]:
        said: dict[str, int] = self._said[0]
        return said

    def progress(self) -> float | None:
        said: float | None = self._said[1]
        return said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((None, None), r"quality\(\) gave a NoneType: give counts"),
        (({}, "half"), r"progress\(\) gave a str: give the share"),
    ],
)
def test_counts_of_another_kind_are_refused_before_the_work_is_done(ticks: Sequence[Tick], said: Any, why: str) -> None:
    run = backtest(_Counts(ticks, *said))
    with pytest.raises(InputError, match=why):
        run.execute()
    assert run.ticks == 0


def test_a_source_that_can_be_gone_through_once_is_refused_where_it_would_end_early(ticks: Sequence[Tick]) -> None:
    run = backtest(_Gives(ticks, iter([TickWindow(ticks[start : start + 100]) for start in range(0, 500, 100)])))

    def interrupt_at_the_end(position: int) -> None:
        if position == 100:
            run.stop()
        if position == 500:
            raise KeyboardInterrupt

    assert run.execute(interrupt_at_the_end).ticks == 100
    with pytest.raises(KeyboardInterrupt):
        run.execute(interrupt_at_the_end)
    with pytest.raises(
        InputError, match=r"has ended behind tick 100, and was at tick 500 before: windows\(after\) is to give"
    ):
        run.execute()


def test_ticks_with_a_bid_above_their_ask_are_counted(ticks: Sequence[Tick]) -> None:
    crossed = structs.replace(ticks[50], bid=ticks[50].ask, ask=ticks[50].bid)
    assert backtest([*ticks[:50], crossed, *ticks[51:100]]).execute().quality == {"ticks": 100, "crossed_accepted": 1}


def test_ticks_with_a_price_off_its_step_are_counted(ticks: Sequence[Tick]) -> None:
    assert backtest(ticks).execute().quality == {"ticks": len(ticks)}
    coarse = structs.replace(CATALOGUE["EUR_USD"], tick_size=Decimal("0.0003"), pip_size=Decimal("0.0003"))
    off_grid = sum(any(price % coarse.tick_size for price in (tick.bid, tick.ask)) for tick in ticks)
    found = backtest(ticks, instruments={"EUR_USD": coarse}).execute().quality
    assert off_grid > 0
    assert found == {"ticks": len(ticks), "off_grid_accepted": off_grid}


def heard(source: Any, **more: Any) -> list[Any]:
    """What a strategy of bars says of those that it has heard of."""
    result = BacktestExecutor(source, Hears(Parameters()), "10000", **more).execute()
    return [row.data for entry in result.entries for row in entry.rows if isinstance(row, StrategyEvent)]


@pytest.mark.parametrize("kind", ["a list", "a part", "a feed"])
def test_the_bar_of_the_very_last_tick_is_told_and_one_that_is_not_complete_is_not(
    ticks: Sequence[Tick], kind: str
) -> None:
    for count in (TICKS_A_BAR * 3, TICKS_A_BAR * 3 - 1):
        source: Any = ticks[:count]
        if kind == "a part":
            source = CutSource(TicksSource(ticks), None, ticks[count].ts_ns, {})
        elif kind == "a feed":
            source = market(count)
        told = [{"position": position} for position in range(TICKS_A_BAR, count + 1, TICKS_A_BAR)]
        assert heard(source) == [*told, {"count": len(told)}]


def test_one_that_is_stopped_behind_its_very_last_tick_tells_its_last_bar_all_the_same(ticks: Sequence[Tick]) -> None:
    source = TicksSource(ticks[: TICKS_A_BAR * 3])
    journals = []
    for stops in (False, True):
        executor = BacktestExecutor(source, Hears(Parameters()), "10000")
        if stops:
            assert executor.execute(lambda position: executor.stop()).status is TaskStatus.PAUSED  # noqa: B023  # at once
        result = executor.execute()
        assert result.status is TaskStatus.COMPLETED
        journals.append(written(result.entries))
    assert journals[0] == journals[1]
