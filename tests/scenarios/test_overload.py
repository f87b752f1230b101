"""Ten times overload and more, with the whole tree of an account: no order or fill is lost, a pause comes through at once,
memory is bounded.

Seventy strategies order at every tick of a feed that knows no pace, onto a disk that takes five milliseconds for a
commit. The same feed with strategies that only look on, a moment before in the same process, is the floor: it shows
how many ticks a second are offered. In the middle of a tick, with decisions queued before the executor, a signal asks
for a pause.

What "at once" means is counted, not timed: how many decisions the executor still takes, and for how many commits the
pause waits before it is durable. The hundred milliseconds are then held against the slowest commit of the same run:
a pause may wait for the one under way and needs one of its own, and a third allows for a machine that has other
things to do. On a disk as slow as this one that bound is the hundred milliseconds themselves.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.campaigns.workplace import workplace
from tests.scenarios import support_configs as configs
from tests.scenarios import support_crowd as crowd
from tests.scenarios.support import Action, Home, Life, caught_signals, send_at
from tradekeel.actors.control import Control
from tradekeel.actors.executor import Executor
from tradekeel.actors.executor.shell import UNACKNOWLEDGED_MAX
from tradekeel.actors.feed import Feed
from tradekeel.actors.monitor import Monitor
from tradekeel.actors.recorder import Recorder
from tradekeel.actors.scheduler import Scheduler
from tradekeel.actors.session import Session
from tradekeel.actors.strategist import Strategist
from tradekeel.actors.sync import Sync
from tradekeel.runtime.actor import Actor

EAGER = f"{Path(crowd.__file__).resolve()}:Eager"
STRATEGIES = 70
"""More than may be ahead of the disk, so that the bound on that is reached at every tick."""
TICKS = 40
COMMIT_S = 0.005
PAUSED_AT, RESUMED_AT = 20 * STRATEGIES + 10, 30 * STRATEGIES
"""Which decision; the pause comes early in a tick, when most of its decisions have yet to come."""
OVERLOAD_MIN = 10
PAUSE_MAX_S = 0.100
DECISIONS_BEFORE_A_PAUSE_MAX = 8
"""Decisions that the executor takes while the signal finds its way to it, each at its turn of the event loop."""

ACTORS: dict[str, type[Actor]] = {
    "recorder": Recorder,
    "control": Control,
    "scheduler": Scheduler,
    "session": Session,
    "sync": Sync,
    "executor": Executor,
    "monitor": Monitor,
    "feed": Feed,
    "strategist": Strategist,
}


@dataclass
class Watch:
    """Hears the points of a run, and remembers what they say about pressure and about the pause."""

    asked_s: float = 0.0
    taken_s: float = 0.0
    durable_s: float = 0.0
    late: int = 0  # decisions between the request and the moment at which the executor took it
    waited_for: int = 0  # commits that ended from then on until the pause was durable
    ahead_max: int = 0  # decisions that were not durable, at most
    commits_s: list[float] = field(default_factory=list)
    _open: int = 0
    _under_way: int = 0
    _began_s: float = 0.0
    _own: bool = False  # whether the commit under way is the one with the pause

    def actions(self) -> dict[str, Action]:
        """One action a point."""
        return {
            "store.in_transaction": lambda _: time.sleep(COMMIT_S),
            "a/executor:Decide": self._heard_decision,
            "a/executor:AccountCommand": self._heard_command,
            "executor.decide.before": self._decides,
            "executor.before_commit": self._begins,
            "executor.after_commit": self._ends,
        }

    def _heard_decision(self, passed: int) -> None:
        if passed == PAUSED_AT:
            self.asked_s = time.monotonic()
        send_at(PAUSED_AT, signal.SIGUSR1)(passed)
        send_at(RESUMED_AT, signal.SIGUSR2)(passed)

    def _heard_command(self, passed: int) -> None:
        if passed == 1:
            self.taken_s = time.monotonic()

    def _decides(self, passed: int) -> None:
        self._open += 1
        self.ahead_max = max(self.ahead_max, self._open + self._under_way)
        if self.asked_s and not self.taken_s:
            self.late += 1

    def _begins(self, passed: int) -> None:
        self._under_way, self._open = self._open, 0
        self._began_s = time.monotonic()
        self._own = bool(self.taken_s)

    def _ends(self, passed: int) -> None:
        self._under_way = 0
        self.commits_s.append(time.monotonic() - self._began_s)
        if self.taken_s and not self.durable_s:
            self.waited_for += 1
            if self._own:
                self.durable_s = time.monotonic()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """In memory: the slow disk is made."""
    with workplace() as work:
        yield work


@dataclass
class Overloaded:
    """A run under overload, beside one without orders."""

    floor: Home
    home: Home
    life: Life
    watch: Watch


@pytest.fixture(scope="module")
def run(place: Path) -> Overloaded:
    """Both runs."""
    floor = Home(place / "floor", _config("false"))
    assert floor.live().code == 0
    home, watch = Home(place / "overload", _config("true")), Watch()
    with caught_signals() as inbox:
        life = home.live(watch.actions(), signals=inbox)
    return Overloaded(floor, home, life, watch)


def _config(orders: str) -> str:
    head = configs.head() + configs.market(TICKS)
    # Money for all of them at once, and no other limit: what is tested is the way, not the gate.
    account = configs.account("a", exits="monitor", more="balance = 100000000")
    crowd_ = [configs.strategy(f"s{i:02d}", "a", EAGER, f"orders = {orders}") for i in range(STRATEGIES)]
    return head + account + "".join(crowd_)


def test_it_is_an_overload(run: Overloaded) -> None:
    offered, taken = (home.status["feeds"]["a"]["ticks_per_s"] for home in (run.floor, run.home))
    assert offered >= OVERLOAD_MIN * taken
    assert run.watch.ahead_max == UNACKNOWLEDGED_MAX, "as far ahead of the disk as it may be, and no further"


def test_no_order_and_no_fill_is_lost(run: Overloaded) -> None:
    assert run.life.code == 0, run.life.log
    assert run.home.wrong("a") + run.home.unverified() == []
    assert run.home.status["feeds"]["a"]["position"] == TICKS
    asked, orders = _asked(run.home), run.home.ours("a").orders
    assert {purpose: sum(a[purpose] for a in asked.values()) for purpose in ("entry", "exit")} == {
        purpose: sum(1 for order in orders if order["purpose"] == purpose) for purpose in ("entry", "exit")
    }
    assert len(orders) > STRATEGIES * TICKS * 0.9, "nearly every strategy ordered at nearly every tick"
    assert run.home.status["dead_letters"] == 0


def _asked(home: Home) -> dict[str, dict[str, int]]:
    """What each strategy itself remembers to have asked for."""
    newest: dict[str, tuple[int, Any]] = {}
    for row in home.rows("checkpoints"):
        if row["owner"].startswith("s") and row["position"] >= newest.get(row["owner"], (-1, None))[0]:
            newest[row["owner"]] = (row["position"], msgspec.msgpack.decode(row["state"]))
    states = {name: msgspec.msgpack.decode(saved["strategy_state"]) for name, (_, saved) in newest.items()}
    assert len(states) == STRATEGIES
    return {name: {"entry": state["entries"], "exit": state["exits"]} for name, state in states.items()}


def test_a_pause_comes_before_what_waits_and_is_durable_after_two_commits(run: Overloaded) -> None:
    watch = run.watch
    assert watch.asked_s < watch.taken_s < watch.durable_s
    assert watch.late <= DECISIONS_BEFORE_A_PAUSE_MAX
    assert watch.waited_for <= 2, "the one under way, and its own"
    assert watch.durable_s - watch.asked_s <= max(PAUSE_MAX_S, 3 * max(watch.commits_s))


def test_not_one_entry_is_taken_between_a_pause_and_its_end(run: Overloaded) -> None:
    changes = [
        (int(row["sequence"]), msgspec.msgpack.decode(row["payload"])["paused"])
        for row in run.home.ours("a").journal
        if row["type"] == "latch_changed"
    ]
    (paused_at, _), (resumed_at, _) = changes
    assert [paused for _, paused in changes] == [True, False]
    entries = run.home.entries_after("a", paused_at)
    assert entries, "they are taken again"
    assert len(entries) == len(run.home.entries_after("a", resumed_at))
    denied = [order for order in run.home.ours("a").orders if order["status"] == "denied"]
    assert len(denied) > STRATEGIES, "they went on asking"


def test_no_mailbox_is_ever_fuller_than_its_bounds(run: Overloaded) -> None:
    seen = run.home.status["actors"]
    assert len(seen) == len(ACTORS) - 1 + STRATEGIES
    for name, figures in seen.items():
        kind = name.split("/")[1] if "/" in name else name
        limits = ACTORS[kind].mailbox_limits
        lanes = (limits.control_max, limits.results_max, limits.reliable_max)
        assert figures["mail_max"] <= sum(lanes), name
        assert figures["restarts"] == 0, name
    assert seen["recorder"]["mail_max"] <= 4, "one commit at a time, however many decisions are in it"
