"""The kill campaign: run, kill, start again, until the run has ended by itself; then both sides' books are checked.

First each variant runs once without being killed: that is the reference, and it tells how often each kill point is
passed. Then every round draws its kills from the seed (:mod:`~tests.campaigns.kill.plan`), and after each kill the files
are copied and looked at (:mod:`~tests.campaigns.kill.scene`) before the daemon starts again.
"""

from __future__ import annotations

import shutil
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.kill.books import check_ended, read_ours, read_theirs
from tests.campaigns.kill.plan import plan_aimed, plan_round
from tests.campaigns.kill.process import Kill, Life, live
from tests.campaigns.kill.reading import has_tables
from tests.campaigns.kill.scene import copy_scene, look
from tests.campaigns.kill.steering import Steering, entries_in_spite
from tests.campaigns.kill.stores import Books, BooksStore, Files
from tests.campaigns.kill.story import Line, differences, story_of
from tests.campaigns.kill.variants import Variant
from tradekeel.bootstrap.audit import audit
from tradekeel.bootstrap.place import Place

STARTS_MAX = 8
"""Lives of one round. There are fewer kills than that, so more means that it does not get on."""

RUNNING = "running"
"""The file that a daemon removes when its run has ended in order (``statedir.end_run``)."""

TAIL_LINES = 12
"""Of the log of a daemon that did not end as it should."""


@dataclass(frozen=True)
class Reference:
    """A run that was never killed."""

    stories: dict[str, dict[str, list[Line]]]
    passed: Counter[str]
    seconds: float
    trades: int


@dataclass
class Death:
    """One kill that came to pass."""

    kill: Kill
    last_point: str
    left: set[str]


@dataclass
class Round:
    """What became of one round."""

    number: int
    seed: int
    variant: str
    kills: tuple[Kill, ...]
    deaths: list[Death] = field(default_factory=list)
    starts: int = 0
    stops: int = 0
    commands: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How to have it again."""
        return f"round {self.number} of seed {self.seed}, variant {self.variant}"


class Campaign:
    """All rounds of one seed."""

    def __init__(
        self, work: Path, data_dir: Path | None, variants: Sequence[Variant], seed: int, store: BooksStore | None = None
    ) -> None:
        self.work = work
        self.data_dir = data_dir
        self.variants = [v for v in variants if not v.needs_data or data_dir is not None]
        self.seed = seed
        self.store = store or Files()
        self.references: dict[str, Reference] = {}
        self.rounds: list[Round] = []
        self._lock = threading.Lock()

    # --- references ------------------------------------------------------------------------------------------------------

    def run_references(self, say: Callable[[str], None]) -> list[str]:
        """Run every variant once without a kill; sentences about what is wrong with that already."""
        wrong: list[str] = []
        for variant in self.variants:
            home = self.work / f"reference-{variant.name}"
            books, config = self._prepare(home, variant)
            life = live(config, home / "points", None, 0.0)
            if life.code != 0:
                wrong.append(f"the reference run of {variant.name} ended with {life.code}:\n{_tail(life)}")
                continue
            found, stories = self._check(home / "state", books, variant)
            wrong.extend(f"the reference run of {variant.name}: {text}" for text in found)
            trades = sum(len(story["trades"]) for story in stories.values())
            # Held back half of the time, a daemon that is steered comes by less often.
            passed = Counter(
                {point: count // (4 if variant.steered else 1) for point, count in Counter(life.points).items()}
            )
            self.references[variant.name] = Reference(stories, passed, life.seconds, trades)
            say(f"  {variant.name:8} {trades:4} trades  {life.seconds:5.1f} s  {variant.about}")
            self.store.done(books, home, keep=False)
            shutil.rmtree(home)
        return wrong

    def _prepare(self, home: Path, variant: Variant) -> tuple[Books, Path]:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        books = self.store.fresh(home)
        config = home / "campaign.toml"
        config.write_text(variant.config(home / "state", self.data_dir, books.toml))
        return books, config

    def _check(self, state: Path, books: Books, variant: Variant) -> tuple[list[str], dict[str, dict[str, list[Line]]]]:
        wrong: list[str] = []
        stories: dict[str, dict[str, list[Line]]] = {}
        wrong.extend(_audited(state, books))
        for account in variant.accounts:
            ours = read_ours(books.place, account)
            theirs = read_theirs(state / f"paper-{account}.db")
            wrong.extend(f"{account}: {text}" for text in check_ended(ours, theirs, steered=variant.steered))
            wrong.extend(f"{account}: {text}" for text in entries_in_spite(ours))
            stories[account] = story_of(ours)
        return wrong, stories

    # --- rounds ----------------------------------------------------------------------------------------------------------

    def plan(self, numbers: Sequence[int], only: str | None) -> list[Round]:
        """The rounds with these numbers. ``only`` aims all of them at one point, in the variants that pass it."""
        passed = {name: reference.passed for name, reference in self.references.items()}
        rounds = []
        for number in numbers:
            if only is None:
                variant, kills = plan_round(number, self.seed, passed)
            else:
                variant, kills = plan_aimed(number, self.seed, passed, only)
            rounds.append(Round(number, self.seed, variant, kills))
        return rounds

    def run(self, rounds: Sequence[Round], workers: int, say: Callable[[Round], None]) -> None:
        """Run rounds, so many at a time."""
        with ThreadPoolExecutor(workers) as pool:
            for done in pool.map(self.run_round, rounds):
                with self._lock:
                    self.rounds.append(done)
                say(done)

    def run_round(self, round_: Round) -> Round:
        """One round, whole."""
        variant = next(v for v in self.variants if v.name == round_.variant)
        reference = self.references[variant.name]
        home = self.work / f"round-{round_.number}"
        books, config = self._prepare(home, variant)
        kills: list[Kill | None] = [*round_.kills, *[None] * (STARTS_MAX - len(round_.kills))]
        steering = Steering(home / "state", config, variant.accounts, round_.name) if variant.steered else None
        for kill in kills:
            beside = steering.beside() if steering is not None and kill is not None else None
            life = live(config, home / f"points-{round_.starts}", kill, reference.seconds, beside)
            round_.starts += 1
            if life.killed and not self._look(round_, variant, kill, life, home, books, steering):
                continue
            if life.stopped and not self._is_over(variant, books):
                round_.stops += 1
                continue
            if life.hung:
                round_.wrong.append(f"start {round_.starts} (kill {kill}) hangs at {life.last_point}:\n{_tail(life)}")
            elif life.code not in variant.codes and not life.killed and not life.stopped:
                round_.wrong.append(f"start {round_.starts} (kill {kill}) ended with {life.code}:\n{_tail(life)}")
            break
        else:
            round_.wrong.append(f"it was started {STARTS_MAX} times and has not ended")
        if steering is not None:
            round_.commands, round_.answered = steering.given, steering.answered
        if not any("ended with" in text or "hangs" in text for text in round_.wrong):
            found, stories = self._check(home / "state", books, variant)
            round_.wrong.extend(found)
            for account, story in reference.stories.items() if variant.same_story else ():
                round_.wrong.extend(f"{account}: {text}" for text in differences(story, stories[account]))
        self.store.done(books, home, keep=bool(round_.wrong))
        if not round_.wrong:
            shutil.rmtree(home)
        return round_

    @staticmethod
    def _is_over(variant: Variant, books: Books) -> bool:
        if not has_tables(books.place, "executions"):
            return False
        ours = [read_ours(books.place, account) for account in variant.accounts]
        return all(any(row["status"] == "closed" for row in side.executions) for side in ours)

    def _look(
        self,
        round_: Round,
        variant: Variant,
        kill: Kill | None,
        life: Life,
        home: Path,
        books: Books,
        steering: Steering | None,
    ) -> bool:
        """Look at what the kill left behind; True if it came too late, when the daemon had noted that its run is over."""
        assert kill is not None
        scene = home / f"scene-{round_.starts}"
        copy_scene(home / "state", scene)
        there = self.store.as_left(books, scene)
        has_journal = has_tables(there.place, "journal")
        left: set[str] = set()
        for account in variant.accounts:
            found, wrong = look(scene, there.place, account)
            left |= found
            if steering is not None and has_journal:
                wrong = [*wrong, *steering.wrong(account, read_ours(there.place, account))]
            round_.wrong.extend(f"after kill {round_.starts} ({kill}), {account}: {text}" for text in wrong)
        if has_journal:
            round_.wrong.extend(f"after kill {round_.starts} ({kill}): {line}" for line in _audited(scene, there))
        if "closed" in left and not (home / "state" / RUNNING).exists():
            return True
        round_.deaths.append(Death(kill, life.last_point, left))
        return False


def _audited(state: Path, books: Books) -> list[str]:
    """What the product's own `verify` finds wrong, by both sides' books."""
    found = audit(Place(state, None, storage=tomllib.loads(books.toml)), lambda step, done, total: None)
    return [] if found.ok else [f"verify: {line}" for line in found.lines()[:8]]


def _tail(life: Life) -> str:
    lines = life.log.strip().splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
