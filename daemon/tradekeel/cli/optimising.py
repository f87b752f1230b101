"""`tradekeel optimize`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tradekeel.bootstrap.counting import counted
from tradekeel.cli.backtesting import Signals, steered
from tradekeel.cli.common import Account, End, Json, Start, Target, WarmUp, complain, config_of, say, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.errors import ExitCode

if TYPE_CHECKING:
    from tradekeel.bootstrap.optimising.results import Optimised, TrialResult, WindowResult

BEST_SHOWN, REASONS_SHOWN = 5, 3

WalkForward = Annotated[
    bool | None,
    Parameter(
        name="--walk-forward", negative="--no-walk-forward", help="Windows with a part out of sample, or one study."
    ),
]


def optimize(
    target: Target = None,
    /,
    *,
    account: Account = None,
    start: Start = None,
    end: End = None,
    warm_up: WarmUp = None,
    balance: Annotated[str | None, Parameter(help="What the account begins with in each trial.")] = None,
    trials: Annotated[
        int | None, Parameter(help="Trials of each window; a grid has all its points if left out.")
    ] = None,
    jobs: Annotated[int | None, Parameter(help="Processes; 0: one for each core. Left out: as in the file.")] = None,
    sampler: Annotated[
        Literal["tpe", "random", "grid", "nsga2"] | None, Parameter(help="How the next parameters are chosen.")
    ] = None,
    walk_forward: WalkForward = None,
    storage: Annotated[
        str | None,
        Parameter(
            help="Where the study is kept, for several machines: postgresql://user@host/database or redis://host/0."
        ),
    ] = None,
    study: Annotated[
        str | None, Parameter(help="A name for the study; it refuses other code, data and settings.")
    ] = None,
    write: Annotated[
        Path | None, Parameter(help="Write the configuration with the parameters of the last window into this file.")
    ] = None,
    json: Json = False,
) -> int:
    """Look for better parameters, and try what was found on data that it was not found on.

    What may be moved is in [optimize.parameters.STRATEGY]. Each trial is a backtest. Whoever runs the same command again, here or
    on another machine with the same --storage, joins the study and goes on with it; Ctrl-C and kill lose nothing.
    """
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.bootstrap.optimising.conducting import optimise
    from tradekeel.bootstrap.optimising.preparing import Asked, prepare
    from tradekeel.bootstrap.optimising.results import as_json
    from tradekeel.bootstrap.optimising.writing import refuse_target, write_with

    config = config_of(target, "an optimisation")
    asked = Asked(
        config=config,
        account=account,
        start=start,
        end=end,
        balance=balance,
        trials=trials,
        jobs=jobs,
        sampler=sampler,
        storage=storage,
        study=study,
        walk_forward=walk_forward,
        warm_up=warm_up,
    )
    if write is not None:
        refuse_target(config, write)  # before an hour of work is done, and not behind it
    with steered() as steering, progress_bars(hidden=json) as tell:
        with ended_at_once(lambda: "interrupted before a trial was begun; the same command begins anew"):
            task = prepare(asked, os.environ)
        found = optimise(task, os.environ, tell=tell, stops=lambda: _is_to_stop(steering))
    if json:
        write_json(as_json(found))
    else:
        _show(found)
    if write is not None and found.last is not None:
        write_with(config, write, found.task.space.values(found.last.marks))
        say(*([] if json else [f"written: {write}"]))
    return _code(found, write)


def _is_to_stop(steering: Signals) -> bool:
    """Asked until it is True: whoever has asked for the stop is answered at once, and what is under way is put away then."""
    if steering.wants() != "stop":
        return False
    complain("stopping: trials that are over are kept, and those under way are run again by the same command")
    return True


def _code(found: Optimised, write: Path | None) -> int:
    """How it ends. Whoever goes on with the parameters is to hear where there are none."""
    if not found.completed:
        complain("it was interrupted: the same command goes on with it")
        return ExitCode.INTERRUPTED
    without = [each for each in found.results if each.best is None]
    if not without:
        return ExitCode.DONE
    reasons = "; ".join(_reasons(without))
    if len(without) == len(found.results):
        complain(f"no trial has a figure, so nothing was found: {reasons}")
    else:
        numbers = ", ".join(str(each.window.number) for each in without)
        complain(
            f"in {len(without)} of {len(found.results)} windows no trial has a figure (window {numbers}): {reasons}"
        )
    if write is not None and found.last is None:
        complain(f"{write} was not written: no trial of the last window has a figure")
        return ExitCode.BAD_USAGE
    return ExitCode.BAD_USAGE if len(without) == len(found.results) else ExitCode.DONE


def _reasons(results: Sequence[WindowResult]) -> list[str]:
    """The most frequent reasons of trials that failed, each with how often it was."""
    counts = Counter(each.why for result in results for each in result.trials if each.status == "failed")
    if not counts:
        return ["all trials were pruned"]
    shown = [f"{why} ({counted(count, 'trial')})" for why, count in counts.most_common(REASONS_SHOWN)]
    more = len(counts) - len(shown)
    return [*shown, *([f"{counted(more, 'other reason')}; --json has all"] if more > 0 else [])]


# --- what came of it ------------------------------------------------------------------------------------------------------


def _show(found: Optimised) -> None:
    from tradekeel.bootstrap.optimising.results import looking_within_bars
    from tradekeel.bootstrap.optimising.writing import lines_of

    task = found.task
    goals = ", ".join(goal.name for goal in task.goals)
    say(
        f"{task.account.config.name}: {goals}, sampler {task.options.sampler_used}, {found.ticks:,} ticks, {found.jobs} jobs"
    )
    for result in found.results:
        _show_window(result, found)
    if task.options.walk_forward and found.results:
        _show_together(found)
    if found.last is not None:
        say("", "to trade with these parameters, write:", *lines_of(task.space.values(found.last.marks)))
    say(f"study: {task.name} in {task.store}")
    strange = [str(each.window.number) for each in found.results if each.is_repeatable is False]
    if strange:
        complain(
            f"the best trial of window {', '.join(strange)} came to something else when it was run again: the strategy draws by "
            "chance, or keeps something from one run to the next, and no figure here can be believed; `tradekeel analyze` looks "
            "for what it is"
        )
    complain(*map(str, looking_within_bars(found)))
    if found.killed:
        complain(f"workers that were killed: {found.killed}; what they were at is run again")


def _show_window(result: WindowResult, found: Optimised) -> None:
    window, goals = result.window, found.task.goals
    name = f"window {window.number}: " if window.outside is not None else ""
    kinds = ("complete", "pruned", "failed", "gave_way", "lost")
    counts = {kind: sum(1 for each in result.trials if each.status == kind) for kind in kinds}
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    say("", f"{name}in sample {window.inside}; {said}")
    complete = [each for each in result.trials if each.status == "complete"]
    if result.best is None and not found.completed:
        return
    if result.best is None:
        say("  no trial has a figure: " + "; ".join(_reasons([result])))
        return
    if result.front:
        say(f"  the front of {len(result.front)}: no other trial is better in both")
        best = list(result.front)
    else:
        rises = goals[0].rises
        best = sorted(complete, key=lambda each: (-each.values[0] if rises else each.values[0], each.number))[
            :BEST_SHOWN
        ]
        best = [result.best, *(each for each in best if each.number != result.best.number)][:BEST_SHOWN]
    _print(["#", *[goal.name for goal in goals], "trades", "parameters"], [_row(each, found, result) for each in best])
    if result.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in result.importance.items())
        say(f"  what matters: {shares}")
    if window.outside is not None and result.outside is None:
        say(f"  out of sample {window.outside}: {result.why}")


def _row(trial: TrialResult, found: Optimised, result: WindowResult) -> list[str]:
    figures = [_figure(trial.figures.get(goal.name)) for goal in found.task.goals]
    chosen = "*" if result.best is not None and trial.number == result.best.number else ""
    return [f"{trial.number}{chosen}", *figures, str(trial.trades), _parameters(trial)]


def _show_together(found: Optimised) -> None:
    from tradekeel.bootstrap.optimising.results import kept_of

    goals = found.task.goals
    say("", "out of sample, window by window:")
    heads = ["window", "out of sample"]
    for goal in goals:
        heads += [f"{goal.name} in", "out", "kept"]
    rows = []
    for each in found.results:
        row = [str(each.window.number), str(each.window.outside)]
        for goal in goals:
            inside, outside = (None if one is None else one.figures[goal.name] for one in (each.inside, each.outside))
            row += [_figure(inside), _figure(outside), _figure(kept_of(each, goal))]
        rows.append([*row, "" if each.best is None else _parameters(each.best)])
    _print([*heads, "parameters"], rows)
    together = found.together
    if together is None:
        return
    say(
        "",
        f"together: return {_figure(together.total_return_percent)} %, sharpe {_figure(together.sharpe)}, "
        f"max drawdown {_figure(together.max_drawdown_percent)} % from day to day",
        f"closed trades: {together.trades}, profit factor {_figure(together.profit_factor)}, pnl {_figure(together.pnl)}",
        f"walk-forward efficiency: {_figure(found.efficiency)} (return a year out of sample over that in sample)",
    )


def _parameters(trial: TrialResult) -> str:
    return " ".join(f"{name}={value}" for name, value in trial.parameters.items())


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{float(value):,.4f}".rstrip("0").rstrip(".")
    return text if text not in ("-0", "") else "0"


def _print(heads: list[str], rows: list[list[str]]) -> None:
    """A table whose last column may be as wide as it likes: it is copied from."""
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]
    for row in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        say("  " + "  ".join([*cells, row[-1]]).rstrip())
