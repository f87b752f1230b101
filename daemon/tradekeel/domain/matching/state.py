"""What must be saved so that a matcher continues as if nothing had happened.

The whole is a :class:`MatcherState`. Since ten thousand orders must not be written for every tick, a matcher also
hands out what changed since it was last asked (:class:`Changes`): the new entries of the record, the orders and
positions that are different, and one small :class:`Standing`. A ledger that writes changes in order and a ledger that
writes whole states end up the same.
"""

from __future__ import annotations

from msgspec import Struct

from tradekeel.domain.matching.account import PositionKey, Sums
from tradekeel.domain.matching.working import WorkingOrder
from tradekeel.domain.messages import VenueTransaction
from tradekeel.domain.positions import Position
from tradekeel.domain.ticks import Tick


class Standing(Struct, frozen=True, kw_only=True):
    """Where the account stands: numbers, sums and the last quotes."""

    sequence: int = 0
    position: int = 0
    ts_ns: int = 0
    rank: int = 0
    sums: Sums = Sums()
    marks: tuple[Tick, ...] = ()
    run: str = ""  # which run of a feed the position counts in


class MatcherState(Struct, frozen=True, kw_only=True):
    """Everything a matcher knows, apart from the record of what is over."""

    standing: Standing = Standing()
    orders: tuple[WorkingOrder, ...] = ()  # open ones, by rank
    positions: tuple[Position, ...] = ()


class Changes(Struct, frozen=True, kw_only=True):
    """What happened since changes were last taken. ``orders`` includes those that ended."""

    transactions: tuple[VenueTransaction, ...]
    orders: tuple[WorkingOrder, ...]
    positions: tuple[Position, ...]
    closed: tuple[PositionKey, ...]
    standing: Standing
