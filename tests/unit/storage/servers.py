"""A server for books, as far as tests need one: the real store in a file, behind a wire on which everything goes wrong.

:class:`NumberedStore` is the store of the product, with the number of the last batch in a table beside. :class:`Server` is how a
client sees it: refusing, failing before a commit or after it, leaving a transaction behind that ends later, slow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.unit.storage import samples as s
from tradekeel.domain.protocol import LoadedAccount
from tradekeel.domain.records import Group, Record
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import AlreadyRunning, Defect, StoreUnavailable
from tradekeel.storage.batch import Batch
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.store import Approve, CommitResult, Store, _refused

SECOND = 1_000_000_000
DEADLINE_NS = 5 * SECOND
JOURNAL_MAX = 1_000_000


class Clock:
    """Time passes when it is told to."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.ns

    def utc(self) -> int:
        return s.START_NS + self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND)


class NumberedStore(Store):
    """The books in a file, and which batch of the one writer was the last."""

    @classmethod
    def at(cls, path: Path) -> NumberedStore:
        store = cls.open(path, now_ns=s.START_NS)
        assert isinstance(store, cls)
        store.prepare()
        return store

    def prepare(self) -> None:
        self._db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug of this machine
        self._db.execute("CREATE TABLE IF NOT EXISTS writers (name TEXT PRIMARY KEY, batch INTEGER)")
        self._db.execute("INSERT OR IGNORE INTO writers VALUES ('us', 0)")

    def last_batch(self) -> int:
        return int(self._db.execute("SELECT batch FROM writers").fetchone()[0])

    def set_last_batch(self, batch: int) -> None:
        self._db.execute("UPDATE writers SET batch = ?", (batch,))

    def commit_numbered(
        self, batch: int, groups: Sequence[Group], approve: Approve | None = None
    ) -> list[CommitResult]:
        self._begin(None)
        try:
            if self.last_batch() != batch - 1:
                raise Defect(f"batch {batch} comes behind batch {self.last_batch()}")
            results = [self._write(group) for group in groups]
            if approve is not None:
                approve(results)
            self.set_last_batch(batch)
        except BaseException:
            self._db.rollback()
            raise
        self._db.execute("COMMIT")
        return results

    def _write(self, group: Group) -> CommitResult:
        self._db.execute("SAVEPOINT one_group")
        result: CommitResult
        try:
            [result] = Batch([group], 5).write(self._db, self.backend, lambda: None)
        except self._senders as error:
            self._db.execute("ROLLBACK TO one_group")
            result = _refused(group, error)
        self._db.execute("RELEASE one_group")
        return result


Fault = str
"""What becomes of the next commit: "before", "after", "left to end", "left to die"."""


class Server:
    """The wire to the store, and what goes wrong on it."""

    def __init__(self, path: Path, clock: Clock, accounts: Sequence[str] = ("paper-1", "paper-2")) -> None:
        self.store = NumberedStore.at(path)
        self.up = True
        self.slow = False
        self.late = 0  # so often there is no connection yet
        self.leased_to: str | None = None
        self.faults: deque[Fault] = deque()
        self.calls: Counter[str] = Counter()
        self.point: Callable[[str], None] = lambda name: None
        self._clock = clock
        self._connected = False
        self._left_behind: Callable[[], object] | None = None
        self._reading = AccountBooks(self.store, dict.fromkeys(accounts, (s.STRATEGY,)))

    # --- what the product calls ------------------------------------------------------------------------------------------

    def executions(self) -> list[ExecutionRow]:
        self._reach("executions")
        return self.store.executions()

    def knock(self) -> bool:
        self.calls["knock"] += 1
        if self.late:
            self.late -= 1
            return False
        if not self.up:
            self._fail("connection refused")
        return True

    def reconnect(self) -> None:
        self.calls["reconnect"] += 1
        self._connected = False
        if not self.up:
            self._fail("connection refused")
        if self.leased_to is not None:
            raise AlreadyRunning(f"the account is traded by {self.leased_to}")
        if self._left_behind is not None:
            left_behind, self._left_behind = self._left_behind, None
            left_behind()
        self._connected = True

    def commit_numbered(
        self, batch: int, groups: Sequence[Group], approve: Approve | None = None
    ) -> list[CommitResult]:
        self._reach("commit")
        fault = self.faults.popleft() if self.faults else ""
        if fault == "before":
            self._fail("terminating connection due to administrator command")
        if fault.startswith("left"):
            if fault == "left to end":
                self._left_behind = lambda: self.store.commit_numbered(batch, groups, approve)
            self._fail("timeout")
        self.point("server.before_commit")
        results = self.store.commit_numbered(batch, groups, approve)
        self.point("server.after_commit")
        if fault == "after":
            self._fail("server closed the connection unexpectedly")
        return results

    def last_batch(self) -> int:
        self._reach("last_batch")
        return self.store.last_batch()

    def last_sequence(self, execution: str) -> int:
        self._reach("last_sequence")
        return self.store.last_sequence(execution)

    def load(self, account: str, progress: Callable[[], object]) -> LoadedAccount:
        self._reach("load")
        return self._reading.load(account, progress)

    def close(self) -> None:
        self._connected = False

    # --- what the tests do -----------------------------------------------------------------------------------------------

    def _reach(self, what: str) -> None:
        self.calls[what] += 1
        assert self._connected, f"{what} without a connection"
        if not self.up:
            self._fail("connection reset by peer")

    def _fail(self, said: str) -> None:
        self._connected = False
        if self.slow:
            self._clock.ns += DEADLINE_NS
        raise StoreUnavailable(f"the server: {said}")

    def journal(self, execution: str = s.RUN) -> list[Record]:
        return [record for _, record in self.store.read_journal(execution, 0, JOURNAL_MAX)]
