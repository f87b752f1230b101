"""A connection to the server that speaks as :class:`~tradekeel.storage.backend.Connection` does.

SQL comes with ``?`` for values. Amounts and JSON go in and come out as the text that SQLite holds, so that one row is encoded
and compared in one way; the server makes exact numbers of them. A server that says nothing is given up on from our side: a
process that was frozen keeps its sockets, and no timeout of its own runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import pq
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader


class SilentServer(psycopg.OperationalError):
    """The server has not answered for as long as we wait."""


class Impatient(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits for each answer only so long, and is closed when none has come."""

    patience_s = 6.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run what the driver has to say and hear."""
        limit_s = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()  # the answer may still come: nobody may take it for that of the next question
            raise SilentServer(f"the server has not answered for {limit_s:g} s") from error


class PostgresConnection:
    """See the module. It begins no transactions by itself."""

    def __init__(self, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.raw = raw

    def execute(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement."""
        cursor = self.raw.cursor()
        _adapted(cursor.execute, sql, values)
        return cursor

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement for each row, in few exchanges with the server."""
        cursor = self.raw.cursor()
        _adapted(cursor.executemany, sql, values)
        return cursor

    def rollback(self) -> None:
        """End the transaction, if one is open, and forget it."""
        if self.raw.info.transaction_status is not pq.TransactionStatus.IDLE:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of it."""
        self.raw.close()


def _adapted(run: Any, sql: str, values: Any) -> None:
    try:
        run(translated(sql), values) if values != () else run(sql)
    except psycopg.ProgrammingError as error:
        if type(error) is psycopg.ProgrammingError:  # of ours, not of the server: a value of a type it does not know
            raise TypeError(str(error)) from error
        raise


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """The statement with the driver's own sign for a value."""
    return sql.replace("%", "%%").replace("?", "%s")


def as_text(connection: Any) -> None:
    """Amounts and JSON as the text that they are; whole numbers with 64 bits, so that a statement is prepared once."""
    for name in ("numeric", "json"):
        connection.adapters.register_loader(name, TextLoader)
    connection.adapters.register_dumper(int, Int8Dumper)
