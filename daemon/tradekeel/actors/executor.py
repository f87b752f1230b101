"""The executor: the shell around :class:`~tradekeel.domain.execution.ExecutorCore`.

The core runs ahead of the disk; what it asks for waits here until its records are durable, and then goes out in
order. Followers (monitor and strategists) read the durable entries from here by their own cursor.

Nothing that the executor awaits sits in its mail loop: commits, venue requests and lookups are requests whose answers
come back as mail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from tradekeel.domain.account import Equity
from tradekeel.domain.book import Book
from tradekeel.domain.effects import Effects, LookUpOrder, VenueAsk, merged
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.messages import Stamp
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import IN_DOUBT, OrderStatus
from tradekeel.domain.protocol import (
    AccountCommand,
    AccountReady,
    AccountStatus,
    Alert,
    Attach,
    Attached,
    CaughtUp,
    CloseExecution,
    Command,
    Commit,
    Cut,
    Decide,
    Describe,
    EndWorking,
    ExitTrades,
    FailStrategy,
    FeedEnded,
    JournalReached,
    LoadAccount,
    LoadedAccount,
    LookedUp,
    LookUp,
    MatchTick,
    NewsWaits,
    Note,
    OutcomeKind,
    Perform,
    Performed,
    ReadEntries,
    Reconcile,
    ReconcileNow,
    See,
    SetLatch,
    Settle,
    TrailStop,
    TripRisk,
    VenueSide,
)
from tradekeel.domain.reconcile import Finding, OurSide, Resolution, TheirSide, compare
from tradekeel.domain.records import (
    ACCOUNT_OWNER,
    FEED_HAS_ENDED,
    Checkpoint,
    DaemonStarted,
    ExecutionClosed,
    ExecutionRow,
    ExecutionStarted,
    Latch,
    LatchChanged,
    Mode,
    Reconciled,
    Record,
    StrategyRegistered,
    StrategyRow,
    StrategyStatus,
    StrategyStatusChanged,
)
from tradekeel.domain.recovery import (
    AccountState,
    decode_account_state,
    encode_account_state,
    fold,
    opening_of,
    view_at,
)
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.view import Entry
from tradekeel.errors import Defect, OutcomeUnknown, VenueUnreachable
from tradekeel.runtime.actor import Actor, ActorRef, Envelope, MailboxLimits, Reply
from tradekeel.runtime.faults import point
from tradekeel.runtime.restart import Backoff, backoff_delay_s

UNACKNOWLEDGED_MAX = 64
"""Steps that the core may be ahead of the disk."""

COMMIT_TIMEOUT_S = 60.0
VENUE_TIMEOUT_S = 120.0
LOOKUP_TIMEOUT_S = 10 * 365 * 86_400.0  # sync answers when it knows, however long that takes
RECONCILE_BACKOFF = Backoff(initial_s=0.2, factor=2.0, max_s=30.0)
RECONCILE_ROUNDS_MAX = 100
ACCOUNT_STATE_VERSION = 1


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    """What an executor needs to know beside its account's terms."""

    terms: AccountTerms
    mode: Mode
    config_fingerprint: str
    data_fingerprint: str
    strategies: tuple[StrategyRow, ...]
    version: str
    make_execution_id: Callable[[], str]
    resuming: bool  # the run goes on: a process before this one did not end it
    under_way: set[str]  # executions that incarnations of this process began or went on with; kept between them
    halted_by: Callable[[], str | None]  # why a latch file holds the account, read at every start
    entries_kept_max: int = 5_000


# What requests bring back.
class _Committed(Struct, frozen=True):
    steps: tuple[Effects, ...]
    answer: Any


class _Done(Struct, frozen=True):
    asks: tuple[VenueAsk, ...]
    answer: Any


class _News(Struct, frozen=True):
    answer: Any


class _Matched(Struct, frozen=True):
    reply: Reply
    answer: Any


class _Looked(Struct, frozen=True):
    client_order_id: str
    answer: Any


class _Read(Struct, frozen=True):
    answer: Any


class _ReconcileAgain(Struct, frozen=True):
    pass


class Executor(Actor):
    """See the module. One a account."""

    mailbox_limits = MailboxLimits(reliable_max=4_096, results_max=65_536)

    def __init__(
        self,
        settings: ExecutorSettings,
        make_gate: Callable[[Any], RiskGate],
        *,
        recorder: ActorRef,
        session: ActorRef,
        sync: ActorRef,
        control: ActorRef,
        feed: ActorRef,
    ) -> None:
        self.settings = settings
        self.terms = settings.terms
        self._make_gate = make_gate
        self._recorder, self._session, self._sync, self._control, self._feed = recorder, session, sync, control, feed
        self._unacknowledged = 0
        self._uncommitted: list[Effects] = []
        self._committing = False
        self._to_ask: list[VenueAsk] = []  # durable, and not yet with the session
        self._asking = False
        # After a restart the venue may stand at an older tick than what was decided: nothing goes out before the feed
        # has brought it there, or an order would meet ticks that came before its decision.
        self._catching_up = self.terms.replayable
        self._ended = False
        self._asked = 0  # ticks to match, lookups and reconciliations on their way
        self._deferred: deque[Envelope] = deque()
        self._settling: list[Reply] = []
        self._waiting_ready: list[tuple[Any, Reply]] = []
        self._tail: deque[Entry] = deque()
        self._saved: dict[str, Checkpoint] = {}
        self._cut_book: bytes | None = None
        self._cut_monitor: bytes | None = None
        self._cut_position = self._cut_inbox = 0
        self._state = "starting"
        self._failures = 0
        self._rounds = 0

    # --- start -----------------------------------------------------------------------------------------------------------

    async def on_start(self) -> None:
        loaded = await self._recorder.ask(LoadAccount(self.terms.account), timeout_s=COMMIT_TIMEOUT_S)
        point("executor.recover.loaded")
        rates = self._restore(loaded)
        self.core = ExecutorCore(self._book, self.terms, self._make_gate(rates))
        self.core.resume(self._memories, self._cut_position, self._tail)
        self._count_rates()
        if loaded.previous is not None and self._has_ended(loaded.previous):
            self._stay_ended(loaded.previous)
            return
        if self._book.execution is None:
            self._begin_execution(loaded)
        elif self._book.execution.data_fingerprint != self.settings.data_fingerprint:
            raise Defect("the feed's data changed")  # refused with a clear error before anything was started
        self.settings.under_way.add(self._book.execution_id)
        self._register_strategies()
        self._recovered = (len(self._book.orders), len(self._book.trades), self._first_five())
        self._commit_record(
            DaemonStarted(
                ts_ns=self._now(),
                stamp=self.core.stamp,
                version=self.settings.version,
                wall_ns=self.clock.now_ns(),
                recovered_orders=len(self._book.orders),
                recovered_trades=len(self._book.trades),
            )
        )
        held = self.settings.halted_by()
        if held is not None:
            self._take(self.core.latch(Latch.HALTED, held, "latch file", self._now()))
        self._tell_session()
        self._reconcile()
        self._flush()

    def _restore(self, loaded: LoadedAccount) -> Any:
        self._saved = dict(loaded.saved)
        self._memories = {}
        rates = None
        book = Book()
        state = None
        if loaded.cut is not None:
            state = decode_account_state(loaded.cut.state)
            book = Book.load(state.book)
            self._cut_book, self._cut_monitor, self._cut_position = state.book, state.monitor, state.position
            self._cut_inbox = loaded.cut.inbox
            self._memories, rates = state.memories, state.rates
        recovered = fold(book, loaded.journal)
        self._book = recovered.book
        self._tail.extend(recovered.entries)
        saved_ns = state.ts_ns if state is not None else 0
        self._last_ns = max((saved_ns, *(entry.record.ts_ns for entry in recovered.entries)))
        return rates

    def _count_rates(self) -> None:
        """Orders since the cut count in the rates, as they did when they were decided."""
        for entry in self._tail:
            orders = getattr(entry.record, "orders", ())
            for order in orders:
                if order.status is not OrderStatus.DENIED:
                    self.core.gate.rates.note_order(entry.record.ts_ns)

    def _first_five(self) -> tuple[str, ...]:
        trades = [
            f"trade {t.trade_id} {t.side} {t.open_quantity} {t.symbol} {t.status}" for t in self._book.trades.values()
        ]
        orders = [
            f"order {o.client_order_id} {o.side} {o.quantity} {o.instrument} {o.status}"
            for o in self._book.orders.values()
        ]
        return tuple((trades + orders)[:5])

    def _has_ended(self, last: Book) -> bool:
        """Whether the run that is being gone on with was over for this account already: then nothing is begun anew."""
        row = last.execution
        return (
            row is not None
            and (self.settings.resuming or row.execution in self.settings.under_way)
            and row.close_reason == FEED_HAS_ENDED
            and row.data_fingerprint == self.settings.data_fingerprint
        )

    def _stay_ended(self, last: Book) -> None:
        self._book = last
        self.core = ExecutorCore(last, self.terms, self._make_gate(None))
        self._ended = True
        self._state = FEED_HAS_ENDED
        self._recovered = (0, 0, ())
        self._announce(False, FEED_HAS_ENDED)
        account = self.terms.account
        self._control.latest(("feed-ended", account), FeedEnded(account, "it had ended before the restart"))

    def _begin_execution(self, loaded: LoadedAccount) -> None:
        settings = self.settings
        execution = settings.make_execution_id()
        opening = None if loaded.previous is None else opening_of(loaded.previous, execution)
        row = ExecutionRow(
            execution=execution,
            account=self.terms.account,
            number=loaded.next_number,
            mode=settings.mode,
            venue=self.terms.venue,
            currency=self.terms.currency,
            status="running",
            config_fingerprint=settings.config_fingerprint,
            data_fingerprint=settings.data_fingerprint,
            opening_balance=ZERO if opening is None else opening.balance,
            started_ns=self.clock.now_ns(),
        )
        self._commit_record(ExecutionStarted(ts_ns=self._now(), row=row, opening=opening))

    def _register_strategies(self) -> None:
        execution = self._book.execution_id
        for wanted in self.settings.strategies:
            row = msgspec.structs.replace(wanted, execution=execution)
            line = self._book.strategies.get(row.strategy)
            if line is None or (line.row.kind, line.row.parameters, line.row.instruments) != (
                row.kind,
                row.parameters,
                row.instruments,
            ):
                self._commit_record(StrategyRegistered(ts_ns=self._now(), stamp=self.core.stamp, row=row))
        configured = {row.strategy for row in self.settings.strategies}
        for name, line in list(self._book.strategies.items()):
            if name not in configured and line.row.status is not StrategyStatus.STOPPED:
                reason = "it is no longer in the configuration: its open trades keep their exits"
                self._commit_record(
                    StrategyStatusChanged(
                        ts_ns=self._now(),
                        stamp=self.core.stamp,
                        strategy=name,
                        status=StrategyStatus.STOPPED,
                        reason=reason,
                    )
                )

    def _now(self) -> int:
        """Event time in replay (the last thing that happened), the clock's time otherwise."""
        return self._last_ns if self.terms.replayable else self.clock.now_ns()

    # --- mail ------------------------------------------------------------------------------------------------------------

    async def handle(self, message: Any, reply: Reply | None) -> None:
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(f"the executor does not know {type(message).__name__}")
        handler(self, message, reply)
        self._flush()
        self._answer_settled()

    def _decide(self, message: Decide, reply: Reply | None) -> None:
        if self._unacknowledged >= UNACKNOWLEDGED_MAX:
            self._deferred.append(Envelope(message, reply))
            return
        decision = message.decision
        self._last_ns = max(self._last_ns, decision.ts_ns)
        now = decision.ts_ns if self.terms.replayable else self.clock.now_ns()
        point("executor.decide.before")
        self._take(self.core.decide(decision, now))
        if reply is not None:
            reply.send(True)

    def _see(self, message: See, reply: Reply | None) -> None:
        if message.quotes:
            self._last_ns = max(self._last_ns, *(q.ts_ns for q in message.quotes.values()))
        if message.equity is not None:
            seen = message.equity
            self.core.equity = Equity(seen.equity, seen.day_start, seen.peak)
        self.core.at(message.stamp)
        self._take(self.core.see(message.position, message.quotes, message.extremes, self._now()))

    def _match(self, message: MatchTick, reply: Reply | None) -> None:
        assert reply is not None
        tick = message.window.ticks[message.index]
        self._last_ns = max(self._last_ns, tick.ts_ns)
        self.core.at(Stamp.before(tick.position))
        asked = msgspec.structs.replace(message, cursor=self._book.cursor)
        self._asked += 1
        self.request(self._session, asked, partial(_Matched, reply), timeout_s=VENUE_TIMEOUT_S)

    def _matched(self, message: _Matched, _: Reply | None) -> None:
        self._asked -= 1
        answer = message.answer
        if isinstance(answer, VenueUnreachable | OutcomeUnknown):
            message.reply.fail(answer)
            return
        self._news(_performed(answer))
        self._settling.append(message.reply)

    def _caught_up(self, message: CaughtUp, reply: Reply | None) -> None:
        assert reply is not None
        self._catching_up = False
        self._settling.append(reply)

    def _settle(self, message: Settle, reply: Reply | None) -> None:
        assert reply is not None
        self.core.at(message.stamp)
        self._settling.append(reply)

    def _answer_settled(self) -> None:
        if self._waiting_ready and self.core.ready and not self._unacknowledged:
            attaching, self._waiting_ready = self._waiting_ready, []
            for message, reply in attaching:
                self._attach(message, reply)
        if self._settling and self._is_quiet():
            waiting, self._settling = self._settling, []
            for reply in waiting:
                reply.send(self._book.sequence)

    def _is_quiet(self) -> bool:
        waiting = self._to_ask and not self._catching_up
        return not (self._unacknowledged or self._asked or self._asking or waiting or self._deferred)

    # --- effects ---------------------------------------------------------------------------------------------------------

    def _take(self, effects: Effects) -> None:
        """Make a step durable; its requests follow when it is. Steps that come while a commit is under way share the next."""
        if not effects:
            return
        if not effects.entries and not effects.checkpoints and not self._unacknowledged:
            self._perform(effects.requests)
            return
        self._unacknowledged += 1
        self._uncommitted.append(effects)
        if any(isinstance(entry.record, LatchChanged) for entry in effects.entries):
            self._tell_session()

    def _flush(self) -> None:
        if self._uncommitted and not self._committing:
            steps, self._uncommitted = tuple(self._uncommitted), []
            self._committing = True
            point("executor.before_commit")
            group = merged(steps).group(self._book.execution_id)
            self.request(self._recorder, Commit(group), partial(_Committed, steps), timeout_s=COMMIT_TIMEOUT_S)
        if self._to_ask and not self._asking and not self._catching_up:
            wire, self._to_ask = tuple(self._to_ask), []
            self._asking = True
            point("executor.send.before")
            question = Perform(self.incarnation, wire, self._book.cursor)
            self.request(self._session, question, partial(_Done, wire), timeout_s=VENUE_TIMEOUT_S)

    def _commit_record(self, record: Record) -> None:
        self._take(self.core.note(record))

    def _committed(self, message: _Committed, _: Reply | None) -> None:
        if isinstance(message.answer, Exception):
            raise message.answer
        self._committing = False
        self._unacknowledged -= len(message.steps)
        durable = merged(message.steps)
        self._tail.extend(durable.entries)
        for checkpoint in durable.checkpoints:
            self._remember(checkpoint)
        point("executor.after_commit")
        if durable.entries and self._feed.alive:
            self._feed.latest("journal", JournalReached(durable.entries[-1].sequence))
        self._perform(durable.requests)
        while self._deferred and self._unacknowledged < UNACKNOWLEDGED_MAX:
            envelope = self._deferred.popleft()
            self._decide(envelope.message, envelope.reply)

    def _remember(self, checkpoint: Checkpoint) -> None:
        if checkpoint.owner != ACCOUNT_OWNER:
            self._saved[checkpoint.owner] = checkpoint
            return
        state = decode_account_state(checkpoint.state)
        self._cut_book, self._cut_monitor, self._cut_position = state.book, state.monitor, state.position
        self._cut_inbox = checkpoint.inbox
        while self._tail and self._tail[0].sequence <= checkpoint.inbox:
            self._tail.popleft()

    def _perform(self, asks: tuple[VenueAsk, ...]) -> None:
        """What is durable may go out now: in order, behind what the session is busy with."""
        for ask in asks:
            if isinstance(ask, LookUpOrder):
                self._look_up(ask.client_order_id)
            else:
                self._to_ask.append(ask)

    def _look_up(self, client_order_id: str) -> None:
        point("executor.lookup.before")
        self._asked += 1
        order = self._book.orders.get(client_order_id)
        left_by = self.clock.now_ns() if order is None or order.deadline_ns is None else order.deadline_ns
        question = LookUp(self.incarnation, client_order_id, self._book.cursor, left_by)
        self.request(self._sync, question, partial(_Looked, client_order_id), timeout_s=LOOKUP_TIMEOUT_S)

    def _performed(self, message: _Done, _: Reply | None) -> None:
        self._asking = False
        answer = message.answer
        if isinstance(answer, Exception):
            # The session did not answer at all: whatever was asked may have been done.
            for ask in message.asks:
                self._take(self.core.lost(_client_id(ask), f"no answer from the venue session: {answer}", self._now()))
            return
        performed = _performed(answer)
        self._news(performed)
        for outcome in performed.outcomes:
            if outcome.kind is OutcomeKind.NOT_SENT:
                self._take(self.core.not_sent(outcome.client_order_id, outcome.reason, self._now()))
            elif outcome.kind is OutcomeKind.REFUSED:
                self._take(self.core.refused(outcome.client_order_id, outcome.reason, self._now()))
            elif outcome.kind is OutcomeKind.UNKNOWN:
                point("executor.lost.before")
                self._take(self.core.lost(outcome.client_order_id, outcome.reason, self._now()))

    def _looked(self, message: _Looked, _: Reply | None) -> None:
        self._asked -= 1
        answer = message.answer
        if isinstance(answer, Exception):
            raise answer  # sync never gives up: if it is gone, this incarnation has to start anew
        assert isinstance(answer, LookedUp)
        self._news(Performed((), answer.transactions))
        point("executor.lookup.after")
        if answer.never_arrived:
            point("executor.renew.before")
            self._take(self.core.not_sent(answer.client_order_id, answer.reason, self._now(), never_arrived=True))
        elif not answer.found:
            self._alert("warning", f"order {answer.client_order_id}: {answer.reason} (tradekeel resolve)")

    def _news(self, performed: Performed) -> None:
        if performed.transactions:
            point("executor.news.before_booking")
            self._take(self.core.news(performed.transactions, self._now()))

    def _news_wait(self, message: NewsWaits, reply: Reply | None) -> None:
        """The venue's record has grown by itself: read it, once however often this is said."""
        self._asked += 1
        question = Perform(self.incarnation, (), self._book.cursor)
        self.request(self._session, question, _News, timeout_s=VENUE_TIMEOUT_S)

    def _news_came(self, message: _News, _: Reply | None) -> None:
        self._asked -= 1
        if not isinstance(message.answer, VenueUnreachable | OutcomeUnknown):
            self._news(_performed(message.answer))

    # --- reconciliation --------------------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        wanted = tuple(o.client_order_id for o in self._book.orders.values() if o.parent_id is None)
        question = Reconcile(self.incarnation, self._book.cursor, wanted, self._book.execution_id)
        self._asked += 1
        self._rounds += 1
        self.request(self._sync, question, _Read, timeout_s=VENUE_TIMEOUT_S)

    def _read(self, message: _Read, _: Reply | None) -> None:
        self._asked -= 1
        answer = message.answer
        if isinstance(answer, Exception):
            self._failures += 1
            self._not_trading(f"the venue cannot be reached: {answer}")
            self.spawn(self._again_later)
            return
        assert isinstance(answer, VenueSide)
        self._failures = 0
        point("executor.reconcile.read")
        self._news(Performed((), answer.transactions))
        if not self.core.ready:
            self._take(self.core.recover(self._now()))
            point("executor.reconcile.recovering")
        if self.core.ready and self._book.cursor > answer.balance.last_sequence and self._rounds < RECONCILE_ROUNDS_MAX:
            self._reconcile()  # we have booked news since the venue was asked: its answer is old, not wrong
            return
        findings = compare(self._our_side(), self._their_side(answer))
        if any(f.resolution is Resolution.READ_ON for f in findings) and self._rounds < RECONCILE_ROUNDS_MAX:
            self._reconcile()
            return
        self._apply(findings, answer)

    async def _again_later(self) -> None:
        await self.clock.sleep(backoff_delay_s(RECONCILE_BACKOFF, self._failures, self.system.random))
        self.post(_ReconcileAgain())

    def _again(self, message: Any, reply: Reply | None) -> None:
        self._rounds = 0
        if not self._ended:
            self._reconcile()
        if reply is not None:
            reply.send(True)

    def _our_side(self) -> OurSide:
        book = self._book
        return OurSide(
            cursor=book.cursor,
            balance=book.money.balance,
            positions={key: position.quantity for key, position in book.positions.items()},
            orders=dict(book.orders),
            ended={k: o.status for k, o in book.ended.items()},
        )

    @staticmethod
    def _their_side(side: VenueSide) -> TheirSide:
        return TheirSide(
            last_sequence=side.balance.last_sequence,
            balance=side.balance.balance,
            positions={(p.instrument, p.ref): p.quantity for p in side.positions},
            orders=tuple(side.open_orders),
            looked_up=dict(side.orders),
        )

    def _apply(self, findings: list[Finding], side: VenueSide) -> None:
        halting = [f for f in findings if f.resolution is Resolution.HALT]
        for finding in findings:
            if finding.resolution is Resolution.MAKE_UNKNOWN and finding.client_order_id is not None:
                self._take(self.core.missing(finding.client_order_id, str(finding), self._now()))
        record = Reconciled(
            ts_ns=self._now(),
            stamp=self.core.stamp,
            balanced=not halting,
            findings=tuple(str(f) for f in findings),
            balance=side.balance.balance,
        )
        self._commit_record(record)
        if halting:
            reason = "; ".join(str(f) for f in halting)
            self._take(self.core.latch(Latch.HALTED, f"the books do not match: {reason}", "reconcile", self._now()))
            self._alert("critical", f"the books do not match the venue's: {reason}")
        point("executor.reconcile.after")
        self.core.ready = True
        self._state = "trading" if not halting else "halted: the books do not match"
        self._announce(not halting, "" if not halting else "the books do not match")

    def _not_trading(self, why: str) -> None:
        self._state = f"not trading: {why}"
        self._announce(False, why)

    def _announce(self, trading: bool, why: str) -> None:
        """Tell control: the first time with what was recovered, afterwards whenever it changes."""
        orders, trades, first = self._recovered
        ready = AccountReady(self.terms.account, trading, why, orders, trades, first)
        self._control.latest(("ready", self.terms.account), ready)

    def _tell_session(self) -> None:
        row = self._book.execution
        if row is not None:
            self._session.control(SetLatch(row.paused, row.latch))

    def _alert(self, severity: str, text: str) -> None:
        self._control.latest(("alert", self.terms.account, text), Alert(self.terms.account, severity, text))

    # --- followers -------------------------------------------------------------------------------------------------------

    def _attach(self, message: Attach, reply: Reply | None) -> None:
        assert reply is not None
        if not self.core.ready or self._unacknowledged:
            self._waiting_ready.append((message, reply))
            return
        saved = self._cut_monitor if message.strategy is None else None
        version, position, inbox = 0, self._cut_position, self._cut_inbox
        checkpoint = self._saved.get(message.strategy) if message.strategy is not None else None
        if checkpoint is not None:
            saved, version, position, inbox = (
                checkpoint.state,
                checkpoint.version,
                checkpoint.position,
                checkpoint.inbox,
            )
        entries = tuple(self._tail)
        view = view_at(self._cut_book, entries, message.strategy, inbox)
        reply.send(
            Attached(
                execution=self._book.execution_id,
                saved=saved,
                saved_version=version,
                view=view,
                entries=tuple(e for e in entries if e.sequence > view.inbox),
                position=position,
                frontier=self._book.stamp,
                ts_ns=self._last_ns,
            )
        )

    def _read_entries(self, message: ReadEntries, reply: Reply | None) -> None:
        assert reply is not None
        found: deque[Entry] = deque()
        for entry in reversed(self._tail):
            if entry.sequence <= message.after:
                break
            found.appendleft(entry)
        reply.send(tuple(found))

    def _cut(self, message: Cut, reply: Reply | None) -> None:
        assert reply is not None
        if self._book.sequence != message.sequence:
            reply.send(0)
            return
        state = AccountState(
            book=self._book.save(),
            monitor=message.monitor,
            memories=self.core.memories,
            rates=self.core.gate.saved_rates(message.ts_ns),
            position=message.position,
            ts_ns=message.ts_ns,
        )
        own = Checkpoint(
            execution=self._book.execution_id,
            owner=ACCOUNT_OWNER,
            position=message.position,
            inbox=self._book.sequence,
            ts_ns=message.ts_ns,
            version=ACCOUNT_STATE_VERSION,
            state=encode_account_state(state),
        )
        self._take(Effects(checkpoints=(own, *message.checkpoints)))
        self._settling.append(reply)

    # --- the monitor, people, the end ------------------------------------------------------------------------------------

    def _exit(self, message: ExitTrades, reply: Reply | None) -> None:
        self._last_ns = max(self._last_ns, message.ts_ns)
        self.core.at(message.stamp)
        point("executor.exit.before")
        self._take(self.core.exit_trades(message.wishes, message.source, self._now()))

    def _trail(self, message: TrailStop, reply: Reply | None) -> None:
        self._last_ns = max(self._last_ns, message.ts_ns)
        self.core.at(message.stamp)
        point("executor.trail.before")
        self._take(self.core.move_stop(message.trade_id, message.stop, message.best, None, self._now()))

    def _trip(self, message: TripRisk, reply: Reply | None) -> None:
        self.core.at(message.stamp)
        self._take(self.core.latch(message.latch, message.reason, "risk", self._now()))
        self._alert("critical", message.reason)

    def _fail_strategy(self, message: FailStrategy, reply: Reply | None) -> None:
        self._commit_record(
            StrategyStatusChanged(
                ts_ns=self._now(),
                stamp=self.core.stamp,
                strategy=message.strategy,
                status=message.status,
                reason=message.reason,
            )
        )
        if message.status is StrategyStatus.FAILED:
            self._alert("critical", f"strategy {message.strategy} has failed: {message.reason}. Its exits go on.")
        if reply is not None:
            self._settling.append(reply)

    def _note(self, message: Note, reply: Reply | None) -> None:
        record = msgspec.structs.replace(message.record, stamp=self.core.stamp)
        self._commit_record(record)

    def _end_working(self, message: EndWorking, reply: Reply | None) -> None:
        if message.what == "flatten":
            self._take(self.core.flatten("stop", self._now()))
        elif message.what == "resume":
            self._take(self.core.pause(False, message.reason, "stop", self._now()))
        else:
            self._take(self.core.cancel_entries(message.reason, self._now(), everything=message.what == "all"))
        if reply is not None:
            self._settling.append(reply)

    def _close(self, message: CloseExecution, reply: Reply | None) -> None:
        point("executor.close.before")
        self._commit_record(ExecutionClosed(ts_ns=self._now(), stamp=self.core.stamp, reason=message.reason))
        if reply is not None:
            self._settling.append(reply)

    def _command(self, message: AccountCommand, reply: Reply | None) -> None:
        if self._ended:
            if reply is not None:
                reply.send(f"nothing to do: {self.terms.account} is over, {FEED_HAS_ENDED}")
            return
        now, by, why = self._now(), message.by, message.reason
        effects, said = self._obey(message, now, by, why)
        self._take(effects)
        self._tell_session()
        if reply is not None:
            reply.send(said)

    def _obey(self, message: AccountCommand, now: int, by: str, why: str) -> tuple[Effects, str]:
        account = self.terms.account
        match message.command:
            case Command.PAUSE:
                return self.core.pause(True, why, by, now), f"{account} is paused: no new entries, exits go on"
            case Command.RESUME:
                return self.core.pause(False, why, by, now), f"{account} takes entries again"
            case Command.KILL:
                return self.core.latch(
                    Latch.HALTED, why or "killed", by, now
                ), f"{account} is halted until it is released"
            case Command.RELEASE:
                return self.core.release(why, by, now), f"{account} is released"
            case Command.FLATTEN:
                return self.core.flatten(by, now), f"{account} is being closed and then paused"
            case Command.RESOLVE:
                return self._resolve(message, now, by)
        raise Defect(f"no rule for {message.command}")

    def _resolve(self, message: AccountCommand, now: int, by: str) -> tuple[Effects, str]:
        order = self._book.orders.get(message.client_order_id)
        if order is None or order.status is not OrderStatus.UNKNOWN:
            state = "not known or ended" if order is None else str(order.status)
            return (
                Effects(),
                f"nothing done: order {message.client_order_id} is {state}, only unknown orders are resolved",
            )
        effects = self.core.resolve(message.client_order_id, OrderStatus(message.outcome), by, now)
        return effects, f"order {message.client_order_id} is {message.outcome}"

    def _describe(self, message: Describe, reply: Reply | None) -> None:
        assert reply is not None
        book, row = self._book, self._book.execution
        reply.send(
            AccountStatus(
                account=self.terms.account,
                execution=None if row is None else row.execution,
                state=self._state,
                paused=row is not None and row.paused,
                latch=Latch.OPEN if row is None else row.latch,
                latch_reason="" if row is None else row.latch_reason,
                orders=len(book.orders),
                unknown=tuple(o.client_order_id for o in book.orders.values() if o.status in IN_DOUBT),
                trades=len(book.trades),
                positions={symbol: str(book.net(symbol)) for symbol, _ in book.positions},
                balance=str(book.money.balance),
                equity=None if self.core.equity is None else str(self.core.equity.equity),
                cursor=book.cursor,
                sequence=book.sequence,
                position=Stamp.position(self.core.stamp),
                strategies={name: line.row.status.value for name, line in book.strategies.items()},
            )
        )

    def settled(self) -> bool:
        return not self._unacknowledged  # lookups may go on for days, and their answers are found again after a restart

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any, Reply | None], None]]] = {
        Decide: _decide,
        See: _see,
        MatchTick: _match,
        Settle: _settle,
        CaughtUp: _caught_up,
        Attach: _attach,
        ReadEntries: _read_entries,
        Cut: _cut,
        ExitTrades: _exit,
        TrailStop: _trail,
        TripRisk: _trip,
        FailStrategy: _fail_strategy,
        Note: _note,
        EndWorking: _end_working,
        CloseExecution: _close,
        AccountCommand: _command,
        Describe: _describe,
        NewsWaits: _news_wait,
        ReconcileNow: _again,
        _ReconcileAgain: _again,
        _Committed: _committed,
        _Done: _performed,
        _Matched: _matched,
        _News: _news_came,
        _Looked: _looked,
        _Read: _read,
    }


def _client_id(ask: VenueAsk) -> str:
    return ask.request.client_order_id if hasattr(ask, "request") else ask.client_order_id


def _performed(answer: Any) -> Performed:
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Performed)
    return answer
