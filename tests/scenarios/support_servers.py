"""Daemons whose books are on a PostgreSQL server of the test's own, which is killed, frozen and brought back meanwhile."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.campaigns.kill.stores import Books, Databases
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, Process, Story
from tests.servers.postgres import PostgresServer
from tradekeel.cli.app import dispatch

AWAY = "the books' server is away: "
BACK = "the books' server is back"

QUICK: Mapping[str, Any] = {
    "connect_timeout_s": 2,
    "statement_timeout_s": 0.5,
    "breaker_failures_max": 2,
    "breaker_open_s": 0.3,
}
"""So that an outage of a second is one."""

TICKS = 1_800
SPEED = "180"
"""Some 360 ticks a second: five seconds of trading, unless somebody stops it."""


class Quick(Databases):
    """Databases of a server that soon counts as away, and is soon tried again."""

    def __init__(self, admin_url: str, more: Mapping[str, Any]) -> None:
        """``more`` are values of ``[storage]`` as they are written."""
        super().__init__(admin_url)
        self._more = more

    def fresh(self, home: Path) -> Books:
        books = super().fresh(home)
        return Books(books.place, {**books.storage, **QUICK, **self._more})


def paced(ticks: int = TICKS, speed: str = SPEED) -> str:
    """Two accounts, exits kept by the venue and by the monitor, at a pace that leaves time for an outage."""
    return configs.pair(ticks, speed=speed, cut_every_s=0.3)


@dataclass
class Away:
    """A daemon's home, and the server that its books are on."""

    home: Home
    server: PostgresServer
    url: str
    accounts: tuple[str, ...] = ("a", "b")

    def is_whole(self, reference: dict[str, Story] | None = None) -> None:
        """Both sides say the same, the product's own proof holds, and, beside a reference, the story is the same."""
        assert self.home.wrong(*self.accounts) == []
        assert self.home.unverified() == []
        assert spooled(self.home) == []
        if reference is not None:
            told = {account: self.home.story(account) for account in self.accounts}
            assert told == {account: reference[account] for account in self.accounts}

    def status(self) -> dict[str, Any]:
        """`tradekeel status --json`."""
        return dict(msgspec.json.decode(said_by("status", str(self.home.config), "--json")))

    def status_text(self) -> str:
        """`tradekeel status`, on one line."""
        return " ".join(said_by("status", str(self.home.config)).split())


def spooled(home: Home) -> list[Path]:
    """The files that wait in the spool."""
    return sorted((home.state / "spool").glob("*")) if (home.state / "spool").exists() else []


def said_by(*words: str) -> str:
    """What a command says, given in this process: a new one takes its time to start."""
    said = io.StringIO()
    with redirect_stdout(said):
        dispatch(list(words))
    return said.getvalue()


def said_after(log: str, mark: str, pattern: str) -> list[str]:
    """The lines behind the last one that has ``mark`` in which this is found."""
    return [line for line in log[log.rindex(mark) :].splitlines()[1:] if re.search(pattern, line)]


def until_away(process: Process) -> None:
    """Wait until the daemon has noticed."""
    process.until(lambda: AWAY in process.log, "it does not notice that the server is away")


def until_back(process: Process) -> None:
    """Wait until the daemon has brought everything there."""
    process.until(lambda: BACK in process.log, "it does not notice that the server is back")


def denials(home: Home, account: str) -> Counter[str]:
    """The codes with which entries were denied, counted."""
    codes: Counter[str] = Counter()
    for content in home.records(account, "decision_taken"):
        for order in content["orders"]:
            if order["status"] == "denied":
                codes[order["status_reason"].partition(":")[0]] += 1
    return codes
