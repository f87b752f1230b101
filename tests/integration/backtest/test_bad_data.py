"""What a backtest says of data that is not as it should be: a refusal that names it, or the feed's policy with counts."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.cli_daemon import call
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.domain.tasks import TaskStatus
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.feeds.zones import parse_instant

CONFIG = """
[daemon]
name = "bad"
state_dir = "state"
[storage]
snapshot_schedule = 0
[feeds.f]
{feed}
[accounts.a]
venue = "paper"
feed = "f"
[accounts.a.paper]
conversion_rates = {{ USD_JPY = 150 }}
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = [{instruments}]
params = {{ fast = 3, slow = 6 }}
"""
OFTEN, SELDOM = "fast = 3, slow = 6", "fast = 300, slow = 600"
"""Where it is no matter what is traded, a trade costs as much time as a hundred ticks."""

WEDNESDAY, SATURDAY = "2024-01-03T13:00:00Z", "2024-01-06T13:00:00Z"
Row = tuple[int, str, str]  # time in nanoseconds, bid, ask


def rows(count: int = 40, start: str = WEDNESDAY, zero_every: int = 0) -> list[Row]:
    found = []
    for number in range(count):
        bid = 110_000 + number * 7 % 41
        ask = bid if zero_every and not number % zero_every else bid + 10
        found.append((parse_instant(start) + number * NS_PER_S, f"{bid / 1e5:.5f}", f"{ask / 1e5:.5f}"))
    return found


def text(table: Sequence[Row], head: str = "time,bid,ask") -> bytes:
    return "".join([f"{head}\n", *(f"{iso(ts_ns)},{bid},{ask}\n" for ts_ns, bid, ask in table)]).encode()


def zipped(path: Path, table: Sequence[Row]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("q.csv", text(table))


def packed(path: Path, table: Sequence[Row]) -> None:
    times, bids, asks = zip(*table, strict=True) if table else ((), (), ())
    columns = [pa.array(times, pa.int64()), pa.array(bids, pa.string()), pa.array(asks, pa.string())]
    pq.write_table(pa.Table.from_arrays(columns, names=["ts_ns", "bid", "ask"]), path)


def stored(path: Path, table: Sequence[Row]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE ticks (ts_ns INTEGER, bid TEXT, ask TEXT)")
        db.executemany("INSERT INTO ticks VALUES (?, ?, ?)", table)


def recorded(path: Path, table: Sequence[Row]) -> None:
    lines = []
    for ts_ns, bid, ask in table:
        frame = {"e": "bookTicker", "s": "EURUSD", "b": bid, "B": "1", "a": ask, "A": "1", "T": ts_ns // 10**6}
        lines.append(f"{ts_ns} {json.dumps(frame)}\n")
    path.write_bytes(gzip.compress("".join(lines).encode()))


FILE = 'kind = "file"\ninstrument = "EUR_USD"\npath = "{}"\n'
KINDS: dict[str, tuple[str, str, Callable[[Path, Sequence[Row]], object]]] = {
    "csv": ("q.csv", FILE, lambda path, table: path.write_bytes(text(table))),
    "gz": ("q.csv.gz", FILE, lambda path, table: path.write_bytes(gzip.compress(text(table)))),
    "zip": ("q.zip", FILE, zipped),
    "parquet": ("q.parquet", FILE + 'format = "parquet"\n', packed),
    "binance": ("q.gz", FILE + 'format = "binance"\n', recorded),
    "sql": ("q.db", 'kind = "sql"\ninstrument = "EUR_USD"\nurl = "sqlite:///{}"\ntable = "ticks"\n', stored),
}


def config(folder: Path, feed: str, instruments: str = '"EUR_USD"') -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(feed=feed, instruments=instruments))
    return path


def made(folder: Path, kind: str, table: Sequence[Row], more: str = "") -> Path:
    name, feed, write = KINDS[kind]
    write(folder / name, table)
    return config(folder, feed.format(name) + more)


@pytest.mark.parametrize("kind", KINDS)
def test_data_without_rows_is_refused(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, [])
    done = call("backtest", path)
    assert (done.returncode, "feed f has no ticks (its data has no rows)" in done.stderr) == (2, True), done.stderr
    for command in ("info", "check"):
        done = call("data", command, path)
        assert (done.returncode, "feed f has not a single tick: there are no rows" in done.stderr) == (2, True), (
            done.stderr
        )
    done = call("data", "convert", path, tmp_path / "out.parquet")
    assert (done.returncode, "there are no rows. Nothing was written" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_which_no_row_is_left_is_refused_with_what_became_of_them(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, rows(zero_every=1))
    done = call("backtest", path)
    assert "(of 40 rows in its data none is left: 40 zero spread dropped)" in done.stderr
    assert done.returncode == 2
    for words in (
        ("convert", path, tmp_path / "out.parquet"),
        ("info", path),
        ("check", path),
        ("check", path, "--json"),
    ):
        done = call("data", *words)
        assert "feed f has not a single tick: of 40 rows none was left (40 zero spread dropped)" in done.stderr
        assert done.returncode == 2


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_lies_between_two_times_it_is_said_from_when_to_when_there_is_something(
    tmp_path: Path, kind: str
) -> None:
    there_is = "Its ticks are from 2024-01-03T13:00:00.000000000Z to 2024-01-03T13:00:39.000000000Z"
    path = made(tmp_path, kind, rows())
    for words in (("--start", "2031-01-01"), ("--end", "2020-01-01"), ("--start", "2024-01-04", "--end", "2024-01-05")):
        done = call("backtest", path, *words)
        assert (done.returncode, there_is in done.stderr) == (2, True), done.stderr
    path.write_text(path.read_text().replace("[accounts.a]", 'start = "2031-01-01"\n[accounts.a]'))
    assert there_is in call("backtest", path).stderr, "the configuration's own start"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sql"])
def test_rows_in_disorder_are_dropped_and_counted_and_a_zero_spread_too(tmp_path: Path, kind: str) -> None:
    table = rows(zero_every=4)
    done = call("backtest", made(tmp_path, kind, [*table[20:], *table[:20]]))
    assert done.returncode == 0, done.stderr
    assert "bad rows of the data: 20 out of order dropped, 5 zero spread dropped" in done.stderr


def test_a_database_is_asked_in_order(tmp_path: Path) -> None:
    table = rows()
    done = call("backtest", made(tmp_path, "sql", [*table[20:], *table[:20]]))
    assert (done.returncode, "bad rows" in done.stderr) == (0, False)


def test_a_policy_that_fails_names_the_file_and_the_line(tmp_path: Path) -> None:
    done = call("backtest", made(tmp_path, "csv", rows(zero_every=7), 'bad_rows = { zero_spread = "fail" }\n'))
    assert done.returncode == 2
    assert "q.csv, line 2: zero spread" in done.stderr


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("csv", "no column 'time' in the header, which has 'when', 'b', 'a'"), ("parquet", "no column 'ts_ns' or 'time'")],
)
def test_an_unknown_column_is_named_with_those_that_there_are(tmp_path: Path, kind: str, sentence: str) -> None:
    path = made(tmp_path, kind, rows())
    if kind == "csv":
        (tmp_path / "q.csv").write_bytes(text(rows(), head="when,b,a"))
    else:
        table = pq.read_table(tmp_path / "q.parquet").rename_columns(["when", "b", "a"])
        pq.write_table(table, tmp_path / "q.parquet")
    for words in (("backtest", path), ("data", "check", path)):
        done = call(*words)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


def test_files_that_overlap_are_named_and_the_rows_behind_counted(tmp_path: Path) -> None:
    (tmp_path / "20240103.csv").write_bytes(text(rows()))
    (tmp_path / "20240104.csv").write_bytes(text(rows(start="2024-01-03T13:00:30Z")))
    path = config(tmp_path, FILE.format("*.csv"))
    assert "bad rows of the data: 9 out of order dropped" in call("backtest", path).stderr
    (overlap,) = json.loads(call("data", "check", path, "--json").stdout)["instruments"][0]["overlaps"]
    assert overlap["seconds"] == "9.000"
    assert "files overlap" in call("data", "check", path).stdout


def test_a_price_in_the_wrong_place_is_told_of_and_one_of_the_market_s_is_not(tmp_path: Path) -> None:
    table = rows()
    ts_ns, bid, ask = table[20]
    table[20] = (ts_ns, f"{float(bid) * 100:.5f}", f"{float(ask) * 100:.5f}")
    done = call("backtest", made(tmp_path, "csv", table))
    assert "the price leapt by more than a fifth from one tick to the next, 2 times" in done.stderr
    assert done.returncode == 0
    assert "leapt" not in call("backtest", made(tmp_path, "csv", rows())).stderr


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_makes_one_doubt_a_run_is_in_its_report_too(tmp_path: Path, interrupted: bool) -> None:
    path = made(tmp_path, "csv", rows(2_500, start=SATURDAY, zero_every=50), "bad_rows.zero_spread = 'fix'\n")
    path.write_text(path.read_text().replace(OFTEN, SELDOM))
    doubts = ("bad rows of the data: 50 zero spread fixed", "2,500 ticks while the market is closed")
    if interrupted:
        assert execute(prepare(path, {})[0], steering=Leaves()).status is TaskStatus.PAUSED
    done = call("backtest", path, "--report", tmp_path / "run.html")
    told = call("report", path)
    for doubt in doubts:
        assert done.stderr.count(doubt) == 1
        assert f"{doubt[0].upper()}{doubt[1:]}" in told.stderr
        assert f"{doubt[0].upper()}{doubt[1:]}" in (tmp_path / "run.html").read_text(encoding="utf-8")
    sound = made(tmp_path, "csv", rows(100))
    assert call("backtest", sound).returncode == 0
    assert call("report", sound).stderr == ""


def test_a_wrong_time_zone_shows_in_ticks_while_the_market_is_closed(tmp_path: Path) -> None:
    path = made(tmp_path, "csv", rows(start=SATURDAY))
    done = call("backtest", path)
    assert "40 ticks while the market is closed" in done.stderr
    assert json.loads(call("backtest", path, "--json").stdout)[0]["quality"]["market_closed"] == 40
    path = made(tmp_path, "csv", rows(start=SATURDAY), "gap_on_weekends = true\n")
    assert "market is closed" not in call("backtest", path).stderr


@pytest.mark.parametrize("kind", KINDS)
def test_prices_off_the_step_of_their_instrument_are_counted_and_the_first_is_named(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, rows())
    path.write_text(path.read_text().replace("EUR_USD", "USD_JPY"))
    if kind == "binance":
        path.write_text(
            path.read_text().replace("[accounts.a]", 'frames.symbols = { USD_JPY = "EURUSD" }\n[accounts.a]')
        )
    done = call("backtest", path)
    assert done.returncode == 0, done.stderr
    assert "bad rows of the data: 40 off grid accepted" in done.stderr
    assert "40 quotes with a price off the instrument's step. The first of USD_JPY in " in done.stderr
    assert " 1: bid 1.10000 and ask 1.10010 are not both whole steps of 0.001. Is it the right" in done.stderr.replace(
        ", line 2:", ", line 1:"
    )
    (first,) = json.loads(call("backtest", path, "--json").stdout)[0]["first_bad_rows"]
    assert (first["instrument"], first["kind"], first["policy"]) == ("USD_JPY", "off_grid", "accept")
    said = call("data", "check", path, "--strict")
    assert (said.returncode, "off grid" in said.stdout) == (2, True), said.stderr
    assert "prices off the step of USD_JPY. Is it the right instrument, and its tick_size?" in said.stdout


def test_prices_off_the_step_of_their_instrument_may_be_refused(tmp_path: Path) -> None:
    table = [*rows(), (parse_instant(WEDNESDAY) + 60 * NS_PER_S, "1.123456", "1.2")]
    done = call("backtest", made(tmp_path, "csv", table, 'bad_rows = { off_grid = "fail" }\n'))
    assert done.returncode == 2
    assert "q.csv, line 42: off grid: bid 1.123456 and ask 1.2 are not both whole steps of 0.00001" in done.stderr


class Leaves:
    """Somebody who has enough behind each window."""

    def wants(self) -> str:
        return "stop"


@pytest.mark.untraced
@pytest.mark.parametrize("kind", ["csv", "parquet", "sql"])
def test_what_is_counted_is_the_same_however_often_a_run_was_interrupted(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, rows(4_500, start=SATURDAY, zero_every=50))
    path.write_text(path.read_text().replace(OFTEN, SELDOM))
    home = {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path / "other")}
    whole = execute(prepare(path, home)[0])
    assert (whole.quality["market_closed"], whole.quality["zero_spread_dropped"]) == (4_410, 90)
    done = execute(prepare(path, {})[0], steering=Leaves())
    parts = 1
    while done.status is TaskStatus.PAUSED:
        done, parts = execute(prepare(path, {})[0], steering=Leaves()), parts + 1
    assert parts > 2
    assert done.quality == whole.quality


def test_an_instrument_without_a_tick_is_named(tmp_path: Path) -> None:
    (tmp_path / "eur.csv").write_bytes(text(rows()))
    (tmp_path / "jpy.csv").write_bytes(text([]))
    feed = 'kind = "file"\ninstruments = { EUR_USD = "eur.csv", USD_JPY = "jpy.csv" }\n'
    path = config(tmp_path, feed, '"EUR_USD", "USD_JPY"')
    assert "not one tick has come of USD_JPY" in call("backtest", path).stderr
    assert json.loads(call("backtest", path, "--json").stdout)[0]["instruments_without_ticks"] == ["USD_JPY"]


@pytest.mark.parametrize("kind", ["csv", "sql"])
def test_a_start_behind_the_end_that_the_configuration_says_is_refused(tmp_path: Path, kind: str) -> None:
    done = call("backtest", made(tmp_path, kind, rows(), 'end = "2024-01-05"\n'), "--start", "2024-02-01")
    assert done.returncode == 2, done.stderr
    assert "feed f, cut by --start and --end: start 2024-02-01 is not before end 2024-01-05" in done.stderr
