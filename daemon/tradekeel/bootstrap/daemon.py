"""Running a daemon: lock, build, run the tree, and say how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger
from msgspec import Struct

from tradekeel.actors.control import Control, DescribeProcess, SignalArrived
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.earlycommands import EarlyCommands
from tradekeel.bootstrap.effort import Effort
from tradekeel.bootstrap.ending import category_of_escaped, is_a_persons_to_mend, is_of_the_world
from tradekeel.bootstrap.onlooker import Onlooker
from tradekeel.bootstrap.plan import Plan
from tradekeel.bootstrap.preparing import StopAsked
from tradekeel.bootstrap.reload import Reloader
from tradekeel.bootstrap.summary import FeedSummary
from tradekeel.bootstrap.wiring import Builder
from tradekeel.errors import FAULT_TABLE, ErrorAction, ErrorCategory, named
from tradekeel.runtime import collector, faults
from tradekeel.runtime.clock import Clock
from tradekeel.runtime.errors import ActorError, MailboxFull
from tradekeel.runtime.fault import Action, Fault
from tradekeel.runtime.loop import BlockingWorker, LoopGuard, dump_stacks_and_exit, end_process
from tradekeel.runtime.loop import run as run_loop
from tradekeel.runtime.notify import Notifier, watchdog_interval_s
from tradekeel.runtime.reference import ActorRef
from tradekeel.runtime.signals import SignalInbox
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

TELL_AGAIN_S = 0.005
SHOW_EVERY_S = 0.25
SHOW_TIMEOUT_S = 5.0
START_EXTEND_S, START_EXTEND_EVERY_S = 30.0, 10.0
"""How much time the service manager is asked for while the daemon starts, and how often: two of them may be lost."""
START_TOLD_EVERY_S = 1.0
EFFORT_EVERY_S = 10.0

Applied = Callable[[Plan], object]
"""Called with a plan that a reload has put in force."""

Status = Mapping[str, Any]
Ask = Callable[[], Awaitable[Status | None]]
"""How the daemon stands at this moment."""


class Starts(Protocol):
    """Who knows the control that lives, if one does, and what takes the start long."""

    @property
    def control(self) -> Control | None: ...

    @property
    def effort(self) -> Effort: ...

    @property
    def statedir(self) -> StateDir: ...

    def tell_starting(self) -> None: ...


class Ran(Struct, frozen=True):
    """What a daemon was doing when it ended."""

    feeds: tuple[FeedSummary, ...] = ()
    recovered: bool = False  # whether at least one account had been reconciled
    over: bool = False  # whether all executions were closed: then the next start begins anew
    books: Backend | None = None  # where they were


def run_to_the_end(
    plan: Plan,
    statedir: StateDir,
    signals: SignalInbox,
    environ: Mapping[str, str],
    *,
    fresh: bool = False,
    onlooker: Onlooker | None = None,
    applied: Applied | None = None,
) -> Ran:
    """Run in a state directory that this process holds, until stopped or until the feeds end, and say what was going on."""
    faults.arm_from_environment(environ)
    if signals.stop_asked:
        return Ran()
    return run_loop(_main, plan, statedir, signals, environ, onlooker, applied, fresh)


async def _main(
    plan: Plan,
    statedir: StateDir,
    signals: SignalInbox,
    environ: Mapping[str, str],
    onlooker: Onlooker | None,
    applied: Applied | None,
    fresh: bool,
) -> Ran:
    notify = Notifier.from_environ(environ)
    system = ActorSystem(on_fault=_log_fault, is_hopeless=is_a_persons_to_mend)
    reloader = Reloader(environ, system, applied)
    alive_every_s = watchdog_interval_s(environ, os.getpid())
    builder = Builder(
        plan,
        statedir,
        system,
        notify,
        reloader.reload,
        fresh=fresh,
        stop_asked=lambda: signals.stop_asked,
        on_stop_command=signals.stops_already,
        alive_every_s=alive_every_s,
    )
    reloader.builder = builder
    watches = (
        lambda: keep_starting(notify, system.clock, builder),
        lambda: watch_effort(system.clock, builder.effort),
    )
    bystander = _Bystander(system, signals, onlooker, watches)
    accounts = [account.config.name for account in plan.accounts]
    early = EarlyCommands(Desk(statedir), accounts, builder.effort, signals.stops_already)
    with collector.seldom(), LoopGuard(plan.config.daemon.stall_limit_s, dump_stacks_and_exit):
        try:
            await bystander.beside_preparations(builder, early)
            if signals.stop_asked:
                return Ran()
            await bystander.beside(builder.build())
            for worker in builder.workers:
                await worker.close()
        except StopAsked:
            return Ran()
        finally:
            builder.close_books()
            builder.tell_what_waits()
            for worker in builder.workers:
                worker.abandon()  # where the tree failed, one of them may hang: the process must end all the same
            notify.close()
    return _what_was(builder.control, builder.books)


def _what_was(control: Control | None, books: Backend) -> Ran:
    if control is None:
        return Ran(books=books)
    feeds = tuple(
        FeedSummary(
            account=account,
            position=pace.progress.position,
            ticks=pace.ticks,
            ticks_per_s=pace.ticks_per_s,
            quality=dict(pace.progress.quality),
        )
        for account, pace in control.pace.items()
        if pace.progress is not None
    )
    return Ran(feeds, recovered=bool(control.pace), over=control.is_over, books=books)


async def keep_starting(notify: Notifier, clock: Clock, builder: Starts) -> None:
    """Ask the service manager for more time, over and over, until the daemon is ready or stops."""
    extend_s, told = clock.monotonic(), ""
    while builder.control is None or builder.control.is_starting:
        if clock.monotonic() >= extend_s:
            extend_s, told = extend_s + START_EXTEND_EVERY_S, ""
            notify.extend_timeout(START_EXTEND_S)
            if builder.control is None:  # which will speak for itself
                builder.statedir.still_starting()
        doing = builder.effort.doing
        if doing and doing != told:
            notify.status(doing)
        told = doing
        if doing and builder.control is None:
            builder.tell_starting()
        await clock.sleep(START_TOLD_EVERY_S)


async def watch_effort(clock: Clock, effort: Effort, end: Callable[[str], object] = end_process) -> None:
    """End what moves no more, also behind the start: an account that is started again reads its feed's data again."""
    while True:
        if (stalled := effort.stalled()) is not None:
            end(stalled)  # a thread that hangs in the kernel cannot be ended otherwise
        await clock.sleep(EFFORT_EVERY_S)


class _Bystander:
    """What goes on beside the tree of actors without being part of it: signals find their way in, and people look on."""

    def __init__(
        self,
        system: ActorSystem,
        signals: SignalInbox,
        onlooker: Onlooker | None,
        watches: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        self._system = system
        self._signals = signals
        self._onlooker = onlooker
        self._watches = watches

    async def beside_preparations(self, builder: Builder, commands: EarlyCommands) -> None:
        """Get ready for the tree. Whatever is wrong is raised as it is, outside of any group."""
        import anyio

        wrong: Exception | None = None
        async with anyio.create_task_group() as tasks:
            for watch in self._watches:
                tasks.start_soon(watch)
            tasks.start_soon(commands.keep_looking, self._system.clock)
            self._show_beside(tasks, builder.describe_starting)
            try:
                await builder.prepare()
            except Exception as error:  # noqa: BLE001  # raised below
                wrong = error
            tasks.cancel_scope.cancel()
        if wrong is not None:
            raise wrong

    async def beside(self, root: Any) -> None:
        """Run the tree and, until it ends, whatever belongs beside it."""
        import anyio

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass_on_signals)
            for watch in self._watches:
                tasks.start_soon(watch)
            self._show_beside(tasks, self._described)
            try:
                await self._system.run(root)
            finally:
                tasks.cancel_scope.cancel()

    async def _pass_on_signals(self) -> None:
        """Each is kept until control is there and has room for it; meanwhile the next ones are kept where they are."""
        control = self._system.ref("control")
        while True:
            number = await self._signals.take()
            while not _told(control, number):
                await self._system.clock.sleep(TELL_AGAIN_S)

    def _show_beside(self, tasks: TaskGroup, ask: Ask) -> None:
        if self._onlooker is not None and not self._onlooker.is_gone:
            tasks.start_soon(self._keep_showing, self._onlooker, ask)

    async def _described(self) -> Status | None:
        """What control says; None while it is starting or ending: the next look tells."""
        try:
            status: Status = await self._system.ref("control").ask(DescribeProcess(), timeout_s=SHOW_TIMEOUT_S)
        except ActorError:
            return None
        return status

    async def _keep_showing(self, onlooker: Onlooker, ask: Ask) -> None:
        """Draw now and then, in a thread, because a terminal can be stopped. What goes wrong there ends the view, not us."""
        clock = self._system.clock
        async with BlockingWorker("terminal", may_be_left=True) as worker:
            while True:
                status = await ask()
                if status is not None:
                    try:
                        await worker.call(onlooker.show, status)
                    except Exception as error:  # noqa: BLE001  # as the docstring says
                        onlooker.lose(error)
                        return
                await clock.sleep(SHOW_EVERY_S)


def _told(control: ActorRef, number: signal.Signals) -> bool:
    try:
        return control.alive and control.control(SignalArrived(int(number)))
    except MailboxFull:
        return False


def _log_fault(fault: Fault) -> None:
    """Who failed, with what, and what is done about it: an error of the world in one line, a bug with its traceback."""
    error = fault.error
    category = ErrorCategory.CRITICAL if error is None else category_of_escaped(error)
    what = named(error) if error is not None else fault.ending.value
    then = {
        Action.RESTART: f"it is restarted{f' in {fault.delay_s:.1f} s' if fault.delay_s else ''}",
        Action.FORGET: "it stays down",
        Action.ESCALATE: f"{fault.supervisor} gives up",
        Action.STOP: "it was being stopped",
    }[fault.action]
    bound = logger.bind(actor=fault.child, incarnation=fault.incarnation, category=category.value)
    if fault.action is not Action.STOP:
        bound = bound.bind(word=FAULT_TABLE[category].words[ErrorAction.FAIL].value)
    if error is not None and not is_of_the_world(error):
        bound = bound.opt(exception=error)
    bound.log("ERROR" if fault.action is Action.ESCALATE else "WARNING", "{} failed ({}): {}", fault.child, what, then)
