"""`db stats`: everything is counted, beside a daemon, and shown in a terminal of any width."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.bootstrap.books import DECISIONS, FILLED, open_second_account
from tests.unit.storage import samples
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.sizing import stats
from tradekeel.cli.app import dispatch
from tradekeel.cli.database import in_bytes
from tradekeel.domain.records import ExecutionStarted, StrategyRegistered
from tradekeel.errors import ExitCode, InputError
from tradekeel.storage.store import Store


def silent(step: str, done: int, total: int) -> None:
    assert 0 < done <= total, step


def test_every_row_is_counted(place: Place) -> None:
    open_second_account(place, 2)
    found = stats(place, silent)
    with closing(sqlite3.connect(place.statedir.books)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
    assert {table["table"]: table["rows"] for table in found["tables"]} == {
        name: count for name, count in rows.items() if name != "alembic_version"
    }
    first, second = found["executions"]
    assert (first["account"], first["number"], first["records"]) == ("paper-1", 1, 3 + DECISIONS + len(FILLED))
    assert (second["account"], second["first_record"], second["last_record"]) == ("paper-2", 1, 5)
    assert first["first_ns"] == samples.START_NS
    trades = next(table for table in found["tables"] if table["table"] == "trades")
    assert (trades["rows"], trades["last"]) == (DECISIONS + 2, "2014-05-13T16:53:25.000000000Z")


def test_what_was_written_before_any_feed_had_a_time_does_not_count_as_the_first_time(place: Place) -> None:
    desk = samples.Desk("exec-2", account="paper-2")
    row = samples.execution("exec-2", account="paper-2", started_ns=0)
    with Store.open(place.statedir.books, now_ns=1) as store:
        started = desk.group(ExecutionStarted(ts_ns=0, row=row))
        known = StrategyRegistered(ts_ns=samples.START_NS + 7, row=samples.strategy("exec-2"))
        store.commit([started, desk.group(known)])
    found = stats(place, silent)
    run = next(run for run in found["executions"] if run["account"] == "paper-2")
    assert (run["records"], run["first_ns"]) == (2, samples.START_NS + 7)
    journal = next(table for table in found["tables"] if table["table"] == "journal")
    assert journal["first_ns"] == samples.START_NS


def test_tables_fill_the_file(place: Place) -> None:
    found = stats(place, silent)
    assert found["bytes"] == place.statedir.books.stat().st_size
    taken = sum(table["bytes"] for table in found["tables"])
    assert found["bytes"] * 0.8 < taken <= found["bytes"]
    assert found["wal_bytes"] == 0


def test_the_log_backups_and_archives_are_counted_too(place: Place) -> None:
    statedir = place.statedir
    (statedir.backups / "books-0001-20140508T000000Z.db").write_bytes(b"x" * 12)
    statedir.archives.mkdir()
    (statedir.archives / "run.jsonl.gz").write_bytes(b"y" * 7)
    with Store.open(statedir.books, now_ns=1) as store:
        store.commit([samples.Desk("exec-2", account="paper-2").opening()])
        found = stats(place, silent)
    assert found["wal_bytes"] > 0
    assert [(file["name"], file["bytes"]) for file in found["backups"]] == [("books-0001-20140508T000000Z.db", 12)]
    assert [(file["name"], file["bytes"]) for file in found["archives"]] == [("run.jsonl.gz", 7)]


def test_a_terminal_of_eighty_columns_is_wide_enough(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["db", "stats", "--state", str(place.state_dir)]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "performance_snapshots" in shown
    assert "paper-1" in shown
    assert "There are no archives." in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80
    assert dispatch(["db", "stats", "--json", "--state", str(place.state_dir)]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["schema"]


def test_without_books_there_is_nothing_to_count(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no books"):
        stats(Place(tmp_path / "state", None), silent)


def test_sizes_are_read_by_people() -> None:
    said = [in_bytes(count) for count in (None, 0, 9_999, 10_000, 1_234_567, 5_000_000_000)]
    assert said == ["", "0 B", "9,999 B", "10.0 kB", "1.2 MB", "5.0 GB"]
