"""Control obeys what people ask for in the order in which they ask, and a kill without waiting for what takes its time."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.unit.runtime.support import world
from tradekeel.actors.control import AccountRefs, AskedFor, Control, ControlSettings, SignalArrived
from tradekeel.domain.protocol import AccountCommand, Command, Describe
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.supervisor import Supervisor


class Drawer:
    """A desk in memory."""

    def __init__(self) -> None:
        self.waiting: list[AskedFor] = []
        self.taken: list[str] = []
        self.answered: list[str] = []
        self.latches: list[str] = []

    def pending(self) -> Sequence[AskedFor]:
        waiting = [asked for asked in self.waiting if asked.id not in self.taken]
        return sorted(waiting, key=lambda asked: asked.name != "kill")

    def take(self, asked: AskedFor) -> None:
        self.taken.append(asked.id)

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        self.answered.append(asked.id)

    def hold(self, scope: str, reason: str) -> None:
        self.latches.append(scope)

    def let_go(self, scope: str) -> None:
        self.latches.clear()

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Nobody looks."""


class Slow(Actor):
    """An executor that answers a kill, and anything else when it is told to."""

    def __init__(self) -> None:
        self.heard: list[Command] = []
        self.kept: list[Reply] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if message == "answer":
            self.kept.pop(0).send("done")
        elif isinstance(message, AccountCommand):
            assert reply is not None
            self.heard.append(message.command)
            if message.command is Command.KILL:
                reply.send("halted")
            else:
                self.kept.append(reply)
        elif isinstance(message, Describe):
            assert reply is not None
            reply.fail(ValueError("nobody asks"))


def asked(*names: str) -> list[AskedFor]:
    return [AskedFor(f"{number}-{name}", name, {}) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("before", "first", "then"),
    [
        ("pause", [Command.PAUSE, Command.KILL], [Command.RESUME]),
        ("flatten", [Command.FLATTEN, Command.KILL], [Command.RESUME]),
        ("release", [Command.RELEASE], [Command.KILL]),
    ],
)
async def test_a_kill_waits_for_a_release_only_and_the_rest_is_obeyed_one_after_another(
    before: str, first: list[Command], then: list[Command]
) -> None:
    desk, executor = Drawer(), Slow()
    settings = ControlSettings(
        name="t", on_stop="keep", stop_at_feed_end=False, stop_timeout_s=1.0, watchdog_every_s=1e6
    )

    async def reload() -> str:
        return "nothing has changed"

    def root(this: Any) -> Supervisor:
        refs = AccountRefs("a", this.system.ref("executor"), this.system.ref("feed"))
        control = Control(
            settings, [refs], desk, Notifier(), reload, dict, lambda *_, **__: None, lambda why: pytest.fail(why)
        )
        return Supervisor(
            "root", children=[ChildSpec("executor", lambda: executor), ChildSpec("control", lambda: control)]
        )

    async with world(root) as w:
        every = asked(before, "resume", "kill")
        for waiting in (every[:1], every):
            desk.waiting = waiting
            w.system.ref("control").control(SignalArrived(signal.SIGURG))
            await w.clock.settle()
        assert executor.heard == first

        await w.system.ref("executor").send("answer")
        await w.clock.settle()
        assert executor.heard[len(first) :][:1] == then
