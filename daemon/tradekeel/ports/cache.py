"""What a cache must offer: values under keys, for a time.

Keys and values are bytes. Text that is given is taken as its UTF-8, and what is read comes back as bytes, so that nothing is
lost or guessed whatever somebody put there. A cache lives in a *namespace*; of what is in another one it neither sees nor
touches anything, whatever a pattern asks for.

Nothing that must not be lost belongs here: a cache may be emptied at any time, and its server may be away.

**Time to live.** ``ttl_s`` are seconds, in steps of a millisecond (a part of one counts as a whole one). :meth:`Cache.set` and
:meth:`Cache.set_many` take away an older time to live when they are given none; counting keeps it.

**Patterns** are those of Redis, byte by byte: ``*`` any bytes, ``?`` one byte, ``[abc]`` ``[a-c]`` ``[^abc]`` one byte of a set
(ranges only of bytes below 128), ``\\`` takes the next byte as it is.

**Errors.** InputError: a key, a value, a time or a limit that no cache takes. StoreAway: it could not be asked, nothing was
changed. StoreUnanswered: it was asked and the answer did not come in time; what was asked may have been done, and nothing is
ever asked twice. StoreRefused: it said no (no room, no right, a value of another kind).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Protocol, Self, TypeVar, overload, runtime_checkable

from msgspec import Struct

T = TypeVar("T")

DEADLINE_S: Final = 5.0
"""How long a call to a store may take, unless it is said otherwise."""

PAGE: Final = 100
"""How many of something a page holds, unless it is said otherwise."""

PAGE_MAX: Final = 10_000
KEY_BYTES_MAX: Final = 1_024
PATTERN_BYTES_MAX: Final = 1_024
VALUE_BYTES_MAX: Final = 16 * 1024 * 1024
MANY_MAX: Final = 10_000
"""Keys in one call for many."""

MANY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of all keys and values in one call for many."""

TTL_S_MAX: Final = 10 * 366 * 86_400.0
NUMBER_MAX: Final = 2**63 - 1
"""What is counted stays between this and its negative less one."""


class KeyPage(Struct, frozen=True):
    """Some of the keys that match. A page may be empty although there are more."""

    keys: tuple[bytes, ...]
    cursor: str  # for the next page; empty behind the last


@runtime_checkable
class Cache(Protocol):
    """Values under keys within one namespace. Every call ends within the deadline, with an answer or one of the errors above."""

    namespace: str
    deadline_s: float

    def within(self, deadline_s: float) -> Self:
        """The same cache, with another deadline for each call."""

    async def get(self, key: str | bytes) -> bytes | None:
        """The value, or None."""

    async def set(self, key: str | bytes, value: str | bytes, *, ttl_s: float | None = None) -> None:
        """Put a value, whatever was there."""

    async def set_if_absent(self, key: str | bytes, value: str | bytes, *, ttl_s: float | None = None) -> bool:
        """Put a value where there is none; of several that try at once exactly one is told True."""

    async def delete(self, key: str | bytes) -> bool:
        """Take a value away; whether there was one."""

    async def exists(self, key: str | bytes) -> bool:
        """Whether there is a value."""

    async def expire(self, key: str | bytes, ttl_s: float) -> bool:
        """Give a value another time to live, counted from now; whether there is one."""

    async def persist(self, key: str | bytes) -> bool:
        """Let a value live for ever; whether it had a time to live."""

    async def ttl(self, key: str | bytes) -> float | None:
        """Seconds that a value has left; ``math.inf`` if it lives for ever, None if there is none."""

    # --- many at once: each of these is one step that nobody sees half done -------------------------------------------

    async def get_many(self, keys: Sequence[str | bytes]) -> list[bytes | None]:
        """The values in the order of the keys, None where there is none."""

    async def set_many(self, values: Mapping[str | bytes, str | bytes], *, ttl_s: float | None = None) -> None:
        """Put all values."""

    async def delete_many(self, keys: Sequence[str | bytes]) -> int:
        """Take values away; how many there were."""

    # --- by pattern: page by page, so that a large cache stops nobody -------------------------------------------------

    async def keys(self, pattern: str | bytes = "*", *, limit: int = PAGE, cursor: str = "") -> KeyPage:
        """About ``limit`` keys that match, in no order; ``cursor`` is that of the page before.

        A key that is there from the first page to the last is told, a key that comes or goes meanwhile may be; one may be
        told twice.
        """

    def scan(self, pattern: str | bytes = "*") -> AsyncIterator[bytes]:
        """All keys that match, as :meth:`keys` tells them; the deadline counts for each page."""

    async def delete_matching(self, pattern: str | bytes) -> int:
        """Take away what matches, in steps; how many there were. The deadline counts for each step."""

    async def clear(self) -> int:
        """Empty the namespace, in steps; how many values there were. The deadline counts for each step."""

    # --- JSON ---------------------------------------------------------------------------------------------------------

    @overload
    async def get_json(self, key: str | bytes) -> Any: ...
    @overload
    async def get_json(self, key: str | bytes, kind: type[T]) -> T | None: ...
    async def get_json(self, key: str | bytes, kind: Any = Any) -> Any:
        """The value read as JSON, checked against ``kind`` if it is given; None if there is none (or it says null).

        No number passes through a float unless ``kind`` asks for one: a fraction is read as a Decimal with all its digits.
        StoreRefused if the value is no JSON, or none of that kind.
        """

    async def set_json(self, key: str | bytes, value: Any, *, ttl_s: float | None = None) -> None:
        """Put a value as JSON: what msgspec can encode, Structs too; Decimals as numbers with all their digits.

        Whoever reads such numbers with other programs should have them read decimals, not floats.
        """

    # --- numbers ------------------------------------------------------------------------------------------------------

    async def increment(self, key: str | bytes, by: int = 1) -> int:
        """Add to a whole number, from 0 where there is none, and return it; no two calls ever count as one.

        The time to live stays. StoreRefused if the value is no whole number, or would leave 64 bits. After StoreUnanswered it
        may have been added or not: whoever has to know reads it.
        """

    async def decrement(self, key: str | bytes, by: int = 1) -> int:
        """Subtract, as :meth:`increment` adds."""
