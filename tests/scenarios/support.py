"""A daemon in a folder of its own, lived again and again: inside this process, or as one that can be killed and signalled.

A life inside this process is :func:`tradekeel.bootstrap.launch.launch`, the whole of `tradekeel run` but its
terminal, with points armed; it costs a third of a process. What a life left behind is judged by the kill campaign's
checker, which uses nothing of the product.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
from loguru import logger

from tests import cradle
from tests.campaigns.kill.books import Ours, check_always, check_ended, read_ours, read_theirs
from tests.campaigns.kill.reading import has_tables, reading
from tests.campaigns.kill.stores import BooksStore, Files
from tests.campaigns.kill.story import Line, differences, story_of
from tests.campaigns.workplace import workplace
from tradekeel.bootstrap.commands import send
from tradekeel.bootstrap.early import WAKE_SIGNAL
from tradekeel.bootstrap.launch import RunOptions, launch
from tradekeel.bootstrap.place import Place
from tradekeel.config.overrides import toml_number
from tradekeel.runtime import faults
from tradekeel.runtime.faults import InjectedFault
from tradekeel.runtime.signals import SignalInbox
from tradekeel.storage.verify import verify

Action = Callable[[int], object]
Story = dict[str, list[Line]]

LIFE_MAX_S = 60.0
"""No life of a scenario takes a tenth of this."""

LOOK_EVERY_S = 0.02
"""How often a condition is looked at, as a rule."""

HARMLESS = "order_in_doubt"
"""What a comparison rightly finds after a restart: an order that may have been sent."""


@dataclass(frozen=True)
class Life:
    """How a life went: its exit code, its log, and how often it passed each point (inside this process only)."""

    code: int
    log: str
    passed: Counter[str]


class Home:
    """One configuration and its state directory."""

    def __init__(self, folder: Path, toml: str, store: BooksStore | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.store = store or Files()
        self.at = self.store.fresh(folder)
        self.config = folder / "scenario.toml"
        self.configure(toml)

    def configure(self, toml: str) -> None:
        """Write the configuration; {state} and {folder} in it are this home's."""
        text = toml.replace("{state}", str(self.state)).replace("{folder}", str(self.folder))
        text = text.replace("[storage]\n", f"[storage]\n{self.at.toml}")
        self.config.write_text(text)

    @property
    def books(self) -> Path:
        """The daemon's books, where they are a file."""
        return self.state / "books.db"

    @property
    def place(self) -> Place:
        """Where it lives, for what commands do."""
        return Place(self.state, self.config, storage=tomllib.loads(self.at.toml, parse_float=toml_number))

    def ledger(self, account: str) -> Path:
        """The paper venue's own file."""
        return self.state / f"paper-{account}.db"

    # --- lives -----------------------------------------------------------------------------------------------------------

    def live(
        self,
        actions: Mapping[str, Action] | None = None,
        *,
        fresh: bool = False,
        signals: SignalInbox | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Life:
        """One life inside this process, with these actions at these points."""
        said = io.StringIO()
        inbox = signals if signals is not None else SignalInbox([])
        try:
            with faults.armed(actions) as passed, redirect_stderr(said):
                code = launch(self.config, RunOptions(fresh=fresh), inbox, environ or {})
        finally:
            logger.remove()  # it would write to what is closed now
        return Life(code, said.getvalue(), passed)

    def live_to_the_end(self, actions: Mapping[str, Action] | None = None, lives_max: int = 4) -> list[Life]:
        """Live with these actions, and then as a service manager would start it again, until it ends with 0."""
        lives = [self.live(actions)]
        while lives[-1].code != 0 and len(lives) < lives_max:
            lives.append(self.live())
        return lives

    def start(self, environ: Mapping[str, str] | None = None, *words: str, loaded: bool = True) -> Process:
        """Start `tradekeel run` as a process of its own; what is not ``loaded`` begins with nothing, as a person's does."""
        return Process(self, environ or {}, ["tradekeel", "run", "--plain", str(self.config), *words], loaded=loaded)

    def start_by_a_clock(self, step_s: int, when: Path) -> Process:
        """Start a daemon whose wall clock is set this much further as soon as there is such a file."""
        return Process(self, {}, ["tests.scenarios.support_clock", str(self.config), str(step_s), str(when)])

    def command(self, name: str, timeout_s: float = 20.0, **arguments: str) -> tuple[bool, str]:
        """What a person's command to the running daemon came to."""
        answer = send(self.place, name, arguments, timeout_s)
        return answer.ok, answer.message

    @property
    def status(self) -> dict[str, Any]:
        """The status file; empty before there is one."""
        path = self.state / "status.json"
        return msgspec.json.decode(path.read_bytes()) if path.exists() else {}

    # --- what a life left behind -----------------------------------------------------------------------------------------

    def ours(self, account: str) -> Ours:
        """Everything that our books say about an account."""
        return read_ours(self.at.place, account)

    def story(self, account: str) -> Story:
        """Trades and events, as they would be in any other run."""
        return story_of(self.ours(account))

    def wrong(self, *accounts: str, ended: bool = True) -> list[str]:
        """What the independent checker finds wrong with both sides' books, orders in doubt after a restart aside."""
        check = check_ended if ended else check_always
        found = []
        for account in accounts:
            if not (has_tables(self.at.place, "journal") and has_tables(self.ledger(account), "account")):
                continue  # it died before there was anything to check
            theirs = read_theirs(self.ledger(account))
            found += [f"{account}: {text}" for text in check(self.ours(account), theirs) if HARMLESS not in text]
        return found

    def unverified(self) -> list[str]:
        """What the product's own `verify` finds."""
        verdict = verify(self.place.where)
        return [] if verdict.ok else verdict.lines()

    def records(self, account: str, kind: str) -> list[dict[str, Any]]:
        """The contents of all journal records of one kind."""
        return [msgspec.msgpack.decode(row["payload"]) for row in self.ours(account).journal if row["type"] == kind]

    def execution(self, account: str) -> dict[str, Any]:
        """The account's newest execution."""
        return self.ours(account).executions[-1]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table of the books."""
        with reading(self.at.place) as ask:
            return ask(f"SELECT * FROM {table}")

    def working(self, account: str, purpose: str) -> list[dict[str, Any]]:
        """Orders that the venue has, entries or exits; attached exits of entries that wait are not among them."""
        alive = ("accepted", "partially_filled", "cancel_requested")
        return [o for o in self.ours(account).orders if o["purpose"] == purpose and o["status"] in alive]

    def open_trades(self, account: str) -> int:
        """How many trades hold something."""
        return sum(1 for t in self.ours(account).trades if t["status"] in ("OPEN", "CLOSING"))

    def denied(self, account: str) -> int:
        """How many entries were denied since the last restraint."""
        since = self.last_sequence(account, "daemon_started")
        taken = [r for r in self.ours(account).journal if r["type"] == "decision_taken" and r["sequence"] > since]
        orders = [o for r in taken for o in msgspec.msgpack.decode(r["payload"])["orders"]]
        return sum(1 for o in orders if o["status"] == "denied")

    def entries_after(self, account: str, sequence: int) -> list[dict[str, Any]]:
        """Entries that were decided after a journal record, and not denied."""
        found: list[dict[str, Any]] = []
        for row in self.ours(account).journal:
            if row["type"] in ("decision_taken", "orders_intended") and row["sequence"] > sequence:
                orders = msgspec.msgpack.decode(row["payload"])["orders"]
                found += [o for o in orders if o["purpose"] == "entry" and o["status"] != "denied"]
        return found

    def last_sequence(self, account: str, kind: str) -> int:
        """Where the newest record of a kind stands in the journal."""
        return max((int(row["sequence"]) for row in self.ours(account).journal if row["type"] == kind), default=0)

    def trades(self, account: str) -> list[tuple[object, ...]]:
        """Trades as they would be in any other run, for comparing the trades of some of the strategies."""
        return list(self.story(account)["trades"])


def story_undisturbed(toml: str, accounts: Sequence[str] = ("a", "b")) -> dict[str, Story]:
    """What a run tells that nothing happens to."""
    with workplace() as work:
        home = Home(work, toml)
        life = home.live()
        assert life.code == 0, life.log
        return {account: home.story(account) for account in accounts}


def told_differently(reference: Mapping[str, Story], home: Home) -> list[str]:
    """How each account's story differs from the reference's."""
    return [
        f"{account}: {text}" for account, story in reference.items() for text in differences(story, home.story(account))
    ]


# --- actions ----------------------------------------------------------------------------------------------------------------


def fail_at(count: int) -> Action:
    """Throw at this pass of a point."""

    def act(passed: int) -> None:
        if passed == count:
            raise InjectedFault(f"pass {passed}")

    return act


def send_at(count: int, *numbers: signal.Signals) -> Action:
    """Send signals to this process at this pass of a point."""

    def act(passed: int) -> None:
        if passed == count:
            for number in numbers:
                os.kill(os.getpid(), number)

    return act


@contextmanager
def caught_signals() -> Iterator[SignalInbox]:
    """The handlers of a daemon in this process, for the length of a test."""
    inbox = SignalInbox([signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, WAKE_SIGNAL])
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, WAKE_SIGNAL]
    before = {number: signal.getsignal(number) for number in numbers}
    inbox.install()
    try:
        yield inbox
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- processes --------------------------------------------------------------------------------------------------------------


class Process:
    """A daemon as a process of its own, with its points traced into a file."""

    def __init__(self, home: Home, environ: Mapping[str, str], module: Sequence[str], *, loaded: bool = True) -> None:
        """``module`` is run with the words behind it; where it is ``loaded``, the way to there is shorter (tests/cradle.py)."""
        self._trace = home.folder / "points"
        self._trace.unlink(missing_ok=True)
        self._log = home.folder / "log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEKEEL_", "NOTIFY_", "WATCHDOG_"))}
        with self._log.open("wb") as out:
            begin = cradle.begin if loaded else cradle.begin_anew
            self._process = begin(
                module,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=inherited | {faults.POINTS_TO: str(self._trace)} | dict(environ),
                start_new_session=True,  # what ends a campaign early ends no daemon of its
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it has ended; None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def passed(self) -> Counter[str]:
        """How often it has passed each point so far."""
        return Counter(self.points())

    def points(self) -> list[str]:
        """The points that it has passed so far, in their order."""
        return self._trace.read_text().split("\n") if self._trace.exists() else []

    def wait_s(self, seconds: float) -> None:
        """Let it run for a while, where the moment does not matter."""
        time.sleep(seconds)

    def until_trading(self, account: str = "a") -> None:
        """Wait until an account trades."""
        self.until(lambda: f"{account} is reconciled and trading" in self.log, "it does not trade")

    def until_passed(self, point: str, count: int = 1) -> None:
        """Wait until it has passed a point so many times."""
        self.until(lambda: self.passed()[point] >= count, f"{point} was not passed {count} times")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, for as long as it runs and as a life may take."""
        looks_s = time.monotonic()
        end_s = looks_s + LIFE_MAX_S
        while not condition():
            if self._process.poll() is not None:
                if condition():
                    return
                raise AssertionError(f"{what}, and it ended with {self._process.returncode}:\n{self.log[-3_000:]}")
            now_s = time.monotonic()
            if now_s > end_s:
                self.kill()
                raise AssertionError(f"{what} in {LIFE_MAX_S} s:\n{self.log[-3_000:]}")
            # A look that takes long (at all books) would take from the daemon what it needs to get there.
            time.sleep(max(LOOK_EVERY_S, now_s - looks_s))
            looks_s = time.monotonic()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait until it ends; its exit code."""
        try:
            return self._process.wait(LIFE_MAX_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end in {LIFE_MAX_S} s:\n{self.log[-3_000:]}") from None

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
