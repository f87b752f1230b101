"""Data of which nothing comes for long: the event loop turns meanwhile, and a wait that is cut short loses no tick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.unit.feeds.reading import HEADER, build, csv_feed, quotes, read, ticks_of, write
from tradekeel.domain.ticks import Tick
from tradekeel.feeds.files import CHUNK_BYTES
from tradekeel.ports import Feed

ROW = "2014-05-05T{:02d}:{:02d}:{:02d}Z,1.1,{}\n"
TIMES = 6  # an hour's rows stand there so many times
WAITS_MIN = (
    TIMES * 3_600 * len(ROW.format(1, 0, 0, 1.2)) // CHUNK_BYTES - 2
)  # nothing comes of the pieces in the middle


def _rows(hour: int, ask: str, count: int = 3_600) -> str:
    return "".join(ROW.format(hour, n // 60, n % 60, ask) for n in range(count))


def before_start(folder: Path) -> Feed:
    """One file, most of which lies before `start`."""
    path = write(folder / "one.csv", HEADER + _rows(1, "1.2") * TIMES + _rows(2, "1.2", 10))
    return csv_feed(path, start="2014-05-05T02:00:00Z", bad_rows={"out_of_order": "fix"})


def before_start_of_two(folder: Path) -> Feed:
    """Two of them, merged."""
    text = HEADER + _rows(1, "1.2") * TIMES + _rows(2, "1.2", 5)
    paths = {symbol: str(write(folder / f"{symbol}.csv", text)) for symbol in ("EUR_USD", "NZD_USD")}
    settings = {"instruments": paths, "start": "2014-05-05T02:00:00Z", "bad_rows": {"out_of_order": "fix"}}
    return build("file", settings)


def dropped_in_the_middle(folder: Path) -> Feed:
    """Good rows, then crossed ones for long, then good ones."""
    middle = _rows(1, "1.0") * TIMES
    return csv_feed(write(folder / "one.csv", HEADER + _rows(0, "1.2", 4) + middle + _rows(2, "1.2", 6)))


FEEDS = [before_start, before_start_of_two, dropped_in_the_middle]


@pytest.mark.parametrize("make", FEEDS)
async def test_the_event_loop_turns_while_rows_are_read_of_which_no_tick_comes(
    tmp_path: Path, make: Callable[[Path], Feed]
) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    feed = make(tmp_path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        assert len(await ticks_of(feed)) == 10
        tasks.cancel_scope.cancel()
    assert turns >= WAITS_MIN


@pytest.mark.parametrize("make", FEEDS)
async def test_a_wait_that_is_cut_short_loses_nothing(tmp_path: Path, make: Callable[[Path], Feed]) -> None:
    expected = await ticks_of(make(tmp_path))
    feed = make(tmp_path)
    await feed.open(0)
    got: list[Tick] = []
    cuts = 0
    while True:
        with anyio.CancelScope() as scope:
            scope.cancel()  # at the first moment at which it lets others run
            window = await feed.next_window(1_000)
        if scope.cancelled_caught:
            cuts += 1
            continue
        if window is None:
            break
        got += window.ticks
    assert quotes(got) == quotes(expected)
    assert cuts >= WAITS_MIN


@pytest.mark.untraced
@pytest.mark.parametrize("make", FEEDS)
async def test_going_back_to_a_place_behind_it_gives_the_same(tmp_path: Path, make: Callable[[Path], Feed]) -> None:
    ticks = await ticks_of(make(tmp_path))
    for feed in (make(tmp_path), make(tmp_path)):
        for after in (7, 3):
            assert (await read(feed, after))[0] == ticks[after:]
