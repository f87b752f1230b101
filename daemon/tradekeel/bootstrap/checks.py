"""What must hold between the configuration, the books and the paper accounts before anything is started."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.plan import AccountPlan
from tradekeel.domain.records import STARTED_FRESH
from tradekeel.errors import ConfigError
from tradekeel.statedir import StateDir
from tradekeel.venues.paper import read_opened


def refuse_changed_data(books: Path, fingerprints: Mapping[str, str], source: str) -> None:
    """An unfinished execution goes on with the data it began with, or not at all: positions in other data mean other ticks.

    ``fingerprints`` are the feeds' by account; "" (not replayable) is never compared. Raises ConfigError naming every account.
    """
    problems: list[str] = []
    for account, execution, known in _unfinished(books):
        now = fingerprints.get(account)
        if now is not None and known and now and now != known:
            problems.append(
                f"accounts.{account}.feed: its data or options are not those that execution {execution} began with "
                f"(fingerprint {known[:12]}, now {now[:12]}); put the old data back to go on, or run with --fresh to begin anew"
            )
    if problems:
        raise ConfigError(problems, source)


def changed_and_untouched(books: Path, fingerprints: Mapping[str, str]) -> list[str]:
    """Accounts whose unfinished execution began with other data, and that have never had an order."""
    found = []
    for account, _, known in _unfinished(books):
        now = fingerprints.get(account)
        if known and now and now != known:
            counted = "SELECT count(*) FROM orders JOIN executions USING (execution) WHERE executions.account = ?"
            if _asked(books, counted, account) == [(0,)]:  # and not when nobody can tell
                found.append(account)
    return found


def refuse_forgotten_accounts(books: Path, accounts: Sequence[str], source: str) -> None:
    """An account that is no longer configured and still holds something would be watched by nobody.

    Raises ConfigError naming each of them; one that holds nothing may go.
    """
    problems: list[str] = []
    for account, trades, orders in _held(books):
        if account not in accounts and (trades or orders):
            problems.append(
                f"accounts.{account}: it is no longer in the configuration, and its books have {trades} open trades and "
                f"{orders} working orders that nobody would watch; put it back (without its strategies it only keeps their "
                "exits), and take it out when it is flat: tradekeel flatten"
            )
    if problems:
        raise ConfigError(problems, source)


def refuse_other_terms(accounts: Sequence[AccountPlan], statedir: StateDir, source: str) -> None:
    """A paper account is in the currency, and of the kind, that it was opened with. Raises ConfigError naming every account."""
    problems = [problem for account in accounts for problem in other_terms(account, statedir)]
    if problems:
        raise ConfigError(problems, source)


def other_terms(account: AccountPlan, statedir: StateDir) -> list[str]:
    """What the configuration says otherwise than the paper account that goes on, and must not."""
    opened = read_opened(statedir.paper_ledger(account.config.account_at_venue))
    if opened is None:
        return []
    pairs = (
        ("currency", account.config.currency, opened.currency),
        ("hedging", str(account.config.hedging).lower(), str(opened.hedging).lower()),
    )
    return [
        f"accounts.{account.config.name}.{key}: it is {now} here, and the paper account that goes on was opened with {then}; "
        "change it back, or begin a new one with --fresh"
        for key, now, then in pairs
        if now != then
    ]


def other_balance(account: AccountPlan, statedir: StateDir) -> str | None:
    """A warning where the configured balance is not what the paper account that goes on was opened with; else None."""
    opened = read_opened(statedir.paper_ledger(account.config.account_at_venue))
    if opened is None or opened.deposits == account.config.balance:
        return None
    return (
        f"accounts.{account.config.name}.balance: {account.config.balance:f} has no effect, because the paper account that "
        f"goes on was opened with {opened.deposits:f} and has {opened.balance:f} {opened.currency} now; begin a new one with "
        "--fresh, or change it back"
    )


def _held(books: Path) -> list[tuple[str, int, int]]:
    """Account, open trades and working orders of every unfinished execution; none if the books cannot be read."""
    return _asked(
        books,
        "SELECT account, "
        "(SELECT count(*) FROM trades t WHERE t.execution = e.execution AND t.status IN ('OPEN', 'CLOSING')), "
        "(SELECT count(*) FROM orders o WHERE o.execution = e.execution AND o.status IN "
        "('intended', 'submitted', 'accepted', 'partially_filled', 'cancel_requested', 'unknown')) "
        "FROM executions e WHERE status = 'running' AND mode <> 'backtest' ORDER BY account",
    )


def accounts_in(books: Path) -> list[str]:
    """Every account that has traded; none if the books cannot be read."""
    return [account for (account,) in _asked(books, "SELECT DISTINCT account FROM executions")]


def latched_accounts(books: Path) -> list[str]:
    """The accounts whose books hold them halted or reduce-only; none if the books cannot be read."""
    rows = _asked(
        books,
        "SELECT account FROM executions AS one WHERE latch <> 'open' AND mode <> 'backtest' AND number = "
        "(SELECT max(number) FROM executions WHERE account = one.account AND mode <> 'backtest') ORDER BY account",
    )
    return [account for (account,) in rows]


def begun_anew(books: Path) -> list[str]:
    """The accounts whose last execution was closed to begin anew on paper, and that have not begun yet."""
    rows = _asked(
        books,
        "SELECT account FROM executions AS one WHERE close_reason = ? AND mode <> 'backtest' AND number = "
        "(SELECT max(number) FROM executions WHERE account = one.account AND mode <> 'backtest')",
        STARTED_FRESH,
    )
    return [account for (account,) in rows]


def _unfinished(books: Path) -> list[tuple[str, str, str]]:
    """Account, execution and data fingerprint of unfinished executions; none if the books cannot be read."""
    return _asked(
        books,
        "SELECT account, execution, data_fingerprint FROM executions WHERE status = 'running' AND mode <> 'backtest'",
    )


def _asked(books: Path, question: str, *values: str) -> list[Any]:
    """The rows, or none if the books cannot be read: the recorder opens them next, and says what is wrong with them."""
    if not books.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{books.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(question, values).fetchall()
    except sqlite3.Error:
        return []
