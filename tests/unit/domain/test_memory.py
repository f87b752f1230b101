"""The best and the worst price since any moment: the same as looking through everything again."""

from __future__ import annotations

from decimal import Decimal
from operator import ge, le

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import trade
from tradekeel.domain import memory as memories
from tradekeel.domain.memory import PriceMemory, Stack
from tradekeel.domain.ticks import Extremes
from tradekeel.domain.trades import TradeSide

D = Decimal
ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9), st.integers(1, 5)), max_size=60)


def covered(seen: list[tuple[int, int, int]]) -> list[tuple[int, Extremes]]:
    """Windows one after the other: what bid and ask covered up to each position."""
    position, found = 0, []
    for low, width, step in seen:
        position += step
        bids, asks = (D(low), D(low + width)), (D(low + 1), D(low + width + 1))
        found.append((position, Extremes(*bids, *asks)))
    return found


def remembered(windows: list[tuple[int, Extremes]]) -> PriceMemory:
    memory = PriceMemory.empty()
    for position, extremes in windows:
        memory.see(position, extremes)
    return memory


@given(ranges, st.integers(0, 120), st.sampled_from(TradeSide))
def test_a_memory_answers_like_a_dumb_search(seen: list[tuple[int, int, int]], since: int, side: TradeSide) -> None:
    windows = covered(seen)
    later = [extremes for position, extremes in windows if position >= since]

    best, worst = remembered(windows).excursion(trade(side=side, entry_position=since))

    if side is TradeSide.LONG:
        assert best == max((e.bid_high for e in later), default=None)
        assert worst == min((e.bid_low for e in later), default=None)
    else:
        assert best == min((e.ask_low for e in later), default=None)
        assert worst == max((e.ask_high for e in later), default=None)


@given(ranges, st.integers(0, 60), st.integers(0, 60))
def test_what_is_seen_twice_counts_once(seen: list[tuple[int, int, int]], back: int, since: int) -> None:
    windows = covered(seen)
    memory = remembered(windows)
    for position, _ in windows[back:]:
        memory.see(position, Extremes(D(0), D(999), D(0), D(999)))

    asked = trade(entry_position=since)
    assert memory.excursion(asked) == remembered(windows).excursion(asked)


@given(ranges)
def test_a_memory_survives_being_saved(seen: list[tuple[int, int, int]]) -> None:
    memory = remembered(covered(seen))

    data = msgspec.msgpack.Encoder(decimal_format="string").encode(memory)

    assert msgspec.msgpack.decode(data, type=PriceMemory) == memory


def test_what_a_trade_knows_already_is_not_forgotten() -> None:
    memory = remembered([(5, Extremes(D(10), D(20), D(11), D(21)))])

    known = trade(best_price=D(30), worst_price=D(15), entry_position=5)
    assert memory.excursion(known) == (D(30), D(10))
    short = trade(side=TradeSide.SHORT, best_price=D(5), worst_price=D(15), entry_position=5)
    assert memory.excursion(short) == (D(5), D(21))
    assert PriceMemory.empty().excursion(known) == (D(30), D(15))


def test_beyond_its_depth_the_two_oldest_are_one_and_nothing_later_is_touched() -> None:
    stack = Stack()
    depth = memories.DEPTH_MAX
    for position in range(1, depth + 51):
        stack.push(position, D(-position), ge)  # a market that falls for ever

    assert len(stack.prices) == len(stack.positions) == depth
    assert stack.since(1) == -1, "the oldest extreme is kept"
    assert all(stack.since(p) == -p for p in range(60, depth + 51))
    assert stack.since(depth + 51) is None


def test_equal_prices_are_one_entry() -> None:
    highs, lows = Stack(), Stack()
    for position in (1, 2, 3):
        highs.push(position, D(7), ge)
        lows.push(position, D(7), le)

    assert highs.positions == lows.positions == [3]
