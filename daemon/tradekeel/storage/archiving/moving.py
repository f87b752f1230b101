"""Moves old journal and finished rows out of the books, piece by piece, each piece in one transaction of its own.

A piece is read, folded, compared with the tables and written to its file, which is on the disk before anything is deleted;
then the rows go, and a row of ``journal_archives`` says where they are. A process that is killed leaves the books without
that piece moved, or with it. A whole file that no row names stays where it is: another copy of the books may have made it.
The last record of an execution always stays.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tradekeel.domain.book import Book
from tradekeel.domain.messages import Fill
from tradekeel.domain.orders import Order
from tradekeel.domain.positions import Position
from tradekeel.domain.records import Administered, LatchChanged, Record, decode_record, record_type_of
from tradekeel.domain.rows import ACCOUNT_OWNER, STARTED_FRESH, WIPED, ExecutionRow, Latch, Mode
from tradekeel.errors import StoreCorrupt, StoreUnavailable
from tradekeel.storage import schema
from tradekeel.storage.archives import (
    INSERT,
    REPLACE,
    ArchiveRow,
    Figures,
    Kept,
    archives_of,
    encode_kept,
    newest_archive,
)
from tradekeel.storage.archiving.file import JOURNAL, PARTIAL, ArchiveWriter, Header, Made, columns_of
from tradekeel.storage.archiving.segments import LISTED, MOVED, Rows, Versions, finished, removed_since
from tradekeel.storage.archiving.sums import Began, figures_with
from tradekeel.storage.backend import Backend, Connection, Tool
from tradekeel.storage.comparing import compared_by
from tradekeel.storage.files import writing
from tradekeel.storage.journal import FOLD_ERRORS, JournalRow, fault_of, last_sequence
from tradekeel.storage.referring import indexed_references
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.whose import not_elsewhere

RECORDS_MAX = 20_000
"""Records of one file: what follows from so many is held in memory."""

_NO_RECORDS = f"{0:010}-{0:010}"
PAGE_ROWS = 2_000
TOLD_EVERY = 5_000

_JOURNAL = (
    "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal WHERE execution = ? AND sequence > ? "
    "AND sequence <= ? ORDER BY sequence"
)

Progress = Callable[[str, int, int], None]


class Moved(NamedTuple):
    """One piece."""

    row: ArchiveRow
    account: str
    path: Path


def archive(
    backend: Backend,
    before_ns: int,
    folder: Path,
    now_ns: int,
    *,
    is_default: bool = True,
    records_max: int = RECORDS_MAX,
    progress: Progress = lambda step, done, total: None,
    point: Callable[[str], object] = lambda name: None,
) -> list[Moved]:
    """Move what is older than ``before_ns`` into ``folder``; what was moved, in order.

    ``is_default`` says that the folder is where archives are looked for by their names alone. Raises StoreError, AlreadyRunning:
    then the pieces before are moved, and the rest is as it was.
    """
    moved: list[Moved] = []
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with closing(backend.connect_for_long()) as db:
            backend.make_durable(db)
            backend.refuse_all_but_owner(db)
            mapping = mapping_of(ExecutionRow)
            which = (
                f"WHERE {not_elsewhere(backend)}" if backend.daemon else ""
            )  # another daemon's go into its own folder
            asked = f"{mapping.select_sql} {which} ORDER BY account, number"
            runs = [mapping.decode(row) for row in db.execute(asked).fetchall()]
            for run in runs:
                if run.mode is Mode.MANUAL:  # what people wrote down is theirs to remove
                    continue
                first = Figures(opening=run.opening_balance, strategies=_strategies_before(db, backend, run, runs))
                piece = _Piece(
                    db, backend, run, first, before_ns, folder, now_ns, is_default, records_max, progress, point
                )
                while (done := piece.move()) is not None:
                    moved.append(done)
    except backend.errors as error:
        raise backend.in_our_words(error, "archiving it") from error
    return moved


def _strategies_before(
    db: Connection, backend: Backend, run: ExecutionRow, runs: Sequence[ExecutionRow]
) -> Mapping[str, tuple[Position, ...]]:
    """What the strategies' fills had come to in the account's executions before this one, as far as those are archived."""
    earlier = [one for one in runs if one.account == run.account and one.number < run.number and one.mode.is_a_daemons]
    if not run.mode.is_a_daemons or not earlier or earlier[-1].close_reason in (STARTED_FRESH, WIPED):
        return {}
    newest = newest_archive(db, backend, earlier[-1].execution)
    return {} if newest is None else newest.figures.strategies


def stem_of(run: ExecutionRow, first: int, last: int) -> str:
    """What a file's name begins with."""
    said = re.sub(r"[^A-Za-z0-9_-]", "_", f"{run.account}-{run.number}-{run.execution}")
    return f"{said}-{first:010}-{last:010}"


class _Piece:
    """The next piece of an execution, again and again."""

    def __init__(
        self,
        db: Connection,
        backend: Backend,
        run: ExecutionRow,
        first: Figures,
        before_ns: int,
        folder: Path,
        now_ns: int,
        is_default: bool,
        records_max: int,
        progress: Progress,
        point: Callable[[str], object],
    ) -> None:
        self._db, self._backend, self._run, self._first, self._before_ns = db, backend, run, first, before_ns
        self._folder, self._now_ns, self._is_default, self._records_max = folder, now_ns, is_default, records_max
        self._progress, self._point = progress, point

    def move(self) -> Moved | None:
        """The next one; None where there is none any more."""
        self._db.execute(self._backend.begin_write)
        try:
            self._backend.refuse_holders(self._db, [self._run.account], Tool.MOVES)
            done = self._move()
            self._point("archive.before_commit")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            raise
        if done is not None:
            self._point("archive.after_commit")
        return done

    def _move(self) -> Moved | None:
        known = archives_of(self._db, self._backend, self._run.execution)
        before = known[-1] if known else None
        begin = before.last if before is not None else 0
        self._sweep()
        last = last_sequence(self._db, self._run.execution)
        end = min(self._end(begin, last), begin + self._records_max)
        if end <= begin:
            return None
        book = before.book_behind() if before is not None else Book()
        kept = before.rows_kept() if before is not None else Kept()
        versions = Versions(kept)
        began = Began(self._first, before.figures if before is not None else None, has_reported=book.cursor > 0)
        header = Header(
            execution=self._run.execution,
            account=self._run.account,
            number=self._run.number,
            first=begin + 1,
            last=end,
            schema=schema.HEAD,
            tables={
                name: tuple((column.name, column.kind.value) for column in columns_of(name))
                for name in (JOURNAL, *(str(mapping_of(kind).table.name) for kind in MOVED))
            },
        )
        with ArchiveWriter(self._folder, stem_of(self._run, begin + 1, end), header) as writer:
            for row, record in self._records(begin, end):
                try:
                    versions.fold(book, record, row[0])
                except FOLD_ERRORS as error:
                    raise self._corrupt(f"record {row[0]} does not follow from those before it: {error}") from error
                writer.write(JOURNAL, (self._run.execution, *row))
                began.look(record)
            tail = self._tail(end, last)
            moved = finished(versions, book, tail, is_over=self._is_over(end, last))
            ranks = self._ranks(moved.get(Order, []))
            for kind, rows in moved.items():
                self._write_rows(writer, kind, rows)
            made = writer.close()
        self._point("archive.file_written")
        made_row = ArchiveRow(
            execution=self._run.execution,
            first=begin + 1,
            last=end,
            name=made.path.name if self._is_default else str(made.path.absolute()),
            sha256=made.sha256,
            size=made.bytes,
            archived_ns=self._now_ns,
            counts=made.counts,
            figures=figures_with(began.figures, kept, versions, moved, removed_since(versions, Fill, tail)),
            book=book.save(),
            kept=encode_kept(versions.without(moved)),
        )
        self._delete(made_row, made, moved, ranks, before)
        return Moved(made_row, self._run.account, made.path)

    # --- how far -------------------------------------------------------------------------------------------------------

    def _end(self, begin: int, last: int) -> int:
        """The last record that may be moved: older than the time, and behind nothing that a running account still needs."""
        ends = [last - 1]
        younger = self._one(
            "SELECT min(sequence) FROM journal WHERE execution = ? AND sequence > ? AND ts_ns >= ?",
            begin,
            self._before_ns,
        )
        if younger is not None:
            # What was written before a feed had said what time it is goes with what follows it.
            ends.append(
                self._one(
                    "SELECT max(sequence) FROM journal WHERE execution = ? AND sequence > ? AND sequence < ? AND ts_ns <> 0",
                    begin,
                    younger,
                )
                or begin
            )
        if self._run.status == "running":
            # Recovery goes on from any of the saved states that there are, but for those of strategies that no longer run.
            saved = self._one(
                "SELECT min(inbox) FROM checkpoints c WHERE execution = ? AND (owner = ? OR owner IN (SELECT strategy FROM "
                "strategies s WHERE s.execution = c.execution AND s.status IN ('active', 'paused')))",
                ACCOUNT_OWNER,
            )
            ends.append(last - 1 if saved is None else saved)
        if self._run.latch is not Latch.OPEN:
            # Who holds the account is told from the record.
            held = self._one(
                "SELECT max(sequence) FROM journal WHERE execution = ? AND type = ?", record_type_of(LatchChanged)
            )
            ends.append(last - 1 if held is None else held - 1)
        return min(ends)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, (self._run.execution, *values)).fetchone()[0]

    def _is_over(self, end: int, last: int) -> bool:
        """Whether the little that is left can touch nothing but what it says itself."""
        return self._run.status == "closed" and end == last - 1

    def _tail(self, end: int, last: int) -> list[Record]:
        """The records behind the piece that may touch any row of it."""
        kind = "" if self._is_over(end, last) else " AND type = ?"
        values = () if self._is_over(end, last) else (record_type_of(Administered),)
        rows = self._db.execute(
            f"SELECT payload FROM journal WHERE execution = ? AND sequence > ?{kind} ORDER BY sequence",  # noqa: S608
            (self._run.execution, end, *values),
        )
        return [decode_record(payload) for (payload,) in rows.fetchall()]

    # --- reading -------------------------------------------------------------------------------------------------------

    def _records(self, begin: int, end: int) -> Iterator[tuple[JournalRow, Record]]:
        expected = begin
        step = f"{self._run.account} #{self._run.number}: journal"
        for row in self._db.stream(_JOURNAL, (self._run.execution, begin, end)):
            expected += 1
            fault = fault_of(self._run.execution, expected, row)
            if fault is not None:
                raise self._corrupt(fault)
            yield row, decode_record(row[4])
            if expected % TOLD_EVERY == 0 or expected == end:
                self._progress(step, expected, end)
        if expected != end:
            raise self._corrupt(f"the journal ends at record {expected}")

    def _write_rows(self, writer: ArchiveWriter, kind: Any, rows: Sequence[Any]) -> None:
        """The rows as the table has them, which must be as they follow from the journal."""
        mapping = mapping_of(kind)
        name = str(mapping.table.name)
        expected = [tuple(mapping.encode(row, self._run.execution)) for row in rows]
        places = [mapping.columns.index(column.name) for column in columns_of(name)]
        for values, found in zip(expected, self._found(kind, rows), strict=True):
            if values != found:
                raise self._corrupt(f"{name} {values[0]} is not what the journal says")
            writer.write(name, [values[place] for place in places])

    def _found(self, kind: Any, rows: Sequence[Any]) -> Iterator[tuple[Any, ...] | None]:
        """The table's rows, in the order of those."""
        mapping = mapping_of(kind)
        if kind in LISTED:
            listed = self._db.execute(
                f"{mapping.select_sql} WHERE execution = ? ORDER BY id LIMIT ?", (self._run.execution, len(rows))
            ).fetchall()
            yield from map(tuple, listed)
            yield from [None] * (len(rows) - len(listed))
            return
        names = compared_by(mapping)
        versions = Versions()
        places = [mapping.columns.index(name) for name in names]
        for start in range(0, len(rows), PAGE_ROWS):
            keys = [versions.key(row) for row in rows[start : start + PAGE_ROWS]]
            page = self._backend.find(self._db, mapping.select_sql, names, self._run.execution, keys)
            there = {tuple(row[place] for place in places): tuple(row) for row in page}
            yield from (there.get(key) for key in keys)

    def _ranks(self, orders: Sequence[Order]) -> list[Sequence[Order]]:
        """Orders in pieces, none of which has one that an order of a later piece is attached to: the children first.

        StoreCorrupt for orders that are attached to each other in a circle: none of them could go first.
        """
        by_id = {order.client_order_id: order for order in orders}
        depths: dict[int, list[Order]] = {}
        for order in orders:
            depth, above = 0, by_id.get(order.parent_id or "")
            while above is not None:
                depth, above = depth + 1, by_id.get(above.parent_id or "")
                if depth > len(orders):
                    raise self._corrupt(f"order {order.client_order_id} is attached to itself, by way of its parents")
            depths.setdefault(depth, []).append(order)
        return [depths[depth] for depth in sorted(depths, reverse=True)]

    def _corrupt(self, what: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self._backend}: execution {self._run.execution} is not archived, because its books do not agree: {what}. Run "
            "`tradekeel verify`"
        )

    # --- deleting ------------------------------------------------------------------------------------------------------

    def _delete(
        self,
        row: ArchiveRow,
        made: Made,
        moved: Rows,
        ranks: Sequence[Sequence[Order]],
        before: ArchiveRow | None,
    ) -> None:
        if before is not None:
            empty = before.emptied()
            self._db.execute(REPLACE, (empty.book, empty.kept, empty.crc(), before.execution, before.first))
        self._db.execute(INSERT, row.values())
        with indexed_references(self._db):
            for kind in reversed(MOVED):
                rows = moved.get(kind, [])
                gone = sum(self._delete_rows(kind, some) for some in (ranks if kind is Order else [rows]))
                self._expect(kind, gone, len(rows))
        with self._backend.journal_open(self._db):
            gone = self._db.execute(
                "DELETE FROM journal WHERE execution = ? AND sequence <= ?", (self._run.execution, row.last)
            ).rowcount
        self._expect(JOURNAL, gone, made.counts[JOURNAL])

    def _delete_rows(self, kind: Any, rows: Sequence[Any]) -> int:
        if not rows:
            return 0
        mapping = mapping_of(kind)
        table = mapping.table.name
        if kind in LISTED:
            last = self._db.execute(
                f'SELECT id FROM "{table}" WHERE execution = ? ORDER BY id LIMIT 1 OFFSET ?',  # noqa: S608  # our own names
                (self._run.execution, len(rows) - 1),
            ).fetchone()[0]
            sql = f'DELETE FROM "{table}" WHERE execution = ? AND id <= ?'  # noqa: S608
            return self._db.execute(sql, (self._run.execution, last)).rowcount
        names = compared_by(mapping)
        versions = Versions()
        sql = f'DELETE FROM "{table}" WHERE execution = ? AND {" AND ".join(f"{name} = ?" for name in names)}'  # noqa: S608
        gone = 0
        for start in range(0, len(rows), PAGE_ROWS):
            keys = [(self._run.execution, *versions.key(row)) for row in rows[start : start + PAGE_ROWS]]
            gone += self._db.executemany(sql, keys).rowcount
        return gone

    def _expect(self, what: Any, gone: int, wanted: int) -> None:
        if gone != wanted:
            raise StoreUnavailable(
                f"{self._backend}: {wanted} rows ({what}) were to be moved, and {gone} were there to be deleted: somebody else "
                "writes into these books"
            )

    # --- files -----------------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """What a killed process was writing. Whole files stay, whoever made them: they may be all that another copy of these
        books has of its history.
        """
        stem = glob.escape(stem_of(self._run, 0, 0).removesuffix(_NO_RECORDS))
        with writing(self._folder):
            for file in self._folder.glob(f"{stem}*{PARTIAL}"):
                file.unlink(missing_ok=True)
