"""A process that runs trials of a study as a worker does, without the backtests: so that they meet much more often.

    python -m tests.integration.optimising.contender URL FOLDER STUDY SAMPLER TRIALS SECONDS [far]

It says on standard output each trial that it runs, pauses for some seconds in each, and says "counts" or "too late". One that
is far is on another machine: it can look up nobody's process.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import optuna
from msgspec import structs

from tradekeel.backtest.optimising.samplers import Unrepeated, listed
from tradekeel.backtest.optimising.space import POINTS_LISTED_MAX, Range, Space
from tradekeel.backtest.optimising.studies import Board, keys_taken
from tradekeel.bootstrap.optimising.identity import this_process
from tradekeel.bootstrap.optimising.stores import StoreSettings, open_store
from tradekeel.runtime.clock import pause

SPACE = Space(
    (
        Range(strategy="s", parameter="a", low=1, high=5, step=1, whole=True),  # type: ignore[arg-type]  # small numbers
        Range(strategy="s", parameter="b", low=1, high=4, step=1, whole=True),  # type: ignore[arg-type]
    )
)
POINTS = 20
BEAT_S = 0.2


def board_of(store: optuna.storages.BaseStorage, study: str, sampler: str, trials: int, *, far: bool = False) -> Board:
    """This process at a study."""
    points = listed(SPACE, POINTS_LISTED_MAX, lambda marks: True)
    assert points is not None
    me = this_process(BEAT_S)
    if far:
        me = structs.replace(me, owner={**me.owner, "place": "far"}, alive=lambda owner: None)
    drawing = Unrepeated(
        SPACE, sampler, 1, trials, points=points, allows=lambda marks: True, taken=keys_taken, owner=me.owner
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = optuna.create_study(
            storage=store, study_name=study, sampler=drawing, direction="maximize", load_if_exists=True
        )
    return Board(made, SPACE, min(trials, len(points)), me, beat_every_s=BEAT_S)


def main(url: str, folder: str, study: str, sampler: str, trials: str, seconds: str, where: str = "") -> None:
    store = open_store(StoreSettings(url, None, Path(folder)))
    board = board_of(store, study, sampler, int(trials), far=where == "far")
    while True:
        trial = board.claim()
        if trial is not None:
            sys.stdout.write(f"{trial.number} {sorted(trial.params.items())}\n")
            sys.stdout.flush()
            pause(float(seconds))
            board.beat(trial)
            counts = board.complete(trial, [float(trial.params["s.a"])], {})
            sys.stdout.write("counts\n" if counts else "too late\n")
        elif board.is_over():
            return
        else:
            pause(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
