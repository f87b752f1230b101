"""What must hold between the configuration, the books and the paper accounts before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.plan import AccountPlan
from tradekeel.domain.rows import STARTED_FRESH
from tradekeel.errors import ConfigError, StoreAway, StoreDenied, StoreError, StoreUnavailable
from tradekeel.statedir import StateDir
from tradekeel.storage import schema
from tradekeel.storage.backend import Backend
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.whose import not_elsewhere, ours
from tradekeel.venues.paper import read_opened


class Outlook(Struct, frozen=True):
    """What a start would make of what is there."""

    problems: tuple[tuple[str, str], ...]  # each refuses it: the account, and a sentence
    anew: frozenset[str]  # accounts whose books and venue would be closed and forgotten
    forgotten: frozenset[str]  # those, and the ones of which that has been done already

    def refuse(self, source: str) -> None:
        """Raise ConfigError with every problem, if there is one."""
        if self.problems:
            raise ConfigError([sentence for _, sentence in self.problems], source)


def outlook(
    accounts: Sequence[AccountPlan],
    statedir: StateDir,
    books: Backend,
    fingerprints: Mapping[str, str],
    *,
    fresh: bool = False,
) -> Outlook:
    """What would refuse a start of these accounts, and who would begin anew. Looks, and changes nothing.

    ``fingerprints`` say by account what data its feed has, "" of a live one. Of an account that is not in there nobody knows.
    ``statedir`` holds the paper ledgers. Raises StoreAway where the books are on a server that does not answer.
    """
    names = [account.config.name for account in accounts]
    anew = frozenset(names if fresh else _changed_and_untouched(books, fingerprints))
    forgotten = anew | frozenset(begun_anew(books))
    going_on = [account for account in accounts if account.config.name not in forgotten]
    known = {name: data for name, data in fingerprints.items() if name not in forgotten}
    problems = [*_forgotten_accounts(books, names), *_changed_data(books, known)]
    problems.extend(
        (account.config.name, problem) for account in going_on for problem in other_terms(account, statedir)
    )
    return Outlook(tuple(problems), anew, forgotten)


def _changed_data(books: Backend, fingerprints: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """An unfinished execution goes on with the data it began with, or not at all: positions in other data mean other ticks."""
    for account, execution, known in _unfinished(books):
        now = fingerprints.get(account)
        if now is not None and now != known:
            differ = f"({_said_of(known)}, now {_said_of(now)})"
            yield (
                account,
                (
                    f"accounts.{account}.feed: its data or options are not those that execution {execution} began with {differ}; "
                    "put the old data back to go on, or run with --fresh to begin anew"
                ),
            )


def _said_of(fingerprint: str) -> str:
    return f"fingerprint {fingerprint[:12]}" if fingerprint else "a live feed"


def _changed_and_untouched(books: Backend, fingerprints: Mapping[str, str]) -> list[str]:
    """Accounts whose unfinished execution began with other data, and that have never had an order."""
    found = []
    for account, _, known in _unfinished(books):
        now = fingerprints.get(account)
        if now is not None and now != known:
            counted = "SELECT count(*) FROM orders JOIN executions USING (execution) WHERE executions.account = ?"
            archived = (
                "SELECT count(*) FROM journal_archives JOIN executions USING (execution) WHERE executions.account = ?"
            )
            if _asked(books, archived, account) in ([], [(0,)]) and _asked(books, counted, account) == [(0,)]:
                # … and not when nobody can tell
                found.append(account)
    return found


def _forgotten_accounts(books: Backend, accounts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """An account that is no longer configured and still holds something would be watched by nobody; any other may go."""
    for account, trades, orders in _held(books):
        if account not in accounts and (trades or orders):
            yield (
                account,
                (
                    f"accounts.{account}: it is no longer in the configuration, and its books have {trades} open trades and "
                    f"{orders} working orders that nobody would watch; put it back (without its strategies it only keeps their "
                    "exits), and take it out when it is flat: tradekeel flatten"
                ),
            )


def other_terms(account: AccountPlan, statedir: StateDir) -> list[str]:
    """What the configuration says otherwise than the paper account that goes on, and must not: its currency, and its kind."""
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


def _held(books: Backend) -> list[tuple[str, int, int]]:
    """Account, open trades and working orders of every unfinished execution; none if the books cannot be read."""
    return _asked(
        books,
        "SELECT account, "  # noqa: S608
        "(SELECT count(*) FROM trades t WHERE t.execution = e.execution AND t.status IN ('OPEN', 'CLOSING')), "
        "(SELECT count(*) FROM orders o WHERE o.execution = e.execution AND o.status IN "
        "('intended', 'submitted', 'accepted', 'partially_filled', 'cancel_requested', 'unknown')) "
        f"FROM executions e WHERE status = 'running' AND {ours(books)} ORDER BY account",
    )


def accounts_in(books: Backend) -> list[str]:
    """Every account that has traded; none if the books cannot be read, or their server is away."""
    which = f" WHERE {not_elsewhere(books)}" if books.daemon else ""
    try:
        return [account for (account,) in _asked(books, f"SELECT DISTINCT account FROM executions{which}")]  # noqa: S608
    except StoreError:
        return []


def latched_accounts(books: Backend) -> list[str]:
    """The accounts whose books hold them halted or reduce-only; none if the books cannot be read."""
    rows = _asked(
        books,
        f"SELECT account FROM executions AS one WHERE latch <> 'open' AND {ours(books)} AND number = "  # noqa: S608
        f"(SELECT max(number) FROM executions WHERE account = one.account AND {ours(books)}) ORDER BY account",
    )
    return [account for (account,) in rows]


def begun_anew(books: Backend) -> list[str]:
    """The accounts whose last execution was closed to begin anew on paper, and that have not begun yet."""
    rows = _asked(
        books,
        f"SELECT account FROM executions AS one WHERE close_reason = ? AND {ours(books)} AND number = "  # noqa: S608
        f"(SELECT max(number) FROM executions WHERE account = one.account AND {ours(books)})",
        STARTED_FRESH,
    )
    return [account for (account,) in rows]


def _unfinished(books: Backend) -> list[tuple[str, str, str]]:
    """Account, execution and data fingerprint of unfinished executions; none if the books cannot be read."""
    return _asked(
        books,
        f"SELECT account, execution, data_fingerprint FROM executions WHERE status = 'running' AND {ours(books)}",  # noqa: S608
    )


def _asked(books: Backend, question: str, *values: str) -> list[Any]:
    """The rows, or none if the books cannot be read: the recorder opens them next, and says what is wrong with them.

    A server that is there in a moment would say something else, so where it does not answer that is a StoreAway.
    """
    if not books.exists():
        return []
    try:
        with closing(books.look()) as db:
            if not isinstance(books, Sqlite) and schema.version_of(db.execute, books) != schema.HEAD:
                return []  # none there yet, or of another version: the start brings it up to date, or refuses it
            return db.execute(question, values).fetchall()
    except books.errors as error:
        if isinstance(books, Sqlite):
            return []
        said = books.in_our_words(error, "looking at the accounts")
        if isinstance(said, StoreUnavailable) and not isinstance(said, StoreDenied):
            raise StoreAway(str(said)) from error
        raise said from error
