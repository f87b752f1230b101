"""One Redis server as the rest of the storage talks to it: each question has a deadline, and none is asked twice.

redis-py's own way of executing a command tries again, and does not say whether the command had left when something broke. So a
connection is borrowed from its pool here, made sure of while nothing has been said yet, and then given one command: what fails
before that has changed nothing (StoreAway), what fails behind it may have been done (StoreUnanswered).
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from tradekeel.errors import StoreRefused
from tradekeel.ports.cache import DEADLINE_S
from tradekeel.storage.redis.client import RedisSettings, blocking_twin, connections_of, make_client, where_of
from tradekeel.storage.redis.words import in_our_words

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.connection import AbstractConnection

PREFIX: Final = "trading:"
"""Every key of ours begins with it, so that a user of the server can be limited to them."""

CLOSE_S: Final = 2.0
"""How long closing waits for connections to say goodbye."""

Word = str | bytes | int


class RedisServer:
    """A server, and at most so many connections to it, and as many again that listen.

    Make one with :meth:`open`, or :meth:`of` a client that there is.
    """

    def __init__(self, client: Redis, *, owned: bool, deadline_s: float) -> None:
        self.client = client
        self.deadline_s = deadline_s
        pool = client.connection_pool
        self.where = where_of(pool.connection_kwargs)
        self._listener = blocking_twin(client)
        self._owned = owned
        self._reads = False
        self._told: Callable[[bool], object] = bool
        self._slots = anyio.Semaphore(connections_of(pool))
        self._listening_slots = anyio.Semaphore(connections_of(pool))

    @classmethod
    def open(cls, settings: RedisSettings) -> Self:
        """A server by its settings; it is connected to when it is first asked. Raises InputError where they make no sense."""
        return cls(make_client(settings), owned=True, deadline_s=settings.deadline_s)

    @classmethod
    def of(cls, client: Redis, *, deadline_s: float = DEADLINE_S) -> Self:
        """The server of a client that somebody else made and closes."""
        return cls(client, owned=False, deadline_s=deadline_s)

    def within(self, deadline_s: float) -> Self:
        """The same server and connections, with another deadline for each question.

        A single answer is never waited for longer than the client itself does (``RedisSettings.deadline_s``).
        """
        other = copy.copy(self)
        other.deadline_s = deadline_s
        return other

    def reading(self) -> Self:
        """The same for questions that change nothing: one that was not answered is StoreAway, and may be asked again."""
        other = copy.copy(self)
        other._reads = True
        return other

    def telling(self, told: Callable[[bool], object]) -> Self:
        """The same, for who may be interrupted in the middle: ``told`` hears True when a question that may change something is
        about to leave, and False when it was answered.
        """
        other = copy.copy(self)
        other._told = told
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections that were made here. (uvloop may not end while one is open.)"""
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            await self._listener.aclose()
            if self._owned:
                await self.client.aclose()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ask(self, doing: str, *command: Word) -> Any:
        """The answer to one command, with nothing decoded. ``doing`` says in messages what it is for.

        Raises StoreAway (nothing was changed), StoreUnanswered (it may have been done) or StoreRefused.
        """
        return await self._ask(self.client.connection_pool, self._slots, doing, command)

    async def run(self, doing: str, script: str, keys: Sequence[Word], *arguments: Word) -> Any:
        """The answer of a script, which the server runs as one step. Its keys are all on this one server."""
        return await self.ask(doing, "EVAL", script, len(keys), *keys, *arguments)

    async def listen(self, doing: str, *command: Word, wait_s: float) -> Any:
        """The answer to a command that the server may keep us waiting with for so long, on a connection apart."""
        pool = self._listener.connection_pool
        return await self._ask(pool, self._listening_slots, doing, command, wait_s)

    async def ping(self) -> None:
        """Raises unless the server answers and serves."""
        answer = await self.ask("a ping", "PING")
        if answer != b"PONG":
            raise StoreRefused(f"{self.where} answered a ping with {answer!r}. Look at what listens there.")

    async def version(self) -> str:
        """What the server says it is, such as ``valkey 9.0.1`` or ``redis 7.4.2``."""
        answer: bytes = await self.ask("asking for its version", "INFO", "server")
        lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
        said = {name: value for name, _, value in lines}
        for kind in ("valkey", "redis"):
            if f"{kind}_version" in said:
                return f"{kind} {said[f'{kind}_version']}"
        return "unknown"

    async def _ask(
        self, pool: ConnectionPool, slots: anyio.Semaphore, doing: str, command: Sequence[Word], wait_s: float = 0.0
    ) -> Any:
        from redis.exceptions import RedisError

        asked = False
        deadline_s = self.deadline_s
        try:
            with _resets_as_errors(), anyio.fail_after(deadline_s) as scope:
                async with slots, _borrowed(pool) as connection:
                    packed = connection.pack_command(*command)
                    asked = not self._reads
                    self._told(asked)
                    deadline_s += wait_s
                    scope.deadline += wait_s
                    await connection.send_packed_command(packed, check_health=False)
                    answer = await connection.read_response(disable_decoding=True)
                    self._told(False)
                    return answer
        except (RedisError, OSError) as error:  # a deadline's TimeoutError is an OSError
            raise in_our_words(error, where=self.where, doing=doing, asked=asked, deadline_s=deadline_s) from error


@asynccontextmanager
async def _borrowed(pool: ConnectionPool) -> AsyncIterator[AbstractConnection]:
    """A connection that lived a moment ago; one that broke, or was left in the middle of an answer, is closed behind."""
    from redis import exceptions

    connection: AbstractConnection = await pool.get_connection()
    whole = False
    try:
        try:
            if not _is_dead(connection):
                with _resets_as_errors():
                    await connection.check_health()
        except (exceptions.ConnectionError, exceptions.TimeoutError, ConnectionResetError):
            await connection.disconnect(nowait=True)
        if _is_dead(connection):
            # It died while it was idle. Nothing was asked yet, so another one may be made.
            await connection.disconnect(nowait=True)
            await connection.connect()
        yield connection
        whole = True
    except exceptions.ResponseError as error:
        # A refusal is a whole answer. A primary that became a replica is left, so that the next connection finds the new one.
        whole = not isinstance(error, exceptions.ReadOnlyError)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            if not whole:
                await connection.disconnect(nowait=True)
            await pool.release(connection)


def _is_dead(connection: AbstractConnection) -> bool:
    """Whether it is known already that nobody is at the other end. redis-py sees an orderly end, but not a reset."""
    reader, writer = connection._reader, connection._writer
    return reader is None or writer is None or writer.is_closing() or reader.at_eof() or reader.exception() is not None


@contextmanager
def _resets_as_errors() -> Iterator[None]:
    """uvloop raises a RuntimeError at whoever writes to a connection that was reset a moment ago."""
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionResetError("the connection was reset") from error
