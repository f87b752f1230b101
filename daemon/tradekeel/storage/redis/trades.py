"""The trade store of a script on a Redis server, below ``trading:trades:scripts:``.

| key | what |
|---|---|
| ``rows`` | a hash: each trade as JSON by its id, amounts as text |
| ``open`` | an index: the trades that are open or pending, by their ``created_ns`` |
| ``open:SYMBOL`` | the same of one instrument |
| ``closed`` | an index: the closed ones by their ``exit_time_ns``, each with what statistics need of it |
| ``counts`` | a hash: how many members each index has: an index that the server has pushed out is no empty one |
| ``made`` | a hash: the execution that the trades are said to be of, and how many there have been |
| ``changes`` | how often ``closed`` was changed: who reads it in pages sees whether it was one and the same all along |

An index is a sorted set whose members all have the score 0, so that it is ordered by its members, byte by byte: a score is a
float, and nanoseconds have more digits than one. A change is one script: it is done only where the row is what it was computed
from, row and indexes together or nothing, and it is asked for once. These are a script's notes: no journal tells of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self, TypeVar, Unpack

import anyio
import msgspec
from msgspec import structs

from tradekeel.domain.ids import derived_id
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus
from tradekeel.domain.tradestats import StatsTally, TradeStats
from tradekeel.errors import (
    AlreadyExists,
    NotFound,
    StoreCorrupt,
    StoreRefused,
    StoreTimeout,
    StoreUnanswered,
    VersionConflict,
)
from tradekeel.ports.repositories.paging import TIMEOUT_S, Page, Paging, Span, Timed
from tradekeel.ports.tradestore import Number
from tradekeel.storage.redis.server import PREFIX, RedisServer
from tradekeel.storage.redis.tradelists import (
    Figures,
    bounds,
    closed_entry,
    figures_in,
    open_entry,
    page_by_time,
    page_sorted,
)
from tradekeel.storage.repositories import traderules as rules
from tradekeel.storage.repositories.base import Repository, timeout_of
from tradekeel.storage.repositories.change import checked, encoded
from tradekeel.storage.repositories.database import sensible
from tradekeel.storage.repositories.listing import asked
from tradekeel.storage.repositories.scripts import made_trade
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.tradestore import CURRENCY, SCRIPTS, amount

TRADES: Final = f"{PREFIX}trades:"
OPEN_MAX: Final = 20_000
"""Open trades at most: a list that is sorted by anything but their time looks at all of them."""

STATS_PAGE: Final = 5_000
STATS_TRIES: Final = 5
"""How often statistics begin anew because trades were closed meanwhile; then all is asked for in one step of the server."""

_DONE, _FULL = 1, -1
_MARGIN_S: Final = 1.0  # the call's own deadline comes first, and says it better

T = TypeVar("T")
Apply = Callable[[Trade, int], Trade]

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_DECODER = msgspec.json.Decoder(Trade)

# KEYS: rows, open, changes, counts. ARGV: id, what the row must be ('': none), the new one, most open trades, whether it comes
# to be open, whether `closed` changes, and then command, index, member of each step
_PUT = """#!lua
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[5] == '1' and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HINCRBY', KEYS[4], KEYS[2], 0)
for place = 7, #ARGV, 3 do
  if ARGV[place] == 'ZADD' then
    redis.call('HINCRBY', KEYS[4], ARGV[place + 1], redis.call('ZADD', ARGV[place + 1], 0, ARGV[place + 2]))
  else
    redis.call('HINCRBY', KEYS[4], ARGV[place + 1], -redis.call('ZREM', ARGV[place + 1], ARGV[place + 2]))
  end
end
if ARGV[6] == '1' then redis.call('INCR', KEYS[3]) end
return 1
"""

_NEXT = """#!lua
redis.call('HSETNX', KEYS[1], 'execution', ARGV[1])
return {redis.call('HGET', KEYS[1], 'execution'), redis.call('HINCRBY', KEYS[1], 'trades', 1)}
"""

# KEYS: the index, the rows, counts. Gives 0 where the index is not whole.
_WHOLE = """#!lua flags=no-writes
local counted = redis.call('HGET', KEYS[3], KEYS[1])
if tonumber(counted or 0) ~= redis.call('ZCARD', KEYS[1]) then return 0 end
if not counted and redis.call('EXISTS', KEYS[2]) == 1 and redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
"""

# The ids and the rows of a part of the index.
_ROWS = (
    _WHOLE
    + """
local ids = {}
for place, member in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', ARGV[3], ARGV[4])) do
  ids[place] = string.sub(member, 18)
end
local rows = {}
for first = 1, #ids, 1000 do
  for place, row in ipairs(redis.call('HMGET', KEYS[2], unpack(ids, first, math.min(first + 999, #ids)))) do
    rows[first + place - 1] = row
  end
end
return {ids, rows}
"""
)
_ROWS_BACKWARDS = _ROWS.replace("'BYLEX'", "'BYLEX', 'REV'")

# KEYS: as above, and changes. How often the index was changed, and a part of it.
_CLOSED = (
    _WHOLE
    + """
local found = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
return {redis.call('GET', KEYS[4]) or '0', found}
"""
)


class RedisTradeStore:
    """See :class:`~tradekeel.ports.tradestore.TradeStore`. It connects with the first call.

    ``connect`` makes the server, anew for each event loop, because connections belong to the loop that they were made in.
    """

    backend_name = "redis"

    def __init__(
        self,
        connect: Callable[[], RedisServer],
        now_ns: Callable[[], int],
        *,
        timeout_s: float = TIMEOUT_S,
        owned: bool = True,
    ) -> None:
        """A server that is not ``owned`` is not closed here."""
        self._connect = connect
        self._now_ns = now_ns
        self._timeout_s = sensible(timeout_s)
        self._owned = owned
        self._server: RedisServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        prefix = f"{TRADES}{SCRIPTS}:"
        self._rows, self._open, self._closed = f"{prefix}rows", f"{prefix}open", f"{prefix}closed"
        self._made, self._changes, self._counts = f"{prefix}made", f"{prefix}changes", f"{prefix}counts"

    async def __aenter__(self) -> Self:
        await self._opened().within(self._timeout_s).ping()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections; the next call opens them again."""
        server, self._server = self._server, None
        if server is not None and self._owned and self._loop is asyncio.get_running_loop():
            await server.close()

    def _opened(self) -> RedisServer:
        loop = asyncio.get_running_loop()
        if not self._owned:
            return self._connect()
        if self._server is None or self._loop is not loop:
            self._server, self._loop = self._connect(), loop
        return self._server

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
        given = structs.asdict(trade) if trade is not None else {"symbol": symbol, "side": side, "quantity": quantity}
        given |= fields

        async def work(server: RedisServer) -> Trade:
            now_ns = self._now_ns()
            candidate = derived_id("ex", SCRIPTS, "redis", now_ns)
            # A number that is drawn twice, or for nothing, harms nobody: unanswered, it may be drawn again.
            execution, number = await server.reading().run("numbering a trade", _NEXT, (self._made,), candidate)
            # The time tells ids apart that were given out before a server lost its newest seconds, and after.
            made = made_trade(given, entry_price, execution.decode(), SCRIPTS, f"{int(number)}@{now_ns}", now_ns)
            if not await self._put(server, "", None, made):
                raise AlreadyExists(f"trades: {made.trade_id} exists already")
            return checked(made)

        return await self._call("save_new_trade", timeout_s, work)

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
        wanted = {**(changes or {}), **fields}

        def apply(trade: Trade, now_ns: int) -> Trade:
            return rules.updated(trade, wanted, now_ns)

        return await self._change("update_trade", trade_id, apply, expected_version, timeout_s)

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
        how = rules.closing(
            amount("exit_price", exit_price),
            self._now_ns() if exit_time_ns is None else exit_time_ns,
            reason,
            amount("fee", fee),
            None if pnl is None else amount("pnl", pnl),
            None if rate is None else amount("rate", rate),
        )

        def apply(trade: Trade, now_ns: int) -> Trade:
            return rules.closed(trade, how, now_ns, CURRENCY)

        return await self._change("mark_trade_closed", trade_id, apply, expected_version, timeout_of(call))

    async def _change(
        self, action: str, trade_id: str, apply: Apply, expected_version: int | None, timeout_s: float | None
    ) -> Trade:
        async def work(server: RedisServer) -> Trade:
            while True:  # until nobody was faster; the call's deadline ends it
                raw = await self._row(server, trade_id)
                if raw is None:
                    raise NotFound(f"{server.where}: there is no trade {trade_id}")
                before = self._read(server, trade_id, raw)
                if expected_version is not None and before.version != expected_version:
                    raise VersionConflict(f"trade {trade_id}", expected_version, before.version)
                after = self._computed(apply, before)
                if await self._put(server, raw, before, after):
                    return checked(after)

        return await self._call(action, timeout_s, work)

    def _computed(self, apply: Apply, before: Trade) -> Trade:
        now_ns = self._now_ns()
        return Repository.exactly(lambda: apply(before, now_ns), f"trade {before.trade_id}")

    async def _put(self, server: RedisServer, expected: bytes | str, before: Trade | None, after: Trade) -> bool:
        """Put a row in the place of another; False where that one is not there any more."""
        after = checked(after)
        encoded(mapping_of(Trade), after, after.execution)  # what no database stores is not noted here either
        rules.refuse_forbidden(after)
        old, new = self._entries(before), self._entries(after)
        steps = [("ZREM", *entry) for entry in old if entry not in new]
        steps += [("ZADD", *entry) for entry in new if entry not in old]
        opens = after.is_open and not (before is not None and before.is_open)
        closes = any(index == self._closed for _, index, _ in steps)
        answer = await server.run(
            f"writing trade {after.trade_id}",
            _PUT,
            (self._rows, self._open, self._changes, self._counts),
            *(after.trade_id, expected, _ENCODER.encode(after), OPEN_MAX, int(opens), int(closes)),
            *(word for step in steps for word in step),
        )
        if answer == _FULL:
            raise StoreRefused(
                f"{server.where} has {OPEN_MAX} open trades, which is as many as there may be. Nothing was written: "
                "close some, or keep them in a database"
            )
        return bool(answer == _DONE)

    def _entries(self, trade: Trade | None) -> list[tuple[str, bytes]]:
        """Where the indexes have a trade: the key, and the member."""
        if trade is None:
            return []
        if trade.is_open:
            member = open_entry(trade.created_ns, trade.trade_id)
            return [(self._open, member), (f"{self._open}:{trade.symbol}", member)]
        if trade.status is TradeStatus.CLOSED:
            return [(self._closed, closed_entry(trade))]
        return []

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get_trade(self, trade_id: str, **call: Unpack[Timed]) -> Trade | None:
        """One trade, None if there is none."""

        async def work(server: RedisServer) -> Trade | None:
            raw = await self._row(server, trade_id)
            return None if raw is None else self._read(server, trade_id, raw)

        return await self._call("reading a trade", timeout_of(call), work)

    async def get_open_trades(self, symbol: str | None = None, **paging: Unpack[Paging]) -> Page[Trade]:
        """The trades that are open or pending, the newest first."""
        query = asked(dict(paging))
        index = self._open if symbol is None else f"{self._open}:{symbol}"

        async def work(server: RedisServer) -> Page[Trade]:
            async def rows(least: bytes, most: bytes, *, backwards: bool, offset: int, limit: int) -> list[Trade]:
                ends, script = ((most, least), _ROWS_BACKWARDS) if backwards else ((least, most), _ROWS)
                keys = (index, self._rows, self._counts)
                answer = await server.reading().run("listing open trades", script, keys, *ends, offset, limit)
                ids, raw = self._whole(server, index, answer)
                return [self._read(server, *row) for row in zip(ids, raw, strict=True)]

            if query.sort in (None, "created_ns"):
                return await page_by_time(query, rows)
            return page_sorted(query, await rows(b"-", b"+", backwards=False, offset=0, limit=-1))

        return await self._call("listing open trades", query.timeout_s, work)

    async def get_stats(self, **span: Unpack[Span]) -> TradeStats:
        """Figures of the closed trades."""
        query = asked(dict(span))
        least, most = bounds(query.since_ns, query.until_ns)

        async def work(server: RedisServer) -> TradeStats:
            for _ in range(STATS_TRIES):
                stats = await self._tallied(server, least, most, STATS_PAGE)
                if stats is not None:
                    return stats
            stats = await self._tallied(server, least, most, -1)
            assert stats is not None
            return stats

        timeout_s = rules.STATS_TIMEOUT_S if query.timeout_s is None else query.timeout_s
        return await self._call("computing statistics", timeout_s, work)

    async def _tallied(self, server: RedisServer, least: bytes, most: bytes, limit: int) -> TradeStats | None:
        """Statistics, read in pages of so many; None where a trade was closed, or a closed one changed, meanwhile."""
        tally, seen = StatsTally(), None
        while True:
            keys = (self._closed, self._rows, self._counts, self._changes)
            answer = await server.reading().run("reading closed trades", _CLOSED, keys, least, most, limit)
            changes, found = self._whole(server, self._closed, answer)
            if seen not in (None, changes):
                return None
            seen = changes
            for member in found:
                tally.add(*self._figures(server, member))
            if limit < 0 or len(found) < limit:
                return tally.stats()
            least = b"(" + found[-1]

    async def _row(self, server: RedisServer, trade_id: str) -> bytes | None:
        raw: bytes | None = await server.reading().ask(f"reading trade {trade_id}", "HGET", self._rows, trade_id)
        return raw

    def _read(self, server: RedisServer, trade_id: str | bytes, raw: bytes | None) -> Trade:
        try:
            return _DECODER.decode(raw or b"")
        except msgspec.MsgspecError as error:
            raise self._damaged(server, f"trade {trade_id!r}", error) from error

    def _figures(self, server: RedisServer, member: bytes) -> Figures:
        try:
            return figures_in(member)
        except msgspec.MsgspecError as error:
            raise self._damaged(server, f"the entry {member[:80]!r} of {self._closed}", error) from error

    def _whole(self, server: RedisServer, index: str, answer: Any) -> Any:
        if answer == 0:
            raise self._damaged(server, f"the index {index}", "it has not as many trades as were put there")
        return answer

    def _damaged(self, server: RedisServer, what: str, error: object) -> StoreCorrupt:
        return StoreCorrupt(
            f"{what} on {server.where} is not what was written there ({error}). Somebody else writes below {TRADES}, or the "
            "server has pushed keys out (maxmemory-policy): put a copy back, or remove it"
        )

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _call(self, doing: str, timeout_s: float | None, work: Callable[[RedisServer], Awaitable[T]]) -> T:
        """What the work gives, within the deadline, however many questions it takes."""
        limit_s = self._timeout_s if timeout_s is None else sensible(timeout_s)
        is_open = False  # a question that may change something, and is not answered

        def told(asked: bool) -> None:
            nonlocal is_open
            is_open = asked

        server = self._opened().within(limit_s + _MARGIN_S).telling(told)
        try:
            with anyio.fail_after(limit_s):
                return await work(server)
        except TimeoutError as error:
            took = f"{server.where}: {doing} took longer than {limit_s:g} s, and was given up"
            if is_open:
                raise StoreUnanswered(f"{took}. It may have been done: read before you write it again") from error
            raise StoreTimeout(f"{took}. Nothing was written") from error
