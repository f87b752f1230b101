"""`tradekeel backtest` and the list of what was run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import (
    Account,
    End,
    Json,
    Start,
    Target,
    WarmUp,
    complain,
    config_of,
    place,
    say,
    words_of,
    write_json,
)
from tradekeel.cli.progress import Tell, progress_bars
from tradekeel.cli.render import Column, cash, console, moment, print_table, text, time, time_of_year
from tradekeel.cli.reporting import Groups, show_figures
from tradekeel.errors import ExitCode, InputError

if TYPE_CHECKING:
    from tradekeel.bootstrap.backtests import Backtest, Executed

Folder = Annotated[
    Path | None,
    Parameter(
        name="--state", help="Where backtests are kept. Left out: backtests/ in the configuration's state directory."
    ),
]


def backtest(
    target: Target = None,
    /,
    *,
    account: Account = None,
    start: Start = None,
    end: End = None,
    warm_up: WarmUp = None,
    balance: Annotated[
        str | None, Parameter(help="What the account begins with, instead of the configuration's.")
    ] = None,
    restart: Annotated[
        bool,
        Parameter(name="--restart", negative="", help="Begin anew, and do not go on with one that was interrupted."),
    ] = False,
    report: Annotated[
        Path | None,
        Parameter(
            help="Write an HTML report into this file; of several accounts each into its own, NAME-ACCOUNT.html."
        ),
    ] = None,
    groups: Groups = None,
    state: Folder = None,
    json: Json = False,
) -> int:
    """Trade a configuration on its recorded or made-up market, as fast as it goes.

    Each account is a backtest of its own. What decides and what is booked is the daemon's own code. An interrupted run (Ctrl-C,
    SIGTERM, a kill) is gone on with by the same command; SIGUSR1 pauses it and SIGUSR2 lets it go on.
    """
    from tradekeel.bootstrap.backtests import prepare
    from tradekeel.bootstrap.backtesttexts import as_json
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.bootstrap.reports import demand_place, own_page, plotly_script, refuse_groups

    kinds = words_of(groups) or ()
    refuse_groups(kinds)
    if report is not None:
        plotly_script()  # before an hour of work is done, and not behind it
    with steered() as steering, _progress(hidden=json) as (describe, tell):
        describe("reading the data")
        with ended_at_once(lambda: "interrupted before the backtest was begun; the same command begins it"):
            prepared = prepare(
                config_of(target, "a backtest"),
                os.environ,
                account=account,
                start=start,
                end=end,
                balance=balance,
                warm_up=warm_up,
                folder=state,
            )
        if report is not None:
            for each in prepared:
                demand_place(own_page(report, each.account.config.name, len(prepared) > 1))
        done, failed = _execute_all(prepared, restart, steering, describe, tell)
    with progress_bars(hidden=json) as progress:
        pages, unwritten = _write_pages(report, done, len(prepared) > 1, progress)
    if json:
        write_json([as_json(each) | _figures(each) | {"report": pages.get(each.task)} for each in done])
    else:
        for executed in done:
            _show(executed, kinds, pages.get(executed.task))
    if failed is not None and unwritten is not None:
        complain(str(unwritten))
    if failed is not None or unwritten is not None:
        raise failed or unwritten  # type: ignore[misc]  # one of the two is there
    for each in prepared[len(done) :]:
        complain(f"{each.task.name} was not begun")
    completed = len(done) == len(prepared) and all(executed.progress == 100 for executed in done)
    return ExitCode.DONE if completed else ExitCode.INTERRUPTED


def backtests(target: Target = None, /, *, state: Folder = None, json: Json = False) -> int:
    """The backtests that were run with a configuration's state directory, the newest last, and how each execution stands."""
    from tradekeel.bootstrap.backtestlist import overview

    root = state if state is not None else Path(place(target, None).backtests)
    rows = overview(root)
    if json:
        write_json(rows)
        return ExitCode.DONE
    print_table(rows, _COLUMNS, f"there are no backtests in {root}")
    for row in rows:
        if row["error"]:
            say(f"{_id(row)}: {row['error']}")
    return ExitCode.DONE


def _execute_all(
    prepared: Sequence[Backtest],
    restart: bool,
    steering: Signals,
    describe: Callable[[str], None],
    tell: Callable[[int, float | None], None],
) -> tuple[list[Executed], Exception | None]:
    """Those that have come to an end, and what the one behind them failed of: what they came to is shown all the same."""
    from tradekeel.bootstrap.backtests import execute, kept_of

    done: list[Executed] = []
    for each in prepared:
        if steering.wants() == "stop":  # a pause is waited out by the execution itself
            break
        describe(each.task.name)
        try:
            done.append(execute(each, restart=restart, steering=steering, tell=tell))
        except Exception as error:
            if isinstance(error, InputError) and (kept := kept_of(each)):
                complain(kept)
            if not done:
                raise
            return done, error
    return done, None


# --- while it runs --------------------------------------------------------------------------------------------------------


class Signals:
    """What signals ask for. A second request to stop ends the process: what was saved by then is gone on with."""

    def __init__(self) -> None:
        self._stops = self._paused = False

    def wants(self) -> str:
        return "stop" if self._stops else "pause" if self._paused else ""

    def heed(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            if self._stops:
                os._exit(128 + number)
            self._stops = True
        else:
            self._paused = number == signal.SIGUSR1


@contextmanager
def steered() -> Iterator[Signals]:
    """Signals ask from here on, and end nothing."""
    signals = Signals()
    before = {number: signal.signal(number, signals.heed) for number in _HEEDED}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def _progress(hidden: bool) -> Iterator[tuple[Callable[[str], None], Callable[[int, float | None], None]]]:
    """A bar with the speed, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    out = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[ticks]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True, disable=hidden or not out.is_terminal) as bar:
        task = bar.add_task("", total=None, ticks="")

        def tell(ticks: int, share: float | None) -> None:
            bar.update(task, completed=100 * share if share is not None else 0, ticks=f"{ticks:,} ticks")
            if share is not None and bar.tasks[0].total is None:
                bar.update(task, total=100)

        yield lambda text: bar.update(task, description=text), tell


# --- what came of it ------------------------------------------------------------------------------------------------------


def _write_pages(
    report: Path | None, done: Sequence[Executed], several: bool, progress: Tell
) -> tuple[dict[str, str], Exception | None]:
    """The file of each task's report, and what one that could not be written failed of: figures are shown all the same."""
    pages: dict[str, str] = {}
    unwritten: Exception | None = None
    if report is None:
        return pages, unwritten
    for executed in done:
        try:
            page = _page(report, executed, several, progress)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised once all figures are shown
            unwritten = unwritten or error
        else:
            pages |= {executed.task: str(page)} if page is not None else {}
    return pages, unwritten


def _page(path: Path, executed: Executed, several: bool, progress: Tell) -> Path | None:
    """Its report as a file; None where nothing was saved of it."""
    from tradekeel.bootstrap.reports import make_report, only_run, own_page, write_page

    run = only_run(executed.folder, None, os.environ)
    if run is None:
        return None
    own = own_page(path, run.row.account, several)
    write_page(make_report(run, os.environ, progress), own)
    return own


def _figures(executed: Executed) -> dict[str, Any]:
    """Its figures for programs; None where nothing was saved of it."""
    from tradekeel.bootstrap.reports import brief_json, make_brief, only_run

    run = only_run(executed.folder, None, os.environ)
    return {"figures": None, "held": None} if run is None else brief_json(make_brief(run))


def _show(executed: Executed, groups: tuple[str, ...], page: str | None) -> None:
    from tradekeel.bootstrap.backtesttexts import remarks, warm_up_words
    from tradekeel.bootstrap.reports import group_table, key_table, make_brief, only_run

    gone_through = executed.ticks - executed.resumed_at
    ticks = f"{gone_through:,} tick{'' if gone_through == 1 else 's'}"
    speed = f", {ticks} in {executed.duration_s:.1f} s" if executed.ticks else ""
    went_on = f" (went on behind tick {executed.resumed_at:,})" if executed.resumed_at else ""
    say(f"{executed.name}: backtest {executed.task[:12]} #{executed.number} is {executed.status}{speed}{went_on}")
    complain(*executed.doubts)
    if executed.warm_up is not None:
        said, complaint = warm_up_words(executed.warm_up)
        say(*said)
        complain(*complaint)
    run = only_run(executed.folder, None, os.environ)
    brief = None if run is None else make_brief(run)
    if brief is not None:
        show_figures(key_table(brief))
        for kind in groups:
            show_figures(group_table(brief, kind))
    width = console().width
    for remark in remarks(executed, None if brief is None else brief.held):
        say(*wrap(remark, width, break_on_hyphens=False, break_long_words=False))
    if page is not None:
        say(f"report: {page}")
    say(f"books: {executed.folder} (tradekeel trades --state …)")
    if executed.progress < 100:
        complain("it was interrupted: the same command goes on with it, --restart begins anew")


def _id(row: Mapping[str, Any]) -> str:
    """As `tradekeel report` takes it."""
    return f"{row['task']}#{row['number']}"


def _short_id(row: Mapping[str, Any]) -> str:
    return f"{row['task'][:TASK_DIGITS_SHORT]}#{row['number']}"


TASK_DIGITS_SHORT = 6
"""Where room is short: `tradekeel report` names those that could be meant, should it be too few."""


def _standing(row: Mapping[str, Any]) -> str:
    status = "killed" if row["status"] == "running" and not row["alive"] else str(row["status"])
    return status if row["progress_percent"] == 100 else f"{status} {row['progress_percent']} %"


def _stretch(row: Mapping[str, Any]) -> str:
    """As it was asked for, to the minute where that is no midnight; otherwise the days of the data."""
    ends = [_asked(row["since"]) or _day(row["first"]), _asked(row["until"]) or _day(row["last"])]
    return " – ".join(end or "…" for end in ends) if any(ends) else ""


def _short_stretch(row: Mapping[str, Any]) -> str:
    """With the year once, where it is one: the market's is most often not that of the clock beside it."""
    ends = _stretch(row).split(" – ")
    is_of_one_year = len(ends) == 2 and ends[0][:4] == ends[1][:4]
    return f"{ends[0]} – {ends[1][5:]}" if is_of_one_year and len(ends[0]) > 5 else " – ".join(ends)


def _asked(time: str | None) -> str:
    shown = moment(time)[:MINUTE_ENDS]
    return shown.removesuffix(" 00:00")


def _day(time: str | None) -> str:
    return moment(time)[:DAY_ENDS]


DAY_ENDS, MINUTE_ENDS = len("2014-05-08"), len("2014-05-08 07:30")

# What tells two apart stays longest: which it is, how it stands, when it began, over what, and of which file.
_COLUMNS = (
    Column("began", time("started"), 1, short=lambda row: time_of_year("started")(row)[: -len(":00")]),
    Column("backtest", _id, short=_short_id),
    Column("of", text("name"), 5),
    Column("file", lambda row: Path(row["config"]).name, 2),
    Column("from – to", _stretch, 3, short=_short_stretch),
    Column("balance", cash("balance"), 6, right=True),
    Column("came to", cash("end_balance"), 4, right=True),
    Column("trades", text("trades"), 7, right=True),
    Column("status", _standing),
)
