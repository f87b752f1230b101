"""How a daemon ended: which code, and whether a person or we have to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.ending import NoAnswer, NotRunning, explain, is_operating_error, save_traceback
from tradekeel.errors import (
    AlreadyRunning,
    BooksDoNotMatch,
    ConfigError,
    Defect,
    ExitCode,
    InputError,
    StoreCorrupt,
    StoreTooNew,
    StoreUnavailable,
    VenueUnreachable,
)
from tradekeel.runtime.errors import LeakedTasks, RestartsExhausted, StuckActor


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("wrong"), ExitCode.BAD_USAGE),
        (ConfigError(["one", "two"]), ExitCode.BAD_USAGE),
        (NotRunning("nobody"), ExitCode.BAD_USAGE),
        (StoreTooNew("newer"), ExitCode.BAD_USAGE),
        (VenueUnreachable("down"), ExitCode.VENUE_UNREACHABLE),
        (StoreCorrupt("damaged"), ExitCode.BOOKS_DO_NOT_MATCH),
        (BooksDoNotMatch("differ"), ExitCode.BOOKS_DO_NOT_MATCH),
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


def test_it_is_found_below_the_supervisors_that_gave_up() -> None:
    middle = RestartsExhausted("paper", "paper/feed", 5, 60)
    middle.__cause__ = InputError("ticks.csv, line 7: crossed")
    top = RestartsExhausted("root", "paper", 0, 1)
    top.__cause__ = middle
    ending = explain(top)
    assert (ending.code, ending.lines) == (ExitCode.BAD_USAGE, ("ticks.csv, line 7: crossed",))


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
    assert not is_operating_error(error)


def test_a_bug_is_named_by_where_it_began() -> None:
    top = RestartsExhausted("root", "recorder", 0, 1)
    top.__cause__ = ZeroDivisionError("by zero")
    assert "ZeroDivisionError: by zero" in explain(top).lines[0]


def test_a_chain_without_end_is_left() -> None:
    error: BaseException = ValueError("first")
    error.__cause__ = error
    assert explain(error).code is ExitCode.DEFECT


def test_a_traceback_is_kept_where_it_can_be(tmp_path: Path) -> None:
    path = save_traceback("text", tmp_path, "crash.txt")
    assert path is not None
    assert path.read_text() == "text"
    assert save_traceback("text", tmp_path / "none", "crash.txt") is None
