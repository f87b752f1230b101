"""All of the books on a server as one file, and back: the view of one moment, without a tool of the server's version.

The file is a ZIP archive. Each table is a member in PostgreSQL's text format for COPY, which every version reads; the last
member, ``header.json``, says which schema they have, in which order they are loaded, and of each table its columns, its rows
and a SHA-256. What the server computes by itself is not in it. Amounts are the exact numbers as text.

Restoring takes an empty database: the schema is made as of the copy, by the same migrations, and all rows are loaded in the same
transaction. Every checksum, every number of rows and every reference is checked before it is committed.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import psycopg
from msgspec import Struct
from psycopg import sql

from tradekeel.errors import InputError, StoreCorrupt, StoreUnavailable
from tradekeel.storage.backend import RESTORE
from tradekeel.storage.checksums import journal_crc
from tradekeel.storage.files import file_at, give_name, made_twice, sync, writing
from tradekeel.storage.postgres.changing import refuse_replaced
from tradekeel.storage.postgres.rights import SCHEMA

if TYPE_CHECKING:
    from tradekeel.storage.files import Progress

FORMAT = "tradekeel-books-1"
HEADER = "header.json"
HEADER_BYTES_MAX = 4 * 1024 * 1024
COMPRESSION = 3  # of zlib's nine: beyond it, a few per cent cost twice the time
CHUNK_BYTES = 1024 * 1024


class DumpedTable(Struct, frozen=True):
    """One table of a copy."""

    name: str
    member: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str


class DumpHeader(Struct, frozen=True):
    """What a copy says of itself."""

    format: str
    source: str
    server: str
    revision: str
    tables: tuple[DumpedTable, ...]  # none before one that it refers to


# --- out -------------------------------------------------------------------------------------------------------------


def dump(raw: psycopg.Connection[Any], source: str, target: Path, progress: Progress | None = None) -> DumpHeader:
    """Write all tables to ``target``, on the disk when this returns; a half-made file never bears the name.

    The file is for its maker alone. ``progress`` is called after each piece, in bytes; what it raises ends the copy. Nobody who
    writes waits for it. StoreUnavailable for a file that exists, or cannot be written; raises what the driver raises.
    """
    if os.path.lexists(target):
        raise StoreUnavailable(f"{target} exists already: a backup is never overwritten. Choose another name.")
    partial = target.with_name(target.name + ".partial")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            ours = file_at(file.fileno())  # no other file has these as long as it is open
            try:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
                    header = _dump_all(raw, source, target, archive, progress)
                file.flush()
                os.fsync(file.fileno())
                if file_at(partial) != ours:
                    raise made_twice(target)
                give_name(partial, target)
                sync(target.parent)
            finally:
                if file_at(partial) == ours:
                    partial.unlink(missing_ok=True)
    return header


def _dump_all(
    raw: psycopg.Connection[Any], source: str, target: Path, archive: zipfile.ZipFile, progress: Progress | None
) -> DumpHeader:
    raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        names = _in_order(raw)
        [(total,)] = raw.execute(
            "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c "
            "WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'",
            (SCHEMA,),
        )
        done = 0

        def moved(size: int) -> None:
            nonlocal done
            done += size
            if progress is not None:
                progress(min(done, total), total)

        def still_there() -> None:
            refuse_replaced(raw.execute, source, f"copying it to {target}, which was not made")

        dumped: list[DumpedTable] = []
        for number, name in enumerate(names, start=1):
            still_there()
            dumped.append(_dump_table(raw, name, number, archive, moved))
        [(revision,)] = raw.execute(
            sql.SQL("SELECT version_num FROM {}.alembic_version").format(sql.Identifier(SCHEMA))
        )
        [(server,)] = raw.execute("SHOW server_version")
        _refuse_damaged(raw, source, target)
        still_there()
    finally:
        raw.execute("ROLLBACK")
    header = DumpHeader(FORMAT, source, server, revision, tuple(dumped))
    archive.writestr(HEADER, msgspec.json.format(msgspec.json.encode(header), indent=1))
    if progress is not None:
        progress(total, total)
    return header


def _dump_table(
    raw: psycopg.Connection[Any], name: str, number: int, archive: zipfile.ZipFile, moved: Callable[[int], None]
) -> DumpedTable:
    columns = _columns(raw, name)
    member = f"{number:02}-{name}.copy"
    rows = size = 0
    digest = sha256()
    statement = sql.SQL("COPY {}.{} ({}) TO STDOUT").format(
        sql.Identifier(SCHEMA), sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with archive.open(member, "w", force_zip64=True) as out, raw.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in _large(copy):
            out.write(piece)
            digest.update(piece)
            rows += piece.count(b"\n")  # a line end within a value is written as \n, in two letters
            size += len(piece)
            moved(len(piece))
    return DumpedTable(name, member, tuple(columns), rows, size, digest.hexdigest())


def _refuse_damaged(raw: psycopg.Connection[Any], source: str, target: Path) -> None:
    """StoreCorrupt for a record whose checksum is off: a copy of it could never be put back.

    Some five seconds for a million records. That the tables follow from them is for a restore, or for `verify`, to prove.
    """
    with raw.cursor(name="records") as records:
        records.itersize = RECORDS_AT_ONCE
        records.execute(_RECORDS)
        for *values, crc in records:
            if journal_crc(*values) != crc:
                raise StoreCorrupt(
                    f"{source} is damaged (copying it to {target}, which was not made: record {values[1]} of execution "
                    f"{values[0]} has a checksum that is off). {RESTORE}"
                )


RECORDS_AT_ONCE = 500
_RECORDS = f"SELECT execution, sequence, type, ts_ns, correlation_id, payload, crc FROM {SCHEMA}.journal"  # noqa: S608  # a constant


def _large(copy: Any) -> Iterator[bytes]:
    """Pieces that are worth a call: the server sends row by row."""
    pieces: list[bytes] = []
    size = 0
    for piece in copy:
        pieces.append(bytes(piece))
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _columns(raw: psycopg.Connection[Any], name: str) -> list[str]:
    """Those that hold something of their own, in their order."""
    found = raw.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass "
        "AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum",
        (SCHEMA, name),
    )
    return [column for (column,) in found]


def _in_order(raw: psycopg.Connection[Any]) -> list[str]:
    """All tables, none before one that it refers to."""
    names = [
        name
        for (name,) in raw.execute(
            "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' ORDER BY 1",
            (SCHEMA,),
        )
    ]
    needs: dict[str, set[str]] = {name: set() for name in names}
    for child, parent in raw.execute(
        "SELECT a.relname, b.relname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class a ON a.oid = k.conrelid "
        "JOIN pg_catalog.pg_class b ON b.oid = k.confrelid "
        "WHERE k.connamespace = %s::regnamespace AND k.contype = 'f' AND a.oid <> b.oid",
        (SCHEMA,),
    ):
        needs[child].add(parent)
    ordered: list[str] = []
    while len(ordered) < len(names):
        ready = [name for name in names if name not in ordered and needs[name] <= set(ordered)]
        if not ready:
            raise AssertionError(f"tables refer to each other in a circle: {sorted(set(names) - set(ordered))}")
        ordered.extend(ready)
    return ordered


# --- and back --------------------------------------------------------------------------------------------------------


SQLITE_HEAD = b"SQLite format 3\0"


@contextmanager
def opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, DumpHeader]]:
    """A copy and what it says of itself. StoreCorrupt for a file that is none; raises OSError."""
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive, read_header(archive, source)
    except zipfile.BadZipFile as error:
        with source.open("rb") as file:
            if file.read(len(SQLITE_HEAD)) == SQLITE_HEAD:
                raise InputError(
                    f"{source} is a copy of books in a file, and these are on a server: bring them over with "
                    "`tradekeel db export` there and `tradekeel db import` here"
                ) from error
        raise StoreCorrupt(f"{source} is damaged, or no copy of books: {error}") from error
    except (zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{source} is damaged, or no copy of books: {error}") from error


def read_header(archive: zipfile.ZipFile, source: Path) -> DumpHeader:
    """What a copy says of itself. StoreCorrupt where it says nothing, or nothing that we know."""
    try:
        if archive.getinfo(HEADER).file_size > HEADER_BYTES_MAX:
            raise StoreCorrupt(f"{source}: its {HEADER} is too large to be one of ours")
        header = msgspec.json.decode(archive.read(HEADER), type=DumpHeader)
    except (KeyError, msgspec.DecodeError) as error:
        raise StoreCorrupt(f"{source} is no copy of books on PostgreSQL: {error}") from error
    if header.format != FORMAT:
        raise StoreCorrupt(f"{source} has the format {header.format}; this version reads {FORMAT}")
    return header


def load(
    raw: psycopg.Connection[Any],
    archive: zipfile.ZipFile,
    header: DumpHeader,
    source: Path,
    progress: Progress | None = None,
) -> None:
    """Load all rows into the tables of the same schema, within the open transaction.

    What the making of the schema has written itself is replaced. StoreCorrupt where something is not what the header says.
    """
    total, done = sum(table.bytes for table in header.tables), 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    for table in header.tables:
        raw.execute(sql.SQL("DELETE FROM {}").format(_named(table)))
        try:
            with archive.open(table.member) as rows:
                _load_table(raw, table, rows, source, moved)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.UndefinedColumn, KeyError) as error:
            raise StoreCorrupt(
                f"{source} is damaged ({table.member}: {' '.join(str(error).split())}). Nothing was restored."
            ) from error
        _number_on(raw, table)


def _load_table(
    raw: psycopg.Connection[Any],
    table: DumpedTable,
    source: IO[bytes],
    path: Path,
    moved: Callable[[int], None],
) -> None:
    digest = sha256()
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        _named(table), sql.SQL(", ").join(map(sql.Identifier, table.columns))
    )
    with raw.cursor() as cursor:
        with cursor.copy(statement) as copy:
            while piece := source.read(CHUNK_BYTES):
                copy.write(piece)
                digest.update(piece)
                moved(len(piece))
        loaded = cursor.rowcount
    if digest.hexdigest() != table.sha256 or loaded != table.rows:
        raise StoreCorrupt(
            f"{path} is damaged: {table.member} has {loaded} rows and the checksum {digest.hexdigest()[:12]}…, and its header "
            f"says {table.rows} and {table.sha256[:12]}…. Nothing was restored."
        )


def _number_on(raw: psycopg.Connection[Any], table: DumpedTable) -> None:
    """Rows that are numbered as they come are numbered on from the highest."""
    if "id" not in table.columns:
        return
    sequence = raw.execute("SELECT pg_get_serial_sequence(%s, 'id')", (f"{SCHEMA}.{table.name}",)).fetchone()
    if sequence is None or sequence[0] is None:
        return
    raw.execute(
        sql.SQL("SELECT setval(%s::regclass, coalesce(max(id), 1), max(id) IS NOT NULL) FROM {}").format(_named(table)),
        (sequence[0],),
    )


def _named(table: DumpedTable) -> sql.Composed:
    return sql.SQL("{}.{}").format(sql.Identifier(SCHEMA), sql.Identifier(table.name))
