"""What an account needs from the store to go on after a restart.

The newest readable cut is taken that is not newer than any strategy's newest readable state: from there the journal
leads everybody to the present. Without such a cut the journal is folded from its first record, or from the book behind its last
archive; it is slower and just as right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tradekeel.domain.book import Book
from tradekeel.domain.protocol import LoadedAccount, StoreStands
from tradekeel.domain.records import Group, Record
from tradekeel.domain.recovery import decode_account_state, fold
from tradekeel.domain.rows import ACCOUNT_OWNER, STARTED_FRESH, Checkpoint, ExecutionRow
from tradekeel.storage.store import CommitResult, Store

JOURNAL_PAGE_ROWS = 10_000


class ReadableCut(NamedTuple):
    """A cut that can be read, and the books in it."""

    checkpoint: Checkpoint
    book: Book


class AccountBooks:
    """The store as the recorder sees it."""

    def __init__(
        self, store: Store, strategies: Mapping[str, tuple[str, ...]], *, page_rows: int = JOURNAL_PAGE_ROWS
    ) -> None:
        self.store = store
        self._page_rows = page_rows
        self._strategies = strategies  # by account

    def commit(self, groups: Sequence[Group]) -> Sequence[CommitResult]:
        """Make groups durable in one transaction."""
        return self.store.commit(groups)

    def load(self, account: str, progress: Callable[[], object] = lambda: None) -> LoadedAccount:
        """See the module. ``progress`` is called for each page of the journal."""
        row = self.store.open_execution(account)
        if row is None:
            return LoadedAccount(
                None, self.store.next_number(account), None, (), {}, previous=self._last_books(account, progress)
            )
        execution = row.execution
        notes: list[str] = []
        cuts = self._readable_cuts(execution, notes)
        newest = next(cuts, None)
        dead = frozenset() if newest is None else _dead_strategies(newest.book)
        saved: dict[str, Checkpoint] = {}
        for strategy in self._strategies.get(account, ()):
            history = self.store.load_checkpoints(execution, strategy)
            notes.extend(history.notes)
            if history.saved:
                saved[strategy] = history.saved[0].checkpoint
        oldest = min((c.inbox for name, c in saved.items() if name not in dead), default=None)
        cut = newest
        while cut is not None and oldest is not None and cut.checkpoint.inbox > oldest:
            cut = next(cuts, None)
        if cut is None:
            base = self._behind_archives(execution)
            after = 0 if base is None else base.sequence
            journal = list(self._journal(execution, after, progress))
            return LoadedAccount(execution, row.number, None, journal, saved, tuple(notes), base)
        journal = list(self._journal(execution, cut.checkpoint.inbox, progress))
        return LoadedAccount(execution, row.number, cut.checkpoint, journal, saved, tuple(notes), cut.book)

    def _last_books(self, account: str, progress: Callable[[], object]) -> Book | None:
        """The books of the account's last execution of a daemon, as they were closed."""
        # By their numbers: a clock that was set back says of the newest that it began before the others.
        newest = max(
            (row for row in self.store.executions(account) if row.mode.is_a_daemons),
            key=lambda row: row.number,
            default=None,
        )
        if newest is None or newest.close_reason == STARTED_FRESH:
            return None
        last = newest.execution
        cut = next(self._readable_cuts(last, []), None)
        book = self._behind_archives(last) or Book()
        if (
            cut is not None and cut.book.sequence >= book.sequence
        ):  # what is archived of a closed run may go beyond its last cut
            book = cut.book
        return fold(book, self._journal(last, book.sequence, progress)).book

    def _behind_archives(self, execution: str) -> Book | None:
        """The book behind the last record that was archived, None where the journal is whole."""
        archived = self.store.newest_archive(execution)
        return None if archived is None else archived.book_behind()

    def _readable_cuts(self, execution: str, notes: list[str]) -> Iterator[ReadableCut]:
        """Newest first, each read when it is asked for: thousands of open trades take a while."""
        history = self.store.load_checkpoints(execution, ACCOUNT_OWNER)
        notes.extend(history.notes)
        for _, checkpoint in history.saved:
            try:
                book = Book.load(decode_account_state(checkpoint.state).book)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                notes.append(f"the cut at journal record {checkpoint.inbox} cannot be read and is left out: {error}")
                continue
            yield ReadableCut(checkpoint, book)

    def _journal(self, execution: str, after: int, progress: Callable[[], object]) -> Iterator[tuple[int, Record]]:
        """Page by page, each read when the one before it is done with."""
        while True:
            page = self.store.read_journal(execution, after, self._page_rows)
            progress()
            yield from page
            if len(page) < self._page_rows:
                return
            after = page[-1][0]

    def executions(self) -> list[ExecutionRow]:
        """All executions, oldest first."""
        return self.store.executions()

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    @property
    def tend_every_s(self) -> float | None:
        """There is nothing to keep up."""
        return None

    def tend(self) -> bool:
        """There is nothing to keep up."""
        return False

    def stands(self) -> StoreStands:
        """A file is there, or the process ends."""
        return StoreStands(mode="direct")

    @property
    def asks(self) -> bool:
        """Nobody has a deadline for a disk."""
        return False


def _dead_strategies(book: Book) -> frozenset[str]:
    return frozenset(name for name, line in book.strategies.items() if not line.row.status.runs)
