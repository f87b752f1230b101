"""Beginning anew on paper: what was not finished is closed, and the venue forgets the account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradekeel.actors.recorder import Books
from tradekeel.bootstrap.checks import begun_anew
from tradekeel.bootstrap.plan import AccountPlan
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend


def forget_paper(accounts: Sequence[AccountPlan], ledgers: StateDir, books: Books | None) -> None:
    """`--fresh`: close unfinished paper executions, if there are any books, and let the paper venues begin anew."""
    if books is not None:
        close_executions(books, [account.config.name for account in accounts])
    _remove_ledgers(accounts, ledgers)


def finish_forgetting(accounts: Sequence[AccountPlan], ledgers: StateDir, books: Backend) -> None:
    """A process may have died between the two halves of :func:`forget_paper`: its books say that it had begun."""
    forgotten = set(begun_anew(books))
    _remove_ledgers([account for account in accounts if account.config.name in forgotten], ledgers)


def _remove_ledgers(accounts: Sequence[AccountPlan], ledgers: StateDir) -> None:
    for account in accounts:
        base = ledgers.paper_ledger(account.config.account_at_venue)
        for path in (base, Path(f"{base}-wal"), Path(f"{base}-shm")):
            path.unlink(missing_ok=True)


def close_executions(books: Books, accounts: list[str]) -> None:
    """Close what is unfinished, and mark what was closed: the next execution takes nothing over. Records like any other."""
    from tradekeel.domain.records import ExecutionClosed, Group
    from tradekeel.domain.recovery import fold
    from tradekeel.domain.rows import STARTED_FRESH

    for account in accounts:
        loaded = books.load(account, lambda: None)
        book = loaded.previous if loaded.execution is None else fold(_book_of(loaded), loaded.journal).book
        if book is None or book.execution is None:
            continue
        ended_ns = book.execution.closed_ns or SystemClock().now_ns()
        record = ExecutionClosed(ts_ns=ended_ns, stamp=book.stamp, reason=STARTED_FRESH)
        rows = tuple(book.apply(record))
        for result in books.commit([Group(execution=book.execution_id, records=(record,), rows=rows)]):
            if isinstance(result, Exception):
                raise result


def _book_of(loaded: Any) -> Any:
    from tradekeel.domain.book import Book
    from tradekeel.domain.recovery import decode_account_state

    cut = loaded.cut
    if cut is None and loaded.book is not None:
        return loaded.book  # the records before are in an archive
    return Book() if cut is None else Book.load(decode_account_state(cut.state).book)
