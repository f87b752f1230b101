"""Backtests as tasks: where each execution of one lies, which one is gone on with, and how it ends.

    STATE/backtests/TASK/NUMBER/     the books of one execution, in a folder like a daemon's state directory

A task is a configuration's account on certain data, with a certain deposit: its name is the hash of all that decides what comes
out. An execution that was interrupted or killed is gone on with; behind one that is over the next number begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from tradekeel import __version__
from tradekeel.backtest.around import WarmUpSource
from tradekeel.backtest.run import Ran, run
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import TickDataSource
from tradekeel.bootstrap.backtestbooks import FileBooks, look
from tradekeel.bootstrap.backtesting import accounts_of, setup_of, source_of, warmed_up
from tradekeel.bootstrap.doubts import data_doubts
from tradekeel.bootstrap.misnamed import misnamed
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.bootstrap.summary import AccountSummary, bad_rows, summary_of
from tradekeel.bootstrap.withinbars import WithinBars, within_bars
from tradekeel.domain.money import ZERO, parse_amount
from tradekeel.domain.sessions import EVERY_DAY_A_YEAR
from tradekeel.domain.tasks import DOUBTS, PROGRESS_MAX, TaskExecution, TaskRow, TaskStatus, TaskType
from tradekeel.errors import AlreadyRunning, InputError, StoreError, named
from tradekeel.feeds.stream import FirstBad, FirstBadRows
from tradekeel.feeds.zones import parse_instant
from tradekeel.runtime import collector
from tradekeel.runtime.clock import Clock, SystemClock, pause
from tradekeel.statedir import A_BACKTEST_IS_ALONE, StateDir
from tradekeel.storage.moment import one_moment

TASK_DIGITS = 12
"""Of a task's name, in folders and tables."""

LOOK_AGAIN_S = 0.1
"""How soon a run that is paused looks again whether it may go on."""

IS_BEING_RUN = (
    "it is being run: one process at a time. Wait for it, or stop it (Ctrl-C, or SIGTERM) and run this again to go on"
)
COMMAND_IS_AT_IT = (
    "process {} is a command at its books, as `tradekeel db` has, and ends by itself: wait for it, and run this again"
)


class Steering(Protocol):
    """What somebody wants of a run that is under way."""

    def wants(self) -> str:
        """ "" for nothing, "pause", or "stop"."""
        ...


class Backtest(Struct, frozen=True):
    """One task, ready to be executed."""

    plan: Plan
    account: AccountPlan
    source: TickDataSource
    setup: Setup
    task: TaskRow
    folder: Path  # of the task
    warm_up: WarmUpSource | None  # the source, where it is read from before the start on
    first_bad: FirstBadRows  # of the data, as far as it was read


class WarmedUp(Struct, frozen=True, kw_only=True):
    """What strategies were warmed up with before the start."""

    asked_from_ns: int
    from_ns: int | None  # of the first tick; None: there is none before the start
    ticks: int
    is_short: bool  # the data begins clearly later than asked, weekends not counted


class Executed(Struct, frozen=True, kw_only=True):
    """What one execution has come to."""

    task: str
    name: str
    number: int
    execution: str
    status: TaskStatus
    progress: int  # percent
    folder: Path
    resumed_at: int  # the tick that it went on behind; 0: it began
    ticks: int
    duration_s: float  # of this process's part
    quality: Mapping[str, int]
    bad_rows: Mapping[str, int]
    first_bad: Sequence[FirstBad]  # of each kind and instrument, where the feed has rows
    without_ticks: tuple[str, ...]  # instruments that are traded, and of which none has come
    misnamed: tuple[str, ...]  # of files that are named after another instrument
    within_bars: tuple[WithinBars, ...]  # strategies that decide on less than the data says
    doubts: tuple[str, ...]  # sentences: all of these that make one doubt what came out
    warm_up: WarmedUp | None  # None: none was asked for
    summary: AccountSummary | None


Tell = Callable[[int, float | None], object]
"""Called now and then with the ticks that were conducted, and the share of all, 0 to 1, if known."""


def prepare(
    config: Path,
    environ: Mapping[str, str],
    *,
    account: str | None = None,
    start: str | None = None,
    end: str | None = None,
    balance: str | None = None,
    warm_up: str | None = None,
    folder: Path | None = None,
) -> list[Backtest]:
    """Each account of a configuration as a task, or the one that is named, with all that decides what comes out read and checked.

    The data is read once for its fingerprint; with ``warm_up`` from so much before its start on. Raises ConfigError, InputError,
    DataError.
    """
    deposit = None if balance is None else parse_amount(balance)
    if deposit is not None and deposit <= ZERO:
        raise InputError(f"--balance {balance}: it must be above zero")
    plan = read_plan(config, environ)
    root = folder if folder is not None else StateDir(plan.config.state_dir).backtests
    return [_prepared(plan, chosen, start, end, deposit, root, warm_up) for chosen in accounts_of(plan, account)]


def _prepared(
    plan: Plan,
    account: AccountPlan,
    start: str | None,
    end: str | None,
    deposit: Decimal | None,
    root: Path,
    warm_up: str | None,
) -> Backtest:
    read_from, begins_ns = warmed_up(plan, account, start, warm_up)
    first_bad = FirstBadRows()
    source = source_of(plan, account, read_from, end, first_bad)
    warm = None
    if begins_ns and read_from is not None:
        rests = any(plan.instruments[each].days_a_year < EVERY_DAY_A_YEAR for each in source.info.instruments)
        source = warm = WarmUpSource(source, parse_instant(read_from), begins_ns, rests=rests)
    setup = setup_of(plan, account, source, deposit, begins_ns)
    task = TaskRow(
        task_id=setup.execution,
        type=TaskType.BACKTEST,
        name=f"{plan.config.daemon.name}/{account.config.name}",
        instruments=tuple(dict.fromkeys(symbol for s in account.strategies for symbol in s.config.instruments)),
        since_ns=None if start is None else parse_instant(start),
        until_ns=None if end is None else parse_instant(end),
        config={
            "file": str(plan.config.source.absolute()),
            "fingerprint": plan.config.fingerprint,
            "account": account.config.name,
            "balance": f"{setup.paper.deposit:f}",
            "data": source.info.fingerprint,
            **({} if warm_up is None else {"warm_up": warm_up}),
            "version": __version__,
            "code": {strategy.config.name: strategy.code for strategy in account.strategies if strategy.code},
        },
    )
    return Backtest(plan, account, source, setup, task, root / task.task_id[:TASK_DIGITS], warm, first_bad)


def execute(
    backtest: Backtest,
    *,
    clock: Clock | None = None,
    restart: bool = False,
    steering: Steering | None = None,
    tell: Tell = lambda ticks, share: None,
) -> Executed:
    """Execute it, or go on with the execution that is not over.

    What the strategies or the data do wrong is raised, with the execution marked FAILED, and kept as far as it went; what our
    side does wrong is raised, too, and its execution can be gone on with. Raises AlreadyRunning beside another process with the
    same task.
    """
    clock = clock or SystemClock()
    place = _taken(backtest.folder, clock, restart=restart)
    try:
        return _Execution(backtest, int(place.path.name), place, clock, steering, tell).come_to_an_end()
    finally:
        place.release()
        backtest.source.close()


class _Execution:
    """One execution on its way."""

    def __init__(
        self, backtest: Backtest, number: int, place: StateDir, clock: Clock, steering: Steering | None, tell: Tell
    ) -> None:
        self._backtest, self._number, self._place, self._clock = backtest, number, place, clock
        self._steering, self._tell = steering, tell
        self._began_s = clock.monotonic()
        self._reached = 0  # the last tick of the windows that were conducted
        self._books: FileBooks

    def come_to_an_end(self) -> Executed:
        backtest = self._backtest
        setup = backtest.setup
        owners = [traded.row.strategy for traded in setup.traded]
        with FileBooks(
            self._place.books,
            backtest.task,
            self._number,
            setup.execution,
            owners,
            now_ns=self._clock.now_ns,
            progress=self._percent,
        ) as self._books:
            self._books.tell(TaskStatus.RUNNING)
            cut = self._books.last_cut()
            try:
                with collector.seldom():
                    ran = run(setup, backtest.source, self._books, goes_on=self._goes_on)
            except InputError as error:
                self._keep_what_there_was()
                self._books.tell(TaskStatus.FAILED, error=str(error))
                raise
            self._end(ran)
            told = self._books.told
        return self._executed(told, ran, cut[0].position if cut else 0)

    def _keep_what_there_was(self) -> None:
        """Save the state behind the last window that went well: in the one that failed nobody is at rest, so it is run to there
        once more from the last cut, which comes to the same. Where that fails, too, what the last cut has saved is all.
        """
        reached, books = self._reached, self._books
        cut = books.last_cut()
        if reached > (cut[0].position if cut else 0):
            try:
                run(self._backtest.setup, self._backtest.source, books, goes_on=lambda position: position < reached)
            except InputError:
                books.last_cut()  # what came behind it is forgotten again

    def _end(self, ran: Ran) -> None:
        state = {**(self._books.told.state or {}), DOUBTS: self._doubts(ran)}
        if ran.completed:
            self._books.tell(TaskStatus.COMPLETED, progress=PROGRESS_MAX, state=state)
        else:
            self._books.tell(TaskStatus.PAUSED, state=state)

    def _doubts(self, ran: Ran) -> list[str]:
        backtest = self._backtest
        of_data = data_doubts(backtest.source.quality(), backtest.first_bad.found, self._without_ticks(ran))
        of_plan = misnamed(backtest.plan, backtest.account), within_bars(backtest.plan, backtest.account)
        return [*of_data, *of_plan[0], *map(str, of_plan[1])]

    def _without_ticks(self, ran: Ran) -> tuple[str, ...]:
        return tuple(symbol for symbol in self._backtest.task.instruments if symbol not in ran.kernel.monitor.quotes)

    def _executed(self, told: TaskExecution, ran: Ran, resumed_at: int) -> Executed:
        backtest = self._backtest
        quality = dict(backtest.source.quality())
        row = ran.kernel.account.book.execution
        with one_moment(self._place.books) as db:
            summary = None if row is None else summary_of(db, row)
        return Executed(
            task=backtest.task.task_id,
            name=backtest.task.name,
            number=self._number,
            execution=backtest.setup.execution,
            status=told.status,
            progress=told.progress,
            folder=self._place.path,
            resumed_at=resumed_at,
            ticks=ran.kernel.position,
            duration_s=self._clock.monotonic() - self._began_s,
            quality=quality,
            bad_rows=bad_rows(quality),
            first_bad=backtest.first_bad.found,
            without_ticks=self._without_ticks(ran),
            misnamed=misnamed(backtest.plan, backtest.account),
            within_bars=within_bars(backtest.plan, backtest.account),
            doubts=tuple((told.state or {}).get(DOUBTS, ())),
            warm_up=None if backtest.warm_up is None else _warmed_up(backtest.warm_up),
            summary=summary,
        )

    def _percent(self) -> int:
        share = self._backtest.source.progress()
        return min(PROGRESS_MAX - 1, int((share or 0.0) * PROGRESS_MAX))

    def _goes_on(self, position: int) -> bool:
        """Tell how far it is, and heed what somebody wants; a pause is waited out here."""
        self._reached = position
        self._tell(position, self._backtest.source.progress())
        wanted = "" if self._steering is None else self._steering.wants()
        if wanted == "pause" and self._steering is not None:
            self._books.tell(TaskStatus.PAUSED)  # how far it is, is told with what is saved of it
            while (wanted := self._steering.wants()) == "pause":
                pause(LOOK_AGAIN_S)
            if not wanted:
                self._books.tell(TaskStatus.RUNNING)
        return not wanted


def _warmed_up(source: WarmUpSource) -> WarmedUp:
    return WarmedUp(
        asked_from_ns=source.asked_ns,
        from_ns=source.first_ns if source.ticks else None,
        ticks=source.ticks,
        is_short=source.is_short,
    )


# --- what lies there ------------------------------------------------------------------------------------------------------


def _taken(folder: Path, clock: Clock, *, restart: bool) -> StateDir:
    """The folder of the execution that is to be run, locked: the last one's, or the next where that is over or left.

    Whoever decides it holds the first one's folder, so nobody else begins one meanwhile, and looks at no books that somebody is
    at. Who is refused leaves nothing behind. Raises AlreadyRunning.
    """
    held = [_locked(folder, min(_numbers(folder), default=1))]
    try:
        last = max(_numbers(folder))
        if held[0].path.name != str(last):
            held.append(_locked(folder, last))
        if _is_over(held[-1].books, clock, leave=restart):
            held.append(_locked(folder, last + 1))
    except BaseException:
        for place in held:
            place.release()
        raise
    *others, taken = held
    for place in others:
        place.release()
    return taken


def _is_over(books: Path, clock: Clock, *, leave: bool) -> bool:
    """Whether an execution goes on no more; one that is to be left, or was when the kill came, is."""
    found = look(books) if books.exists() else None
    if found is None:
        return False
    task, told = found
    if not told.status.is_over:
        if not leave and told.status is not TaskStatus.STOPPING:
            return False
        with FileBooks(books, task, told.number, told.execution or "", (), now_ns=clock.now_ns) as left:
            left.tell(TaskStatus.STOPPING)
            left.tell(TaskStatus.STOPPED)
    return True


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal() and each.is_dir())


def _locked(folder: Path, number: int) -> StateDir:
    """The folder of an execution, taken. AlreadyRunning beside a process that is at it, with whether that runs it."""
    place = StateDir(folder / str(number))
    try:
        place.lock(A_BACKTEST_IS_ALONE)
    except AlreadyRunning:
        holder = place.holder()
        says = COMMAND_IS_AT_IT.format(holder) if holder and place.is_at_work else IS_BEING_RUN
        raise AlreadyRunning(f"backtest {folder.name} #{number}: {says}") from None
    return place


class Listed(Struct, frozen=True, kw_only=True):
    """One execution that there is."""

    task: str
    number: int
    name: str
    instruments: tuple[str, ...]
    status: TaskStatus
    alive: bool  # a process is at it
    progress: int
    started_ns: int | None
    completed_ns: int | None
    since_ns: int | None  # as it was asked for
    until_ns: int | None
    balance: str | None  # that it began with
    config: str  # the configuration's file
    error: str
    has_execution: bool  # something of it was saved
    folder: Path


def listed(root: Path) -> Iterator[Listed]:
    """All executions below a folder, by task and number; what cannot be read is told as such."""
    for task in sorted(each for each in root.iterdir() if each.is_dir()) if root.is_dir() else ():
        for number in _numbers(task):
            folder = task / str(number)
            try:
                found = look(folder / "books.db")
            except StoreError as error:
                yield _unreadable(task.name, number, folder, named(error))
                continue
            if found is not None:
                row, told = found
                yield Listed(
                    task=task.name,
                    number=told.number,
                    name=row.name,
                    instruments=row.instruments,
                    status=told.status,
                    alive=StateDir(folder).holder() is not None,
                    progress=told.progress,
                    started_ns=told.started_ns,
                    completed_ns=told.completed_ns,
                    since_ns=row.since_ns,
                    until_ns=row.until_ns,
                    balance=row.config.get("balance"),
                    config=str(row.config.get("file", "")),
                    error=told.error,
                    has_execution=told.execution is not None,
                    folder=folder,
                )


def _unreadable(task: str, number: int, folder: Path, why: str) -> Listed:
    return Listed(
        task=task,
        number=number,
        name="",
        instruments=(),
        status=TaskStatus.FAILED,
        alive=False,
        progress=0,
        started_ns=None,
        completed_ns=None,
        since_ns=None,
        until_ns=None,
        balance=None,
        config="",
        error=f"its books cannot be read: {why}",
        has_execution=False,
        folder=folder,
    )


def kept_of(backtest: Backtest) -> str:
    """What to say of an execution that has failed: how far it came, and where that is; "" of one that has not."""
    number = max(_numbers(backtest.folder), default=0)
    found = look(backtest.folder / str(number) / "books.db") if number else None
    if found is None or found[1].status is not TaskStatus.FAILED:
        return ""
    told, id_ = found[1], f"{backtest.folder.name}#{number}"
    if told.execution is None:
        return f"{backtest.task.name}: backtest {id_} has failed before anything of it was saved"
    return (
        f"{backtest.task.name}: backtest {id_} has failed at {told.progress} % of its data; what it came to until then is kept: "
        f"tradekeel report {id_}"
    )
