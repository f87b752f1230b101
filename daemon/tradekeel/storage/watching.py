"""The books as whoever publishes them needs them: the journal behind a cursor, and the open trades of one moment.

One connection that only reads, kept open. Each question is a transaction of its own, so that what it sees is of one moment, and
ends with the answer, so that the daemon's log can be cut back. Everything blocks: it belongs into a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec

from tradekeel.domain.records import Record, record_type
from tradekeel.domain.rows import ExecutionRow
from tradekeel.domain.trades import Trade
from tradekeel.errors import StoreCorrupt, named
from tradekeel.ports.publication import Event, OpenTrades, Run
from tradekeel.storage import schema
from tradekeel.storage.archives import last_archived
from tradekeel.storage.backend import RESTORE, Backend, Connection
from tradekeel.storage.journal import last_sequence, read_records
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.whose import ours

EVENT_BYTES_MAX: Final = 1_000_000
"""Of the records that are told at once; one that is larger is told alone."""

IDS_A_QUESTION: Final = 200

_JSON = msgspec.json.Encoder(decimal_format="string")
_IS_RUNNING: Final = "SELECT 1 FROM executions WHERE execution = ? AND status = 'running'"

# The index of the status is the one to go by: of an execution most trades are closed.
_VERSIONS: Final = """
    SELECT trade_id, version FROM trades WHERE status IN ('PENDING', 'OPEN', 'CLOSING') AND execution || '' = ?
"""


class Watch:
    """A look at books that a daemon writes. Raises StoreError where they cannot be read; the next question tries anew."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._db: Connection | None = None

    def close(self) -> None:
        """Let go of the books; again is fine."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(*self._backend.errors):
                db.close()

    def runs(self, accounts: Sequence[str], each_max: int) -> list[Run]:
        """The newest executions of each account, the newest first."""
        where = f"{ours(self._backend)} AND account = ? ORDER BY number DESC LIMIT ?"
        with self._moment() as db:
            rows = [row for account in accounts for row in self._rows(db, ExecutionRow, where, (account, each_max))]
            return [_run(db, row) for row in rows]

    def run(self, execution: str) -> Run | None:
        """One execution; None where the books do not know it."""
        with self._moment() as db:
            for row in self._rows(db, ExecutionRow, "execution = ?", (execution,)):
                return _run(db, row)
        return None

    def events(self, execution: str, after: int, events_max: int) -> list[Event]:
        """The records behind number ``after``, in order and without a gap, at most so many and so large."""
        with self._moment() as db:
            records = (
                []
                if last_sequence(db, execution) <= after
                else read_records(db, self._backend, execution, after, events_max)
            )
        events: list[Event] = []
        size = 0
        for sequence, record in records:
            event = _event(sequence, record)
            size += len(event.record)
            if events and size > EVENT_BYTES_MAX:
                break
            events.append(event)
        return events

    def open_trades(self, execution: str, known: Mapping[str, int]) -> OpenTrades:
        """What is open now, which is nothing in one that is closed; ``known`` are the versions that need not be told again."""
        with self._moment() as db:
            is_running = db.execute(_IS_RUNNING, (execution,)).fetchone() is not None
            versions = dict(db.execute(_VERSIONS, (execution,)).fetchall()) if is_running else {}
            wanted = [trade_id for trade_id, version in versions.items() if known.get(trade_id) != version]
            changed: dict[str, bytes] = {}
            for start in range(0, len(wanted), IDS_A_QUESTION):
                some = wanted[start : start + IDS_A_QUESTION]
                for trade in self._rows(db, Trade, f"trade_id IN ({', '.join('?' * len(some))})", some):
                    changed[trade.trade_id] = _JSON.encode(trade)
            return OpenTrades(last_sequence(db, execution), versions, changed)

    def _rows(self, db: Connection, row_type: Any, where: str, values: Sequence[Any]) -> Iterator[Any]:
        mapping = mapping_of(row_type)
        return map(mapping.decode, db.execute(f"{mapping.select_sql} WHERE {where}", values).fetchall())

    @contextmanager
    def _moment(self) -> Iterator[Connection]:
        backend = self._backend
        try:
            if self._db is None:
                self._db = backend.connect(read_only=True)
                schema.refuse_other(schema.standing_of(self._db.execute, backend), backend)
            self._db.execute(backend.begin_read)
            yield self._db
            self._db.rollback()
        except backend.errors as error:
            self.close()
            raise backend.in_our_words(error, "reading it to publish it") from error
        except (ArithmeticError, UnicodeError) as error:  # amounts that are none, or text
            self.close()
            raise StoreCorrupt(f"{backend} is damaged (reading it to publish it: {named(error)}). {RESTORE}") from error
        except BaseException:
            self.close()
            raise


def _run(db: Connection, row: ExecutionRow) -> Run:
    return Run(row, last_sequence(db, row.execution), last_archived(db, row.execution))


def _event(sequence: int, record: Record) -> Event:
    return Event(sequence, record_type(record), record.ts_ns, record.correlation_id, _JSON.encode(record))
