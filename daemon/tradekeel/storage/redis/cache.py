"""A cache on a Redis server: each value a key below ``trading:cache:NAMESPACE:``, expired by the server itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Self

from tradekeel.errors import InputError
from tradekeel.ports.cache import KeyPage
from tradekeel.storage.caching import CheckedCache, shown
from tradekeel.storage.glob import escaped
from tradekeel.storage.redis.server import PREFIX, RedisServer

SCANS_A_PAGE_MAX: Final = 20
"""How often the server is asked for one page, where other people's keys are many and ours are few."""

_CURSOR_MAX = 2**64
_NO_KEY = -2
_NO_EXPIRY = -1

# MSET takes no time to live, and a series of SET could be cut in the middle.
_SET_MANY = """
for place, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[place + 1], 'PX', ARGV[1])
end
"""


class RedisCache(CheckedCache):
    """A cache in one namespace of a server."""

    def __init__(self, server: RedisServer, namespace: str, *, deadline_s: float | None = None) -> None:
        super().__init__(namespace, server.deadline_s if deadline_s is None else deadline_s)
        self._server = server.within(self.deadline_s)
        self._prefix = f"{PREFIX}cache:{namespace}:".encode()

    def within(self, deadline_s: float) -> Self:
        other = super().within(deadline_s)
        other._server = self._server.within(deadline_s)
        return other

    async def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if len(keys) == 1:  # unlike MGET, GET does not take what is no value for nothing
            return [await self._server.ask(self._about("reading", keys), "GET", self._name(keys[0]))]
        found: list[bytes | None] = await self._server.ask(self._about("reading", keys), "MGET", *self._names(keys))
        return found

    async def _set(self, values: Mapping[bytes, bytes], ttl_ms: int | None) -> None:
        doing = self._about("writing", list(values))
        if ttl_ms is None:
            await self._server.ask(doing, "MSET", *(part for key in values for part in (self._name(key), values[key])))
        elif len(values) == 1:
            [(key, value)] = values.items()
            await self._server.ask(doing, "SET", self._name(key), value, "PX", ttl_ms)
        else:
            await self._server.run(doing, _SET_MANY, self._names(list(values)), ttl_ms, *values.values())

    async def _set_if_absent(self, key: bytes, value: bytes, ttl_ms: int | None) -> bool:
        expiry = () if ttl_ms is None else ("PX", ttl_ms)
        doing = self._about("writing", [key])
        return await self._server.ask(doing, "SET", self._name(key), value, "NX", *expiry) is not None

    async def _delete(self, keys: Sequence[bytes]) -> int:
        return int(await self._server.ask(self._about("deleting", keys), "UNLINK", *self._names(keys)))

    async def _exists(self, key: bytes) -> bool:
        return bool(await self._server.ask(self._about("looking for", [key]), "EXISTS", self._name(key)))

    async def _expire(self, key: bytes, ttl_ms: int) -> bool:
        doing = self._about("setting the expiry of", [key])
        return bool(await self._server.ask(doing, "PEXPIRE", self._name(key), ttl_ms))

    async def _persist(self, key: bytes) -> bool:
        return bool(await self._server.ask(self._about("taking the expiry from", [key]), "PERSIST", self._name(key)))

    async def _ttl_ms(self, key: bytes) -> float | None:
        left_ms = int(await self._server.ask(self._about("reading the expiry of", [key]), "PTTL", self._name(key)))
        if left_ms == _NO_KEY:
            return None
        return math.inf if left_ms == _NO_EXPIRY else left_ms

    async def _page(self, pattern: bytes, limit: int, cursor: str) -> KeyPage:
        # The prefix is escaped, so whatever the pattern is, nothing outside the namespace can match it.
        match = escaped(self._prefix) + pattern
        doing = f"looking for keys in namespace {self.namespace!r}"
        at = _checked_cursor(cursor)
        found: dict[bytes, None] = {}
        for _ in range(SCANS_A_PAGE_MAX):
            next_at, names = await self._server.ask(doing, "SCAN", at, "MATCH", match, "COUNT", limit)
            found.update((name.removeprefix(self._prefix), None) for name in names)
            at = int(next_at)
            if at == 0 or found:
                break
        return KeyPage(tuple(found), str(at) if at else "")

    async def _add(self, key: bytes, by: int) -> int:
        return int(await self._server.ask(self._about("adding to", [key]), "INCRBY", self._name(key), by))

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key

    def _names(self, keys: Sequence[bytes]) -> list[bytes]:
        return [self._prefix + key for key in keys]

    def _about(self, doing: str, keys: Sequence[bytes]) -> str:
        what = shown(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
        return f"{doing} {what} in namespace {self.namespace!r}"


def _checked_cursor(cursor: str) -> int:
    if not cursor:
        return 0
    if not cursor.isdecimal() or not cursor.isascii() or not 0 < int(cursor) < _CURSOR_MAX:
        raise InputError(f"{shown(cursor)} is no cursor: give that of the page before, or none")
    return int(cursor)
