"""A registry of services on a Redis server, below ``trading:services:FLEET:``.

| key | what |
|---|---|
| ``one:ID`` | a hash: what a service said of itself, its metadata as ``m:NAME`` |
| ``alive`` | a sorted set: until when each service counts as alive, in milliseconds of the server's clock |
| ``changes`` | a stream of what changed, the newest of it |
| ``count`` | how many changes there were: each carries its number, so that a gap is seen |

Each call is one script, so one step of the server, by the server's clock: nobody meets half a service, and nobody's own clock
says who is alive.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from tradekeel.errors import StoreRefused
from tradekeel.ports.registry import (
    CHANGES_KEPT,
    METADATA_BYTES_MAX,
    METADATA_MAX,
    SERVICES_MAX,
    ChangeKind,
    Service,
    ServiceChange,
)
from tradekeel.storage.redis.server import PREFIX, RedisServer, Word
from tradekeel.storage.services import CheckedRegistry, full, missed, too_much, ttl_ms_of

LISTEN_S: Final = 5.0
"""How long one reading of the changes waits for the next."""

CHANGES_A_READING: Final = 100
_FULL, _TOO_MUCH = -1, -2
_METADATA = "m:"

# How a script begins says what it may do, so that what it may not do is refused before its first step.
_READS = "#!lua flags=no-writes"
_WRITES = "#!lua"
_MAKES_ROOM = "#!lua flags=allow-oom"  # or takes as good as none

_COMMON = """
local alive, changes, count, one = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_ns = string.format('%s%06d000', time[1], tonumber(time[2]))  -- as text: a number of Lua has not so many digits

local function is_there(id)
  return redis.call('EXISTS', one .. id) == 1 and redis.call('ZSCORE', alive, id)
end

local function shown(id)  -- what a service is, after whether it is alive
  local until_ms = redis.call('ZSCORE', alive, id)
  local fields = redis.call('HGETALL', one .. id)
  if not until_ms or #fields == 0 then return nil end
  return {tonumber(until_ms) > now_ms and 1 or 0, unpack(fields)}
end

local function tell(kind, service)
  local number = redis.call('INCR', count)
  redis.call('XADD', changes, 'MAXLEN', @CHANGES, '*', 'n', number, 'kind', kind, 'ts_ns', now_ns, 'alive', unpack(service))
end

local function drop(id, kind)
  local service = shown(id)
  redis.call('DEL', one .. id)
  redis.call('ZREM', alive, id)
  if service then tell(kind, service) end
  return service
end

local function prune()
  local gone = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now_ms)) do
    gone[#gone + 1] = drop(id, 'pruned')
  end
  return gone
end
""".replace("@CHANGES", str(CHANGES_KEPT))

# ARGV: id, ttl in ms, most services, then the fields of the service
_REGISTER = """
local id = ARGV[1]
if not is_there(id) and redis.call('ZCARD', alive) >= tonumber(ARGV[3]) then
  prune()
  if redis.call('ZCARD', alive) >= tonumber(ARGV[3]) then return @FULL end
end
redis.call('DEL', one .. id)
redis.call('HSET', one .. id, 'registered_ns', now_ns, 'heartbeat_ns', now_ns, unpack(ARGV, 4))
redis.call('ZADD', alive, now_ms + tonumber(ARGV[2]), id)
local service = shown(id)
tell('registered', service)
return service
""".replace("@FULL", str(_FULL))

_DEREGISTER = "return drop(ARGV[1], 'deregistered') and 1 or 0"

_HEARTBEAT = """
local id = ARGV[1]
if not is_there(id) then return 0 end
redis.call('HSET', one .. id, 'heartbeat_ns', now_ns)
redis.call('ZADD', alive, now_ms + tonumber(redis.call('HGET', one .. id, 'ttl_ms')), id)
return 1
"""

_UPDATE_STATUS = """
local id = ARGV[1]
if not is_there(id) then return 0 end
if redis.call('HGET', one .. id, 'status') ~= ARGV[2] then
  redis.call('HSET', one .. id, 'status', ARGV[2])
  tell('updated', shown(id))
end
return 1
"""

# ARGV: id, most entries, most bytes, how many entries to put, names and values of these, names to take away
_UPDATE_METADATA = """
local id, put = ARGV[1], tonumber(ARGV[4])
if not is_there(id) then return 0 end
local entries, changed = {}, false
local fields = redis.call('HGETALL', one .. id)
for place = 1, #fields, 2 do
  if string.sub(fields[place], 1, 2) == 'm:' then entries[fields[place]] = fields[place + 1] end
end
local last_put = 4 + 2 * put
for place = 5, last_put, 2 do
  changed = changed or entries[ARGV[place]] ~= ARGV[place + 1]
  entries[ARGV[place]] = ARGV[place + 1]
end
for place = last_put + 1, #ARGV do
  changed = changed or entries[ARGV[place]] ~= nil
  entries[ARGV[place]] = nil
end
local number, bytes = 0, 0
for name, value in pairs(entries) do
  number = number + 1
  bytes = bytes + #name - 2 + #value
end
if number > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) then return @TOO_MUCH end
if changed then
  if put > 0 then redis.call('HSET', one .. id, unpack(ARGV, 5, last_put)) end
  if #ARGV > last_put then redis.call('HDEL', one .. id, unpack(ARGV, last_put + 1)) end
  tell('updated', shown(id))
end
return 1
""".replace("@TOO_MUCH", str(_TOO_MUCH))

_GET = "return shown(ARGV[1]) or false"

# ARGV: 1 and a name or 0, 1 and a status or 0
_LIST = """
local found = {}
for _, id in ipairs(redis.call('ZRANGE', alive, 0, -1)) do
  local here = redis.call('HMGET', one .. id, 'name', 'status')
  if (ARGV[1] == '0' or here[1] == ARGV[2]) and (ARGV[3] == '0' or here[2] == ARGV[4]) then
    found[#found + 1] = shown(id)
  end
end
return found
"""

_PRUNE = "return prune()"

_NEWEST = """
local newest = redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 1)
return {redis.call('GET', count) or '0', newest[1] and newest[1][1] or '0-0'}
"""


class RedisServiceRegistry(CheckedRegistry):
    """The services of a fleet, on a server."""

    def __init__(self, server: RedisServer, fleet: str = "main", *, deadline_s: float | None = None) -> None:
        super().__init__(fleet, server.deadline_s if deadline_s is None else deadline_s)
        self._server = server.within(self.deadline_s)
        prefix = f"{PREFIX}services:{fleet}:"
        self._changes = f"{prefix}changes"
        self._keys = (f"{prefix}alive", self._changes, f"{prefix}count", f"{prefix}one:")

    def within(self, deadline_s: float) -> Self:
        other = super().within(deadline_s)
        other._server = self._server.within(deadline_s)
        return other

    async def _register(self, service: Service) -> Service:
        answer = await self._run(
            f"registering service {service.id!r}",
            _WRITES,
            _REGISTER,
            service.id,
            ttl_ms_of(service),
            SERVICES_MAX,
            *_fields_of(service),
        )
        if answer == _FULL:
            raise full(self.fleet)
        return self._read(answer)

    async def _deregister(self, service_id: str) -> bool:
        return bool(await self._run(f"deregistering service {service_id!r}", _MAKES_ROOM, _DEREGISTER, service_id))

    async def _heartbeat(self, service_id: str) -> bool:
        return bool(await self._run(f"the heartbeat of service {service_id!r}", _MAKES_ROOM, _HEARTBEAT, service_id))

    async def _update_status(self, service_id: str, status: str) -> bool:
        return bool(
            await self._run(f"the status of service {service_id!r}", _MAKES_ROOM, _UPDATE_STATUS, service_id, status)
        )

    async def _update_metadata(self, service_id: str, changes: Mapping[str, str | None]) -> bool:
        put = [(f"{_METADATA}{name}", value) for name, value in changes.items() if value is not None]
        taken = [f"{_METADATA}{name}" for name, value in changes.items() if value is None]
        answer = await self._run(
            f"the metadata of service {service_id!r}",
            _WRITES,
            _UPDATE_METADATA,
            service_id,
            METADATA_MAX,
            METADATA_BYTES_MAX,
            len(put),
            *(part for entry in put for part in entry),
            *taken,
        )
        if answer == _TOO_MUCH:
            raise too_much(service_id)
        return bool(answer)

    async def _get(self, service_id: str) -> Service | None:
        answer = await self._run(f"reading service {service_id!r}", _READS, _GET, service_id)
        return None if answer is None else self._read(answer)

    async def _list(self, name: str | None, status: str | None) -> Iterable[Service]:
        asked = [part for word in (name, status) for part in ((0, "") if word is None else (1, word))]
        return map(self._read, await self._run("listing the services", _READS, _LIST, *asked))

    async def _prune(self) -> Iterable[Service]:
        return map(self._read, await self._run("pruning the services", _MAKES_ROOM, _PRUNE))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[ServiceChange]]:
        count, newest = await self._run("beginning to watch the services", _READS, _NEWEST)
        changes = self._listen(int(count), newest)
        try:
            yield changes
        finally:
            await changes.aclose()

    async def _listen(self, number: int, newest: bytes) -> AsyncGenerator[ServiceChange, None]:
        while True:
            answer = await self._server.listen(
                f"watching the services of fleet {self.fleet!r}",
                *("XREAD", "COUNT", CHANGES_A_READING, "BLOCK", int(LISTEN_S * 1_000)),
                *("STREAMS", self._changes, newest),
                wait_s=LISTEN_S,
            )
            for entry, parts in answer[0][1] if answer else ():
                newest = entry
                told = dict(zip(parts[::2], parts[1::2], strict=True))
                number += 1
                if int(told.pop(b"n")) != number:
                    raise missed(self.fleet)
                kind, ts_ns = ChangeKind(told.pop(b"kind").decode()), int(told.pop(b"ts_ns"))
                alive = told.pop(b"alive") == b"1"
                yield ServiceChange(kind, self._service(told, alive), ts_ns)

    async def _run(self, doing: str, may: str, script: str, *arguments: Word) -> Any:
        doing = f"{doing} in fleet {self.fleet!r}"
        return await self._server.run(doing, f"{may}\n{_COMMON}{script}", self._keys, *arguments)

    def _read(self, answer: Sequence[Any]) -> Service:
        alive, *parts = answer
        return self._service(dict(zip(parts[::2], parts[1::2], strict=True)), bool(alive))

    def _service(self, fields: Mapping[bytes, bytes], alive: bool) -> Service:
        try:
            return _service_of({name.decode(): value.decode() for name, value in fields.items()}, alive)
        except (KeyError, ValueError) as error:
            raise StoreRefused(
                f"a service of fleet {self.fleet!r} on {self._server.where} is damaged ({error!r} in {fields!r}). "
                f"Delete its key below {self._keys[3]} and let it register again."
            ) from error


def _fields_of(service: Service) -> list[Word]:
    said: list[Word] = ["id", service.id, "name", service.name, "host", service.host, "pid", service.pid]
    said += ["version", service.version, "status", service.status, "ttl_ms", ttl_ms_of(service)]
    for name, value in service.metadata.items():
        said += [f"{_METADATA}{name}", value]
    return said


def _service_of(fields: Mapping[str, str], alive: bool) -> Service:
    return Service(
        id=fields["id"],
        name=fields["name"],
        host=fields["host"],
        pid=int(fields["pid"]),
        version=fields["version"],
        status=fields["status"],
        metadata={name[len(_METADATA) :]: value for name, value in fields.items() if name.startswith(_METADATA)},
        ttl_s=int(fields["ttl_ms"]) / 1_000,
        registered_ns=int(fields["registered_ns"]),
        heartbeat_ns=int(fields["heartbeat_ns"]),
        alive=alive,
    )
