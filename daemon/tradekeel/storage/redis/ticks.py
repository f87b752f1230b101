"""A shared sequence of ticks on a Redis server: ``trading:ticks:NAME``, and what it is in ``trading:ticks:NAME:about``.

| key | what |
|---|---|
| ``NAME`` | a stream, an entry a tick, whose id is ``POSITION-0``; behind the last of a feed that has ended ``POSITION-1`` |
| ``NAME:about`` | a hash: ``format``, ``run``, ``writer``, ``data``, ``live``, ``instruments``, ``last``, ``counts`` |

The fields of an entry are ``i`` instrument, ``t`` time (ns UTC), ``b`` bid, ``a`` ask, ``n`` which of the instrument's ticks it
is since the last gap, and where there is something to say ``B`` and ``A``, the sizes, ``l``, the latest time of the instrument
if that is later than ``t``, and ``w``, the two numbers of a :class:`~tradekeel.ports.ticks.Leap`. Amounts are decimals as text,
exactly as they were.

Each call is one script, so one step of the server: nobody reads entries of one run and takes them for another's. Ids only grow,
so writing the same positions twice writes them once. A script hands over many entries as one packed text, which costs a
fifth of taking them apart one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from tradekeel.domain.ticks import Tick
from tradekeel.errors import StoreRefused
from tradekeel.ports.ticks import (
    Begun,
    Counts,
    Leap,
    Piece,
    SharedTick,
    StreamGone,
    StreamHead,
    StreamReplaced,
    Writing,
)
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.once import ask_once
from tradekeel.storage.redis.server import PREFIX, RedisServer

FORMAT: Final = "1"
"""Of the entries and the hash; another one is refused."""

_GONE, _OTHER, _FOREIGN, _STRANGE = "gone", "other", "foreign", "strange"
_HEAD = ("format", "run", "live", "instruments", "last")

_READS = "#!lua flags=no-writes\n"
_WRITES = "#!lua\n"

_ABOUT = """
local stream, about = KEYS[1], KEYS[2]
local function is_there() return redis.call('EXISTS', about) == 1 end
local function missing() return {redis.call('EXISTS', stream) == 1 and 'foreign' or 'gone'} end
"""

_LOOK = (
    _READS
    + _ABOUT
    + """
if not is_there() then return missing() end
return redis.call('HMGET', about, 'format', 'run', 'live', 'instruments', 'last')
"""
)

# ARGV: format, run, what it is: data, live, instruments; the last position that the writer knows of; the writer
_BEGIN = (
    _WRITES
    + _ABOUT
    + """
if not is_there() and redis.call('EXISTS', stream) == 1 then return {'foreign'} end
local known = redis.call('HMGET', about, 'format', 'data', 'live', 'instruments', 'run', 'last', 'counts')
if known[1] == ARGV[1] and known[2] == ARGV[3] and known[3] == ARGV[4] and known[4] == ARGV[5]
    and known[5] and tonumber(known[6]) and known[7] then
  redis.call('HSET', about, 'writer', ARGV[7])
  return {known[5], known[6], known[7], 0}
end
redis.call('DEL', stream, about)
redis.call('HSET', about, 'format', ARGV[1], 'run', ARGV[2], 'writer', ARGV[7], 'data', ARGV[3], 'live', ARGV[4],
  'instruments', ARGV[5], 'last', ARGV[6], 'counts', '')
return {ARGV[2], ARGV[6], '', 1}
"""
)

# ARGV: run, most entries, the entries packed, the counts behind them, whether the feed has ended, the writer.
# An id that is not above the last one is one that is there: somebody has brought back an older hash beside the stream; unless
# there is, or was, one at the end that is none of ours: then nothing can be written any more.
_APPEND = (
    _WRITES
    + _ABOUT
    + """
local known = redis.call('HMGET', about, 'run', 'last', 'live', 'writer')
if not known[1] then return {'gone'} end
if known[1] ~= ARGV[1] then return {'other', 'run ' .. known[1]} end
if known[3] == '1' and known[4] ~= ARGV[6] then return {'other', 'writer ' .. known[4]} end
local last = tonumber(known[2])
if not last then return {'foreign'} end
local function add(id, fields)
  local done = redis.pcall('XADD', stream, id, unpack(fields))
  if type(done) ~= 'table' or not done.err then return nil end
  if not string.find(done.err, 'equal or smaller', 1, true) then return done end
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not newest or tonumber(string.match(newest[1], '^%d+')) < tonumber(string.match(id, '^%d+')) then
    return {'strange', 'it is deleted, and its id is above ours'}
  end
  if newest[2][1] ~= 'i' and newest[2][1] ~= 'end' then return {'strange', newest[1]} end
end
local rows = cmsgpack.unpack(ARGV[3])
for _, row in ipairs(rows) do
  if row[1] > last then
    local failed = add(string.format('%d-0', row[1]), row[2])
    if failed then return failed end
    last = row[1]
  end
end
if #rows > 0 and last == rows[#rows][1] then
  redis.call('HSET', about, 'last', string.format('%d', last), 'counts', ARGV[4])
end
if ARGV[5] == '1' then
  local failed = add(string.format('%d-1', last), {'end', '1'})
  if failed then return failed end
end
redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[2])
return {'done'}
"""
)

# ARGV: run, where to begin, where to end, how many, and 1 for the newest of them first
_READ = (
    _READS
    + _ABOUT
    + """
if not is_there() then return missing() end
local known = redis.call('HMGET', about, 'run', 'last')
if not known[1] or not tonumber(known[2]) then return {'foreign'} end
if known[1] ~= ARGV[1] then return {'other', 'run ' .. known[1]} end
local entries
if ARGV[5] == '1' then
  entries = redis.call('XREVRANGE', stream, ARGV[3], ARGV[2], 'COUNT', ARGV[4])
else
  entries = redis.call('XRANGE', stream, ARGV[2], ARGV[3], 'COUNT', ARGV[4])
end
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
return {'here', known[2], oldest and oldest[1] or '', cmsgpack.pack(entries)}
"""
)

ZERO, INFINITE = Decimal(0), Decimal("Infinity")
_ALWAYS: Final = ["i", "t", "b", "a", "n"]
_PACK = msgspec.msgpack.Encoder()
_ENTRIES = msgspec.msgpack.Decoder(list[tuple[str, list[str]]])
_COUNTS = msgspec.json.Decoder(dict[str, Counts])


class RedisTicks:
    """See the module. Satisfies :class:`~tradekeel.ports.ticks.SharedTicks`."""

    def __init__(self, settings: RedisSettings, name: str) -> None:
        """Connects when it is first asked. Raises InputError where the settings make no sense."""
        self.name = name
        self._settings = settings
        self._server = RedisServer.open(settings)
        self._keys = (f"{PREFIX}ticks:{name}", f"{PREFIX}ticks:{name}:about")

    @property
    def described(self) -> str:
        """Its name and its server, for messages."""
        return f"the tick stream {self.name!r} on {self._server.where}"

    def look(self) -> StreamHead:
        """What it says of itself; blocks, on a connection of its own."""
        answer = ask_once(self._settings, f"looking at {self.described}", "EVAL", _LOOK, 2, *self._keys)
        return self._head([None if part is None else part.decode() for part in answer])

    async def read(self, run: str, after: int, count: int) -> Piece:
        """The oldest entries behind ``after``."""
        return await self._read("reading", run, f"({after}-0", "+", count, newest=False)

    async def read_back(self, run: str, before: int, count: int) -> Piece:
        """The newest entries before ``before``."""
        return await self._read("reading back", run, "-", f"({before}-0", count, newest=True)

    async def wait(self, after: int, wait_s: float) -> None:
        """Until something is there behind ``after``, at most so long."""
        doing = f"waiting for {self.described}"
        block_ms = max(1, round(wait_s * 1_000))
        command = ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._keys[0], f"{after}-0")
        await self._server.reading().listen(doing, *command, wait_s=wait_s)

    async def begin(self, head: StreamHead, data: str, writer: str) -> Begun:
        """Go on with the sequence that there is, or begin it anew."""
        instruments = " ".join(head.instruments)
        arguments = (FORMAT, head.run, data, "1" if head.live else "0", instruments, head.last, writer)
        answer = await self._server.run(f"beginning {self.described}", _BEGIN, self._keys, *arguments)
        if answer[0] == _FOREIGN.encode():
            raise self._not_ours()
        run, last, counts, is_new = answer
        try:
            known = _COUNTS.decode(counts) if counts else {}
        except msgspec.MsgspecError as error:
            raise self._not_ours() from error
        return Begun(run=run.decode(), last=int(last), counts=known, is_new=bool(is_new))

    async def append(self, writing: Writing, ticks: Sequence[SharedTick], counts: Mapping[str, Counts]) -> None:
        """Write what is not there yet."""
        rows = _PACK.encode([(shared.tick.position, _fields(shared)) for shared in ticks])
        ended = "1" if writing.ended else "0"
        arguments = (writing.run, writing.ticks_max, rows, msgspec.json.encode(dict(counts)), ended, writing.writer)
        answer = await self._server.run(f"writing {self.described}", _APPEND, self._keys, *arguments)
        self._here(answer, "done")

    async def close(self) -> None:
        """Let go of the server."""
        await self._server.close()

    async def _read(self, doing: str, run: str, start: str, end: str, count: int, *, newest: bool) -> Piece:
        arguments = (run, start, end, count, "1" if newest else "0")
        answer = await self._server.reading().run(f"{doing} {self.described}", _READ, self._keys, *arguments)
        last, oldest, packed = self._here(answer, "here")
        try:
            entries = _ENTRIES.decode(packed)
            if newest:
                entries.reverse()
            ticks = [_tick(entry, fields) for entry, fields in entries if entry.endswith("-0")]
            ended = bool(entries) and entries[-1][0] == f"{int(last)}-1"
            first = int(oldest.partition(b"-")[0]) if oldest else 0
        except (ValueError, KeyError, InvalidOperation, msgspec.MsgspecError) as error:
            raise self._strange(repr(error)) from error
        return Piece(last=int(last), first=first, ticks=ticks, ended=ended)

    def _here(self, answer: Sequence[Any], word: str) -> Sequence[Any]:
        """What stands behind the answer's first word, if that is what it should be."""
        said = answer[0].decode()
        if said == _OTHER:
            raise StreamReplaced(answer[1].decode())
        if said == _GONE:
            raise StreamGone
        if said == _STRANGE:
            raise self._strange(answer[1].decode())
        if said != word:
            raise self._not_ours()
        return answer[1:]

    def _head(self, said: Sequence[str | None]) -> StreamHead:
        if said[0] == _GONE:
            raise StreamGone
        values = dict(zip(_HEAD, said, strict=False))
        known, run, instruments = values.get("format"), values.get("run"), values.get("instruments")
        if known != FORMAT or run is None or instruments is None:
            raise self._not_ours()
        last = values.get("last") or ""
        if not last.isdecimal():
            raise self._not_ours()
        return StreamHead(run=run, instruments=tuple(instruments.split()), live=values["live"] == "1", last=int(last))

    def _strange(self, found: str) -> StoreRefused:
        return StoreRefused(
            f"{self.described} has an entry that no Tradekeel has written ({found}). Look with XREVRANGE {self._keys[0]} + -, "
            "and delete the stream (its writer begins it anew, and readers are told of the gap), or give the feed another one."
        )

    def _not_ours(self) -> StoreRefused:
        return StoreRefused(
            f"{self.described} is none of this Tradekeel's: {self._keys[1]} is missing, or says something else. Delete both "
            "keys, or give the feed another stream."
        )


def _tick(entry: str, fields: list[str]) -> SharedTick:
    if fields[:10:2] != _ALWAYS:
        raise ValueError(f"{entry}: {fields}")
    ts_ns = int(fields[3])
    bid_size = ask_size = None
    latest_ns, leap = ts_ns, None
    if len(fields) > 10:
        said = dict(zip(fields[10::2], fields[11::2], strict=True))
        sizes = [Decimal(said[side]) if side in said else None for side in ("B", "A")]
        if any(size is not None and not ZERO <= size < INFINITE for size in sizes):
            raise ValueError(f"{entry}: {fields}")
        bid_size, ask_size = sizes
        latest_ns = int(said.get("l", ts_ns))
        if "w" in said:
            behind, first = map(int, said["w"].split())
            leap = Leap(behind, first)
    bid, ask, count = Decimal(fields[5]), Decimal(fields[7]), int(fields[9])
    if not (ZERO < bid < INFINITE and ZERO < ask < INFINITE and count >= 1 and latest_ns >= ts_ns):
        raise ValueError(f"{entry}: {fields}")
    return SharedTick(Tick(fields[1], ts_ns, bid, ask, int(entry[:-2]), bid_size, ask_size), count, latest_ns, leap)


def _fields(shared: SharedTick) -> list[str]:
    tick = shared.tick
    fields = [
        "i",
        tick.instrument,
        "t",
        str(tick.ts_ns),
        "b",
        str(tick.bid),
        "a",
        str(tick.ask),
        "n",
        str(shared.count),
    ]
    if tick.bid_size is not None:
        fields += ("B", str(tick.bid_size))
    if tick.ask_size is not None:
        fields += ("A", str(tick.ask_size))
    if shared.latest_ns > tick.ts_ns:
        fields += ("l", str(shared.latest_ns))
    if shared.leap is not None:
        fields += ("w", f"{shared.leap.behind} {shared.leap.first}")
    return fields
