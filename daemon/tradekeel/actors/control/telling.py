"""What people and systemd are told: who is ready, how far the feeds are, who hangs, and everything at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tradekeel.actors.control.shell import SILENT_S, AccountRefs, AskedFor, Flow, KeptAlert, Pace, Shell
from tradekeel.domain.counting import counted
from tradekeel.domain.protocol import (
    AccountReady,
    AccountStatus,
    Alert,
    DaemonStands,
    Describe,
    FeedEnded,
    FeedProgress,
    PublisherStands,
)
from tradekeel.errors import StoreUnavailable
from tradekeel.runtime.actor import Lane, Reply
from tradekeel.runtime.clock import NS_PER_S
from tradekeel.runtime.errors import ActorError
from tradekeel.runtime.loop import in_order
from tradekeel.runtime.watchdog import Stuck

ALERTS_KEPT_MAX = 20
STATUS_EVERY_S = 1.0
DESCRIBE_TIMEOUT_S = 1.0
SILENCE = "whoever brings them may be gone, or the market is closed, and no entry is taken on old prices"


class Telling(Shell):
    """Listens to the accounts, and tells of them."""

    # --- the accounts -------------------------------------------------------------------------------------------------

    def _account_ready(self, ready: AccountReady) -> None:
        before = self._ready.get(ready.account)
        self._ready[ready.account] = ready
        if before is None:
            self._ready_s[ready.account] = self.clock.monotonic()
            self.pace[ready.account] = Pace(0, self.clock.monotonic())
            self._log_recovery(ready)
        if before is None or before.trading is not ready.trading:
            if ready.trading:
                words = f"{ready.why or 'is reconciled'}{'' if ready.held else ' and trading'}"
                self._say("INFO", f"{ready.account} {words}", account=ready.account)
            else:
                self._say("WARNING", f"{ready.account} is not trading: {ready.why}", account=ready.account)
            for why in ready.held:
                self._say("WARNING", f"{ready.account} {why}", account=ready.account)
        if len(self._ready) == len(self._accounts) and not self._told_ready:
            self._told_ready = True
            self._tell_ready()
            self.spawn(self.publish_status)  # whoever waited for READY looks now, and not in a second

    def _tell_ready(self) -> None:
        """Owed until the manager takes it: without it, it ends a start, or a reload, that succeeded."""
        self._owes_ready = not self._notify.ready(self._status_line())

    def _log_recovery(self, ready: AccountReady) -> None:
        """What was found on the disk, the first five of it by name."""
        name = ready.account
        found = f"{counted(ready.recovered_orders, 'order')} and {counted(ready.recovered_trades, 'trade')}"
        self._say("INFO", f"{name}: recovered {found} from {self.settings.books}", account=name)
        for line in ready.first_five:
            self._say("INFO", f"recovered {line}", account=name)

    def _feed_progress(self, progress: FeedProgress) -> None:
        before = self._progress.get(progress.account)
        self._progress[progress.account] = progress
        now_s = self.clock.monotonic()
        flow = self._flows.setdefault(progress.account, Flow(now_s, counts=[]))
        flow.see(now_s, progress)
        if not flow.counts:
            flow.count(now_s, progress.quality.get("ticks", 0))
        pace = self.pace.setdefault(progress.account, Pace(0, self.clock.monotonic()))
        stands_still = before is None or before.position == progress.position == pace.from_position
        if stands_still and progress.share != 1.0:
            # Where the feed went on from is not known, so the stretch begins here (unless this is all there will be).
            pace.from_position, pace.from_s = progress.position, self.clock.monotonic()
        pace.progress, pace.at_s = progress, self.clock.monotonic()

    def _feed_ended(self, ended: FeedEnded) -> None:
        self._ended.add(ended.account)
        if ended.closed:
            self._closed.add(ended.account)
        stays = "" if ended.closed else "; the account stays as it is until a stop"
        self._say("INFO", f"the feed of {ended.account} has ended{stays}", account=ended.account)
        if self.settings.stop_at_feed_end and len(self._ended) == len(self._accounts):
            self._stopping = True
            self._notify.stopping("the feeds have ended")
            self._tell_publisher()
            self.system.request_stop()

    def _alert(self, alert: Alert) -> None:
        self._warn(alert.severity, alert.text, account=alert.account)

    def _keep_alert(self, about: str, text: str) -> None:
        """Keep it for whoever looks, with its time; said again it takes the place of what it said before.

        ``about`` is what may be over one day (:meth:`_is_past`), or empty.
        """
        self._alerts = [kept for kept in self._alerts if kept.text != text and not (about and kept.about == about)]
        since = datetime.fromtimestamp(self.clock.now_ns() // NS_PER_S, UTC)
        self._alerts.append(KeptAlert(about, text, f"{since:%Y-%m-%dT%H:%M:%SZ}"))
        del self._alerts[:-ALERTS_KEPT_MAX]

    def _is_past(self, about: str) -> None:
        """What was said about this does not hold any more: the log has it."""
        self._alerts = [kept for kept in self._alerts if kept.about != about]

    def _warn(self, severity: str, text: str, **fields: str) -> None:
        self._keep_alert("", text)
        self._say("ERROR" if severity == "critical" else "WARNING", text, **fields)

    @property
    def is_over(self) -> bool:
        """Whether the executions of all accounts are closed, since their feeds have ended."""
        return len(self._closed) == len(self._accounts)

    @property
    def ended(self) -> frozenset[str]:
        """The accounts whose feeds have ended."""
        return frozenset(self._ended)

    @property
    def is_stopping(self) -> bool:
        """Whether the process is about to end."""
        return self._stopping

    @property
    def store_is_away(self) -> bool:
        """Whether the books are on a server, and that has not got everything: no account can be loaded from it."""
        return self._store is not None and not self._store.is_direct

    @property
    def is_starting(self) -> bool:
        """Whether READY is still to come, and may."""
        return not (self._told_ready or self._stopping)

    # --- keeping others informed --------------------------------------------------------------------------------------

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

    async def _keep_status(self) -> None:
        while True:
            await self.clock.sleep(STATUS_EVERY_S)
            await self.publish_status()

    async def publish_status(self) -> None:
        """Tell systemd a line, and write the status file."""
        if self._owes_ready and not self._stopping:
            self._tell_ready()
        elif self._told_ready and not self._stopping:
            self._notify.status(self._status_line())
        self._look_for_silence()
        self._tell_publisher()
        self._write_status(await self.describe())

    def _ticks_per_s(self, account: str, now_s: float) -> float | None:
        """Over the last seconds; of a recorded market that was over before they were, over all of it."""
        progress = self._progress[account]
        rate = self._flows[account].ticks_per_s(now_s, progress.quality.get("ticks", 0))
        if rate is None and not progress.may_go_silent and account in self.pace:
            return self.pace[account].ticks_per_s
        return rate

    def _silent_s(self, account: str) -> float | None:
        """How long no tick has come where that is news, in seconds; None where it is none."""
        progress, flow = self._progress[account], self._flows[account]
        if not progress.may_go_silent or account in self._ended or account not in self._ready:
            return None
        silent_s = self.clock.monotonic() - max(flow.moved_s, self._ready_s[account])
        return silent_s if silent_s >= SILENT_S else None

    def _look_for_silence(self) -> None:
        """Whoever trades on a feed that another process or a market brings does not see by himself that nothing comes."""
        for account, progress in self._progress.items():
            flow, silent_s = self._flows[account], self._silent_s(account)
            about = f"feed of {account}"
            if silent_s is None and flow.said_silent:
                flow.said_silent = False
                self._is_past(about)
                if not self._stopping:
                    self._say("INFO", f"{about}: ticks come again", account=account)
            elif silent_s is not None and not flow.said_silent and not self._stopping:
                flow.said_silent = True
                why = f"it waits: {progress.waits}" if progress.waits else SILENCE
                text = f"{about}: no tick has come for {silent_s:.0f} s; {why}"
                self._keep_alert(about, text)
                self._say("WARNING", text, account=account)

    def _tell_publisher(self) -> None:
        """How the daemon stands, for the list of daemons. Told again and again: a publisher that died begins with nothing."""
        if self._publisher is None or not self._publisher.alive:
            return
        status = "stopping" if self._stopping else "running" if self._told_ready else "starting"
        metadata = {"accounts": ", ".join(self._accounts), "books": self.settings.books, "trading": self._trading()}
        if self._store is not None and not self._store.is_direct:
            metadata["store"] = self._store.mode
        silent = [name for name, flow in self._flows.items() if flow.said_silent]
        if silent:
            metadata["without_ticks"] = ", ".join(silent)
        self._publisher.latest("daemon", DaemonStands(status, metadata))

    def _publisher_stands(self, stands: PublisherStands) -> None:
        """What is published may be late, and nothing else: it is said once, and once more when it is made up for.

        On a server that is full one part fails now and another then: each is said once until all of them are well again.
        """
        self._publishing = stands
        if not stands.failing:
            if self._failing_said:
                self._is_past("redis")
                of_books = all(at_books for _, at_books in self._failing_said)
                back = "the books can be read again" if of_books else f"{stands.where} is back"
                self._say("INFO", f"{back}: what was to be published meanwhile is made up for")
            self._failing_said.clear()
        elif not self._failing_said.issuperset(failing := {(part, part in stands.at_books) for part in stands.failing}):
            self._failing_said.update(failing)
            self._keep_alert("redis", stands.trouble)
            self._say("WARNING", stands.trouble)

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

    def _write_answer(self, asked: AskedFor, ok: bool, said: str) -> None:
        """Whoever asked waits for the file; where it cannot be written, the log is where it stands."""
        try:
            self._desk.answer(asked, ok, said)
        except StoreUnavailable as error:
            self._say("ERROR", f"the answer to {asked.name} cannot be written: {error}", correlation_id=asked.id)

    async def _describe_to(self, reply: Reply) -> None:
        reply.send(await self.describe())

    async def describe(self) -> dict[str, Any]:
        """Everything there is to say about this process, as JSON values."""
        asks = [partial(self._described, refs) for refs in self._accounts.values()]
        accounts = dict(zip(self._accounts, await in_order(asks, len(asks)), strict=True)) if asks else {}
        now_s = self.clock.monotonic()
        rates = {name: self._ticks_per_s(name, now_s) for name in self._progress}
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
                    "silent_s": None if (silent_s := self._silent_s(name)) is None else round(silent_s),
                    "waits": p.waits,
                    "quality": dict(p.quality),
                    "ended": name in self._ended,
                }
                for name, p in self._progress.items()
            },
            "alerts": [f"{kept.text} (at {kept.time})" for kept in self._alerts],
            "store": self._store_status(),
            "redis": self._redis_status(),
            **self._status_of_process(),
        }

    async def _described(self, refs: AccountRefs) -> dict[str, Any]:
        """What an account says of itself. One that is busy for long is not waited for: the others' news would get old."""
        try:
            status = await refs.executor.ask(Describe(), timeout_s=DESCRIBE_TIMEOUT_S, lane=Lane.CONTROL)
        except ActorError as error:
            return {"state": f"no answer: {error}"}
        assert isinstance(status, AccountStatus)
        return {field: getattr(status, field) for field in status.__struct_fields__}

    def _store_status(self) -> dict[str, Any]:
        """Where the books are, how it is with them, and whether what is acknowledged now survives a kill."""
        store = self._store
        return {
            "books": self.settings.books,
            "memory_since_ns": self.settings.memory_since_ns,
            "mode": "direct" if store is None else store.mode,
            "reason": "" if store is None else store.reason,
            "since_ns": None if store is None else store.since_ns,
            "breaker": "" if store is None else store.breaker,
            "batches_waiting": 0 if store is None else store.batches,
            "bytes_waiting": 0 if store is None else store.size_bytes,
            "on_failure": self.settings.on_store_failure,
            "promise_holds": self.settings.books_last and (store is None or store.durable),
        }

    def _redis_status(self) -> dict[str, Any] | None:
        """How it is with the server for outside readers; None where there is none."""
        if self._publisher is None:
            return None
        stands = self._publishing or PublisherStands(where="", state="connecting")
        said = {field: getattr(stands, field) for field in stands.__struct_fields__} | {"trouble": stands.trouble}
        if self._publisher.alive or self._publishing is None:
            return said
        return said | {"state": "stopped" if self._stopping else "down"}

    def _trading(self) -> str:
        trading = sum(1 for r in self._ready.values() if r.trading and not r.held)
        return f"{trading} of {len(self._accounts)}"

    def _status_line(self) -> str:
        parts = [f"{self._trading()} {'account' if len(self._accounts) == 1 else 'accounts'} trading"]
        if self._publishing is not None and self._publishing.failing:
            parts.append("what is published is late")
        if self._store is not None and self.store_is_away:
            parts.append(f"the books' server is away, {counted(self._store.batches, 'batch waits', 'batches wait')}")
        if not self._store_status()["promise_holds"]:
            parts.append("nothing is kept beyond this process")
        parts.extend(f"{name}: {r.why}" for name, r in self._ready.items() if not r.trading)
        parts.extend(f"{name} {why}" for name, r in self._ready.items() for why in r.held)
        parts.extend(f"{name} at tick {p.position}" for name, p in self._progress.items())
        return "; ".join(parts)
