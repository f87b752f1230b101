"""Everything that follows from the journal, deleted. The journal stays, and says so.

Unfinished executions are closed, and a record of each execution says which rows were removed, so that ``verify`` holds. What a
daemon finds then is an account whose last execution is closed: the next one takes over its balance and positions, which
follow from the journal, and no trades.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from typing import NamedTuple

from msgspec import structs

from tradekeel.domain.records import Administered, ExecutionClosed, Group, Record, Removed
from tradekeel.domain.rows import STARTED_FRESH, WIPED, ExecutionRow
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.storage.backend import Backend, Connection, Tool
from tradekeel.storage.batch import Batch
from tradekeel.storage.journal import last_sequence
from tradekeel.storage.referring import indexed_references
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.whose import not_elsewhere

Progress = Callable[[str, int, int], object]


class Wiped(NamedTuple):
    """What was done."""

    executions: int
    closed: tuple[str, ...]  # accounts whose unfinished execution was closed
    deleted: dict[str, int]  # rows of each table


def wipe(
    backend: Backend,
    now_ns: int,
    *,
    by: str,
    accounts: Collection[str] | None = None,
    seen: Mapping[str, int] | None = None,
    progress: Progress = lambda step, done, total: None,
    point: Callable[[str], object] = lambda name: None,
) -> Wiped:
    """Delete it in one transaction; of these accounts, or of all but those of other daemons on the same server.

    ``seen`` is what :func:`look` has said before a copy was made: what came behind is in no copy. Raises InputError,
    AlreadyRunning, StoreError.
    """
    try:
        with closing(backend.connect_for_long()) as db:
            backend.make_durable(db)
            db.execute(backend.begin_write)
            try:
                done = _wipe(db, backend, now_ns, by, accounts, seen, progress)
                point("wipe.before_commit")
                db.execute("COMMIT")
                point("wipe.after_commit")
            except BaseException:
                db.rollback()
                raise
    except backend.errors as error:
        raise backend.in_our_words(error, "wiping it") from error
    return done


def look(backend: Backend, accounts: Collection[str] | None = None) -> Mapping[str, int]:
    """Before anything is done: where the journals end of which a wipe would delete something; none where there is nothing to do.

    Raises as :func:`wipe`.
    """
    try:
        with closing(backend.connect_for_long()) as db:
            backend.refuse_all_but_owner(db)
            db.execute(backend.begin_write)
            try:
                runs = _runs(db, backend, accounts)
                deleted = [_delete(db, name, "") for name in _tables()]  # of no execution: is it allowed at all?
                assert not any(deleted)
                if any(run.status == "running" or _has_any(db, run.execution) for run in runs):
                    return _ends(db, runs)
                return {}
            finally:
                db.rollback()
    except backend.errors as error:
        raise backend.in_our_words(error, "wiping it") from error


def _ends(db: Connection, runs: Iterable[ExecutionRow]) -> dict[str, int]:
    return {run.execution: last_sequence(db, run.execution) for run in runs}


def _has_any(db: Connection, execution: str) -> bool:
    return any(
        db.execute(f'SELECT 1 FROM "{name}" WHERE execution = ? LIMIT 1', (execution,)).fetchone()  # noqa: S608
        for name in _tables()
    )


def _runs(db: Connection, backend: Backend, accounts: Collection[str] | None) -> list[ExecutionRow]:
    """The executions meant. Raises InputError for an account that is not there, AlreadyRunning for one that is held."""
    mapping = mapping_of(ExecutionRow)
    known = [mapping.decode(row) for row in db.execute(f"{mapping.select_sql} ORDER BY account, number").fetchall()]
    unknown = sorted(set(accounts or ()) - {run.account for run in known})
    if unknown:
        listed = ", ".join(sorted({run.account for run in known})) or "none"
        raise InputError(f"the books know no account {', '.join(unknown)}; they know {listed}")
    if accounts is None and backend.daemon:
        ours = f"SELECT execution FROM executions WHERE {not_elsewhere(backend)}"  # noqa: S608  # our own words
        meant = {execution for (execution,) in db.execute(ours).fetchall()}
        runs = [run for run in known if run.execution in meant]
    else:
        runs = [run for run in known if accounts is None or run.account in accounts]
    backend.refuse_holders(db, sorted({run.account for run in runs}), Tool.WRITES)
    return runs


def _wipe(
    db: Connection,
    backend: Backend,
    now_ns: int,
    by: str,
    accounts: Collection[str] | None,
    seen: Mapping[str, int] | None,
    progress: Progress,
) -> Wiped:
    runs = _runs(db, backend, accounts)
    if seen is not None and seen != _ends(db, runs):
        raise StoreUnavailable(
            f"{backend}: nothing was deleted, because somebody (a script, a daemon elsewhere) has written into these books while "
            "they were copied, and that is in no copy: do it again"
        )
    groups: list[Group] = []
    deleted = dict.fromkeys(_tables(), 0)
    with indexed_references(db):
        for number, run in enumerate(runs, start=1):
            counts = {name: _delete(db, name, run.execution) for name in _tables()}
            for name, count in counts.items():
                deleted[name] += count
            groups.append(_told(run, counts, now_ns, by))
            progress("deleting", number, len(runs))
    Batch(groups, 1).write(db, backend, lambda: None)
    unfinished = tuple(run.account for run in runs if run.status == "running")
    return Wiped(len(runs), unfinished, {name: count for name, count in deleted.items() if count})


def _tables() -> list[str]:
    """In an order in which nothing is deleted that something else refers to."""
    follow = [str(mapping.table.name) for kind, mapping in mappings().items() if kind is not ExecutionRow]
    return ["checkpoints", *reversed(follow)]


def _delete(db: Connection, table: str, execution: str) -> int:
    return db.execute(f'DELETE FROM "{table}" WHERE execution = ?', (execution,)).rowcount  # noqa: S608  # our own names


def _told(run: ExecutionRow, counts: dict[str, int], now_ns: int, by: str) -> Group:
    """The journal's record of it, whether there was anything to delete or not."""
    records: list[Record] = []
    rows: list[ExecutionRow] = []
    if run.status == "running" or (run.mode.is_a_daemons and run.close_reason != STARTED_FRESH):
        # Also of one that had ended: what the next one took over from it has no fills any more, and counts by itself.
        ended_ns = run.closed_ns or now_ns
        records.append(ExecutionClosed(ts_ns=ended_ns, reason=WIPED))
        rows.append(structs.replace(run, status="closed", closed_ns=ended_ns, close_reason=WIPED))
    listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing was there"
    removed = tuple(Removed(name) for name in counts)
    records.append(
        Administered(ts_ns=now_ns, action=f"wipe: {listed}", rows=sum(counts.values()), by=by, removed=removed)
    )
    return Group(execution=run.execution, records=tuple(records), rows=tuple(rows))
