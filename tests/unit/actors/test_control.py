"""Control obeys what people ask for in the order in which they ask, and a kill without waiting for what takes its time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import pytest

from tests.unit.runtime.support import Boom, World, world
from tradekeel.actors.control import AccountRefs, AskedFor, Control, ControlSettings, SignalArrived
from tradekeel.domain.protocol import (
    AccountCommand,
    AccountReady,
    Command,
    Describe,
    FeedProgress,
    StopFeed,
    StoreStands,
)
from tradekeel.errors import StoreUnavailable
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
        self.said: list[tuple[bool, str]] = []
        self.statuses = 0

    def pending(self) -> Sequence[AskedFor]:
        waiting = [asked for asked in self.waiting if asked.id not in self.taken]
        return sorted(waiting, key=lambda asked: asked.name != "kill")

    def take(self, asked: AskedFor) -> None:
        self.taken.append(asked.id)

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        self.answered.append(asked.id)
        self.said.append((ok, message))

    def hold(self, scope: str, reason: str) -> None:
        self.latches.append(scope)

    def let_go(self, scope: str) -> None:
        self.latches.clear()

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Nobody looks at more than how often it is written."""
        self.statuses += 1


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


class Loading(Slow):
    """An executor that reads a long journal before it takes its mail."""

    def __init__(self, for_s: float) -> None:
        super().__init__()
        self.for_s = for_s

    async def on_start(self) -> None:
        await self.clock.sleep(self.for_s)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        await super().handle(message, reply)
        for kept in self.kept:
            kept.send("done")
        self.kept.clear()


class Market(Actor):
    """A feed that takes its time to stop, and may die at it."""

    def __init__(self, told: list[StopFeed], *, dies: int = 0) -> None:
        self.told = told
        self.dies = dies

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert isinstance(message, StopFeed)
        assert reply is not None
        self.told.append(message)
        if len(self.told) <= self.dies:
            raise Boom
        await self.clock.sleep(10)
        reply.send(True)


def asked(*names: str) -> list[AskedFor]:
    return [AskedFor(f"{number}-{name}", name, {}) for number, name in enumerate(names)]


def tree(
    desk: Drawer, executor: Actor, said: list[tuple[str, str]], on_store_failure: str = "reduce_only"
) -> Callable[[World], Supervisor]:
    """Control and one account, with nothing but an executor."""

    def root(this: World) -> Supervisor:
        refs = AccountRefs("a", this.system.ref("executor"), this.system.ref("feed"))
        control = control_of([refs], desk, said, on_store_failure=on_store_failure)
        return Supervisor(
            "root",
            children=[
                ChildSpec("control", lambda: control),
                ChildSpec("executor", lambda: executor, start_timeout_s=None),
            ],
        )

    return root


def control_of(
    accounts: Sequence[AccountRefs],
    desk: Drawer,
    said: list[tuple[str, str]],
    on_stop: str = "keep",
    within_s: float = 1.0,
    notify: Notifier | None = None,
    on_store_failure: str = "reduce_only",
) -> Control:
    """Control over these accounts."""
    settings = ControlSettings(
        name="t",
        on_stop=on_stop,
        stop_at_feed_end=False,
        stop_timeout_s=within_s,
        watchdog_every_s=1e6,
        books="memory",
        on_store_failure=on_store_failure,
    )

    async def reload() -> str:
        return "nothing has changed"

    def say(level: str, text: str, **fields: str) -> None:
        said.append((level, text))

    heard = notify or Notifier()
    return Control(settings, accounts, desk, heard, reload, dict, say, lambda why: pytest.fail(why))


def stopping(
    told: Mapping[str, list[StopFeed]], said: list[tuple[str, str]], *, dies: int = 0
) -> Callable[[World], Supervisor]:
    """Control and accounts that are nothing but feeds, which take ten seconds to stop."""

    def feed(name: str) -> Actor:
        return Market(told[name], dies=dies)

    def root(this: World) -> Supervisor:
        refs = [AccountRefs(n, this.system.ref(f"{n}/executor"), this.system.ref(f"{n}/feed")) for n in told]
        control = control_of(refs, Drawer(), said, "flatten", 30.0)
        feeds = [ChildSpec(f"{name}/feed", partial(feed, name)) for name in told]
        return Supervisor("root", children=[ChildSpec("control", lambda: control), *feeds])

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


async def test_a_release_waits_for_the_kills_under_way_and_so_ends_what_they_hold() -> None:
    desk, executor = Drawer(), Loading(12.0)

    async with world(tree(desk, executor, [])) as w:
        every = asked("pause", "kill", "release", "resume", "reload")
        for count in (1, 2, 5):
            desk.waiting = every[:count]
            w.system.ref("control").control(SignalArrived(signal.SIGURG))
            await w.clock.advance(3)
        assert desk.answered[-1] == "4-reload", "which waits for nobody"
        await w.clock.advance(30)
    assert executor.heard == [Command.KILL, Command.RELEASE, Command.RESUME]
    assert desk.answered == ["4-reload", "0-pause", "1-kill", "2-release", "3-resume"]
    assert desk.latches == []


async def test_a_folder_that_cannot_be_used_costs_commands_and_their_answers_and_nothing_else() -> None:
    class Broken(Drawer):
        broken = False

        def pending(self) -> Sequence[AskedFor]:
            return super().pending() if not self.broken else self._fail()

        def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
            super().answer(asked, ok, message) if not self.broken else self._fail()

        def let_go(self, scope: str) -> None:
            self._fail()

        def _fail(self) -> NoReturn:
            raise StoreUnavailable("the disk fails")

    desk, executor, said = Broken(), Loading(0.0), list[tuple[str, str]]()
    async with world(tree(desk, executor, said)) as w:
        desk.broken = True
        await w.clock.advance(5)
        desk.broken = False
        desk.waiting = asked("pause", "release")
        await w.clock.advance(5)
        assert executor.heard == [Command.PAUSE]
        assert desk.said[1] == (False, "not all of it could be done, look at the status: the disk fails")
    errors = [text for level, text in said if level == "ERROR"]
    assert errors == ["commands cannot be read, only signals are heard: the disk fails"]


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


def ready(*held: str, trading: bool = True, why: str = "", account: str = "a") -> AccountReady:
    return AccountReady(account, trading, why, 0, 0, (), True, held)


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


# --- stops ----------------------------------------------------------------------------------------------------------------


class Deaf(Notifier):
    """A service manager that cannot take anything, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf = True
        self.heard: list[str] = []

    def send(self, fields: Mapping[str, str]) -> bool:
        if not self.deaf:
            self.heard += [key for key in fields if key != "STATUS"]
        return not self.deaf


async def test_ready_is_said_until_the_service_manager_has_heard_it_and_once() -> None:
    notify = Deaf()

    def root(this: World) -> Supervisor:
        refs = AccountRefs("a", this.system.ref("executor"), this.system.ref("feed"))
        control = control_of([refs], Drawer(), [], notify=notify)
        return Supervisor("root", children=[ChildSpec("control", lambda: control)])

    async with world(root) as w:
        control = w.system.ref("control")
        control.latest("a", ready())
        await w.clock.advance(5)
        notify.deaf = False
        await w.clock.advance(20)
        assert notify.heard == ["READY"]

        notify.deaf = True
        control.control(SignalArrived(signal.SIGHUP))
        await w.clock.advance(5)
        notify.deaf = False
        await w.clock.advance(20)
        assert notify.heard == ["READY", "READY"]


async def test_an_account_that_gets_ready_during_a_stop_is_stopped_too_and_waited_for() -> None:
    told: dict[str, list[StopFeed]] = {"a": [], "b": []}
    async with world(stopping(told, [])) as w:
        control = w.system.ref("control")
        control.latest("a", ready(account="a"))
        await w.clock.settle()
        control.control(SignalArrived(signal.SIGTERM))
        await w.clock.advance(8)
        control.latest("b", ready(account="b"))
        await w.clock.advance(3)
        assert [(len(asks), asks[0].on_stop, asks[0].again) for asks in told.values()] == [(1, "flatten", False)] * 2
        assert not w.over, "b is not done"
        await w.clock.advance(8)
        assert w.over


async def test_a_stop_asks_the_service_manager_for_its_time_also_where_no_account_is_ready_yet() -> None:
    notify = Deaf()
    notify.deaf = False

    def root(this: World) -> Supervisor:
        refs = AccountRefs("a", this.system.ref("executor"), this.system.ref("feed"))
        control = control_of([refs], Drawer(), [], notify=notify)
        return Supervisor("root", children=[ChildSpec("control", lambda: control)])

    async with world(root) as w:
        w.system.ref("control").control(SignalArrived(signal.SIGTERM))
        await w.until_over()
    assert notify.heard == ["STOPPING", "EXTEND_TIMEOUT_USEC"]


async def test_an_account_that_dies_while_it_is_stopped_is_asked_again_and_told_that_it_was() -> None:
    told: dict[str, list[StopFeed]] = {"a": []}
    said: list[tuple[str, str]] = []
    async with world(stopping(told, said, dies=2)) as w:
        control = w.system.ref("control")
        control.latest("a", ready())
        await w.clock.settle()
        control.control(SignalArrived(signal.SIGTERM))
        await w.until_over()
    assert [ask.again for ask in told["a"]] == [False, True, True]
    assert [text for level, text in said if level == "WARNING"] == []


async def test_an_account_that_does_not_come_back_during_a_stop_is_given_up_when_its_time_is_over() -> None:
    said: list[tuple[str, str]] = []
    async with world(tree(Drawer(), Slow(), said)) as w:
        control = w.system.ref("control")
        control.latest("a", ready())
        await w.clock.settle()
        control.control(SignalArrived(signal.SIGTERM))
        await w.until_over()
    assert ("WARNING", "a did not stop in order, its last saved state stands: feed: not running") in said


# --- an account that takes no mail for long -------------------------------------------------------------------------------


async def test_a_command_that_is_said_not_to_have_been_taken_is_not_done_later() -> None:
    desk, executor = Drawer(), Loading(15.0)
    async with world(tree(desk, executor, [])) as w:
        desk.waiting = asked("pause")
        w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.advance(60)
    assert desk.said == [(False, "a did not take it: executor did not answer AccountCommand within 10 s")]
    assert executor.heard == []


async def test_a_command_that_was_taken_and_is_not_answered_is_not_said_not_to_have_been_taken() -> None:
    desk, executor = Drawer(), Slow()
    async with world(tree(desk, executor, [])) as w:
        desk.waiting = asked("pause")
        w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.advance(15)
    [(ok, said)] = desk.said
    assert not ok
    assert said.startswith("a has heard it, and may have done it or not (see its status): ")
    assert executor.heard == [Command.PAUSE]


@pytest.mark.untraced
async def test_what_a_signal_asks_for_waits_for_an_account_however_long_it_loads() -> None:

    desk, executor, said = Drawer(), Loading(3_600.0), list[tuple[str, str]]()
    async with world(tree(desk, executor, said)) as w:
        w.system.ref("control").control(SignalArrived(signal.SIGUSR1))
        for _ in range(30):
            await w.clock.advance(60)
            assert w.system.snapshot()["executor"].mail_depth <= 2
        w.system.ref("control").control(SignalArrived(signal.SIGUSR2))
        await w.clock.advance(1_900)
        assert executor.heard == [Command.RESUME], "the newest"
    assert len([text for level, text in said if level == "WARNING"]) == 1


@pytest.mark.parametrize(("number", "command"), [(signal.SIGUSR1, Command.PAUSE), (signal.SIGUSR2, Command.RESUME)])
@pytest.mark.parametrize("signal_first", [True, False])
async def test_what_a_signal_asks_for_takes_nothing_away_of_what_a_server_that_is_away_asks_for(
    signal_first: bool, number: signal.Signals, command: Command
) -> None:
    """Of an account that can take neither for now: one that waits for that server, say."""
    desk, executor = Drawer(), Loading(900.0)
    away = StoreStands(mode="away", reason="it does not answer")

    async with world(tree(desk, executor, [], on_store_failure="halt")) as w:
        control = w.system.ref("control")
        if signal_first:
            control.control(SignalArrived(number))
        control.latest("store", away)
        await w.clock.advance(60)
        if not signal_first:
            control.control(SignalArrived(number))
        await w.clock.advance(60)
        control.latest("store", StoreStands(mode="direct"))
        for _ in range(15):
            await w.clock.advance(60)
        assert sorted(executor.heard) == sorted([Command.KILL, command])


async def test_an_account_that_comes_to_itself_at_any_moment_hears_of_a_halt_before_it_trades() -> None:
    """It is told for ten seconds, and then at once again: in a pause between the two it would trade."""
    desk, executor = Drawer(), Loading(10.5)
    async with world(tree(desk, executor, [], on_store_failure="halt")) as w:
        w.system.ref("control").latest("store", StoreStands(mode="away", reason="it does not answer"))
        await w.clock.advance(10.5)
        await w.clock.settle()
        assert executor.heard == [Command.KILL]


@pytest.mark.parametrize("who", ["store", "operator"])
async def test_an_account_that_starts_can_ask_for_a_halt_that_has_found_nobody_there(who: str) -> None:
    """Between two incarnations there is nobody to tell, and the next one may trade before it is told."""
    desk, executor = Drawer(), Loading(0.0)
    async with world(tree(desk, executor, [], on_store_failure="halt")) as w:
        control = w.system.actors["control"]
        assert isinstance(control, Control)
        assert control.halt_on_the_way("a") is None
        executor.for_s = 3_600.0
        await w.system.ref("executor").send("answer")  # which it has none: it fails, and is started again
        if who == "store":
            w.system.ref("control").latest("store", StoreStands(mode="away", reason="it does not answer"))
        else:
            desk.waiting = asked("kill")
            w.system.ref("control").control(SignalArrived(signal.SIGURG))
        await w.clock.settle()
        halt = control.halt_on_the_way("a")
        assert halt is not None
        assert halt.by == who
        assert control.halt_on_the_way("b") is None


async def test_the_status_stays_fresh_while_accounts_say_nothing() -> None:
    desk = Drawer()

    def root(this: World) -> Supervisor:
        names = "abcdef"
        refs = [AccountRefs(n, this.system.ref(f"{n}/executor"), this.system.ref(f"{n}/feed")) for n in names]
        loading = [ChildSpec(f"{n}/executor", lambda: Loading(100.0), start_timeout_s=None) for n in names]
        control = control_of(refs, desk, [])
        return Supervisor("root", children=[ChildSpec("control", lambda: control), *loading])

    async with world(root) as w:
        await w.clock.advance(20)
        assert desk.statuses >= 10


async def test_whoever_waited_for_ready_finds_the_accounts_in_the_status() -> None:
    desk = Drawer()
    async with world(tree(desk, Slow(), [])) as w:
        assert desk.statuses == 0
        w.system.ref("control").latest("a", ready())
        began_s = w.clock.monotonic()
        await w.until(lambda: desk.statuses > 0)
        assert w.clock.monotonic() == began_s


async def test_the_pace_is_that_of_the_ticks_and_what_was_read_before_the_first_one_does_not_count() -> None:
    async with world(tree(Drawer(), Slow(), [])) as w:
        control = w.system.actors["control"]
        assert isinstance(control, Control)
        for position, share, after_s in ((500, 0.1, 30.0), (500, 0.4, 30.0), (1_500, 0.5, 1.0), (3_500, 0.7, 1.0)):
            await w.clock.advance(after_s)
            progress = FeedProgress("a", position, None, share, 0, {})
            w.system.ref("control").latest("feed", progress)
            await w.clock.settle()
        assert control.pace["a"].ticks_per_s == 1_500.0


async def test_a_feed_that_others_bring_is_said_to_be_silent_once_and_the_rate_is_that_of_the_last_seconds() -> None:
    said = list[tuple[str, str]]()

    def progress(position: int, ticks: int, **others: Any) -> FeedProgress:
        return FeedProgress("a", position, None, None, 0, {"ticks": ticks}, may_go_silent=True, **others)

    async with world(tree(Drawer(), Slow(), said)) as w:
        control, ref = w.system.actors["control"], w.system.ref("control")
        assert isinstance(control, Control)
        ref.latest("a", ready())
        for second in range(20):
            ref.latest("feed", progress(5_000_000 * (second > 10) + second, second * 10))  # the numbers jump once
            await w.clock.advance(1.0)
        feed = (await control.describe())["feeds"]["a"]
        assert (feed["ticks_per_s"], feed["silent_s"]) == (pytest.approx(10.0, abs=1.0), None)
        said.clear()
        await w.clock.advance(100.0)
        described = await control.describe()
        assert (described["feeds"]["a"]["ticks_per_s"], described["feeds"]["a"]["silent_s"]) == (0.0, 101)
        assert [alert.partition(";")[0] for alert in described["alerts"]] == ["feed of a: no tick has come for 60 s"]
        ref.latest("feed", progress(5_000_019, 190, waits="the server is away"))
        await w.clock.settle()
        assert (await control.describe())["feeds"]["a"]["waits"] == "the server is away"
        ref.latest("feed", progress(5_000_020, 200))
        await w.clock.advance(2.0)
        described = await control.describe()
        assert (described["feeds"]["a"]["silent_s"], described["alerts"]) == (None, [])
    assert [(level, text.partition(";")[0]) for level, text in said] == [
        ("WARNING", "feed of a: no tick has come for 60 s"),
        ("INFO", "feed of a: ticks come again"),
    ]


async def test_a_recording_of_its_own_is_not_said_to_be_silent() -> None:
    said = list[tuple[str, str]]()
    async with world(tree(Drawer(), Slow(), said)) as w:
        control = w.system.actors["control"]
        assert isinstance(control, Control)
        w.system.ref("control").latest("a", ready())
        w.system.ref("control").latest("feed", FeedProgress("a", 5, None, None, 0, {"ticks": 5}))
        await w.clock.advance(300.0)
        assert (await control.describe())["feeds"]["a"]["silent_s"] is None
    assert not [text for _, text in said if "no tick" in text]
