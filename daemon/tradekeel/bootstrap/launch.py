"""`tradekeel run` without its terminal: configuration, log, daemon, summary, and the exit code.

The command line hands in what it has: signals caught from the first moment, the environment, and a view if there is a
person to look at it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec
from loguru import logger
from msgspec import Struct

from tradekeel import logs
from tradekeel.bootstrap.alone import make_whole_again
from tradekeel.bootstrap.books import books_of
from tradekeel.bootstrap.daemon import START_EXTEND_S, Ran, run_to_the_end
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.ending import explain, save_traceback
from tradekeel.bootstrap.onlooker import Onlooker, View
from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.bootstrap.summary import (
    AccountSummary,
    FeedSummary,
    Summary,
    bad_row_words,
    failures,
    read_summaries,
    refusals,
)
from tradekeel.domain.counting import counted
from tradekeel.errors import AlreadyRunning, ExitCode, InputError, StoreCorrupt, StoreError
from tradekeel.runtime.clock import SystemClock, pause
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.signals import SignalInbox
from tradekeel.statedir import StateDir
from tradekeel.storage.sqlite import InMemory

LOOK_AGAIN_S = 0.2
"""How soon a start looks again whether a command has ended that is at work on the books."""

UNNAMED_MAX = 25
"""So often in a row nobody may have said that he holds the directory: as a rule that is over before anybody can look."""


class RunOptions(Struct, frozen=True, kw_only=True):
    """What the command line says beyond the file."""

    fresh: bool = False
    log_format: str | None = None  # text or json
    log_level: str | None = None


def launch(
    config: Path, options: RunOptions, signals: SignalInbox, environ: Mapping[str, str], view: View | None = None
) -> int:
    """Run the daemon of this configuration to its end; the exit code. What went wrong was told before this returns."""
    folder: Path | None = None
    onlooker = None if view is None else Onlooker(view)
    try:
        plan = _with_options(read_plan(config, environ), options)
        folder = plan.config.state_dir
        if signals.stop_asked:
            return ExitCode.DONE
        statedir = StateDir(folder)
        if not _take(
            statedir, signals, environ
        ):  # first of all: also the log may be the one of the daemon that holds it
            return ExitCode.DONE
        try:
            was_torn = make_whole_again(statedir)
            with _Log(plan, options, environ, onlooker) as log:
                if was_torn:
                    logger.warning("a `tradekeel db restore` was killed: these are the books from before it")
                try:
                    return _run(plan, statedir, options, signals, environ, onlooker, log)
                except Exception as error:  # noqa: BLE001  # the last resort: whatever it is, it is explained
                    code = fail(error, folder, tell=_tell_log)
                    Desk(statedir).write_end(code, explain(error).lines[0])
                    return code
        finally:
            statedir.release()
    except Exception as error:  # noqa: BLE001  # as above, before there was a log
        return fail(error, folder)


def _take(statedir: StateDir, signals: SignalInbox, environ: Mapping[str, str]) -> bool:
    """Take the directory. A command that changes the books ends by itself, and is waited for: refused, nobody would start the
    daemon again. False where a stop is asked for meanwhile. Raises AlreadyRunning beside a daemon.
    """
    told, unnamed = False, 0
    with closing(Notifier.from_environ(environ)) as notify:
        while True:
            try:
                statedir.lock()
            except AlreadyRunning:
                unnamed = 0 if statedir.holder() else unnamed + 1
                if unnamed > UNNAMED_MAX or not statedir.is_at_work:
                    raise
                if not told and not unnamed:
                    told = True
                    waiting = f"waiting until a command that changes the books in {statedir.path} has ended"
                    tell_terminal([waiting])
                    notify.status(waiting)
                notify.extend_timeout(START_EXTEND_S)  # a large archive takes longer than the unit gives a start
                if signals.stop_asked:
                    return False
                pause(LOOK_AGAIN_S)
            else:
                return True


def _run(
    plan: Plan,
    statedir: StateDir,
    options: RunOptions,
    signals: SignalInbox,
    environ: Mapping[str, str],
    onlooker: Onlooker | None,
    log: _Log,
) -> int:
    clock = SystemClock()
    began_s = clock.monotonic()
    config = plan.config
    for warning in config.warnings:
        logger.warning("{}: {}", config.source, warning)
    logger.info(
        "{} starts: {}, state in {}", config.daemon.name, counted(len(plan.accounts), "account"), config.state_dir
    )
    if onlooker is not None:
        onlooker.open(config.daemon.name)
    try:
        ran = run_to_the_end(
            plan, statedir, signals, environ, fresh=options.fresh, onlooker=onlooker, applied=log.follow
        )
    finally:
        if onlooker is not None:
            onlooker.close()
    code = _finish(plan, ran, clock.monotonic() - began_s, onlooker)
    if isinstance(ran.books, InMemory):
        ran.books.remove()  # what a killed one leaves is there until the next start
    elif ran.over:
        # The very last act: a process that is killed before it is started again, and must not trade the feeds anew.
        statedir.end_run()
    return code


def _with_options(plan: Plan, options: RunOptions) -> Plan:
    changes: dict[str, Any] = {}
    if options.log_format is not None:
        changes["format"] = options.log_format
    if options.log_level is not None:
        changes["level"] = options.log_level
    if not changes:
        return plan
    logging = msgspec.structs.replace(plan.config.logging, **changes)
    return msgspec.structs.replace(plan, config=msgspec.structs.replace(plan.config, logging=logging))


def _finish(plan: Plan, ran: Ran, duration_s: float, onlooker: Onlooker | None) -> int:
    """The summary, to the log and to whoever watches; and what the books say about how it ended."""
    if not ran.recovered:
        logger.info("stopped before recovery was done: nothing was traded")
        return ExitCode.DONE
    try:
        accounts = read_summaries(
            ran.books or books_of(plan.config.storage, StateDir(plan.config.state_dir), plan.config.daemon.name),
            [account.config.name for account in plan.accounts],
        )
    except StoreCorrupt as error:  # the process would have gone on, and the next one may not
        return fail(error, plan.config.state_dir, tell=_tell_log)
    except StoreError as error:
        logger.warning("there is no summary: {}", error)
        return ExitCode.DONE
    summary = Summary(accounts=accounts, feeds=ran.feeds, duration_s=duration_s, over=ran.over)
    for account in accounts:
        bound = logger.bind(account=account.account)
        bound.info("{}", account_line(account))
        for sentence in failures(account):
            bound.warning("{}", sentence)
    for feed in ran.feeds:
        logger.bind(account=feed.account).info("{}", feed_line(feed))
        if not feed.position:
            logger.bind(account=feed.account).warning(
                "{}: its feed had not one tick, so nothing was traded: look at its path, start and end", feed.account
            )
    if onlooker is not None:
        onlooker.finish(summary)
    if summary.code is ExitCode.DONE and any(account.failed for account in accounts):
        logger.warning("exit code 0 all the same: a strategy that failed ends nothing else")
    if summary.code is not ExitCode.DONE:
        logger.warning("exit code {}: {}", int(summary.code), _why(summary))
    return summary.code


def _why(summary: Summary) -> str:
    return "; ".join(f"{a.account} is {a.latch}: {a.latch_reason}" for a in summary.accounts if a.latch != "open")


def account_line(account: AccountSummary) -> str:
    """An account's result in one line of the log."""
    won = "" if account.win_rate is None else f", {account.trades_won} won ({account.win_rate * 100:.1f} %)"
    netting = "" if not account.attribution else f", netting booked {account.attribution:+f} differently"
    refused = refusals(account.denied, account.rejections)
    state = "" if account.latch == "open" else f"; {account.latch}: {account.latch_reason}"
    closed = counted(account.trades_closed, "trade")
    return (
        f"{account.account} #{account.number}: {closed} closed{won}, {account.trades_open} open, "
        f"pnl {account.pnl:f} {account.currency}, fees {account.fees:f}, balance {account.balance:f}{netting}"
        f"{'; ' if refused else ''}{refused}{state}"
    )


def feed_line(feed: FeedSummary) -> str:
    """What an account's feed delivered, in one line of the log."""
    rate = "" if feed.ticks_per_s is None else f", {feed.ticks_per_s:,.0f} ticks/s"
    return f"{feed.account}: feed at tick {feed.position}{rate}; bad rows: {bad_row_words(feed.quality) or 'none'}"


# --- the log ------------------------------------------------------------------------------------------------------------


class _Log:
    """The log for the length of a run, as the plan in force says."""

    def __init__(self, plan: Plan, options: RunOptions, environ: Mapping[str, str], onlooker: Onlooker | None) -> None:
        self._plan = plan
        self._options = options
        self._under_systemd = logs.to_journal(environ, 2)
        self._stream: TextIO = sys.stderr if onlooker is None else onlooker.log
        self._undo: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self.follow(self._plan)
        return self

    def __exit__(self, *_: object) -> None:
        if self._undo is not None:
            self._undo()

    def follow(self, plan: Plan) -> None:
        """Log as this plan says from here on; what the command line said goes on to hold."""
        config = _with_options(plan, self._options).config
        try:
            self._undo = logs.setup(
                config.logging, self._stream, under_systemd=self._under_systemd, secrets=config.vault.values
            )
        except OSError as error:
            raise InputError(f"logging.file: {config.logging.file} cannot be opened: {error.strerror}") from error


# --- what goes wrong ------------------------------------------------------------------------------------------------------


def fail(error: BaseException, folder: Path | None, tell: Callable[[list[str]], object] | None = None) -> int:
    """Tell a person what went wrong, keep the traceback of a bug in a file, and return the exit code."""
    ending = explain(error)
    lines = list(ending.lines)
    if ending.traceback is not None:
        lines.extend(_kept(ending.traceback, folder))
    (tell or tell_terminal)(lines)
    return ending.code


def tell_terminal(lines: list[str]) -> None:
    """The first line with our name before it, the others below it."""
    sys.stderr.write("tradekeel: " + "\n  ".join(lines) + "\n")


def _tell_log(lines: list[str]) -> None:
    for line in lines:
        logger.error("{}", line.strip())


def _kept(text: str, folder: Path | None) -> list[str]:
    import tempfile

    name = f"crash-{os.getpid()}.txt"
    for place in (folder, Path(tempfile.gettempdir())):
        path = None if place is None or not place.is_dir() else save_traceback(text, place, name)
        if path is not None:
            return [
                f"the traceback is in {path}: please report it. What was durable is safe; as a rule starting again recovers it"
            ]
    return [text]
