"""How a daemon ended: the exit code, and sentences that say what happened and what to do.

What went wrong inside arrives wrapped by supervisors that gave up; the first error below them that means something to a
person decides. An actor handles what it expects of the world. What it lets escape it did not expect: that is a bug of
ours, and started again, unless it is the disk or the data, which only the world can mend. A wrong value, for one,
is a matter of usage while the configuration is read, and a bug once it has got past that.
"""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from tradekeel import logs
from tradekeel.errors import (
    AlreadyRunning,
    DataError,
    Defect,
    ErrorCategory,
    ExitCode,
    InputError,
    LeaseLost,
    OurError,
    StoreAway,
    StoreCorrupt,
    StoreRefused,
    StoreTooNew,
    StoreTooOld,
    StoreUnanswered,
    StoreUnavailable,
    VenueUnreachable,
    category_of,
    named,
)
from tradekeel.runtime.errors import ActorError, LeakedTasks, RestartsExhausted, StuckActor

CHAIN_MAX = 50
CRASHES_KEPT_MAX = 5
"""Tracebacks that a state directory keeps: a daemon that crashes at every start must not fill the disk with them."""

_CRASH_FILE = re.compile(r"crash-\d+\.txt")


class NotRunning(OurError):
    """There is no daemon that could carry a command out."""

    category = ErrorCategory.VALIDATION


class NoAnswer(OurError):
    """A daemon did not answer a command in time."""

    category = ErrorCategory.TRANSIENT


_Codes = tuple[tuple[type[BaseException], ExitCode], ...]

_THE_WORLDS: _Codes = (
    (DataError, ExitCode.BAD_USAGE),  # starting again cannot help: the same rows would be read
    (StoreTooNew, ExitCode.BAD_USAGE),  # nor here; installing the right version does
    (StoreTooOld, ExitCode.BAD_USAGE),  # nor here: `tradekeel db upgrade` does
    (StoreCorrupt, ExitCode.BOOKS_DO_NOT_MATCH),  # nor here: the books contradict themselves, and a person must look
    (AlreadyRunning, ExitCode.ALREADY_RUNNING),  # on a server that keeps the books of several
    (LeaseLost, ExitCode.DEFECT),  # crash: the next start is refused and names who trades now, or stands by
    (StoreUnavailable, ExitCode.DEFECT),  # crash: what is on the disk is whole, and the service manager starts again
)
"""What a person can mend, wherever it comes from."""

_OUTSIDE_THE_TREE: _Codes = (
    *_THE_WORLDS,
    (InputError, ExitCode.BAD_USAGE),
    (NotRunning, ExitCode.BAD_USAGE),
    (NoAnswer, ExitCode.DEFECT),
    (VenueUnreachable, ExitCode.VENUE_UNREACHABLE),
    (StoreAway, ExitCode.DEFECT),  # a server that a command asks, and that is not there
    (StoreUnanswered, ExitCode.DEFECT),
    (StoreRefused, ExitCode.BAD_USAGE),  # a password, a right
)
"""What a person can mend before the actors run, or in a command; out of an actor it is a bug."""


class Ending(Struct, frozen=True):
    """An exit code and what to tell a person. ``traceback`` is None for what is no bug of ours. There is no secret in either."""

    code: ExitCode
    lines: tuple[str, ...]
    traceback: str | None = None


def explain(error: BaseException) -> Ending:
    """What an error that reached the top means."""
    for cause, escaped in _chain(error):
        for kind, code in _THE_WORLDS if escaped else _OUTSIDE_THE_TREE:
            if isinstance(cause, kind):
                return Ending(code, tuple(logs.without_secrets(str(cause)).splitlines()))
    lines = tuple(logs.without_secrets(line) for line in _words_for_a_bug(error))
    return Ending(ExitCode.DEFECT, lines, logs.without_secrets("".join(traceback.format_exception(error))))


def is_a_persons_to_mend(error: BaseException) -> bool:
    """Whether starting again cannot help: what a file holds does not change by itself."""
    return any(isinstance(cause, DataError) for cause, _ in _chain(error))


def _words_for_a_bug(error: BaseException) -> tuple[str, ...]:
    ours = (cause for cause, _ in _chain(error) if isinstance(cause, Defect))  # it says more than what it came from
    first = next(ours, None) or next(iter(_roots(error)), error)
    lines = [f"a bug of ours ended this: {named(first)}"]
    if isinstance(error, StuckActor | LeakedTasks):
        lines.append("something in this process could not be ended, so the process ends instead")
    elif isinstance(error, RestartsExhausted):
        lines.append(str(error))
    return tuple(lines)


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """The error and what it came from, members of groups included; the outermost first.

    With each, whether it escaped from the running actors: it then lies below a supervisor's word or in the group of a task.
    """
    waiting, seen = [(error, False)], 0
    while waiting and seen < CHAIN_MAX:
        current, escaped = waiting.pop(0)
        seen += 1
        yield current, escaped
        below = escaped or isinstance(current, ActorError | BaseExceptionGroup)
        if isinstance(current, BaseExceptionGroup):
            waiting.extend((member, below) for member in current.exceptions)
        if current.__cause__ is not None:
            waiting.append((current.__cause__, below))


def _roots(error: BaseException) -> Iterator[BaseException]:
    """Where the chain ends."""
    for cause, _ in _chain(error):
        if cause.__cause__ is None and not isinstance(cause, BaseExceptionGroup):
            yield cause


def save_traceback(text: str, folder: Path, name: str) -> Path | None:
    """Keep a traceback where somebody finds it, for us alone and without secrets. None where that cannot be.

    Of earlier ones in a folder of our own the newest CRASHES_KEPT_MAX stay, this one among them.
    """
    path = folder / name
    try:
        path.unlink(missing_ok=True)  # of an earlier process with our id; never written through, whosever it is
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(logs.without_secrets(text))
    except OSError:
        return None
    if folder != Path(tempfile.gettempdir()):  # in which others may have files of such a name
        _forget_old_crashes(folder)
    return path


def _forget_old_crashes(folder: Path) -> None:
    with suppress(OSError):
        crashes = [path for path in folder.iterdir() if _CRASH_FILE.fullmatch(path.name) and path.is_file()]
        crashes.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in crashes[:-CRASHES_KEPT_MAX]:
            path.unlink()


def is_of_the_world(error: BaseException) -> bool:
    """Whether what an actor or a supervisor failed with is the world's to mend; everything else is a bug of ours."""
    return _of_the_world(error) is not None


def category_of_escaped(error: BaseException) -> ErrorCategory:
    """What an error is once an actor has let it escape: whatever it was before, nobody handled it."""
    cause = _of_the_world(error)
    return ErrorCategory.CRITICAL if cause is None else category_of(cause)


def _of_the_world(error: BaseException) -> BaseException | None:
    kinds = tuple(kind for kind, _ in _THE_WORLDS)
    return next((cause for cause, _ in _chain(error) if isinstance(cause, kinds)), None)
