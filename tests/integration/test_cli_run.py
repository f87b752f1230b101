"""`tradekeel run` from the outside: how it ends, with which code, and what it leaves behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.integration.cli_daemon import (
    DEADLINE_S,
    LONG,
    PROGRAM,
    SHORT,
    Daemon,
    call,
    environment,
    read_json,
    start_anew,
    write_config,
)


def test_a_run_to_the_end_of_its_feed_and_everything_that_can_be_read_afterwards(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)

    done = start_anew("run", config)

    assert done.returncode == 0, done.stderr
    assert "recovered 0 orders and 0 trades from sqlite" in done.stderr
    assert "trades closed" in done.stderr
    assert "bad rows: none" in done.stderr
    trades = read_json("trades", config, "-n", "0")
    assert trades
    closed = [trade for trade in trades if trade["status"] == "CLOSED"]
    assert closed
    assert all(trade["exit_reason"] for trade in closed)
    assert trades == read_json("trades", "--state", tmp_path / "state", "-n", "0")
    assert {trade["trade_id"] for trade in closed} == {
        trade["trade_id"] for trade in read_json("trades", config, "-n", "0", "--status", "closed")
    }
    fills = read_json("fills", config, "-n", "0")
    orders = read_json("orders", config, "-n", "0")
    assert {fill["client_order_id"] for fill in fills} <= {order["client_order_id"] for order in orders}
    assert len(read_json("signals", config, "--limit", "3")) == 3
    assert all(event["type"] == "ema_cross" for event in read_json("events", config, "--strategy", "trend"))
    journal = read_json("events", config, "--journal", "-n", "0")
    assert [entry["sequence"] for entry in journal] == list(range(len(journal), 0, -1))
    assert isinstance(read_json("positions", config), list)

    status = read_json("status", config)
    assert not status["running"]
    assert status["accounts"][0]["trades_closed"] == len(closed)
    assert status["feeds"]["paper"]["position"] == 600
    verified = read_json("verify", config)
    assert verified["ok"]
    assert "balance with the venue's" in verified["findings"][-1]
    for command in ("trades", "orders", "fills", "signals", "events", "positions", "status"):
        shown = call(command, config)
        assert shown.returncode == 0
        assert max(map(len, shown.stdout.splitlines())) <= 80, command


def test_logs_are_json_on_request_and_each_line_is_an_object(tmp_path: Path) -> None:
    done = start_anew("run", write_config(tmp_path, feed=SHORT), "--json-logs")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert all({"time", "level", "message"} <= line.keys() for line in lines)


def test_the_log_says_what_was_traded_with_ids_that_lead_to_the_books(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT, risk="quantity_max = 500").rename(tmp_path / "denied.toml")
    config.write_text(config.read_text().replace("quantity_max = 20000", ""))
    denied = start_anew("run", config, "--json-logs")
    lines = [json.loads(line) for line in denied.stderr.splitlines()]
    orders = read_json("orders", config, "-n", "0")
    warned = [line for line in lines if "order denied" in line["message"]]
    assert len(warned) == 1  # of so many for one reason the first is told
    assert orders[-1]["client_order_id"] == warned[0]["order_id"]
    assert any(f"{len(orders) - 1} more orders denied, quantity_max" in line["message"] for line in lines)
    assert any(f"{len(orders)} orders denied (quantity_max {len(orders)})" in line["message"] for line in lines)
    assert read_json("status", config)["accounts"][0]["denied"] == {"quantity_max": len(orders)}
    assert f"{len(orders)} orders denied" in call("status", config).stdout

    config = write_config(tmp_path, feed=SHORT)
    done = start_anew("run", config, "--fresh", "--json-logs")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    trades = {trade["trade_id"]: trade for trade in read_json("trades", config, "-n", "0")}
    told = [line for line in lines if "trade_id" in line]
    assert {line["trade_id"] for line in told} <= trades.keys()
    for line in told:
        assert (line["account"], line["strategy"], line["level"]) == ("paper", "trend", "info")
        assert line["correlation_id"] == trades[line["trade_id"]]["correlation_id"]
        assert " opened " in line["message"] or f"by {trades[line['trade_id']]['exit_reason']}: pnl" in line["message"]
    for what, statuses in (("opened", ("OPEN", "CLOSED")), ("closed", ("CLOSED",))):  # with a line, or counted
        counted = [int(n) for line in lines for n in re.findall(rf"(\d+) more {what}", line["message"])]
        lines_of = [line for line in told if f" {what} " in line["message"]]
        assert len(lines_of) + sum(counted) == sum(trade["status"] in statuses for trade in trades.values())


def test_nothing_is_told_again_by_the_process_after_a_kill(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until(lambda: daemon.log.read_text().count(" by signal: pnl") > 1, "no trade was ever closed")
        daemon.process.kill()
        daemon.process.wait()
    first = daemon.log.read_text()
    with Daemon(config) as daemon:
        daemon.until(
            lambda: daemon.log.read_text().count(" closed ") > first.count(" closed ") + 1, "no trade was closed later"
        )
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    lines = re.findall(r"(opened|closed) .* trade_id=(\w+)", daemon.log.read_text())
    assert len(lines) == len(set(lines))


def test_a_wrong_configuration_is_told_whole_and_ends_with_2(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed="ticks = -1", daemon='on_stp = "keep"', params="slwo = 3")
    for run in (start_anew, call):
        done = run("run" if run is start_anew else "check", config)
        assert done.returncode == 2
        said = done.stderr + done.stdout
        assert "on_stp" in said
        assert "ticks" in said
        assert "slwo" in said
        assert "Traceback" not in said
    assert not (tmp_path / "state").exists()


def test_bad_usage_ends_with_2(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    for words in (
        ["frobnicate"],
        ["run", str(config), "--frob"],
        ["run", str(tmp_path / "none.toml")],
        ["trades", "a", "b"],
    ):
        assert (start_anew if words[0] == "run" else call)(*words).returncode == 2, words
    assert start_anew("run", config, "--log-level", "loud").returncode == 2
    assert call("pause", config).returncode == 2
    assert call("trades", config, "--since", "yesterday").returncode == 2


def test_a_tripped_risk_limit_ends_with_5_and_the_reason(tmp_path: Path) -> None:
    done = start_anew("run", write_config(tmp_path, feed=SHORT, risk="daily_loss_max = 0.5"))
    assert done.returncode == 5, done.stderr
    assert "reduce_only" in done.stderr


def test_with_a_loss_limit_the_first_order_is_taken_like_any_other(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT, risk="daily_loss_max = 1000")
    config.write_text(config.read_text().replace("ema_cross", "floor").replace("fast = 5\nslow = 20", ""))
    assert start_anew("run", config).returncode == 0
    assert read_json("orders", config, "--status", "filled")
    assert read_json("orders", config, "--status", "denied") == []


def test_books_that_do_not_match_the_venue_halt_the_account_and_end_with_4(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until(lambda: _fills(tmp_path) > 2, "there never was a fill")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    (tmp_path / "state" / "paper-paper.db").unlink()

    with Daemon(config) as daemon:
        daemon.until_said("do not match")
        assert call("stop", config).returncode == 0
        assert daemon.wait() == 4

    audited = call("verify", config)
    assert audited.returncode == 4
    assert "in our books, and not the venue's" in audited.stderr


def _fills(folder: Path) -> int:
    books = folder / "state" / "books.db"
    if not books.exists():
        return 0
    with closing(sqlite3.connect(f"file:{books}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM fills").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_a_flipped_byte_in_the_journal_is_found_and_named(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed="ticks = 100")
    assert start_anew("run", config).returncode == 0
    with closing(sqlite3.connect(tmp_path / "state" / "books.db")) as db, db:
        db.execute("DROP TRIGGER journal_refuses_update")
        db.execute("UPDATE journal SET payload = zeroblob(length(payload)) WHERE sequence = 3")
    done = call("verify", config)
    assert done.returncode == 4
    assert "record 3" in done.stderr


def test_a_stop_before_recovery_is_done_saves_nothing_and_ends_with_0(tmp_path: Path) -> None:
    with Daemon(write_config(tmp_path, feed=LONG), loaded=False) as daemon:
        daemon.until_catching(signal.SIGTERM)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    books = tmp_path / "state" / "books.db"
    assert not books.exists() or "Traceback" not in daemon.log.read_text()


def test_a_second_request_to_stop_ends_the_process_at_once(tmp_path: Path) -> None:
    with Daemon(write_config(tmp_path, feed=LONG)) as daemon:
        daemon.until_trading()
        daemon.send(signal.SIGINT)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() in (128 + signal.SIGINT, 128 + signal.SIGTERM)


def test_no_state_directory_can_be_made_where_nobody_may_write(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    done = start_anew("run", write_config(tmp_path, feed=SHORT))
    assert done.returncode == 70
    assert "a file is where a folder should be" in done.stderr
    assert "Traceback" not in done.stderr


def test_books_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed="ticks = 50")
    assert start_anew("run", config).returncode == 0
    with closing(sqlite3.connect(tmp_path / "state" / "books.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    for done in (start_anew("run", config), call("trades", config), call("verify", config)):
        assert done.returncode == 2, done
        assert "newer Tradekeel" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_unfinished_run_goes_on_and_fresh_begins_anew(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until(lambda: _fills(tmp_path) > 0, "there never was a fill")
        daemon.process.kill()
        daemon.process.wait()
    first = read_json("status", config)["accounts"][0]
    with Daemon(config) as daemon:
        daemon.log.write_text("")
        daemon.until_trading()
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    resumed = read_json("status", config)["accounts"][0]
    assert (resumed["execution"], resumed["number"]) == (first["execution"], 1)
    with Daemon(config, "--fresh") as daemon:
        daemon.log.write_text("")
        daemon.until_trading()
        assert call("stop", config).returncode == 0
        assert daemon.wait() == 0
    assert read_json("status", config)["accounts"][0]["number"] == 2
    assert len(read_json("trades", config, "--all-runs", "-n", "0")) >= 1
    assert read_json("verify", config)["ok"]


def test_on_a_terminal_there_is_a_live_view_and_a_summary_in_the_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=f"{SHORT}\nspeed = 300")  # a second: long enough to be drawn
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, "run", str(config)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm", NO_COLOR="1"),
    )
    os.close(theirs)
    with _ended(process, ours):
        text = _all_shown(process, ours).decode()
    for word in ("Ctrl-C stops in order", "strategist", "recorder", "is reconciled and trading", "bad rows: none"):
        assert word in text, word
    assert re.search(r"\d s(\x1b\[0m)?\s*$", text)  # how long it took, below the table


def _with_a_log(folder: Path) -> tuple[Path, Path]:
    """The configuration of a daemon that writes a log file, and that file."""
    config, log = write_config(folder, feed=LONG), folder / "daemon.log"
    config.write_text(config.read_text() + f'\n[logging]\nfile = "{log}"\n')
    return config, log


def _on_a_terminal(config: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A daemon with a live view, and our side of its terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "run", str(config)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm")
    )
    os.close(theirs)
    return process, ours


@contextmanager
def _ended(process: subprocess.Popen[bytes], ours: int) -> Iterator[None]:
    """It and its terminal are gone afterwards."""
    try:
        yield
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _all_shown(process: subprocess.Popen[bytes], ours: int) -> bytes:
    """What comes until it ends, which it does in order."""
    shown = bytearray()
    while chunk := _read(ours):
        shown += chunk
    assert process.wait(timeout=DEADLINE_S) == 0
    return bytes(shown)


def _until_logged(log: Path, text: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline, f"the log never said {text!r}"
        time.sleep(0.01)


def test_on_a_terminal_a_start_that_waits_says_so_as_it_is_said_and_can_be_stopped(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    away = 'url = "postgresql://keel@127.0.0.1:1/keel"\non_store_failure = "halt"'
    config.write_text(config.read_text().replace("[storage]", f"[storage]\n{away}"))
    process, ours = _on_a_terminal(config)
    shown = b""
    with _ended(process, ours):
        for word in (b"test starts: 1 account,", b"waiting for the books' server", b"Ctrl-C stops in order"):
            deadline = time.monotonic() + DEADLINE_S  # the picture comes again and again, whatever it says
            while word not in b" ".join(shown.split()):
                assert time.monotonic() < deadline, shown.decode()
                assert select.select([ours], [], [], DEADLINE_S)[0], shown.decode()
                shown += _read(ours)
        process.send_signal(signal.SIGINT)
        shown += _all_shown(process, ours)
    assert b"stopped before recovery was done" in shown


def test_a_terminal_that_is_closed_ends_the_view_and_the_daemon_trades_on(tmp_path: Path) -> None:
    config, log = _with_a_log(tmp_path)
    process, ours = _on_a_terminal(config)
    try:
        _until_logged(log, "is reconciled and trading")
        os.close(ours)
        _until_logged(log, "the live view is over")
        process.send_signal(signal.SIGHUP)  # which a closing terminal sends to those who are in its foreground
        _until_logged(log, "reloaded")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().count("the live view is over") == 1
    assert not list((tmp_path / "state").glob("crash-*"))


def test_a_terminal_that_is_stopped_does_not_keep_a_daemon_that_is_told_to_stop(tmp_path: Path) -> None:
    config, log = _with_a_log(tmp_path)
    process, ours = _on_a_terminal(config)
    try:
        _until_logged(log, "is reconciled and trading")
        os.write(ours, b"\x13")  # Ctrl-S
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    assert "the terminal takes nothing" in log.read_text()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # everybody on the other side is gone
        return b""
