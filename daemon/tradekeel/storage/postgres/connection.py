"""A connection to the server that speaks as :class:`~tradekeel.storage.backend.Connection` does.

SQL comes with ``?`` for values. Amounts and JSON go in and come out as the text that SQLite holds, so that one row is encoded
and compared in one way; the server makes exact numbers of them. A server that says nothing is given up on from our side: a
process that was frozen keeps its sockets, and no timeout of its own runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from anyio import CancelScope, get_cancelled_exc_class
from psycopg import pq
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader
from psycopg.waiting import wait_async

PATIENCE_S = 6.0
CALL_OFF_PATIENCE_S = 2.0
STREAM_ROWS = 500
"""Rows of a long answer that come together."""


class SilentServer(psycopg.OperationalError):
    """The server has not answered for as long as we wait."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(f"the server has not answered for {patience_s:g} s")


class Impatient(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits for each answer only so long, and is closed when none has come."""

    patience_s = PATIENCE_S

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run what the driver has to say and hear."""
        limit_s = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()  # the answer may still come: nobody may take it for that of the next question
            raise SilentServer(limit_s) from error


class ImpatientReader(psycopg.AsyncConnection[tuple[Any, ...]]):
    """The same for whoever waits without a thread, and may be cancelled meanwhile."""

    patience_s = PATIENCE_S

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run what the driver has to say and hear. The server stops working at a question that nobody waits for any more."""
        limit_s = self.patience_s if timeout is None else timeout
        try:
            return await wait_async(gen, self.pgconn.socket, interval, limit_s)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()
            raise SilentServer(limit_s) from error
        except get_cancelled_exc_class():
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                # The driver does this itself, but not where a cancellation is repeated until the task has ended.
                with CancelScope(shield=True):
                    await self._call_off(gen, interval)
            raise

    async def _call_off(self, gen: Any, interval: float) -> None:
        try:
            await self.cancel_safe(timeout=CALL_OFF_PATIENCE_S)
            await wait_async(gen, self.pgconn.socket, interval, CALL_OFF_PATIENCE_S)
        except psycopg.errors.QueryCanceled:
            return
        except psycopg.Error:
            self.pgconn.finish()  # nobody knows where it stands


class PostgresConnection:
    """See the module. It begins no transactions by itself."""

    def __init__(self, raw: Impatient) -> None:
        self.raw = raw
        self._streams = count(1)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement."""
        cursor = self.raw.cursor()
        _adapted(cursor.execute, sql, values)
        return cursor

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a question, some hundred at a time: the driver would fetch all of them before it gives the first."""
        with self.raw.cursor(name=f"stream_{next(self._streams)}") as cursor:
            cursor.itersize = STREAM_ROWS
            _adapted(cursor.execute, sql, values)
            yield from cursor

    @contextmanager
    def patient(self, patience_s: float) -> Iterator[None]:
        """Statements of this transaction may take so long. Seconds."""
        usual_s, usual = self.raw.patience_s, self.execute("SHOW statement_timeout").fetchone()
        self.execute(f"SET LOCAL statement_timeout = {round(patience_s * 1_000)}")
        self.raw.patience_s = patience_s + 1.0
        try:
            yield
        finally:
            self.raw.patience_s = usual_s
        # Behind an error the transaction is over, and with it what was set for it.
        self.execute("SELECT set_config('statement_timeout', ?, true)", usual or ())

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement for each row, in few exchanges with the server."""
        cursor = self.raw.cursor()
        _adapted(cursor.executemany, sql, values)
        return cursor

    def together(self) -> AbstractContextManager[object]:
        """All that is asked within, in one exchange. What follows a refusal the server leaves undone, a COMMIT as well."""
        return self.raw.pipeline()

    def rollback(self) -> None:
        """End the transaction, if one is open, and forget it.

        By the driver's own means: a plain ROLLBACK tells it only the first time that statements may be prepared no more which it
        began to prepare in between.
        """
        self.raw.rollback()

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
