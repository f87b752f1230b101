"""A mailbox: bounded lanes with named overflow policies. Compared with a twin that is too simple to be wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.runtime.errors import MailboxFull
from tradekeel.runtime.mailbox import Mailbox, MailboxLimits
from tradekeel.runtime.reply import Reply

LIMITS = MailboxLimits(control_max=3, results_max=4, reliable_max=5, latest_keys_max=3)


def mailbox(limits: MailboxLimits = LIMITS) -> Mailbox:
    return Mailbox(limits, lambda: 0.0)


def messages(batch: list[Any]) -> list[Any]:
    return [envelope.message for envelope in batch]


class Twin:
    """What a mailbox should do, in lists."""

    def __init__(self) -> None:
        self.control: list[Any] = []
        self.results: list[Any] = []
        self.reliable: list[Any] = []
        self.senders: list[Any] = []
        self.latest: list[list[Any]] = []
        self.replaced = 0
        self.high_water = 0

    def put_latest(self, key: int, value: Any) -> bool:
        for slot in self.latest:
            if slot[0] == key:
                slot[1] = value
                self.replaced += 1
                return True
        if len(self.latest) == LIMITS.latest_keys_max:
            return False
        self.latest.append([key, value])
        return True

    def take(self, batch_max: int) -> list[Any]:
        batch: list[Any] = []
        self.depth()
        for lane in (self.control, self.results):
            while lane and len(batch) < batch_max:
                batch.append(lane.pop(0))
        room = batch_max - len(batch)
        kept = min(len(self.latest), max(1, room // 4)) if room > 1 else 0
        moved = max(0, room - kept)
        batch += self.reliable[:moved]
        del self.reliable[:moved]
        while self.latest and len(batch) < batch_max:
            batch.append(self.latest.pop(0)[1])
        while self.senders and len(self.reliable) < LIMITS.reliable_max:
            self.reliable.append(self.senders.pop(0))
        return batch

    def depth(self) -> int:
        depth = len(self.control) + len(self.results) + len(self.reliable) + len(self.latest)
        self.high_water = max(self.high_water, depth)
        return depth


operations = st.lists(
    st.one_of(
        st.tuples(st.just("control")),
        st.tuples(st.just("result")),
        st.tuples(st.just("reliable")),
        st.tuples(st.just("latest"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(1, 12)),
    ),
    max_size=60,
)


def put_bounded(lane: list[Any], limit: int, put: Any, message: Any) -> None:
    """A lane that raises when it is full."""
    if len(lane) < limit:
        put(message)
        lane.append(message)
    else:
        with pytest.raises(MailboxFull):
            put(message)


def perform(box: Mailbox, twin: Twin, number: int, operation: tuple[Any, ...]) -> None:
    message = (number, operation)
    match operation:
        case ("control",):
            put_bounded(twin.control, LIMITS.control_max, box.put_control, message)
        case ("result",):
            put_bounded(twin.results, LIMITS.results_max, box.put_result, message)
        case ("reliable",):
            room = not twin.senders and len(twin.reliable) < LIMITS.reliable_max
            assert box.put(message) is room
            if not room:
                box.put_waiting(message)
            (twin.reliable if room else twin.senders).append(message)
        case ("latest", key):
            if twin.put_latest(key, message):
                box.put_latest(key, message)
            else:
                with pytest.raises(MailboxFull):
                    box.put_latest(key, message)
        case ("take", batch_max):
            assert messages(box.take(batch_max)) == twin.take(batch_max)


@given(operations=operations)
async def test_it_behaves_as_its_twin_whatever_happens(operations):
    box, twin = mailbox(), Twin()
    for number, operation in enumerate(operations):
        perform(box, twin, number, operation)
        assert box.depth == twin.depth()
        assert box.senders_waiting == len(twin.senders)
        assert (box.high_water, box.replaced) == (twin.high_water, twin.replaced)
    left = [*twin.control, *twin.results, *twin.reliable, *(v for _, v in twin.latest), *twin.senders]
    assert messages(box.close()) == left, "whatever was accepted and not taken is found in the end"
    assert box.depth == 0


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), batch_max=st.integers(1, 10))
async def test_every_senders_mail_arrives_whole_and_in_order_however_little_room_there_is(counts, batch_max):
    box = mailbox()
    received: list[Any] = []

    async def send(sender: int, count: int) -> None:
        for number in range(count):
            if not box.put((sender, number)):
                assert await box.put_waiting((sender, number))

    async with anyio.create_task_group() as tasks:
        for sender, count in enumerate(counts):
            tasks.start_soon(send, sender, count)
        while len(received) < sum(counts):
            received += messages(await box.receive(batch_max))
            assert box.depth <= LIMITS.reliable_max
    for sender, count in enumerate(counts):
        assert [n for s, n in received if s == sender] == list(range(count))


async def test_one_wake_up_brings_all_the_mail():
    box = mailbox()
    batches: list[list[Any]] = []

    async def receiver() -> None:
        batches.append(messages(await box.receive(10)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receiver)
        await anyio.lowlevel.checkpoint()
        for number in range(5):
            assert box.put(number)
    assert batches == [[0, 1, 2, 3, 4]]


async def test_control_mail_is_served_first():
    box = mailbox()
    box.put("work")
    box.put_latest("key", "value")
    box.put_result("result")
    box.put_control("pause")
    assert messages(await box.receive(10)) == ["pause", "result", "work", "value"]


async def test_a_flood_of_work_does_not_starve_the_latest_values():
    box = mailbox(MailboxLimits(reliable_max=100))
    for number in range(100):
        box.put(number)
    box.put_latest("key", "value")
    assert "value" in messages(box.take(8))


async def test_the_newest_value_keeps_the_place_of_the_one_it_replaces():
    box = mailbox()
    box.put_latest("a", 1)
    box.put_latest("b", 2)
    box.put_latest("a", 3)
    assert messages(box.take(10)) == [3, 2]
    assert box.replaced == 1


async def test_a_merge_decides_what_replacing_keeps():
    box = mailbox()
    for value in (3, 9, 1):
        box.put_latest("key", (value, value), lambda old, new: (min(old[0], new[0]), max(old[1], new[1])))
    assert messages(box.take(10)) == [(1, 9)]


async def test_a_sender_that_gives_up_takes_its_waiting_mail_with_it():
    box = mailbox()
    for number in range(LIMITS.reliable_max):
        box.put(number)
    gives_up, stays = box.put_waiting("gives up"), box.put_waiting("stays")
    box.withdraw(admitted=gives_up)
    box.take(10)
    assert messages(box.take(10)) == ["stays"]
    assert stays.result() is True
    assert not gives_up.done()


async def test_a_control_request_that_nobody_has_taken_can_be_taken_back_and_work_that_moved_in_cannot():
    box = mailbox()
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    mine, other, work = (Reply(future, box.unanswered) for future in futures)
    box.put_control("mine", mine)
    box.put_control("other", other)
    box.put_request("work", work)
    assert [box.withdraw(reply=reply) for reply in (mine, mine, work)] == [True, False, False]
    assert messages(box.take(10)) == ["other", "work"]
    assert not box.withdraw(reply=other), "it was taken"


async def test_a_cancelled_senders_place_goes_to_the_next():
    box = mailbox()
    for number in range(LIMITS.reliable_max):
        box.put(number)
    cancelled, stays = box.put_waiting("cancelled"), box.put_waiting("stays")
    cancelled.cancel()
    box.take(10)
    assert messages(box.take(10)) == ["stays"]
    assert stays.result() is True


async def test_a_sealed_mailbox_takes_in_who_waits_and_nothing_after_that_but_results():
    box = mailbox()
    for number in range(LIMITS.reliable_max):
        box.put(number)
    waits = box.put_waiting("waits")
    box.put_latest("key", "stale soon")
    assert messages(box.seal()) == ["stale soon"]
    assert waits.result() is True
    assert not box.put("too late")
    box.put_result("came back")
    assert messages(await box.receive(10)) == ["came back", 0, 1, 2, 3, 4, "waits"]
    assert await box.receive(10) == []


async def test_sealing_and_waking_release_the_receiver():
    box = mailbox()
    batches: list[list[Any]] = []

    async def receiver() -> None:
        batches.append(await box.receive(10))
        batches.append(await box.receive(10))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receiver)
        await anyio.lowlevel.checkpoint()
        box.wake()
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        box.seal()
    assert batches == [[], []]


async def test_closing_tells_waiting_senders_that_nothing_was_delivered():
    box = mailbox()
    for number in range(LIMITS.reliable_max):
        box.put(number)
    waits = box.put_waiting("waits")
    assert messages(box.close()) == [0, 1, 2, 3, 4, "waits"]
    assert waits.result() is False


async def test_a_busy_receiver_lets_others_run_between_its_batches():
    box, turns = mailbox(), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for number in range(100):
            box.put(number)
            await box.receive(1)
        tasks.cancel_scope.cancel()
    assert turns >= 50


def test_every_lane_has_a_bound():
    with pytest.raises(AssertionError):
        MailboxLimits(reliable_max=0)
