"""Publishing on a Redis server: a stream an execution, a hash an account.

| key | what |
|---|---|
| ``trading:events:EXECUTION`` | a stream: id ``SEQUENCE-0``, fields ``type``, ``ts_ns``, ``correlation_id``, ``record`` |
| ``trading:open_trades:ACCOUNT`` | a hash: JSON by trade id, and beside it what begins with ``#`` |

Each change is one script, so one step of the server. An append names the entry that it follows; a stream whose last id is
another one is not touched, which makes an append that is asked for twice a no-op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tradekeel.errors import StoreRefused
from tradekeel.ports.publication import EVENTS_A_CALL_MAX, Author, Board, Event
from tradekeel.storage.redis.server import PREFIX, RedisServer, Word

EVENTS: Final = f"{PREFIX}events:"
OPEN_TRADES: Final = f"{PREFIX}open_trades:"

# The last id that a stream gave: it stays when entries are taken away. ARGV: the id it must be, whether the stream may
# begin here, how many to keep, and then id, type, ts_ns, correlation_id, record of each event
_APPEND = """
local stream, last = KEYS[1], '0-0'
if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for place = 1, #info, 2 do
    if info[place] == 'last-generated-id' then last = info[place + 1] end
  end
end
if last ~= ARGV[1] and not (last == '0-0' and ARGV[2] == '1') then return last end
for place = 4, #ARGV, 5 do
  last = redis.call('XADD', stream, ARGV[place], 'type', ARGV[place + 1], 'ts_ns', ARGV[place + 2],
    'correlation_id', ARGV[place + 3], 'record', ARGV[place + 4])
end
if #ARGV > 3 then redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[3]) end
return last
"""

# ARGV: who, its name, the execution, the sequence that must be shown or '', the new sequence, how many trades there are then, for
# how many ms another one's board is left alone, how many trades are gone, these, then id and JSON of each that has changed
_SHOW = """
local board, who, execution, since, trades = KEYS[1], ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[6])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local is = redis.call('HMGET', board, '#publisher', '#ts_ns', '#execution', '#sequence', '#daemon')
if is[1] and is[1] ~= who and is[2] then
  local ms = tonumber(string.sub(is[2], 1, -7)) or 0
  if now_ms - ms < tonumber(ARGV[7]) then return is[5] or is[1] end
end
if since == '' then
  redis.call('DEL', board)
elseif is[1] ~= who or is[3] ~= execution or is[4] ~= since then
  return 0
end
local last_gone = 8 + tonumber(ARGV[8])
for place = 9, last_gone do redis.call('HDEL', board, ARGV[place]) end
for place = last_gone + 1, #ARGV, 2 do redis.call('HSET', board, ARGV[place], ARGV[place + 1]) end
redis.call('HSET', board, '#publisher', who, '#daemon', ARGV[2], '#execution', execution, '#sequence', ARGV[5],
  '#trades', trades, '#ts_ns', string.format('%s%06d000', time[1], tonumber(time[2])))
if redis.call('HLEN', board) ~= trades + 6 then return 0 end
return 1
"""


class RedisPublication:
    """See ``ports/publication.py``."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def newest(self, execution: str) -> Event | None:
        doing = f"reading the newest event of {execution}"
        found = await self._server.ask(doing, "XREVRANGE", f"{EVENTS}{execution}", "+", "-", "COUNT", 1)
        if not found:
            return None
        [(entry, parts)] = found
        said = dict(zip(parts[::2], parts[1::2], strict=True))
        try:
            return Event(
                sequence=_sequence_of(entry),
                type=said[b"type"].decode(),
                ts_ns=int(said[b"ts_ns"]),
                correlation_id=said[b"correlation_id"].decode(),
                record=said[b"record"],
            )
        except (KeyError, ValueError):
            return Event(-1, "", 0, "", b"")

    async def append(
        self, execution: str, after: int, events: Sequence[Event], *, keep: int, anew: bool = False
    ) -> int:
        assert len(events) <= EVENTS_A_CALL_MAX
        words: list[Word] = [f"{after}-0", int(anew), keep]
        for event in events:
            words += (f"{event.sequence}-0", event.type, event.ts_ns, event.correlation_id, event.record)
        doing = f"publishing {len(events)} events of {execution}"
        return _sequence_of(await self._server.run(doing, _APPEND, (f"{EVENTS}{execution}",), *words))

    async def forget(self, execution: str) -> None:
        await self._server.ask(f"removing the events of {execution}", "DEL", f"{EVENTS}{execution}")

    async def show(self, board: Board, by: Author, *, since: int | None, fresh_s: float) -> bool:
        words: list[Word] = [
            by.id,
            by.name,
            board.execution,
            "" if since is None else since,
            board.sequence,
            board.trades,
        ]
        words += (round(fresh_s * 1_000), len(board.gone), *board.gone)
        for trade_id, trade in board.put.items():
            words += (trade_id, trade)
        doing = f"showing the open trades of {board.account}"
        answer = await self._server.run(doing, _SHOW, (f"{OPEN_TRADES}{board.account}",), *words)
        if isinstance(answer, bytes):
            other = answer.decode(errors="replace")
            raise StoreRefused(
                f"the open trades of account {board.account!r} on {self._server.where} are shown by another daemon, {other!r}. "
                "Give one of the two accounts another name, or set redis.hot_trades = false for one."
            )
        return bool(answer)


def _sequence_of(entry: bytes) -> int:
    """The journal's number in an entry's id; -1 in one that is not ours."""
    number, _, rest = entry.partition(b"-")
    return int(number) if rest == b"0" else -1
