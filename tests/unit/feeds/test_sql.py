"""Ticks from a database: in order, exact, the same every time, and refused when they are not any more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers.fixtures import POSTGRES_URL
from tests.unit.feeds.reading import build, quotes, read, ticks_of
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.errors import InputError, StoreAway, StoreDenied
from tradekeel.feeds import FEEDS, FeedContext, FeedSurroundings, FileHashes, sqlrows
from tradekeel.feeds.sql import SqlFeedSettings, look_at_database
from tradekeel.ports import Feed
from tradekeel.runtime.clock import ManualClock

S = 1_000_000_000
AT = 1_399_507_200 * S  # Thursday, 2014-05-08T00:00:00Z
TABLE = "CREATE TABLE ticks (ts_ns, bid, ask, bid_size, ask_size, symbol, id INTEGER PRIMARY KEY)"
ROW = "INSERT INTO ticks (ts_ns, bid, ask, symbol) VALUES (?, ?, ?, ?)"


def database(folder: Path, rows: Iterable[Sequence[Any]] = (), name: str = "ticks.db") -> Path:
    path = folder / name
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE IF EXISTS ticks")
        db.execute(TABLE)
        db.executemany(ROW, [(*row, "EUR_USD")[:4] for row in rows])
    return path


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


def sql_feed(path: Path, **options: Any) -> Feed:
    table = {"url": f"sqlite:///{path}", "instrument": "EUR_USD", **options}
    return build("sql", table if "query" in table else {"table": "ticks", **table})


def rows_of(count: int) -> list[tuple[int, str, str]]:
    """Seven ticks a second, so that rows of one time stand at the borders of pieces."""
    return [(AT + n // 7 * S, f"1.{n:05d}", "2") for n in range(count)]


class TestOrder:
    async def test_rows_come_in_the_order_of_their_times(self, tmp_path):
        path = database(tmp_path, [(AT + 2, "1.10", "1.2"), (AT, "1.1", "1.2"), (AT + 1, "1.3", "1.4")])
        feed = sql_feed(path)
        assert quotes(await ticks_of(feed)) == [(AT, "1.1", "1.2"), (AT + 1, "1.3", "1.4"), (AT + 2, "1.10", "1.2")]
        assert feed.quality() == {"rows": 3, "ticks": 3}

    async def test_at_one_time_a_column_decides_or_the_prices(self, tmp_path):
        path = database(tmp_path, [(AT, "1.3", "1.4"), (AT, "1.1", "1.2")])
        assert [bid for _, bid, _ in quotes(await ticks_of(sql_feed(path)))] == ["1.1", "1.3"]
        by_id = sql_feed(path, columns={"order": "id"})
        assert [bid for _, bid, _ in quotes(await ticks_of(by_id))] == ["1.3", "1.1"]

    @given(times=st.lists(st.integers(0, 5), max_size=40), piece=st.integers(1, 12))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_however_many_rows_a_piece_has_each_is_read_once(self, tmp_path, times, piece):
        path = database(tmp_path, [(AT + at, str(n + 1), "99") for n, at in enumerate(times)])
        options = SqlFeedSettings(url=f"sqlite:///{path}", table="ticks", instrument="EUR_USD")
        source = sqlrows.Source(options, tmp_path, None, chunk_rows=piece)
        chunks = source.chunks("EUR_USD")
        found = [row for chunk in chunks for row in source.rows("EUR_USD", chunk.since, chunk.behind, chunk.size_bytes)]
        assert found == sorted(
            [(AT + at, str(n + 1), "99", None, None) for n, at in enumerate(times)], key=lambda row: row[:2]
        )
        assert [chunk.first for chunk in chunks] == list(range(1, len(times) + 1, piece))

    @pytest.mark.parametrize("columns", [{}, {"order": "id"}])
    async def test_rows_of_two_imports_that_overlap_are_duplicates(self, tmp_path, columns):
        once = rows_of(21_000)
        path = database(tmp_path, [*once, *once[100:20_600]])
        feed = sql_feed(path, columns=columns)
        assert len(await ticks_of(feed)) == 41_500
        assert feed.quality() == {"rows": 41_500, "ticks": 41_500, "duplicate_accepted": 20_500}
        feed = sql_feed(path, columns=columns, bad_rows={"duplicate": "drop"})
        ticks, _ = await read(feed)
        assert feed.quality() == {"rows": 41_500, "ticks": 21_000, "duplicate_dropped": 20_500}
        assert quotes(ticks) == once
        for after in (9_996, 10_050, 20_000):  # some at the border of a piece, within rows of one time
            assert (await read(feed, after))[0] == ticks[after:]
            assert feed.quality()["duplicate_dropped"] == 20_500

    async def test_what_two_say_differently_at_one_time_is_no_duplicate(self, tmp_path):
        path = database(
            tmp_path, [(AT, "1.1", "1.2"), (AT, "1.2", "1.3"), (AT + 1, "1.1", "1.2"), (AT + 1, "1.1", "1.3")]
        )
        feed = sql_feed(path, columns={"order": "id"})
        await ticks_of(feed)
        assert feed.quality() == {"rows": 4, "ticks": 4}

    async def test_from_any_position_the_rest_is_the_same(self, tmp_path):
        path = database(tmp_path, rows_of(21_000))
        feed = sql_feed(path)
        ticks, _ = await read(feed)
        assert len(ticks) == 21_000
        for after in (20_001, 20_000, 19_999):
            assert (await read(feed, after))[0] == ticks[after:]
        assert (await read(sql_feed(path), 20_000))[0] == ticks[20_000:]


class TestInstruments:
    async def test_several_are_one_sequence(self, tmp_path):
        path = database(
            tmp_path, [(AT, "1", "2", "eurusd"), (AT + 1, "3", "4", "USD/JPY"), (AT + 2, "5", "6", "EUR_USD")]
        )
        table = {"url": f"sqlite:///{path}", "table": "ticks", "columns": {"instrument": "symbol"}}
        feed = build("sql", {**table, "instruments": ["EUR_USD", "USD_JPY"]})
        assert [(t.instrument, str(t.bid)) for t in await ticks_of(feed)] == [
            ("EUR_USD", "1"),
            ("USD_JPY", "3"),
            ("EUR_USD", "5"),
        ]

    async def test_a_query_of_ones_own(self, tmp_path):
        path = database(tmp_path, rows_of(30))
        query = "SELECT ts_ns AS at, bid, ask, '10:30 100%' AS note FROM ticks WHERE id <= 9 ;"
        feed = sql_feed(path, query=query, columns={"time": "at"}, time_format="epoch_ns")
        assert len(await ticks_of(feed)) == 9


class TestValues:
    @pytest.mark.parametrize(
        ("value", "options"),
        [
            (AT, {}),
            ("2014-05-08T00:00:00Z", {}),
            ("2014-05-08 02:00", {"time_zone": "Europe/Berlin"}),
        ],
    )
    async def test_times(self, tmp_path, value, options):
        feed = sql_feed(database(tmp_path, [(value, "1.1", "1.2")]), **options)
        assert quotes(await ticks_of(feed)) == [(AT, "1.1", "1.2")]

    @pytest.mark.parametrize(
        ("value", "unit"), [(AT // S, "epoch_s"), (AT / S, "epoch_s"), (AT // 1_000_000, "epoch_ms")]
    )
    async def test_numbers_in_a_unit(self, tmp_path, value, unit):
        path = database(tmp_path, [(value, "1.1", "1.2")])
        feed = sql_feed(path, query="SELECT ts_ns AS t, bid, ask FROM ticks", columns={"time": "t"}, time_format=unit)
        assert quotes(await ticks_of(feed)) == [(AT, "1.1", "1.2")]

    async def test_floats_are_taken_only_where_that_is_said(self, tmp_path):
        path = database(tmp_path, [(AT, 1.39101, 2)])
        with pytest.raises(
            InputError, match=r"ticks, row 1: 1\.39101 is a float, which holds no price exactly.*floats = true"
        ):
            await ticks_of(sql_feed(path))
        assert quotes(await ticks_of(sql_feed(path, floats=True))) == [(AT, "1.39101", "2")]

    async def test_a_bad_row_is_counted_and_named_by_its_number(self, tmp_path):
        path = database(tmp_path, [(AT, "1", "2"), (AT + 1, "much", "2"), (AT + 2, None, "2"), (AT + 3, "3", "2")])
        feed = sql_feed(path)
        assert len(await ticks_of(feed)) == 1
        assert feed.quality() == {"rows": 4, "ticks": 1, "non_numeric_dropped": 2, "crossed_dropped": 1}
        with pytest.raises(InputError, match=r"ticks, row 2: non numeric: 'much' is not a decimal number"):
            await ticks_of(sql_feed(path, bad_rows={"non_numeric": "fail"}))

    async def test_sizes(self, tmp_path):
        path = database(tmp_path, [(AT, "1", "2"), (AT + 1, "1", "2")])
        change(path, "UPDATE ticks SET bid_size = '7.50' WHERE id = 2")
        feed = sql_feed(path, columns={"bid_size": "bid_size", "ask_size": "ask_size"})
        assert [(t.bid_size, t.ask_size) for t in await ticks_of(feed)] == [(None, None), (Decimal("7.50"), None)]


class TestFingerprint:
    def test_it_is_that_of_the_rows_and_of_what_changes_the_ticks(self, tmp_path):
        path = database(tmp_path, rows_of(9))
        base = sql_feed(path).info.fingerprint
        elsewhere = database(tmp_path, rows_of(9), "other.db")
        assert sql_feed(elsewhere, speed=60, deadline_s=5).info.fingerprint == base
        assert sql_feed(path, query="SELECT * FROM ticks").info.fingerprint == base
        changed = {
            sql_feed(path, query="SELECT * FROM ticks WHERE id < 9").info.fingerprint,
            sql_feed(path, start="2014-05-08").info.fingerprint,
            sql_feed(path, bad_rows={"crossed": "accept"}).info.fingerprint,
        }
        change(path, "UPDATE ticks SET bid = '1.0000001' WHERE id = 1")
        changed.add(sql_feed(path).info.fingerprint)
        assert len(changed | {base}) == 5

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE ticks SET ask = '2.5' WHERE id = 45000",
            "DELETE FROM ticks WHERE id = 45000",
            f"INSERT INTO ticks (ts_ns, bid, ask) VALUES ({AT + 6_500 * S}, '1', '2')",
        ],
    )
    async def test_rows_that_change_under_a_feed_end_it_with_their_numbers(self, tmp_path, sql):
        path = database(tmp_path, rows_of(65_000))
        feed = sql_feed(path)
        await feed.open(0)
        first = await feed.next_window(20_000)
        assert first is not None
        change(path, sql)
        assert await feed.next_window(20_000) is not None
        with pytest.raises(InputError, match=r"rows 40,001 to 60,000 have been changed since the feed was opened"):
            await feed.next_window(20_000)

    def test_everything_is_read_once_a_process(self, tmp_path):
        path = database(tmp_path, rows_of(10))
        table = {"url": f"sqlite:///{path}", "table": "ticks", "instrument": "EUR_USD"}
        told: list[int] = []
        context = FeedContext(
            "test", ManualClock(), hashes=FileHashes(), reading=lambda what, done, total: told.append(done)
        )
        one, two = (FEEDS["sql"].build(msgspec.convert(table, SqlFeedSettings), context) for _ in range(2))
        assert one.info.fingerprint == two.info.fingerprint
        assert told == [10]

    async def test_rows_behind_the_end_are_of_another_start(self, tmp_path):
        path = database(tmp_path, rows_of(10))
        feed = sql_feed(path)
        change(path, f"INSERT INTO ticks (ts_ns, bid, ask) VALUES ({AT + 99 * S}, '1', '2')")
        assert len(await ticks_of(feed)) == 10
        assert sql_feed(path).info.fingerprint != feed.info.fingerprint


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (
                {"table": "nothing"},
                "nothing cannot be read from .*no such table: nothing. Look at table, query and columns",
            ),
            ({"columns": {"bid": "BID PRICE"}}, "no such column"),
            ({"query": "SELECT"}, "the query cannot be read from"),
            ({"query": "DELETE FROM ticks"}, "the query cannot be read from"),
            ({"instrument": "EUR_XXX"}, "instrument 'EUR_XXX' is not known"),
        ],
    )
    def test_what_is_not_there(self, tmp_path, options, problem):
        path = database(tmp_path, rows_of(3))
        with pytest.raises(InputError, match=problem):
            sql_feed(path, **options)
        assert sql_feed(path).info.total_bytes == 3

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path):
        with pytest.raises(InputError, match=r"ticks\.db does not exist"):
            sql_feed(tmp_path / "ticks.db")
        assert list(tmp_path.iterdir()) == []
        around = FeedSurroundings(tmp_path, CATALOGUE, Path("/"), lambda path: None)
        assert [keys for keys, _ in look_at_database({"url": "sqlite:///ticks.db"}, around)] == [("url",)]

    async def test_numbers_without_a_unit(self, tmp_path):
        path = database(tmp_path, [(5, "1", "2")])
        feed = sql_feed(path, query="SELECT ts_ns AS t, bid, ask FROM ticks", columns={"time": "t"})
        with pytest.raises(InputError, match=r"'t' holds whole numbers: say in time_format what they count"):
            await ticks_of(feed)

    def test_rows_without_a_time(self, tmp_path):
        path = database(tmp_path, [(AT, "1", "2"), (None, "1", "2")])
        with pytest.raises(InputError, match=r"1 rows have no time \(NULL in ts_ns\)"):
            sql_feed(path)

    @pytest.mark.parametrize(
        ("table", "problem"),
        [
            ({"url": "sqlite:///x"}, "give table or query"),
            ({"url": "sqlite:///x", "table": "t", "query": "q", "instrument": "EUR_USD"}, "give table or query"),
            ({"url": "sqlite:///x", "table": "t"}, "give instrument, or instruments"),
            ({"url": "sqlite:///x", "table": "t", "instruments": ["EUR_USD"]}, "give columns.instrument"),
            ({"url": "sqlite:///x", "table": "t", "instrument": "EUR_USD", "gap_s": 0}, "gap_s must be above zero"),
            (
                {"url": "sqlite:///x", "table": "t", "instrument": "E", "start": "2015-01-01", "end": "2014-01-01"},
                "is not before end",
            ),
        ],
    )
    def test_what_cannot_be_meant(self, table, problem):
        with pytest.raises(msgspec.ValidationError, match=problem):
            msgspec.convert(table, SqlFeedSettings)

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("mysql://host/x", "is no URL of a database; allowed: sqlite:///"),
            ("sqlite://", "is no URL"),
            ("postgresql://host", "is no URL"),
            ("postgresql://host:port/x", "is no URL"),
            ("postgresql://user:secret@host/x", "a password stands in the url"),
        ],
    )
    def test_urls(self, url, problem):
        from tradekeel.feeds.sql import check_url

        with pytest.raises(InputError, match=problem) as raised:
            check_url(url)
        assert "secret" not in str(raised.value)


class TestPostgres:
    def feed(self, url: str, **options: Any) -> Feed:
        from sqlalchemy.engine import make_url

        parts = make_url(url)
        password = parts.password
        table = {"url": parts.set(password=None, drivername="postgresql").render_as_string(), "instrument": "EUR_USD"}
        context = FeedContext("test", ManualClock(), password=None if password is None else lambda: str(password))
        return FEEDS["sql"].build(msgspec.convert(table | options, SqlFeedSettings), context)

    async def test_its_own_times_and_numbers(self, postgres_url):
        import psycopg

        with psycopg.connect(postgres_url) as db:
            db.execute("CREATE SCHEMA market")
            db.execute("CREATE TABLE market.quotes (at timestamptz, bid numeric(10,5), ask numeric, size float8)")
            db.execute("INSERT INTO market.quotes VALUES ('2014-05-08T02:00:00.000001+02', 1.391, 1.3912, 1.5)")
            db.execute("INSERT INTO market.quotes VALUES ('2014-05-08T00:00:00Z', 1.39, 1.4, NULL)")
        columns = {"time": "at", "bid_size": "size"}
        feed = self.feed(postgres_url, table="market.quotes", columns=columns, floats=True)
        ticks = await ticks_of(feed)
        assert quotes(ticks) == [(AT, "1.39000", "1.4"), (AT + 1_000, "1.39100", "1.3912")]
        assert [tick.bid_size for tick in ticks] == [None, Decimal("1.5")]
        nothing = "SELECT at::timestamp AS at, bid, ask FROM market.quotes WHERE bid > 1.3 AND 'x%y' LIKE '%'"
        again = await ticks_of(self.feed(postgres_url, query=nothing, columns={"time": "at"}))
        assert quotes(again) == quotes(ticks)

    def test_nothing_is_ever_written(self, postgres_url):
        import psycopg

        with psycopg.connect(postgres_url) as db:
            db.execute("CREATE TABLE quotes (ts_ns bigint, bid numeric, ask numeric)")
            db.execute(
                "CREATE FUNCTION hurt() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN DELETE FROM quotes; RETURN 1; END'"
            )
        query = "SELECT hurt() AS ts_ns, bid, ask FROM quotes UNION SELECT hurt(), 1, 2"
        with pytest.raises(InputError, match="read-only transaction"):
            self.feed(postgres_url, query=query)

    def test_a_server_that_is_away_is_waited_for_where_that_is_wanted(self):
        class Enough(Exception):
            pass

        said: list[str] = []

        def patience(what: str) -> None:
            said.append(what)
            raise Enough

        table = {"url": "postgresql://nobody@127.0.0.1:1/x", "table": "t", "instrument": "EUR_USD", "deadline_s": 2.0}
        built = msgspec.convert(table, SqlFeedSettings)
        with pytest.raises(StoreAway, match="the database of a feed does not answer: postgresql"):
            FEEDS["sql"].build(built, FeedContext("test", ManualClock()))
        with pytest.raises(Enough):
            FEEDS["sql"].build(built, FeedContext("test", ManualClock(), patience=patience))
        assert len(said) == 1

    @pytest.mark.skipif(bool(os.environ.get(POSTGRES_URL)), reason="that server may let everybody in")
    def test_a_password_that_is_wrong_is_said_and_not_waited_for(self, postgres_url):
        from sqlalchemy.engine import make_url

        wrong = make_url(postgres_url).set(password="wrong-password").render_as_string(hide_password=False)
        with pytest.raises(StoreDenied, match="does not let us in") as raised:
            self.feed(wrong, table="t")
        assert "wrong-password" not in str(raised.value)


class TestBars:
    HOUR = 3_600 * S
    BARS: ClassVar[dict[str, Any]] = {"span": "1h", "spread_pips": Decimal(1)}

    def bars(self, folder: Path, count: int, more: str = "") -> Path:
        path = folder / "bars.db"
        rows = [
            (AT + n * self.HOUR, f"1.{n % 7 + 1000}", "1.1010", "1.0990", f"1.{n % 5 + 1000}") for n in range(count)
        ]
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE ticks (ts_ns, open, high, low, close, symbol)")
            db.executemany("INSERT INTO ticks VALUES (?, ?, ?, ?, ?, 'EUR_USD')", rows)
            if more:
                db.execute(more)
        text = "ts_ns,open,high,low,close\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
        (folder / "bars.csv").write_text(text)
        return path

    @pytest.mark.parametrize("count", [5, sqlrows.PIECE_CANDLES + 3])
    async def test_they_are_played_back_as_those_of_a_file(self, tmp_path, count):
        feed = sql_feed(self.bars(tmp_path, count), bars=self.BARS)
        columns = {"time": "ts_ns"}
        files = build(
            "file",
            {
                "path": str(tmp_path / "bars.csv"),
                "instrument": "EUR_USD",
                "time_format": "epoch_ns",
                "bars": self.BARS,
                "columns": columns,
            },
        )
        ticks = await ticks_of(feed)
        assert ticks == await ticks_of(files)
        assert feed.quality() == files.quality()
        assert (await read(feed, after=len(ticks) // 2))[0] == ticks[len(ticks) // 2 :]

    async def test_bad_bars_are_bad_rows(self, tmp_path):
        more = f"INSERT INTO ticks VALUES ({AT + 9 * self.HOUR}, '1.2', '1.1010', '1.0990', '1.1', 'EUR_USD')"
        feed = sql_feed(self.bars(tmp_path, 5, more), bars=self.BARS)
        await ticks_of(feed)
        assert feed.quality()["bar_range_dropped"] == 1

    async def test_a_span_that_is_not_theirs_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"ticks, row 2: the bar of 2014-05-08T01:00.*3600 s later"):
            await ticks_of(sql_feed(self.bars(tmp_path, 5), bars={**self.BARS, "span": "4h"}))

    async def test_what_they_are_is_of_the_fingerprint(self, tmp_path):
        path = self.bars(tmp_path, 5)
        wider = sql_feed(path, bars={**self.BARS, "spread_pips": Decimal(2)})
        assert wider.info.fingerprint != sql_feed(path, bars=self.BARS).info.fingerprint
