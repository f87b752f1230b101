"""`tradekeel data info`, `check` and `convert`: what they say of files, folders and feeds, and what they refuse."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.feeds.reading import HEADER, build, ticks_of, write
from tradekeel.cli.app import dispatch
from tradekeel.errors import ExitCode
from tradekeel.runtime.loop import run as run_loop

Out = pytest.CaptureFixture[str]
ROW = "2014-05-08T{:02d}:{:02d}:{:02d}Z,{},{}\n"

ACCOUNT = """
[accounts.one]
venue = "paper"
feed = "{feed}"
[strategies.trend]
kind = "ema_cross"
account = "one"
instruments = ["EUR_USD"]
"""


def rows(*quotes: tuple[str, str], start: int = 0) -> str:
    return "".join(
        ROW.format((start + n) // 3600, (start + n) // 60 % 60, (start + n) % 60, bid, ask)
        for n, (bid, ask) in enumerate(quotes)
    )


SOUND = [("1.10000", "1.10010"), ("1.10002", "1.10012")] * 30
DIRTY = [*SOUND, ("1.10020", "1.10010"), ("1.10010", "1.10010"), ("1.10500", "1.10510"), *SOUND]


def sound(folder: Path, name: str = "eurusd.csv") -> Path:
    return write(folder / name, HEADER + rows(*SOUND))


def dirty(folder: Path) -> Path:
    bad = "yesterday,1,2\n" + rows(("1.1", "1.2")) + rows(("1.1", "1.2"), ("1.1", "1.2"), start=7_200)
    return write(folder / "eurusd.csv", HEADER + rows(*DIRTY) + bad)


def run(capsys: Out, *words: Any, code: int = ExitCode.DONE) -> str:
    capsys.readouterr()
    assert dispatch(["data", *map(str, words)]) == code
    said = capsys.readouterr()
    return said.out + said.err


def asked(capsys: Out, *words: Any) -> Any:
    return json.loads(run(capsys, *words, "--json"))


def kinds(found: Mapping[str, Any]) -> dict[str, int]:
    return {bad["kind"]: bad["count"] for bad in found["instruments"][0]["bad_rows"]}


def config(folder: Path, table: str, feed: str = "market") -> Path:
    return write(folder / "demo.toml", f"[feeds.market]\n{table}" + ACCOUNT.format(feed=feed))


class TestInfo:
    def test_a_file_says_what_it_is(self, tmp_path, capsys):
        said = run(capsys, "info", sound(tmp_path))
        assert "file, format csv, " in said
        assert 'recognised: format = "csv", delimiter = ",", header = true, columns.time = "time"' in said
        assert "EUR_USD        60  2014-05-08 00:00:00  2014-05-08 00:00:59" in said

    def test_everything_is_in_the_json(self, tmp_path, capsys):
        found = asked(capsys, "info", sound(tmp_path))
        (one,) = found["instruments"]
        assert (found["rows"], found["ticks"], found["bytes"]) == (60, 60, (tmp_path / "eurusd.csv").stat().st_size)
        assert (one["first"], one["ticks_a_day"], one["days"]) == ("2014-05-08T00:00:00.000000000Z", 60, 1)
        assert (one["price_low"], one["price_high"]) == ("1.10000", "1.10012")
        assert (one["spread_min"], one["spread_median"], one["spread_max"]) == ("0.00010",) * 3
        assert [file["rows"] for file in one["files"]] == [60]

    @pytest.mark.untraced
    def test_tables_fit_80_columns(self, tmp_path, capsys, data_dir):
        for path in (data_dir / "oanda/tick/eurusd/2014050*.zip", dirty(tmp_path)):
            for command in ("info", "check"):
                shown = run(capsys, command, path).splitlines()
                tables = [line for line in shown if not line.startswith((str(path), "recognised", "ticks while"))]
                assert max(map(len, tables)) <= 80

    def test_a_feed_of_a_configuration(self, tmp_path, capsys):
        sound(tmp_path)
        path = config(tmp_path, 'kind = "file"\npath = "eurusd.csv"\ninstrument = "EUR_USD"\n')
        assert "feed market: file, format csv" in run(capsys, "info", path)
        assert asked(capsys, "info", path, "--feed", "market")["recognised"] == {}

    def test_two_imports_in_one_table_are_noticed(self, tmp_path, capsys):
        quotes = [(1_399_507_200_000_000_000 + n, "1.1", "1.2") for n in range(50)]
        with closing(sqlite3.connect(tmp_path / "t.db")) as db, db:
            db.execute("CREATE TABLE t (ts_ns, bid, ask)")
            db.executemany("INSERT INTO t VALUES (?, ?, ?)", quotes)
            db.executemany("INSERT INTO t VALUES (?, ?, ?)", quotes[40:])
            db.executemany("INSERT INTO t VALUES (?, ?, '1.3')", [quote[:2] for quote in quotes[:7]])
        table = 'kind = "sql"\nurl = "sqlite:///t.db"\ntable = "t"\ninstrument = "EUR_USD"\n'
        path = config(tmp_path, table)
        assert kinds(asked(capsys, "check", path)) == {"duplicate": 10}
        assert "7 ticks have the time of the one before them and other prices" in run(capsys, "check", path)

    def test_bars_are_looked_at_as_they_are_played(self, tmp_path, capsys):
        hours = [f"2014-05-{day:02d}T{hour:02d}:00:00Z,1.1,1.2,1.0,1.1\n" for day in (7, 8) for hour in range(24)]
        path = write(tmp_path / "eurusd.csv", "time,open,high,low,close\n" + "".join(hours[:30] + hours[31:]))
        assert "--set bars.spread_pips=" in run(capsys, "check", path, code=ExitCode.BAD_USAGE)
        found = asked(capsys, "check", path, "--set", "bars.spread_pips=2")
        assert found["recognised"]["bars"] == {"span": "1h"}
        assert (found["rows"], found["instruments"][0]["spread_median"], kinds(found)) == (47, "0.00020", {"gap": 1})
        weekend = [line.replace("2014-05-07", "2014-05-10") for line in hours[:24]]
        path = write(tmp_path / "eurusd.csv", "time,open,high,low,close\n" + "".join(weekend))
        told = run(capsys, "check", path, "--set", "bars.spread_pips=2")
        assert re.search(r"market closed +[\d,]+ +100\.00 %", told), "of the ticks, and not of the rows"

    def test_whoever_converts_bars_is_told_what_the_file_will_not_say(self, tmp_path, capsys):
        hours = "".join(f"2014-05-07T{hour:02d}:00:00Z,1.1,1.2,1.0,1.1\n" for hour in range(24))
        path = write(tmp_path / "eurusd.csv", "time,open,high,low,close\n" + hours)
        said = run(capsys, "convert", path, tmp_path / "q.parquet", "--set", "bars.spread_pips=2")
        assert "made up from bars of 1h" in said
        assert "decide on bars of 1h or longer" in " ".join(said.split())
        quotes = asked(capsys, "convert", dirty(tmp_path), tmp_path / "other.parquet")
        assert quotes["made_of_bars"] is None

    @pytest.mark.parametrize("kind", ["synthetic", "sql"])
    def test_feeds_of_other_kinds(self, tmp_path, capsys, kind):
        with closing(sqlite3.connect(tmp_path / "t.db")) as db, db:
            db.execute("CREATE TABLE t (ts_ns, bid, ask)")
            db.executemany(
                "INSERT INTO t VALUES (?, '1.1', '1.2')", [(1_399_507_200_000_000_000 + n,) for n in range(50)]
            )
        table = {
            "synthetic": 'kind = "synthetic"\ninstruments = ["EUR_USD"]\nticks = 50\nspeed = 1\n',
            "sql": 'kind = "sql"\nurl = "sqlite:///t.db"\ntable = "t"\ninstrument = "EUR_USD"\n',
        }
        found = asked(capsys, "info", config(tmp_path, table[kind]))
        assert (found["kind"], found["ticks"], found["instruments"][0]["files"]) == (kind, 50, [])

    def test_recorded_frames(self, data_dir, capsys):
        found = asked(capsys, "info", data_dir / "binance/spot")
        assert found["recognised"] == {"format": "binance", "gap_on_weekends": True}
        assert found["counts"]["trades"] == 19_904
        assert found["instruments"][0]["instrument"] == "BTC_USDT"


class TestCheck:
    def test_sound_data_has_nothing_odd(self, tmp_path, capsys):
        path = sound(tmp_path)
        assert "EUR_USD: 60 ticks, and nothing is odd about them." in run(capsys, "check", path)
        run(capsys, "check", path, "--strict")

    def test_everything_odd_is_counted_and_the_first_is_named(self, tmp_path, capsys):
        path = dirty(tmp_path)
        found = asked(capsys, "check", path)
        assert kinds(found) == {
            "time": 1,
            "out_of_order": 1,
            "crossed": 1,
            "zero_spread": 1,
            "gap": 1,
        }
        (one,) = found["instruments"]
        assert one["spikes"]["count"] == 2
        crossed = next(bad for bad in one["bad_rows"] if bad["kind"] == "crossed")
        assert crossed["policy"] == "drop"
        assert crossed["examples"][0]["where"].endswith("eurusd.csv, line 62")
        assert crossed["examples"][0]["found"] == "bid 1.10020, ask 1.10010"
        said = run(capsys, "check", path, "--strict", code=ExitCode.BAD_USAGE)
        assert "eurusd.csv, line 62: bid 1.10020, ask 1.10010" in " ".join(said.split())
        run(capsys, "check", path)  # it is only said, unless that is wanted

    def test_what_would_stop_a_feed_does_not_stop_the_check(self, tmp_path, capsys):
        dirty(tmp_path)
        table = 'kind = "file"\npath = "eurusd.csv"\ninstrument = "EUR_USD"\nbad_rows = { crossed = "fail", gap = "fail" }\n'
        found = asked(capsys, "check", config(tmp_path, table))
        policies = {bad["kind"]: bad["policy"] for bad in found["instruments"][0]["bad_rows"]}
        assert (policies["crossed"], policies["gap"], policies["zero_spread"]) == ("fail", "fail", "drop")

    def test_how_far_off_a_spike_is_can_be_chosen(self, tmp_path, capsys):
        path = dirty(tmp_path)
        assert asked(capsys, "check", path, "--spike-mads", "1000")["instruments"][0]["spikes"]["count"] == 0
        assert "must be above zero" in run(capsys, "check", path, "--spike-mads", "0", code=2)
        assert "is not a decimal number" in run(capsys, "check", path, "--spike-mads", "many", code=2)

    def test_files_that_overlap(self, tmp_path, capsys):
        write(tmp_path / "eurusd_20140508.csv", HEADER + rows(*SOUND))
        write(tmp_path / "eurusd_20140509.csv", HEADER + rows(*SOUND, start=30))
        found = asked(capsys, "check", tmp_path)["instruments"][0]
        assert [Path(overlap["file"]).name for overlap in found["overlaps"]] == ["eurusd_20140509.csv"]
        assert found["overlaps"][0]["seconds"] == "29.000"
        assert "files overlap" in run(capsys, "check", tmp_path)

    @pytest.mark.untraced
    def test_a_wrong_time_zone_shows_in_ticks_while_the_market_is_closed(self, data_dir, capsys):
        path = data_dir / "fxcm/tick/eurusd"
        wrong, right = asked(capsys, "check", path), asked(capsys, "check", path, "--time-zone", "UTC-05:00")
        assert wrong["instruments"][0]["ticks_on_weekends"] == 4_607
        assert (
            right["instruments"][0]["ticks_on_weekends"] == 701
        )  # this broker quotes before the market opens on Sunday
        assert (kinds(right)["crossed"], kinds(right)["zero_spread"]) == (31_212, 37_935)
        assert "is time_zone right?" in run(capsys, "check", path)

    def test_a_market_that_never_closes_has_ticks_at_the_weekend(self, tmp_path, capsys):
        saturday = HEADER + rows(*SOUND).replace("2014-05-08", "2014-05-10")
        path = write(tmp_path / "ticks.csv", saturday)
        for symbol, count in (("EUR_USD", len(SOUND)), ("BTC_USDT", 0)):
            found = asked(capsys, "check", path, "--instrument", symbol)
            assert found["instruments"][0]["ticks_on_weekends"] == count

    @pytest.mark.parametrize("command", ["info", "check"])
    def test_data_without_a_tick_is_an_error(self, tmp_path, capsys, command):
        path = write(tmp_path / "eurusd.csv", "time,bid,ask\n")
        said = run(capsys, command, path, code=ExitCode.BAD_USAGE)
        assert "eurusd.csv has not a single tick: there are no rows. Is it the right file" in said

    def test_an_instrument_without_a_tick_is_odd(self, tmp_path, capsys):
        sound(tmp_path)
        write(tmp_path / "jpy.csv", HEADER)
        table = 'kind = "file"\ninstruments = { EUR_USD = "eurusd.csv", USD_JPY = "jpy.csv" }\n'
        path = config(tmp_path, table)
        assert "USD_JPY: 0 ticks" in run(capsys, "check", path)
        run(capsys, "check", path, "--strict", code=ExitCode.BAD_USAGE)

    def test_rows_are_counted_as_rows_also_where_each_is_many_ticks(self, tmp_path, capsys):
        bars = "time,open,high,low,close\n" + "".join(
            f"2024-01-02T0{hour}:00:00Z,1.1,1.11,1.09,1.1\n" for hour in range(5)
        )
        path = write(tmp_path / "eurusd.csv", bars + "2024-01-02T09:00:00Z,x,1,1,1\n")
        found = asked(capsys, "info", path, "-s", "bars.spread_pips=1")
        (file,) = found["instruments"][0]["files"]
        assert (file["rows"], found["rows"]) == (6, 6)
        assert file["quotes"] == found["ticks"] > 100

    def test_a_day_that_is_missing(self, data_dir, tmp_path, capsys):
        for day in ("07", "09"):
            (tmp_path / f"eurusd_201405{day}_quote.zip").symlink_to(
                data_dir / f"oanda/tick/eurusd/201405{day}_quote.zip"
            )
        missed = asked(capsys, "check", tmp_path)["instruments"][0]["sessions_without_ticks"]
        assert {"LONDON", "NY", "TOKYO"} <= {gap["session"] for gap in missed if gap["start"].startswith("2014-05-08")}


class TestMetaTrader:
    BARS = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    BARS += "".join(f"2024.01.02\t0{hour}:00:00\t1.1\t1.11\t1.09\t1.105\t9\t0\t3\n" for hour in range(5))
    TICKS = (
        "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n2024.01.02\t00:00:00.123\t1.10427\t1.10472\t\t\t6\n"
    )
    TICKS += "2024.01.02\t00:00:00.456\t1.10428\t\t\t\t2\n2024.01.02\t00:00:01.789\t\t1.10470\t\t\t4\n"

    @pytest.mark.parametrize(
        ("text", "words", "more"),
        [
            (
                BARS,
                ["-s", "bars.spread_pips=1", "-s", "bars.prices=bid"],
                'bars = { span = "1h", spread_pips = 1, prices = "bid" }\n',
            ),
            (TICKS, [], 'empty_prices = "unchanged"\n'),
        ],
    )
    def test_what_is_recognised_is_what_a_feed_takes(self, tmp_path, capsys, text, words, more):
        path = write(tmp_path / "EURUSD.csv", text)
        found = asked(capsys, "info", path, *words)
        names = ", ".join(f'{what} = "{name}"' for what, name in found["recognised"]["columns"].items())
        table = f"""kind = "file"
path = "EURUSD.csv"
instrument = "EUR_USD"
delimiter = "\\t"
time_format = "{found["recognised"]["time_format"]}"
columns = {{ {names} }}
{more}"""
        configured = asked(capsys, "info", config(tmp_path, table))
        assert configured["fingerprint"] == found["fingerprint"]
        assert configured["ticks"] == found["ticks"] > 0
        assert found["instruments"][0]["first"].startswith("2024-01-02T00:00:00")


class TestConvert:
    def parquet_ticks(self, path: Path, symbol: str = "EUR_USD") -> Sequence[Any]:
        return run_loop(ticks_of, build("file", {"path": str(path), "instrument": symbol, "format": "parquet"}))

    def test_it_says_what_it_has_done(self, tmp_path, capsys):
        target = tmp_path / "q.parquet"
        said = run(capsys, "convert", dirty(tmp_path), target)
        assert f"123 ticks of EUR_USD written to {target}, " in said
        assert "1 crossed dropped, 1 gap accepted, 1 out of order dropped" in said.partition("of the rows: ")[2]
        found = asked(capsys, "info", target)
        assert (found["ticks"], found["format"]) == (123, "parquet")

    def test_policies_are_the_feeds_own(self, tmp_path, data_dir):
        target = tmp_path / "q.parquet"
        source = data_dir / "oanda/tick/eurusd/20140504_quote.zip"
        assert dispatch(["data", "convert", str(source), str(target), "--set", "bad_rows.zero_spread=fix"]) == 0
        plain = build("file", {"path": str(source), "instrument": "EUR_USD", "format": "quote"})
        assert self.parquet_ticks(target) == run_loop(ticks_of, plain)

    def test_several_instruments_go_into_one_file_and_are_found_in_it(self, tmp_path, capsys):
        table = 'kind = "synthetic"\ninstruments = ["EUR_USD", "USD_JPY"]\nticks = 50\nspeed = 1\n'
        target = tmp_path / "q.parquet"
        run(capsys, "convert", config(tmp_path, table), target)
        found = asked(capsys, "info", target)
        assert [one["instrument"] for one in found["instruments"]] == ["EUR_USD", "USD_JPY"]
        assert len(self.parquet_ticks(target, "USD_JPY")) == 25

    def test_nothing_is_replaced_and_a_failure_leaves_nothing(self, tmp_path, capsys):
        source, target = dirty(tmp_path), tmp_path / "q.parquet"
        assert "crossed: bid 1.10020" in run(capsys, "convert", source, target, "-s", "bad_rows.crossed=fail", code=2)
        assert [path.name for path in tmp_path.iterdir()] == ["eurusd.csv"]
        run(capsys, "convert", source, target)
        assert "exists already" in run(capsys, "convert", source, target, code=2)


def test_the_words_of_the_documentation(tmp_path, capsys, monkeypatch):
    """docs/feeds.md: its commands as they stand, in a folder with such files."""
    words = re.findall(
        r"^\$ tradekeel (data .*)$", (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(words) == 4
    write(tmp_path / "ticks" / "eurusd" / "20140508_quote.zip", "8715,1.39101,1.39101\r\n15681,1.39102,1.39116")
    for name in ("replay.toml", "ticks"):
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "config" / name).symlink_to(ROOT / "config" / name)
    monkeypatch.chdir(tmp_path)
    for line in words:
        capsys.readouterr()
        assert dispatch(shlex.split(line)) == ExitCode.DONE, capsys.readouterr()
    assert (tmp_path / "eurusd.parquet").exists()


def test_secrets_of_accounts_are_not_asked_for(tmp_path, capsys):
    sound(tmp_path)
    path = config(tmp_path, 'kind = "file"\npath = "eurusd.csv"\ninstrument = "EUR_USD"\n')
    path.write_text(path.read_text().replace('venue = "paper"', 'venue = "paper"\ntoken = { env = "NOT_THERE" }'))
    assert asked(capsys, "info", path)["ticks"] == 60


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["nothing.csv"], "nothing.csv does not exist"),
            (["nothing"], "there is neither a file nothing nor a service nothing"),
            (["{file}", "--feed", "x"], "--feed means nothing beside it"),
            (["{file}", "--format", "feather"], "Invalid enum value 'feather'"),
            (["{file}", "--set", "nothing"], "write KEY=VALUE"),
            (["{file}", "--set", "nothing=1"], "unknown field `nothing`"),
            (["{file}", "--set", "columns=1", "--set", "columns.time=x"], "is a value already"),
            (["{file}", "--instrument", "XAU_EUR"], "say the smallest step of its price with --tick-size"),
            (["{file}", "--time-zone", "Mars"], "time zone 'Mars' is not known"),
            (["{config}", "--format", "csv"], "only --feed means something beside it"),
            (["{config}", "--feed", "markt"], "has no feed 'markt'"),
            (["{live}"], "has no end"),
        ],
    )
    def test_words_that_cannot_be_meant(self, tmp_path, capsys, words, problem):
        file = sound(tmp_path)
        path = config(tmp_path, 'kind = "file"\npath = "eurusd.csv"\ninstrument = "EUR_USD"\n')
        live = config(tmp_path / "live", 'kind = "synthetic"\ninstruments = ["EUR_USD"]\nticks = 9\nlive = true\n')
        named = [word.format(file=file, config=path, live=live) for word in words]
        assert problem in run(capsys, "info", *named, code=ExitCode.BAD_USAGE)

    def test_an_instrument_of_ones_own(self, tmp_path, capsys):
        found = asked(capsys, "info", sound(tmp_path), "--instrument", "XAU_EUR", "--tick-size", "0.01")
        assert found["instruments"][0]["instrument"] == "XAU_EUR"

    def test_an_unclear_choice_is_named(self, tmp_path, capsys):
        one = 'kind = "synthetic"\ninstruments = ["EUR_USD"]\nticks = 9\n'
        path = config(tmp_path, f"{one}[feeds.other]\n{one}")
        assert "has 2 feeds: choose one with --feed: market, other" in run(capsys, "info", path, code=2)
