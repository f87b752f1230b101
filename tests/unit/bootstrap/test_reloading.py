"""Control and the reloader together: who is asked before anything is written, and what is said where it ends half-way.

The accounts are small actors that answer as executors and feeds do.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from tests.unit.runtime.support import Boom, World, world
from tradekeel.actors.control import AccountRefs, AskedFor, Control, ControlSettings, SignalArrived
from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.bootstrap.reload import Reloader
from tradekeel.domain.protocol import AccountReady, AccountStatus, ChangeParameters, Describe, StopFeed
from tradekeel.domain.rows import Latch
from tradekeel.errors import InputError
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.loop import InlineWorker, Worker
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.supervisor import Supervisor

CONFIG = """
[storage]
sample_ticks_every = 40
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 10
[accounts.one]
venue = "paper"
feed = "market"
[accounts.two]
venue = "paper"
feed = "market"
[strategies.first]
kind = "floor"
account = "one"
instruments = ["EUR_USD"]
[strategies.second]
kind = "floor"
account = "two"
instruments = ["EUR_USD"]
"""
CHANGED = CONFIG.replace("sample_ticks_every = 40", "sample_ticks_every = 77")
P = ParamSpec("P")
T = TypeVar("T")
TOLD = "storage.sample_ticks_every: 40 -> 77"
NOON_NS = 1_704_200_400_000_000_000


class Account:
    """What outlives the incarnations of one account's actors."""

    def __init__(self) -> None:
        self.ts_ns = NOON_NS  # 0: it has seen no tick yet
        self.dies_at_writing = False
        self.history: list[str] = []
        self.saved = 0


class Executor(Actor):
    """Answers for its account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        match message:
            case Describe():
                reply.send(_status(self.account.ts_ns))
            case ChangeParameters(changes):
                if self.account.dies_at_writing:
                    raise Boom
                self.account.history += [f"{change.name}: {change.old} -> {change.new}" for change in changes]
                reply.send(True)


class Feed(Actor):
    """Counts how often everybody was saved."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert isinstance(message, StopFeed)
        assert reply is not None
        self.account.saved += 1
        reply.send(True)


def _status(ts_ns: int) -> AccountStatus:
    return AccountStatus(
        account="x", execution="run", state="trading", paused=False, latch=Latch.OPEN, latch_reason="", orders=0,
        unknown=(), trades=0, positions={}, balance="0", equity=None, cursor=0, sequence=0, ts_ns=ts_ns, position=0,
        strategies={},
    )  # fmt: skip


class Desk:
    """Commands and their answers, in memory."""

    def __init__(self) -> None:
        self.waiting: list[AskedFor] = []
        self.answers: list[tuple[bool, str]] = []

    def pending(self) -> Sequence[AskedFor]:
        return list(self.waiting)

    def take(self, asked: AskedFor) -> None:
        self.waiting.remove(asked)

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        self.answers.append((ok, message))

    def hold(self, scope: str, reason: str) -> None:
        """Nobody kills."""

    def let_go(self, scope: str) -> None:
        """Nobody releases."""

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Nobody looks."""


class SlowWorker(InlineWorker):
    """One that takes its time on the manual clock."""

    def __init__(self, this: World, seconds: float) -> None:
        super().__init__()
        self._this, self._seconds = this, seconds

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._this.clock.sleep(self._seconds)
        return await super().call(function, *args, **kwargs)


class Daemon:
    """Control, a reloader, and two accounts."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.file.write_text(CONFIG)
        self.plan: Plan = read_plan(self.file, {})
        self.control: Control | None = None
        self.accounts = {"one": Account(), "two": Account()}
        self.desk = Desk()
        self.said: list[str] = []
        self.reader: Worker = InlineWorker()
        self.log_problem = ""  # why the log cannot be opened as a plan says
        self.logged: list[str] = []  # the levels that the log was opened with

    def follow(self, plan: Plan) -> None:
        """Log as a plan says."""
        if self.log_problem:
            raise InputError(self.log_problem)
        self.logged.append(plan.config.logging.level)

    @property
    def histories(self) -> list[list[str]]:
        return [account.history for account in self.accounts.values()]

    def control_settings(self) -> ControlSettings:
        return ControlSettings(
            name="t", on_stop="keep", stop_at_feed_end=False, stop_timeout_s=1.0, watchdog_every_s=1e6
        )

    def tree(self, this: World) -> Supervisor:
        reloader = Reloader({}, this.system, self.follow)
        reloader.builder = self
        refs = [AccountRefs(n, this.system.ref(f"{n}/executor"), this.system.ref(f"{n}/feed")) for n in self.accounts]
        say = lambda level, text, **fields: self.said.append(text)

        def control() -> Control:
            self.control = Control(
                self.control_settings(), refs, self.desk, Notifier(), reloader.reload, dict, say, pytest.fail
            )
            return self.control

        def account(name: str) -> Supervisor:
            of = self.accounts[name]
            parts = [
                ChildSpec(f"{name}/executor", lambda: Executor(of)),
                ChildSpec(f"{name}/feed", lambda: Feed(of)),
            ]
            return Supervisor(name, children=parts)

        accounts = [ChildSpec("one", lambda: account("one")), ChildSpec("two", lambda: account("two"))]
        return Supervisor("root", children=[ChildSpec("control", control), *accounts])


@asynccontextmanager
async def running(daemon: Daemon, *, ready: Sequence[str] = ("one", "two")) -> AsyncIterator[World]:
    """The daemon with the file changed and these accounts reconciled."""
    async with world(daemon.tree) as w:
        _reconciled(w, *ready)
        await w.clock.settle()
        daemon.file.write_text(CHANGED)
        yield w


def _reconciled(w: World, *accounts: str) -> None:
    for name in accounts:
        w.system.ref("control").latest(("ready", name), AccountReady(name, True, "", 0, 0, (), True, ()))


def _hang_up(w: World) -> None:
    w.system.ref("control").control(SignalArrived(signal.SIGHUP))


async def test_nothing_is_written_for_anybody_while_one_account_cannot_take_it_and_then_for_all(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.accounts["two"].ts_ns = 0
    async with running(daemon) as w:
        _hang_up(w)
        await w.until(lambda: "the reload waits: account two is still starting" in daemon.said)
        await w.clock.advance(15.0)
        assert daemon.histories == [[], []]
        assert [account.saved for account in daemon.accounts.values()] == [0, 0]
        daemon.accounts["two"].ts_ns = NOON_NS
        await w.until(lambda: f"reloaded: {TOLD}" in daemon.said)
        assert daemon.histories == [[TOLD], [TOLD]]
        assert [account.saved for account in daemon.accounts.values()] == [1, 1]
        assert daemon.said.count("the reload waits: account two is still starting") == 1


async def test_a_signal_before_the_accounts_have_started_is_kept(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    async with running(daemon, ready=["one"]) as w:
        _hang_up(w)
        await w.until(lambda: "the reload waits: the daemon is still starting" in daemon.said)
        assert daemon.histories == [[], []]
        _reconciled(w, "two")
        await w.until(lambda: f"reloaded: {TOLD}" in daemon.said)


async def test_a_command_is_kept_as_long_as_it_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.accounts["two"].ts_ns = 0
    async with running(daemon) as w:
        daemon.desk.waiting.append(AskedFor("1", "reload", {}))
        await w.until(lambda: bool(daemon.desk.answers))
        refusal = "refused, account two is still starting; nothing was changed, try again"
        assert daemon.desk.answers == [(False, refusal)]
        daemon.accounts["two"].ts_ns = NOON_NS
        await w.clock.advance(2.0)
        assert daemon.histories == [[], []], "it was refused"


async def test_commands_that_wait_while_another_reload_is_under_way_are_one(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    async with running(daemon) as w:
        daemon.desk.waiting += [AskedFor(str(number), "reload", {}) for number in range(3)]
        await w.until(lambda: len(daemon.desk.answers) == 3)
        assert set(daemon.desk.answers) <= {(True, TOLD), (True, "nothing has changed")}
        assert daemon.histories == [[TOLD], [TOLD]]
        assert [account.saved for account in daemon.accounts.values()] == [1, 1]


async def test_where_only_some_histories_could_be_written_the_answer_says_so(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.accounts["two"].dies_at_writing = True
    async with running(daemon) as w:
        daemon.desk.waiting.append(AskedFor("1", "reload", {}))
        await w.until(lambda: bool(daemon.desk.answers))
        [(ok, said)] = daemon.desk.answers
        assert not ok
        assert "the old configuration stays in force, but parameter_history may tell of the new one (one, two)" in said
        assert "nothing was changed" not in said
        assert daemon.plan.config.storage.sample_ticks_every == 40
        assert [account.saved for account in daemon.accounts.values()] == [0, 0]


async def test_the_log_is_opened_again_only_where_what_is_said_of_it_has_changed(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    async with running(daemon) as w:
        daemon.log_problem = "logging.file: its folder is gone"
        _hang_up(w)
        await w.until(lambda: f"reloaded: {TOLD}" in daemon.said)
        daemon.log_problem = ""
        daemon.file.write_text(CHANGED + '[logging]\nlevel = "debug"\n')
        _hang_up(w)
        await w.until(lambda: "reloaded: logging.level: info -> debug" in daemon.said)
        assert daemon.logged == ["debug"]


async def test_a_log_that_cannot_be_opened_keeps_nothing_else_of_a_reload_from_being_in_force(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.log_problem = "logging.file: its folder is gone"
    async with running(daemon) as w:
        daemon.file.write_text(CHANGED + '[logging]\nlevel = "debug"\n')
        daemon.desk.waiting.append(AskedFor("1", "reload", {}))
        await w.until(lambda: bool(daemon.desk.answers))
        [(ok, said)] = daemon.desk.answers
        assert ok
        assert said == (
            f"logging.level: info -> debug; {TOLD}; "
            "but the log goes on without its file until the next start: logging.file: its folder is gone"
        )
        assert daemon.plan.config.storage.sample_ticks_every == 77
        assert [account.saved for account in daemon.accounts.values()] == [1, 1]
        assert daemon.histories == [["logging.level: info -> debug", TOLD]] * 2


async def test_a_file_that_takes_long_to_read_holds_up_nobody(tmp_path: Path) -> None:
    """Code in it is run, and a strategy's file may import for as long as it likes."""
    daemon = Daemon(tmp_path)
    async with running(daemon) as w:
        daemon.reader = SlowWorker(w, 100.0)
        _hang_up(w)
        await w.clock.advance(50.0)
        daemon.desk.waiting.append(AskedFor("1", "dance", {}))
        await w.until(lambda: bool(daemon.desk.answers))
        assert daemon.histories == [[], []]
        await w.until(lambda: f"reloaded: {TOLD}" in daemon.said)
