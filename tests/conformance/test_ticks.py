"""What every shared sequence of ticks does, on every backend: each position once, in order, of one run, nothing passed over."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import anyio
import pytest
from msgspec.structs import replace

from tests.conformance.backends import Backend
from tradekeel.domain.ticks import Tick
from tradekeel.ports.ticks import Counts, SharedTick, SharedTicks, StreamGone, StreamHead, StreamReplaced, Writing

START_NS = 1_704_146_400_000_000_000
HEAD = StreamHead(run="r1", instruments=("EUR_USD", "USD_JPY"), live=False, last=0)
MARKET = replace(HEAD, live=True)
WRITING = Writing(run="r1", writer="me", ticks_max=1_000_000, ended=False)
ENDING = replace(WRITING, ended=True)
AT_ONCE_S = 5.0


def shared(first: int, last: int) -> list[SharedTick]:
    """Ticks of two instruments in turns, with everything that a tick may have."""
    return [
        SharedTick(
            Tick(
                HEAD.instruments[position % 2],
                START_NS + position,
                Decimal(position) / 1_000,
                Decimal(position + 1) / 1_000,
                position,
                Decimal(position) if position % 3 else None,
                Decimal("0.10") if position % 5 else None,
            ),
            (position + 1) // 2,
            START_NS + position + position % 4,
        )
        for position in range(first, last + 1)
    ]


def counts(ticks: Sequence[SharedTick]) -> dict[str, Counts]:
    return {one.tick.instrument: Counts(one.count, one.latest_ns) for one in ticks}


async def write(ticks: SharedTicks, first: int, last: int, writing: Writing = WRITING) -> None:
    written = shared(first, last)
    await ticks.append(writing, written, counts(written))


@pytest.fixture
async def ticks(backend: Backend) -> SharedTicks:
    """A sequence that is begun."""
    made = backend.ticks()
    assert (await made.begin(HEAD, "data", "me")).is_new
    return made


# --- written once, read by any number ---------------------------------------------------------------------------------


async def test_what_is_written_is_read_field_by_field(ticks: SharedTicks, backend: Backend) -> None:
    await write(ticks, 1, 50)
    for reader in (ticks, backend.ticks()):
        piece = await reader.read("r1", 0, 1_000)
        assert piece.ticks == shared(1, 50)
        assert (piece.first, piece.last, piece.ended) == (1, 50, False)


async def test_amounts_and_times_keep_every_digit(ticks: SharedTicks) -> None:
    odd = [
        SharedTick(
            Tick("EUR_USD", 2**62, Decimal("1.10000000000000000000000000001"), Decimal("1E+20"), 1, Decimal("0.0")),
            1,
            2**62,
        ),
        SharedTick(
            Tick("EUR_USD", 1, Decimal("0.00000001"), Decimal("99999999999.90"), 2, None, Decimal("1E-9")), 2, 2**62
        ),
    ]
    await ticks.append(WRITING, odd, counts(odd))
    read = (await ticks.read("r1", 0, 10)).ticks
    assert [str(one) for one in read] == [str(one) for one in odd]


@pytest.mark.parametrize(
    ("after", "count", "first", "last"),
    [(0, 3, 1, 3), (3, 3, 4, 6), (17, 10, 18, 20), (19, 1, 20, 20), (0, 99, 1, 20)],
)
async def test_the_oldest_behind_a_position_are_read_forward(
    ticks: SharedTicks, after: int, count: int, first: int, last: int
) -> None:
    await write(ticks, 1, 20)
    assert (await ticks.read("r1", after, count)).ticks == shared(first, last)


@pytest.mark.parametrize(
    ("before", "count", "first", "last"),
    [(21, 3, 18, 20), (18, 3, 15, 17), (4, 10, 1, 3), (2, 1, 1, 1), (99, 99, 1, 20)],
)
async def test_the_newest_before_a_position_are_read_back_oldest_first(
    ticks: SharedTicks, before: int, count: int, first: int, last: int
) -> None:
    await write(ticks, 1, 20)
    assert (await ticks.read_back("r1", before, count)).ticks == shared(first, last)


async def test_where_there_is_nothing_nothing_is_read(ticks: SharedTicks) -> None:
    assert (await ticks.read("r1", 0, 10)).ticks == []
    await write(ticks, 1, 5)
    for piece in (await ticks.read("r1", 5, 10), await ticks.read("r1", 77, 10), await ticks.read_back("r1", 1, 10)):
        assert (piece.ticks, piece.first, piece.last) == ([], 1, 5)


async def test_the_same_positions_are_written_once(ticks: SharedTicks) -> None:
    for first, last in (
        (1, 5),
        (1, 5),
        (3, 8),
        (2, 4),
        (8, 9),
    ):  # as a writer does that was not answered, and goes back
        await write(ticks, first, last)
    assert (await ticks.read("r1", 0, 100)).ticks == shared(1, 9)
    begun = await ticks.begin(HEAD, "data", "me")
    assert (begun.last, begun.counts) == (9, counts(shared(1, 9)))


async def test_any_way_of_writing_with_repetitions_is_one_sequence(ticks: SharedTicks, seed: int) -> None:
    chance = random.Random(seed)
    at = 0
    while at < 500:
        first = max(1, at + 1 - chance.randrange(40))
        at = max(at, min(500, first + chance.randrange(60)))
        await write(ticks, first, at)
    assert (await ticks.read("r1", 0, 1_000)).ticks == shared(1, 500)


async def test_what_was_left_out_stays_missing(ticks: SharedTicks) -> None:
    await write(ticks, 1, 5)
    await write(ticks, 9, 12)
    await write(ticks, 6, 8)
    assert (await ticks.read("r1", 0, 100)).ticks == [*shared(1, 5), *shared(9, 12)]
    assert (await ticks.read_back("r1", 11, 4)).ticks == [*shared(4, 5), *shared(9, 10)]


async def test_about_as_many_are_kept_as_were_asked_for_the_newest(ticks: SharedTicks) -> None:
    keep, last = 1_000, 5_000
    for after in range(0, last, 500):
        await write(ticks, after + 1, after + 500, replace(WRITING, ticks_max=keep))
    piece = await ticks.read("r1", 0, last)
    assert keep <= len(piece.ticks) <= keep + 500
    assert piece.ticks == shared(piece.first, last)
    assert piece.first == last - len(piece.ticks) + 1


async def test_sequences_of_other_names_are_apart(ticks: SharedTicks, backend: Backend) -> None:
    other = backend.ticks("other")
    await other.begin(replace(HEAD, run="r2"), "data", "me")
    await write(ticks, 1, 5)
    assert (await other.read("r2", 0, 10)).ticks == []
    assert other.described != ticks.described


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_the_end_is_told_with_the_last_tick_and_behind_it_only(ticks: SharedTicks) -> None:
    await write(ticks, 1, 20, ENDING)
    assert (await ticks.read("r1", 0, 100)).ended
    assert (await ticks.read("r1", 20, 100)).ended
    assert not (await ticks.read("r1", 0, 10)).ended
    assert not (await ticks.read_back("r1", 10, 5)).ended


async def test_an_end_without_a_tick_and_one_that_is_told_twice_is_an_end(ticks: SharedTicks) -> None:
    await ticks.append(ENDING, [], {})
    await ticks.append(ENDING, [], {})
    assert (await ticks.read("r1", 0, 10)).ended


async def test_behind_an_end_a_writer_may_go_on(ticks: SharedTicks) -> None:
    await write(ticks, 1, 5, ENDING)
    await write(ticks, 6, 9)
    piece = await ticks.read("r1", 0, 100)
    assert (piece.ticks, piece.ended) == (shared(1, 9), False)
    assert not (await ticks.read("r1", 5, 100)).ended
    await ticks.append(ENDING, [], {})
    assert (await ticks.read("r1", 5, 100)).ended


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_when_something_is_written(ticks: SharedTicks, backend: Backend) -> None:
    reader = backend.ticks()
    with anyio.fail_after(AT_ONCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.wait, 0, 60.0)
            await anyio.lowlevel.checkpoint()
            await write(ticks, 1, 1)
        await reader.wait(0, 60.0)  # it is there


async def test_a_wait_for_nothing_ends_by_itself(ticks: SharedTicks) -> None:
    await write(ticks, 1, 3)
    with anyio.fail_after(AT_ONCE_S):
        await ticks.wait(3, 0.01)


# --- which sequence, and whose ----------------------------------------------------------------------------------------


async def test_a_sequence_says_what_it_is(ticks: SharedTicks) -> None:
    await write(ticks, 1, 7)
    assert ticks.look() == replace(HEAD, last=7)


async def test_who_begins_the_same_again_goes_on_with_it(ticks: SharedTicks, backend: Backend) -> None:
    await write(ticks, 1, 7)
    begun = await backend.ticks().begin(replace(HEAD, run="r2", last=3), "data", "another")
    assert (begun.run, begun.last, begun.counts, begun.is_new) == ("r1", 7, counts(shared(1, 7)), False)
    assert (await ticks.read("r1", 0, 10)).ticks == shared(1, 7)


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (HEAD, "other data"),
        (replace(HEAD, instruments=("EUR_USD",)), "data"),
        (MARKET, "data"),
    ],
)
async def test_something_else_in_its_place_is_another_sequence(ticks: SharedTicks, head: StreamHead, data: str) -> None:
    await write(ticks, 1, 7)
    begun = await ticks.begin(replace(head, run="r2", last=30), data, "me")
    assert (begun.run, begun.last, begun.counts, begun.is_new) == ("r2", 30, {}, True)
    for call in (ticks.read("r1", 0, 10), ticks.read_back("r1", 5, 10), write(ticks, 8, 9)):
        with pytest.raises(StreamReplaced, match="by run r2"):
            await call
    assert (await ticks.read("r2", 0, 10)).ticks == []


async def test_a_sequence_that_is_not_there_is_gone(backend: Backend) -> None:
    nothing = backend.ticks()
    with pytest.raises(StreamGone):
        nothing.look()
    for call in (nothing.read("r1", 0, 10), nothing.read_back("r1", 5, 10), write(nothing, 1, 2)):
        with pytest.raises(StreamGone):
            await call
    await nothing.wait(0, 0.01)


async def test_one_that_the_server_has_lost_is_begun_where_its_writer_is(ticks: SharedTicks, backend: Backend) -> None:
    await write(ticks, 1, 20)
    await backend.lose_ticks()
    with pytest.raises(StreamGone):
        await write(ticks, 21, 22)
    begun = await ticks.begin(replace(HEAD, last=20), "data", "me")
    assert (begun.run, begun.last, begun.is_new) == ("r1", 20, True)
    await write(ticks, 15, 22)
    assert (await ticks.read("r1", 0, 100)).ticks == shared(21, 22)


async def test_of_a_live_market_there_is_one_writer_the_last_that_began(backend: Backend) -> None:
    first, second = backend.ticks(), backend.ticks()
    await first.begin(MARKET, "market", "me")
    await write(first, 1, 5)
    assert (await second.begin(MARKET, "market", "another")).last == 5
    with pytest.raises(StreamReplaced, match="by writer another"):
        await write(first, 6, 7)
    await write(second, 6, 7, replace(WRITING, writer="another"))
    assert (await first.read("r1", 0, 10)).ticks == shared(1, 7)


async def test_a_recording_may_be_written_by_several_at_once(ticks: SharedTicks, backend: Backend) -> None:
    async def write_all(writer: str) -> None:
        mine = backend.ticks()
        await mine.begin(HEAD, "data", writer)
        for first in range(1, 100, 10):
            await write(mine, first, first + 9, replace(WRITING, writer=writer))

    async with anyio.create_task_group() as tasks:
        for writer in ("a", "b", "c"):
            tasks.start_soon(write_all, writer)
    assert (await ticks.read("r1", 0, 1_000)).ticks == shared(1, 100)
