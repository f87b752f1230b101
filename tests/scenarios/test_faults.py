"""An exception thrown inside each actor at each kind of message (DESIGN.md §3 says what happens then).

Every message to every actor is a point while a harness watches, and so is every job of the scheduler, which gets no
messages. A run without a fault tells which there are; then each gets a run in which it throws half-way through. An
account's actors are restarted by their supervisor, beside another account that notices nothing, and the run ends by
itself; the recorder, control and the scheduler end the process with 70, and the next start goes on. Either way the
trades are those of the run without a fault, and the independent checker finds nothing lost and nothing doubled.

The first and the last pass of every point, and random ones, are for `python -m tests.campaigns.faults`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cradle
from tests.campaigns import faults as rounds
from tests.campaigns.faults import CASES, Outcome, Reference, Shot, run_reference, shoot
from tests.campaigns.workplace import workplace
from tests.scenarios.support import Home, fail_at, told_differently
from tradekeel.actors import executor
from tradekeel.errors import InputError

HANDLED = {
    "recorder": {"Commit", "LoadAccount", "_Done"},
    "control": {"SignalArrived", "AccountReady", "FeedProgress", "FeedEnded", "StoreStands", "Alert"},
    "session": {
        "QuietUntil",
        "VenuePassed",
        "MatchTick",
        "Perform",
        "Reconcile",
        "SetLatch",
        "AskSession",
        "_Next",
    },
    "sync": {"Reconcile", "LookUp"},
    "monitor": {"Attached", "QuietUntil", "TicksPassed", "WatchTick", "Save", "Where", "TakeSnapshot"},
    "strategist": {"Attached", "Run", "Confirm", "Save", "Where", "StopStrategy"},
    "feed": {"JournalReached", "StopFeed"},
    "scheduler": {"TakeSnapshot", "ReconcileNow"},
}
"""Every message that an actor handles, and what the scheduler sends; the executor's own table says what it handles."""

ELSEWHERE = {
    ("executor", "FailStrategy"): "test_strategy_faults: an executor that fails while a strategy is given up",
    ("executor", "HoldEntries"): "books on a server that is away, which those of these runs are not",
    ("executor", "Describe"): "asked once a second, for the status: test_signals reads it",
    ("executor", "ChangeParameters"): "test_reload: an executor that fails while its history is written",
    ("executor", "ReconcileAgain"): "a venue that cannot be reached, which paper always can",
    (
        "executor",
        "AskAgain",
    ): "a cancel or an amendment that no venue answered, which paper always does: tests/unit/actors",
    (
        "executor",
        "CloseAgain",
    ): "a flatten whose exits could not reach the venue, which paper always can: tests/unit/actors",
}
"""What none of the short runs needs."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where the runs of this module are: in memory, since a fault inside an actor tests no disk."""
    with workplace() as work:
        yield work


@pytest.fixture(scope="module")
def references(place: Path) -> dict[str, Reference]:
    """Each case, run once without a fault."""
    return {name: run_reference(case, place / name) for name, case in CASES.items()}


def _wrong(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.case} {o.shot}: {text}" for o in outcomes for text in o.wrong]


def test_a_run_without_a_fault_is_whole(references: dict[str, Reference]) -> None:
    assert {name: reference.wrong for name, reference in references.items() if reference.wrong} == {}


def test_the_runs_between_them_send_every_message_to_every_actor(references: dict[str, Reference]) -> None:
    handled = {message.__name__ for message in executor._HANDLERS}
    expected = {(actor, message) for actor, messages in HANDLED.items() for message in messages}
    expected |= {("executor", message) for message in handled}
    sent = {(shot.actor, shot.message) for ref in references.values() for shot in ref.shots((0.5,))}
    assert expected - sent - set(ELSEWHERE) == set()
    assert sent - expected <= {("control", "DescribeProcess"), ("control", "Look"), ("executor", "Describe")}


@pytest.mark.parametrize("account", ["a", "b"])
def test_an_account_whose_actor_throws_goes_on_by_itself(
    account: str, references: dict[str, Reference], place: Path
) -> None:
    reference = references["pair"]
    shots = [shot for shot in reference.shots((0.5,)) if shot.account == account]
    outcomes = [shoot(reference, shot, place / f"pair-{number}") for number, shot in enumerate(shots)]
    assert _wrong(outcomes) == []
    assert len([o for o in outcomes if o.hit]) >= len(shots) - 1, "nearly every fault came to pass"
    assert all(len(o.lives) == 1 for o in outcomes), "the process went on"
    assert all(" failed " in o.lives[0].log for o in outcomes if o.hit)


def test_a_process_whose_recorder_control_or_scheduler_throws_ends_and_the_next_one_goes_on(
    references: dict[str, Reference], place: Path
) -> None:
    reference = references["pair"]
    shots = [shot for shot in reference.shots((0.5,)) if shot.actor in rounds.ENDS_THE_PROCESS]
    outcomes = [shoot(reference, shot, place / f"shared-{number}") for number, shot in enumerate(shots)]
    assert _wrong(outcomes) == []
    assert {o.shot.actor for o in outcomes if o.hit} >= {"recorder", "control", "scheduler"}
    assert all(o.lives[0].code == rounds.CRASH and len(o.lives) > 1 for o in outcomes if o.hit)


RARE = {
    "lossy": ("LookUp", "Looked", "ReconcileNow", "TakeSnapshot", "executor:Note", "CaughtUp"),
    "stopped": ("SignalArrived", "StopFeed", "StopStrategy", "EndWorking"),
    "paused": ("SignalArrived", "AccountCommand", "SetLatch"),
    "limits": ("TripRisk", "Alert", "ExitTrades"),
}
"""What only these cases bring about."""


@pytest.mark.parametrize("name", list(RARE))
def test_messages_that_come_seldom_are_no_exception(name: str, references: dict[str, Reference], place: Path) -> None:
    reference = references[name]
    shots = [s for s in reference.shots((0.5,)) if any(word in s.point for word in RARE[name])]
    assert shots
    outcomes = [shoot(reference, shot, place / f"{name}-{number}") for number, shot in enumerate(shots)]
    assert _wrong(outcomes) == []
    assert any(o.hit for o in outcomes)


def test_beside_busy_threads_a_fault_means_the_same(references: dict[str, Reference], place: Path, seed: int) -> None:
    """The disk answers when it likes: who waits for whom at the moment of the fault is another each time."""
    reference, rng = references["pair"], random.Random(seed)
    points = [point for point in reference.points if point.partition("/")[0] in ("a", "b")]
    shots = [Shot(point, rng.randint(1, reference.passed[point])) for point in rng.sample(points, 12)]
    with rounds.disturbed(2, seed):
        outcomes = [shoot(reference, shot, place / f"disturbed-{number}") for number, shot in enumerate(shots)]
    assert _wrong(outcomes) == []


def test_two_faults_in_one_account_are_two_restarts(references: dict[str, Reference], place: Path) -> None:
    reference = references["pair"]
    outcome = rounds.shoot_together(
        reference, [Shot("a/executor:Decide", 3), Shot("a/session:Perform", 9)], place / "two"
    )
    assert outcome.wrong == []
    assert len(outcome.lives) == 1
    assert outcome.lives[0].log.count("it is restarted") >= 2


def test_an_account_that_fails_again_and_again_ends_the_process_and_the_next_one_goes_on(
    references: dict[str, Reference], place: Path
) -> None:
    reference = references["pair"]
    shots = [Shot("a/executor:See", count) for count in range(2, 20)]
    outcome = rounds.shoot_together(reference, shots, place / "again")
    assert outcome.wrong == []
    assert outcome.lives[0].code == rounds.CRASH
    assert "a gives up" in outcome.lives[0].log
    assert len(outcome.lives) > 1


def test_a_wrong_value_that_escapes_from_a_running_actor_is_a_bug_of_ours_and_started_again(
    references: dict[str, Reference], place: Path
) -> None:
    home = Home(place / "wrong-value", references["pair"].case.toml)

    def mistake(passed: int) -> None:
        if passed > 3:
            raise InputError("1e9 is no price")

    life = home.live({"a/executor:Decide": mistake})
    assert life.code == rounds.CRASH, "2 would tell systemd never to start it again"
    assert "a bug of ours ended this: InputError: 1e9 is no price" in life.log
    assert "a/executor failed (InputError: 1e9 is no price)" in life.log
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []
    assert told_differently(references["pair"].stories, home) == []


def test_the_log_says_of_a_fault_what_kind_it_is_and_what_happens_next(
    references: dict[str, Reference], place: Path
) -> None:
    home = Home(place / "words", references["pair"].case.toml)
    life = home.live({"a/monitor:WatchTick": fail_at(2)})
    (line,) = [line for line in life.log.splitlines() if "a/monitor failed" in line]
    assert "it is restarted" in line
    assert "category=critical word=crash" in line


@pytest.mark.campaign
def test_every_pair_at_its_first_middle_and_last_pass_and_at_random_ones(seed: int) -> None:
    assert rounds.main(["--seed", str(seed)]) == 0


@pytest.mark.campaign
def test_every_pair_beside_busy_threads(seed: int) -> None:
    assert rounds.main(["--seed", str(seed), "--disturb", "2"]) == 0


# --- what hangs -------------------------------------------------------------------------------------------------------------

HANGS = {
    "an executor's handler": ("handler", "a/executor:Decide", 3),
    "a strategist's handler": ("handler", "a/strategist/ema:Run", 9),
    "a monitor that swallows its cancellation": ("stubborn", "a/monitor:WatchTick", 5),
    "a session that swallows its cancellation": ("stubborn", "a/session:Perform", 3),
    "a feed's handler": ("handler", "a/feed:JournalReached", 3),
    "a sync's handler": ("handler", "a/sync:Reconcile", 1),
    "control's handler": ("handler", "control:FeedProgress", 1),
    "control, and the event loop with it": ("thread", "control:FeedProgress", 1),
    "the scheduler in a job, and the event loop with it": ("thread", "scheduler:TakeSnapshot", 1),
    "the recorder's thread, in a commit": ("thread", "store.in_transaction", 12),
    "the venue's thread, in a commit": ("thread", "paper.place.before_commit", 3),
    "the venue's thread, while it opens its ledger": ("thread", "paper.create.before_commit", 1),
    "the event loop itself": ("thread", "executor.decide.before", 3),
}


@pytest.mark.parametrize("what", list(HANGS))
def test_whatever_hangs_ends_the_process_and_the_next_one_goes_on(
    what: str, references: dict[str, Reference], place: Path
) -> None:
    how, point, count = HANGS[what]
    reference = references["pair"]
    toml = reference.case.toml.replace("stall_limit_s = 60", "stall_limit_s = 1")
    paced = toml.replace(
        'speed = "max"', 'speed = "20"'
    )  # a feed conducts on beside its handler: it must not be done first
    home = Home(place / what.replace(" ", "-").replace(",", ""), paced if "feed" in what else toml)
    words = ["tests.scenarios.support_hang", str(home.config), how, point, str(count)]
    began_s = time.monotonic()
    hung = cradle.to_its_end(cradle.begin(words, **cradle.HEARD), 60)
    assert hung.returncode == rounds.CRASH, hung.stderr
    assert "; the process ends" in hung.stderr
    who = "the event loop has not turned" if "loop" in what else f"{point.partition(':')[0]} has made no progress"
    assert who in hung.stderr or "thread" in what
    assert time.monotonic() - began_s < 20, "within the limit, its watch and the way there"
    assert home.wrong("a", "b", ended=False) == []
    home.configure(toml)
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []
    assert told_differently(reference.stories, home) == []


def test_a_child_that_swallows_its_cancellation_while_it_is_stopped_does_not_keep_the_process(
    references: dict[str, Reference], place: Path
) -> None:
    reference = references["pair"]
    toml = reference.case.toml.replace("stall_limit_s = 60", "stall_limit_s = 60\nstop_timeout_s = 1")
    home = Home(place / "stop", toml)
    words = ["tests.scenarios.support_hang", str(home.config), "stubborn", "a/monitor:Save", "1"]
    process = cradle.begin(words, **cradle.HEARD)
    try:
        time.sleep(2)  # by then it hangs in its first cut; one moment is as good as another
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, rounds.CRASH), said
    assert home.live().code == 0
    assert told_differently(reference.stories, home) == []
