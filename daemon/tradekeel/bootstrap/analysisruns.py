"""One run of an analysis, and what a strategy's code turns to meanwhile but the ticks that it is shown."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from msgspec import Struct, structs

from tradekeel.backtest.analysing.asked import WHOLE_TICKS, Portions, Run, conduct
from tradekeel.backtest.analysing.portions import Timeframes, later, mirrored, portioned, until
from tradekeel.backtest.source import TickDataSource
from tradekeel.bootstrap.backtesting import accounts_of, setup_of, source_of, timeframes_of
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import TradekeelError, text_of
from tradekeel.feeds import FeedContext
from tradekeel.runtime import collector
from tradekeel.strategies.registry import MODULE_PREFIX


class Job(Struct, frozen=True, kw_only=True):
    """What is to be run. Positions are of the whole data."""

    config: str
    account: str
    execution: str  # the same in all runs, so that ids are, which derive from it
    start: str | None = None
    end: str | None = None
    until: int | None = None  # the last tick
    mirrored_behind: int | None = None  # the last tick of the market as it was
    later: int = 0  # so many ticks are left out at the beginning
    saved: tuple[Checkpoint, ...] = ()  # go on from here
    saved_at: int = 0
    saves: bool = False
    portion_ticks: int = WHOLE_TICKS
    fine: bool = False  # see Portions
    files_in: str = ""  # where the feed's own files are laid out with another future; "": they are read as they are
    cut_ns: int = 0
    hash_seed: int = 1


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it: a run, or why there is none."""

    run: Run | None = None
    error: str = ""
    touched: tuple[str, ...] = ()  # what strategies' code has turned to, in words
    laid_out: bool = False  # the other future lay there as files
    opened: tuple[str, ...] = ()  # the files that it opened, whole paths


JOBS = msgspec.msgpack.Decoder(Job)
OUTCOMES = msgspec.msgpack.Decoder(Outcome)
ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


Tell = Callable[[int], object]
"""Called now and then with the tick of the whole data that a run has come to."""

TELL_EVERY_TICKS = 1_000


def perform(job: Job, watch: Watch, tell: Tell) -> Outcome:
    """Run a job in this process. What the strategy or the data does wrong is part of what comes out."""
    laid_out, run, error = False, None, ""
    try:
        plan = read_plan(Path(job.config), os.environ)
        (account,) = accounts_of(plan, job.account)
        if job.files_in:
            plan, account, laid_out = _with_other_files(plan, account, job)
        source = source_of(plan, account, job.start, job.end)
        try:
            run = _run(job, plan, account, source, tell, laid_out=laid_out)
        finally:
            source.close()
    except TradekeelError as problem:
        error = text_of(problem)
    finally:
        if job.files_in:
            shutil.rmtree(job.files_in, ignore_errors=True)  # there are as many as runs at a time, and no more
    return Outcome(
        run=run,
        error=error,
        touched=tuple(dict.fromkeys(watch.touched)),
        opened=tuple(dict.fromkeys(watch.opened)),
        laid_out=laid_out,
    )


def _run(job: Job, plan: Plan, account: AccountPlan, source: TickDataSource, tell: Tell, *, laid_out: bool) -> Run:
    setup = structs.replace(setup_of(plan, account, source), execution=job.execution)
    portions = Portions(job.portion_ticks, fine=job.fine)
    windows = portioned(_windows(job, source, timeframes_of(account), laid_out=laid_out), portions.size)
    told = 0

    def tell_now_and_then(position: int) -> None:
        nonlocal told
        if position >= told + TELL_EVERY_TICKS:
            told = position
            tell(position + job.later)

    with collector.seldom():
        return conduct(
            setup,
            windows,
            portions=portions,
            saved=job.saved,
            saves=job.saves,
            tell=tell_now_and_then,
        )


def _windows(job: Job, source: TickDataSource, timeframes: Timeframes, *, laid_out: bool) -> Iterator[TickWindow]:
    windows = source.windows(job.saved_at)
    if job.mirrored_behind is not None and not laid_out:  # what lies there is the opposite market already
        windows = mirrored(windows, job.mirrored_behind, timeframes)
    if job.until is not None:
        windows = until(windows, job.until)
    return later(windows, job.later, timeframes) if job.later else windows


def _with_other_files(plan: Plan, account: AccountPlan, job: Job) -> tuple[Plan, AccountPlan, bool]:
    """The feed's files with another future: for the feed, and for a strategy that has their names as parameters."""
    from tradekeel.feeds.cutting import cut_files

    feed = plan.config.feeds[account.config.feed]
    context = FeedContext(name=feed.name, sleeper=_NOBODY, base=plan.config.folder, instruments=plan.instruments)
    opposite = job.mirrored_behind is not None
    paths = cut_files(feed.settings, context, job.cut_ns, Path(job.files_in), opposite=opposite)
    if not paths:
        return plan, account, False
    settings = feed.settings
    if settings.instruments:
        settings = structs.replace(settings, instruments={name: paths[path] for name, path in settings.paths.items()})
    else:
        settings = structs.replace(settings, path=paths[settings.path])
    feeds = {**plan.config.feeds, feed.name: structs.replace(feed, settings=settings)}
    strategies = []
    for strategy in account.strategies:
        named = named_in(strategy.params, plan.config.folder, paths)
        params = structs.replace(strategy.params, **{field: paths[path] for field, path in named.items()})
        strategies.append(structs.replace(strategy, params=params))
    plan = structs.replace(plan, config=structs.replace(plan.config, feeds=feeds))
    return plan, structs.replace(account, strategies=tuple(strategies)), True


_NOBODY: Any = None  # the context's clock: files are cut without waiting


def named_in(params: Struct, folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """The parameters that name one of these paths: as it is written in the configuration, or from where we are."""
    places = {(folder / path).resolve(): path for path in paths}
    found: dict[str, str] = {}
    for field in params.__struct_fields__:
        value = getattr(params, field)
        if isinstance(value, str) and value and "\0" not in value:
            for place in ((folder / value).resolve(), Path(value).resolve()):
                if place in places:
                    found[field] = places[place]
    return found


# --- what a strategy's code turns to --------------------------------------------------------------------------------------

_EVENTS = {
    "open": "opens {}",
    "sqlite3.connect": "opens {}",
    "os.listdir": "looks into {}",
    "os.scandir": "looks into {}",
    "socket.connect": "connects to a server",
    "socket.getaddrinfo": "looks for {}",
    "subprocess.Popen": "starts {}",
    "os.system": "starts a program",
    "os.fork": "starts a process",
    "_thread.start_new_thread": "starts a thread",
}
_OF_A_FILE = ("open", "sqlite3.connect")
_CODE = (".py", ".pyc", ".so")
TOUCHED_MAX = 100


class Watch:
    """Hears of everything that Python's audit events tell of, and keeps what comes from a strategy's own file."""

    def __init__(self) -> None:
        self.touched: list[str] = []
        self.opened: list[str] = []

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit event (https://docs.python.org/3/library/audit_events.html)."""
        words = _EVENTS.get(event)
        if words is None or len(self.touched) >= TOUCHED_MAX:
            return
        asks = _asks(sys._getframe(1))
        what: object = args[0] if args else ""
        if asks is None or isinstance(what, int):
            return
        name = os.fsdecode(what) if isinstance(what, (bytes, str, os.PathLike)) else str(what)
        if event in _OF_A_FILE:
            if name.endswith(_CODE):
                return
            name = os.path.realpath(name)
            self.opened.append(name)
        self.touched.append(f"{asks} {words.format(name)}")


def _asks(frame: FrameType | None) -> str | None:
    """The file of the strategy whose code is among the callers. What it imports is code as well, and no data."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(("importlib.", "_frozen_importlib")):
            return None
        if name.startswith(MODULE_PREFIX):
            return Path(str(frame.f_globals.get("__file__", name))).name
        frame = frame.f_back
    return None
