"""One round: a daemon under load, a server that is struck, and what is left when both are well again."""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.campaigns.kill.books import check_settled, read_theirs
from tests.campaigns.kill.stores import Files
from tests.campaigns.servers.benches import Wired
from tests.campaigns.servers.faults import POSTGRES, Target
from tests.campaigns.servers.plan import Blow, Plan
from tests.campaigns.servers.watching import Seen, too_eager, watching
from tests.scenarios import support_configs as configs
from tests.scenarios.support import HARMLESS, Home, Process, Story, told_differently
from tests.scenarios.support_redis import Outside, with_redis, wrong_board, wrong_events
from tests.scenarios.support_servers import AWAY, BACK, denials, spooled
from tests.servers.errors import ServersError
from tests.servers.valkey import ValkeyServer
from tradekeel.runtime.faults import KILL_AT

ACCOUNTS = ("a", "b", "c")
BUSY = Path(__file__).resolve().parent.parent / "busy.py"
TICKS = 900
SPEED = "180"
"""Some 360 ticks a second."""

ENDLESS_TICKS = 1_000_000
ENDLESS_SPEED = "80"

LIVES_MAX = 8
LIFE_MAX_S = 60.0
LOOK_S = 0.01
DARK_S = 0.3
"""A server that is away for longer than this must not have kept anybody from trading."""

BUG = "a bug of ours"
LOST = "batches waited for the books' server in memory, and are lost"
LATE, MADE_UP = "fails us (", "is back: what was to be published meanwhile is made up for"


_FAILS = re.compile(r"fails us \((.*?)\)[, ]")


def load(ticks: int, speed: str = SPEED) -> str:
    """Three accounts: exits kept by the venue, by the monitor, and one that does everything there is."""
    return (
        configs.pair(ticks, speed=speed, cut_every_s=0.3)
        + configs.account("c", more="hedging = true", paper='latency_ms = 100\ntimeout_rate = "0.1"')
        + configs.strategy("busy", "c", f"{BUSY}:Busy", "seed = 3, every = 6")
    )


@dataclass
class Trial:
    """What became of a round."""

    plan: Plan
    hits: int = 0
    in_a_batch: int = 0
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


IN_DOUBT = re.compile(r" is (intended|submitted|unknown) and not known to the venue")


@dataclass(frozen=True)
class Reference:
    """The run to which nothing happened: how long it is, and the story of each account."""

    ticks: int
    stories: dict[str, Story]


class _Hung(Exception):
    """It goes no further: what, and the end of the log."""


class Runner:
    """A round under way. Everything is on the one thread that calls :meth:`run`."""

    def __init__(self, plan: Plan, target: Target, folder: Path, reference: Reference) -> None:
        self.plan = plan
        self.target = target
        self.trial = Trial(plan)
        self._reference = reference
        self._dice = random.Random(f"{plan.name} blows")
        self._is_books = plan.fault.kind == POSTGRES
        self._by_proxy = plan.fault.by_proxy or plan.in_a_batch
        self.home = self._make_home(folder)
        self._logs: list[str] = []
        self._process: Process | None = None
        self._over = False
        self._last_death_s = 0.0

    def _make_home(self, folder: Path) -> Home:
        if self._is_books:
            more = {"on_store_failure": f'"{self.plan.policy}"'}
            return Home(folder, load(self._reference.ticks), Wired(self.target, more, by_proxy=self._by_proxy))
        port = self.target.proxy.port if self._by_proxy else self.target.server.port.number
        return Home(folder, with_redis(port, load(ENDLESS_TICKS, ENDLESS_SPEED), deadline_s=0.3), Files())

    # --- the daemon ------------------------------------------------------------------------------------------------------

    def _start(self, kill_at: str = "") -> Process:
        if len(self._logs) >= LIVES_MAX:
            raise _Hung(f"it was started {LIVES_MAX} times and has not ended")
        environ = {KILL_AT: kill_at} if kill_at else {}
        if isinstance(self.target.server, ValkeyServer):
            environ["REDIS_PASSWORD"] = self.target.server.password
        self.trial.did["starts"] += 1
        self._process = self.home.start(environ)
        return self._process

    def _heed(self) -> Process | None:
        """The daemon, started again where a point has killed it; None where its run is over."""
        process = self._process
        if self._over or process is None:
            return None
        if process.code is None:
            return process
        code = process.code
        self._put_away(process)
        if code == -signal.SIGKILL:
            self.trial.did["killed"] += 1
            return self._start()
        if code != 0:
            raise _Hung(f"it ended with {code}:\n{self._logs[-1][-2_500:]}")
        self._over = True
        return None

    def _put_away(self, process: Process) -> None:
        passed = process.passed()
        self.trial.did["kept"] += passed["standin.kept"]
        self.trial.did["brought"] += passed["standin.brought"]
        self._logs.append(process.log)
        self._last_death_s = time.monotonic()
        self._process = None

    def _kill(self) -> None:
        process = self._heed()
        if process is not None:
            process.kill()
            self._put_away(process)
            self.trial.did["killed"] += 1

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not self._over:
            self._heed()
            time.sleep(LOOK_S)

    def _until_trading(self) -> None:
        end_s = time.monotonic() + LIFE_MAX_S
        while (process := self._heed()) is not None:
            if all(f"{name} is reconciled and trading" in process.log for name in ACCOUNTS):
                return
            self._not_beyond(end_s, "it does not trade")
            time.sleep(LOOK_S)

    def _not_beyond(self, end_s: float, what: str) -> None:
        if time.monotonic() > end_s:
            process = self._process
            raise _Hung(f"{what}:\n{process.log[-2_500:] if process else ''}")

    # --- the round -------------------------------------------------------------------------------------------------------

    def run(self) -> Trial:
        """The round, whole."""
        began_s = time.monotonic()
        self._start(self.plan.kill_at)
        try:
            with watching(self.home.state, self.target.proxy) as seen:
                for blow in self.plan.blows:
                    self._strike(blow, seen)
                self._to_the_end()
            self.trial.wrong += dict.fromkeys(seen.wrong())
            self.trial.did["opened"] = seen.opened
            self.trial.wrong += self._judge()
        except _Hung as hung:
            self.trial.wrong.append(str(hung))
        except (AssertionError, ServersError) as error:
            self.trial.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            if self._process is not None:
                self._process.kill()
            for number, log in enumerate(self._logs):
                (self.home.folder / f"log-{number}").write_text(log)
        self.trial.seconds = time.monotonic() - began_s
        return self.trial

    def _strike(self, blow: Blow, seen: Seen) -> None:
        if not (self.plan.in_the_start and self.trial.hits == 0):
            self._until_trading()
        self._wait(blow.after_s)
        if self._over:
            return
        starts = self.trial.did["starts"]
        came = self.plan.fault.befall(self.target, self._dice, in_a_batch=self.plan.in_a_batch)
        self.trial.hits += came or not self.plan.fault.is_a_loss
        self.trial.in_a_batch += came and (self.plan.in_a_batch or self.plan.fault.is_a_loss)
        struck_s, commits = time.monotonic(), self._commits()
        if blow.kill_after_s is not None:
            self._wait(blow.kill_after_s)
            if not self._over:
                self._kill()
                if not blow.waits:
                    self._start()
        self._wait(struck_s + blow.lasts_s - time.monotonic())
        dark_s = time.monotonic() - struck_s
        was_left_alone = commits > 0 and self.trial.did["starts"] == starts and self._process is not None
        if not self._is_books and was_left_alone and dark_s > DARK_S and self._commits() <= commits:
            self.trial.wrong.append(
                f"nothing was committed in {dark_s:.2f} s of a Redis that was {self.plan.fault.name}"
            )
        if self._is_books and self._by_proxy and self._is_gone:
            lives = 1 + self.trial.did["starts"] - starts
            self.trial.wrong += too_eager(seen.asked, struck_s, time.monotonic(), lives)
        self.target.heal()
        if self._process is None and not self._over:
            self._start()

    @property
    def _is_gone(self) -> bool:
        """Whether the server answers nobody in this round's fault."""
        return self.plan.fault.name.partition("-")[2] in ("killed", "paused")

    def _commits(self) -> int:
        return self._process.passed()["store.after_commit"] if self._process is not None else 0

    def _to_the_end(self) -> None:
        end_s = time.monotonic() + LIFE_MAX_S
        if not self._is_books:
            self._until_published(end_s)
        while self._heed() is not None:
            self._not_beyond(end_s, "it does not end")
            time.sleep(LOOK_S)
        if self._is_books and spooled(self.home):
            self._bring_the_rest(end_s)

    def _bring_the_rest(self, end_s: float) -> None:
        """The run was over before the server was back: the next start brings what waits, before it looks at any account."""
        self.trial.did["left to the next start"] += 1
        process = self._start("executor.recover.loaded:1")
        while process.code is None:
            self._not_beyond(end_s, "it does not bring what waits")
            time.sleep(LOOK_S)
        if process.code != -signal.SIGKILL:
            raise _Hung(f"the start that brings the rest ended with {process.code}:\n{process.log[-2_500:]}")
        self._put_away(process)

    def _until_published(self, end_s: float) -> None:
        """Redis is well: wait until events come in again on every account, then stop in order."""
        self._until_trading()
        before = self._published()
        while (process := self._heed()) is not None:
            now = self._published()
            if len(now) == len(ACCOUNTS) and all(count > before.get(key, 0) for key, count in now.items()):
                process.send(signal.SIGTERM)
                return
            self._not_beyond(end_s, "nothing is published though Redis is back")
            time.sleep(5 * LOOK_S)

    def _published(self) -> dict[str, int]:
        assert isinstance(self.target.server, ValkeyServer)
        with redis.Redis.from_url(self.target.server.url(), decode_responses=True) as client:
            client_: Any = client  # its answers are typed for bytes, too
            return {key: int(client_.xlen(key)) for key in client_.keys("trading:events:*")}

    # --- judging ---------------------------------------------------------------------------------------------------------

    def _judge(self) -> Iterator[str]:
        text = "".join(self._logs)
        self.trial.did["lives"] = len(self._logs)
        if BUG in text:
            at = text.index(BUG)
            yield f"the log tells of a bug: {text[max(0, at - 1_500) : at + 500]}"
        yield from self._judge_books(text) if self._is_books else self._judge_redis(text)
        yield from self.home.unverified()

    def _judge_books(self, text: str) -> Iterator[str]:
        if (
            self.plan.policy == "memory" and LOST in text
        ):  # the run was over before the server was back, and it was said
            self.trial.did["lost with the memory"] += 1
            return
        yield from self.home.wrong(*ACCOUNTS)
        waits = spooled(self.home)
        if waits:
            yield f"the spool is not empty: {[path.name for path in waits]}"
        self.trial.did["away"] = text.count(AWAY)
        self.trial.did["back"] = text.count(BACK)
        self.trial.did["denied"] = sum(denials(self.home, name)["store_away"] for name in ACCOUNTS)
        self.trial.did["orders"] = sum(len(self.home.ours(name).orders) for name in ACCOUNTS)
        if self.plan.policy == "memory":
            yield from told_differently(self._reference.stories, self.home)

    def _is_under_way(self, line: str) -> bool:
        """Behind a kill the stop may come before recovery is done: what was in doubt is looked up by the next start."""
        return HARMLESS in line or (self.plan.kills and IN_DOUBT.search(line) is not None)

    def _judge_redis(self, text: str) -> Iterator[str]:
        self.trial.did["away"] = text.count(LATE)
        self.trial.did["back"] = text.count(MADE_UP)
        for log in self._logs:
            yield from said_again(log)
        for name in ACCOUNTS:
            found = check_settled(self.home.ours(name), read_theirs(self.home.ledger(name)))
            yield from (f"{name}: {line}" for line in found if not self._is_under_way(line))
            self.trial.did["orders"] += len(self.home.ours(name).orders)
        assert isinstance(self.target.server, ValkeyServer)
        outside = Outside(self.target.server)
        for name in ACCOUNTS:
            yield from wrong_events(self.home, name, outside)
            yield from wrong_board(self.home, name, outside)
        outside.client.close()


def said_again(log: str) -> Iterator[str]:
    """What is said of a Redis that fails us though it was said since it was well last."""
    said: set[str] = set()
    for line in log.splitlines():
        found = _FAILS.search(line)
        if found is not None:
            parts = set(found[1].split(", "))
            if parts <= said:
                yield f"said again: {line[:200]}"
            said |= parts
        elif MADE_UP in line:
            said.clear()


def undisturbed(folder: Path, ticks: int) -> Reference:
    """The same run with its books in a file, to which nothing happens."""
    home = Home(folder, load(ticks, speed="max"))
    life = home.live()
    assert life.code == 0, life.log
    return Reference(ticks, {name: home.story(name) for name in ACCOUNTS})


def tail(lines: Sequence[str], count: int = 8) -> list[str]:
    """The first of them, and how many there are more."""
    rest = [f"... and {len(lines) - count} more"] if len(lines) > count else []
    return [*lines[:count], *rest]
