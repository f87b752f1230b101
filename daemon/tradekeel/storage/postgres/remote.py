"""The books on the server as one writer has them: numbered batches under a lease (see :mod:`tradekeel.storage.remote`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from tradekeel.domain.records import Group
from tradekeel.errors import StoreUnavailable
from tradekeel.storage.backend import Connection
from tradekeel.storage.postgres.lease import Lease, Writer, acquire, holders_of_lock, mark, release, try_lock
from tradekeel.storage.store import Approve, CommitResult, Store

LOCK_TRIES = 20
"""A connection that has just gone may hold the lock for a moment yet: so often it is asked for, each time after a look at who
holds it."""


class PostgresBooks:
    """One writer's books. Every method blocks, at most for the backend's own limits."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        writer: Writer,
        *,
        waiting: Callable[[], bool],
        pause: Callable[[], object],
    ) -> None:
        """``waiting`` tells whether batches wait on this side; ``pause`` waits a moment for a lock that is about to be free."""
        self._open_store = open_store
        self._writer = writer
        self._waiting = waiting
        self._pause = pause
        self._store: Store | None = None
        self._lease = Lease(0, 0)

    @property
    def store(self) -> Store:
        """The store behind the present connection. StoreUnavailable where there is none."""
        if self._store is None:
            raise StoreUnavailable("there is no connection to the server")
        return self._store

    def commit_numbered(
        self, batch: int, groups: Sequence[Group], approve: Approve | None = None
    ) -> list[CommitResult]:
        """See :class:`~tradekeel.storage.remote.RemoteStore`. LeaseLost where somebody else has taken over."""
        return self.store.commit(groups, mark=lambda db: mark(db, self._writer, self._lease, batch), approve=approve)

    def last_batch(self) -> int:
        """The number of this writer's last batch, as it was when the connection was made."""
        _ = self.store
        return self._lease.batch

    def last_sequence(self, execution: str) -> int:
        """The number of the newest journal record, 0 if there is none."""
        return self.store.last_sequence(execution)

    def reconnect(self) -> None:
        """A new connection, the lock and the leases; whatever an earlier connection left on the server is over then."""
        self._drop()
        store = self._open_store()
        try:
            self._lock(store)
            self._lease = store.within(lambda db: acquire(db, self._writer, waiting=self._waiting()))
        except BaseException:
            store.close()
            raise
        self._store = store

    def _lock(self, store: Store) -> None:
        """Whoever holds the lock is a connection of ours that the server has not given up yet, since no other process may trade
        in this state directory, or a daemon of our name elsewhere, whose lease says so.
        """
        for _ in range(LOCK_TRIES):
            if store.within(lambda db: try_lock(db, self._writer.daemon)):
                return
            store.within(self._end_earlier)
            self._pause()
        raise StoreUnavailable(
            f"{store.backend}: another connection of daemon {self._writer.daemon} holds its lock and does not let go"
        )

    def _end_earlier(self, db: Connection) -> None:
        row = db.execute(
            "SELECT count(*) FROM leases WHERE daemon = ? AND holder <> ?", (self._writer.daemon, self._writer.holder)
        ).fetchone()
        if row[0]:
            acquire(db, self._writer, waiting=False)  # says who holds it, unless its time is up
        for pid in holders_of_lock(db, self._writer.daemon):
            db.execute("SELECT pg_terminate_backend(?::int)", (pid,))

    def _drop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def close(self) -> None:
        """Give the leases back, if the server hears of it, and let go of the connection."""
        if self._store is not None and self._store.failed is None:
            with suppress(StoreUnavailable):
                self._store.within(lambda db: release(db, self._writer, self._lease))
        self._drop()
