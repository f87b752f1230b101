"""The way of a step: into the core, onto the disk, out to the venue, and the answers back in.

The core runs ahead of the disk. Steps that come while a commit is under way share the next one; what they ask for
goes out in order when they are durable. Nothing is awaited in the mail loop: commits, venue requests and lookups are
requests whose answers come back as mail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from tradekeel.actors.executor.chronicle import Chronicle
from tradekeel.domain.book import Book
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, LookUpOrder, VenueAsk, merged
from tradekeel.domain.entries import Entry
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.messages import TransactionKind
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.protocol import (
    AccountReady,
    Alert,
    CloseExecution,
    Commit,
    Decide,
    JournalReached,
    LookedUp,
    LookUp,
    OutcomeKind,
    Perform,
    Performed,
    SetLatch,
)
from tradekeel.domain.records import LatchChanged, Record
from tradekeel.domain.recovery import decode_account_state
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_losses import Marks
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, Latch, Mode, StrategyRow
from tradekeel.domain.trades import Trade
from tradekeel.runtime.actor import Actor, ActorRef, Envelope, MailboxLimits, Reply
from tradekeel.runtime.clock import FOREVER_S
from tradekeel.runtime.faults import point

UNACKNOWLEDGED_MAX = 64
"""Steps that the core may be ahead of the disk."""


ASK_AGAIN_S = 1.0
REFUSED_AGAIN_S = 10.0
COMMIT_TIMEOUT_S = FOREVER_S
"""The books' server has deadlines of its own, and what it does not take is kept here; that the recorder hangs control's watch
sees. An account that gave up before would have to be loaded again, from a server that is away."""


VENUE_TIMEOUT_S = 120.0


TRADING = "trading"

LOOKUP_TIMEOUT_S = FOREVER_S  # sync answers when it knows, however long that takes


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    """What an executor needs to know beside its account's terms."""

    terms: AccountTerms
    mode: Mode
    config_fingerprint: str
    data_fingerprint: str
    strategies: tuple[StrategyRow, ...]
    version: str
    make_execution_id: Callable[[], str]
    number_before: int  # of the account's newest execution of the runs before this one; 0: this is its first run
    halted_by: Callable[[], tuple[str, str] | None]  # why it is to start halted, and by whom; asked at every start
    released_by: Callable[[], tuple[str, str] | None]  # why and by whom it was released while there was no daemon
    forget_release: Callable[[], object]  # the books have that release
    chronicle: Chronicle  # what the log says of the account; kept between incarnations


# What requests bring back.
class AskAgain(Struct, frozen=True):
    ask: CancelOrder | AmendOrder
    unanswered: bool = False  # nobody knows whether it was done; otherwise it was refused


class CloseAgain(Struct, frozen=True):
    pass


class Committed(Struct, frozen=True):
    steps: tuple[Effects, ...]
    answer: Any


class Done(Struct, frozen=True):
    asks: tuple[VenueAsk, ...]
    answer: Any


class Matched(Struct, frozen=True):
    reply: Reply
    answer: Any


class Looked(Struct, frozen=True):
    client_order_id: str
    answer: Any


class SideRead(Struct, frozen=True):
    asked_at: int  # our cursor then
    answer: Any


class ReconcileAgain(Struct, frozen=True):
    pass


class Shell(Actor):
    """Steps, commits and requests of one account."""

    mailbox_limits = MailboxLimits(reliable_max=4_096, results_max=65_536)

    # Made on start, from what is on the disk.
    core: ExecutorCore
    _book: Book
    _recovered: tuple[int, int, tuple[str, ...]]  # orders, trades, the first five of them
    _last_ns: int  # event time of the last thing that happened

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
        self._marks = Marks(self.terms.instruments, self.terms.currency)
        self._promised: deque[tuple[int, Callable[[], object]]] = deque()  # what waits until a sequence is durable
        self._uncommitted: list[Effects] = []
        self._committing = False
        self._to_ask: list[VenueAsk] = []  # durable, and not yet with the session
        self._asking = False
        # After a restart the venue may stand at an older tick than what was decided: nothing goes out before the feed
        # has brought it there, or an order would meet ticks that came before its decision.
        self._catching_up = (
            self.terms.replayable
        )  # the feed is not back yet, or what became of an order is not known yet
        self._back = False
        self._ended = False  # the execution is closed: nothing is written any more
        self._closing: tuple[CloseExecution, Reply | None] | None = None
        self._unanswered = 0  # cancels and amendments that are asked for again in a moment
        self._asked = 0  # ticks to match, lookups and reconciliations on their way
        self._deferred: deque[Envelope] = deque()
        self._settling: list[Reply] = []
        self._waiting_ready: list[tuple[Any, Reply | None]] = []  # what cannot be done before the books were compared
        self._tail: deque[Entry] = deque()
        self._saved: dict[str, Checkpoint] = {}
        self._cut_book: bytes | None = None
        self._on_the_way: list[Book] = []  # where followers go on from: kept until the first cut of this incarnation
        self._cut_monitor: bytes | None = None
        self._cut_position = self._cut_inbox = 0
        self._state = "starting"
        self._announced: tuple[bool, str] | None = None  # whether it trades, and why not, as control was last told
        self._closes_again = False  # what a flatten has left is asked for again in a moment
        self._failures = 0
        self._waits_to_try_again = False
        self._unprotected = 0  # trades of a halted account that nobody protects, as was last told
        # Somebody asked for it: that a stop has paused for its own sake is no reason to resume.
        self._stays_paused = False
        self._rounds = 0
        self._counting = False

    async def on_stop(self) -> None:
        self.settings.chronicle.end()

    def _now(self) -> int:
        """The clock's time on a live feed, event time (the last thing that happened) otherwise."""
        return self.clock.now_ns() if self.terms.live else self._last_ns

    def _decide(self, message: Decide, reply: Reply | None) -> None:
        if self._unacknowledged >= UNACKNOWLEDGED_MAX:
            self._deferred.append(Envelope(message, reply))
            return
        decision = message.decision
        self._last_ns = max(self._last_ns, decision.ts_ns)
        now = self.clock.now_ns() if self.terms.live else decision.ts_ns
        point("executor.decide.before")
        self._take(self.core.decide(decision, now))
        if reply is not None:
            reply.send(True)

    def _is_quiet(self) -> bool:
        waiting = self._to_ask and not self._catching_up
        asked = self._asked or self._asking or self._unanswered
        return not (self._unacknowledged or asked or waiting or self._deferred)

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
            self._announce_again()

    def _flush(self) -> None:
        if self._uncommitted and not self._committing:
            steps, self._uncommitted = tuple(self._uncommitted), []
            self._committing = True
            point("executor.before_commit")
            group = merged(steps).group(self._book.execution_id)
            self.request(self._recorder, Commit(group), partial(Committed, steps), timeout_s=COMMIT_TIMEOUT_S)
        if self._catching_up and self._back and not (self._asked or self._unacknowledged):
            self._catching_up = False
            self._to_ask = self.core.in_order(
                dict.fromkeys(self._to_ask)
            )  # a person may have asked before the start did
        wire = () if self._asking or self._catching_up else self._due()
        if wire:
            self._asking = True
            point("executor.send.before")
            question = Perform(self.incarnation, wire, self._book.cursor)
            self.request(self._session, question, partial(Done, wire), timeout_s=VENUE_TIMEOUT_S)

    def _due(self) -> tuple[VenueAsk, ...]:
        """What waited to go out, as far as it is still wanted; a cancel that was asked for twice goes out once."""
        asks, self._to_ask = self._to_ask, []
        due: dict[object, VenueAsk] = {}
        for place, ask in enumerate(asks):
            if self.core.is_wanted(ask):
                due.setdefault(ask if isinstance(ask, CancelOrder) else place, ask)
        return tuple(due.values())

    def _commit_record(self, record: Record) -> None:
        self._take(self.core.note(record))

    def _committed(self, message: Committed, _: Reply | None) -> None:
        if isinstance(message.answer, Exception):
            raise message.answer
        self._committing = False
        self._unacknowledged -= len(message.steps)
        durable = merged(message.steps)
        self._tail.extend(durable.entries)
        for checkpoint in durable.checkpoints:
            self._remember(checkpoint)
        point("executor.after_commit")
        if not self._uncommitted:
            self._keep_promises(self._book.sequence)
        elif durable.entries:
            self._keep_promises(durable.entries[-1].sequence)
        if durable.entries and self._feed.alive:
            self._feed.latest("journal", JournalReached(durable.entries[-1].sequence))
        self._perform(durable.requests)
        self._tell(durable.entries)
        self._tell_unprotected(durable.entries)
        while self._deferred and self._unacknowledged < UNACKNOWLEDGED_MAX:
            envelope = self._deferred.popleft()
            self._decide(envelope.message, envelope.reply)

    def _tell(self, entries: tuple[Entry, ...]) -> None:
        """Into the log, now that it is durable."""
        chronicle = self.settings.chronicle
        chronicle.tell(entries, self.clock.monotonic())
        if chronicle.due_s is not None and not self._counting:
            self._counting = True
            self.spawn(self._tell_counts)

    def _tell_unprotected(self, entries: tuple[Entry, ...]) -> None:
        """While an account is halted the monitor closes nothing: a person must know what hangs on that."""
        row = self._book.execution
        if row is None or row.latch is not Latch.HALTED:
            self._unprotected = 0
            return
        if not any(isinstance(entry.record, LatchChanged) or _moves_a_trade(entry) for entry in entries):
            return
        count = sum(1 for trade in self._book.trades.values() if trade.open_quantity and not trade.exits_at_venue)
        if count not in (0, self._unprotected):
            text = f"{self.terms.account}: {count} open trades have no stop at the venue, and nothing closes them"
            self._alert("critical", f"{text} while it is halted (tradekeel release)")
        self._unprotected = count

    async def _tell_counts(self) -> None:
        """What comes too often for a line each is counted, and the counts are told in time."""
        chronicle = self.settings.chronicle
        while chronicle.due_s is not None:
            await self.clock.sleep(max(chronicle.due_s - self.clock.monotonic(), 0.0))
            chronicle.tell_counts(self.clock.monotonic())
        self._counting = False

    def _promise(self, reply: Reply, answer: Any) -> None:
        """Answer when everything that was decided so far is durable."""
        self._when_durable(partial(reply.send, answer))

    def _when_durable(self, act: Callable[[], object]) -> None:
        if self._unacknowledged:
            self._promised.append((self._book.sequence, act))
        else:
            act()

    def _keep_promises(self, durable: int) -> None:
        while self._promised and self._promised[0][0] <= durable:
            _, act = self._promised.popleft()
            act()

    def _remember(self, checkpoint: Checkpoint) -> None:
        if checkpoint.owner != ACCOUNT_OWNER:
            self._saved[checkpoint.owner] = checkpoint
            return
        state = decode_account_state(checkpoint.state)
        self._cut_book, self._cut_monitor, self._cut_position = state.book, state.monitor, state.position
        self._cut_inbox = checkpoint.inbox
        self._on_the_way.clear()
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
        self.request(self._sync, question, partial(Looked, client_order_id), timeout_s=LOOKUP_TIMEOUT_S)

    def _performed(self, message: Done, _: Reply | None) -> None:
        self._asking = False
        answer = message.answer
        if isinstance(answer, Exception):
            # The session did not answer at all: whatever was asked may have been done.
            for ask in message.asks:
                why = f"no answer from the venue session: {answer}"
                self._take(self.core.lost(client_id_of(ask), why, self._now()))
                if isinstance(ask, CancelOrder | AmendOrder):
                    self._ask_unanswered(ask)
            return
        performed = performed_of(answer)
        self._news(performed)
        for outcome in performed.outcomes:
            if outcome.again is not None:
                self._ask_unanswered(outcome.again)
                continue
            if outcome.kind is OutcomeKind.NOT_SENT:
                self._take(self.core.not_sent(outcome.client_order_id, outcome.reason, self._now()))
                if self._book.flattened and not self._closes_again:
                    self._closes_again = True
                    self.spawn(self._post_later, CloseAgain(), ASK_AGAIN_S)
            elif outcome.kind is OutcomeKind.REFUSED:
                self._take(self.core.refused(outcome.client_order_id, outcome.reason, self._now()))
            elif outcome.kind is OutcomeKind.UNKNOWN:
                point("executor.lost.before")
                self._take(self.core.lost(outcome.client_order_id, outcome.reason, self._now()))

    def _looked(self, message: Looked, _: Reply | None) -> None:
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
        order = self._book.orders.get(answer.client_order_id)
        if not answer.found and order is not None and order.status is OrderStatus.UNKNOWN:
            self._alert("warning", f"order {answer.client_order_id}: {answer.reason} (tradekeel resolve)")

    def _ask_unanswered(self, ask: CancelOrder | AmendOrder) -> None:
        """Nothing is settled before it was answered: a run that ended behind it would leave an order at the venue."""
        self._unanswered += 1
        self.spawn(self._post_later, AskAgain(ask, unanswered=True), ASK_AGAIN_S)

    async def _post_later(self, message: AskAgain | CloseAgain, delay_s: float) -> None:
        await self.clock.sleep(delay_s)
        self.post(message)

    def _ask_again(self, message: AskAgain, _: Reply | None) -> None:
        """A cancel takes risk away and asking twice is harmless: it is tried until it is answered, or not wanted any more.
        So are levels, as they are wanted by now: the one that was lost may be an older one."""
        self._unanswered -= message.unanswered
        key = message.ask.client_order_id
        if isinstance(message.ask, AmendOrder):
            self._take(self.core.hold_levels(key))
        else:
            self._take(self.core.cancel_again(key, self._now()))

    def _close_again(self, message: CloseAgain, _: Reply | None) -> None:
        self._closes_again = False
        self._take(self.core.stay_flat(self._now()))

    def _news(self, performed: Performed) -> None:
        if not performed.transactions:
            return
        point("executor.news.before_booking")
        self._take(self.core.news(performed.transactions, self._now()))
        for entry in performed.transactions:
            key = entry.client_order_id or ""
            if entry.kind is TransactionKind.CANCEL_REFUSED and key in self._book.freed_by:
                self.spawn(self._post_later, AskAgain(CancelOrder(key)), REFUSED_AGAIN_S)  # an exit waits for its end

    def _not_trading(self, why: str) -> None:
        self._state = f"not trading: {why}"
        self._announce(False, why)

    def _announce(self, trading: bool, why: str) -> None:
        """Tell control: the first time with what was recovered, afterwards whenever it changes."""
        self._announced = trading, why
        orders, trades, first = self._recovered
        ready = AccountReady(
            self.terms.account, trading, why, orders, trades, first, self.core.ready, self._restraints()
        )
        self._control.latest(("ready", self.terms.account), ready)

    def _announce_again(self) -> None:
        """What holds the account back has changed."""
        if self._announced is None:
            return
        trading, why = self._announced
        row = self._book.execution
        if not trading and self._state == TRADING and row is not None and row.latch is not Latch.HALTED:
            trading, why = True, "is released"  # the books did not match, and a person says that it may go on
        self._announce(trading, why)

    def _restraints(self) -> tuple[str, ...]:
        """What holds the account back, in words: somebody may wonder why nothing is traded."""
        row = self._book.execution
        held = []
        if row is not None and row.latch is not Latch.OPEN:
            held.append(f"is {row.latch.value}: {row.latch_reason} (tradekeel release)")
        if row is not None and row.paused:
            held.append("is paused: no new entries (tradekeel resume)")
        if self.core.held:
            held.append(f"takes no entries for now: {self.core.held}")
        return tuple(held)

    def _tell_session(self) -> None:
        row = self._book.execution
        if row is not None:
            self._session.control(SetLatch(row.paused, row.latch))

    def _alert(self, severity: str, text: str) -> None:
        self._control.latest(("alert", self.terms.account, text), Alert(self.terms.account, severity, text))

    def settled(self) -> bool:
        return not self._unacknowledged  # lookups may go on for days, and their answers are found again after a restart


def _moves_a_trade(entry: Entry) -> bool:
    return any(isinstance(row, Trade) for row in entry.rows)


def client_id_of(ask: VenueAsk) -> str:
    return ask.request.client_order_id if hasattr(ask, "request") else ask.client_order_id


def performed_of(answer: Any) -> Performed:
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Performed)
    return answer
