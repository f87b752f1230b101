"""A batch of groups on its way into one transaction.

Within a batch only the newest version of a row needs writing, and only the last few checkpoints of an owner: nobody can
see what was in between, because all of it becomes durable in the same moment. The journal gets every record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from tradekeel.domain.records import Group, Record, encode_record, record_type
from tradekeel.domain.rows import Checkpoint, MetricsCheckpoint
from tradekeel.storage.backend import Backend, Connection, Rows
from tradekeel.storage.checksums import checkpoint_crc, journal_crc
from tradekeel.storage.journal import LAST
from tradekeel.storage.rows import IDENTITY, Mapping, mappings

INSERT_JOURNAL = (
    "INSERT INTO journal (execution, sequence, type, ts_ns, correlation_id, payload, crc) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
INSERT_CHECKPOINT = (
    "INSERT INTO checkpoints (execution, owner, sequence, position, inbox, ts_ns, version, state, crc) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Written(NamedTuple):
    """The journal numbers of a durable group, both included. A group without records has ``first == last + 1``."""

    first: int
    last: int


class Refusal(ValueError):
    """A group contradicts what is stored, in a way that no constraint can express."""


SENDER_ERRORS: tuple[type[Exception], ...] = (
    msgspec.MsgspecError,
    OverflowError,  # a number beyond 64 bits
    TypeError,
    ValueError,  # not a number, not a character
    AttributeError,  # not a row at all
    KeyError,
)
"""What only a bug in a group's sender can raise, beside what its database says: a value that cannot be stored at all."""


_IDENTITY: dict[type[Struct], Callable[[Any], Any]] = {
    row_type: attrgetter(*names) for row_type, names in IDENTITY.items() if names
}


def journal_values(execution: str, sequence: int, record: Record) -> tuple[Any, ...]:
    """A record as a row of the journal, in the order of its columns."""
    type_, payload = record_type(record), encode_record(record)
    crc = journal_crc(execution, sequence, type_, record.ts_ns, record.correlation_id, payload)
    return (execution, sequence, type_, record.ts_ns, record.correlation_id, payload, crc)


class WrittenTables:
    """What was asked of the database for the rows of a batch."""

    def __init__(self) -> None:
        self.rows: list[tuple[Mapping[Any], Sequence[tuple[Any, str]], Rows]] = []
        self.last: dict[str, Rows] = {}

    def check(self) -> None:
        """Raises Refusal where a row is not there now."""
        for mapping, rows, answer in self.rows:
            if answer.rowcount != len(rows):
                # An upsert that finds another thing under the same key changes nothing, and nothing else does not count.
                keys = ", ".join(str(mapping.key(row)) for row, _ in rows[:3])
                raise Refusal(
                    f"{mapping.table.name}: something else is stored under one of the keys {keys}{' …' if len(rows) > 3 else ''}"
                )


class Batch:
    """Groups sorted by table. Nothing touches the database before :meth:`write`."""

    def __init__(self, groups: Sequence[Group], checkpoints_kept: int) -> None:
        self.groups = groups
        self.checkpoints_written: Counter[tuple[str, str]] = Counter()
        self.metrics_written: set[str] = set()
        self._kept = checkpoints_kept
        self._rows: dict[type[Struct], list[tuple[Any, str]]] = {}
        self._newest: dict[type[Struct], dict[tuple[Any, ...], tuple[Any, str]]] = {}
        for group in groups:
            for row in group.rows:
                self._add(row, group.execution)

    def _add(self, row: Any, execution: str) -> None:
        row_type = type(row)
        mapping = mappings()[row_type]
        if not mapping.versioned:
            self._rows.setdefault(row_type, []).append((row, execution))
            if row_type is MetricsCheckpoint:
                self.metrics_written.add(row.execution)
            return
        newest = self._newest.setdefault(row_type, {})
        key = mapping.key(row)
        known = newest.get(key)
        if known is not None:
            identity = _IDENTITY.get(row_type)
            if identity is not None and identity(known[0]) != identity(row):
                raise Refusal(f"two different {mapping.table.name} have the key {key}")
        newest[key] = (row, execution)

    def write(self, db: Connection, backend: Backend, halfway: Callable[[], None]) -> list[Written]:
        """Write everything within the open transaction; ``halfway`` is called between the tables and the journal."""
        tables = self.write_tables(db, backend)
        tables.check()
        halfway()
        return self.write_journal(db, tables)

    def write_tables(self, db: Connection, backend: Backend) -> WrittenTables:
        """The rows, and the question how far the journals are. What came of it is known when the exchange is over."""
        done = WrittenTables()
        for row_type, mapping in mappings().items():
            rows = self._rows.get(row_type) if not mapping.versioned else list(self._newest.get(row_type, {}).values())
            if rows:
                encode = mapping.encode
                values = [encode(row, execution) for row, execution in rows]
                done.rows.append((mapping, rows, db.executemany(mapping.insert_sql(backend), values)))
        done.last = {group.execution: db.execute(LAST, (group.execution,)) for group in self.groups}
        return done

    def write_journal(self, db: Connection, tables: WrittenTables) -> list[Written]:
        """The records behind those that there are, and the saved states."""
        last = {execution: answer.fetchone()[0] or 0 for execution, answer in tables.last.items()}
        results: list[Written] = []
        values: list[tuple[Any, ...]] = []
        for group in self.groups:
            execution = group.execution
            sequence = last[execution]
            first = sequence + 1
            for record in group.records:
                sequence += 1
                values.append(journal_values(execution, sequence, record))
            last[execution] = sequence
            results.append(Written(first, sequence))
        if values:
            db.executemany(INSERT_JOURNAL, values)
        self._write_checkpoints(db, results)
        return results

    def _write_checkpoints(self, db: Connection, results: Sequence[Written]) -> None:
        saved: dict[tuple[str, str], list[tuple[Checkpoint, int]]] = {}
        for group, written in zip(self.groups, results, strict=True):
            for checkpoint in group.checkpoints:
                saved.setdefault((checkpoint.execution, checkpoint.owner), []).append((checkpoint, written.last))
        for owner, states in saved.items():
            kept = states[-self._kept :]
            db.executemany(
                INSERT_CHECKPOINT,
                [
                    (c.execution, c.owner, at, c.position, c.inbox, c.ts_ns, c.version, c.state, checkpoint_crc(c, at))
                    for c, at in kept
                ],
            )
            self.checkpoints_written[owner] += len(kept)
