"""What control is made of: whom it talks to, and what it keeps in mind of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.domain.protocol import AccountCommand, AccountReady, FeedProgress, PublisherStands, StoreStands
from tradekeel.ports import Say
from tradekeel.runtime.actor import Actor, ActorRef, MailboxLimits
from tradekeel.runtime.watchdog import Watchdog

ASK_TIMEOUT_S = 10.0
SILENT_S = 60.0
"""So long without a tick is told of a feed that may go silent: the age at which prices deny entries unless a limit says other."""
RATE_OVER_S = 10.0
COUNT_EVERY_S = 0.5


class Notify(Protocol):
    """systemd's notification socket."""

    def ready(self, status: str = "") -> bool:
        """READY=1."""

    def status(self, text: str) -> bool:
        """STATUS=."""

    def watchdog(self) -> bool:
        """WATCHDOG=1."""

    def reloading(self, monotonic_us: int) -> bool:
        """RELOADING=1."""

    def stopping(self, status: str = "") -> bool:
        """STOPPING=1."""

    def extend_timeout(self, seconds: float) -> bool:
        """EXTEND_TIMEOUT_USEC=."""


class AskedFor(Struct, frozen=True):
    """One command of a person, wherever it came from."""

    id: str
    name: str
    arguments: Mapping[str, Any]


class AskedForReload(Struct, frozen=True):
    """Somebody wants the file to be read again; by a signal, nobody waits for the answer."""

    command: AskedFor | None
    until_s: float  # monotonic: how long it is kept while the accounts cannot take it


class CommandDesk(Protocol):
    """The folder of command files and the latch files."""

    def pending(self) -> Sequence[AskedFor]:
        """Commands that nobody has taken yet, in the order in which they are to be obeyed; StoreUnavailable if it cannot tell."""

    def take(self, asked: AskedFor) -> None:
        """This one is being obeyed: it is not pending any more."""

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        """Write what became of one; StoreUnavailable where that cannot be."""

    def hold(self, scope: str, reason: str) -> None:
        """Write the latch file of an account, or of all."""

    def let_go(self, scope: str) -> None:
        """Remove it; an account can be let go alone where all are held."""

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status file; StoreUnavailable where that cannot be."""


class AccountRefs(Struct, frozen=True):
    """How to reach one account."""

    account: str
    executor: ActorRef
    feed: ActorRef


class ControlSettings(Struct, frozen=True, kw_only=True):
    """What control needs to know."""

    name: str
    on_stop: str
    stop_at_feed_end: bool
    stop_timeout_s: float
    watchdog_every_s: float  # how often it is looked whether everybody makes progress: half of what a stall may last
    alive_every_s: float | None = None  # how often the service manager is owed a sign of life; None: it asks for none
    books: str = ""  # which backend and where, for the log
    books_last: bool = True  # whether they outlive the process
    memory_since_ns: int | None = None  # UTC: since when they are in memory because their server was away at the start
    on_store_failure: str = "reduce_only"  # what becomes of trading while their server is away
    stop_extend_s: float = 30.0  # beyond the stop's own timeout, for the tree to end


class KeptAlert(Struct, frozen=True):
    """Something that a person should know of."""

    about: str  # what it is about, where that may be over one day; empty: it is not
    text: str
    time: str  # UTC, when it was said last


class Pace(Struct):
    """How fast an account's ticks have gone: a stretch of the feed, and the time it took (monotonic seconds)."""

    from_position: int
    from_s: float
    progress: FeedProgress | None = None
    at_s: float = 0.0

    @property
    def ticks(self) -> int:
        """Ticks of the stretch."""
        return 0 if self.progress is None else self.progress.position - self.from_position

    @property
    def ticks_per_s(self) -> float | None:
        """Their rate; None before there is one."""
        passed_s = self.at_s - self.from_s
        return self.ticks / passed_s if passed_s > 0 and self.ticks > 0 else None


class Flow(Struct):
    """How an account's ticks come in at the moment, by the clock on the wall (monotonic seconds)."""

    moved_s: float  # when a tick came, or the feed began
    position: int = 0
    said_silent: bool = False  # in the log, since a tick came
    counts: list[tuple[float, int]] = []
    """Ticks that had come at some moments of the last RATE_OVER_S, the oldest first."""

    def see(self, now_s: float, progress: FeedProgress) -> None:
        """It has come so far."""
        if progress.position != self.position:
            self.position, self.moved_s = progress.position, now_s

    def count(self, now_s: float, ticks: int) -> None:
        """So many ticks have come by now, which grows with ticks and not with gaps in their numbers."""
        if self.counts and ticks < self.counts[-1][1]:
            self.counts.clear()  # the feed began anew
        while len(self.counts) > 1 and self.counts[1][0] <= now_s - RATE_OVER_S:
            del self.counts[0]
        if not self.counts or now_s - self.counts[-1][0] >= COUNT_EVERY_S:
            self.counts.append((now_s, ticks))

    def ticks_per_s(self, now_s: float, ticks: int) -> float | None:
        """Their rate over the last seconds; None before there is one."""
        self.count(now_s, ticks)
        since_s, before = self.counts[0]
        return (ticks - before) / (now_s - since_s) if now_s - since_s >= COUNT_EVERY_S else None


class Shell(Actor):
    """What all parts of control share."""

    watchdog: Watchdog  # made on start

    mailbox_limits = MailboxLimits(latest_keys_max=65_536)

    def __init__(
        self,
        settings: ControlSettings,
        accounts: Sequence[AccountRefs],
        desk: CommandDesk,
        notify: Notify,
        reload: Callable[[], Awaitable[str]],
        status_of_process: Callable[[], Mapping[str, Any]],
        say: Say,
        end_process: Callable[[str], object],
        on_stop_command: Callable[[], object] = lambda: None,
        publisher: ActorRef | None = None,
    ) -> None:
        self.settings = settings
        self._accounts = {refs.account: refs for refs in accounts}
        self._desk, self._notify = desk, notify
        self._reload = reload
        self._status_of_process = status_of_process
        self._say = say
        self._end_process = end_process
        self._on_stop_command = on_stop_command  # from then on a signal to stop is a second request
        self._publisher = publisher  # for outside readers; None: nothing is published
        self._publishing: PublisherStands | None = None
        self._failing_said: set[tuple[str, bool]] = (
            set()
        )  # what fails of what is published, at the books or not; said since nothing did
        self._ready: dict[str, AccountReady] = {}
        self._ready_s: dict[str, float] = {}  # since when, monotonic seconds
        self._progress: dict[str, FeedProgress] = {}
        self._ended: set[str] = set()  # accounts whose feeds have ended
        self._closed: set[str] = set()  # those of them that are over: a stop has nothing to do there
        self._alerts: list[KeptAlert] = []
        self._store: StoreStands | None = (
            None  # how it is with the books; None: nothing was heard, as always with a file
        )
        self._told_ready = False
        self._owes_ready = False  # the service manager could not take it yet
        self._without_status = False
        self._without_commands = False
        self._stopping = False
        self._obeying = ""  # the command that the others wait for
        self._kills = 0  # how many are under way beside it
        self._telling: list[tuple[frozenset[str], AccountCommand]] = []  # commands that accounts are being told
        self._stop_reason = ""  # what the accounts are being stopped for
        self._unstopped: set[str] = set()  # the accounts that are being stopped at this moment
        self._stopped = False  # all of them have been: the tree ends
        self._reloads: list[AskedForReload] = []  # the next reload is theirs
        self._reloading = False
        self.rebuilding: str | None = None
        """The account that a reload is starting again: a stop waits for it, so that it is stopped as it should be."""
        # By account and by whom: what it has not taken yet of what was asked.
        self._steering: dict[tuple[str, str], AccountCommand] = {}
        self.pace: dict[str, Pace] = {}
        self._flows: dict[str, Flow] = {}
