"""An actor handles one message at a time. Requests are answered once and fail at once when there is nobody to answer;
mail for nobody is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from tests.unit.runtime.support import Boom, Diarist, World, world
from tradekeel.runtime.actor import Actor, Envelope, Lane, MailboxLimits, Reply
from tradekeel.runtime.errors import ActorDied, ActorError, MailboxFull, RequestTimeout
from tradekeel.runtime.reference import ask_each
from tradekeel.runtime.restart import Ending, RestartType
from tradekeel.runtime.supervisor import ChildSpec, Supervisor


def tree(*factories: Any, restart: RestartType = RestartType.PERMANENT, shutdown_s: float = 5.0) -> Any:
    """One supervisor over actors named a, b, c, ..."""

    def root(this: World) -> Supervisor:
        specs = [
            ChildSpec(name, lambda make=make: make(this), restart, shutdown_s)  # type: ignore[misc]
            for name, make in zip("abcdef", factories, strict=False)
        ]
        return Supervisor("root", children=specs)

    return root


class Keeper(Diarist):
    """Keeps replies and answers them later, or never."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.kept: list[Reply] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if message == "keep" and reply is not None:
            self.kept.append(reply)
        elif message == "answer":
            self.kept.pop(0).send("at last")
        else:
            await super().handle(message, reply)


class Recorder(Diarist):
    """Remembers what it handled, in a list that outlives it."""

    mailbox_limits = MailboxLimits(reliable_max=4, results_max=4, control_max=2)
    batch_max = 4

    def __init__(self, world: World, handled: list[Any] | None = None) -> None:
        super().__init__(world)
        self.handled = handled if handled is not None else []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        self.handled.append(message)
        await super().handle(message, reply)


# --- requests ----------------------------------------------------------------------------------------------------------


async def test_a_request_gets_its_answer():
    async with world(tree(Diarist)) as w:
        assert await w.ask("a", "ping") == ("a", 1)


async def test_an_answer_may_come_later():
    async with world(tree(Keeper)) as w:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await w.ask("a", "keep", timeout_s=60))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await w.clock.advance(59)
            assert answers == []
            await w.system.ref("a").send("answer")
        assert answers == ["at last"]


async def test_a_request_times_out_on_the_injected_clock_and_the_late_answer_is_dropped():
    async with world(tree(Keeper)) as w:
        outcomes: list[Any] = []

        async def ask() -> None:
            try:
                outcomes.append(await w.ask("a", "keep", timeout_s=2))
            except RequestTimeout as error:
                outcomes.append((error.actor, error.request, w.clock.monotonic()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await w.clock.advance(5)
            assert outcomes == [("a", "str", 2.0)]
            actor: Any = w.system.actors["a"]
            assert actor.kept[0].expired
            await w.system.ref("a").send("answer")
        assert await w.ask("a", "ping") == ("a", 1)


async def test_a_request_may_be_failed_by_the_one_who_was_asked():
    class Refuser(Actor):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            assert reply is not None
            reply.fail(ValueError("no"))

    async with world(tree(lambda w: Refuser())) as w:
        with pytest.raises(ValueError, match="no"):
            await w.ask("a", "please")


async def test_answering_twice_is_a_defect():
    class Eager(Actor):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            assert reply is not None
            reply.send(1)
            reply.send(2)

    async with world(tree(lambda w: Eager())) as w:
        assert await w.ask("a", "x") == 1
        await w.clock.settle()
        assert isinstance(w.faults[0].error, AssertionError)


async def test_requests_to_nobody_fail_at_once():
    async with world(tree(Diarist)) as w:
        with pytest.raises(ActorDied):
            await w.ask("nobody", "x", timeout_s=1e9)
        assert not w.system.ref("nobody").alive


async def test_several_are_asked_at_once_and_answer_in_the_order_of_the_questions():
    async with world(tree(Keeper, Diarist)) as w:
        a, b = w.system.ref("a"), w.system.ref("b")
        answers: list[Any] = []

        async def ask() -> None:
            answers.extend(await ask_each(((a, "keep"), (b, "ping")), timeout_s=60))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await w.clock.settle()
            assert answers == [], "one of them has not answered"
            await a.send("answer")
        assert answers == ["at last", ("b", 1)]


async def test_of_several_that_are_asked_the_first_failure_is_raised_and_nobody_waits_for_the_others():
    async with world(tree(Keeper, Diarist)) as w:
        asks = ((w.system.ref("nobody"), "x"), (w.system.ref("a"), "keep"))
        with pytest.raises(ActorDied):
            await ask_each(asks, timeout_s=1e9)
        with pytest.raises(ActorDied):
            await ask_each(tuple(reversed(asks)), timeout_s=1e9)
        with pytest.raises(ActorDied):
            await ask_each(((w.system.ref("a"), "boom"), (w.system.ref("b"), "boom")), timeout_s=1e9)


async def test_every_unanswered_request_fails_at_once_when_the_actor_dies():
    async with world(tree(Keeper)) as w:
        died: list[str] = []

        async def ask() -> None:
            with pytest.raises(ActorDied):
                await w.ask("a", "keep", timeout_s=1e9)
            died.append("kept")

        async def ask_fatally() -> None:
            with pytest.raises(ActorDied):
                await w.ask("a", "boom", timeout_s=1e9)
            died.append("fatal")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await w.clock.settle()
            tasks.start_soon(ask_fatally)
        assert sorted(died) == ["fatal", "kept"]
        assert w.clock.monotonic() == 0


async def test_a_dying_actors_task_may_still_try_to_answer():
    class Undecided(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            assert reply is not None
            self.spawn(self.answer_when_cancelled, reply)
            if message == "boom":
                raise Boom

        async def answer_when_cancelled(self, reply: Reply) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                reply.send("too late")
                reply.fail(ValueError("too late"))

    async with world(tree(Undecided)) as w:
        with pytest.raises(ActorDied):
            await w.ask("a", "boom")


async def test_a_request_waits_for_room_within_its_deadline_and_is_withdrawn_after_it():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 10))
        await w.clock.settle()
        for number in range(4):
            assert await ref.send(number)

        async def ask() -> None:
            with pytest.raises(RequestTimeout):
                await ref.ask("never moves in", timeout_s=3)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await w.clock.advance(3)
        assert w.system.snapshot()["a"].senders_waiting == 0
        await w.clock.advance(10)
        assert handled == [("sleep", 10), 0, 1, 2, 3]


async def test_a_control_request_that_expires_before_anybody_takes_it_is_never_handled_and_leaves_its_place():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 10))
        await w.clock.settle()

        async def ask(number: int) -> None:
            with pytest.raises(RequestTimeout):
                await ref.ask(number, timeout_s=1, lane=Lane.CONTROL)

        for number in range(5):  # more than the lane holds
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, number)
                await w.clock.advance(1)
        await w.clock.advance(10)
        assert handled == [("sleep", 10)]


async def test_control_requests_overtake_and_overflow_to_the_sender():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        assert ref.control("pause")
        assert await ref.ask("status", timeout_s=1, lane=Lane.CONTROL) == ("a", 1)
        await ref.send(("sleep", 1))
        await w.clock.settle()
        ref.control(1)
        ref.control(2)
        with pytest.raises(MailboxFull):
            ref.control(3)
        with pytest.raises(MailboxFull):
            await ref.ask(3, timeout_s=1, lane=Lane.CONTROL)
        assert w.system.snapshot()["a"].unanswered == 0
        await w.clock.advance(1)


# --- sends -------------------------------------------------------------------------------------------------------------


async def test_a_reference_stays_good_over_restarts():
    async with world(tree(Diarist)) as w:
        ref = w.system.ref("a")
        assert await ref.send("boom")
        await w.clock.settle()
        assert await ref.ask("ping", timeout_s=1) == ("a", 2)
        assert repr(ref) == "ActorRef('a')"


async def test_mail_for_nobody_is_counted_and_the_last_of_it_kept():
    letters: list[Any] = []
    async with world(tree(Diarist), on_dead_letter=letters.append, dead_letters_kept=2) as w:
        ref = w.system.ref("nobody")
        assert await ref.send(1) is False
        assert [await ref.send(number) for number in (2, 3)] == [False, False]
        assert ref.control("x") is False
        assert ref.latest("key", 1.5) is False
        sink = w.system.dead_letters
        assert dict(sink.counts) == {
            ("nobody", "int"): 3,
            ("nobody", "str"): 1,
            ("nobody", "float"): 1,
        }
        assert sink.total == len(letters) == 5
        assert [letter.message for letter in sink.last] == ["x", 1.5]


async def test_a_restarted_actor_starts_with_an_empty_mailbox_and_the_old_mail_is_dead():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        for message in ("ping", "boom", "lost in the batch", "lost, too"):
            await ref.send(message)
        ref.latest("key", "lost value")
        await w.clock.settle()
        assert handled == ["ping", "boom"]
        assert await ref.ask("ping", timeout_s=1) == ("a", 2)
        assert [letter.message for letter in w.system.dead_letters.last] == [
            "lost in the batch",
            "lost value",
            "lost, too",
        ]


async def test_senders_that_wait_for_room_are_released_when_the_actor_dies():
    async with world(tree(Recorder)) as w:
        ref = w.system.ref("a")
        outcomes: list[Any] = []

        async def send() -> None:
            outcomes.append(await ref.send("waits"))

        async def ask() -> None:
            try:
                await ref.ask("waits", timeout_s=1e9)
            except ActorDied:
                outcomes.append("died")

        await ref.send("hang")
        await w.clock.settle()
        for number in range(4):
            await ref.send(number)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(ask)
            await w.clock.settle()
            assert w.system.snapshot()["a"].senders_waiting == 2
            w.system.actors["a"]._cell.cancel()
        assert sorted(map(str, outcomes)) == ["False", "died"]


async def test_a_cancelled_sender_withdraws_its_message():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 1))
        await w.clock.settle()
        for number in range(4):
            await ref.send(number)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.send, "withdrawn")
            await w.clock.settle()
            tasks.cancel_scope.cancel()
        await w.clock.advance(1)
        assert handled[1:] == [0, 1, 2, 3]


async def test_many_messages_are_sent_in_order_through_a_small_mailbox():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        for number in range(50):
            assert await w.system.ref("a").send(number)
        await w.clock.settle()
        assert handled == list(range(50))


async def test_the_latest_value_wins_and_what_it_replaced_is_counted():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 1))
        await w.clock.settle()
        for value in range(10):
            ref.latest("x", value)
            ref.latest("y", [value], lambda old, new: old + new)
        await w.clock.advance(1)
        assert handled[1:] == [9, list(range(10))]
        assert w.system.snapshot()["a"].replaced == 18


# --- inside an actor -----------------------------------------------------------------------------------------------------


async def test_control_mail_is_served_in_the_middle_of_a_batch():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled))) as w:
        ref = w.system.ref("a")
        for _ in range(3):
            await ref.send(("sleep", 1))
        await w.clock.advance(0.5)
        ref.control("pause")
        await w.clock.advance(10)
        assert handled == [("sleep", 1), "pause", ("sleep", 1), ("sleep", 1)]
        assert w.system.snapshot()["a"].handled == 4


async def test_an_actor_may_take_its_mail_by_the_batch():
    class Batcher(Diarist):
        async def handle_batch(self, envelopes: list[Envelope]) -> None:
            self.note("+".join(str(e.message) for e in envelopes))
            if any(e.message == "boom" for e in envelopes):
                raise Boom

    async with world(tree(Batcher)) as w:
        for message in ("x", "y", "z"):
            await w.system.ref("a").send(message)
        await w.clock.settle()
        assert w.diary == ["a starts", "a x+y+z"]
        for message in ("1", "boom"):
            await w.system.ref("a").send(message)
        await w.clock.settle()
        assert w.system.dead_letters.total == 2, "how far a batch came is unknown: all of it counts"


async def test_a_child_tasks_failure_crashes_its_actor():
    class Parent(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            self.spawn(self.child, message)

        async def child(self, message: Any) -> None:
            raise Boom(message)

    async with world(tree(Parent)) as w:
        await w.system.ref("a").send("in the child")
        await w.clock.settle()
        assert w.alive() == {"a": 2}
        assert repr(w.faults[0].error) == "Boom('in the child')"


async def test_a_child_task_that_somebody_cancels_is_missed():
    class Parent(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            self.spawn(self.child)

        async def child(self) -> None:
            raise asyncio.CancelledError

    async with world(tree(Parent)) as w:
        await w.system.ref("a").send("go")
        await w.clock.settle()
        assert w.faults[0].ending is Ending.KILLED


async def test_child_tasks_end_with_their_actor_in_the_order_they_were_started():
    class Parent(Diarist):
        async def on_start(self) -> None:
            for number in range(20):
                self.spawn(self.child, number, name=f"child {number}")

        async def child(self, number: int) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                self.note(str(number))

    for message in ("boom", "finish", "hang"):
        async with world(tree(Parent, restart=RestartType.TEMPORARY)) as w:
            await w.system.ref("a").send(message)
            await w.clock.settle()
            await w.stop()
            assert [line for line in w.diary if line[2].isdigit()] == [f"a {n}" for n in range(20)]


async def test_a_task_brings_its_outcome_back_as_a_message():
    class Poster(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            if message == "go":
                self.spawn(self.fetch)
            else:
                self.note(message)

        async def fetch(self) -> None:
            await self.clock.sleep(3)
            self.post("fetched")

    async with world(tree(Poster)) as w:
        await w.system.ref("a").send("go")
        await w.clock.advance(3)
        assert w.diary == ["a starts", "a fetched"]


class Asker(Diarist):
    """Asks b without waiting and notes what comes back."""

    mailbox_limits = MailboxLimits(results_max=3)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case ("outcome", outcome):
                self.note(f"got {outcome!r}")
            case ("ask", question, lane):
                self.request(
                    self.system.ref("b"), question, lambda outcome: ("outcome", outcome), timeout_s=5, lane=lane
                )
            case _:
                await super().handle(message, reply)


async def test_a_request_without_waiting_comes_back_as_a_message_whatever_happens():
    async with world(tree(Asker, Keeper)) as w:
        a = w.system.ref("a")
        for question in ("ping", "keep", "boom"):
            await a.send(("ask", question, Lane.RELIABLE))
        await w.clock.settle()
        await a.send(("ask", "keep", Lane.CONTROL))
        await w.clock.advance(6)
        got = [line.removeprefix("a got ") for line in w.diary if " got " in line]
        assert got[0] == "('b', 1)"
        assert [g.split("(")[0] for g in got[1:]] == ["ActorDied", "ActorDied", "RequestTimeout"]


async def test_a_request_without_waiting_to_nobody_comes_back_at_once():
    async with world(tree(Asker)) as w:
        await w.system.ref("a").send(("ask", "ping", Lane.RELIABLE))
        await w.clock.settle()
        assert w.diary[-1].startswith("a got ActorDied")


async def test_open_requests_are_bounded_by_the_places_reserved_for_their_answers():
    async with world(tree(Asker, Keeper)) as w:
        for _ in range(4):
            await w.system.ref("a").send(("ask", "keep", Lane.RELIABLE))
        await w.clock.settle()
        assert isinstance(w.faults[0].error, MailboxFull)
        actor: Any = w.system.actors["b"]
        assert all(reply.expired for reply in actor.kept), "the one who asked has died: nobody waits"


async def test_an_answer_that_cannot_be_understood_crashes_who_asked():
    class Confused(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            self.request(self.system.ref("b"), "ping", self.misread, timeout_s=1)

        def misread(self, answer: Any) -> Any:
            raise Boom(answer)

    async with world(tree(Confused, Diarist)) as w:
        await w.system.ref("a").send("go")
        await w.clock.settle()
        assert repr(w.faults[0].error) == "Boom(('b', 1))"
        assert w.faults[0].ending is Ending.ERROR
        assert w.alive() == {"a": 2, "b": 1}


async def test_what_a_task_brings_back_to_a_dead_actor_is_a_dead_letter():
    class Poster(Diarist):
        async def on_start(self) -> None:
            self.spawn(self.fetch)

        async def fetch(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                self.post("too late")

    async with world(tree(Poster)) as w:
        await w.stop()
        assert [letter.message for letter in w.system.dead_letters.last] == ["too late"]


async def test_an_actor_may_stop_the_system_it_lives_in():
    class Stopper(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            self.system.request_stop()

    async with world(tree(Stopper, Diarist)) as w:
        await w.system.ref("a").send("stop")
        await w.clock.settle()
        assert w.over
        assert w.diary[2:] == ["b stops", "a stops"]


async def test_resources_are_closed_however_the_actor_ends():
    class Owner(Diarist):
        async def on_start(self) -> None:
            self.resources.callback(self.note, "closes")

    for message in ("boom", "finish", "cancelled", "hang"):
        async with world(tree(Owner, restart=RestartType.TEMPORARY, shutdown_s=1)) as w:
            await w.system.ref("a").send(message)
            await w.clock.settle()
            await w.stop()
            assert w.diary[-1] == "a closes"


async def test_a_resource_that_does_not_close_is_given_up():
    class Owner(Diarist):
        async def on_start(self) -> None:
            self.resources.push_async_callback(anyio.sleep_forever)

    async with world(tree(Owner)) as w:
        await w.stop()
        assert w.outcome is None


# --- stopping ------------------------------------------------------------------------------------------------------------


async def test_a_stopping_actor_handles_the_mail_it_has_and_takes_no_more():
    handled: list[Any] = []
    async with world(tree(lambda w: Recorder(w, handled), shutdown_s=60)) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 1))
        await w.clock.settle()
        for number in range(4):
            await ref.send(number)
        ref.latest("key", "stale")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.send, "on its way")
            await w.clock.settle()
            w.system.request_stop()
            await w.clock.settle()
            assert await ref.send("too late") is False
            assert ref.control("too late") is False
            with pytest.raises(ActorDied):
                await ref.ask("too late", timeout_s=1)
            await w.until_over()
        assert handled == [("sleep", 1), 0, 1, 2, 3, "on its way"]
        assert w.diary[-1] == "a stops"
        assert [letter.message for letter in w.system.dead_letters.last] == ["stale", "too late", "too late"]


async def test_an_answer_that_comes_while_stopping_is_handled_before_on_stop():
    class Slow(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            assert reply is not None
            self.spawn(self.answer, reply)

        async def answer(self, reply: Reply) -> None:
            await self.clock.sleep(float(self.world.diary[0]))
            reply.send("slowly")

    class Client(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            if message == "go":
                self.request(self.system.ref("a"), "x", lambda answer: f"got {answer}", timeout_s=100)
            else:
                self.note(message)

    for delay_s, expected in ((2.0, ["b got slowly", "b stops"]), (4.0, ["b stops"])):
        async with world(tree(Slow, Client, shutdown_s=6)) as w:
            w.diary[:] = [delay_s]
            await w.system.ref("b").send("go")
            await w.clock.settle()
            await w.stop()
            assert w.diary[1:-1] == expected, "half of the shutdown deadline is for what is in flight"


async def test_an_actor_that_finishes_by_itself_ends_in_order():
    async with world(tree(Diarist, restart=RestartType.TRANSIENT)) as w:
        for message in ("finish", "ping"):
            await w.system.ref("a").send(message)
        await w.clock.settle()
        assert w.diary == ["a starts", "a stops"]
        assert w.faults[0].ending is Ending.NORMAL
        assert w.alive() == {}


async def test_two_live_actors_cannot_have_one_name():
    def root(this: World) -> Supervisor:
        inner = [ChildSpec("twin", lambda: Diarist(this), RestartType.TEMPORARY)]
        nested = ChildSpec("nested", lambda: Supervisor("nested", children=inner))
        return Supervisor("root", children=[*inner, nested])

    async with world(root) as w:
        assert isinstance(w.faults[0].error, ActorError)
        assert w.alive() == {"twin": 1}


async def test_the_base_handles_nothing():
    async with world(tree(lambda w: Actor())) as w:
        await w.system.ref("a").send("x")
        await w.clock.settle()
        assert isinstance(w.faults[0].error, NotImplementedError)
