"""How a daemon ended: which code, and whether a person or we have to mend it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tradekeel import logs
from tradekeel.bootstrap.ending import (
    CRASHES_KEPT_MAX,
    NoAnswer,
    NotRunning,
    category_of_escaped,
    explain,
    is_of_the_world,
    save_traceback,
)
from tradekeel.config import LoggingConfig
from tradekeel.errors import (
    AlreadyRunning,
    ConfigError,
    DataError,
    Defect,
    ErrorCategory,
    ExitCode,
    InputError,
    StoreCorrupt,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
    VenueUnreachable,
)
from tradekeel.runtime.errors import ActorDied, LeakedTasks, RestartsExhausted, StuckActor


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("wrong"), ExitCode.BAD_USAGE),
        (ConfigError(["one", "two"]), ExitCode.BAD_USAGE),
        (DataError("not a row"), ExitCode.BAD_USAGE),
        (NotRunning("nobody"), ExitCode.BAD_USAGE),
        (StoreTooNew("newer"), ExitCode.BAD_USAGE),
        (StoreTooOld("older"), ExitCode.BAD_USAGE),
        (VenueUnreachable("down"), ExitCode.VENUE_UNREACHABLE),
        (StoreCorrupt("damaged"), ExitCode.BOOKS_DO_NOT_MATCH),
        (AlreadyRunning("two"), ExitCode.ALREADY_RUNNING),
        (StoreUnavailable("full"), ExitCode.DEFECT),
        (NoAnswer("silent"), ExitCode.DEFECT),
    ],
)
def test_an_operating_error_has_its_code_its_sentence_and_no_traceback(error: Exception, code: ExitCode) -> None:
    ending = explain(error)
    assert ending.code is code
    assert ending.lines == tuple(str(error).splitlines())
    assert ending.traceback is None


def escaped(error: Exception) -> RestartsExhausted:
    """What arrives at the top when an actor of an account fails with this, again and again."""
    middle = RestartsExhausted("paper", "paper/feed", 5, 60)
    middle.__cause__ = error
    top = RestartsExhausted("root", "paper", 0, 1)
    top.__cause__ = middle
    return top


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("ticks.csv, line 7: crossed"), ExitCode.BAD_USAGE),
        (StoreTooNew("newer"), ExitCode.BAD_USAGE),
        (StoreTooOld("older"), ExitCode.BAD_USAGE),
        (StoreCorrupt("damaged"), ExitCode.BOOKS_DO_NOT_MATCH),
        (StoreUnavailable("full"), ExitCode.DEFECT),
    ],
)
def test_the_disk_and_the_data_are_found_below_the_supervisors_that_gave_up(error: Exception, code: ExitCode) -> None:
    ending = explain(escaped(error))
    assert (ending.code, ending.lines, ending.traceback) == (code, (str(error),), None)
    assert is_of_the_world(error)
    assert is_of_the_world(escaped(error)), "a supervisor that gave up because of it has no bug either"


@pytest.mark.parametrize(
    "error", [InputError("1e9 is no price"), ConfigError(["no"]), VenueUnreachable("down"), ActorDied("paper/session")]
)
def test_whatever_else_an_actor_lets_escape_is_a_bug_and_started_again(error: Exception) -> None:
    for top in (escaped(error), ExceptionGroup("beside the tree", [error])):
        ending = explain(top)
        assert ending.code is ExitCode.DEFECT
        assert ending.lines[0] == f"a bug of ours ended this: {type(error).__name__}: {error}"
        assert ending.traceback is not None
    assert not is_of_the_world(error)
    assert category_of_escaped(error) is ErrorCategory.CRITICAL


def test_only_the_data_and_a_newer_store_stay_what_they_were_when_they_escape() -> None:
    assert category_of_escaped(DataError("x")) is category_of_escaped(StoreTooNew("x")) is ErrorCategory.VALIDATION


def test_it_is_found_in_a_group_of_errors() -> None:
    group = BaseExceptionGroup("two tasks", [ValueError("late"), StoreUnavailable("the disk is full")])
    assert explain(group).lines == ("the disk is full",)


@pytest.mark.parametrize(
    "error", [Defect("no"), KeyError("x"), StuckActor("a", 1.0), LeakedTasks(("t",)), RestartsExhausted("r", "c", 1, 1)]
)
def test_everything_else_is_ours_with_a_traceback(error: Exception) -> None:
    ending = explain(error)
    assert ending.code is ExitCode.DEFECT
    assert "bug of ours" in ending.lines[0]
    assert ending.traceback is not None
    assert type(error).__name__ in ending.traceback
    assert not is_of_the_world(error)


def test_a_bug_is_named_by_where_it_began() -> None:
    top = RestartsExhausted("root", "recorder", 0, 1)
    top.__cause__ = ZeroDivisionError("by zero")
    assert "ZeroDivisionError: by zero" in explain(top).lines[0]


def test_a_sentence_of_ours_is_told_and_not_what_it_came_from() -> None:
    top, defect = RuntimeError("it all came down"), Defect("the server refuses batch 3: keep what waits as it is")
    top.__cause__, defect.__cause__ = defect, KeyError("fk_orders_trade_id")
    assert explain(top).lines[0].endswith("Defect: the server refuses batch 3: keep what waits as it is")


def test_a_chain_without_end_is_left() -> None:
    error: BaseException = ValueError("first")
    error.__cause__ = error
    assert explain(error).code is ExitCode.DEFECT


def test_a_traceback_is_kept_where_it_can_be(tmp_path: Path) -> None:
    path = save_traceback("text", tmp_path, "crash.txt")
    assert path is not None
    assert path.read_text() == "text"
    assert save_traceback("text", tmp_path / "none", "crash.txt") is None


def test_a_traceback_is_ours_alone_whatever_was_there_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("somebody's")
    (tmp_path / "crash-7.txt").symlink_to(tmp_path / "elsewhere")
    path = save_traceback("text", tmp_path, "crash-7.txt")
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "elsewhere").read_text() == "somebody's"


def test_of_many_tracebacks_the_newest_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "crash-notes.txt").write_text("mine")
    for number in range(CRASHES_KEPT_MAX + 3):
        path = save_traceback("text", tmp_path, f"crash-{100 - number}.txt")
        assert path is not None
        os.utime(path, ns=(number, number))
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"crash-notes.txt", *(f"crash-{100 - n}.txt" for n in range(3, CRASHES_KEPT_MAX + 3))}


def test_no_secret_of_the_log_gets_into_a_traceback_or_a_sentence(tmp_path: Path) -> None:
    undo = logs.setup(LoggingConfig(), io.StringIO(), secrets=lambda: ["hunter-2-hunter"])
    undo()
    try:
        raise ValueError("the venue said no to hunter-2-hunter")
    except ValueError as error:
        ending = explain(error)
    assert ending.traceback is not None
    path = save_traceback(f"{ending.traceback} hunter-2-hunter", tmp_path, "crash-1.txt")
    assert path is not None
    for text in (*ending.lines, ending.traceback, path.read_text(), *explain(InputError("hunter-2-hunter")).lines):
        assert "hunter" not in text
        assert text
