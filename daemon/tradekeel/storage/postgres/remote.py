"""The books on the server as one writer has them: numbered batches under a lease (see :mod:`tradekeel.storage.remote`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import NamedTuple, Protocol, TypeVar

from tradekeel.domain.records import Group
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import StoreUnavailable
from tradekeel.storage.backend import Connection
from tradekeel.storage.postgres.lease import (
    Lease,
    Term,
    Writer,
    acquire,
    holders_of_lock,
    mark,
    refuse_others,
    release,
    try_lock,
    waited_for,
)
from tradekeel.storage.store import Approve, CommitResult, Store

LOCK_TRIES = 50
"""A connection that has just gone may hold the lock for a moment yet: it is asked for so often, with a pause behind each."""

CLOSED = "these books were closed while a connection was made"

T = TypeVar("T")


class Aside(Protocol):
    """Runs one call beside us."""

    def look_in(self, function: Callable[[], T]) -> T | None:
        """Begin the call where none is under way; None while it goes on, once its result, or what it raised."""


class _Met(NamedTuple):
    store: Store
    lease: Lease
    term: Term


class PostgresBooks:
    """One writer's books: see :class:`~tradekeel.storage.remote.RemoteStore`.

    A server that is away may keep a connection waiting until its time is up, so connections are made aside: trading goes on.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        writer: Writer,
        *,
        waiting: Callable[[], bool],
        outlives_us: Callable[[], bool] | None = None,
        aside: Aside,
        pause: Callable[[], object],
        now_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        tell: Callable[[str], object],
    ) -> None:
        """``waiting`` tells whether batches wait on this side, ``outlives_us`` whether they will when this process is gone (the
        same, unless it is said). ``pause`` lets a moment pass, in the thread that calls it.

        ``now_ns`` is UTC. ``tell`` is given what a person should know of a start that takes its time.
        """
        self._open_store = open_store
        self._writer = writer
        self._waiting, self._outlives_us = waiting, outlives_us or waiting
        self._aside = aside
        self._pause = pause
        self._now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self._tell = tell
        self._term: Term | None = None
        self._met: _Met | None = None  # a connection that waits to be taken
        self._made: _Met | None = None  # the same, from the moment on at which it was made aside
        self._handing_over = Lock()
        self._closed = False
        self._store: Store | None = None
        self._lease = Lease(0, 0, 0)
        self._batch = 0

    @property
    def store(self) -> Store:
        """The store behind the present connection. StoreUnavailable where there is none."""
        if self._store is None:
            raise StoreUnavailable("there is no connection to the server")
        return self._store

    def knock(self) -> bool:
        """Whether a connection has been made; without one, one is being made from now on. Raises what went wrong with that."""
        if self._met is None:
            self._drop()
            self._met = self._aside.look_in(self._meet)
        return self._met is not None

    def reconnect(self) -> None:
        """Take the connection that :meth:`knock` has made, with the lock and the leases: whatever an earlier one left is over."""
        if not self.knock():
            raise StoreUnavailable("the server has not answered yet")
        assert self._met is not None
        (self._store, self._lease, self._term), self._met = self._met, None
        self._made = None
        self._batch = self._lease.batch

    def commit_numbered(
        self, batch: int, groups: Sequence[Group], approve: Approve | None = None
    ) -> list[CommitResult]:
        """Make the groups, the number of their batch, and a longer lease durable. LeaseLost where another has taken over."""
        term = self._term_from_now()
        results = self.store.commit(groups, mark=lambda db: mark(db, self._writer, self._lease, batch), approve=approve)
        self._batch = batch
        self._term = term
        return results

    def lease_left_ns(self) -> int | None:
        """For so long no other daemon may take over; 0 or less when it is over. None without a lease. Any thread may ask."""
        term = self._term
        return None if term is None else term.left_ns(self._now_ns(), self._monotonic_ns())

    def _term_from_now(self) -> Term:
        return Term(self._now_ns(), self._monotonic_ns(), self._writer.lease_ns)

    def last_batch(self) -> int:
        """The number of this writer's last batch."""
        _ = self.store
        return self._batch

    def last_sequence(self, execution: str) -> int:
        """The number of the newest journal record, 0 if there is none."""
        return self.store.last_sequence(execution)

    def executions(self) -> Sequence[ExecutionRow]:
        """All executions, oldest first."""
        return self.store.executions()

    def _meet(self) -> _Met:
        store = self._open_store()
        try:
            if not self._again:
                self._wait_for_a_copy(store)
            self._lock(store)
            self._refuse_if_closed()
            term = self._term_from_now()
            lease = store.within(lambda db: acquire(db, self._writer, waiting=self._waiting(), again=self._again))
            with self._handing_over:
                if not self._closed:
                    self._made = _Met(store, lease, term)
                    return self._made
            self._give_back(store, lease)
            raise StoreUnavailable(CLOSED)
        except BaseException:
            store.close()
            raise

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(CLOSED)

    def _give_back(self, store: Store, lease: Lease) -> None:
        if self._outlives_us():  # what a script wrote now would take the places that were promised to it
            return
        with suppress(StoreUnavailable):
            store.within(lambda db: release(db, self._writer, lease))

    @property
    def _again(self) -> bool:
        """Whether we have had the leases before."""
        return self._term is not None

    def _wait_for_a_copy(self, store: Store) -> None:
        """Until the lease that another place of our installation has left is over, or is renewed: then somebody is there, and
        refused. Either comes within the time of a lease.
        """
        first = now = store.within(lambda db: waited_for(db, self._writer))
        if first:
            self._tell(
                f"a daemon {self._writer.daemon} of this installation has last written on {first[0][0]}, from another place: the "
                f"state directory was moved, or copied. Waiting until its lease is over, or is renewed there"
            )
        while now and set(now) <= set(first):
            self._refuse_if_closed()
            self._pause()
            now = store.within(lambda db: waited_for(db, self._writer))

    def _lock(self, store: Store) -> None:
        """Whoever else holds the lock is a connection of ours that the server has not given up yet, or a daemon of our name
        elsewhere, whose lease tells of it.
        """
        for _ in range(LOCK_TRIES):
            self._refuse_if_closed()
            if store.within(lambda db: try_lock(db, self._writer.daemon)):
                return
            store.within(self._end_earlier)
            self._pause()
        raise StoreUnavailable(
            f"{store.backend}: another connection of daemon {self._writer.daemon} holds its lock and does not let go"
        )

    def _end_earlier(self, db: Connection) -> None:
        # Nothing is locked here: who was frozen in the middle of a transaction would never let go of it.
        refuse_others(db, self._writer, waiting=self._waiting(), again=self._again)
        for pid in holders_of_lock(db, self._writer.daemon):
            db.execute("SELECT pg_terminate_backend(?::int)", (pid,))

    def _drop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def close(self) -> None:
        """Give the leases back, if the server hears of it, and let go of the connection, also of one not taken yet.

        Where batches wait here, the leases run out instead, and tell that whoever had them may have acknowledged more.
        Nobody waits for one that is still being made: it does the same by itself.
        """
        with self._handing_over:
            self._closed = True
            self._met = self._made
        if self._met is not None and self._store is None:
            self.reconnect()
        if self._store is not None and self._store.failed is None:
            self._give_back(self._store, self._lease)
        self._drop()
