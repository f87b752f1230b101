"""A cache in memory: the same rules and limits as on a server, and gone with the process.

Several caches share a :class:`MemorySpace`, each in its namespace. Nothing is pushed out to make room: what does not fit is
refused. What has expired is gone for every reader at once, and its room is taken back before anything is refused and, bit by bit,
with each writing.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tradekeel.domain.times import NS_PER_MS
from tradekeel.errors import InputError, StoreRefused
from tradekeel.ports.cache import DEADLINE_S, NUMBER_MAX, KeyPage
from tradekeel.storage.caching import CheckedCache, shown
from tradekeel.storage.glob import compiled

ENTRIES_MAX: Final = 200_000
BYTES_MAX: Final = 256 * 1024 * 1024
ENTRY_BYTES: Final = 200
"""What an entry takes beside its key and value, roughly."""

SWEPT_A_WRITE_MAX: Final = 100
"""Expired entries that one writing takes away for others."""

_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class _Entry(NamedTuple):
    value: bytes
    expires_ns: int | None


class MemorySpace:
    """The room that caches share. ``now_ns`` is the time that expiry goes by, in nanoseconds: it should only grow."""

    def __init__(
        self, now_ns: Callable[[], int], *, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self.now_ns = now_ns
        self.entries = 0
        self.bytes = 0
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._names: dict[str, dict[bytes, _Entry]] = {}
        self._expiring: list[tuple[int, str, bytes]] = []  # a heap; those that were changed meanwhile are passed over

    def entry(self, name: str, key: bytes) -> _Entry | None:
        """What is there now."""
        entry = self._names.get(name, {}).get(key)
        if entry is None or entry.expires_ns is None or entry.expires_ns > self.now_ns():
            return entry
        self.drop(name, key)
        return None

    def put(self, name: str, values: Mapping[bytes, bytes], expires_ns: int | None) -> None:
        """Put all of it, or raise StoreRefused where there is no room and put nothing."""
        self._sweep(SWEPT_A_WRITE_MAX)
        if not self._has_room(name, values):
            self.sweep()
            if not self._has_room(name, values):
                raise StoreRefused(
                    f"the cache in memory is full ({self.entries} values, {self.bytes} bytes; {self._entries_max} and "
                    f"{self._bytes_max} are allowed). Give values a time to live, delete some, or allow more."
                )
        there = self._names.setdefault(name, {})
        for key, value in values.items():
            self._forget(there, key)
            self._place(name, there, key, _Entry(value, expires_ns))

    def change_expiry(self, name: str, key: bytes, expires_ns: int | None) -> None:
        """Let what is there live until another time."""
        there = self._names[name]
        entry = there[key]
        self._forget(there, key)
        self._place(name, there, key, _Entry(entry.value, expires_ns))

    def drop(self, name: str, key: bytes) -> None:
        """Take away what is there."""
        there = self._names[name]
        self._forget(there, key)
        if not there:
            del self._names[name]

    def keys(self, name: str) -> Iterable[bytes]:
        """The keys that have not expired."""
        now_ns = self.now_ns()
        for key, entry in self._names.get(name, {}).items():
            if entry.expires_ns is None or entry.expires_ns > now_ns:
                yield key

    def sweep(self) -> None:
        """Take away everything that has expired."""
        self._sweep(len(self._expiring))

    def _sweep(self, entries_max: int) -> None:
        now_ns = self.now_ns()
        for _ in range(entries_max):
            if not self._expiring or self._expiring[0][0] > now_ns:
                return
            expires_ns, name, key = heapq.heappop(self._expiring)
            entry = self._names.get(name, {}).get(key)
            if entry is not None and entry.expires_ns == expires_ns:
                self.drop(name, key)

    def _has_room(self, name: str, values: Mapping[bytes, bytes]) -> bool:
        there = self._names.get(name, {})
        entries, size = self.entries, self.bytes
        for key, value in values.items():
            before = there.get(key)
            entries += before is None
            size += _size(key, value) - (0 if before is None else _size(key, before.value))
        return entries <= self._entries_max and size <= self._bytes_max

    def _place(self, name: str, there: dict[bytes, _Entry], key: bytes, entry: _Entry) -> None:
        there[key] = entry
        self.entries += 1
        self.bytes += _size(key, entry.value)
        if entry.expires_ns is None:
            return
        heapq.heappush(self._expiring, (entry.expires_ns, name, key))
        if len(self._expiring) > 2 * self.entries + SWEPT_A_WRITE_MAX:
            # Most of the heap is about times that were changed since: it is made anew of what is there.
            self._expiring = [
                (kept.expires_ns, space, one)
                for space, entries in self._names.items()
                for one, kept in entries.items()
                if kept.expires_ns is not None
            ]
            heapq.heapify(self._expiring)

    def _forget(self, there: dict[bytes, _Entry], key: bytes) -> None:
        entry = there.pop(key, None)
        if entry is not None:
            self.entries -= 1
            self.bytes -= _size(key, entry.value)


class MemoryCache(CheckedCache):
    """A cache in one namespace of a space. Its calls never wait, so none is ever late."""

    def __init__(self, space: MemorySpace, namespace: str, *, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(namespace, deadline_s)
        self._space = space

    async def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found = (self._space.entry(self.namespace, key) for key in keys)
        return [None if entry is None else entry.value for entry in found]

    async def _set(self, values: Mapping[bytes, bytes], ttl_ms: int | None) -> None:
        self._space.put(self.namespace, values, self._expiry_ns(ttl_ms))

    async def _set_if_absent(self, key: bytes, value: bytes, ttl_ms: int | None) -> bool:
        if self._space.entry(self.namespace, key) is not None:
            return False
        await self._set({key: value}, ttl_ms)
        return True

    async def _delete(self, keys: Sequence[bytes]) -> int:
        deleted = 0
        for key in keys:
            if self._space.entry(self.namespace, key) is not None:
                self._space.drop(self.namespace, key)
                deleted += 1
        return deleted

    async def _exists(self, key: bytes) -> bool:
        return self._space.entry(self.namespace, key) is not None

    async def _expire(self, key: bytes, ttl_ms: int) -> bool:
        if self._space.entry(self.namespace, key) is None:
            return False
        self._space.change_expiry(self.namespace, key, self._expiry_ns(ttl_ms))
        return True

    async def _persist(self, key: bytes) -> bool:
        entry = self._space.entry(self.namespace, key)
        if entry is None or entry.expires_ns is None:
            return False
        self._space.change_expiry(self.namespace, key, None)
        return True

    async def _ttl_ms(self, key: bytes) -> float | None:
        entry = self._space.entry(self.namespace, key)
        if entry is None:
            return None
        if entry.expires_ns is None:
            return math.inf
        return (entry.expires_ns - self._space.now_ns()) / NS_PER_MS

    async def _page(self, pattern: bytes, limit: int, cursor: str) -> KeyPage:
        matches = compiled(pattern).fullmatch
        behind = _key_of(cursor)
        found = (key for key in self._space.keys(self.namespace) if key > behind and matches(key))
        page = heapq.nsmallest(limit, found)
        return KeyPage(tuple(page), page[-1].hex() if len(page) == limit else "")

    async def _add(self, key: bytes, by: int) -> int:
        entry = self._space.entry(self.namespace, key)
        before = _number(key, entry.value) if entry is not None else 0
        after = before + by
        if not -NUMBER_MAX - 1 <= after <= NUMBER_MAX:
            raise StoreRefused(f"{before} and {by} in {shown(key)} would leave 64 bits. It stays as it is.")
        self._space.put(self.namespace, {key: str(after).encode()}, entry.expires_ns if entry is not None else None)
        return after

    def _expiry_ns(self, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else self._space.now_ns() + ttl_ms * NS_PER_MS


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES


def _key_of(cursor: str) -> bytes:
    """The key that a page ended with: no key is empty, so an empty one stands before them all."""
    try:
        return bytes.fromhex(cursor)
    except (ValueError, TypeError) as error:
        raise InputError(f"{shown(cursor)} is no cursor: give that of the page before, or none") from error


def _number(key: bytes, value: bytes) -> int:
    number = int(value) if _NUMBER.fullmatch(value) else None
    if number is None or not -NUMBER_MAX - 1 <= number <= NUMBER_MAX:
        raise StoreRefused(
            f"{shown(key)} holds {shown(value)}, which is no whole number of 64 bits. Nothing was added."
        )
    return number
