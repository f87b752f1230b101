"""Where the books of a campaign's rounds are: a file of each state directory, or a fresh database each on a server of ours.

A kill tests no disk, so the server's data lies in memory where there is such a thing, and it waits for no disk either.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.folders import RunFolder, in_memory
from tests.servers.postgres import PostgresServer, connected, drop_database, new_database, without_password
from tests.servers.process import until

BOOKS = "books.db"
NO_DISK: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}


@dataclass(frozen=True)
class Books:
    """Where one round's books are."""

    place: Path | str  # a file, or an address
    storage: Mapping[str, Any] = field(default_factory=dict)  # what the configuration says of it

    @property
    def toml(self) -> str:
        """That, as lines of its table."""
        return "".join(f"{name} = {value}\n" for name, value in self.storage.items())


class BooksStore(ABC):
    """Makes room for the books of one round after the other."""

    @abstractmethod
    def fresh(self, home: Path) -> Books:
        """Room for the books of the round in this folder; there are none yet."""

    @abstractmethod
    def as_left(self, books: Books, scene: Path) -> Books:
        """The books as the process that has just ended left them, to be looked at. ``scene`` has copies of all files."""

    @abstractmethod
    def done(self, books: Books, home: Path, *, keep: bool) -> None:
        """The round is over; with ``keep`` its books stay in its folder."""


class Files(BooksStore):
    """SQLite: ``books.db`` of the state directory."""

    def fresh(self, home: Path) -> Books:
        return Books(home / "state" / BOOKS)

    def as_left(self, books: Books, scene: Path) -> Books:
        return Books(scene / BOOKS)  # opening a file repairs it

    def done(self, books: Books, home: Path, *, keep: bool) -> None:
        """They are in its folder."""


class Databases(BooksStore):
    """PostgreSQL: databases of one server."""

    def __init__(self, admin_url: str, dump: Path | None = None) -> None:
        """``admin_url`` is a superuser's address, ``dump`` the program that writes a database into a file."""
        self._admin_url = admin_url
        self._dump = dump
        self._made: set[str] = set()

    def fresh(self, home: Path) -> Books:
        url = new_database(self._admin_url)
        self._made.add(url)
        secret = home / "password"
        secret.touch(0o600)
        secret.write_text(str(urlsplit(url).password))
        # A machine that runs many of them may be slow; how long is waited for a server is not what is tested here.
        return Books(
            url,
            {"url": f'"{without_password(url)}"', "password": f'{{ file = "{secret}" }}', "statement_timeout_s": "60"},
        )

    def as_left(self, books: Books, scene: Path) -> Books:
        # The server may still be at what a killed process has sent last: the scene is what comes of that.
        with connected(str(books.place)) as connection:
            until(
                lambda: (
                    connection.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tradekeel' AND datname = current_database()"
                    ).fetchone()
                    is None
                ),
                "the server still works for a process that is gone",
            )
        return books

    def done(self, books: Books, home: Path, *, keep: bool) -> None:
        if keep and self._dump is not None:
            program = [str(self._dump), "--file", str(home / "books.sql"), str(books.place)]
            subprocess.run(program, check=True, capture_output=True, timeout=60)
        drop_database(self._admin_url, str(books.place))
        self._made.discard(str(books.place))

    def close(self) -> None:
        """Drop what was not done with; again is fine."""
        while self._made:
            drop_database(self._admin_url, self._made.pop())


@contextmanager
def store_of(kind: str) -> Iterator[BooksStore]:
    """By its name: ``sqlite``, or ``postgres`` with a server of its own."""
    if kind == "sqlite":
        yield Files()
        return
    with RunFolder(in_memory(1 << 30)) as run, PostgresServer(run, settings=NO_DISK) as server:
        yield Databases(server.admin_url, server.home / "bin" / "pg_dump")
