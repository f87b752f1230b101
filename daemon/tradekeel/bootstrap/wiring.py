"""Builds the tree of actors for a plan, as drawn in docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from tradekeel import __version__, logs
from tradekeel.actors.control import AccountRefs, Control, ControlSettings
from tradekeel.actors.executor import Chronicle, Executor, ExecutorSettings
from tradekeel.actors.feed import ConductorSettings, Feed
from tradekeel.actors.monitor import Monitor
from tradekeel.actors.publisher import Publisher
from tradekeel.actors.recorder import Recorder
from tradekeel.actors.scheduler import Job, Scheduler
from tradekeel.actors.session import Session
from tradekeel.actors.strategist import Failures, Strategist
from tradekeel.actors.sync import Sync
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.opening import on_store_failure
from tradekeel.bootstrap.plan import AccountPlan, Plan, StrategyPlan, account_instruments, strategy_row
from tradekeel.bootstrap.preparing import WAIT_FOR_FEED_S, Preparing
from tradekeel.bootstrap.publishing import make_publisher, supervised
from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.bootstrap.sharing import READS_A_STREAM, Sharing
from tradekeel.bootstrap.telling import actor_figures, say
from tradekeel.config import SNAPSHOTS_S
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.monitor import MonitorCore
from tradekeel.domain.protocol import Attached, ReconcileNow, TakeSnapshot
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.rows import Mode, StrategyStatus
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import DataError
from tradekeel.ports import Feed as Source
from tradekeel.ports import FeedInfo
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.clock import new_id
from tradekeel.runtime.faults import point
from tradekeel.runtime.loop import BlockingWorker, end_process
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.reference import ActorRef
from tradekeel.runtime.restart import Intensity, RestartType, Strategy
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.storage.sqlite import InMemory
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore
from tradekeel.strategies.saving import decode_execution_state
from tradekeel.venues.paper import PaperVenue

ACCOUNT_RESTARTS = Intensity(5, 60.0)
STRATEGIST_RESTARTS = Intensity(100, 60.0)
ROOT_RESTARTS = Intensity(0, 1.0)
"""The recorder and control have no second chance: when one fails, the process ends and starts again from disk."""

SHARER_RESTARTS = Intensity(0, 1.0)
"""A sharer that fails for a reason of its own is left down, beside an account that goes on."""


class Names(Struct, frozen=True):
    """What the actors of an account are called."""

    account: str

    def of(self, part: str) -> str:
        """The directory name of one part."""
        return f"{self.account}/{part}"


class Builder(Preparing):
    """Builds one house: first :meth:`prepare`, which takes its time, then :meth:`build`, after which each actor opens its own."""

    def __init__(
        self,
        plan: Plan,
        statedir: StateDir,
        system: ActorSystem,
        notify: Notifier,
        reload: Callable[[], Awaitable[str]],
        *,
        fresh: bool = False,
        stop_asked: Callable[[], bool] = lambda: False,
        on_stop_command: Callable[[], object] = lambda: None,
        alive_every_s: float | None = None,
    ) -> None:
        super().__init__(plan, statedir, system, fresh=fresh, stop_asked=stop_asked)
        self.notify = notify
        self.reload = reload
        self.alive_every_s = alive_every_s
        self._on_stop_command = on_stop_command
        self._sharing = Sharing(plan.config, plan.accounts)
        self._chronicles: dict[str, Chronicle] = {}
        self.reader = self._worker("configuration")  # has a thread once there is a reload
        self.control: Control | None = None  # the one that lives, or lived last

    # --- the tree ---------------------------------------------------------------------------------------------------------

    def build(self) -> Supervisor:
        """The whole tree, root first."""
        children = [
            # Books that are large and old are copied and migrated first: that takes its time.
            ChildSpec("recorder", self._recorder, start_timeout_s=None, shutdown_s=10.0),
            ChildSpec("control", self._control, shutdown_s=5.0),
        ]
        if self.plan.config.redis.url:
            children.append(supervised(self._publisher))  # it ends behind the accounts, whose last records it publishes
        children.extend(
            ChildSpec(account.config.name, partial(self._account, account.config.name), start_timeout_s=None)
            for account in self.plan.accounts
        )
        children.append(ChildSpec("scheduler", lambda: Scheduler(self._jobs())))
        return Supervisor("root", Strategy.ONE_FOR_ALL, children, ROOT_RESTARTS)

    # --- root ------------------------------------------------------------------------------------------------------------

    def _recorder(self) -> Recorder:
        worker = self._worker("recorder")
        rows_max, control = self.plan.config.storage.commit_rows_max, self.system.ref("control")
        return Recorder(self.open_books, worker, rows_max, control, self._publisher_ref)

    def _publisher(self) -> Publisher:
        accounts = tuple(account.config.name for account in self.plan.accounts)
        worker, installation = self._worker("publisher", may_be_left=True), self.statedir.installation(new_id)
        return make_publisher(self.plan.config, accounts, self.books, worker, installation, self.system.ref("control"))

    @property
    def _publisher_ref(self) -> ActorRef | None:
        return self.system.ref("publisher") if self.plan.config.redis.url else None

    def control_settings(self) -> ControlSettings:
        """What the plan in force says about control."""
        daemon = self.plan.config.daemon
        return ControlSettings(
            name=daemon.name,
            on_stop=daemon.on_stop,
            stop_at_feed_end=daemon.on_feed_end == "stop",
            stop_timeout_s=daemon.stop_timeout_s,
            watchdog_every_s=daemon.stall_limit_s / 2,
            alive_every_s=self.alive_every_s,
            books=self._opener.described,
            books_last=not isinstance(self.books, InMemory),
            memory_since_ns=self._opener.memory_since_ns,
            on_store_failure=on_store_failure(self.plan.config),
        )

    def _control(self) -> Control:
        settings = self.control_settings()
        accounts = [
            AccountRefs(
                a.config.name,
                self.system.ref(Names(a.config.name).of("executor")),
                self.system.ref(Names(a.config.name).of("feed")),
            )
            for a in self.plan.accounts
        ]
        self.control = Control(
            settings,
            accounts,
            Desk(self.statedir),
            self.notify,
            self.reload,
            self._process_status,
            say,
            end_process,
            self._on_stop_command,
            self._publisher_ref,
        )
        return self.control

    def _process_status(self) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "ts_ns": self.system.clock.now_ns(),
            "config": str(self.plan.config.source),
            "actors": actor_figures(self.system),
            "dead_letters": self.system.dead_letters.total,
        }

    def _jobs(self) -> list[Job]:
        jobs: list[Job] = []
        for account in self.plan.accounts:
            names = Names(account.config.name)
            given = self.plan.config.storage.snapshot_schedule
            snapshot = trigger_of(SNAPSHOTS_S if given is None else given)
            if snapshot is not None:
                jobs.append(Job(names.of("snapshot"), snapshot, self.system.ref(names.of("monitor")), TakeSnapshot()))
            sync = trigger_of(account.config.sync_schedule)
            if sync is not None:
                jobs.append(Job(names.of("sync"), sync, self.system.ref(names.of("executor")), ReconcileNow()))
        return jobs

    # --- one account -----------------------------------------------------------------------------------------------------

    def _account(self, name: str) -> Supervisor:
        account = next(
            a for a in self.plan.accounts if a.config.name == name
        )  # the plan in force now: a reload changes it
        names = Names(name)
        failures = {s.config.name: Failures() for s in account.strategies}
        strategists = [
            ChildSpec(
                names.of(f"strategist/{s.config.name}"),
                partial(self._strategist, account, s, failures[s.config.name]),
                restart=RestartType.PERMANENT,
            )
            for s in account.strategies
        ]
        children = [
            ChildSpec(names.of("session"), partial(self._session, account), start_timeout_s=None),
            ChildSpec(names.of("sync"), partial(self._sync, account)),
            ChildSpec(names.of("executor"), partial(self._executor, account), start_timeout_s=None, shutdown_s=10.0),
            ChildSpec(names.of("monitor"), partial(self._monitor, account)),
            ChildSpec(
                names.of("strategists"),
                lambda: Supervisor(names.of("strategists"), Strategy.ONE_FOR_ONE, strategists, STRATEGIST_RESTARTS),
            ),
            ChildSpec(names.of("feed"), partial(self._feed, account), start_timeout_s=None),
        ]
        if self._sharing.shares(name):
            children.append(ChildSpec(names.of("sharing"), partial(self._sharing_beside, account)))
        return Supervisor(account.config.name, Strategy.REST_FOR_ONE, children, ACCOUNT_RESTARTS)

    def _sharing_beside(self, account: AccountPlan) -> Supervisor:
        names, info = Names(account.config.name), self._info(account)
        sharer, control = self.system.ref(names.of("sharer")), self.system.ref("control")
        make = partial(self._sharing.sharer, names.account, info, sharer, control)
        child = ChildSpec(names.of("sharer"), make, restart=RestartType.TEMPORARY)
        return Supervisor(names.of("sharing"), Strategy.ONE_FOR_ONE, [child], SHARER_RESTARTS)

    def _session(self, account: AccountPlan) -> Session:
        worker = self._worker(f"paper {account.config.name}")
        deadlines = self.system.clock if self._info(account).live else None
        return Session(partial(self._make_venue, account, worker), deadlines, self._opener.lease_left_ns)

    def _make_venue(self, account: AccountPlan, worker: BlockingWorker | _NoWorker) -> PaperVenue:
        return PaperVenue(
            self.ledgers.paper_ledger(account.config.account_at_venue),
            account.paper,
            self.plan.instruments,  # an exchange knows more than we trade, and may hold what we no longer do
            account.settings,
            run=worker.call,
            point=point,
        )

    def _sync(self, account: AccountPlan) -> Sync:
        session = self.system.ref(Names(account.config.name).of("session"))
        return Sync(session, self._make_venue(account, _NoWorker()).capabilities)

    def _executor(self, account: AccountPlan) -> Executor:
        names = Names(account.config.name)
        info = self._info(account)
        terms = AccountTerms(
            account=account.config.name,
            venue="paper",
            currency=account.config.currency,
            instruments=self._instruments(account),
            exits_at_venue=account.exits_at_venue,
            hedging=account.config.hedging,
            leverage=account.config.leverage,
            parameter_mode=account.config.parameter_mode,
            replayable=info.replayable,
            live=info.live,
            send_within_ns=_send_within_ns(account, info),
        )
        desk = Desk(self.statedir)
        settings = ExecutorSettings(
            terms=terms,
            mode=Mode.PAPER,
            config_fingerprint=self.plan.config.fingerprint,
            data_fingerprint=info.fingerprint,
            strategies=(
                *(strategy_row(s.config, StrategyStatus.ACTIVE) for s in account.strategies),
                *(strategy_row(draft, StrategyStatus.DRAFT) for draft in account.drafts),
            ),
            version=__version__,
            make_execution_id=new_id,
            number_before=self._before_run.get(account.config.name, 0),
            halted_by=partial(self._halted_by, desk, account.config.name),
            released_by=partial(desk.released, account.config.name),
            forget_release=partial(desk.forget_release, account.config.name),
            chronicle=self._chronicle(account),
        )
        return Executor(
            settings,
            lambda rates: RiskGate(account.limits, rates),
            recorder=self.system.ref("recorder"),
            session=self.system.ref(names.of("session")),
            sync=self.system.ref(names.of("sync")),
            control=self.system.ref("control"),
            feed=self.system.ref(names.of("feed")),
        )

    def _halted_by(self, desk: Desk, account: str) -> tuple[str, str] | None:
        """Why an account starts halted, and by whom: a latch file, or a halt that has found nobody there yet."""
        held = desk.held(account)
        if held is not None:
            return held, "latch file"
        halt = None if self.control is None else self.control.halt_on_the_way(account)
        return None if halt is None else (halt.reason, halt.by)

    def _chronicle(self, account: AccountPlan) -> Chronicle:
        name = account.config.name
        made = Chronicle(name, account.config.currency, say, logs.shows)
        return self._chronicles.setdefault(name, made)

    def _monitor(self, account: AccountPlan) -> Monitor:
        def make(attached: Attached) -> MonitorCore:
            instruments = self._instruments(account)
            return MonitorCore(
                attached.view,
                instruments,
                account.config.currency,
                account.limits,
                attached.saved,
                account.days_a_year,
            )

        executor = self.system.ref(Names(account.config.name).of("executor"))
        return Monitor(make, executor, account.config.parameter_mode, live=self._info(account).live)

    def _strategist(self, account: AccountPlan, strategy: StrategyPlan, failures: Failures) -> Strategist:
        def make(attached: Attached) -> StrategistCore:
            settings = StrategySettings(
                name=strategy.config.name,
                execution=attached.execution,
                instruments={s: self.plan.instruments[s] for s in strategy.config.instruments},
                parameter_mode=account.config.parameter_mode or "",
            )
            saved = decode_execution_state(attached.saved) if attached.saved else None
            return StrategistCore(strategy.make(), settings, attached.view, saved)

        executor = self.system.ref(Names(account.config.name).of("executor"))
        replayable = self._info(account).replayable
        return Strategist(strategy.config.name, make, executor, failures, replayable=replayable)

    def _feed(self, account: AccountPlan) -> Feed:
        names = Names(account.config.name)
        storage = self.plan.config.storage
        settings = ConductorSettings(
            account=account.config.name,
            lockstep=True,
            cut_every_s=storage.checkpoint_every_s,
            sample_ticks_every=storage.sample_ticks_every,
            needs_equity=account.limits.needs_equity,
            exits_at_venue=account.exits_at_venue,
            stop_at_end=self.plan.config.daemon.on_feed_end == "stop",
            strategies=tuple(s.config.name for s in account.strategies),
        )
        strategists = [self.system.ref(names.of(f"strategist/{s.config.name}")) for s in account.strategies]
        return Feed(
            settings,
            partial(self._source_in_time, account),
            session=self.system.ref(names.of("session")),
            executor=self.system.ref(names.of("executor")),
            monitor=self.system.ref(names.of("monitor")),
            strategists=strategists,
            control=self.system.ref("control"),
        )

    async def _source_in_time(self, account: AccountPlan) -> Source:
        """The source for a feed that starts, made in a thread: files that have changed are read again.

        Each account that is started again starts its feed, so this is where changed data is seen.
        """
        reads_a_stream = self.plan.config.feeds[account.config.feed].kind == READS_A_STREAM
        source = await (self._stream_again(account) if reads_a_stream else self._data.call(self._source_again, account))
        if source.info.fingerprint != self._info(account).fingerprint:
            raise DataError(
                f"accounts.{account.config.name}.feed: its data has changed while it was traded; put the old data back to go on, "
                "or run with --fresh to begin anew"
            )
        sharer = self.system.ref(Names(account.config.name).of("sharer"))
        return self._sharing.tapped(account.config.name, source, self.system.clock, sharer)

    def _source_again(self, account: AccountPlan) -> Source:
        with self.effort.under_way():
            return self._source(account, self._wait_a_moment)

    async def _stream_again(self, account: AccountPlan) -> Source:
        """A stream may be away for as long as it likes: nobody else waits for that, nor does whoever ends this account."""
        worker = self._worker(f"stream {account.config.name}", may_be_left=True)
        while True:
            try:
                return await worker.call(self._source, account, self._not_yet)
            except _NotYet:
                await self.system.clock.sleep(WAIT_FOR_FEED_S)

    def _not_yet(self, for_what: str) -> None:
        self._say_that_we_wait(for_what)
        raise _NotYet

    def _instruments(self, account: AccountPlan) -> dict[str, Any]:
        return account_instruments(account, self._info(account).instruments, self.plan.instruments)


class _NotYet(Exception):
    """What a feed needs is not there for now."""


class _NoWorker:
    """For a venue that is only asked what it can do."""

    async def call(self, *_: Any) -> Any:
        raise AssertionError("nothing is run here")


def _send_within_ns(account: AccountPlan, feed: FeedInfo) -> int | None:
    """Only a live feed has a moment that passes: in a replay time waits for us."""
    limit_s = account.config.send_within_s
    return None if limit_s is None or not feed.live else round(limit_s * NS_PER_S)
