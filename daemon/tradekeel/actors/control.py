"""Control: where people and the service manager meet the daemon.

Signals and command files come in; systemd is told READY, STATUS, WATCHDOG, RELOADING and STOPPING; a status file is
kept for whoever looks. Control decides nothing about trading: a command goes to the executor of each account it is
for.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.domain.protocol import (
    AccountCommand,
    AccountReady,
    AccountStatus,
    Alert,
    Command,
    Describe,
    FeedEnded,
    FeedProgress,
    StopFeed,
)
from tradekeel.domain.records import Latch
from tradekeel.errors import StoreUnavailable, TradekeelError
from tradekeel.runtime.actor import Actor, ActorRef, Lane, MailboxLimits, Reply
from tradekeel.runtime.errors import ActorDied, ActorError
from tradekeel.runtime.loop import in_order
from tradekeel.runtime.watchdog import Stuck, Watchdog

ASK_TIMEOUT_S = 10.0
ALERTS_KEPT_MAX = 20
OUTCOMES = ("not_sent", "rejected", "canceled", "expired")
"""What a person may say has become of an order that nobody else can tell."""
TELL_AGAIN_S = 0.02
STATUS_EVERY_S = 1.0
BESIDE = ("reload", "stop")
"""Commands of the process: they wait for no other. The rest is obeyed one after another; a kill waits for a release only."""
LOOK_EVERY_S = 0.25
"""How often the command folder is looked at without being told: a signal says "look now", this covers a lost one."""


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


class CommandDesk(Protocol):
    """The folder of command files and the latch files."""

    def pending(self) -> Sequence[AskedFor]:
        """Commands that nobody has taken yet, in the order in which they are to be obeyed."""

    def take(self, asked: AskedFor) -> None:
        """This one is being obeyed: it is not pending any more."""

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        """Write what became of one."""

    def hold(self, scope: str, reason: str) -> None:
        """Write the latch file of an account, or of all."""

    def let_go(self, scope: str) -> None:
        """Remove it; an account can be let go alone where all are held."""

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status file; StoreUnavailable where that cannot be."""


class Say(Protocol):
    """Writes a line of the log; ``fields`` are shown behind it."""

    def __call__(self, level: str, text: str, **fields: str) -> None: ...


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
    stop_extend_s: float = 30.0  # beyond the stop's own timeout, for the tree to end


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


class SignalArrived(Struct, frozen=True):
    """A signal was delivered to the process."""

    number: int


class DescribeProcess(Struct, frozen=True):
    """Answer with everything there is to say about this process, as :meth:`Control.describe` does."""


class _Look(Struct, frozen=True):
    """Look at the command folder."""


class Control(Actor):
    """See the module. ``reload`` reads the file again and applies it; it raises with a sentence when nothing was changed."""

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
    ) -> None:
        self.settings = settings
        self._accounts = {refs.account: refs for refs in accounts}
        self._desk, self._notify = desk, notify
        self._reload = reload
        self._status_of_process = status_of_process
        self._say = say
        self._end_process = end_process
        self._ready: dict[str, AccountReady] = {}
        self._progress: dict[str, FeedProgress] = {}
        self._ended: set[str] = set()
        self._alerts: list[str] = []
        self._told_ready = False
        self._without_status = False
        self._stopping = False
        self._obeying = ""  # the command that the others wait for
        self._unstopped: set[str] = set()
        self._steering: dict[str, AccountCommand] = {}  # what a signal asked for and an account has not taken yet
        self.pace: dict[str, Pace] = {}

    async def on_start(self) -> None:
        self.watchdog = Watchdog(self.system, self.settings.watchdog_every_s * 2, self._stuck)
        self.spawn(self._keep_watch)
        self.spawn(self._keep_looking)
        self.spawn(self._keep_status)

    async def on_stop(self) -> None:
        """The last word: the accounts are gone, how far the feeds came is not."""
        self._stopping = True
        self._write_status(await self.describe())

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case SignalArrived(number):
                await self._signal(signal.Signals(number))
            case AccountReady():
                self._account_ready(message)
            case FeedProgress():
                self._feed_progress(message)
            case DescribeProcess():
                assert reply is not None
                self.spawn(self._describe_to, reply)
            case FeedEnded():
                self._feed_ended(message)
            case Alert():
                self._alert(message)
            case _Look():
                self._look()
            case _:
                raise TypeError(f"control does not know {type(message).__name__}")

    # --- signals and commands --------------------------------------------------------------------------------------------

    async def _signal(self, number: signal.Signals) -> None:
        self._say("DEBUG" if number is signal.SIGURG else "INFO", f"signal {number.name}")
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.begin_stop(f"signal {number.name}")
            case signal.SIGUSR1:
                self._steer(Command.PAUSE, "signal SIGUSR1")
            case signal.SIGUSR2:
                self._steer(Command.RESUME, "signal SIGUSR2")
            case signal.SIGHUP:
                self.spawn(self._reload_now, None)
            case _:
                self._look()

    def _look(self) -> None:
        """What is done beside the others begins at once; of the rest the next one, when the one before it is done."""
        for asked in self._desk.pending():
            kills_at_once = asked.name == Command.KILL and self._obeying not in ("", Command.RELEASE)
            if asked.name in BESIDE or kills_at_once:
                self._desk.take(asked)
                self.spawn(self._obey, asked)
            elif not self._obeying:
                self._obeying = asked.name
                self._desk.take(asked)
                self.spawn(self._obey_in_turn, asked)

    async def _obey_in_turn(self, asked: AskedFor) -> None:
        await self._obey(asked)
        self._obeying = ""
        self.post(_Look())

    async def _obey(self, asked: AskedFor) -> None:
        given = "".join(f" {name}={value}" for name, value in asked.arguments.items())
        self._say("INFO", f"command {asked.name}{given}")
        match asked.name:
            case "stop":
                self._desk.answer(asked, True, "stopping")
                self.begin_stop("command")
                return
            case "reload":
                await self._reload_now(asked)
                return
        try:
            command = Command(asked.name)
        except ValueError:
            known = ", ".join([c.value for c in Command] + ["reload", "stop"])
            self._desk.answer(asked, False, f"unknown command {asked.name!r}; known are {known}")
            return
        self._desk.answer(asked, *await self._command(command, asked.arguments))

    async def _command(self, command: Command, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        account = arguments.get("account")
        if account is not None and account not in self._accounts:
            return False, f"there is no account {account!r}; accounts are {', '.join(self._accounts)}"
        reason, by = str(arguments.get("reason") or "by command"), str(arguments.get("by") or "operator")
        order, outcome = str(arguments.get("order") or ""), str(arguments.get("outcome") or "")
        if command is Command.RESOLVE and outcome not in OUTCOMES:
            return False, f"{outcome!r} is no outcome; an unknown order can be {', '.join(OUTCOMES)}"
        message = AccountCommand(command, by, reason, client_order_id=order, outcome=outcome)
        if command is Command.RELEASE:
            self._desk.let_go(account or "all")
        names = [account] if account else list(self._accounts)
        try:
            said = await in_order([partial(self._tell, self._accounts[name], message) for name in names], len(names))
        finally:
            if command is Command.KILL:  # in memory first, which is quicker; then for the processes to come
                self._desk.hold(account or "all", reason)
        if command is Command.RESOLVE:
            return _resolved(said)
        if command is Command.KILL:
            said = [
                (ok, text if ok else f"{text} (the latch file holds it from its next start on)") for ok, text in said
            ]
        return all(ok for ok, _ in said), "; ".join(text for _, text in said)

    def _steer(self, command: Command, reason: str) -> None:
        """Nobody answers a signal, and it must not be lost: each account gets it as soon as it can take it, the newest last."""
        message = AccountCommand(command, "signal", reason)
        for name, refs in self._accounts.items():
            if name not in self._steering:
                self.spawn(self._hand_over, refs)
            self._steering[name] = message

    async def _hand_over(self, refs: AccountRefs) -> None:
        while True:
            message = self._steering[refs.account]
            taken, said = await self._tell(refs, message)
            self._say(
                "INFO" if taken else "WARNING", said if taken else f"{said}; it is told again", account=refs.account
            )
            if taken and self._steering[refs.account] is message:
                del self._steering[refs.account]
                return

    async def _tell(self, refs: AccountRefs, message: AccountCommand) -> tuple[bool, str]:
        """An account that is between two incarnations is waited for; one that is there and does not answer is not."""
        deadline_s = self.clock.monotonic() + ASK_TIMEOUT_S
        while True:
            left_s = deadline_s - self.clock.monotonic()
            try:
                return True, await refs.executor.ask(message, timeout_s=max(left_s, TELL_AGAIN_S), lane=Lane.CONTROL)
            except ActorDied as error:
                if left_s <= 0:
                    return False, f"{refs.account} did not take it: {error}"
                await self.clock.sleep(TELL_AGAIN_S)
            except ActorError as error:
                return False, f"{refs.account} did not take it: {error}"

    async def _reload_now(self, asked: AskedFor | None) -> None:
        self._notify.reloading(int(self.clock.monotonic() * 1_000_000))
        try:
            said = await self._reload()
        except TradekeelError as error:  # whatever is wrong with the file, the old configuration stays whole
            self._say("ERROR", f"reload refused, the old configuration stays in force: {error}")
            ok, said = False, f"refused, the old configuration stays in force: {error}"
        else:
            self._say("INFO", f"reloaded: {said}")
            ok = True
        finally:
            self._notify.ready(self._status_line())
        if asked is not None:
            self._desk.answer(asked, ok, said)

    # --- the accounts ----------------------------------------------------------------------------------------------------

    def _account_ready(self, ready: AccountReady) -> None:
        before = self._ready.get(ready.account)
        self._ready[ready.account] = ready
        if before is None:
            self.pace[ready.account] = Pace(0, self.clock.monotonic())
            self._log_recovery(ready)
            self.spawn(self._log_restraint, ready.account)
        if before is None or before.trading is not ready.trading:
            if ready.trading:
                self._say("INFO", f"{ready.account} is reconciled and trading", account=ready.account)
            else:
                self._say("WARNING", f"{ready.account} is not trading: {ready.why}", account=ready.account)
        if len(self._ready) == len(self._accounts) and not self._told_ready:
            self._told_ready = True
            self._notify.ready(self._status_line())

    def _log_recovery(self, ready: AccountReady) -> None:
        """What was found on the disk, the first five of it by name."""
        name = ready.account
        found = f"{ready.recovered_orders} orders and {ready.recovered_trades} trades"
        self._say("INFO", f"{name}: recovered {found} from {self.settings.books}", account=name)
        for line in ready.first_five:
            self._say("INFO", f"recovered {line}", account=name)

    async def _log_restraint(self, account: str) -> None:
        """What was durable and holds the account back: somebody may wonder why nothing is traded."""
        try:
            status = await self._accounts[account].executor.ask(Describe(), timeout_s=ASK_TIMEOUT_S, lane=Lane.CONTROL)
        except ActorError:
            return  # it is down again, and says the same when it is back
        assert isinstance(status, AccountStatus)
        if status.latch is not Latch.OPEN:
            why = f"{account} is {status.latch.value}: {status.latch_reason} (tradekeel release)"
            self._say("WARNING", why, account=account)
        if status.paused:
            self._say("WARNING", f"{account} is paused: no new entries (tradekeel resume)", account=account)

    def _feed_progress(self, progress: FeedProgress) -> None:
        before = self._progress.get(progress.account)
        self._progress[progress.account] = progress
        pace = self.pace.setdefault(progress.account, Pace(0, self.clock.monotonic()))
        if before is None and progress.share != 1.0:
            # Where the feed went on from is not known, so the stretch begins here (unless this is all there will be).
            pace.from_position, pace.from_s = progress.position, self.clock.monotonic()
        pace.progress, pace.at_s = progress, self.clock.monotonic()

    def _feed_ended(self, ended: FeedEnded) -> None:
        self._ended.add(ended.account)
        self._say("INFO", f"the feed of {ended.account} has ended", account=ended.account)
        if self.settings.stop_at_feed_end and len(self._ended) == len(self._accounts):
            self._stopping = True
            self._notify.stopping("the feeds have ended")
            self.system.request_stop()

    def _alert(self, alert: Alert) -> None:
        self._alerts.append(alert.text)
        del self._alerts[:-ALERTS_KEPT_MAX]
        self._say("ERROR" if alert.severity == "critical" else "WARNING", alert.text, account=alert.account)

    @property
    def is_over(self) -> bool:
        """Whether the feeds of all accounts have ended."""
        return len(self._ended) == len(self._accounts)

    @property
    def is_starting(self) -> bool:
        """Whether READY is still to come, and may."""
        return not (self._told_ready or self._stopping)

    # --- stopping --------------------------------------------------------------------------------------------------------

    def begin_stop(self, reason: str) -> None:
        """Stop in order. A second request is the process's own business (see runtime/signals.py)."""
        if self._stopping:
            return
        self._stopping = True
        self._say("INFO", f"stopping: {reason}")
        self._notify.stopping(f"stopping: {reason}")
        self._stop_in_order(reason)

    def _stop_in_order(self, reason: str) -> None:
        """Every account at once; the last one that is done ends the rest."""
        ready = (name for name, account in self._ready.items() if account.reconciled)
        self._unstopped = {name for name in ready if name not in self._ended}
        self._notify.extend_timeout(self.settings.stop_timeout_s + self.settings.stop_extend_s)
        for name in self._unstopped:
            self.spawn(self._stop_account, self._accounts[name], reason)
        if not self._unstopped:  # before recovery is done there is nothing to save
            self.system.request_stop()

    async def _stop_account(self, refs: AccountRefs, reason: str) -> None:
        try:
            await refs.feed.ask(
                StopFeed(reason, self.settings.on_stop, self.settings.stop_timeout_s / 2),
                timeout_s=self.settings.stop_timeout_s,
            )
        except ActorError as error:
            why = f"{refs.account} did not stop in order, its last saved state stands: {error}"
            self._say("WARNING", why, account=refs.account)
        self._unstopped.discard(refs.account)
        if not self._unstopped:
            self.system.request_stop()

    # --- keeping others informed -----------------------------------------------------------------------------------------

    async def _keep_watch(self) -> None:
        while True:
            settings = self.settings
            await self.clock.sleep(min(settings.watchdog_every_s, settings.alive_every_s or settings.watchdog_every_s))
            if self.watchdog.healthy():
                self._notify.watchdog()

    def _stuck(self, stuck: Stuck) -> None:
        """Nobody can take the place of an actor that hangs: the process ends, and is started again from the disk."""
        where = "in a handler" if stuck.in_handler else f"with {stuck.mail_depth} messages waiting"
        why = f"{stuck.actor} has made no progress for {stuck.for_s:.1f} s, {where}"
        self._say("ERROR", why)
        self._end_process(why)

    async def _keep_looking(self) -> None:
        while True:
            self._look()
            await self.clock.sleep(LOOK_EVERY_S)

    async def _keep_status(self) -> None:
        while True:
            await self.clock.sleep(STATUS_EVERY_S)
            await self.publish_status()

    async def publish_status(self) -> None:
        """Tell systemd a line, and write the status file."""
        if self._told_ready and not self._stopping:
            self._notify.status(self._status_line())
        self._write_status(await self.describe())

    def _write_status(self, status: Mapping[str, Any]) -> None:
        """The file is for looking at: where the disk does not take it, trading goes on without (degrade), and says so once."""
        try:
            self._desk.write_status(status)
        except StoreUnavailable as error:
            if not self._without_status:
                self._say("WARNING", f"the status file cannot be written, what it says is old: {error}")
            self._without_status = True
        else:
            self._without_status = False

    async def _describe_to(self, reply: Reply) -> None:
        reply.send(await self.describe())

    async def describe(self) -> dict[str, Any]:
        """Everything there is to say about this process, as JSON values."""
        accounts: dict[str, Any] = {}
        for name, refs in self._accounts.items():
            try:
                status = await refs.executor.ask(Describe(), timeout_s=ASK_TIMEOUT_S, lane=Lane.CONTROL)
            except ActorError as error:
                accounts[name] = {"state": f"no answer: {error}"}
                continue
            assert isinstance(status, AccountStatus)
            accounts[name] = {field: getattr(status, field) for field in status.__struct_fields__}
        rates = {name: pace.ticks_per_s for name, pace in self.pace.items()}
        return {
            "name": self.settings.name,
            "ready": self._told_ready,
            "stopping": self._stopping,
            "healthy": self.watchdog.healthy(),
            "accounts": accounts,
            "feeds": {
                name: {
                    "position": p.position,
                    "total": p.total,
                    "share": p.share,
                    "ts_ns": p.ts_ns,
                    "ticks_per_s": None if (rate := rates.get(name)) is None else round(rate, 1),
                    "quality": dict(p.quality),
                    "ended": name in self._ended,
                }
                for name, p in self._progress.items()
            },
            "alerts": list(self._alerts),
            **self._status_of_process(),
        }

    def _status_line(self) -> str:
        trading = sum(1 for r in self._ready.values() if r.trading)
        parts = [f"{trading} of {len(self._accounts)} accounts trading"]
        parts.extend(f"{name}: {r.why}" for name, r in self._ready.items() if not r.trading)
        parts.extend(f"{name} at tick {p.position}" for name, p in self._progress.items())
        return "; ".join(parts)


def _resolved(said: Sequence[tuple[bool, str]]) -> tuple[bool, str]:
    """One account had the order, the others say that they do not know it."""
    done = [text for ok, text in said if ok and not text.startswith("nothing done")]
    return (True, "; ".join(done)) if done else (False, "; ".join(text for _, text in said))
