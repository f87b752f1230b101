"""`tradekeel check`: everything that would stop a daemon from starting, found without starting it or changing anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from msgspec import Struct, structs

from tradekeel.bootstrap.books import books_of, ledgers_of
from tradekeel.bootstrap.checks import Outlook, other_balance, outlook
from tradekeel.bootstrap.ending import explain
from tradekeel.bootstrap.misnamed import misnamed
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.bootstrap.publishing import prepare_publishing, redis_settings
from tradekeel.bootstrap.sharing import needs_a_secret, password_of, stream_of
from tradekeel.bootstrap.withinbars import within_bars
from tradekeel.config import RedisConfig
from tradekeel.domain.counting import counted
from tradekeel.domain.matching import Matcher
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import (
    ExitCode,
    InputError,
    StoreError,
    TradekeelError,
)
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.runtime.clock import SystemClock, fail_after
from tradekeel.runtime.loop import run as run_loop
from tradekeel.statedir import StateDir
from tradekeel.storage import schema
from tradekeel.storage.backend import Backend
from tradekeel.storage.journal import last_sequence, read_records
from tradekeel.storage.redis.client import where_is
from tradekeel.storage.redis.once import ask_once
from tradekeel.storage.sqlite import InMemory
from tradekeel.venues.paper import read_ledger

FIRST_TICK_TIMEOUT_S = 15.0
NOT_KEPT = "in memory (storage.enabled = false): nothing is kept, and each start begins with nothing"


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
    statedir = StateDir(plan.config.state_dir)
    books = _books_to_look_at(plan, statedir) if disk.ok else None
    if isinstance(books, Finding):
        findings.append(books)
    elif isinstance(books, InMemory):
        findings.append(Finding("books", True, NOT_KEPT, warning=True))
    elif books is not None:
        migrates = plan.config.storage.migrations == "upgrade"
        findings.append(_found("books", partial(_books, books, statedir, migrates)))
    if plan.config.storage.replica_url and isinstance(books, Backend):
        findings.append(_replica(plan, statedir))
    if plan.config.redis.url:
        findings.append(_redis(plan.config.redis))
    feeds: dict[str, Looked] = run_loop(_outside, plan, use_uvloop=False)
    findings.extend(looked.finding for looked in feeds.values())
    for account in plan.accounts:
        subject = f"account {account.config.name}"
        findings.extend(Finding(subject, True, str(peek), warning=True) for peek in within_bars(plan, account))
        findings.extend(Finding(subject, True, said, warning=True) for said in misnamed(plan, account))
    if isinstance(books, Backend):
        known = {a.config.name: feeds[a.config.feed].fingerprint for a in plan.accounts}
        fingerprints = {name: data for name, data in known.items() if data is not None}
        ledgers = ledgers_of(books, statedir)
        found = _outlook(plan, ledgers, books, fingerprints)
        for account in plan.accounts:
            findings.extend(_account(plan, account, ledgers, found))
        findings.extend(_refused(name, text) for name, text in found.problems if name not in known)
    return findings


def _outlook(plan: Plan, ledgers: StateDir, books: Backend, fingerprints: Mapping[str, str]) -> Outlook:
    try:
        return outlook(plan.accounts, ledgers, books, fingerprints)
    except StoreError:
        return Outlook((), frozenset(), frozenset())  # what is wrong with the books is a finding already


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
    StateDir(path).refuse_what_is_no_file()
    return f"{path} is writable" if there == path else f"{path} can be made"


def _books_to_look_at(plan: Plan, statedir: StateDir) -> Backend | Finding:
    """Where they are, or why they are not looked at: whoever checks a configuration need not have its secrets."""
    storage = plan.config.storage
    if storage.password is not None:
        return Finding(
            "books", True, f"{storage.url}: not looked at, because the password is the daemon's to read", warning=True
        )
    try:
        return books_of(storage, statedir, plan.config.daemon.name)
    except InputError as error:
        return Finding("books", False, str(error), ExitCode.BAD_USAGE)


def _books(books: Backend, statedir: StateDir, migrates: bool) -> str:
    if not books.exists():
        return "none yet: the first run makes them"
    nobody_there = statedir.holder() is None
    unreadable: tuple[type[Exception], ...] = (*books.errors, StoreError)
    try:
        return _books_as_they_stand(books, migrates)
    except unreadable as error:
        if nobody_there and statedir.holder() is not None:
            return f"{books}: a daemon has just started, and opens them"  # what was read while it did proves nothing
        if isinstance(error, StoreError):
            raise
        raise books.in_our_words(error, "reading it") from error


def _books_as_they_stand(books: Backend, migrates: bool) -> str:
    with closing(books.look()) as db:
        standing = schema.standing_of(db.execute, books)
        schema.refuse_unknown(standing, books)
        if standing.version is None:
            return f"{books}: none yet, the first run makes them"
        if standing.version != schema.HEAD:
            if not migrates:
                schema.refuse_earlier(standing, books)
            return f"{books}: schema {standing.version}, brought to {schema.HEAD} at the next start, after a backup"
        running = [name for (name,) in db.execute("SELECT execution FROM executions WHERE status = 'running'")]
        for execution in running:
            last = last_sequence(db, execution)
            read_records(db, books, execution, max(0, last - 1), 1)
    unfinished = counted(len(running), "unfinished execution")
    return f"{books}: {unfinished}, the journal of each ends soundly (`tradekeel verify` reads all)"


def _replica(plan: Plan, statedir: StateDir) -> Finding:
    """Scripts read there, and where it does not answer, at the primary: what is wrong with it is a warning."""
    storage = structs.replace(plan.config.storage, url=plan.config.storage.replica_url, replica_url="")
    replica = books_of(storage, statedir, plan.config.daemon.name)
    unreadable: tuple[type[Exception], ...] = (*replica.errors, StoreError)
    try:
        with closing(replica.look()) as db:
            follows = bool(db.execute("SELECT pg_is_in_recovery()").fetchone()[0])
    except unreadable as error:
        said = error if isinstance(error, StoreError) else replica.in_our_words(error, "looking whether it follows")
        return Finding("replica", True, f"{said} Scripts read at the primary meanwhile", warning=True)
    if not follows:
        return Finding(
            "replica", True, f"{replica} follows nobody: scripts read what it has, old as that may be", warning=True
        )
    return Finding("replica", True, f"{replica} follows its primary")


def _redis(redis: RedisConfig) -> Finding:
    """What it keeps is for others, and trading goes on without it: that it is away, or refuses us, is a warning."""
    if redis.password is not None:
        unread = f"{redis.url}: not looked at, because the password is the daemon's to read"
        return Finding("redis", True, unread, warning=True)
    try:
        prepare_publishing(redis)
        settings = redis_settings(redis)
        ask_once(settings, "looking whether it is there", "PING")
    except InputError as error:
        return Finding("redis", False, str(error), ExitCode.BAD_USAGE)
    except StoreError as error:
        return Finding("redis", True, f"{error} Trading goes on without it", warning=True)
    return Finding("redis", True, f"{where_is(settings)} is there")


# --- the outside ------------------------------------------------------------------------------------------------------------


class Looked(Struct, frozen=True):
    """A feed that was looked at. ``fingerprint`` says what data it has, "" of a live one; None where it cannot be told."""

    finding: Finding
    fingerprint: str | None = None


async def _outside(plan: Plan) -> dict[str, Looked]:
    feeds = dict.fromkeys(account.config.feed for account in plan.accounts)
    return {name: await _feed(plan, name) for name in feeds}


async def _feed(plan: Plan, name: str) -> Looked:
    feed = plan.config.feeds[name]
    clock = SystemClock()
    subject = f"feed {name}"
    fingerprint: str | None = None
    try:
        if needs_a_secret(plan.config, feed):
            unread = "not looked at, because the password of its server is the daemon's to read"
            return Looked(Finding(subject, True, unread, warning=True), None)
        stream = stream_of(plan.config, feed)
        context = FeedContext(
            feed.name, clock, plan.config.folder, plan.instruments, {}, stream=stream, password=password_of(feed)
        )
        source = FEEDS[feed.kind].build(feed.settings, context)
        fingerprint = source.info.fingerprint
        try:
            await source.open(0)
            window: TickWindow | None = None
            with fail_after(clock, FIRST_TICK_TIMEOUT_S):
                window = await source.next_window(1)
        finally:
            await source.close()
    except TimeoutError:
        late = f"no tick within {FIRST_TICK_TIMEOUT_S:g} s"
        return Looked(Finding(subject, False, late, ExitCode.VENUE_UNREACHABLE), fingerprint)
    except TradekeelError as error:
        return Looked(Finding(subject, False, str(error), explain(error).code), fingerprint)
    if window is None:
        return Looked(Finding(subject, True, "it is empty: there is not a single tick", warning=True), fingerprint)
    tick = window.ticks[0]
    first = f"{feed.kind}; the first tick is {tick.instrument} {tick.bid} / {tick.ask}"
    return Looked(Finding(subject, True, first), fingerprint)


def _refused(account: str, problem: str) -> Finding:
    return Finding(f"account {account}", False, problem, ExitCode.BAD_USAGE)


def _account(plan: Plan, account: AccountPlan, statedir: StateDir, found: Outlook) -> list[Finding]:
    name = account.config.name
    subject = f"account {name}"
    problems = [problem for of, problem in found.problems if of == name]
    if problems:
        return [_refused(name, problem) for problem in problems]
    if name in found.forgotten:
        return [Finding(subject, True, "it begins anew at the next start, with a new paper account")]
    warning = other_balance(account, statedir)
    warnings = [] if warning is None else [Finding(subject, True, warning, warning=True)]
    return [*warnings, _venue(plan, account, subject, statedir)]


def _venue(plan: Plan, account: AccountPlan, subject: str, statedir: StateDir) -> Finding:
    """The paper account as it stands in its ledger, which is only read; one that is not there yet is opened in memory alone."""
    taken = Finding(subject, True, "a daemon is connected to it at this moment")
    if statedir.holder() is not None:
        return taken
    try:
        state = read_ledger(statedir.paper_ledger(account.config.account_at_venue), account.paper)
    except TradekeelError as error:
        # A daemon that has started since then writes what was read.
        return taken if statedir.holder() is not None else Finding(subject, False, str(error), explain(error).code)
    matcher = Matcher(account.paper, plan.instruments, account.settings, state)
    if not matcher.is_open:
        matcher.open(0)
    balance = matcher.balance()
    return Finding(subject, True, f"venue {account.config.venue}; balance {balance.balance:f} {balance.currency}")
