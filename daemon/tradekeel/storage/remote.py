"""What stands between the recorder and a store on a server: what is needed of the store, and how things are with it.

The books that use this are in :mod:`tradekeel.storage.standin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from tradekeel.domain.protocol import LoadedAccount, StoreStands
from tradekeel.domain.records import ExecutionStarted, Group
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import StoreUnavailable, text_of
from tradekeel.storage.breaker import BreakerStatus
from tradekeel.storage.promised import NumberedBatch
from tradekeel.storage.store import Approve, CommitResult

Load = Callable[[str, Callable[[], object]], LoadedAccount]
"""Reads an account's books from the server: :meth:`tradekeel.storage.loading.AccountBooks.load`."""

ASKS_MAX_NS = 600_000_000_000
"""Nothing that the server is asked takes longer: each exchange with it has a deadline, and there are a few to a batch."""


class RemoteStore(Protocol):
    """A store on a server, for one writer. Every method blocks, at most for a deadline of the store's own.

    Each raises StoreUnavailable where the server does not answer as it should, whether or not something was done: the number of
    the last batch tells. After that only :meth:`reconnect` and :meth:`close` are called.
    """

    def commit_numbered(
        self, batch: int, groups: Sequence[Group], approve: Approve | None = None
    ) -> list[CommitResult]:
        """Make the groups, and with them that ``batch`` was applied, durable in one transaction; a result for each, in order.

        ``groups`` may be empty: the number is written all the same. A group that a constraint refuses is rolled back alone
        and its place holds the GroupRefused. ``approve`` is given the results before the commit; where it raises, nothing of
        the batch, its number included, becomes durable, and the error comes through. A Defect where the last batch was not
        ``batch - 1``.
        """

    def last_batch(self) -> int:
        """The number of this writer's last batch, 0 if there is none."""

    def last_sequence(self, execution: str) -> int:
        """The number of the newest journal record, 0 if there is none."""

    def executions(self) -> Sequence[ExecutionRow]:
        """All executions, oldest first."""

    def knock(self) -> bool:
        """Whether the server has opened a new connection; without waiting for it where it may be long in coming. What is left
        of an earlier one is let go of. Raises what went wrong, once.
        """

    def reconnect(self) -> None:
        """Take the new connection into use, also where there was none before.

        When this returns, no transaction that an earlier connection has left on the server can become durable any more: it
        has been, or it never will be. (A lock that each connection holds for as long as it lasts does it.) AlreadyRunning
        where another daemon holds the lease.
        """

    def close(self) -> None:
        """Let go of the connection."""


class WaitingBatches(Protocol):
    """Where batches wait: :class:`~tradekeel.storage.spool.Spool`, :class:`~tradekeel.storage.memoryspool.MemorySpool`."""

    @property
    def durable(self) -> bool:
        """Whether what waits survives the process."""

    @property
    def first(self) -> int | None:
        """The number of the oldest batch, or None where nothing waits."""

    @property
    def last(self) -> int | None:
        """The number of the newest batch, or None where nothing waits."""

    @property
    def batches(self) -> int:
        """How many wait."""

    @property
    def size_bytes(self) -> int:
        """What they take."""

    def append(self, batches: Sequence[NumberedBatch]) -> None:
        """Take batches; they are safe, as far as they are here, when this returns. StoreUnavailable where they are not."""

    def pending(self) -> Iterator[NumberedBatch]:
        """All that waits, in order, each read when it is asked for."""

    def drained(self, up_to: int) -> None:
        """What has this number or a lower one waits no more."""

    def close(self) -> None:
        """Let go of the files."""


class StoreMode(StrEnum):
    """How commits go."""

    DIRECT = "direct"  # to the server
    AWAY = "away"  # to where they wait
    DRAINING = "draining"  # to where they wait, while those before them go to the server


class StoreState(Struct, frozen=True, kw_only=True):
    """How it is with the store at a moment. A new value takes the old one's place: any thread may read it."""

    mode: StoreMode
    breaker: BreakerStatus
    since_ns: int  # UTC: when it got into this mode
    reason: str  # why it is not direct, in words; empty where it is
    batches: int  # that wait
    size_bytes: int  # that they take
    promise_holds: bool  # whether what is acknowledged now survives a kill
    changes: int  # counts every change of mode or breaker

    def told(self) -> StoreStands:
        """The same for people, and for whoever decides what may be traded."""
        return StoreStands(
            mode=self.mode.value,
            reason=self.reason,
            since_ns=self.since_ns,
            breaker=self.breaker.value,
            batches=self.batches,
            size_bytes=self.size_bytes,
            durable=self.promise_holds,
        )


class Away(Exception):
    """The server did not answer as it should: what it said."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(text_of(error))
        self.error = error


class Asking:
    """Whether a server is being asked, which takes its time, rather than a disk, which may hang. Any thread may look."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._since_ns: list[int] = []

    def __enter__(self) -> None:
        self._since_ns.append(self._monotonic_ns())

    def __exit__(self, *_: object) -> None:
        self._since_ns.pop()

    @property
    def goes_on(self) -> bool:
        """It is, and not for longer than anything that it is asked may take."""
        since_ns = self._since_ns[-1:]
        return bool(since_ns) and self._monotonic_ns() - since_ns[0] < ASKS_MAX_NS


def begins(group: Group) -> bool:
    """Whether nothing of its execution can have been before it."""
    return bool(group.records) and isinstance(group.records[0], ExecutionStarted)
