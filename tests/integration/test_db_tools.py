"""The tools of `tradekeel db` as a person uses them: real daemons, real kills, real terminals."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaigns.kill.books import read_ours, read_theirs
from tests.integration.cli_daemon import (
    DEADLINE_S,
    LONG,
    PROGRAM,
    SHORT,
    Daemon,
    call,
    environment,
    read_json,
    start,
    write_config,
)
from tradekeel.errors import ExitCode


def test_backup_damage_restore(tmp_path: Path) -> None:
    """The drill: a copy beside the daemon, a disk that eats the books, the copy put back, and the venue brings the rest."""
    config = write_config(tmp_path, feed=LONG)
    books = tmp_path / "state" / "books.db"
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > 3, "nothing was filled")
        assert call("db", "backup", config, tmp_path / "copy.db").returncode == 0
        with closing(sqlite3.connect(tmp_path / "copy.db")) as db:  # the daemon trades on meanwhile
            saved = db.execute("SELECT count(*) FROM fills").fetchone()[0]
        refused = call("db", "restore", config, tmp_path / "copy.db")
        assert refused.returncode == ExitCode.ALREADY_RUNNING
        assert str(daemon.process.pid) in refused.stderr
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > saved + 2, "nothing more was filled")
        daemon.process.kill()
        daemon.process.wait()
    with closing(sqlite3.connect(books)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what is damaged below is not still in the log alone
    with books.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 65_536)
    books.with_name("books.db-wal").unlink(missing_ok=True)
    assert call("verify", config).returncode == ExitCode.BOOKS_DO_NOT_MATCH

    restored = start("db", "restore", config, tmp_path / "copy.db")
    assert restored.returncode == 0, restored.stderr
    assert "start the daemon" in restored.stdout
    assert len(read_json("fills", config, "-n", "0")) == saved
    [kept] = [path for path in (tmp_path / "state" / "backups").iterdir() if path.name.startswith("replaced-")]
    assert (kept / "books.db").exists()
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(
            lambda: len(read_json("fills", config, "-n", "0")) > saved + 2, "the venue's record was not booked"
        )
        # Orders that the copy does not know: a person looks at them before anything new is traded.
        daemon.until(lambda: read_json("status", config)["accounts"][0]["latch"] == "halted", "it was not halted")
        assert call("release", config).returncode == 0
        daemon.until(lambda: read_json("status", config)["accounts"][0]["latch"] == "open", "it was not released")
        booked = len(read_json("fills", config, "-n", "0"))
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > booked + 6, "nothing is traded behind it")
        assert call("stop", config).returncode == 0
        daemon.wait()
    verdict = call("db", "verify", config)
    assert verdict.returncode == 0, verdict.stderr
    # What was decided behind the copy, twice in the same numbers, has ids of its own each time.
    ours, theirs = read_ours(books, "paper"), read_theirs(tmp_path / "state" / "paper-paper.db")
    shown = [order["client_order_id"] for order in theirs.orders]
    assert len(shown) == len(set(shown))
    denied = {order["client_order_id"] for order in ours.orders if order["status"] == "denied"}
    assert not denied & set(shown)


def test_a_daemon_puts_right_what_a_killed_restore_has_left(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    books, old = tmp_path / "state" / "books.db", tmp_path / "state" / "restoring" / "old"
    old.mkdir(parents=True)
    (old / "books.db").hardlink_to(books)
    (old / "books.db-wal").write_bytes(b"")
    done = start("run", config)
    assert done.returncode == 0
    assert "from before it" in done.stderr
    assert read_json("verify", config)["ok"]


def test_a_damaged_copy_is_refused_by_name(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    copy = tmp_path / "copy.db"
    assert call("db", "backup", config, copy).returncode == 0
    shutil.copy(copy, tmp_path / "whole.db")
    with closing(sqlite3.connect(copy)) as db:
        db.execute("UPDATE trades SET stop_loss = '1.0' WHERE rowid = (SELECT min(rowid) FROM trades)")
        db.commit()
    refused = call("db", "restore", config, copy)
    assert refused.returncode == ExitCode.BOOKS_DO_NOT_MATCH
    assert "stop_loss is 1.0" in refused.stderr
    assert call("db", "restore", tmp_path / "whole.db", "--state", tmp_path / "state", "--json").returncode == 0
    assert call("db", "restore", config).returncode == ExitCode.BAD_USAGE


def a_terminal(command: list[str], typed: str) -> tuple[int, str]:
    """A command as a person at a terminal calls it; its exit code and everything on the screen."""
    screen, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm", COLUMNS="80")
    )
    os.close(theirs)
    os.write(screen, f"{typed}\n".encode())
    said = b""
    while True:
        try:
            read = os.read(screen, 4_096)
        except OSError:  # that is how a terminal ends
            break
        if not read:
            break
        said += read
    os.close(screen)
    return process.wait(DEADLINE_S), said.decode()


def test_a_wipe_takes_the_words_and_nobody_else_at_work(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    words = ("--confirm", "DELETE ALL TRADES")
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: bool(read_json("positions", config)), "nothing was filled")
        beside = call("db", "wipe", config, *words)
        assert beside.returncode == ExitCode.ALREADY_RUNNING
        assert "Stop it first (tradekeel stop)" in beside.stderr
        assert "of its own" not in beside.stderr, "what is wiped are these books"
        assert call("stop", config).returncode == 0
        daemon.wait()
    fills = len(read_json("fills", config, "-n", "0"))
    for wrong in ([], ["--confirm", "yes"], ["--confirm", "delete all trades"]):
        refused = start("db", "wipe", config, *wrong)
        assert refused.returncode == ExitCode.BAD_USAGE
        assert "DELETE ALL TRADES" in refused.stderr
    code, screen = a_terminal([*PROGRAM, "db", "wipe", str(config)], "DELETE ALL TRADE")
    assert (code, "nothing was deleted" in screen) == (ExitCode.BAD_USAGE, True)
    assert len(read_json("fills", config, "-n", "0")) == fills

    backups = tmp_path / "state" / "backups"
    backups.rmdir()
    backups.write_text("in the way")
    assert call("db", "wipe", config, *words).returncode not in (0, ExitCode.ALREADY_RUNNING)
    assert len(read_json("fills", config, "-n", "0")) == fills
    backups.unlink()

    unknown = call("db", "wipe", config, *words, "--account", "nobody")
    assert (unknown.returncode, "no account nobody" in unknown.stderr) == (ExitCode.BAD_USAGE, True)
    assert not any(backups.iterdir())  # nothing was copied for nothing

    positions, balance = read_json("positions", config), read_json("status", config)["accounts"][0]["balance"]
    code, screen = a_terminal([*PROGRAM, "db", "wipe", str(config)], "DELETE ALL TRADES")
    assert code == 0, screen
    assert f"{fills} fills" in screen
    again = call("db", "wipe", config, *words)
    assert (again.returncode, "nothing to delete" in again.stdout) == (0, True)
    [copy] = list(backups.glob("before-wipe-*.db"))
    assert not read_json("trades", config, "--all-runs")
    assert read_json("verify", config)["ok"]

    with Daemon(config) as daemon:
        daemon.log.write_text("")
        daemon.until_trading()
        daemon.until(lambda: len(read_json("executions", config)) == 2, "no new execution was begun")
        began = read_json("executions", config)[0]
        assert (began["number"], began["opening_balance"]) == (2, balance)
        assert call("stop", config).returncode == 0
        daemon.wait()
    [started] = read_json("events", config, "--journal", "-n", "0", "--type", "execution_started")
    [held] = started["record"]["opening"]["positions"]
    assert (held["instrument"], held["quantity"].lstrip("-")) == (positions[0]["instrument"], positions[0]["quantity"])
    assert started["record"]["opening"]["trades"] == []
    verdict = call("verify", config)
    assert verdict.returncode == 0, verdict.stderr
    assert call("db", "restore", config, copy).returncode == 0
    assert len(read_json("fills", config, "-n", "0")) == fills


@pytest.mark.parametrize("point", ["wipe.backed_up", "wipe.before_commit", "wipe.after_commit"])
def test_a_killed_wipe_has_deleted_everything_or_nothing(tmp_path: Path, point: str) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    fills = len(read_json("fills", config, "-n", "0", "--all-runs"))
    died = start("db", "wipe", config, "--confirm", "DELETE ALL TRADES", TRADEKEEL_KILL_AT=f"{point}:1")
    assert died.returncode == -signal.SIGKILL
    assert len(read_json("fills", config, "-n", "0", "--all-runs")) == (0 if point == "wipe.after_commit" else fills)
    assert read_json("verify", config)["ok"]


def exported(config: Path, folder: Path, kind: str, *words: str) -> dict[str, bytes]:
    done = call("db", "export", config, "--to", folder, "--format", kind, *words)
    assert done.returncode == 0, done.stderr
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_books_of_a_daemon_go_out_and_come_back_byte_for_byte(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > 6, "nothing was filled")
        exported(config, tmp_path / "beside a daemon", kind)
        refused = call("db", "import", tmp_path / "beside a daemon", "--state", tmp_path / "state")
        assert refused.returncode == ExitCode.ALREADY_RUNNING
        daemon.process.kill()
        daemon.process.wait()
    first = exported(config, tmp_path / "first", kind)
    refused = call("db", "import", config, tmp_path / "first")
    assert refused.returncode == ExitCode.BAD_USAGE
    assert "empty books only" in refused.stderr
    other = tmp_path / "other"
    done = call("db", "import", tmp_path / "first", "--state", other)
    assert done.returncode == 0, done.stderr
    assert (
        f"{other / 'paper-paper.db'} is not there: the ledger of a paper account is the venue's"
        in done.stdout + done.stderr
    )
    assert "of its archives are not in" not in done.stdout + done.stderr
    gone = call("verify", "--state", other)
    assert gone.returncode == ExitCode.BOOKS_DO_NOT_MATCH
    assert "it is copied along from where they were" in gone.stderr
    again = call("db", "export", "--state", other, "--to", tmp_path / "second", "--format", kind)
    assert again.returncode == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "second").iterdir()} == first

    for ledger in (tmp_path / "state").glob("paper-*"):
        shutil.copy(ledger, other)
    assert call("verify", "--state", other).returncode == 0
    shutil.rmtree(tmp_path / "state")
    other.rename(tmp_path / "state")
    with Daemon(config) as daemon:  # and the daemon goes on with what was imported
        daemon.log.write_text("")
        daemon.until_trading()
        assert call("stop", config).returncode == 0
        daemon.wait()
    assert read_json("verify", config)["ok"]


@pytest.mark.parametrize("point", ["import.before_commit", "import.after_commit"])
def test_a_killed_import_has_read_everything_or_nothing(tmp_path: Path, point: str) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    first = exported(config, tmp_path / "first", "jsonl")
    other = tmp_path / "other"
    died = start("db", "import", tmp_path / "first", "--state", other, TRADEKEEL_KILL_AT=f"{point}:1")
    assert died.returncode == -signal.SIGKILL
    again = call("db", "import", tmp_path / "first", "--state", other)
    assert again.returncode == (0 if point == "import.before_commit" else ExitCode.BAD_USAGE)
    assert call("db", "export", "--state", other, "--to", tmp_path / "second", "--format", "jsonl").returncode == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "second").iterdir()} == first


def test_an_export_is_narrowed_in_words(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    some = exported(
        config, tmp_path / "some", "csv", "--table", "trades,orders", "--since", "2014-01-01", "-a", "paper"
    )
    assert set(some) == {"manifest.json", "trades.csv", "orders.csv"}
    assert set(exported(config, tmp_path / "learning", "jsonl", "--learning")) == {"manifest.json", "learning.jsonl"}
    lessons = call("db", "export", config, "--to", tmp_path / "lessons", "--learning")
    assert (
        "closed trades has a state (rl_state_key): a strategy gives it with its entry"
        in lessons.stdout + lessons.stderr
    )
    assert call("db", "export", config).returncode == ExitCode.BAD_USAGE
    assert call("db", "export", config, "--to", tmp_path / "x", "--since", "soon").returncode == ExitCode.BAD_USAGE
    done = call("db", "export", config, "--to", tmp_path / "json", "--json")
    assert done.returncode == 0
    assert '"importable": true' in done.stdout


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    hidden = (
        "import sys; sys.modules['pyarrow'] = None; from tradekeel.cli import entry; entry()"  # as if it were not there
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            hidden,
            "db",
            "export",
            str(config),
            "--to",
            str(tmp_path / "out"),
            "--format",
            "parquet",
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.BAD_USAGE
    assert "tradekeel[parquet]" in done.stderr
    assert not (tmp_path / "out").exists()


ALL = ("--before", "9999-12-31")
FIGURES = (
    "balance",
    "pnl",
    "fees",
    "financing",
    "trades_open",
    "trades_closed",
    "trades_won",
    "win_rate",
    "orders",
    "attribution",
)


def figures(config: Path) -> dict[str, object]:
    found = read_json("status", config)["accounts"][0]
    return {name: found.get(name) for name in FIGURES}


def test_what_was_archived_verifies_and_changes_no_figure(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    before, trades = figures(config), read_json("trades", config, "-n", "0")
    assert trades
    done = call("db", "archive", config, *ALL, "--json")
    assert done.returncode == 0, done.stderr
    [file] = json.loads(done.stdout)["files"]
    assert file["rows"]["trades"] == len(trades)
    assert not read_json("trades", config, "-n", "0")
    assert figures(config) == before
    verdict = call("verify", config)
    assert verdict.returncode == 0, verdict.stderr

    moved = file["rows"]["trades"]
    assert f"{moved:,} that are older are in archives" in call("trades", config).stdout
    assert "archives" not in call("positions", config).stdout
    exported(config, tmp_path / "whole", "jsonl")
    other = tmp_path / "other"
    done = call("db", "import", tmp_path / "whole", "--state", other)
    assert f"1 of its archives are not in {other / 'archives'}: copy them there" in done.stdout + done.stderr

    read = call("db", "archive", "--read", file["file"], "--table", "trades")
    assert read.returncode == 0
    back = [json.loads(line) for line in read.stdout.splitlines()]
    assert {row["trade_id"] for row in back} == {row["trade_id"] for row in trades}
    journal = call("db", "archive", "--read", file["file"], "--table", "journal").stdout.splitlines()
    assert json.loads(journal[0])["record"]["type"] == "execution_started"
    assert call("db", "archive", "--read", file["file"], "--table", "nothing").returncode == ExitCode.BAD_USAGE
    assert call("db", "archive", "--read", tmp_path / "nothing").returncode == ExitCode.BAD_USAGE
    another = call("db", "archive", "--read", config)
    assert another.returncode == ExitCode.BAD_USAGE
    assert f"{config} is no archive: name an archive that" in another.stderr
    assert "nothing that is older" in call("db", "archive", config, *ALL).stdout
    assert call("db", "archive", config).returncode == ExitCode.BAD_USAGE

    shutil.move(file["file"], tmp_path / "taken away")
    verdict = call("verify", config)
    assert verdict.returncode == 0
    assert "were not compared" in verdict.stdout
    assert start("run", config).returncode == 0  # and the next run takes over from it
    assert call("verify", config).returncode == 0


def test_how_long_ago_is_reckoned_from_the_newest_time_in_the_books(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    done = call("db", "archive", config, "--before", "90d")  # the whole market is shorter, whenever it was
    assert done.returncode == 0, done.stderr
    assert "nothing that is older" in done.stdout
    newest = max(fill["time"] for fill in read_json("fills", config, "-n", "0"))
    done = call("db", "archive", config, "--before", "0s", "--json")
    assert f"0s before {newest[:10]}" in done.stderr
    said = json.loads(done.stdout)
    assert said["files"]
    moved = sum(sum(file["rows"].values()) for file in said["files"])
    again = call("db", "archive", config, "--before", "90d")
    assert f"(90d before {newest[:10]}" in again.stderr, "what was archived has told what time it was"
    assert "moved" not in again.stderr, "nothing is said to be done before it is"
    out = call("db", "export", config, "--to", tmp_path / "out")
    assert f"{moved:,} more rows are in archives" in out.stdout
    trades = call("db", "export", config, "--to", tmp_path / "trades", "--table", "trades", "--json")
    assert json.loads(trades.stdout)["archived"] == sum(file["rows"].get("trades", 0) for file in said["files"])
    assert said["before"] >= newest
    assert f"what is older than {said['before']} (0s before" in done.stderr
    assert "nothing" in call("db", "archive", config, "--before", "1970-01-02").stdout
    assert call("verify", config).returncode == 0


def test_a_daemon_goes_on_with_what_was_not_archived(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > 8, "nothing was filled")
        assert call("db", "archive", config, *ALL).returncode == ExitCode.ALREADY_RUNNING
        daemon.process.kill()
        daemon.process.wait()
    before = figures(config), read_json("positions", config)
    done = call("db", "archive", config, *ALL, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"]
    assert (figures(config), read_json("positions", config)) == before
    assert read_json("verify", config)["ok"]
    for damaged in (False, True):
        if damaged:  # without a saved state it is the archive's own that is gone on from
            with closing(sqlite3.connect(tmp_path / "state" / "books.db")) as db:
                db.execute("DELETE FROM checkpoints WHERE owner = '#account'")
                db.commit()
        fills = len(read_json("fills", config, "-n", "0"))
        with Daemon(config) as daemon:
            daemon.log.write_text("")
            daemon.until_trading()
            daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > fills + 2, "it does not trade on")  # noqa: B023
            daemon.process.kill()
            daemon.process.wait()
        verdict = call("verify", config)
        assert verdict.returncode == 0, verdict.stderr
        assert len(read_json("executions", config)) == 1


@pytest.mark.parametrize("point", ["archive.file_written", "archive.before_commit", "archive.after_commit"])
def test_a_killed_archive_has_moved_everything_or_nothing(tmp_path: Path, point: str) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    before, fills = figures(config), len(read_json("fills", config, "-n", "0"))
    died = start("db", "archive", config, *ALL, TRADEKEEL_KILL_AT=f"{point}:1")
    assert died.returncode == -signal.SIGKILL
    is_done = point == "archive.after_commit"
    assert len(read_json("fills", config, "-n", "0")) == (0 if is_done else fills)
    assert figures(config) == before
    assert read_json("verify", config)["ok"]
    assert call("db", "archive", config, *ALL).returncode == 0
    assert len(list((tmp_path / "state" / "archives").iterdir())) == 1
    assert call("verify", config).returncode == 0
    assert figures(config) == before
