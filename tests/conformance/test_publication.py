"""What every place for outside readers does, on every backend: events exactly once and without a gap, boards of one moment."""

from __future__ import annotations

import anyio
import pytest

from tests.conformance.backends import Backend
from tradekeel.errors import StoreRefused
from tradekeel.ports import Author, Board, Event, Publication

KEEP = 1_000_000
ME, OTHER = Author("one-installation", "fx"), Author("another", "fx two ü")
FRESH_S = 60.0


def event(sequence: int, **fields: object) -> Event:
    said = {
        "type": "order_changed",
        "ts_ns": 10**18 + sequence,
        "correlation_id": f"sg{sequence}",
        "record": b"{}",
    } | fields
    return Event(sequence, **said)  # type: ignore[arg-type]  # the fields of an event


def events(first: int, last: int) -> list[Event]:
    return [event(sequence) for sequence in range(first, last + 1)]


# --- events -----------------------------------------------------------------------------------------------------------


async def test_events_are_told_as_they_were_appended(publication: Publication, backend: Backend) -> None:
    record = '{"price":"1.10000000000000000000000000001","text":"ü💰\\n\\u0000"}'.encode()
    given = [event(1, type="a", ts_ns=-(2**62), correlation_id=""), event(2, correlation_id="ü💰\n", record=record)]
    assert await publication.append("x", 0, given, keep=KEEP) == 2
    assert await backend.events("x") == given
    assert await publication.newest("x") == given[-1]


async def test_a_stream_that_there_is_not_has_no_newest_event(publication: Publication) -> None:
    assert await publication.newest("x") is None
    assert await publication.append("x", 0, [], keep=KEEP) == 0
    assert await publication.newest("x") is None


async def test_the_same_append_twice_is_one(publication: Publication, backend: Backend) -> None:
    for _ in range(3):  # as a writer does that was not answered, and does not know
        assert await publication.append("x", 0, events(1, 5), keep=KEEP) == 5
    assert await backend.events("x") == events(1, 5)


@pytest.mark.parametrize("after", [0, 3, 4, 6, 7])
async def test_nothing_is_appended_behind_another_event_than_the_last(
    publication: Publication, backend: Backend, after: int
) -> None:
    await publication.append("x", 0, events(1, 5), keep=KEEP)
    assert await publication.append("x", after, events(after + 1, after + 3), keep=KEEP, anew=after == 7) == 5
    assert await backend.events("x") == events(1, 5)


async def test_where_a_stream_ends_can_be_asked_for_without_appending(
    publication: Publication, backend: Backend
) -> None:
    await publication.append("x", 0, events(1, 5), keep=KEEP)
    assert await publication.append("x", 5, [], keep=KEEP) == 5
    assert await publication.append("x", 9, [], keep=KEEP) == 5
    assert await backend.events("x") == events(1, 5)


async def test_only_a_new_stream_may_begin_in_the_middle(publication: Publication, backend: Backend) -> None:
    assert await publication.append("x", 7, events(8, 9), keep=KEEP) == 0
    assert await publication.append("x", 7, events(8, 9), keep=KEEP, anew=True) == 9
    assert await backend.events("x") == events(8, 9)


async def test_a_stream_that_is_forgotten_begins_anew(publication: Publication, backend: Backend) -> None:
    await publication.append("x", 0, events(1, 5), keep=KEEP)
    await publication.append("y", 0, events(1, 2), keep=KEEP)
    await publication.forget("x")
    assert await publication.append("x", 0, events(1, 1), keep=KEEP) == 1
    assert await backend.events("x") == events(1, 1)
    assert await backend.events("y") == events(1, 2)


async def test_events_that_a_reader_has_deleted_come_no_second_time(publication: Publication, backend: Backend) -> None:
    await publication.append("x", 0, events(1, 5), keep=KEEP)
    await backend.take_events("x", 2)
    assert await publication.newest("x") == event(3)
    assert await publication.append("x", 3, events(4, 6), keep=KEEP) == 5
    assert await publication.append("x", 5, events(6, 7), keep=KEEP) == 7
    assert await backend.events("x") == [*events(1, 3), *events(6, 7)]
    await backend.take_events("x", 5)
    assert await publication.newest("x") is None
    assert await publication.append("x", 0, events(1, 1), keep=KEEP, anew=True) == 7
    assert await backend.events("x") == []
    await publication.forget("x")
    assert await publication.append("x", 0, events(1, 1), keep=KEEP) == 1


async def test_about_as_many_are_kept_as_were_asked_for_the_newest(publication: Publication, backend: Backend) -> None:
    keep, last = 1_000, 5_000
    for after in range(0, last, 500):
        await publication.append("x", after, events(after + 1, after + 500), keep=keep)
    kept = await backend.events("x")
    assert keep <= len(kept) <= keep + 500
    assert kept == events(last - len(kept) + 1, last)


async def test_of_many_writers_at_once_each_event_comes_once(publication: Publication, backend: Backend) -> None:
    async def write() -> None:
        end = 0
        while end < 100:
            end = await publication.append("x", end, events(end + 1, end + 5), keep=KEEP)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(write)
    assert await backend.events("x") == events(1, 100)


# --- boards -----------------------------------------------------------------------------------------------------------


def board(sequence: int, put: dict[str, bytes], trades: int, gone: tuple[str, ...] = (), execution: str = "x") -> Board:
    return Board(account="main", execution=execution, sequence=sequence, put=put, gone=gone, trades=trades)


def trades_of(shown: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in shown.items() if not name.startswith("#")}


async def test_a_board_shows_trades_as_of_when_and_whose(publication: Publication, backend: Backend) -> None:
    put = {"tr1": b'{"quantity":"0.10"}', "tr2": '{"tags":["ü💰"]}'.encode()}
    assert await publication.show(board(7, put, 2), OTHER, since=None, fresh_s=FRESH_S)
    shown = await backend.board("main")
    assert trades_of(shown) == {"tr1": '{"quantity":"0.10"}', "tr2": '{"tags":["ü💰"]}'}
    assert (shown["#execution"], shown["#sequence"], shown["#trades"]) == ("x", "7", "2")
    assert (shown["#publisher"], shown["#daemon"]) == ("another", "fx two ü")
    assert int(shown["#ts_ns"]) > 10**18


async def test_a_change_puts_and_takes_away_in_one_step(publication: Publication, backend: Backend) -> None:
    assert await publication.show(board(1, {"a": b"1", "b": b"1"}, 2), ME, since=None, fresh_s=FRESH_S)
    assert await publication.show(board(2, {"b": b"2", "c": b"1"}, 2, ("a",)), ME, since=1, fresh_s=FRESH_S)
    assert trades_of(await backend.board("main")) == {"b": "2", "c": "1"}
    assert await publication.show(board(3, {}, 0, ("b", "c")), ME, since=2, fresh_s=FRESH_S)
    shown = await backend.board("main")
    assert (trades_of(shown), shown["#trades"], shown["#sequence"]) == ({}, "0", "3")


async def test_a_board_is_replaced_whole(publication: Publication, backend: Backend) -> None:
    assert await publication.show(board(9, {"a": b"1", "b": b"1"}, 2), ME, since=None, fresh_s=FRESH_S)
    assert await publication.show(board(1, {"c": b"1"}, 1, execution="y"), ME, since=None, fresh_s=FRESH_S)
    shown = await backend.board("main")
    assert (trades_of(shown), shown["#execution"]) == ({"c": "1"}, "y")


@pytest.mark.parametrize("since", [0, 2])
async def test_a_change_of_what_is_not_shown_is_refused(publication: Publication, backend: Backend, since: int) -> None:
    assert await publication.show(board(1, {"a": b"1"}, 1), ME, since=None, fresh_s=FRESH_S)
    before = await backend.board("main")
    assert not await publication.show(board(3, {"b": b"1"}, 2), ME, since=since, fresh_s=FRESH_S)
    assert not await publication.show(board(3, {"b": b"1"}, 2, execution="y"), ME, since=1, fresh_s=FRESH_S)
    assert await backend.board("main") == before


async def test_a_change_of_a_board_that_is_gone_is_refused(publication: Publication, backend: Backend) -> None:
    assert not await publication.show(board(3, {"b": b"1"}, 2), ME, since=1, fresh_s=FRESH_S)
    assert await backend.board("main") == {}


async def test_a_board_of_another_number_of_trades_is_to_be_put_anew(publication: Publication) -> None:
    assert await publication.show(board(1, {"a": b"1"}, 1), ME, since=None, fresh_s=FRESH_S)
    assert not await publication.show(board(2, {"b": b"1"}, 3), ME, since=1, fresh_s=FRESH_S)


async def test_another_daemons_board_is_left_alone_until_it_is_old(publication: Publication, backend: Backend) -> None:
    assert await publication.show(board(1, {"a": b"1"}, 1), OTHER, since=None, fresh_s=FRESH_S)
    with pytest.raises(StoreRefused, match="shown by another daemon, 'fx two ü'"):
        await publication.show(board(1, {"b": b"1"}, 1), ME, since=None, fresh_s=FRESH_S)
    assert trades_of(await backend.board("main")) == {"a": "1"}

    async def is_mine() -> bool:
        try:
            return await publication.show(board(1, {"b": b"1"}, 1), ME, since=None, fresh_s=0.1)
        except StoreRefused:
            return False

    await backend.until(is_mine, step_s=0.01)
    assert trades_of(await backend.board("main")) == {"b": "1"}
