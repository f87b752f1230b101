"""What all commands share: the words that say which daemon is meant, and how answers and errors are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

Target = Annotated[
    str | None,
    Parameter(
        help="The configuration file, or the name of a service (/etc/tradekeel/NAME.toml). Left out: $TRADEKEEL_CONFIG, "
        "or the only daemon that there is."
    ),
]
State = Annotated[
    Path | None, Parameter(name="--state", help="The state directory instead of a configuration: for books in a file.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Write JSON.")]
Account = Annotated[str | None, Parameter(name=["--account", "-a"], help="Only this account.")]
Start = Annotated[str | None, Parameter(help="Only ticks from this time on: 2014-05-08, 2014-05-08T07:30Z.")]
End = Annotated[str | None, Parameter(help="Only ticks before this time.")]
WarmUp = Annotated[
    str | None,
    Parameter(
        help="Read so much more before the start, such as 2d: it warms strategies up, and nothing is entered there."
    ),
]
Reason = Annotated[str, Parameter(name=["--reason", "-m"], help="Why; it is kept in the journal.")]


def place(target: str | None, state: Path | None) -> Any:
    """The place that the words mean."""
    from tradekeel.bootstrap.place import find_place

    return find_place(target, state, os.environ)


def config_of(target: str | None, what: str) -> Path:
    """The configuration file that a word means, as it was written. Raises InputError where there is none, for ``what``."""
    from tradekeel.bootstrap.place import as_given
    from tradekeel.errors import InputError

    path = place(target, None).config
    if path is None:
        raise InputError(f"{what} needs a configuration: name its file")
    return Path(as_given(path, target))


def write_json(value: Any) -> None:
    """JSON, indented, on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def say(*lines: str) -> None:
    """Lines on standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def complain(*lines: str) -> None:
    """Lines on standard error."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def guarded(command: Callable[[], int], folder: Callable[[], Path | None] = lambda: None) -> int:
    """Run a command; an operating error becomes a sentence and its exit code, a bug a note of where its traceback is."""
    try:
        return command()
    except KeyboardInterrupt as interrupt:
        complain(f"tradekeel: {interrupt}" if str(interrupt) else "tradekeel: interrupted")
        return 130
    except Exception as error:  # noqa: BLE001  # the last resort: whatever it is, it is explained
        from tradekeel.bootstrap.launch import fail

        return fail(error, folder())


def words_of(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Several words, given one by one or with commas; None for none."""
    if not values:
        return None
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())
