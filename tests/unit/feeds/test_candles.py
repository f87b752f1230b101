"""Bars in the place of quotes: how a candle is played back, what is filled on the way, and that nothing of it is known early."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import Struct

from tests.unit.feeds.reading import build, csv_feed, quotes, read, ticks_of, write
from tradekeel.backtest import BacktestExecutor, BacktestResult
from tradekeel.domain.messages import Enter, Request, Stamp
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Bar
from tradekeel.domain.times import NS_PER_MS, NS_PER_S
from tradekeel.errors import DataError, InputError
from tradekeel.feeds.zones import parse_instant
from tradekeel.ports import Feed
from tradekeel.strategies.base import Strategy, StrategyContext

AT = parse_instant("2024-01-03T13:00:00Z")
HOUR = 3_600 * NS_PER_S
THIRD = HOUR // 3
HEADER = "time,open,high,low,close,volume\n"
FIRST = ("1.1000", "1.1010", "1.0990", "1.1005")
SECOND = ("1.1006", "1.1020", "1.1000", "1.1015")
THIRD_ONE = ("1.1016", "1.1050", "1.1010", "1.1012")
FOURTH = ("1.1014", "1.1016", "1.0980", "1.0985")
CANDLES = (FIRST, SECOND, THIRD_ONE, FOURTH)
BARS: dict[str, Any] = {"span": "1h", "spread_pips": Decimal(1), "step_pips": Decimal(10)}


def text(candles: Sequence[Sequence[str]], first: int = 0) -> str:
    rows = (f"{AT // NS_PER_S + (first + hour) * 3_600},{','.join(row)},7\n" for hour, row in enumerate(candles))
    return HEADER + "".join(rows)


def candles(path: Path, content: str, **more: Any) -> Feed:
    bars = {**BARS, **more.pop("bars", {})}
    return csv_feed(write(path / "EURUSD_H1.csv", content), time_format="epoch_s", bars=bars, **more)


# --- how it is played back ------------------------------------------------------------------------------------------------


async def test_a_candle_walks_from_its_open_to_both_extremes_and_to_its_close(tmp_path: Path) -> None:
    feed = candles(tmp_path, text([FIRST]))
    assert quotes(await ticks_of(feed)) == [
        (AT, "1.09995", "1.10005"),
        (AT + NS_PER_S, "1.09995", "1.10005"),
        (AT + THIRD, "1.09895", "1.09905"),  # it closes above its open, so the low comes first, one step away
        (AT + THIRD + THIRD // 2, "1.09995", "1.10005"),
        (AT + 2 * THIRD, "1.10095", "1.10105"),
        (AT + HOUR - NS_PER_MS, "1.10045", "1.10055"),
    ]
    assert feed.quality() == {"rows": 1, "ticks": 6}


async def test_one_that_closes_below_its_open_has_its_high_first(tmp_path: Path) -> None:
    feed = candles(tmp_path, text([("1.1005", "1.1010", "1.0990", "1.1000")]), bars={"prices": "bid"})
    assert [str(tick.bid) for tick in await ticks_of(feed)] == [
        "1.1005", "1.1005", "1.1010", "1.1000", "1.0990", "1.1000",
    ]  # fmt: skip


async def test_no_step_is_longer_than_asked_but_for_a_fiftieth_of_the_way(tmp_path: Path) -> None:
    wild = ("1.1000", "1.1003", "1.0000", "1.1000")
    ticks = await ticks_of(candles(tmp_path, text([wild]), bars={"step_pips": Decimal("0.25")}))
    bids = [tick.bid for tick in ticks]
    steps = [abs(after - before) for before, after in pairwise(bids)]
    assert max(steps[:51]) <= Decimal("0.1") / 50
    assert len(ticks) <= 2 + 3 * 50
    assert [tick.ts_ns for tick in ticks] == sorted({tick.ts_ns for tick in ticks})
    assert all(tick.bid % Decimal("0.00001") == Decimal("0.00005") % Decimal("0.00001") for tick in ticks)


@pytest.mark.parametrize(("prices", "bid", "ask"), [("mid", "1.09995", "1.10005"), ("bid", "1.1000", "1.10010"),
                                                     ("ask", "1.09990", "1.1000")])  # fmt: skip
async def test_prices_are_of_the_mid_or_of_one_side(tmp_path: Path, prices: str, bid: str, ask: str) -> None:
    first = (await ticks_of(candles(tmp_path, text([FIRST]), bars={"prices": prices})))[0]
    assert (first.bid, first.ask) == (Decimal(bid), Decimal(ask))


async def test_one_that_is_stamped_with_its_end_is_played_before_it(tmp_path: Path) -> None:
    of_ends = await ticks_of(candles(tmp_path, text(CANDLES, first=1), bars={"stamped": "end"}))
    assert of_ends == await ticks_of(candles(tmp_path, text(CANDLES)))


async def test_the_bars_that_are_built_of_them_are_the_candles(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", text(CANDLES))
    feed = csv_feed(path, time_format="epoch_s", bars=BARS, timeframes={"EUR_USD": ("1h",)})
    bars = [bar for _, bar in (await read(feed))[1]]
    assert [(bar.open, bar.high, bar.low, bar.close) for bar in bars] == [
        tuple(map(Decimal, row)) for row in CANDLES[:-1]
    ]


async def test_parquet_has_the_same_candles_as_text(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        name: pa.array([row[place] for row in CANDLES]) for place, name in enumerate(("Open", "high", "low", "close"))
    }
    pq.write_table(pa.table({"ts_ns": [AT + n * HOUR for n in range(4)], **columns}), tmp_path / "c.parquet")
    settings = {"path": str(tmp_path / "c.parquet"), "instrument": "EUR_USD", "format": "parquet", "bars": BARS}
    feed = build("file", {**settings, "columns": {"open": "Open"}})
    assert await ticks_of(feed) == await ticks_of(candles(tmp_path, text(CANDLES)))
    assert feed.quality()["rows"] == 4
    with pytest.raises(DataError, match="no column 'open'"):
        await ticks_of(build("file", settings))


# --- what is wrong with one -----------------------------------------------------------------------------------------------


async def test_a_candle_whose_close_is_outside_its_range_is_a_bad_row(tmp_path: Path) -> None:
    feed = candles(tmp_path, text([FIRST, ("1.1", "1.1", "1.0", "1.2"), SECOND]))
    assert {tick.ts_ns // HOUR - AT // HOUR for tick in await ticks_of(feed)} == {0, 2}
    assert (feed.quality()["rows"], feed.quality()["bar_range_dropped"]) == (3, 1)


async def test_hours_that_follow_each_other_are_no_gap_and_one_that_is_missing_is(tmp_path: Path) -> None:
    feed = candles(tmp_path, text(CANDLES))
    await ticks_of(feed)
    assert "gap_accepted" not in feed.quality()
    feed = candles(tmp_path, text([FIRST]) + text([FOURTH], first=2).removeprefix(HEADER))
    await ticks_of(feed)
    assert feed.quality()["gap_accepted"] == 1


@pytest.mark.parametrize(
    ("bars", "problem"),
    [
        ({"span": "30s"}, "span '30s': allowed are spans from a minute to a day"),
        ({"span": "100t"}, "span '100t'"),
        ({"span": "7m"}, "that divide it evenly"),
        ({"span": "1w"}, "span '1w'"),
        ({"spread_pips": 0}, "spread_pips must be above 0"),
        ({"step_pips": -1}, "step_pips must be above 0"),
    ],
)
def test_what_no_bars_can_be_is_refused(tmp_path: Path, bars: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        candles(tmp_path, text([FIRST]), bars=bars)
    with pytest.raises(msgspec.ValidationError, match='bars are of format "csv" or "parquet"'):
        candles(tmp_path, text([FIRST]), format="quote")


async def test_bars_that_follow_each_other_more_closely_than_they_last_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        await ticks_of(candles(tmp_path, text(CANDLES), bars={"span": "4h"}))
    assert str(refused.value) == (
        f"{tmp_path / 'EURUSD_H1.csv'}, line 3: the bar of 2024-01-03T14:00:00.000000000Z follows the one of "
        '2024-01-03T13:00:00.000000000Z, 3600 s later, and bars last 14400 s by bars.span = "4h"'
    )
    columns: dict[str, Any] = {name: pa.array([row[0] for row in CANDLES]) for name in ("open", "high", "low", "close")}
    pq.write_table(pa.table({"ts_ns": [AT + n * HOUR for n in range(4)], **columns}), tmp_path / "c.parquet")
    settings = {"path": str(tmp_path / "c.parquet"), "instrument": "EUR_USD", "format": "parquet"}
    with pytest.raises(DataError, match=r"c\.parquet, row 2: the bar of"):
        await ticks_of(build("file", {**settings, "bars": {**BARS, "span": "4h"}}))


async def test_a_file_without_its_header_is_found_out_also_where_its_first_bar_follows_too_closely(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.csv", text(CANDLES))
    write(tmp_path / "b.csv", f"{AT // NS_PER_S + 3 * 3_600 + 60},{','.join(FIRST)},7\n" * 2)
    columns = {name: place for place, name in enumerate(("time", "open", "high", "low", "close"), start=1)}
    feed = csv_feed(tmp_path / "*.csv", time_format="epoch_s", columns=columns, bars=BARS)
    with pytest.raises(DataError, match=r"b\.csv: the first line looks like a row, not a header"):
        await ticks_of(feed)


async def test_two_hours_that_are_one_are_refused_and_a_clock_that_is_put_forward_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4"):
        await ticks_of(candles(tmp_path, text(CANDLES), bars={"span": "2h"}))
    days = "".join(f"2024-03-{day:02d} 00:00:00,{','.join(FIRST)},7\n" for day in (29, 30, 31)) + (
        f"2024-04-01 00:00:00,{','.join(FIRST)},7\n2024-04-02 00:00:00,{','.join(FIRST)},7\n"
    )
    path = write(tmp_path / "days.csv", HEADER + days)
    local = csv_feed(path, time_zone="Europe/Berlin", bars={**BARS, "span": "1d"})
    await ticks_of(local)
    assert local.quality()["rows"] == 5


ZONE_DAYS = (29, 30, 31, 32, 33)  # of March 2024; clocks in Berlin are put forward on the 31st


@pytest.mark.parametrize("stamped", ["start", "end"])
@pytest.mark.parametrize("written", ["local", "utc", "parquet"])
async def test_a_day_of_23_hours_is_told_whole_and_so_is_the_next(tmp_path: Path, stamped: str, written: str) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    days = [datetime(2024, 3, 1, tzinfo=berlin) + timedelta(days=day - 1) for day in ZONE_DAYS]
    starts = [int(day.timestamp()) * NS_PER_S for day in days]
    times = days if stamped == "start" else [day + timedelta(days=1) for day in days]
    settings: dict[str, Any] = {"instrument": "EUR_USD", "time_zone": "Europe/Berlin"}
    settings["bars"] = {**BARS, "span": "1d", "stamped": stamped}
    if written == "parquet":
        columns = {
            name: [price] * len(days) for name, price in zip(("open", "high", "low", "close"), FIRST, strict=True)
        }
        pq.write_table(
            pa.table({"time": [time.replace(tzinfo=None) for time in times], **columns}), tmp_path / "d.parquet"
        )
        settings |= {"path": str(tmp_path / "d.parquet"), "format": "parquet"}
    else:
        told = (
            f"{time:%Y-%m-%d %H:%M:%S}" if written == "local" else time.astimezone(UTC).isoformat() for time in times
        )
        path = write(tmp_path / "days.csv", HEADER + "".join(f"{time},{','.join(FIRST)},7\n" for time in told))
        settings |= {"path": str(path)}
    feed = build("file", settings)
    ticks = await ticks_of(feed)
    assert feed.quality() == {"rows": 5, "ticks": 5 * 6}
    assert [tick.ts_ns for tick in ticks[::6]] == starts
    lasted = [tick.ts_ns + NS_PER_MS - start for tick, start in zip(ticks[5::6], starts, strict=True)]
    assert lasted == [24 * HOUR, 24 * HOUR, 23 * HOUR, 24 * HOUR, 24 * HOUR]


async def test_a_day_of_25_hours_is_told_as_one_of_24(tmp_path: Path) -> None:
    days = "".join(f"2024-10-{day} 00:00:00,{','.join(FIRST)},7\n" for day in (26, 27, 28))
    settings: dict[str, Any] = {"time_zone": "Europe/Berlin", "bars": {**BARS, "span": "1d"}}
    feed = csv_feed(write(tmp_path / "days.csv", HEADER + days), **settings)
    ticks = await ticks_of(feed)
    assert feed.quality() == {"rows": 3, "ticks": 18}
    assert [after.ts_ns - before.ts_ns for before, after in zip(ticks[5::6], ticks[6::6], strict=False)] == [
        NS_PER_MS,
        HOUR + NS_PER_MS,
    ]


async def test_four_hours_are_three_where_clocks_are_put_forward(tmp_path: Path) -> None:
    times = ("2024-03-30 20:00", "2024-03-31 00:00", "2024-03-31 04:00")
    rows = "".join(f"{time},{','.join(FIRST)},7\n" for time in times)
    settings: dict[str, Any] = {"time_zone": "Europe/Berlin", "bars": {**BARS, "span": "4h"}}
    feed = csv_feed(write(tmp_path / "days.csv", HEADER + rows), **settings)
    ticks = await ticks_of(feed)
    assert feed.quality() == {"rows": 3, "ticks": 18}
    assert ticks[11].ts_ns - ticks[6].ts_ns == 3 * HOUR - NS_PER_MS
    assert ticks[12].ts_ns - ticks[6].ts_ns == 3 * HOUR


async def test_bars_that_are_said_twice_or_out_of_order_are_bad_rows_as_ever(tmp_path: Path) -> None:
    again = text([FIRST]) + text([FIRST]).removeprefix(HEADER) + text(CANDLES, first=-2).removeprefix(HEADER)
    feed = candles(tmp_path, again)
    await ticks_of(feed)
    assert feed.quality()["out_of_order_dropped"] > 0


# --- what is filled on them -----------------------------------------------------------------------------------------------


class Once(Struct, frozen=True):
    """Whether it has asked."""

    asked: bool = False


class Rising(Strategy[Once, Once]):
    """Buys behind the first hour that closed above its open, with a target and a stop."""

    kind = "rising"
    Params = Once
    State = Once

    def timeframes(self) -> tuple[str, ...]:
        return ("1h",)

    def on_bar(self, bar: Bar, state: Once, context: StrategyContext) -> tuple[Once, Sequence[Request]]:
        if state.asked or bar.close <= bar.open:
            return state, ()
        entry = Enter(
            instrument=bar.instrument,
            side=Side.BUY,
            quantity=Decimal(1_000),
            take_profit=Decimal("1.1040"),
            stop_loss=Decimal("1.0995"),
        )
        return Once(True), [entry]


def traded(path: Path, rows: Sequence[Sequence[str]], **bars: Any) -> BacktestResult:
    return BacktestExecutor(candles(path, text(rows), bars=bars), Rising(Once()), 10_000).execute()


def fills_of(result: BacktestResult) -> list[tuple[int, str, Decimal]]:
    return [(fill.ts_ns - AT, fill.side.value, fill.price) for fill in result.fills]


def test_what_is_decided_on_an_hour_is_filled_at_the_open_of_the_next_one(tmp_path: Path) -> None:
    result = traded(tmp_path, CANDLES)
    # Bought at 1.1006 + half a pip. The third hour walks from 1.1016 to 1.1050 in four steps of 8.5 pips, of which the third
    # has a bid of 1.10410 beside the target of 1.1040: 1000 x (1.10410 - 1.10065) = 3.45
    third = NS_PER_S + 2 * HOUR + (THIRD - NS_PER_S) * 3 // 4
    assert fills_of(result) == [
        (HOUR + NS_PER_S, "buy", Decimal("1.10065")),
        (third, "sell", Decimal("1.10410")),
    ]
    assert result.balance == Decimal("10003.45")


def test_the_smaller_the_step_the_nearer_is_a_target_filled_to_its_price(tmp_path: Path) -> None:
    coarse = traded(tmp_path, CANDLES, step_pips=Decimal(100)).fills[-1].price
    fine = traded(tmp_path, CANDLES, step_pips=Decimal("0.1")).fills[-1].price
    assert coarse == Decimal("1.10495"), "the extreme itself"
    assert Decimal("1.1040") <= fine <= Decimal("1.1040") + Decimal("0.0034") / 50 + Decimal("0.00001")


def test_a_stop_that_the_market_opens_behind_is_filled_at_the_open(tmp_path: Path) -> None:
    result = traded(tmp_path, [FIRST, SECOND, ("1.0970", "1.0990", "1.0960", "1.0980")])
    assert fills_of(result)[1] == (2 * HOUR, "sell", Decimal("1.09695"))


# --- nothing of it is known early -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hour", [1, 2, 3])
async def test_whatever_an_hour_becomes_all_up_to_its_open_is_what_it_was(tmp_path: Path, hour: int) -> None:
    """Another market within that hour and behind it: up to its open, ticks, records and fills are the same."""
    other = [*CANDLES[:hour], (CANDLES[hour][0], "1.2000", "1.0100", "1.0200"), ("1.02", "1.03", "1.01", "1.02")]
    ticks, others = [await ticks_of(candles(tmp_path, text(rows))) for rows in (CANDLES, other)]
    known = [tick for tick in ticks if tick.ts_ns <= AT + hour * HOUR + NS_PER_S]
    assert known == others[: len(known)]
    assert ticks[len(known)] != others[len(known)]
    until, until_ns = Stamp.after(known[-1].position), known[-1].ts_ns - AT
    told, also = [_told(traded(tmp_path, rows), until, until_ns) for rows in (CANDLES, other)]
    assert told == also
    assert told[1]


def _told(result: BacktestResult, until: int, until_ns: int) -> tuple[list[Any], list[Any]]:
    """What was journaled and filled by then. Ids are of the data as a whole, and so no part of it."""
    journal = [(type(entry.record).__name__, entry.record.stamp, entry.record.ts_ns) for entry in result.entries]
    return [one for one in journal if one[1] <= until], [fill for fill in fills_of(result) if fill[0] <= until_ns]


def test_data_that_is_moved_by_an_hour_is_traded_an_hour_later(tmp_path: Path) -> None:
    """An hour that nobody knows of is put before: nothing is filled at a price of the hour at whose end it was decided."""
    moved = traded(tmp_path, [("1.1000", "1.1000", "1.1000", "1.0999"), *CANDLES])
    assert fills_of(moved) == [(at + HOUR, side, price) for at, side, price in fills_of(traded(tmp_path, CANDLES))]


async def test_a_spread_of_an_odd_number_of_steps_stays_on_the_grid(tmp_path: Path) -> None:
    feed = candles(tmp_path, text([FIRST]), bars={"spread_pips": Decimal("0.7")})
    ticks = await ticks_of(feed)
    assert {tick.ask - tick.bid for tick in ticks} == {Decimal("0.00007")}
    assert (ticks[0].bid, ticks[0].ask) == (Decimal("1.09996"), Decimal("1.10003"))
    with pytest.raises(InputError, match=r"go in steps of 0\.00001: take a whole number of them"):
        candles(tmp_path, text([FIRST]), bars={"spread_pips": Decimal("0.75")})
