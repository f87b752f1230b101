"""Control obeys what people ask for in the order in which they ask, and a kill without waiting for what takes its time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.unit.runtime.support import World, world
from tradekeel.actors.control import AccountRefs, AskedFor, Control, ControlSettings, SignalArrived
from tradekeel.domain.protocol import AccountCommand, AccountReady, Command, Describe
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.errors import ActorDied
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
            reply.fail(ActorDied("executor", "it says nothing"))


def asked(*names: str) -> list[AskedFor]:
    return [AskedFor(f"{number}-{name}", name, {}) for number, name in enumerate(names)]


def tree(desk: Drawer, executor: Actor, said: list[tuple[str, str]]) -> Callable[[World], Supervisor]:
    """Control and one account, with nothing but an executor."""
    settings = ControlSettings(
        name="t", on_stop="keep", stop_at_feed_end=False, stop_timeout_s=1.0, watchdog_every_s=1e6, books="memory"
    )

    async def reload() -> str:
        return "nothing has changed"

    def say(level: str, text: str, **fields: str) -> None:
        said.append((level, text))

    def root(this: World) -> Supervisor:
        refs = AccountRefs("a", this.system.ref("executor"), this.system.ref("feed"))
        control = Control(settings, [refs], desk, Notifier(), reload, dict, say, lambda why: pytest.fail(why))
        return Supervisor(
            "root", children=[ChildSpec("executor", lambda: executor), ChildSpec("control", lambda: control)]
        )

    return root


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

    async with world(tree(desk, executor, [])) as w:
        every = asked(before, "resume", "kill")
        for waiting in (every[:1], every):
            desk.waiting = waiting
            w.system.ref("control").control(SignalArrived(signal.SIGURG))
            await w.clock.settle()
        assert executor.heard == first

        await w.system.ref("executor").send("answer")
        await w.clock.settle()
        assert executor.heard[len(first) :][:1] == then


async def test_what_became_of_a_command_is_in_the_log_a_refusal_as_a_warning() -> None:
    desk, said = Drawer(), list[tuple[str, str]]()
    async with world(tree(desk, Slow(), said)) as w:
        desk.waiting = [AskedFor("1", "kill", {"reason": "panic"}), AskedFor("2", "dance", {})]
        w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.settle()
        w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.settle()
        desk.waiting.append(AskedFor("3", "pause", {"account": "b"}))
        w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.settle()
    told = [line for line in said if "command " in line[1]]
    assert ("INFO", "command kill reason=panic") in told
    assert ("INFO", "command kill: halted") in told
    known = "pause, resume, kill, release, flatten, resolve, reload, stop"
    assert ("WARNING", f"command dance: unknown command 'dance'; known are {known}") in told
    assert ("WARNING", "command pause: there is no account 'b'; accounts are a") in told
    assert desk.answered == ["1", "2", "3"]


def ready(*held: str, trading: bool = True, why: str = "") -> AccountReady:
    return AccountReady("a", trading, why, 0, 0, (), True, held)


@pytest.mark.parametrize(
    ("news", "lines"),
    [
        ([ready()], ["a is reconciled and trading"]),
        ([ready("is halted: panic")], ["a is reconciled", "a is halted: panic"]),
        ([ready("is halted: panic"), ready()], ["a is reconciled", "a is halted: panic"]),  # the release has its own line
        ([ready(trading=False, why="the venue is down"), ready("is paused: no new entries")],
         ["a is not trading: the venue is down", "a is reconciled", "a is paused: no new entries"]),
        ([ready("is halted: x", trading=False, why="the books do not match"), ready(why="is released")],
         ["a is not trading: the books do not match", "a is halted: x", "a is released and trading"]),
    ],
)  # fmt: skip
async def test_an_account_is_never_said_to_trade_while_something_holds_it(
    news: list[AccountReady], lines: list[str]
) -> None:
    said: list[tuple[str, str]] = []
    async with world(tree(Drawer(), Slow(), said)) as w:
        for message in news:
            w.system.ref("control").latest("ready", message)
            await w.clock.settle()
    assert [text for _, text in said if text.startswith("a ")] == lines
