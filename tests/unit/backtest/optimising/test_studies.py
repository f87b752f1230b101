"""A study's board: nothing is tried twice, nothing is lost, no more begin than were asked for; with a storage in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tradekeel.backtest.optimising.samplers import Unrepeated, listed
from tradekeel.backtest.optimising.space import Marks, Range, Space, key_of
from tradekeel.backtest.optimising.studies import BEATS_EVERY_S, BEATS_MISSED, LOST_MAX, Board, Counts, Me, keys_taken
from tradekeel.errors import InputError

BEAT_S = 5.0
SMALL = Space((Range(strategy="s", parameter="a", low=Decimal(1), high=Decimal(6), step=Decimal(1), whole=True),))
PLANE = Space(
    (
        *SMALL.ranges,
        Range(strategy="s", parameter="b", low=Decimal("0.5"), high=Decimal(2), step=Decimal("0.5")),
        Range(strategy="s", parameter="kind", choices=("slow", "quick")),
    )
)
ENDLESS = Space((Range(strategy="s", parameter="x", low=Decimal(1), high=Decimal(1000), log=True),))


class World:
    """A storage that processes share, a clock, and who of them lives."""

    def __init__(self) -> None:
        optuna.logging.disable_default_handler()
        self.store = optuna.storages.InMemoryStorage()
        self.now_s = 0.0
        self.lives: dict[str, bool | None] = {}
        self.meanwhile: Callable[[], object] = lambda: None  # what others do while somebody waits

    def board(
        self,
        name: str = "me",
        *,
        space: Space = SMALL,
        sampler: str = "random",
        wanted: int = 100,
        goals: int = 1,
        allows: Callable[[Marks], bool] = lambda marks: True,
        beats_every_s: float = 0,
    ) -> Board:
        points = listed(space, 1_000, allows)
        me = Me(
            {"name": name, BEATS_EVERY_S: beats_every_s},
            lambda other: self.lives.get(other["name"]),
            lambda: self.now_s,
            self._pause,
        )
        drawing = Unrepeated(space, sampler, 1, wanted, points=points, allows=allows, taken=keys_taken, owner=me.owner)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                storage=self.store,
                study_name="study",
                sampler=drawing,
                directions=["maximize"] * goals,
                load_if_exists=True,
            )
        most = wanted if points is None else min(wanted, len(points))
        return Board(study, space, most, me, beat_every_s=BEAT_S)

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile()


def run_all(board: Board, goals: int = 1) -> list[Any]:
    """Everything that is left; the points in the order in which they were run."""
    points = []
    while (trial := board.claim()) is not None:
        points.append(key_of(trial.params))
        assert board.complete(trial, [float(sum(trial.params.values()))] * goals, {})
    return points


def summed(board: Board) -> Counts:
    return board.counts()


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_every_point_is_tried_once_and_then_the_study_is_over(sampler: str) -> None:
    board = World().board(space=PLANE, sampler=sampler)
    points = run_all(board)
    assert len(points) == len(set(points)) == 6 * 4 * 2
    assert board.is_over()
    assert summed(board).over == summed(board).complete == 48


class Counting(optuna.storages.InMemoryStorage):
    """Counts how often it is read, and written what a sampler keeps for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self.asked += 1
        return super().get_all_trials(study_id, deepcopy, states)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.asked += 1
        super().set_trial_system_attr(trial_id, key, value)


def test_a_point_that_is_drawn_again_asks_the_storage_nothing() -> None:
    asked = {}
    for sampler in ("random", "tpe"):
        world = World()
        world.store = store = Counting()
        run_all(world.board(space=PLANE, sampler=sampler))
        asked[sampler] = store.asked
    assert asked["tpe"] == asked["random"]


def test_two_goals_are_looked_for_by_nsga2() -> None:
    board = World().board(space=PLANE, sampler="nsga2", wanted=30, goals=2)
    points = run_all(board, goals=2)
    assert len(points) == len(set(points)) == 30


def test_good_points_beside_those_that_are_refused_do_not_end_a_study() -> None:
    ranges = [
        Range(strategy="s", parameter=name, low=Decimal(1), high=Decimal(200), step=Decimal(1), whole=True)
        for name in ("fast", "slow")
    ]
    board = World().board(
        space=Space(tuple(ranges)), sampler="tpe", wanted=25, allows=lambda marks: marks["s.fast"] < marks["s.slow"]
    )
    while (trial := board.claim()) is not None:
        assert board.complete(trial, [-abs(trial.params["s.fast"] - trial.params["s.slow"])], {})
    assert summed(board).complete == 25


def test_a_range_without_a_step_has_an_end_all_the_same() -> None:
    board = World().board(space=ENDLESS, wanted=12)
    points = run_all(board)
    assert len(set(points)) == 12
    assert all(1 <= value <= 1000 for ((_, value),) in points)
    assert all(len(f"{value:.10g}".replace(".", "").lstrip("0")) <= 6 for ((_, value),) in points)


def test_who_finds_nothing_new_asks_no_more_while_others_are_at_their_trials() -> None:
    world = World()
    world.lives = {"me": True, "other": True}
    few = Space((Range(strategy="s", parameter="x", low=Decimal(1), high=Decimal("1.0000000000001")),))
    other, board = world.board("other", space=few, wanted=50), world.board(space=few, wanted=50)
    trial = other.claim()
    assert trial is not None
    assert (board.claim(), board.is_over()) == (None, False)
    asked = len(board.study.get_trials())
    assert (board.claim(), board.is_over()) == (None, False)
    assert len(board.study.get_trials()) == asked
    world.lives["other"] = False
    again = board.claim()
    assert again is not None, "what is left behind is run all the same"
    assert again.params == trial.params
    board.complete(again, [1.0], {})
    assert (board.claim(), board.is_over()) == (None, True)


def test_a_stretch_of_few_values_ends_its_study_when_all_were_tried() -> None:
    narrow = Space((Range(strategy="s", parameter="x", low=Decimal(1), high=Decimal("1.00009")),))
    board = World().board(space=narrow, wanted=100)
    points = run_all(board)
    assert len(points) == len(set(points)) == 10
    assert [each.state for each in board.study.get_trials() if not each.params] == [TrialState.FAIL], (
        "nobody waits for it"
    )
    assert summed(board) == Counts(complete=10), "what found no point is no trial"
    assert board.is_over()


def test_what_the_strategy_refuses_is_never_asked_for() -> None:
    board = World().board(space=PLANE, allows=lambda marks: marks["s.a"] > 3)
    assert {dict(point)["s.a"] for point in run_all(board)} == {4, 5, 6}


def test_a_space_of_which_everything_is_refused_says_so() -> None:
    board = World().board(space=ENDLESS, wanted=3, allows=lambda marks: False)
    with pytest.raises(InputError, match="each was refused by the strategy"):
        board.claim()
    assert (board.is_over(), summed(board)) == (False, Counts())
    assert [each.state for each in board.study.get_trials()] == [TrialState.FAIL]


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_what_is_drawn_follows_from_the_seed_and_the_trials(sampler: str) -> None:
    one, other = (World().board(space=PLANE, sampler=sampler, wanted=20) for _ in range(2))
    assert run_all(one) == run_all(other)


# --- several at once ------------------------------------------------------------------------------------------------------


def test_of_two_that_drew_the_same_point_the_lower_number_is_run() -> None:
    world = World()
    board = world.board()
    first = world.board("other").study.ask({})  # another process has begun to choose …

    def chooses_the_same() -> None:
        newest = board.study.get_trials(deepcopy=False)[1]
        board.study._storage.set_trial_param(
            first._trial_id, "s.a", float(newest.params["s.a"]), newest.distributions["s.a"]
        )
        world.meanwhile = lambda: None

    world.meanwhile = chooses_the_same  # … and is done while we wait for it
    mine = board.claim()
    assert mine is not None
    trials = board.study.get_trials()
    assert trials[1].user_attrs["same as"] == 0
    assert trials[1].state is TrialState.FAIL
    assert mine.number == 2
    assert mine.params["s.a"] != trials[0].params["s.a"]
    assert summed(board).gave_way == 1


def test_no_more_begin_than_were_asked_for() -> None:
    world = World()
    world.lives = {"one": True, "other": True}
    one, other = world.board("one", wanted=2), world.board("other", wanted=2)
    first, second = one.claim(), other.claim()
    assert first is not None
    assert second is not None
    assert one.claim() is other.claim() is None
    assert not one.is_over(), "the others are at it"
    assert one.complete(first, [1.0], {})
    assert other.complete(second, [1.0], {})
    assert one.is_over()


# --- what is lost ---------------------------------------------------------------------------------------------------------


def test_the_trial_of_a_process_that_is_gone_is_run_again_at_once() -> None:
    world = World()
    lost = world.board("gone").claim()
    assert lost is not None
    world.lives["gone"] = False
    board = world.board()
    again = board.claim()
    assert again is not None
    assert again.params == lost.params
    assert again.user_attrs["again"] == lost.number
    assert summed(board).lost == 1


def test_what_is_just_taken_from_the_queue_is_not_put_into_it_again() -> None:
    world = World()
    lost = world.board("gone", space=PLANE).claim()
    assert lost is not None
    world.lives |= {"gone": False, "next": True}
    board = world.board(space=PLANE)
    assert not board.is_over(), "it looks, and so the point waits"
    next_one = world.board("next", space=PLANE).study.ask({"s.a": lost.distributions["s.a"]})
    assert next_one.params == {"s.a": lost.params["s.a"]}, "its other parameters are still to be written"
    assert not board.is_over()
    assert (summed(board).waiting, summed(board).running, summed(board).lost) == (0, 1, 1)


def test_of_another_machine_a_trial_is_lost_when_its_beat_does_not_change() -> None:
    world = World()
    there = world.board("there", wanted=1)
    lost = there.claim()
    assert lost is not None
    board = world.board(wanted=1)
    assert board.claim() is None
    for _ in range(BEATS_MISSED):
        world.now_s += BEAT_S
        there.beat(lost)
        assert board.claim() is None, "it lives"
    world.now_s += BEATS_MISSED * BEAT_S
    again = board.claim()
    assert again is not None
    assert again.params == lost.params


def test_a_machine_that_was_told_to_beat_seldom_is_given_its_own_time() -> None:
    world = World()
    lost = world.board("there", wanted=1, beats_every_s=10 * BEAT_S).claim()
    assert lost is not None
    board = world.board(wanted=1)
    assert board.claim() is None
    world.now_s += 10 * BEATS_MISSED * BEAT_S - 1
    assert board.claim() is None
    world.now_s += 1
    assert board.claim() is not None


def test_what_a_process_tells_too_late_does_not_count() -> None:
    world = World()
    slow = world.board("slow", wanted=1)
    late = slow.claim()
    assert late is not None
    world.lives["slow"] = False
    board = world.board(wanted=1)
    again = board.claim()
    assert again is not None
    assert board.complete(again, [2.0], {})
    world.now_s += 100
    slow.beat(late)
    assert slow.look_at(late, 1, 1.0), "nothing is to be gone on with"
    assert not slow.complete(late, [1.0], {})
    assert [each.value for each in board.study.get_trials() if each.state is TrialState.COMPLETE] == [2.0]
    assert board.is_over()


def test_a_trial_that_its_process_has_dropped_is_run_by_the_next() -> None:
    world = World()
    board = world.board("one", wanted=1)
    trial = board.claim()
    assert trial is not None
    board.drop(trial)
    again = world.board("other", wanted=1).claim()
    assert again is not None
    assert again.params == trial.params


def test_a_point_that_ends_each_process_is_given_up_and_the_others_are_tried() -> None:
    world = World()
    deadly: list[dict[str, Any]] = []
    for number in range(LOST_MAX):
        trial = world.board(f"gone {number}", wanted=2).claim()
        assert trial is not None
        deadly.append(trial.params)
        world.lives[f"gone {number}"] = False
    assert deadly == [deadly[0]] * LOST_MAX
    board = world.board(wanted=2)
    points = run_all(board)
    assert [dict(point) == deadly[0] for point in points] == [False]
    assert board.is_over()
    assert (summed(board).failed, summed(board).complete, summed(board).lost) == (1, 1, LOST_MAX)
    (why,) = [each.user_attrs["failed"] for each in board.study.get_trials() if "failed" in each.user_attrs]
    assert why.startswith(f"{LOST_MAX} processes that tried it were gone")


def test_a_point_that_is_dropped_in_order_is_not_given_up_however_often() -> None:
    world = World()
    for number in range(2 * LOST_MAX):
        board = world.board(f"stopped {number}", wanted=1)
        trial = board.claim()
        assert trial is not None
        board.drop(trial)
    assert len(run_all(world.board(wanted=1))) == 1


def test_a_process_that_was_killed_while_it_chose_keeps_nobody_waiting() -> None:
    world = World()
    choosing = world.board("gone").study.ask()
    world.lives["gone"] = False
    board = world.board(wanted=2)
    trial = board.claim()
    assert trial is not None
    assert trial.number > choosing.number
    assert world.now_s <= 0.1
    assert summed(board) == Counts(running=1), "what had no parameters yet is not told of"


def test_a_process_that_was_stopped_while_it_chose_keeps_nobody_waiting_for_ever() -> None:
    world = World()
    world.board("stopped").study.ask()
    world.lives["stopped"] = True
    board = world.board(wanted=2)
    assert board.claim() is not None
    assert BEATS_MISSED * BEAT_S <= world.now_s <= BEATS_MISSED * BEAT_S + 1


def test_a_process_that_lives_is_waited_for_however_long_its_trial_takes() -> None:
    world = World()
    world.lives["slow"] = True
    assert world.board("slow", wanted=1).claim() is not None
    board = world.board(wanted=1)
    for _ in range(3):
        world.now_s += 10 * BEATS_MISSED * BEAT_S
        assert board.claim() is None
    assert not board.is_over()


def test_a_failure_with_a_reason_is_not_tried_again() -> None:
    world = World()
    board = world.board(wanted=1)
    trial = board.claim()
    assert trial is not None
    assert board.fail(trial, "sharpe is undefined after 0 closed trades")
    assert board.is_over()
    assert world.board("other", wanted=1).claim() is None
    assert summed(board).failed == 1
    assert board.study.get_trials()[0].user_attrs["failed"].startswith("sharpe")
