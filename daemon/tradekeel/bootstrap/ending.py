"""How a daemon ended: the exit code, and sentences that say what happened and what to do.

What went wrong inside arrives wrapped by supervisors that gave up; the first error below them that means something to a
person decides.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tradekeel.errors import (
    AlreadyRunning,
    BooksDoNotMatch,
    ExitCode,
    InputError,
    OurError,
    StoreCorrupt,
    StoreTooNew,
    StoreUnavailable,
    TradekeelError,
    VenueUnreachable,
)
from tradekeel.runtime.errors import LeakedTasks, RestartsExhausted, StuckActor

CHAIN_MAX = 50


class NotRunning(OurError):
    """There is no daemon that could carry a command out."""


class NoAnswer(OurError):
    """A daemon did not answer a command in time."""


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (AlreadyRunning, ExitCode.ALREADY_RUNNING),
    (InputError, ExitCode.BAD_USAGE),
    (NotRunning, ExitCode.BAD_USAGE),
    (NoAnswer, ExitCode.DEFECT),
    (StoreTooNew, ExitCode.BAD_USAGE),  # starting again cannot help; installing the right version does
    (StoreCorrupt, ExitCode.BOOKS_DO_NOT_MATCH),  # nor here: the books contradict themselves, and a person must look
    (BooksDoNotMatch, ExitCode.BOOKS_DO_NOT_MATCH),
    (VenueUnreachable, ExitCode.VENUE_UNREACHABLE),
    (StoreUnavailable, ExitCode.DEFECT),  # crash: what is on the disk is whole, and the service manager starts again
)


class Ending(Struct, frozen=True):
    """An exit code and what to tell a person. ``traceback`` is None for what is no bug of ours."""

    code: ExitCode
    lines: tuple[str, ...]
    traceback: str | None = None


def explain(error: BaseException) -> Ending:
    """What an error that reached the top means."""
    for cause in _chain(error):
        for kind, code in _CODES:
            if isinstance(cause, kind):
                return Ending(code, tuple(str(cause).splitlines()))
    return Ending(ExitCode.DEFECT, _words_for_a_bug(error), "".join(traceback.format_exception(error)))


def _words_for_a_bug(error: BaseException) -> tuple[str, ...]:
    first = next(iter(_roots(error)), error)
    what = f"{type(first).__name__}: {first}" if str(first) else type(first).__name__
    lines = [f"a bug of ours ended this: {what}"]
    if isinstance(error, StuckActor | LeakedTasks):
        lines.append("something in this process could not be ended, so the process ends instead")
    elif isinstance(error, RestartsExhausted):
        lines.append(str(error))
    return tuple(lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, members of groups included; the outermost first."""
    waiting, seen = [error], 0
    while waiting and seen < CHAIN_MAX:
        current = waiting.pop(0)
        seen += 1
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        if current.__cause__ is not None:
            waiting.append(current.__cause__)


def _roots(error: BaseException) -> Iterator[BaseException]:
    """Where the chain ends."""
    for cause in _chain(error):
        if cause.__cause__ is None and not isinstance(cause, BaseExceptionGroup):
            yield cause


def save_traceback(text: str, folder: Path, name: str) -> Path | None:
    """Keep a traceback where somebody finds it. None where that cannot be."""
    path = folder / name
    try:
        path.write_text(text)
    except OSError:
        return None
    return path


def is_operating_error(error: BaseException) -> bool:
    """Whether this is an error of the world or of its use, not one of ours."""
    return isinstance(error, TradekeelError) and explain(error).traceback is None
