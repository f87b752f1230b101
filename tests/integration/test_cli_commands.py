"""Commands to a running daemon: each is durable when it is answered, and says what it did."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.cli_daemon import DEADLINE_S, LONG, Daemon, call, environment, read_json, start, write_config


def account(config: Path) -> Any:
    return read_json("status", config)["accounts"][0]


def until_account(daemon: Daemon, **wanted: Any) -> None:
    """Wait until the books say so: a command is answered when it is decided, and durable a moment later."""

    def agrees() -> bool:
        now = account(daemon.config)
        return all(now[name] == value for name, value in wanted.items())

    daemon.until(agrees, f"the account never was {wanted}")


def test_a_day_of_a_person_at_the_command_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: read_json("status", config)["ready"], "it never was ready")
        status = read_json("status", config)
        assert status["running"]
        assert status["pid"] == daemon.process.pid
        assert "recorder" in status["actors"]

        second = start("run", config)
        assert second.returncode == 6
        assert str(daemon.process.pid) in second.stderr

        paused = call("pause", config, "--reason", "lunch")
        assert (paused.returncode, "paused" in paused.stdout) == (0, True)
        until_account(daemon, paused=True)
        assert call("resume", config).returncode == 0
        until_account(daemon, paused=False)

        killed = call("kill", config, "-m", "too hot")
        assert killed.returncode == 0
        until_account(daemon, latch="halted", latch_reason="too hot")
        assert (tmp_path / "state" / "latches" / "all.json").exists()

        daemon.process.kill()  # a kill is remembered, whatever happens to the process
        daemon.process.wait()
    with Daemon(config) as daemon:
        daemon.log.write_text("")
        daemon.until_said("paper is halted: too hot")
        assert account(config)["latch"] == "halted"
        assert call("release", config).returncode == 0
        until_account(daemon, latch="open")
        assert not (tmp_path / "state" / "latches" / "all.json").exists()

        assert call("flatten", config).returncode == 0
        daemon.until(lambda: not read_json("positions", config), "the position stayed open")
        until_account(daemon, paused=True, trades_open=0)

        refused = call("resolve", "tknosuchorder", "canceled", config)
        assert refused.returncode == 2
        assert "nothing done" in refused.stderr
        assert call("resolve", "tknosuchorder", "vanished", config).returncode == 2
        assert "no account 'other'" in call("pause", config, "--account", "other").stderr

        assert call("stop", config).returncode == 0
        assert daemon.wait() == 0
    assert read_json("verify", config)["ok"]
    changes = [e["record"] for e in read_json("events", config, "--journal", "-n", "0", "--type", "latch_changed")]
    assert [(c["paused"], c["latch"]) for c in reversed(changes)][:4] == [
        (True, "open"),
        (False, "open"),
        (False, "halted"),
        (False, "open"),
    ]


def test_a_stop_that_takes_too_long_is_ended_by_the_signal_that_its_command_names(tmp_path: Path) -> None:
    config, log = write_config(tmp_path, feed=LONG, daemon="stall_limit_s = 600"), tmp_path / "log"
    words = [sys.executable, "-m", "tests.scenarios.support_hang", str(config), "handler", "paper/feed:StopFeed", "1"]
    with log.open("w") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=out, env=environment())
    try:
        while "is reconciled and trading" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        late = call("stop", config, "--timeout", "0.5")
        assert (late.returncode, f"kill {process.pid}" in late.stderr) == (70, True), late
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_pause_and_resume_by_signal_and_reload_good_and_bad(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=LONG)
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.send(signal.SIGUSR1)
        until_account(daemon, paused=True)
        daemon.send(signal.SIGUSR2)
        until_account(daemon, paused=False)
        execution = account(config)["execution"]

        write_config(tmp_path, feed=LONG, risk="position_max = 5000", params="units = 2000")
        good = call("reload", config)
        assert good.returncode == 0, good.stderr
        assert "accounts.paper.risk.position_max: none -> 5000" in good.stdout
        assert "strategies.trend.params.units: 1000 -> 2000" in good.stdout

        write_config(tmp_path, feed=LONG, daemon="wrong = 1", params="units = 3000")
        bad = call("reload", config)
        assert bad.returncode == 2
        assert "wrong" in bad.stderr

        write_config(tmp_path, feed=LONG.replace("60", "30"), params="units = 3000")
        impossible = call("reload", config)
        assert impossible.returncode == 2
        assert "feeds.market.speed" in impossible.stderr
        daemon.send(signal.SIGHUP)
        daemon.until_said("these need a restart: feeds.market.speed")

        assert account(config)["execution"] == execution
        assert account(config)["strategies"][0]["parameters"]["units"] == "2000"
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    history = read_json("events", config, "--journal", "-n", "0", "--type", "parameter_changed")
    assert {(e["record"]["change"]["name"], e["record"]["change"]["new"]) for e in history} == {
        ("accounts.paper.risk.position_max", "5000"),
        ("strategies.trend.params.units", "2000"),
    }
    assert read_json("verify", config)["ok"]


def test_commands_without_a_daemon_say_so_and_a_kill_waits_for_the_next_one(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed="ticks = 200")
    nothing = call("kill", config)
    assert nothing.returncode == 2  # there is not even a state directory
    assert call("trades", config).returncode != 0
    assert start("run", config).returncode == 0

    for command in ("pause", "resume", "flatten", "reload", "stop"):
        done = call(command, config)
        assert done.returncode == 2
        assert "no daemon is running" in done.stderr
    assert "the next one starts halted" in call("kill", config, "-m", "by night").stdout
    assert read_json("status", config)["latch_files"] == ["all"]
    halted = start("run", config)
    assert "halted" in halted.stderr
    assert halted.returncode == 0  # a person did it, so it is no fault
    assert "latch files are removed" in call("release", config).stdout
    assert read_json("status", config)["latch_files"] == []
