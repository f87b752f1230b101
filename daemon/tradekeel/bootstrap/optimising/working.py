"""A worker: a process that reads the data once, and runs trials of whichever study it is told, until it is told to stop.

It has a connection of its own to the study's storage. That of the command which has begun it is only for orders and words.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any

from tradekeel.backtest.optimising.space import POINTS_LISTED_MAX, Marks
from tradekeel.backtest.optimising.stitching import Outcome, outcome_of
from tradekeel.backtest.optimising.trying import Market, Tried, try_out
from tradekeel.backtest.optimising.windows import Part, Window
from tradekeel.bootstrap.backtesting import timeframes_of
from tradekeel.bootstrap.optimising.identity import this_process
from tradekeel.bootstrap.optimising.messages import Broke, Came, Done, Ready, RunOnce, Stop, Told, TryOut
from tradekeel.bootstrap.optimising.preparing import Asked, Task, prepare
from tradekeel.bootstrap.optimising.stores import close_store, explained, need_optuna, open_store
from tradekeel.bootstrap.values import plain_value
from tradekeel.domain.goals import SHOWN, figures_of
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.errors import DataError, InputError, TradekeelError, named
from tradekeel.runtime import collector
from tradekeel.runtime.clock import pause

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.storages import BaseStorage

    from tradekeel.backtest.optimising.studies import Board

LOOK_AGAIN_S = 0.2
"""How soon a worker that has nothing to run looks again whether what others run has come to its end."""

WHY_MAX = 500
"""Characters of a reason that are kept with a trial."""


class Stopped(Exception):
    """Somebody asked for an end, or nobody is there any more who could."""


def work(pipe: Connection, number: int, asked: Asked, environ: Mapping[str, str]) -> None:
    """The process. Ctrl-C reaches it, too, and is its parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker: _Worker | None = None
    stops = [False]

    def stop(number: int, frame: FrameType | None) -> None:
        stops[0] = True

    try:
        worker = _Worker(pipe, number, prepare(asked, environ), stops)
        signal.signal(signal.SIGTERM, stop)  # until the data is read there is nothing to put away: it ends at once
        worker.serve()
    except (Stopped, ConnectionError, EOFError):
        pass  # the command is gone, or was killed with words of ours that it had not read: there is nobody to tell
    except TradekeelError as error:
        _say(pipe, Broke(type(error).__name__, str(error)))
    except Exception as error:  # whatever it is, the command says it, and ends of it
        _say(pipe, Broke("Defect", f"a worker ended: {named(error)}"))
        raise
    finally:
        if worker is not None:
            worker.close()


def _say(pipe: Connection, message: Broke) -> None:
    try:
        pipe.send(message)
    except OSError:
        return  # nobody is there to hear it


class _Worker:
    def __init__(self, pipe: Connection, number: int, task: Task, stops: list[bool]) -> None:
        need_optuna()
        from tradekeel.backtest.optimising.samplers import listed

        self._pipe, self._task, self._stops = pipe, task, stops
        self._market = Market(task.source)
        self._points = listed(task.space, POINTS_LISTED_MAX, task.allows)
        if self._points is not None and not self._points:
            raise InputError(
                "the strategies refuse every point of optimize.parameters: look at what they say of each other"
            )
        self._me = this_process(task.options.beat_every_s)
        self._waiting: list[Any] = []
        self._store: BaseStorage | None = None

    def serve(self) -> None:
        """Do what is asked for."""
        task, market = self._task, self._market
        self._pipe.send(Ready(market.part, market.ticks, task.wanted(self._points), task.identity))
        while True:
            message = self._waiting.pop(0) if self._waiting else self._pipe.recv()
            if isinstance(message, Stop):
                raise Stopped
            with collector.seldom(), explained(self._task.store):
                if isinstance(message, TryOut):
                    self._try_out(message.window)
                elif isinstance(message, RunOnce):
                    self._pipe.send(self._run_once(message))

    def close(self) -> None:
        """Let go of the storage."""
        if self._store is not None:
            close_store(self._store)

    def _heed(self) -> None:
        """Raise Stopped where somebody asked for that, or is gone."""
        while self._pipe.poll():
            message = self._pipe.recv()
            if isinstance(message, Stop):
                raise Stopped
            self._waiting.append(message)
        if self._stops[0]:
            raise Stopped

    # --- a study ----------------------------------------------------------------------------------------------------------

    def _try_out(self, window: Window) -> None:
        from tradekeel.bootstrap.optimising.joining import joined

        task = self._task
        if not self._market.count(window.inside, self._heed):
            raise InputError(f"window {window.number} ({window.inside}) has no tick: take other windows")
        if self._store is None:
            self._store = open_store(task.store)
        board = joined(self._store, task, window, self._points, self._me)
        while True:
            self._heed()
            trial = board.claim()
            if trial is not None:
                self._run_trial(board, trial, window.inside)
                self._pipe.send(Told())
            elif board.is_over():
                break
            else:
                pause(LOOK_AGAIN_S)
        self._pipe.send(Done())

    def _run_trial(self, board: Board, trial: Trial, part: Part) -> None:
        task = self._task
        prunes = task.options.pruner != "none"

        def goes_on(position: int) -> bool:
            self._heed()
            board.beat(trial)
            return True

        def look(number: int, report: PerformanceReport) -> bool:
            value = task.goals[0].of(report)
            return value is None or not board.look_at(trial, number, float(value))

        try:
            tried = self._run(dict(trial.params), part, goes_on, look if prunes else None)
            if tried.report is None:
                board.prune(trial, {"pruned at": f"{100 * tried.counted // self._market.count(part)} %"})
                return
            outcome = self._outcome(tried.report, part)
            self._tell(board, trial, outcome)
        except InputError as error:
            if isinstance(error, DataError) or isinstance(error.__cause__, MemoryError):
                board.drop(trial)  # it is not the same each time
                raise
            board.fail(trial, str(error)[:WHY_MAX])
        except SystemExit as error:  # of a strategy: it would end each process that tries it
            board.fail(trial, f"the strategy ends its process: SystemExit({error.code!r})"[:WHY_MAX])
        except BaseException:
            board.drop(trial)
            raise

    def _tell(self, board: Board, trial: Trial, outcome: Outcome) -> None:
        values = [outcome.figures[goal.name] for goal in self._task.goals]
        least = self._task.options.trades_min
        if outcome.trades < least:
            board.fail(trial, f"{outcome.trades} closed trades, fewer than trades_min {least}")
            return
        undefined = [goal.name for goal, value in zip(self._task.goals, values, strict=True) if value is None]
        if undefined:
            board.fail(trial, f"{', '.join(undefined)} is undefined after {outcome.trades} closed trades")
            return
        figures = plain_value(outcome.figures)
        told = [float(value) for value in values if value is not None]
        board.complete(trial, told, {"figures": figures, "trades": outcome.trades})

    def _run(self, marks: Marks, part: Part, goes_on: Any, look: Any = None) -> Tried:
        chosen = self._task.chosen(marks)
        read = part.begun_earlier(self._task.warm_up_ns)
        source = self._market.cut(read, timeframes_of(chosen), lambda: goes_on(0))
        setup = self._task.setup(chosen, source, part)
        return try_out(setup, source, goes_on=goes_on, look=look, ticks=self._market.count(part))

    def _outcome(self, report: PerformanceReport, part: Part) -> Outcome:
        names = (*(goal.name for goal in self._task.goals), *SHOWN)
        return outcome_of(report, figures_of(report, names), part.span_ns)

    # --- beside a study ---------------------------------------------------------------------------------------------------

    def _run_once(self, wanted: RunOnce) -> Came:
        def goes_on(position: int) -> bool:
            self._heed()
            return True

        if not self._market.count(wanted.part, self._heed):
            return Came(None, "there is no tick")
        try:
            report = self._run(wanted.marks, wanted.part, goes_on).report
        except DataError:
            raise
        except InputError as error:
            return Came(None, str(error)[:WHY_MAX])
        assert report is not None
        return Came(self._outcome(report, wanted.part))
