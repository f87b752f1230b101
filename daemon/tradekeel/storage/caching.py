"""What every cache holds to, whatever keeps its values: what is a key, a value, a time to live, and how JSON is kept exact.

:class:`CheckedCache` is the outer half of each of them. It checks what it is given and does what can be done with the few
steps that a backend has to know; so a value that one backend takes, the others take, too, and what one refuses they all do.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self, TypeVar, overload

import msgspec

from tradekeel.errors import InputError, StoreRefused
from tradekeel.ports.cache import (
    DEADLINE_S,
    KEY_BYTES_MAX,
    MANY_BYTES_MAX,
    MANY_MAX,
    NUMBER_MAX,
    PAGE,
    PAGE_MAX,
    PATTERN_BYTES_MAX,
    TTL_S_MAX,
    VALUE_BYTES_MAX,
    KeyPage,
)

T = TypeVar("T")

NAMESPACE_BYTES_MAX = 200
DEADLINE_S_MAX = 600.0
STEP = 1_000
"""Keys that are looked at in one step of what goes through all of them."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_SHOWN = 60
_CODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)  # UnicodeError and msgspec's are ValueErrors


class CheckedCache(ABC):
    """A cache (``ports/cache.py``) around the steps of one backend, which are given nothing that is not in order."""

    def __init__(self, namespace: str, deadline_s: float = DEADLINE_S) -> None:
        """Raises InputError for a name that is no namespace: it has 1 to 200 bytes and no colon."""
        self.namespace = checked_namespace(namespace)
        self.deadline_s = checked_deadline(deadline_s)

    def within(self, deadline_s: float) -> Self:
        other = copy.copy(self)
        other.deadline_s = checked_deadline(deadline_s)
        return other

    # --- what a backend has to know -----------------------------------------------------------------------------------

    @abstractmethod
    async def _get(self, keys: Sequence[bytes]) -> list[bytes | None]: ...

    @abstractmethod
    async def _set(self, values: Mapping[bytes, bytes], ttl_ms: int | None) -> None: ...

    @abstractmethod
    async def _set_if_absent(self, key: bytes, value: bytes, ttl_ms: int | None) -> bool: ...

    @abstractmethod
    async def _delete(self, keys: Sequence[bytes]) -> int: ...

    @abstractmethod
    async def _exists(self, key: bytes) -> bool: ...

    @abstractmethod
    async def _expire(self, key: bytes, ttl_ms: int) -> bool: ...

    @abstractmethod
    async def _persist(self, key: bytes) -> bool: ...

    @abstractmethod
    async def _ttl_ms(self, key: bytes) -> float | None:
        """Milliseconds that are left; infinite, or None if there is no value."""

    @abstractmethod
    async def _page(self, pattern: bytes, limit: int, cursor: str) -> KeyPage: ...

    @abstractmethod
    async def _add(self, key: bytes, by: int) -> int: ...

    # --- one ----------------------------------------------------------------------------------------------------------

    async def get(self, key: str | bytes) -> bytes | None:
        return (await self._get([checked_key(key)]))[0]

    async def set(self, key: str | bytes, value: str | bytes, *, ttl_s: float | None = None) -> None:
        await self._set({checked_key(key): checked_value(value)}, checked_ttl_ms(ttl_s))

    async def set_if_absent(self, key: str | bytes, value: str | bytes, *, ttl_s: float | None = None) -> bool:
        return await self._set_if_absent(checked_key(key), checked_value(value), checked_ttl_ms(ttl_s))

    async def delete(self, key: str | bytes) -> bool:
        return await self._delete([checked_key(key)]) > 0

    async def exists(self, key: str | bytes) -> bool:
        return await self._exists(checked_key(key))

    async def expire(self, key: str | bytes, ttl_s: float) -> bool:
        return await self._expire(checked_key(key), ttl_to_ms(ttl_s))

    async def persist(self, key: str | bytes) -> bool:
        return await self._persist(checked_key(key))

    async def ttl(self, key: str | bytes) -> float | None:
        left_ms = await self._ttl_ms(checked_key(key))
        return None if left_ms is None else left_ms / 1_000

    # --- many ---------------------------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[str | bytes]) -> list[bytes | None]:
        raw = checked_keys(keys)
        return await self._get(raw) if raw else []

    async def set_many(self, values: Mapping[str | bytes, str | bytes], *, ttl_s: float | None = None) -> None:
        keys = checked_keys(list(values))
        raw = dict(zip(keys, map(checked_value, values.values()), strict=True))
        ttl_ms = checked_ttl_ms(ttl_s)
        size = sum(map(len, raw)) + sum(map(len, raw.values()))
        if size > MANY_BYTES_MAX:
            raise InputError(f"{size} bytes in one call: {MANY_BYTES_MAX} are allowed. Put fewer values at once.")
        if raw:
            await self._set(raw, ttl_ms)

    async def delete_many(self, keys: Sequence[str | bytes]) -> int:
        raw = checked_keys(keys)
        return await self._delete(raw) if raw else 0

    # --- by pattern ---------------------------------------------------------------------------------------------------

    async def keys(self, pattern: str | bytes = "*", *, limit: int = PAGE, cursor: str = "") -> KeyPage:
        if not 1 <= limit <= PAGE_MAX:
            raise InputError(f"a page of {limit} keys: 1 to {PAGE_MAX} are allowed")
        return await self._page(checked_pattern(pattern), limit, cursor)

    async def scan(self, pattern: str | bytes = "*") -> AsyncIterator[bytes]:
        async for page in self._pages(checked_pattern(pattern)):
            for key in page:
                yield key

    async def delete_matching(self, pattern: str | bytes) -> int:
        deleted = 0
        async for page in self._pages(checked_pattern(pattern)):
            if page:
                deleted += await self._delete(page)
        return deleted

    async def clear(self) -> int:
        return await self.delete_matching(b"*")

    async def _pages(self, pattern: bytes) -> AsyncIterator[tuple[bytes, ...]]:
        cursor = ""
        while True:
            page = await self._page(pattern, STEP, cursor)
            yield page.keys
            if not page.cursor:
                return
            cursor = page.cursor

    # --- JSON ---------------------------------------------------------------------------------------------------------

    @overload
    async def get_json(self, key: str | bytes) -> Any: ...
    @overload
    async def get_json(self, key: str | bytes, kind: type[T]) -> T | None: ...
    async def get_json(self, key: str | bytes, kind: Any = Any) -> Any:
        raw = await self.get(key)
        return None if raw is None else self._read_json(key, raw, kind)

    async def set_json(self, key: str | bytes, value: Any, *, ttl_s: float | None = None) -> None:
        await self.set(key, json_of(value), ttl_s=ttl_s)

    def _read_json(self, key: str | bytes, raw: bytes, kind: Any) -> Any:
        try:
            # Untyped fractions go to Decimal as they are written; without the hook they would be floats.
            return msgspec.json.Decoder(kind, float_hook=Decimal).decode(raw)
        except _CODING_ERRORS as error:
            raise StoreRefused(
                f"the value of {shown(key)} in namespace {self.namespace!r} is not the JSON that was asked for: {error}. "
                "Delete it, or read it as what it is."
            ) from error

    # --- numbers ------------------------------------------------------------------------------------------------------

    async def increment(self, key: str | bytes, by: int = 1) -> int:
        return await self._add(checked_key(key), checked_number(by))

    async def decrement(self, key: str | bytes, by: int = 1) -> int:
        return await self._add(checked_key(key), -checked_number(by))


# --- what is in order -------------------------------------------------------------------------------------------------


def shown(key: str | bytes) -> str:
    """A key for a message: not longer than one can read."""
    text = repr(key)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def to_bytes(what: str, given: str | bytes, bytes_max: int) -> bytes:
    """Bytes as they are, text as UTF-8. Raises InputError for anything else, and for what is too long."""
    if isinstance(given, str):
        try:
            raw = given.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the {what} {shown(given)} holds half a character: it has no UTF-8. Give bytes."
            ) from error
    elif isinstance(given, bytes):
        raw = given
    else:
        raise InputError(f"a {what} is text or bytes, not {type(given).__name__}")
    if len(raw) > bytes_max:
        raise InputError(f"a {what} of {len(raw)} bytes ({shown(raw)}): {bytes_max} are allowed")
    return raw


def checked_name(what: str, name: str, bytes_max: int = NAMESPACE_BYTES_MAX) -> str:
    """A namespace or the like: part of a key, so that a colon in it would let one see into another."""
    if not to_bytes(what, name, bytes_max) or ":" in name:
        raise InputError(f"{shown(name)} is no {what}: it is text of 1 to {bytes_max} bytes without a colon")
    return name


def checked_namespace(namespace: str) -> str:
    return checked_name("namespace", namespace)


def checked_deadline(deadline_s: float) -> float:
    """Raises InputError unless it is seconds above 0, up to 600."""
    if not 0 < deadline_s <= DEADLINE_S_MAX:
        raise InputError(f"a deadline of {deadline_s} s: more than 0 and at most {DEADLINE_S_MAX:g} s are allowed")
    return deadline_s


def checked_key(key: str | bytes) -> bytes:
    raw = to_bytes("key", key, KEY_BYTES_MAX)
    if not raw:
        raise InputError("a key is empty: give it a name")
    return raw


def checked_keys(keys: Sequence[str | bytes]) -> list[bytes]:
    if isinstance(keys, str | bytes):
        raise InputError(f"{shown(keys)} is one key, where several are asked for: give a list")
    if len(keys) > MANY_MAX:
        raise InputError(f"{len(keys)} keys in one call: {MANY_MAX} are allowed. Give them in parts.")
    return [checked_key(key) for key in keys]


def checked_value(value: str | bytes) -> bytes:
    return to_bytes("value", value, VALUE_BYTES_MAX)


def checked_pattern(pattern: str | bytes) -> bytes:
    return to_bytes("pattern", pattern, PATTERN_BYTES_MAX)


def checked_ttl_ms(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else ttl_to_ms(ttl_s)


def ttl_to_ms(ttl_s: float, s_max: float = TTL_S_MAX) -> int:
    """Whole milliseconds, a part of one counted as one. Raises InputError unless it is above 0 and no more than the limit."""
    if not 0 < ttl_s <= s_max:
        raise InputError(f"a time to live of {ttl_s} s: more than 0 and at most {s_max:g} s are allowed")
    # What a float adds behind the microseconds was not meant: 0.1 s are 100 ms, not 101.
    return max(1, math.ceil(round(ttl_s * 1_000, 3)))


def checked_number(by: int) -> int:
    if not -NUMBER_MAX <= by <= NUMBER_MAX:
        raise InputError(f"{by!r} cannot be counted by: a whole number of at most 64 bits can")
    return by


def json_of(value: Any) -> bytes:
    """A value as JSON, Decimals as numbers with all their digits. Raises InputError for what JSON cannot hold."""
    try:
        raw = _ENCODER.encode(value)
        if b"NaN" in raw or b"Infinity" in raw:
            msgspec.json.decode(raw)  # in a text they are welcome; as numbers, JSON has no word for them
    except _CODING_ERRORS as error:
        raise InputError(f"a {type(value).__name__} cannot be put as JSON: {error}") from error
    return raw
