"""`tradekeel run`: on a terminal with a live view, otherwise as lines of a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradekeel.errors import ExitCode

if TYPE_CHECKING:
    from tradekeel.bootstrap.onlooker import View

LOG_LEVELS = ("trace", "debug", "info", "warning", "error")
SWITCHES = {"--fresh": "fresh", "--json-logs": "json_logs", "--plain": "plain"}
"""The words without a value that `run` knows; the quick reading below and the full one agree on them (a test holds it)."""


_caught: list[Any] = []
"""The inbox that was installed first, for the full reading."""


def run_quickly(words: Sequence[str], signals: Any) -> int | None:
    """Run if the words are plain ones; None leaves them to the full reading, with its help and its complaints.

    A daemon that is restarted after a crash should trade again at once, and need not load a parser of command lines for that.
    """
    config: str | None = None
    switches: dict[str, bool] = {}
    level: str | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in SWITCHES:
            switches[SWITCHES[word]] = True
        elif word == "--log-level" and rest and rest[0] in LOG_LEVELS:
            level = rest.pop(0)
        elif word.startswith("-") or config is not None:
            _caught[:] = [signals]
            return None
        else:
            config = word
    return start(config, signals, level=level, **switches)


def start(
    config: str | None,
    signals: Any,
    *,
    fresh: bool = False,
    json_logs: bool = False,
    plain: bool = False,
    level: str | None = None,
) -> int:
    """Find the configuration, choose how it is shown, and run; the exit code."""
    from tradekeel.bootstrap.early import starting_quickly

    with starting_quickly():
        return _start(config, signals, fresh=fresh, json_logs=json_logs, plain=plain, level=level)


def _start(config: str | None, signals: Any, *, fresh: bool, json_logs: bool, plain: bool, level: str | None) -> int:
    from tradekeel.bootstrap.launch import RunOptions, fail, launch
    from tradekeel.bootstrap.place import as_given, find_place
    from tradekeel.errors import InputError

    try:
        path = find_place(config, None, os.environ).config
    except InputError as error:
        return fail(error, None)
    assert path is not None
    options = RunOptions(fresh=fresh, log_format="json" if json_logs else None, log_level=level)
    shown = as_given(path, config)
    view = None if plain or json_logs else view_for_person(os.environ)
    return launch(shown, options, signals, os.environ, view)


def view_for_person(environ: Mapping[str, str]) -> View | None:
    """The live view, where a person sits at a terminal that can show it."""
    under_systemd = "JOURNAL_STREAM" in environ or "NOTIFY_SOCKET" in environ
    if under_systemd or environ.get("TERM", "dumb") == "dumb" or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return None
    from tradekeel.cli.live import LiveView

    return LiveView()


def run(
    config: str | None = None,
    /,
    *,
    fresh: bool = False,
    json_logs: bool = False,
    plain: bool = False,
    log_level: str | None = None,
) -> int:
    """Run a daemon until it is stopped or its feeds end.

    Parameters
    ----------
    config
        The configuration file, or the name of a service.
    fresh
        Close unfinished paper executions and begin anew, with new paper accounts.
    json_logs
        Log JSON, one object a line.
    plain
        Log lines also on a terminal, without the live view.
    log_level
        trace, debug, info, warning or error, instead of the configuration's.
    """
    if log_level is not None and log_level not in LOG_LEVELS:
        sys.stderr.write(f"tradekeel: --log-level is one of {', '.join(LOG_LEVELS)}, not {log_level!r}\n")
        return ExitCode.BAD_USAGE
    if not _caught:
        from tradekeel.bootstrap.early import install_signals

        _caught.append(install_signals())
    return start(config, _caught[0], fresh=fresh, json_logs=json_logs, plain=plain, level=log_level)
