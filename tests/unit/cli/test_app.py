"""Every command is there, says what it does, and refuses what it does not know."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.unit.bootstrap.books import SECOND_ACCOUNT, append, make_place, open_second_account
from tests.unit.storage import samples
from tests.unit.storage.samples import CHANGE, SNAPSHOT
from tradekeel.cli.app import dispatch, make_app
from tradekeel.cli.common import guarded, words_of
from tradekeel.domain.records import OrderChanged, ParameterChanged, SnapshotTaken
from tradekeel.errors import ExitCode, InputError
from tradekeel.storage.store import Store

COMMANDS = [
    "run",
    "check",
    "status",
    "trades",
    "orders",
    "fills",
    "positions",
    "signals",
    "events",
    "executions",
    "snapshots",
    "parameters",
    "strategies",
    "pause",
    "resume",
    "reload",
    "stop",
    "flatten",
    "kill",
    "release",
    "resolve",
    "verify",
    "new-strategy",
]
READING = [
    *("check", "status", "trades", "orders", "fills", "positions", "signals", "events", "executions", "snapshots"),
    *("parameters", "strategies", "verify"),
]


DATABASE = [
    *("verify", "backup", "restore", "export", "import", "archive", "wipe", "stats"),
    *("upgrade", "downgrade", "current", "history"),
]
INNER = [*(["db", name] for name in DATABASE), ["systemd", "unit"], ["systemd", "install"]]


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + INNER)
def test_each_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch([*words, "--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "Usage: tradekeel" in shown
    assert words[-1] in shown
    if words[0] in READING:
        assert "--json" in shown


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*COMMANDS, "db", "systemd", "Exit codes"])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["--version"]) == ExitCode.DONE
    assert capsys.readouterr().out.strip() == make_app().version


@pytest.mark.parametrize(
    "words", [["nonsense"], ["trades", "--nonsense"], ["trades", "--limit", "many"], ["resolve", "id"]]
)
def test_bad_usage_is_2_and_no_traceback(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(words) == ExitCode.BAD_USAGE
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err


def test_words_that_a_command_has_no_use_for_are_named_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["db", "restore", "market.toml", "one.db", "two.db"]) == ExitCode.BAD_USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert "tradekeel db restore has no use for two.db: name one copy" in said
    assert dispatch(["status", "market.toml", "other.toml"]) == ExitCode.BAD_USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert "tradekeel status has no use for other.toml: see tradekeel status --help" in said
    assert "Unused" not in said


def test_the_unit_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code = dispatch(["systemd", "unit"])
    captured = capsys.readouterr()
    assert (code == ExitCode.DONE and "Type=notify" in captured.out) or "sandbox" in captured.err


def test_a_configuration_is_installed_where_a_service_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["new-strategy", "dips", "--folder", str(tmp_path)]) == ExitCode.DONE
    config = tmp_path / "dips.toml"
    config.write_text(config.read_text().replace("dips.py:Dips", "ema_cross").partition("[strategies.dips.params]")[0])
    code = dispatch(["systemd", "install", str(config), "--name", "night", "--root", str(tmp_path / "root")])
    captured = capsys.readouterr()
    if "sandbox" in captured.err:
        return  # this very program lies where a service could not reach it, and says so
    assert code == ExitCode.DONE, captured.err
    assert (tmp_path / "root/etc/tradekeel/night.toml").read_bytes() == config.read_bytes()
    assert (tmp_path / "root/etc/systemd/system/tradekeel@.service").exists()
    assert "systemctl enable --now tradekeel@night" in captured.out


def test_strategies_are_listed_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["strategies"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("floor", "ema_cross", "donchian", "retracement_pips", "initial_units"))
    assert dispatch(["strategies", "flor"]) == ExitCode.BAD_USAGE


def test_a_new_strategy_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["new-strategy", "dips", "--folder", str(tmp_path)]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "tradekeel run" in shown
    [line] = [line for line in shown.splitlines() if line.startswith("test it:")]
    done = subprocess.run(shlex.split(line.removeprefix("test it:")), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr  # as it is printed, with what Tradekeel itself runs on
    assert dispatch(["new-strategy", "dips", "--folder", str(tmp_path)]) == ExitCode.BAD_USAGE


def test_a_new_strategy_is_not_called_as_one_that_comes_with_us(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["new-strategy", "floor", "--folder", str(tmp_path)]) == ExitCode.BAD_USAGE
    assert "comes with Tradekeel" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_reading_commands_on_books_with_rows_fit_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    place = make_place(tmp_path / "state", tmp_path / "empty.db")
    append(place, [SnapshotTaken(ts_ns=1, snapshot=SNAPSHOT), ParameterChanged(ts_ns=1, change=CHANGE)])
    for command in ("trades", "orders", "fills", "positions", "signals", "events", "status"):
        assert dispatch([command, "--state", str(place.state_dir)]) == ExitCode.DONE
        shown = capsys.readouterr().out
        assert "EUR_USD" in shown or "layer_opened" in shown
        assert max(map(len, shown.splitlines())) <= 80, shown
    for command, word in (("executions", samples.RUN), ("snapshots", "10001.25"), ("parameters", "max_layers")):
        assert dispatch([command, "--state", str(place.state_dir)]) == ExitCode.DONE
        shown = capsys.readouterr().out
        assert word in shown
        assert max(map(len, shown.splitlines())) <= 80, shown
    assert dispatch(["events", "--journal", "--state", str(place.state_dir)]) == ExitCode.DONE
    assert "venue_reported" in capsys.readouterr().out
    # These books have come to an entry of a ledger that is not there: a daemon would halt on them, and verify says so.
    assert dispatch(["verify", "--state", str(place.state_dir)]) == ExitCode.BOOKS_DO_NOT_MATCH
    told = capsys.readouterr().err
    assert "everything agrees" in told
    assert "the venue's ledger is gone" in told
    assert dispatch(["db", "history", "--state", str(place.state_dir)]) == ExitCode.DONE
    assert "0001" in capsys.readouterr().out


def test_a_backup_says_what_it_made_and_refuses_to_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    place = make_place(tmp_path / "state", tmp_path / "empty.db")
    config = tmp_path / "one.toml"
    config.write_text(f'[daemon]\nstate_dir = "{place.state_dir}"\n')
    copy = tmp_path / "copy.db"
    assert dispatch(["db", "backup", str(config), str(copy)]) == ExitCode.DONE
    assert f"to {copy} ({copy.stat().st_size:,} bytes)" in capsys.readouterr().out
    assert dispatch(["db", "backup", str(config), str(copy)]) == ExitCode.BAD_USAGE
    assert "never overwritten" in capsys.readouterr().err
    nowhere = tmp_path / "not mounted" / "copy.db"
    assert dispatch(["db", "backup", str(config), str(nowhere)]) == ExitCode.BAD_USAGE
    assert f"there is no folder {nowhere.parent}" in capsys.readouterr().err
    assert not nowhere.parent.exists()
    other = tmp_path / "other.db"
    assert dispatch(["db", "backup", str(other), "--state", str(place.state_dir), "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["copy"] == str(other)
    assert dispatch(["db", "backup", str(config)]) == ExitCode.BAD_USAGE
    assert "CONFIG TARGET" in capsys.readouterr().err


def test_an_execution_is_running_only_while_a_daemon_holds_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    place = make_place(tmp_path / "state", tmp_path / "empty.db")
    words = ["executions", "--state", str(place.state_dir)]
    assert dispatch(words) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "unfinished" in shown
    assert "started (clock)" in shown
    assert dispatch([*words, "--json"]) == ExitCode.DONE
    assert '"running"' in capsys.readouterr().out
    holder = place.statedir
    holder.lock()
    try:
        assert dispatch(words) == ExitCode.DONE
        shown = capsys.readouterr().out
        assert "running" in shown
        assert "unfinished" not in shown
    finally:
        holder.release()


def test_rows_of_two_accounts_can_be_told_apart_also_where_room_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    place = make_place(tmp_path / "state", tmp_path / "empty.db")
    state = ["--state", str(place.state_dir)]
    for command in ("trades", "orders", "signals", "events"):
        assert dispatch([command, *state]) == ExitCode.DONE
        shown = capsys.readouterr().out
        assert "account" not in shown
        assert "floor" in shown
    open_second_account(place, 1)
    for command in ("trades", "orders", "fills", "signals", "events", "positions"):
        for more in ([], ["-n", "1"]):  # also where all rows that are shown happen to be of one
            assert dispatch([command, *state, *more]) == ExitCode.DONE
            header, _, *rows = capsys.readouterr().out.splitlines()
            assert "account" in header, command
            assert "paper-" in rows[0], command
            assert "floor" in rows[0] or command in ("fills", "positions")
            assert max(map(len, rows)) <= 80
    assert dispatch(["trades", *state, "--account", SECOND_ACCOUNT]) == ExitCode.DONE
    assert "account" not in capsys.readouterr().out


def test_of_an_order_that_nobody_can_tell_about_the_whole_id_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    place = make_place(tmp_path / "state", tmp_path / "empty.db")
    order = f"tk{samples.RUN}-5"
    append(place, [OrderChanged(ts_ns=1, client_order_id=order, event="lose", reason="no answer")])
    open_second_account(place, 1)
    assert dispatch(["orders", "--status", "unknown", "--state", str(place.state_dir)]) == ExitCode.DONE
    assert order in capsys.readouterr().out
    assert dispatch(["orders", "--state", str(place.state_dir), "-n", "1"]) == ExitCode.DONE


def test_a_bug_is_told_shortly_with_the_place_of_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> int:
        raise ZeroDivisionError("by zero")

    assert guarded(broken, lambda: tmp_path) == ExitCode.DEFECT
    said = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in said
    assert "Traceback" not in said
    [kept] = tmp_path.glob("crash-*.txt")
    assert str(kept) in said
    assert "in broken" in kept.read_text()


def test_an_operating_error_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> int:
        raise InputError("no such thing")

    assert guarded(refused) == ExitCode.BAD_USAGE
    assert capsys.readouterr().err == "tradekeel: no such thing\n"


def test_several_words_are_given_one_by_one_or_with_commas() -> None:
    assert words_of(None) is None
    assert words_of(["open,closed", " failed "]) == ("open", "closed", "failed")
