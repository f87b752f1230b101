"""`tradekeel check`: everything that would stop a daemon from starting, found without starting it or changing anything."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct

from tradekeel.bootstrap.checks import other_balance, other_terms
from tradekeel.bootstrap.ending import explain
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import (
    ExitCode,
    InputError,
    TradekeelError,
)
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.runtime.clock import SystemClock, fail_after
from tradekeel.runtime.loop import BlockingWorker
from tradekeel.runtime.loop import run as run_loop
from tradekeel.statedir import StateDir
from tradekeel.storage import schema
from tradekeel.storage.files import connect, in_our_words
from tradekeel.storage.journal import last_sequence, read_records
from tradekeel.venues.paper import PaperVenue

FIRST_TICK_TIMEOUT_S = 15.0
VENUE_TIMEOUT_S = 15.0


class Finding(Struct, frozen=True):
    """One thing that was looked at. ``code`` is what its being wrong would end a run with."""

    subject: str
    ok: bool
    text: str
    code: ExitCode = ExitCode.DONE
    warning: bool = False


def check(config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything. Problems of the configuration come one finding each, and end the looking."""
    try:
        plan = read_plan(config, environ, fetch_secrets=False)
    except InputError as error:
        problems = getattr(error, "problems", None) or [str(error)]
        return [Finding("configuration", False, problem, ExitCode.BAD_USAGE) for problem in problems]
    findings = [_configuration(plan)]
    findings.extend(Finding("configuration", True, text, warning=True) for text in plan.config.warnings)
    disk = _found("state directory", lambda: _state_dir(plan.config.state_dir))
    findings.append(disk)
    if disk.ok:
        findings.append(_found("books", lambda: _books(StateDir(plan.config.state_dir))))
    findings.extend(run_loop(_outside, plan, disk.ok, use_uvloop=False))
    return findings


def exit_code(findings: list[Finding]) -> ExitCode:
    """The worst of what was found: our own files first, then the venue."""
    codes = {finding.code for finding in findings if not finding.ok}
    for code in (ExitCode.BAD_USAGE, ExitCode.BOOKS_DO_NOT_MATCH, ExitCode.DEFECT, ExitCode.VENUE_UNREACHABLE):
        if code in codes:
            return code
    return ExitCode.DONE


def _configuration(plan: Plan) -> Finding:
    accounts = ", ".join(f"{a.config.name} ({', '.join(_strategies(a)) or 'no strategy'})" for a in plan.accounts)
    return Finding("configuration", True, f"{plan.config.source}: {accounts}")


def _strategies(account: AccountPlan) -> list[str]:
    return [*(s.config.name for s in account.strategies), *(f"{draft.name}: draft" for draft in account.drafts)]


def _found(subject: str, look: Callable[[], str]) -> Finding:
    """What a look says, or what went wrong with it."""
    try:
        return Finding(subject, True, look())
    except TradekeelError as error:
        return Finding(subject, False, str(error), explain(error).code)


# --- the disk ------------------------------------------------------------------------------------------------------------


def _state_dir(path: Path) -> str:
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"{there} is not writable for this user (uid {os.geteuid()}): chown it, or set daemon.state_dir"
        )
    return f"{path} is writable" if there == path else f"{path} can be made"


def _books(statedir: StateDir) -> str:
    path = statedir.books
    if not path.exists():
        return "none yet: the first run makes them"
    try:
        return _books_as_they_stand(path)
    except sqlite3.Error as error:
        raise in_our_words(error, path, "reading it") from error


def _books_as_they_stand(path: Path) -> str:
    with closing(connect(path, read_only=True)) as db:
        version = schema.version_of(db.execute, path)
        schema.refuse_newer(version, path)
        if version != schema.HEAD:
            return f"{path}: schema {version}, brought to {schema.HEAD} at the next start, after a backup"
        running = [name for (name,) in db.execute("SELECT execution FROM executions WHERE status = 'running'")]
        for execution in running:
            last = last_sequence(db, execution)
            read_records(db, path, execution, max(0, last - 1), 1)
    return f"{path}: {len(running)} unfinished executions, their journals end soundly (`tradekeel verify` reads all)"


# --- the outside ------------------------------------------------------------------------------------------------------------


async def _outside(plan: Plan, with_state: bool) -> list[Finding]:
    feeds = dict.fromkeys(account.config.feed for account in plan.accounts)
    findings = [await _feed(plan, name) for name in feeds]
    if with_state:
        for account in plan.accounts:
            findings.extend(await _account(plan, account))
    return findings


async def _feed(plan: Plan, name: str) -> Finding:
    feed = plan.config.feeds[name]
    clock = SystemClock()
    subject = f"feed {name}"
    try:
        context = FeedContext(feed.name, clock, plan.config.folder, plan.instruments, {})
        source = FEEDS[feed.kind].build(feed.settings, context)
        try:
            await source.open(0)
            window: TickWindow | None = None
            with fail_after(clock, FIRST_TICK_TIMEOUT_S):
                window = await source.next_window(1)
        finally:
            await source.close()
    except TimeoutError:
        return Finding(subject, False, f"no tick within {FIRST_TICK_TIMEOUT_S:g} s", ExitCode.VENUE_UNREACHABLE)
    except TradekeelError as error:
        return Finding(subject, False, str(error), explain(error).code)
    if window is None:
        return Finding(subject, True, "it is empty: there is not a single tick", warning=True)
    tick = window.ticks[0]
    return Finding(subject, True, f"{feed.kind}; the first tick is {tick.instrument} {tick.bid} / {tick.ask}")


async def _account(plan: Plan, account: AccountPlan) -> list[Finding]:
    subject = f"account {account.config.name}"
    statedir = StateDir(plan.config.state_dir)
    problems = other_terms(account, statedir)
    if problems:
        return [Finding(subject, False, problem, ExitCode.BAD_USAGE) for problem in problems]
    warning = other_balance(account, statedir)
    warnings = [] if warning is None else [Finding(subject, True, warning, warning=True)]
    return [*warnings, await _venue(plan, account, subject, statedir)]


async def _venue(plan: Plan, account: AccountPlan, subject: str, statedir: StateDir) -> Finding:
    if statedir.holder() is not None:
        return Finding(subject, True, "a daemon is connected to it at this moment")
    with _ledger_of(statedir, account) as ledger:
        async with BlockingWorker("paper venue") as worker:
            venue = PaperVenue(ledger, account.paper, plan.instruments, account.settings, run=worker.call)
            try:
                with fail_after(SystemClock(), VENUE_TIMEOUT_S):
                    await venue.connect()
                    balance = await venue.balance()
            except TimeoutError:
                return Finding(subject, False, f"no answer within {VENUE_TIMEOUT_S:g} s", ExitCode.VENUE_UNREACHABLE)
            except TradekeelError as error:
                return Finding(subject, False, str(error), explain(error).code)
            finally:
                await venue.close()
    return Finding(subject, True, f"venue {account.config.venue}; balance {balance.balance:f} {balance.currency}")


@contextmanager
def _ledger_of(statedir: StateDir, account: AccountPlan) -> Iterator[Path]:
    """The paper account's ledger, or a passing one where there is none yet: looking makes no account."""
    path = statedir.paper_ledger(account.config.account_at_venue)
    if path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / path.name
