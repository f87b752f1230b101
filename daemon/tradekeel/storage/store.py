"""The one writer of the books: commits groups, reads the journal back, keeps checkpoints.

A batch of groups is one transaction. It is first written in one go, table by table, because nothing is wrong with it
nearly always; if anything refuses it, it is rolled back and written again with a savepoint around each group, so that
only the refused group goes back to its sender. Journal numbers are given inside the transaction, gap-free for each
execution.

What the database or the disk refuses is not a group's fault. The whole batch fails, nothing of it may be taken for
durable, and the store refuses everything from then on: after a failed fsync the next one may report success without
having written what the first one lost, and behind a lost connection nobody knows whether the last commit was done.

The class is synchronous and belongs to one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from msgspec import Struct

from tradekeel.domain.records import Group, Record
from tradekeel.domain.rows import Checkpoint, ExecutionRow
from tradekeel.errors import GroupRefused, StoreCorrupt, StoreUnavailable
from tradekeel.storage import migrating, schema
from tradekeel.storage.archives import ArchiveRow, newest_archive
from tradekeel.storage.backend import RESTORE, Backend, Connection, backend_at
from tradekeel.storage.backups import BACKUPS_KEPT, Doing, Heed
from tradekeel.storage.batch import SENDER_ERRORS, Batch, Refusal, Written
from tradekeel.storage.checksums import checkpoint_crc
from tradekeel.storage.journal import last_sequence, read_records
from tradekeel.storage.migrating import Migrated
from tradekeel.storage.points import Point, unwatched
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.whose import A_DAEMONS, not_elsewhere

__all__ = ["CheckpointHistory", "CommitResult", "SavedCheckpoint", "Store", "Written"]

CHECKPOINTS_KEPT = 5
"""Saved states that stay for each owner, so that a damaged one leaves others to fall back on."""

CommitResult = Written | GroupRefused
Mark = Callable[[Connection], Callable[[], object]]
"""Asks the database for something within the transaction; what it gives looks at the answer when that has come."""
Approve = Callable[[Sequence[CommitResult]], object]
"""Looks at the results of a batch before they become durable; what it raises takes all of it back."""
T = TypeVar("T")


class SavedCheckpoint(NamedTuple):
    """A checkpoint and the journal sequence it was written at."""

    sequence: int
    checkpoint: Checkpoint


class CheckpointHistory(Struct, frozen=True):
    """The readable checkpoints of an owner, newest first, and a sentence for each that was not."""

    saved: tuple[SavedCheckpoint, ...]
    notes: tuple[str, ...] = ()


class Store:
    """The books of all executions in one database. Make one with :meth:`open`."""

    def __init__(self, db: Connection, backend: Backend, migrated: Migrated, point: Point, kept: int) -> None:
        self.backend = backend
        self.migrations = migrated.applied  # what the opening did to the schema, for the log …
        self.notes = migrated.notes  # … and what a person should know of it
        self._db = db
        self._senders = (*SENDER_ERRORS, *backend.sender_errors)
        self._point = point
        self._kept = kept
        self._poison: str | None = None
        self._savepoints = count(1)
        self._unpruned: dict[tuple[str, str], int] = {}

    @classmethod
    def open(
        cls,
        place: Backend | Path,
        *,
        now_ns: int,
        point: Point = unwatched,
        checkpoints_kept: int = CHECKPOINTS_KEPT,
        backups_kept: int = BACKUPS_KEPT,
        progress: Doing | None = None,
        heed: Heed = lambda: None,
        migrate: bool = True,
        backup: bool = True,
    ) -> Store:
        """Open or make the books, check them, and bring their schema up to date after a backup. A path is a SQLite file.

        ``now_ns`` is UTC and names that backup. Large books take their time then: ``progress`` hears again and again of what
        is being done, and ``heed`` may raise to end it as long as nothing was changed; a migration that has begun is finished.
        Without ``migrate`` books with an earlier schema are refused; without ``backup`` they are not copied first.
        Raises StoreUnavailable (cannot be opened or written), StoreCorrupt (damaged, or not ours), StoreTooNew or StoreTooOld.
        """
        heed()
        backend = backend_at(place)
        is_new = not backend.exists()
        try:
            db = backend.connect()
        except backend.errors as error:
            raise backend.in_our_words(error, "opening it") from error
        try:
            upgrade = partial(
                migrating.upgrade,
                now_ns=now_ns,
                backups_kept=backups_kept,
                progress=progress,
                heed=heed,
                backup=backup,
            )
            migrated = _make_ready(db, backend, migrate, upgrade) or Migrated(())
            if is_new:
                backend.keep_name()
        except BaseException as error:
            db.close()
            if isinstance(error, backend.errors):
                raise backend.in_our_words(error, "opening it") from error
            raise
        for mapping in mappings().values():
            mapping.insert_sql(backend)  # compiled now, so that the first order does not wait for it
        return cls(db, backend, migrated, point, checkpoints_kept)

    def close(self) -> None:
        """Let go of the file. A store that failed is only let go of: nothing is written any more, and its log stays."""
        if self._poison is None:
            self._db.close()
        else:
            self.backend.last_words(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failed(self) -> str | None:
        """Why this store refuses everything, or None while it works."""
        return self._poison

    # --- writing -------------------------------------------------------------------------------------------------------

    def commit(
        self, groups: Sequence[Group], *, mark: Mark | None = None, approve: Approve | None = None
    ) -> list[CommitResult]:
        """Make the groups durable in one transaction; one result for each, in order.

        A group that a constraint refuses is rolled back alone and its place holds the GroupRefused. StoreUnavailable
        means that nothing of the batch is known to be durable, and that this store is done for. ``mark`` writes something of its
        own first, ``approve`` sees the results before they are durable; what either raises takes all of it back.
        """
        if self._poison is not None:
            raise StoreUnavailable(f"{self.backend}: not written, because the store failed before: {self._poison}")
        if not groups and mark is None:
            return []
        try:
            try:
                return self._commit_together(groups, mark, approve)
            except self._senders:
                self._db.rollback()
                return self._commit_apart(groups, mark, approve)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, self.backend.errors):
                raise self.backend.in_our_words(error, "committing") from error
            raise

    def within(self, work: Callable[[Connection], T]) -> T:
        """Do something that is no group in a transaction of its own. StoreUnavailable as with :meth:`commit`."""
        if self._poison is not None:
            raise StoreUnavailable(f"{self.backend}: not written, because the store failed before: {self._poison}")
        try:
            self._db.execute(self.backend.begin_write)
            result = work(self._db)
            self._db.execute("COMMIT")
        except BaseException as error:
            self._fail(error)
            if isinstance(error, self.backend.errors):
                raise self.backend.in_our_words(error, "writing") from error
            raise
        return result

    def _commit_together(
        self, groups: Sequence[Group], mark: Mark | None, approve: Approve | None
    ) -> list[CommitResult]:
        batch = Batch(groups, self._kept)
        with self._db.together():
            is_marked = self._begin(mark)
            tables = batch.write_tables(self._db, self.backend)
        is_marked()
        tables.check()
        self._point("store.in_transaction")
        with self._db.together():
            results: list[CommitResult] = list(batch.write_journal(self._db, tables))
            self._prune(batch)
            self._end(results, approve)
        self._point("store.after_commit")
        return results

    def _commit_apart(self, groups: Sequence[Group], mark: Mark | None, approve: Approve | None) -> list[CommitResult]:
        results: list[CommitResult] = []
        self._begin(mark)()
        for group in groups:
            # A name is used once: the driver of PostgreSQL has to see each going back as a statement of its own, because what it
            # began to prepare since then is not prepared.
            savepoint = f"group_{next(self._savepoints)}"
            self._db.execute(f"SAVEPOINT {savepoint}")
            try:
                batch = Batch([group], self._kept)
                results.extend(batch.write(self._db, self.backend, lambda: self._point("store.in_transaction")))
                self._prune(batch)
            except self._senders as error:
                self._db.execute(f"ROLLBACK TO {savepoint}")
                results.append(_refused(group, error))
            self._db.execute(f"RELEASE {savepoint}")
        self._end(results, approve)
        self._point("store.after_commit")
        return results

    def _begin(self, mark: Mark | None) -> Callable[[], object]:
        self._db.execute(self.backend.begin_write)
        return mark(self._db) if mark is not None else lambda: None

    def _end(self, results: Sequence[CommitResult], approve: Approve | None) -> None:
        if approve is not None:
            approve(results)
        self._point("store.before_commit")
        self._db.execute("COMMIT")

    def _fail(self, error: BaseException) -> None:
        self._poison = f"{type(error).__name__}: {error}"
        try:
            self._db.rollback()
        except self.backend.errors:
            pass  # nothing more can be lost: the transaction was never acknowledged, and this store writes no other

    def _prune(self, batch: Batch) -> None:
        """Delete old checkpoints, not at every write but when as many again have come."""
        for owner, written in batch.checkpoints_written.items():
            waiting = self._unpruned.get(owner, self._kept) + written
            if waiting >= self._kept:
                self._db.execute(
                    "DELETE FROM checkpoints WHERE execution = ? AND owner = ? AND id <= (SELECT id FROM checkpoints "
                    "WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (*owner, *owner, self._kept),
                )
                waiting = 0
            self._unpruned[owner] = waiting
        for execution in batch.metrics_written:
            self._db.execute(
                "DELETE FROM metrics_checkpoints WHERE execution = ? AND id <= (SELECT id FROM metrics_checkpoints "
                "WHERE execution = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (execution, execution, self._kept),
            )

    # --- reading -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except self.backend.errors as error:
            raise self.backend.in_our_words(error, what) from error

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
            return read_records(self._db, self.backend, execution, after, rows_max)

    def newest_archive(self, execution: str) -> ArchiveRow | None:
        """Behind which an execution's journal goes on here, None where it is whole. StoreCorrupt for what cannot be believed."""
        with self._reading("reading its archives"):
            return newest_archive(self._db, self.backend, execution)

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
                    f"{self.backend}: the checkpoint of {owner} at journal record {sequence} of execution {execution} is damaged "
                    "(its checksum is off) and left out"
                )
        return CheckpointHistory(tuple(saved), tuple(notes))

    def executions(self, account: str | None = None) -> list[ExecutionRow]:
        """All executions, or those of one account, oldest first."""
        where, values = ("", ()) if account is None else (" WHERE account = ?", (account,))
        return self._executions(f"{where} ORDER BY started_ns, account, number", values)

    def open_execution(self, account: str) -> ExecutionRow | None:
        """The account's unfinished execution of a daemon, which a restart resumes."""
        found = self._executions(
            f" WHERE account = ? AND status = 'running' AND {A_DAEMONS} ORDER BY number DESC LIMIT 1", (account,)
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
    db: Connection, backend: Backend, migrate: bool, upgrade: Callable[[Backend], Migrated]
) -> Migrated | None:
    """Check what there is, and bring its schema up to date where anything is missing."""
    standing = schema.standing_of(db.execute, backend)
    schema.refuse_unknown(standing, backend)
    if not migrate:
        schema.refuse_earlier(standing, backend)
    backend.make_durable(db)
    _let_others_finish(db, backend)
    if standing.version is not None:
        _check(db, backend)
    backend.settle(db)
    return None if standing.version == schema.HEAD else upgrade(backend)


def _let_others_finish(db: Connection, backend: Backend) -> None:
    """Whoever was writing when we took the lock has committed now, and whoever comes later sees that we hold it."""
    db.execute(backend.begin_write)
    db.execute("COMMIT")


def _check(db: Connection, backend: Backend) -> None:
    """What can be checked at every start without reading everything.

    That is the structure while there is little of it, and of each unfinished journal that its last record is sound and that no
    checkpoint is ahead of it.
    """
    found = list(backend.damage(db, 3, quick=True))
    if found:
        raise StoreCorrupt(f"{backend} is damaged: {'; '.join(found)}. {RESTORE}")
    db.execute(backend.begin_read)  # on a server another daemon may write meanwhile: all of it is of one moment
    _check_ends(db, backend)
    db.rollback()


def _check_ends(db: Connection, backend: Backend) -> None:
    # What is wrong with another daemon's books ends that one, and is found by `verify`.
    shared = backend.daemon and "leases" in backend.tables(db.execute)
    which = f" AND {not_elsewhere(backend)}" if shared else ""
    for (execution,) in db.execute(f"SELECT execution FROM executions WHERE status = 'running'{which}").fetchall():  # noqa: S608  # our own words
        last = last_sequence(db, execution)
        if last == 0:
            raise StoreCorrupt(f"{backend}: execution {execution} has no journal. {RESTORE}")
        read_records(db, backend, execution, last - 1, 1)
        ahead = db.execute("SELECT max(sequence), max(inbox) FROM checkpoints WHERE execution = ?", (execution,))
        read_records(db, backend, execution, max(last, *(number or 0 for number in ahead.fetchone())), 1)
