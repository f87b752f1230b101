"""The books of one execution of a backtest: a file like a daemon's, written in bulk, and how far the execution is.

Nothing is durable between two cuts, so the journal of a run that was killed ends at one; what is said of the execution (status,
progress) becomes durable in the same transaction as the cut that it tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from msgspec import structs

from tradekeel.domain.entries import Entry
from tradekeel.domain.records import Group
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint
from tradekeel.domain.tasks import TaskExecution, TaskRow, TaskStatus, gone_on, refuse_status
from tradekeel.errors import StoreCorrupt, StoreEmpty
from tradekeel.storage.backend import Connection
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.store import Store, Written


class FileBooks:
    """A :class:`~tradekeel.backtest.run.Keeper` in a file."""

    def __init__(
        self,
        path: Path,
        task: TaskRow,
        number: int,
        execution: str,
        owners: Sequence[str],
        *,
        now_ns: Callable[[], int],
        progress: Callable[[], int] = lambda: 0,
    ) -> None:
        """``owners`` are the strategies; ``now_ns`` tells the wall's time, ``progress`` how far the run is, in percent."""
        self._store = Store.open(path, now_ns=now_ns())
        self._task = task
        self._execution = execution
        self._owners = (ACCOUNT_OWNER, *owners)
        self._now_ns, self._progress = now_ns, progress
        self._waiting: list[Entry] = []
        known = self._store.within(self._find)
        self.told = known or TaskExecution(task_id=task.task_id, number=number)

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep these for the next cut."""
        self._waiting.extend(entries)

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """Make all of it durable."""
        entries, self._waiting = self._waiting, []
        group = Group(
            execution=self._execution,
            records=tuple(entry.record for entry in entries),
            rows=tuple(row for entry in entries for row in entry.rows),
            checkpoints=tuple(saved),
        )
        self._say(progress=self._progress())
        (result,) = self._store.commit([group], mark=self._mark)
        if not isinstance(result, Written):
            raise result
        self._say(execution=self._execution)  # the books know it from here on

    def last_cut(self) -> Sequence[Checkpoint]:
        """The states of the last cut; what came behind it is forgotten. StoreCorrupt where one of them cannot be read: that of a
        cut before it goes neither with the journal nor with the others.
        """
        self._waiting.clear()
        end = self._store.last_sequence(self._execution)
        if not end:
            return ()
        states = []
        for owner in self._owners:
            newest = next(iter(self._store.load_checkpoints(self._execution, owner).saved), None)
            if newest is None or newest.sequence != end:
                raise StoreCorrupt(
                    f"{self._store.backend}: the state of {owner} as of the journal's end, record {end}, cannot be read, so this "
                    "execution cannot be gone on with: begin anew (tradekeel backtest --restart)"
                )
            states.append(newest.checkpoint)
        return states

    def tell(self, status: TaskStatus, **said: Any) -> None:
        """The execution stands so now. IllegalTransition for a status that cannot follow."""
        refuse_status(self.told.status, status)
        self._say(status=status, **said)
        self._store.within(self._mark)

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, **said: Any) -> None:
        self.told = gone_on(self.told, self._now_ns(), **said)

    def _mark(self, db: Connection) -> Callable[[], object]:
        """Write down how far the execution is."""
        told = self.told
        db.execute("DELETE FROM task_executions WHERE task_id = ? AND number = ?", (told.task_id, told.number))
        self._insert(db, told)
        return lambda: None

    def _insert(self, db: Connection, row: TaskRow | TaskExecution) -> None:
        mapping: Any = mapping_of(type(row))
        db.execute(mapping.insert_sql(self._store.backend), mapping.encode(row, ""))

    def _find(self, db: Connection) -> TaskExecution | None:
        """How the execution was left; a new one's task is written down."""
        known = read_execution(db, self._task.task_id)
        if known is None and not db.execute("SELECT 1 FROM tasks").fetchone():
            self._insert(db, structs.replace(self._task, created_ns=self._now_ns()))
        return known


def read_execution(db: Connection, task_id: str | None = None) -> TaskExecution | None:
    """What is said of the newest execution in these books; of a task, or of the only one."""
    mapping = mapping_of(TaskExecution)
    where, values = ("", ()) if task_id is None else (" WHERE task_id = ?", (task_id,))
    found = db.execute(f"{mapping.select_sql}{where} ORDER BY number DESC LIMIT 1", values).fetchone()
    return None if found is None else mapping.decode(found)


def look(path: Path) -> tuple[TaskRow, TaskExecution] | None:
    """Which task a file's books are of, and how its execution stands; None for other books, and for such as are not made yet."""
    if not path.exists():  # a kill may have come between the folder and its books
        return None
    mapping = mapping_of(TaskRow)
    try:
        with one_moment(path) as db:
            execution = read_execution(db)
            if execution is None:
                return None
            row = db.execute(f"{mapping.select_sql} WHERE task_id = ?", (execution.task_id,)).fetchone()
            return mapping.decode(row), execution
    except StoreEmpty:
        return None
