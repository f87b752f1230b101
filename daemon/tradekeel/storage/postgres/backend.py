"""Where books are on a PostgreSQL server, and how one connects."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

import psycopg
from msgspec import Struct
from sqlalchemy import MetaData, exists, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolIsEmpty

from tradekeel.errors import AlreadyRunning, InputError, StoreBlocked
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend, Connection, Engines, Restored, Restoring, Tool, Values
from tradekeel.storage.backups import Copies, Doing, Heed, last_good
from tradekeel.storage.files import writing
from tradekeel.storage.postgres.changing import (
    refuse_all_but_owner,
    refuse_beside_writers,
    refuse_replaced,
    refuse_without_rights,
    size_of,
    wait_until_alone,
)
from tradekeel.storage.postgres.connection import Impatient, ImpatientReader, PostgresConnection, as_text
from tradekeel.storage.postgres.dump import dump
from tradekeel.storage.postgres.lease import NOW_NS, UNFINISHED, Holder, ended_silently
from tradekeel.storage.postgres.rights import SCHEMA, set_rights
from tradekeel.storage.postgres.words import UNDONE, in_our_words
from tradekeel.storage.whose import A_DAEMONS

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection as SqlConnection
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from tradekeel.errors import StoreError
    from tradekeel.storage.files import Progress
    from tradekeel.storage.schema import Standing

APPLICATION = "tradekeel"


class Limits(Struct, frozen=True, kw_only=True):
    """How long is waited for the server, and how many connections readers may have."""

    connect_timeout_s: float = 5.0
    statement_timeout_s: float = 5.0
    pool_size: int = 10
    pool_overflow: int = 20


class Postgres(Backend):
    """A database on a server, by its URL: ``postgresql://user:password@host:port/database``."""

    name = "postgresql"
    label = "PostgreSQL"
    copy_suffix: ClassVar[str] = ".zip"
    bytewise: ClassVar[str | None] = "C"
    ask_version: ClassVar[str] = "SHOW server_version"
    begin_write: ClassVar[str] = "BEGIN"
    begin_read: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    # Where a row version lies. It stays there as long as a transaction can see it.
    row_number: ClassVar[str] = "((ctid::text::point)[0] * 65536 + (ctid::text::point)[1])::bigint"
    errors = (psycopg.Error, PoolIsEmpty, OSError)
    sender_errors = (
        psycopg.IntegrityError,
        psycopg.DataError,
        psycopg.errors.ProgramLimitExceeded,  # an id too long for an index
    )

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        password: str | None = None,
        replica_url: str | None = None,
        daemon: str | None = None,
        backups: Path | None = None,
        place: str = "",
    ) -> None:
        """Repositories read from the replica, where there is one. ``backups`` is the folder here for
        copies made before migrations, ``place`` tells our own leases from those of others. InputError for a URL that is none.
        """
        self._url = _parsed(url, password)
        self._replica = None if replica_url is None else _parsed(replica_url, password)
        self._limits = limits or Limits()
        self.daemon = daemon
        self._backups, self._place = backups, place

    def __str__(self) -> str:
        return _shown(self._url)

    @property
    def described(self) -> str:
        return str(self)

    @cached_property
    def dialect(self) -> Dialect:
        from sqlalchemy.dialects import postgresql

        return postgresql.dialect(paramstyle="qmark")  # type: ignore[no-untyped-call]  # theirs

    def exists(self) -> bool:
        return True  # only asking the server would tell

    def keep_name(self) -> None:
        """The server has done it."""

    # --- connections -------------------------------------------------------------------------------------------------------

    def connect(self, *, read_only: bool = False) -> PostgresConnection:
        raw = Impatient.connect(autocommit=True, **self._arguments(read_only))
        raw.patience_s = self._patience_s
        as_text(raw)
        return PostgresConnection(raw)

    def connect_for_long(self) -> PostgresConnection:
        db = self.connect()
        db.execute("SET statement_timeout = 0")
        db.raw.patience_s = LONG_S
        return db

    @contextmanager
    def journal_open(self, db: Connection) -> Iterator[None]:
        db.execute("ALTER TABLE journal DISABLE TRIGGER journal_refuses_delete")
        yield
        db.execute("ALTER TABLE journal ENABLE TRIGGER journal_refuses_delete")

    def refuse_holders(self, db: Connection, accounts: Sequence[str], doing: Tool) -> None:
        for account in sorted(accounts):
            # As in held_by: with a row that is there, and held, no daemon can take the account before the end.
            db.execute(
                "INSERT INTO leases (account, daemon, holder, epoch, batch, since_ns, until_ns) VALUES (?, '', ?, 1, 0, 0, 0) "
                "ON CONFLICT DO NOTHING",
                (account, A_SCRIPT),
            )
            daemon, holder, until_ns, left_ns = db.execute(
                f"SELECT daemon, holder, until_ns, until_ns - {NOW_NS} FROM leases "  # noqa: S608  # a constant
                "WHERE account = ? FOR UPDATE",
                (account,),
            ).fetchone()
            if left_ns > 0:
                raise AlreadyRunning(
                    f"{self}: daemon {daemon} on {Holder.of(holder).host} holds the books of account {account}: stop it first "
                    "(tradekeel stop)"
                )
            if doing is Tool.WRITES and until_ns and db.execute(UNFINISHED, (account,)).fetchone():
                raise AlreadyRunning(ended_silently(str(self), account, daemon, holder))
            if holder != A_SCRIPT and doing is not Tool.MOVES:
                db.execute(
                    "UPDATE leases SET holder = ?, epoch = epoch + 1, until_ns = 0 WHERE account = ?",
                    (A_SCRIPT, account),
                )

    def refuse_all_but_owner(self, db: Connection) -> None:
        refuse_all_but_owner(db.execute, str(self))

    def refuse_replaced(self, db: Connection, doing: str) -> None:
        refuse_replaced(db.execute, str(self), doing)

    @property
    def _patience_s(self) -> float:
        return self._limits.statement_timeout_s + 1.0  # the server's own limit comes first

    def _arguments(self, read_only: bool, url: URL | None = None) -> dict[str, Any]:
        timeout_ms = round(self._limits.statement_timeout_s * 1_000)
        settings = {
            "search_path": SCHEMA,
            "statement_timeout": str(timeout_ms),
            "lock_timeout": str(timeout_ms),
            "timezone": "UTC",
            "default_transaction_read_only": "on" if read_only else "off",
        }
        url = url or self._url
        given = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "dbname": unquote(str(url.database)),
        }
        # One by one: what libpq cannot read in a URL it repeats word for word, the password too.
        return {
            **{name: value for name, value in (*url.query.items(), *given.items()) if value is not None},
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "connect_timeout": max(2, round(self._limits.connect_timeout_s)),  # the driver waits for no less
            "application_name": APPLICATION,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": timeout_ms + 1_000,
        }

    def engine(self) -> AsyncEngine:
        from sqlalchemy.ext.asyncio import create_async_engine

        return create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._reading,
            pool_size=self._limits.pool_size,
            max_overflow=self._limits.pool_overflow,
            pool_timeout=self._limits.connect_timeout_s,
            pool_pre_ping=True,  # a server that was started again has forgotten the connections
        )

    async def _reading(self) -> ImpatientReader:
        connection = await ImpatientReader.connect(**self._arguments(read_only=True))
        connection.patience_s = self._patience_s
        as_text(connection)
        return connection

    def make_durable(self, db: Connection) -> None:
        [(is_standby,)] = db.execute("SELECT pg_is_in_recovery()").fetchall()
        if is_standby:
            raise psycopg.errors.ReadOnlySqlTransaction("the server is a standby")
        # The server may acknowledge commits before they are on its disk, if it was set so; references it always enforces.
        if db.execute("SHOW synchronous_commit").fetchone()[0] in ("off", "local"):
            db.execute("SET synchronous_commit = on")

    def last_words(self, db: Connection) -> None:
        with suppress(*self.errors):
            db.close()

    # --- what is there -----------------------------------------------------------------------------------------------------

    def tables(self, execute: Any) -> set[str]:
        found = execute(
            "SELECT c.relname, has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'trading' AND c.relkind IN ('r', 'p')"
        ).fetchall()
        if not all(is_ours for _, is_ours in found):  # else they would only seem not to be there
            raise psycopg.errors.InsufficientPrivilege(f"permission denied for schema {SCHEMA}")
        return {name for name, _ in found}

    def damage(self, db: Connection, findings_max: int, *, quick: bool = False) -> Iterator[str]:
        return iter(())  # the server looks after its pages; what is in the rows has checksums of its own

    def broken_references(self, db: Connection) -> Iterator[str]:
        from tradekeel.storage.postgres.references import broken_references

        return broken_references(db)

    def table_bytes(self, db: Connection) -> dict[str, int]:
        rows = db.execute(
            "SELECT c.relname, pg_catalog.pg_total_relation_size(c.oid) FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'trading' AND c.relkind = 'r'"
        )
        return {str(name): int(size) for name, size in rows}

    def find(
        self, db: Connection, select: str, names: Sequence[str], execution: str, keys: Sequence[Values]
    ) -> Iterator[Any]:
        if not keys:
            return iter(())
        arrays = ", ".join(f"?::{'bigint' if isinstance(value, int) else 'text'}[]" for value in keys[0])
        key = ", ".join(f'"{name}"' for name in names)
        sql = f"{select} WHERE execution = ? AND ({key}) IN (SELECT * FROM unnest({arrays}))"  # noqa: S608  # names of our own tables
        return iter(db.execute(sql, (execution, *(list(column) for column in zip(*keys, strict=True)))))

    # --- migrations --------------------------------------------------------------------------------------------------------

    def copy(self, target: Path, progress: Progress | None = None) -> None:
        try:
            with closing(self._connect_patiently(autocommit=True)) as raw:
                dump(raw, str(self), target, progress)
        except psycopg.Error as error:
            raise self.in_our_words(error, f"copying it to {target}") from error

    def restore(self, copy: Path, when: Restoring) -> Restored:
        from tradekeel.storage.postgres.replacing import put_back

        return put_back(self, copy, when)

    @contextmanager
    def migrating(self, goes_on: Callable[[], object], heed: Heed) -> Iterator[SqlConnection]:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import NullPool

        engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect_patiently,
            poolclass=NullPool,
            isolation_level="READ COMMITTED",  # what somebody else has done while we waited must be seen
        )
        try:
            with engine.connect() as connection, connection.begin():
                wait_until_alone(connection, goes_on, heed)
                yield connection
                goes_on()
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.OperationalError | psycopg.errors.InsufficientPrivilege):
                raise error.orig from error
            raise

    def beyond_tables(self, metadata: MetaData) -> Iterator[str]:
        from tradekeel.storage.postgres import objects

        return objects.statements(metadata)

    def check_migration(self, execute: Any, standing: Standing, *, backup: bool) -> None:
        refuse_without_rights(execute, str(self))
        refuse_beside_writers(execute, str(self), self._place)
        if backup and standing.version is not None:
            copies, needed_bytes = self._kept(), size_of(execute)
            with writing(copies.folder):
                copies.refuse_without_room(needed_bytes)

    @property
    def backup_described(self) -> str:
        return f"{self} is copied into {self._kept().folder}"

    def back_up_before(self, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
        copies = self._kept()
        with closing(self._connect_patiently(autocommit=True)) as raw:
            good = last_good(raw.execute, self.tables(raw.execute))
            with writing(copies.folder):
                copies.forget(kept, good=good)
                backup = copies.name(version, now_ns)
            copying = f"copying {self} to {backup} before it is migrated"

            def goes_on(done: int, total: int) -> None:
                doing(f"{copying}: {done * 100 // max(total, 1)} %")
                heed()

            dump(raw, str(self), backup, goes_on)
        with writing(copies.folder):
            copies.forget(kept, newest=backup.name, good=good)
        return backup.name

    def forget_backups(self, kept: int, *, newest: str) -> None:
        copies = self._kept()
        try:
            copies.forget(kept, newest=newest)
        except OSError as error:
            raise StoreBlocked(
                f"{copies.folder}: old copies cannot be removed ({error.strerror or error}): see that this user may do that. "
                f"{self} was migrated all the same."
            ) from error

    def after_migration(self, connection: SqlConnection) -> tuple[str, ...]:
        return set_rights(connection)

    def _kept(self) -> Copies:
        if self._backups is None:
            raise StoreBlocked(
                f"{self} is copied before it is migrated, and no folder was named for that. Name one, or have the copy made by "
                "other means (pg_dump) and run `tradekeel db upgrade --without-backup`."
            )
        stem = re.sub(r"[^A-Za-z0-9_.]", "_", str(self._url.database))
        return Copies(self._backups, stem, ".zip")

    def _connect_patiently(self, *, autocommit: bool = False) -> psycopg.Connection[Any]:
        """A connection for what takes long: a table of millions of rows takes its time. Locks of others are not waited for."""
        arguments = self._arguments(read_only=False)
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"):
            arguments["options"] += f" -c {name}=0"
        raw = psycopg.connect(autocommit=autocommit, **arguments)
        as_text(raw)
        return raw

    def in_our_words(self, error: Exception, doing: str) -> StoreError:
        return in_our_words(error, str(self), doing)

    # --- for repositories --------------------------------------------------------------------------------------------------

    def engines(self) -> Engines:
        primary = self._pool(self._url, read_only=False)
        return Engines(primary, primary, None if self._replica is None else self._pool(self._replica, read_only=True))

    def _pool(self, url: URL, *, read_only: bool) -> AsyncEngine:
        from sqlalchemy.ext.asyncio import create_async_engine

        async def connected() -> psycopg.AsyncConnection[Any]:
            arguments = self._arguments(read_only, url)
            for name in ("statement_timeout", "lock_timeout"):  # a call has a deadline of its own, be it longer
                arguments["options"] += f" -c {name}={round(WAIT_MAX_S)}s"
            raw = await psycopg.AsyncConnection.connect(autocommit=True, **arguments)
            as_text(raw)
            return raw

        return create_async_engine(
            "postgresql+psycopg://",
            async_creator=connected,
            pool_size=self._limits.pool_size,
            max_overflow=self._limits.pool_overflow,
            pool_timeout=WAIT_MAX_S,
        )

    @property
    def replica(self) -> str | None:
        return None if self._replica is None else _shown(self._replica)

    async def log_position(self, db: AsyncConnection) -> int:
        return int((await db.execute(text("SELECT pg_current_wal_insert_lsn() - '0/0'"))).scalar_one())

    async def has_come(self, db: AsyncConnection, position: int) -> bool:
        # What is named as a replica and is none has everything that it will ever have.
        has = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END"
        asked = text(f"SELECT {has} - '0/0' >= :position")  # a constant
        return bool((await db.execute(asked, {"position": position})).scalar_one())

    async def interrupt(self, raw: Any) -> None:
        with suppress(psycopg.Error, OSError):
            await raw.cancel_safe(timeout=CANCEL_MAX_S)

    def cut_off(self, raw: Any) -> None:
        # The driver waits for this socket: at its end it wakes up, and knows what to do. Closing it would take it from under it.
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(raw.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)

    async def held_by(self, db: AsyncConnection, account: str) -> str | None:
        leases = tables.leases
        ours = leases.c.account == account
        # With a row that is there, and held, no daemon can take the account before this transaction has ended.
        nobody = {"daemon": "", "holder": A_SCRIPT, "epoch": 1, "batch": 0, "since_ns": 0, "until_ns": 0}
        await db.execute(insert(leases).values(account=account, **nobody).on_conflict_do_nothing())
        left_ns = leases.c.until_ns - literal_column(NOW_NS)
        columns = (leases.c.daemon, leases.c.holder, leases.c.until_ns, left_ns.label("left_ns"))
        row = (await db.execute(select(*columns).where(ours).with_for_update())).one()
        who = f"daemon {row.daemon} on {Holder.of(row.holder).host}"
        if row.left_ns > 0:
            return who
        runs = tables.executions.c
        unfinished = exists().where(runs.account == account, runs.status == "running", text(A_DAEMONS))
        if row.until_ns and (await db.execute(select(unfinished))).scalar_one():
            raise AlreadyRunning(ended_silently(str(self), account, row.daemon, row.holder))
        if row.holder != A_SCRIPT:
            # Where there is no run of a daemon to go on with, one that comes back must see that somebody has written since.
            taken = {"holder": A_SCRIPT, "epoch": leases.c.epoch + 1, "until_ns": 0}
            await db.execute(update(leases).where(ours).values(taken))
        return None

    def is_busy(self, error: BaseException | None) -> bool:
        return False  # the server lets those wait who must

    def is_undone(self, error: BaseException | None) -> bool:
        return isinstance(error, UNDONE)

    def refused(self, error: BaseException | None) -> str | None:
        return next((word for kind, word in _REFUSALS if isinstance(error, kind)), None)


LONG_S = 7 * 86_400.0
"""How long somebody who is alone with the books waits for a server that works."""

A_SCRIPT = "a script"
"""Who holds an account that a script was the last to write for; it holds it no longer than its transaction lasts.

Its daemon stays what it was: among several that share a database, the account goes on to be that one's.
"""

WAIT_MAX_S = 3_600.0
"""Whoever waits for a connection, or for an answer in a call of a repository, has a deadline of his own."""

CANCEL_MAX_S = 0.5
"""How long a server may take to hear that a statement is to end."""

_REFUSALS: tuple[tuple[type[Exception], str], ...] = (
    (psycopg.errors.UniqueViolation, "unique"),
    (psycopg.errors.ForeignKeyViolation, "reference"),
    (psycopg.IntegrityError, "rule"),
    (psycopg.DataError, "rule"),
)


def _shown(url: URL) -> str:
    """An address for people, without a password."""
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()


def _parsed(url: str, password: str | None) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number
        raise InputError(f"not the URL of a database; allowed: {_SHAPE}") from None
    if parsed.drivername not in ("postgresql", "postgres") or not parsed.database:
        what = "is no PostgreSQL" if parsed.drivername not in ("postgresql", "postgres") else "names no database"
        raise InputError(f"{_shown(parsed)} {what}: allowed is {_SHAPE}")
    if parsed.port is not None and parsed.port > PORT_MAX:
        raise InputError(f"{_shown(parsed)}: its port is beyond {PORT_MAX}; allowed is {_SHAPE}")
    return parsed.set(drivername="postgresql", password=password or parsed.password)


PORT_MAX = 65_535
_SHAPE = "postgresql://user:password@host:port/database"
