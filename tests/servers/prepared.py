"""Databases that have their tables already: made once, lent to one test after the other, emptied in between.

Emptying takes some 10 ms; a new database, from a template or not, takes 200, because the server has it on the disk
before it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.servers.postgres import CONNECT_TIMEOUT_S, drop_database, new_database

if TYPE_CHECKING:
    import psycopg

PATIENCE = "2s"
"""How long emptying waits for somebody who still holds a lock. Then there is a new database instead."""


class Prepared:
    """Databases with the same tables, as many as are lent at a time."""

    def __init__(self, admin_url: Callable[[], str], make: Callable[[str], None]) -> None:
        """``admin_url`` is asked when a database is made, and ``make`` puts the tables into the one at an address."""
        self._admin_url = admin_url
        self._make = make
        self._free: list[str] = []
        self._as_made: dict[str, tuple[dict[str, list[Any]], dict[str, int | None]]] = {}
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        """One stays with each database: a new one would have to read of every table anew what it is."""

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The address of a database as `make` has left it."""
        url = self._free.pop() if self._free else self._new()
        try:
            yield url
        finally:
            if self._is_restored(url):
                self._free.append(url)
            else:
                self._drop(url)

    def close(self) -> None:
        """Drop them all; again is fine."""
        while self._free:
            self._drop(self._free.pop())

    def _new(self) -> str:
        import psycopg

        url = new_database(self._admin_url())
        self._make(url)
        connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        self._connections[url] = connection
        connection.execute(f"SET lock_timeout = '{PATIENCE}'")
        connection.execute("SET session_replication_role = replica")  # no trigger keeps rows from being deleted
        self._as_made[url] = _content(connection), _counters(connection)
        return url

    def _drop(self, url: str) -> None:
        self._as_made.pop(url, None)
        self._connections.pop(url).close()
        drop_database(self._admin_url(), url)

    def _is_restored(self, url: str) -> bool:
        """Take out what a test put in. Where that is not the whole of it (other tables, a lock), say no."""
        import psycopg

        (before, counters), connection = self._as_made[url], self._connections[url]
        try:
            with connection.transaction():
                if _tables(connection) != before.keys():
                    return False
                emptied = [f"DELETE FROM {name}" for name, rows in before.items() if not rows]
                connection.execute(";".join(emptied).encode())  # one exchange with the server for all of them
                for name, last in _counters(connection).items():
                    if last is not None and counters[name] is None:
                        connection.execute("SELECT setval(%s::regclass, 1, false)", (name,))
            return _content(connection) == before
        except psycopg.Error:
            return False


def _tables(connection: psycopg.Connection[Any]) -> set[str]:
    """The tables that are not the server's own."""
    found = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^pg_|^information_schema$'"
    )
    return {name for (name,) in found}


def _counters(connection: psycopg.Connection[Any]) -> dict[str, int | None]:
    """The sequences that number rows, and how far each is."""
    return dict(
        connection.execute("SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences").fetchall()
    )


def _content(connection: psycopg.Connection[Any]) -> dict[str, list[Any]]:
    """All rows of all tables; few, where nobody but `make` has written."""
    found: dict[str, list[Any]] = {name: [] for name in _tables(connection)}
    asked = (f"SELECT {place}, row_to_json(t)::text FROM {name} t" for place, name in enumerate(found))
    names = list(found)
    for place, row in connection.execute(" UNION ALL ".join(asked).encode()).fetchall() if found else ():
        found[names[place]].append(row)
    return {name: sorted(rows) for name, rows in found.items()}
