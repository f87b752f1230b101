"""Ids that are derived, not drawn: the same decision gives the same id in every process.

A client order id is ``tk`` and the base32 of a 128-bit hash of what the order is: whose numbering, who decided, the number of
the decision, the leg, and the attempt. 28 characters of a-z and 2-7: every known venue takes them (Binance 36, OANDA 128).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)
_SHIFTS = range(120, -1, -10)


def derived_id(prefix: str, *parts: str | int) -> str:
    """``prefix`` and 26 characters that depend on ``parts`` alone."""
    text = "\x1f".join(map(str, parts))
    return prefix + _base32(hashlib.blake2b(text.encode(), digest_size=16).digest())


def _base32(digest: bytes) -> str:
    """16 bytes as 26 characters, the same as base64.b32encode says without its padding; that takes twice as long."""
    number = int.from_bytes(digest) << 2
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


class Numbering(NamedTuple):
    """In which decisions are counted: an execution's, anew with every halt and every release.

    Books that were put back from an older copy count on from an older decision, and their venue has orders of those numbers.
    Such an account is halted when it hears of the first, and what it decides from then on gets ids that were never given out.
    """

    execution: str
    since: str = ""  # which halt or release; empty: there was none

    @property
    def root(self) -> str:
        """What its ids derive from."""
        return f"{self.execution}@{self.since}" if self.since else self.execution


class LegIds(NamedTuple):
    """The ids that one leg of a decision gives out: one hash, told apart by their prefix."""

    order: str
    trade: str  # renewals of the entry keep it
    signal: str


def leg_ids(numbering: Numbering, decider: str, decision: int, leg: int) -> LegIds:
    """The ids of one leg of one decision."""
    key = derived_id("", numbering.root, decider, decision, leg)
    return LegIds(f"tk{key}", f"tr{key}", f"sg{key}")


def client_order_id(numbering: Numbering, decider: str, decision: int, leg: int) -> str:
    """The order id of one leg of one decision."""
    return derived_id("tk", numbering.root, decider, decision, leg)


def content_digest(content: bytes) -> str:
    """A short digest that tells whether two decisions with one number are the same."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
