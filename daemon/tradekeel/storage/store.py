"""The one writer of the books: commits groups, reads the journal back, keeps checkpoints.

A batch of groups is one transaction. It is first written in one go, table by table, because nothing is wrong with it
nearly always; if anything refuses it, it is rolled back and written again with a savepoint around each group, so that
only the refused group goes back to its sender. Journal numbers are given inside the transaction, gap-free for each
execution.

What SQLite or the disk refuses is not a group's fault. The whole batch fails, nothing of it may be taken for durable,
and the store refuses everything from then on: after a failed fsync the next one may report success without having
written what the first one lost.

The class is synchronous and belongs to one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from msgspec import Struct

from tradekeel.domain.records import Checkpoint, ExecutionRow, Group, Record
from tradekeel.errors import GroupRefused, StoreCorrupt, StoreUnavailable
from tradekeel.storage import schema
from tradekeel.storage.batch import SENDER_ERRORS, Batch, Refusal, Written
from tradekeel.storage.checksums import checkpoint_crc
from tradekeel.storage.files import RESTORE, connect, in_our_words, make_durable, sync
from tradekeel.storage.journal import last_sequence, read_records
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.schema import BACKUPS_KEPT, Doing, Heed, MigrationApplied

__all__ = ["CheckpointHistory", "CommitResult", "SavedCheckpoint", "Store", "Written"]

CHECKPOINTS_KEPT = 5
"""Saved states that stay for each owner, so that a damaged one leaves others to fall back on."""

CHECKED_AT_START_BYTES_MAX = 4 * 1024 * 1024
"""A file up to this size has its structure checked at every start; a larger one when it is verified."""

Point = Callable[[str], None]
CommitResult = Written | GroupRefused


class SavedCheckpoint(NamedTuple):
    """A checkpoint and the journal sequence it was written at."""

    sequence: int
    checkpoint: Checkpoint


class CheckpointHistory(Struct, frozen=True):
    """The readable checkpoints of an owner, newest first, and a sentence for each that was not."""

    saved: tuple[SavedCheckpoint, ...]
    notes: tuple[str, ...] = ()


def _noop(name: str) -> None:
    """No harness is watching."""


class Store:
    """The books of all executions in one SQLite file. Make one with :meth:`open`."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, migrations: Sequence[MigrationApplied], point: Point, kept: int
    ) -> None:
        self.path = path
        self.migrations = tuple(migrations)  # what the opening did to the schema, for the log
        self._db = db
        self._point = point
        self._kept = kept
        self._poison: str | None = None
        self._unpruned: dict[tuple[str, str], int] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now_ns: int,
        point: Point = _noop,
        checkpoints_kept: int = CHECKPOINTS_KEPT,
        backups_kept: int = BACKUPS_KEPT,
        progress: Doing | None = None,
        heed: Heed = lambda: None,
    ) -> Store:
        """Open or make the file, check it, and bring its schema up to date after a backup.

        ``now_ns`` is UTC and names that backup. Large books take their time then: ``progress`` hears again and again of what
        is being done, and ``heed`` may raise to end it as long as nothing was changed; a migration that has begun is finished.
        Raises StoreUnavailable (cannot be opened or written), StoreCorrupt (damaged, or not ours) or StoreTooNew.
        """
        heed()
        is_new = not path.exists()
        try:
            db = connect(path)
        except (sqlite3.Error, OSError) as error:
            raise in_our_words(error, path, "opening it") from error
        try:
            migrations = _make_ready(db, path, now_ns, backups_kept, progress, heed)
            if is_new:
                sync(path.parent)  # the file's name is as durable as its content
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise in_our_words(error, path, "opening it") from error
            raise
        mappings()  # compiled now, so that the first order does not wait for it
        return cls(db, path, migrations, point, checkpoints_kept)

    def close(self) -> None:
        """Let go of the file. A store that failed is only let go of: nothing is written any more, and its log stays."""
        if self._poison is None:
            self._db.close()
            return
        # SQLite folds the log into the file when the last connection is closed. On a disk that has just failed, the log
        # may be the only good copy: a connection that cannot write goes last.
        with suppress(sqlite3.Error), closing(connect(self.path, read_only=True)) as last:
            last.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._db.close()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failed(self) -> str | None:
        """Why this store refuses everything, or None while it works."""
        return self._poison

    # --- writing -------------------------------------------------------------------------------------------------------

    def commit(self, groups: Sequence[Group]) -> list[CommitResult]:
        """Make the groups durable in one transaction; one result for each, in order.

        A group that a constraint refuses is rolled back alone and its place holds the GroupRefused. StoreUnavailable
        means that nothing of the batch is known to be durable, and that this store is done for.
        """
        if self._poison is not None:
            raise StoreUnavailable(f"{self.path}: not written, because the store failed before: {self._poison}")
        if not groups:
            return []
        try:
            try:
                return self._commit_together(groups)
            except SENDER_ERRORS:
                self._db.rollback()
                return self._commit_apart(groups)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, sqlite3.Error | OSError):
                raise in_our_words(error, self.path, "committing") from error
            raise

    def _commit_together(self, groups: Sequence[Group]) -> list[CommitResult]:
        batch = Batch(groups, self._kept)
        self._begin()
        results: list[CommitResult] = list(batch.write(self._db, lambda: self._point("store.in_transaction")))
        self._prune(batch)
        self._end()
        return results

    def _commit_apart(self, groups: Sequence[Group]) -> list[CommitResult]:
        results: list[CommitResult] = []
        self._begin()
        for group in groups:
            self._db.execute("SAVEPOINT one_group")
            try:
                batch = Batch([group], self._kept)
                results.extend(batch.write(self._db, lambda: self._point("store.in_transaction")))
                self._prune(batch)
            except SENDER_ERRORS as error:
                self._db.execute("ROLLBACK TO one_group")
                results.append(_refused(group, error))
            self._db.execute("RELEASE one_group")
        self._end()
        return results

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def _end(self) -> None:
        self._point("store.before_commit")
        self._db.execute("COMMIT")
        self._point("store.after_commit")

    def _fail(self, error: BaseException) -> None:
        self._poison = f"{type(error).__name__}: {error}"
        try:
            self._db.rollback()
        except sqlite3.Error:
            pass  # nothing more can be lost: the transaction was never acknowledged, and this store writes no other

    def _prune(self, batch: Batch) -> None:
        """Delete old checkpoints, not at every write but when as many again have come."""
        for owner, written in batch.checkpoints_written.items():
            waiting = self._unpruned.get(owner, self._kept) + written
            if waiting >= self._kept:
                self._db.execute(
                    "DELETE FROM checkpoints WHERE execution = ?1 AND owner = ?2 AND id <= (SELECT id FROM checkpoints "
                    "WHERE execution = ?1 AND owner = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
                    (*owner, self._kept),
                )
                waiting = 0
            self._unpruned[owner] = waiting
        for execution in batch.metrics_written:
            self._db.execute(
                "DELETE FROM metrics_checkpoints WHERE execution = ?1 AND id <= (SELECT id FROM metrics_checkpoints "
                "WHERE execution = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                (execution, self._kept),
            )

    # --- reading -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise in_our_words(error, self.path, what) from error

    def last_sequence(self, execution: str) -> int:
        """The number of the newest journal record, 0 if there is none."""
        with self._reading("reading the journal"):
            return last_sequence(self._db, execution)

    def read_journal(self, execution: str, after: int, rows_max: int) -> list[tuple[int, Record]]:
        """Records after sequence ``after`` in order, at most ``rows_max``; empty when there is no more.

        StoreCorrupt, naming execution and sequence, on a checksum that is off, a number that is missing, or a journal that ends
        before ``after``.
        """
        with self._reading("reading the journal"):
            return read_records(self._db, self.path, execution, after, rows_max)

    def load_checkpoints(self, execution: str, owner: str) -> CheckpointHistory:
        """The last few saved states of an owner, newest first. A damaged one is left out, with a note that says so."""
        with self._reading("reading checkpoints"):
            rows = self._db.execute(
                "SELECT sequence, position, inbox, ts_ns, version, state, crc FROM checkpoints "
                "WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT ?",
                (execution, owner, self._kept),
            ).fetchall()
        saved: list[SavedCheckpoint] = []
        notes: list[str] = []
        for sequence, position, inbox, ts_ns, version, state, crc in rows:
            checkpoint = Checkpoint(
                execution=execution,
                owner=owner,
                position=position,
                inbox=inbox,
                ts_ns=ts_ns,
                version=version,
                state=state,
            )
            if checkpoint_crc(checkpoint, sequence) == crc:
                saved.append(SavedCheckpoint(sequence, checkpoint))
            else:
                notes.append(
                    f"{self.path}: the checkpoint of {owner} at journal record {sequence} of execution {execution} is damaged "
                    "(its checksum is off) and left out"
                )
        return CheckpointHistory(tuple(saved), tuple(notes))

    def executions(self, account: str | None = None) -> list[ExecutionRow]:
        """All executions, or those of one account, oldest first."""
        where, values = ("", ()) if account is None else (" WHERE account = ?", (account,))
        return self._executions(f"{where} ORDER BY started_ns, account, number", values)

    def open_execution(self, account: str) -> ExecutionRow | None:
        """The account's unfinished execution, which a restart resumes."""
        found = self._executions(
            " WHERE account = ? AND status = 'running' AND mode <> 'backtest' ORDER BY number DESC LIMIT 1", (account,)
        )
        return found[0] if found else None

    def next_number(self, account: str) -> int:
        """The number of the account's next execution, from 1."""
        with self._reading("reading executions"):
            row = self._db.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM executions WHERE account = ?", (account,)
            ).fetchone()
        return int(row[0])

    def _executions(self, where: str, values: Sequence[str]) -> list[ExecutionRow]:
        mapping = mapping_of(ExecutionRow)
        with self._reading("reading executions"):
            return [mapping.decode(row) for row in self._db.execute(mapping.select_sql + where, values)]


def _refused(group: Group, error: Exception) -> GroupRefused:
    if isinstance(error, Refusal):
        return GroupRefused(str(error))
    said = ", ".join(sorted({type(record).__name__ for record in group.records})) or "no records"
    refused = GroupRefused(f"a group of execution {group.execution} ({said}) was refused: {error}")
    refused.__cause__ = error
    return refused


def _make_ready(
    db: sqlite3.Connection, path: Path, now_ns: int, backups_kept: int, progress: Doing | None, heed: Heed
) -> list[MigrationApplied]:
    version = schema.version_of(db.execute, path)
    schema.refuse_newer(version, path)
    make_durable(db)
    if version is not None:
        _check(db, path)
    if version == schema.HEAD:
        return []
    return schema.upgrade(path, version, now_ns, backups_kept=backups_kept, progress=progress, heed=heed)


def _check(db: sqlite3.Connection, path: Path) -> None:
    """What can be checked at every start without reading everything.

    That is the structure while the file is small, and of each unfinished journal that its last record is sound and that no
    checkpoint is ahead of it.
    """
    pages, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    if pages * size <= CHECKED_AT_START_BYTES_MAX:
        found = [str(text) for (text,) in db.execute("PRAGMA quick_check(3)")]
        if found != ["ok"]:
            raise StoreCorrupt(f"{path} is damaged: {'; '.join(found)}. {RESTORE}")
    for (execution,) in db.execute("SELECT execution FROM executions WHERE status = 'running'").fetchall():
        last = last_sequence(db, execution)
        if last == 0:
            raise StoreCorrupt(f"{path}: execution {execution} has no journal. {RESTORE}")
        read_records(db, path, execution, last - 1, 1)
        saved = db.execute("SELECT max(max(sequence, inbox)) FROM checkpoints WHERE execution = ?", (execution,))
        read_records(db, path, execution, max(last, saved.fetchone()[0] or 0), 1)
