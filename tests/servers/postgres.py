"""PostgreSQL for tests: the wheel's own initdb and postgres, on 127.0.0.1, durable unless a test says otherwise."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from tests.servers.binaries import postgres_home, reachable_postgres
from tests.servers.errors import ServersError
from tests.servers.folders import RunFolder
from tests.servers.process import run as run_to_end
from tests.servers.server import Limited, Server

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "postgres"
ADMIN_DATABASE = "postgres"
CONNECT_TIMEOUT_S = 10
DATABASE_PREFIX = "tk_test_"

SETTINGS: Mapping[str, str] = {
    # What the promise stands on stays as PostgreSQL has it: fsync, synchronous_commit and full_page_writes are on.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # a file in its folder: a killed run leaves nothing in /dev/shm
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}
INITDB = ("--auth=scram-sha-256", "--no-locale", "--encoding=UTF8", "--no-sync", "--no-instructions")
# Connections are made by the thousand, and this password guards nothing for long.
INITDB_SETTINGS = ("--set=scram_iterations=1",)
BASEBACKUP = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-password")
SMALL_INITDB = ("--wal-segsize=1",)
SMALL_SETTINGS: Mapping[str, str] = {"min_wal_size": "2MB", "max_wal_size": "8MB"}

_numbers = itertools.count(1)


class PostgresServer(Server):
    """A cluster of its own."""

    NAME = "postgres"
    STOP = signal.SIGINT  # "fast": sessions are cut, a checkpoint is written

    def __init__(
        self,
        run: RunFolder,
        *,
        settings: Mapping[str, str] | None = None,
        home: Path | None = None,
        copy_of: PostgresServer | None = None,
        room_mb: int | None = None,
        limited: Limited | None = None,
    ) -> None:
        """``settings`` go to the server's command line over those of this module; ``home`` is where its bin and lib are.

        ``copy_of`` is another, running server: this one is a replica of it, which follows it and only reads (``SELECT
        pg_promote()`` ends that). It has the same password.
        """
        super().__init__(run, room_mb=room_mb, limited=limited)
        self.home = reachable_postgres(home or postgres_home(), run)
        self.settings = dict(SETTINGS) | (dict(SMALL_SETTINGS) if self.space else {}) | dict(settings or {})
        self._copy_of = copy_of
        self.password = run.password
        self._made = False

    # --- addresses -----------------------------------------------------------------------------------------------------

    @property
    def admin_url(self) -> str:
        """The superuser's way in, to the database that every cluster has."""
        return self.url(ADMIN_DATABASE)

    def url(self, database: str, *, user: str = SUPERUSER, password: str | None = None, port: int | None = None) -> str:
        """The address of a database; ``port`` is a proxy's, where one stands between."""
        secret = quote(password or self.password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{self.host}:{port or self.port.number}/{database}"

    # --- databases -----------------------------------------------------------------------------------------------------

    def new_database(self) -> str:
        """Make an empty database with a name of its own; its address."""
        return new_database(self.admin_url)

    def drop(self, url: str) -> None:
        """Drop the database of this address, whoever is still connected to it; no such database is fine."""
        drop_database(self.admin_url, url)

    # --- what a server says of itself ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self._made:
            return
        if self._copy_of is not None:
            self._copy(self._copy_of)
        elif self.space is not None:
            self._initdb(self.data)
        else:
            self._run_program(shutil.which("cp") or "/bin/cp", "-a", str(self._empty()), str(self.data))
        self._made = True

    def _empty(self) -> Path:
        """A cluster as `initdb` leaves it: made once a run, for that takes ten times as long as a copy."""
        made = self.run.made.get(key := (self.NAME, str(self.home)))
        if made is None:
            made = self.run.make("empty") / "data"
            self._initdb(made)
            self.run.made[key] = made
        return made

    def _copy(self, source: PostgresServer) -> None:
        self._run("pg_basebackup", f"--pgdata={self.data}", f"--dbname={source.admin_url}", *BASEBACKUP)

    def _initdb(self, data: Path) -> None:
        try:
            pwd.getpwuid(self.run.user.uid)
        except KeyError:
            raise ServersError(
                f"PostgreSQL's initdb runs for nobody without a name, and user {self.run.user.uid} has none: run the tests as"
                " another user, or name an existing server in TRADEKEEL_TEST_POSTGRES_URL"
            ) from None
        secret = self.folder / "password"
        secret.write_text(self.password + "\n")
        secret.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(secret, *self.run.user)
        small = SMALL_INITDB if self.space else ()
        where = (f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={secret}")
        self._run("initdb", *where, *INITDB, *INITDB_SETTINGS, *small)
        secret.unlink()

    def _run(self, program: str, *arguments: str) -> None:
        self._run_program(str(self.home / "bin" / program), *arguments)

    def _run_program(self, *command: str) -> None:
        run_to_end(list(command), folder=self.folder, log=self.log, user=self.run.user, joins=self.holder)

    def _command(self) -> list[str]:
        settings = {"listen_addresses": self.host, "port": str(self.port.number)} | self.settings
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.home / "bin" / "postgres"), "-D", str(self.data), *options]

    def ready(self) -> bool:
        import psycopg

        try:
            with connected(self.admin_url) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False


class PreparedWords:
    """What the bytes of a connection stand for, for a proxy: psycopg prepares what is said often, and then says its name only."""

    _NAMED = re.compile(rb"(_pg3_\d+)\0([A-Z]+)\0")
    _NAME = re.compile(rb"_pg3_\d+(?=\0)")

    def __init__(self) -> None:
        self._words: dict[bytes, bytes] = {}

    def __call__(self, piece: bytes) -> bytes:
        """The piece, and behind it the statements of one word (COMMIT) that are named in it."""
        self._words.update(self._NAMED.findall(piece))
        return piece + b" ".join(self._words.get(name, b"") for name in self._NAME.findall(piece))


def new_database(admin_url: str) -> str:
    """Make an empty database beside the one of this address; its address."""
    name = f"{DATABASE_PREFIX}{os.getpid()}_{next(_numbers)}_{secrets.token_hex(3)}"
    with connected(admin_url) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 STRATEGY file_copy'.encode())
    return with_database(admin_url, name)


def drop_database(admin_url: str, url: str) -> None:
    """Drop the database of an address that `new_database` gave."""
    name = urlsplit(url).path.removeprefix("/")
    assert name.startswith(DATABASE_PREFIX), f"{name} is no database that a test made"
    with connected(admin_url) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def with_database(url: str, name: str) -> str:
    """The same address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def without_password(url: str) -> str:
    """The same address as it may stand in a configuration."""
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{parts.hostname}:{parts.port}"))


@contextlib.contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement, closed afterwards."""
    import psycopg

    connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()
