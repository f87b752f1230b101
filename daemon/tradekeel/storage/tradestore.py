"""The small face of the books that people script against: one store of trades in each process.

    import asyncio
    from tradekeel.scripting import get_trade_store

    async def main() -> None:
        async with get_trade_store() as store:
            trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity="1000", entry_price="1.0850")
            await store.mark_trade_closed(trade.trade_id, "1.0900", "take_profit")
            print((await store.get_stats()).pnl)

    asyncio.run(main())

In a database what is written stands in the journal like everything else, in an execution of mode ``manual`` on the account
``scripts``, which is made with the first trade. On a Redis server trades are notes, and no journal tells of them. Importing this
module opens nothing and imports no driver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.ports.tradestore import Number, TradeStore

if TYPE_CHECKING:
    from tradekeel.domain.trades import CloseReason, Trade
    from tradekeel.domain.tradestats import TradeStats
    from tradekeel.storage.backend import Backend
    from tradekeel.storage.repositories.change import Change
    from tradekeel.storage.repositories.database import Database
    from tradekeel.storage.repositories.trades import SqlTradeRepository

SCRIPTS = "scripts"
"""The account of the trades that scripts keep. No daemon may have one of this name."""

DEFAULT_FILE = "tradekeel-trades.db"
CURRENCY = "USD"

CLIENT_DEADLINE_S = 600.0
"""Of a Redis connection: each call has a deadline of its own, which comes first."""

_SHAPES = (
    "a path, sqlite:///path, postgresql://user:password@host:port/database, redis://user:password@host:port/db (rediss://, "
    "unix://), or memory://"
)


class SqlTradeStore:
    """See :class:`~tradekeel.ports.tradestore.TradeStore`. It opens its books with the first call."""

    def __init__(
        self, backend: Backend, now_ns: Callable[[], int] = time.time_ns, books: Database | None = None
    ) -> None:
        """``books`` are open ones at this place, which somebody else closes."""
        self.backend = backend
        self._now_ns = now_ns
        self._books = books
        self._database: Database | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    @property
    def backend_name(self) -> str:
        """Where the trades are."""
        return self.backend.name

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections; the next call opens them again."""
        database, self._database = self._database, None
        if database is not None and self._loop is asyncio.get_running_loop():
            await database.close()

    async def _opened(self) -> Database:
        from tradekeel.storage.repositories.database import Database

        if self._books is not None:
            return self._books
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # connections belong to the loop that they were made in
            self._database, self._loop, self._opening = None, loop, asyncio.Lock()
        async with self._opening:
            if self._database is None:
                self._database = await Database(self.backend, now_ns=self._now_ns, by="trade store").open()
            return self._database

    # --- writing -----------------------------------------------------------------------------------------------------

    async def save_new_trade(
        self,
        trade: Trade | None = None,
        *,
        symbol: str = "",
        side: str = "",
        quantity: Number | None = None,
        entry_price: Number | None = None,
        timeout_s: float | None = None,
        **fields: object,
    ) -> Trade:
        """Add a trade; as it was stored, with its id."""
        from msgspec import structs

        from tradekeel.storage.repositories.scripts import made_trade, scripts_execution, strategy_known

        given = structs.asdict(trade) if trade is not None else {"symbol": symbol, "side": side, "quantity": quantity}
        given |= fields

        async def work(change: Change) -> Trade:
            execution = await scripts_execution(change, SCRIPTS, CURRENCY)
            number = await change.next_sequence(execution)
            made = made_trade(given, entry_price, execution, SCRIPTS, number, change.now_ns)
            if made.strategy is not None:
                await strategy_known(change, execution, made.strategy, made.symbol)
            [saved] = await change.add(execution, [made], steers="a trade")
            return saved

        return await (await self._opened()).write("save_new_trade", work, timeout_s)

    async def update_trade(
        self,
        trade_id: str,
        changes: Mapping[str, object] | None = None,
        *,
        expected_version: int | None = None,
        timeout_s: float | None = None,
        **fields: object,
    ) -> Trade:
        """Change the named fields and nothing else."""
        trades = await self._trades()
        wanted = {**(changes or {}), **fields}
        return await trades.update_trade(trade_id, wanted, expected_version, **_timed(timeout_s))

    async def mark_trade_closed(
        self,
        trade_id: str,
        exit_price: Number,
        reason: CloseReason | str = "manual",
        *,
        exit_time_ns: int | None = None,
        fee: Number = 0,
        pnl: Number | None = None,
        rate: Number | None = None,
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Close all that the trade still holds."""
        return await (await self._trades()).mark_trade_closed(
            trade_id,
            amount("exit_price", exit_price),
            self._now_ns() if exit_time_ns is None else exit_time_ns,
            reason,
            fee=amount("fee", fee),
            pnl=None if pnl is None else amount("pnl", pnl),
            rate=None if rate is None else amount("rate", rate),
            expected_version=expected_version,
            **call,
        )

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get_trade(self, trade_id: str, **call: Unpack[Timed]) -> Trade | None:
        """One trade, None if there is none."""
        return await (await self._trades()).get_trade_by_id(trade_id, **call)

    async def get_open_trades(self, symbol: str | None = None, **paging: Unpack[Paging]) -> Page[Trade]:
        """The trades that are open or pending, the newest first."""
        return await (await self._trades()).get_open_trades(symbol, account=SCRIPTS, **paging)

    async def get_stats(self, **span: Unpack[Span]) -> TradeStats:
        """Figures of the closed trades."""
        return await (await self._trades()).get_stats(account=SCRIPTS, **span)

    async def _trades(self) -> SqlTradeRepository:
        from tradekeel.storage.repositories.trades import SqlTradeRepository

        return SqlTradeRepository(await self._opened())


def _timed(timeout_s: float | None) -> Timed:
    return {} if timeout_s is None else {"timeout_s": timeout_s}


def amount(name: str, value: object) -> Decimal:
    """An exact amount. InputError for what is none, floats among it."""
    if isinstance(value, Decimal | int | str) and not isinstance(value, bool):
        try:
            found = Decimal(value)
        except InvalidOperation:
            found = Decimal("NaN")
        if found.is_finite():
            return found
    raise InputError(f"{name} is {value!r}: amounts are exact, a Decimal, a whole number, or text")


# --- one for a process -----------------------------------------------------------------------------------------------

_store: TradeStore | None = None
_place: str | None = None


def get_trade_store(url: str | None = None, redis_client: Any = None) -> TradeStore:
    """The process's store of trades; made by the first call, which says where, and the same from then on.

    Without a URL it is the file ``tradekeel-trades.db`` in the current folder. With a URL of Redis, or a ``redis_client`` (a
    redis.asyncio.Redis, which stays yours to close), the trades are notes there, and no journal tells of them. InputError for a
    URL that is none, and for another place than that of the store that there is: ``await reset_trade_store()`` first.
    """
    global _store, _place
    place = f"redis client {id(redis_client)}" if redis_client is not None else url or DEFAULT_FILE
    if _store is None:
        _store = _made(place, redis_client)
        _place = place
    elif (url is not None or redis_client is not None) and place != _place:
        raise InputError("this process has a trade store at another place: `await reset_trade_store()` first")
    return _store


async def reset_trade_store() -> None:
    """Close the process's store; the next :func:`get_trade_store` makes a new one."""
    global _store, _place
    store, _store, _place = _store, None, None
    if store is not None:
        await store.close()


def _made(place: str, redis_client: Any) -> TradeStore:
    scheme, separator, rest = place.partition("://")
    if redis_client is not None or scheme in ("redis", "rediss", "unix"):
        return _on_redis(place, redis_client)
    if not separator:
        return SqlTradeStore(_file(place))
    if scheme == "sqlite":
        return SqlTradeStore(_file(rest.removeprefix("/")))
    if scheme in ("postgresql", "postgres"):
        from tradekeel.storage.postgres import Postgres

        return SqlTradeStore(Postgres(place))
    if place == "memory://":
        from tradekeel.storage.memory.books import Memory

        return SqlTradeStore(Memory())
    raise InputError(f"{scheme}:// leads to no trade store: allowed is {_SHAPES}")


def _on_redis(url: str, client: Any) -> TradeStore:
    from tradekeel.storage.redis.client import RedisSettings, make_client
    from tradekeel.storage.redis.server import RedisServer
    from tradekeel.storage.redis.trades import RedisTradeStore

    if client is not None:
        from redis.asyncio import Redis

        if not isinstance(client, Redis):
            raise InputError(
                f"redis_client is a {type(client).__module__}.{type(client).__qualname__}: allowed is a redis.asyncio.Redis, "
                "or a URL in its place"
            )
        return RedisTradeStore(lambda: RedisServer.of(client), time.time_ns)
    settings = RedisSettings(url=url, deadline_s=CLIENT_DEADLINE_S, client_name="tradekeel-trades")
    make_client(settings)  # what is wrong with the URL, or not installed, is said now
    return RedisTradeStore(lambda: RedisServer.open(settings), time.time_ns)


def _file(path: str) -> Backend:
    from tradekeel.storage.sqlite import Sqlite

    if not path:
        raise InputError(f"no file is named: allowed is {_SHAPES}")
    return Sqlite(Path(path))
