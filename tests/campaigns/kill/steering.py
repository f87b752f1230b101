"""A person who cannot leave a daemon alone: commands at random moments of its life, and what must have become of them.

Commands go the way that the command line takes, through files and a signal. One that was answered is durable: whatever
happens to the process afterwards, the next one is paused, or halted, or neither. One that was not answered may have
been carried out or not; both are right.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.campaigns.kill.books import Ours
from tradekeel.bootstrap import commands
from tradekeel.bootstrap.ending import NoAnswer, NotRunning
from tradekeel.bootstrap.place import Place
from tradekeel.errors import TradekeelError

ANSWER_TIMEOUT_S = 5.0
PAUSE_S = (0.01, 0.15)
"""Between two commands."""

COMMANDS = ("pause", "resume", "resume", "flatten", "kill", "release", "release", "reload")
RATES = (80, 90, 100)
"""What a reload changes: orders a minute."""

LATCH, PAUSE = "latch", "pause"
_SETS = {
    "pause": {PAUSE: "paused"},
    "resume": {PAUSE: "not paused"},
    "flatten": {PAUSE: "paused"},
    "kill": {LATCH: "halted"},
    "release": {LATCH: "not halted"},
    "reload": {},
}
"""What an answered command has done to what holds an account back."""


class Steering:
    """The commands of one round; drawn from its seed, given when the machine comes to it."""

    def __init__(self, state: Path, config: Path, accounts: Sequence[str], seed: str) -> None:
        self._place = Place(state, config)
        self._config = config
        self._accounts = accounts
        self._rng = random.Random(seed)
        self._over = threading.Event()
        self.sure: dict[str, dict[str, str]] = {account: {} for account in accounts}
        self.given = 0
        self.answered = 0

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Give commands for as long as the block lasts."""
        self._over.clear()
        thread = threading.Thread(target=self._steer, name="steering")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _steer(self) -> None:
        while not self._over.wait(self._rng.uniform(*PAUSE_S)):
            name = self._rng.choice(COMMANDS)
            account = None if name == "reload" else self._rng.choice((None, *self._accounts))
            if self._place.pid is None:
                continue
            if name == "reload":
                text = self._config.read_text()
                for rate in RATES:
                    text = text.replace(f"orders_per_minute = {rate}", "orders_per_minute = RATE")
                self._config.write_text(text.replace("RATE", str(self._rng.choice(RATES))))
            touched = self._accounts if account is None else (account,)
            for one in touched:  # until it is answered nobody knows
                for axis in _SETS[name]:
                    self.sure[one].pop(axis, None)
            self.given += 1
            done = self._give(name, account)
            self.answered += done is not None
            if done:
                for one in touched:
                    self.sure[one].update(_SETS[name])

    def _give(self, name: str, account: str | None) -> bool | None:
        """Whether it was done (a flatten is not, while an account is halted); None without an answer."""
        arguments = {"reason": "campaign", "by": "campaign"} | ({} if account is None else {"account": account})
        try:
            answer = commands.send(self._place, name, arguments, ANSWER_TIMEOUT_S)
        except (NotRunning, NoAnswer, TradekeelError):
            return None
        return answer.ok and "nothing done" not in answer.message

    def wrong(self, account: str, ours: Ours) -> Iterator[str]:
        """How the books contradict what was answered, and entries that were taken while none might be."""
        if ours.executions and ours.executions[-1]["status"] == "running":
            row, sure = ours.executions[-1], self.sure[account]
            if sure.get(PAUSE) == "paused" and not row["paused"]:
                yield "a pause was answered, and is not in the books"
            if sure.get(PAUSE) == "not paused" and row["paused"]:
                yield "a resume was answered, and is not in the books"
            if sure.get(LATCH) == "halted" and row["latch"] != "halted":
                yield f"a kill was answered, and the books say {row['latch']}"
            if sure.get(LATCH) == "not halted" and row["latch"] == "halted":
                yield f"a release was answered, and the books say halted: {row['latch_reason']}"
        yield from entries_in_spite(ours)


def entries_in_spite(ours: Ours) -> Iterator[str]:
    """Entries that were intended while the account was paused, reduce-only or halted."""
    held = ""
    for row in ours.journal:
        record = msgspec.msgpack.decode(row["payload"])
        if row["type"] == "latch_changed":
            held = "paused" if record["paused"] else "" if record["latch"] == "open" else record["latch"]
        elif row["type"] in ("decision_taken", "orders_intended") and held:
            for order in record["orders"]:
                if order["purpose"] == "entry" and order["status"] != "denied":
                    yield f"record {row['sequence']}: entry {order['client_order_id']} while {held}"
