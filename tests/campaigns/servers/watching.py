"""What a daemon shows of how it stands with the books' server, while it runs: by its status, and on the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.scenarios.support_servers import QUICK
from tests.servers.proxy import TcpProxy

LOOK_EVERY_S = 0.02
FAILURES_MAX = int(QUICK["breaker_failures_max"])
OPEN_S = float(QUICK["breaker_open_s"])
SLACK_S = 0.05

LEGAL = {"direct": {"closed"}, "draining": {"closed"}, "away": {"closed", "open", "half_open"}}
"""docs/postgresql.md: what the breaker may be while commits go this way. (A try that succeeded has closed it.)"""


@dataclass
class Seen:
    """What was seen of a round's daemon."""

    stands: list[tuple[str, str, int]] = field(default_factory=list)  # mode, breaker, batches that wait
    asked: list[float] = field(default_factory=list)  # when it asked for connections, since the beginning
    opened: int = 0

    def wrong(self) -> Iterator[str]:
        """What is not as it is documented."""
        for mode, breaker, batches in self.stands:
            if breaker not in LEGAL.get(mode, set()):
                yield f"the status says mode {mode} with a breaker that is {breaker}"
            if mode == "direct" and batches:
                yield f"the status says direct, and that {batches} batches wait"


def too_eager(asked: list[float], began_s: float, ended_s: float, lives: int) -> Iterator[str]:
    """Connections asked for while the server was away, beyond what a breaker lets through."""
    tries = sum(1 for at in asked if began_s <= at <= ended_s)
    allowed = (FAILURES_MAX + 1 + int((ended_s - began_s) / (OPEN_S - SLACK_S))) * lives
    if tries > allowed:
        yield f"{tries} connections were asked for in {ended_s - began_s:.2f} s of a server that was away, not {allowed}"


@contextmanager
def watching(state: Path, proxy: TcpProxy) -> Iterator[Seen]:
    """Look at the status and at the wire for as long as the block lasts."""
    seen, over = Seen(), threading.Event()
    thread = threading.Thread(target=_look, args=(state / "status.json", proxy, seen, over), name="watching")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _look(status: Path, proxy: TcpProxy, seen: Seen, over: threading.Event) -> None:
    counted = proxy.asked_for
    while not over.wait(LOOK_EVERY_S):
        new, counted = proxy.asked_for - counted, proxy.asked_for
        seen.asked += [time.monotonic()] * new
        store = _store(status)
        if store and store["breaker"]:
            stands = (str(store["mode"]), str(store["breaker"]), int(store["batches_waiting"]))
            if not seen.stands or seen.stands[-1] != stands:
                seen.stands.append(stands)
                seen.opened += stands[1] == "open"


def _store(status: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = msgspec.json.decode(status.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
    return told.get("store") or {}
