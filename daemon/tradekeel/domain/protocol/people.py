"""What people tell an account, and what an account tells people, by way of control."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from tradekeel.domain.rows import Latch, ParameterChange

# --- people → executor ------------------------------------------------------------------------------------------------


class Command(StrEnum):
    """What a person may tell an account."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    RELEASE = "release"
    FLATTEN = "flatten"
    RESOLVE = "resolve"


NOTHING_DONE = "nothing done"
"""What the answer to a command begins with that could not be carried out: whoever gave it counts on it, and must be told."""


class AccountCommand(Struct, frozen=True):
    """A command, by whom, and why. Answer: a sentence when it is durable."""

    command: Command
    by: str
    reason: str = ""
    client_order_id: str = ""  # resolve
    outcome: str = ""  # resolve


class HoldEntries(Struct, frozen=True):
    """No new exposure while this lasts (the books' server is away, say); exits go on. "" ends it. It is not journaled."""

    reason: str


class ChangeParameters(Struct, frozen=True):
    """What a reload is about to change, for the account's history. Answer: True when it is durable.

    The executor fills in its execution and the time.
    """

    changes: tuple[ParameterChange, ...]


class Describe(Struct, frozen=True):
    """Answer with :class:`AccountStatus`."""


class AccountStatus(Struct, frozen=True, kw_only=True):
    """What people want to know of an account at a glance."""

    account: str
    execution: str | None
    state: str  # starting, not trading: why; trading, or what holds it back: paused, reduce_only, halted
    paused: bool
    latch: Latch
    latch_reason: str
    orders: int
    unknown: tuple[str, ...]
    trades: int
    positions: dict[str, str]
    balance: str
    equity: str | None
    cursor: int
    sequence: int
    ts_ns: int  # the account's time: in a replay that of the last thing that happened, 0 before the first tick
    position: int
    strategies: dict[str, str]
    quotes: dict[str, tuple[str, str, int]] = {}  # bid, ask and their time, of what the equity was computed with


# --- anybody → control ------------------------------------------------------------------------------------------------


class AccountReady(Struct, frozen=True):
    """An account is reconciled, or declared non-trading after its first attempt."""

    account: str
    trading: bool
    why: str
    recovered_orders: int
    recovered_trades: int
    first_five: tuple[str, ...]
    reconciled: bool = False  # once: from then on a stop saves what was done
    held: tuple[str, ...] = ()  # what holds it back all the same: "is halted: …", "is paused: …"


class FeedProgress(Struct, frozen=True):
    """How far a feed is (for people)."""

    account: str
    position: int
    total: int | None
    share: float | None
    ts_ns: int
    quality: Mapping[str, int]
    waits: str = ""  # why nothing can come at the moment, where that is known
    may_go_silent: bool = False  # its ticks are of their moment, or another process brings them


class FeedEnded(Struct, frozen=True):
    """An account's feed has ended; where the execution is closed, too, nothing is left to be stopped."""

    account: str
    reason: str
    closed: bool


class StoreStands(Struct, frozen=True, kw_only=True):
    """How it is with the books, whenever that changes."""

    mode: str  # direct, away, draining
    reason: str = ""  # why they are not written to directly, in words
    since_ns: int = 0
    breaker: str = ""
    batches: int = 0  # that wait for the server
    size_bytes: int = 0
    durable: bool = True  # whether what is acknowledged now survives a kill

    @property
    def is_direct(self) -> bool:
        """Whether all is as it should be."""
        return self.mode == "direct"


class JournalsGrew(Struct, frozen=True):
    """The recorder tells the publisher: these executions' journals are acknowledged up to here."""

    reached: Mapping[str, int]

    def merged(self, newer: JournalsGrew) -> JournalsGrew:
        """Both in one: the journals only grow."""
        return JournalsGrew({**self.reached, **newer.reached})


class DaemonStands(Struct, frozen=True):
    """Control tells the publisher how the daemon stands, for the list of daemons."""

    status: str  # starting, running, stopping
    metadata: Mapping[str, str]


class PublisherStands(Struct, frozen=True, kw_only=True):
    """The publisher tells control how it is with the server for outside readers."""

    where: str
    state: str  # connecting, up, degraded; down, where there is no publisher any more
    failing: tuple[str, ...] = ()  # what does not work: the server, or parts of what is published
    at_books: tuple[str, ...] = ()  # those of them that the books fail, and not the server for outside readers
    reason: str = ""
    since_ns: int = 0
    failures: int = 0  # questions that failed
    registered: bool = False  # among the fleet's daemons
    events_published: int = 0
    events_waiting: int = 0  # durable and not yet published
    streams_replaced: int = 0  # that were of other books
    streams_refilled: int = 0  # that the server had lost
    trades_shown: int = 0

    @property
    def trouble(self) -> str:
        """What does not work, and whose fault that is; empty where all goes well."""
        theirs = [part for part in self.failing if part not in self.at_books]
        said = [f"{self.where} fails us ({', '.join(theirs)})"] if theirs else []
        if self.at_books:
            said.append(f"publishing waits for the books ({', '.join(self.at_books)})")
        return f"{' and '.join(said)}, and trading goes on without: {self.reason}" if said else ""


class Alert(Struct, frozen=True):
    """Something that a person should know."""

    account: str
    severity: str
    text: str
