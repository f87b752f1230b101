"""Optuna's log of one study on a Redis server, by a client of ours, and without a wait that has no end.

Optuna waits for an entry that is counted and not there, until somebody brings it. The count and the entry are written by one
script, so nobody will: it was deleted, or the server has evicted it.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from optuna.storages.journal import JournalRedisBackend

from tradekeel.errors import StoreCorrupt

if TYPE_CHECKING:
    from redis import Redis

PAGE = 1_000
"""Entries that are asked for at a time."""


class RedisLog(JournalRedisBackend):
    """See the module. The client asks nothing twice: an entry that is appended twice is a trial that nobody runs. A snapshot is
    code to whoever unpickles it, and anybody may have put it there: none is taken.
    """

    def __init__(self, client: Redis, prefix: str, where: str) -> None:
        """All keys begin with ``prefix``; ``where`` is the server, for messages."""
        super().__init__("redis://", prefix=prefix)
        self._redis = self.client = client
        self._where = where

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The entries from this one on. Raises StoreCorrupt where one of them is gone, or what was read before."""
        last: Any = self._redis.get(f"{self._prefix}:log_number")
        count = 0 if last is None else int(last) + 1
        if count < log_number_from:
            raise self._gone(count)
        for start in range(log_number_from, count, PAGE):
            numbers = range(start, min(start + PAGE, count))
            entries: Any = self._redis.mget([self._key_log_id(number) for number in numbers])
            for number, entry in zip(numbers, entries, strict=True):
                if entry is None:
                    raise self._gone(number)
                yield json.loads(entry)

    def load_snapshot(self) -> bytes | None:
        """None."""
        return None

    def save_snapshot(self, snapshot: bytes) -> None:
        """Nothing is saved."""

    def _gone(self, number: int) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self._where} has lost entry {number} of the study below {self._prefix}: its keys were deleted, or the server "
            "evicts keys when it is full (it needs maxmemory-policy noeviction). Delete what is left, or take another --study"
        )
