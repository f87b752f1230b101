"""Proof that the books agree with themselves.

``verify`` reads everything once, in one consistent read transaction that does not stop a running daemon: the structure of the
file, every reference, every checksum, every number of every journal. Then it folds each journal with the same code that the
daemon books with (:mod:`tradekeel.domain.book`) and compares what comes out with the tables, row by row and column by column
(:mod:`tradekeel.storage.comparing`). Its memory follows the open business, so that it can run beside a daemon on a small server.

While it runs, the write-ahead log of a busy daemon cannot be cut back; it grows until the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel.domain.counting import counted
from tradekeel.domain.records import Administered, Record, record_type, record_type_of
from tradekeel.domain.rows import Checkpoint, MetricsCheckpoint
from tradekeel.errors import StoreCorrupt, StoreUnavailable
from tradekeel.storage import schema
from tradekeel.storage.archives import archives_of
from tradekeel.storage.archiving.proving import Behind, default_folder, prove
from tradekeel.storage.backend import Backend, Connection, backend_at
from tradekeel.storage.checksums import checkpoint_crc, metrics_crc
from tradekeel.storage.comparing import PAGE_ROWS, Removal, Tables
from tradekeel.storage.journal import FOLD_ERRORS, JournalRow, decoded, fault_of, last_sequence

FINDINGS_MAX = 200
"""Findings that are spelled out; the rest is counted. One lost record can show in thousands of rows."""

REPORT_ROWS = 10_000
"""How often progress is told, in journal records."""

VerifyProgress = Callable[[str, int, int], None]
"""Called with the name of the step, what is done of it and what there is in all."""


class Difference(Struct, frozen=True):
    """One column of one row that is not what the journal says. ``column`` "" means the whole row."""

    table: str
    key: str
    column: str
    expected: str | None  # None: the row should not be there, or the column should be empty
    found: str | None

    def __str__(self) -> str:
        if not self.column:
            return (
                f"{self.table} {self.key}: {'is missing' if self.found is None else 'follows from no journal record'}"
            )
        return f"{self.table} {self.key}: {self.column} is {self.found}, the journal says {self.expected}"


IN_SHORT_MAX = 5
"""Findings that a refusal spells out."""


class Verdict(Struct, frozen=True):
    """What was found. ``problems`` are about the file and the journal, ``differences`` about the tables."""

    path: str
    executions: int
    records: int
    rows: int
    problems: tuple[str, ...]
    differences: tuple[Difference, ...]
    left_off: int  # further findings beyond those spelled out
    notes: tuple[str, ...] = ()  # what could not be looked at, and is not wrong for that

    @property
    def ok(self) -> bool:
        """Whether the books agree with themselves."""
        return not self.problems and not self.differences

    def in_short(self) -> str:
        """The first few findings, for a refusal."""
        found = [*self.problems, *map(str, self.differences)]
        more = len(found) - IN_SHORT_MAX + self.left_off
        return "; ".join(found[:IN_SHORT_MAX]) + (f"; and {more} more" if more > 0 else "")

    def lines(self) -> list[str]:
        """The verdict as sentences."""
        read = (
            f"{counted(self.records, 'journal record')} and {counted(self.rows, 'row')} of "
            f"{counted(self.executions, 'execution')} read"
        )
        if self.ok:
            return [f"{self.path}: {read}; everything agrees", *self.notes]
        found = [*self.problems, *(str(difference) for difference in self.differences)]
        more = [f"and {self.left_off} more"] if self.left_off else []
        return [f"{self.path}: {read}; the books do not agree", *found, *more, *self.notes]


class _Findings:
    """Collects what is wrong, within bounds."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.differences: list[Difference] = []
        self.notes: list[str] = []
        self.left_off = 0
        self.records = 0
        self.rows = 0

    def verdict(self, backend: Backend, executions: int) -> Verdict:
        return Verdict(
            str(backend),
            executions,
            self.records,
            self.rows,
            tuple(self.problems),
            tuple(self.differences),
            self.left_off,
            tuple(self.notes),
        )

    def _has_room(self) -> bool:
        room = len(self.problems) + len(self.differences) < FINDINGS_MAX
        self.left_off += not room
        return room

    def problem(self, text: str) -> None:
        if self._has_room():
            self.problems.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def differs(self, table: str, key: Any, column: str, expected: Any, found: Any) -> None:
        if self._has_room():
            self.differences.append(Difference(table, _shown(key), column, _shown(expected), _shown(found)))


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return "/".join(str(part) for part in value)
    return str(value)


def silent(step: str, done: int, total: int) -> None:
    """Nobody is watching."""


def verify(
    place: Backend | Path,
    progress: VerifyProgress = silent,
    *,
    page_rows: int = PAGE_ROWS,
    archives: Path | None = None,
) -> Verdict:
    """Check everything. Damage is a verdict, not an error. How many rows are looked up together makes no difference to it.

    ``archives`` is the folder where what was moved out of the books is looked for; of books in a file that is the one beside
    them, unless it is said.

    Raises StoreUnavailable where there is nothing that can be read, StoreTooNew for a file of a newer version, StoreCorrupt for
    one that is not a store at all.
    """
    backend = backend_at(place)
    if not backend.exists():
        raise StoreUnavailable(f"there is no database at {backend} yet: start the daemon with `tradekeel run` first")
    findings = _Findings()
    executions = 0
    try:
        with closing(backend.connect(read_only=True)) as db:
            db.execute(backend.begin_read)
            schema.refuse_other(schema.standing_of(db.execute, backend), backend)
            executions = _check(db, backend, findings, progress, page_rows, archives)
            backend.refuse_replaced(db, "verifying it")
    except backend.errors as error:
        meant = backend.in_our_words(error, "verifying it")
        if not isinstance(meant, StoreCorrupt):
            raise meant from error  # what cannot be read is not known to be damaged
        findings.problem(str(meant))
    return findings.verdict(backend, executions)


def verify_within(
    db: Connection,
    backend: Backend,
    progress: VerifyProgress = silent,
    *,
    page_rows: int = PAGE_ROWS,
    archives: Path | None = None,
) -> Verdict:
    """The same within a transaction that is open: what it has written is proved before anybody else sees it."""
    findings = _Findings()
    return findings.verdict(backend, _check(db, backend, findings, progress, page_rows, archives))


def _check(
    db: Connection,
    backend: Backend,
    findings: _Findings,
    progress: VerifyProgress,
    page_rows: int,
    archives: Path | None,
) -> int:
    folder = archives or default_folder(backend)
    _check_structure(db, backend, findings, progress)
    executions = _executions(db)
    for number, execution in enumerate(executions, start=1):
        behind = _behind_archives(db, backend, execution, folder, findings, progress)
        _check_execution(db, backend, execution, behind, findings, progress, page_rows)
        _check_saved_states(db, execution, findings)
        progress("executions", number, len(executions))
    return len(executions)


def _behind_archives(
    db: Connection, backend: Backend, execution: str, folder: Path | None, findings: _Findings, progress: VerifyProgress
) -> Behind | None:
    try:
        rows = archives_of(db, backend, execution)
    except StoreCorrupt as error:
        findings.problem(str(error))
        return None
    return prove(rows, folder, findings, progress)


def _check_structure(db: Connection, backend: Backend, findings: _Findings, progress: VerifyProgress) -> None:
    progress("file", 0, 2)
    for text in backend.damage(db, FINDINGS_MAX):
        findings.problem(f"the file is damaged: {text}")
    progress("file", 1, 2)
    for text in backend.broken_references(db):
        findings.problem(text)
    progress("file", 2, 2)


def _executions(db: Connection) -> list[str]:
    """Everything that has a journal or a row, without reading the whole journal for it."""
    found = {name for (name,) in db.execute("SELECT execution FROM executions")}
    name = ""
    while True:
        name = db.execute("SELECT min(execution) FROM journal WHERE execution > ?", (name,)).fetchone()[0]
        if name is None:
            return sorted(found)
        found.add(name)


# --- the journal and its fold ----------------------------------------------------------------------------------------


def _check_execution(
    db: Connection,
    backend: Backend,
    execution: str,
    behind: Behind | None,
    findings: _Findings,
    progress: VerifyProgress,
    page_rows: int,
) -> None:
    if behind is None:
        findings.problem(f"the tables of execution {execution} were not compared, because its archives are damaged")
        return
    book, folded = behind.book, behind.last
    tables = Tables(db, backend, execution, page_rows, _removals(db, execution))
    for row in behind.kept.rows():
        tables.take(row, folded)
    total = last_sequence(db, execution)
    is_sound = True
    for record in _sound_records(db, execution, folded, findings, total, progress):
        if record is None:
            is_sound = False
        elif is_sound:
            folded += 1
            try:
                rows = book.apply(record)
                for removed in record.removed if isinstance(record, Administered) else ():
                    tables.forget(removed)
            except FOLD_ERRORS as error:
                is_sound = False
                findings.problem(
                    f"record {folded} of execution {execution} does not follow from those before it: {error}"
                )
                continue
            for row in rows:
                tables.take(row, folded)
    if is_sound:
        tables.tell(findings)
    else:
        findings.problem(f"the tables of execution {execution} were not compared, because its journal is damaged")


def _removals(db: Connection, execution: str) -> list[Removal]:
    """What people removed, from the whole journal. A damaged record is left to who reads it in its turn."""
    found: list[Removal] = []
    for row in db.stream(
        "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal WHERE execution = ? AND type = ? "
        "ORDER BY sequence",
        (execution, record_type_of(Administered)),
    ):
        record = decoded(execution, row)
        if isinstance(record, Administered):
            found.extend((row[0], removed) for removed in record.removed)
    return found


def _sound_records(
    db: Connection, execution: str, after: int, findings: _Findings, total: int, progress: VerifyProgress
) -> Iterator[Record | None]:
    """Every record in order, behind those that were archived; None in the place of one that is damaged or missing."""
    expected = after
    rows: Iterator[JournalRow] = db.stream(
        "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal WHERE execution = ? ORDER BY sequence",
        (execution,),
    )
    for row in rows:
        expected += 1
        findings.records += 1
        record = _record_of(execution, expected, row)
        if isinstance(record, str):
            findings.problem(record)
            expected = row[0]
            yield None
        else:
            yield record
        if findings.records % REPORT_ROWS == 0:
            progress(f"journal of {execution}", expected, total)
    progress(f"journal of {execution}", expected, total)


def _record_of(execution: str, expected: int, row: JournalRow) -> Record | str:
    fault = fault_of(execution, expected, row)
    if fault is not None:
        return fault
    record = decoded(execution, row)
    if isinstance(record, str):
        return record
    if (row[1], row[2], row[3]) != (record_type(record), record.ts_ns, record.correlation_id):
        return f"record {expected} of execution {execution}: its columns and its content disagree"
    return record


# --- saved states ----------------------------------------------------------------------------------------------------


def _check_saved_states(db: Connection, execution: str, findings: _Findings) -> None:
    last = last_sequence(db, execution)
    for owner, sequence, position, inbox, ts_ns, version, state, crc in db.stream(
        "SELECT owner, sequence, position, inbox, ts_ns, version, state, crc FROM checkpoints WHERE execution = ?",
        (execution,),
    ):
        findings.rows += 1
        saved = Checkpoint(
            execution=execution,
            owner=owner,
            position=position,
            inbox=inbox,
            ts_ns=ts_ns,
            version=version,
            state=state,
        )
        where = f"the checkpoint of {owner} at record {sequence} of execution {execution}"
        if checkpoint_crc(saved, sequence) != crc:
            findings.problem(f"{where} is damaged (its checksum is off)")
        elif max(sequence, inbox) > last:
            findings.problem(f"{where} is ahead of the journal, which ends at record {last}")
    for ts_ns, data, crc in db.stream(
        "SELECT ts_ns, data, crc FROM metrics_checkpoints WHERE execution = ?", (execution,)
    ):
        findings.rows += 1
        if metrics_crc(MetricsCheckpoint(execution=execution, ts_ns=ts_ns, data=data)) != crc:
            findings.problem(f"the metrics saved at {ts_ns} in execution {execution} are damaged (the checksum is off)")
