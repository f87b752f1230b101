"""A whole account in memory: the cores, the real matching core as venue, and one synchronous loop that conducts them.

It is the daemon without actors, disk and time: the same cores are asked the same questions in the same order as the feed's
conductor asks them. What a process loses when it is killed and what survives are kept apart, so a test can kill the world at any
point (:class:`Killed`), start it again (:meth:`World.restart`), and go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from tradekeel.domain import records as r
from tradekeel.domain.account import Equity
from tradekeel.domain.book import Book
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, LookUpOrder, PlaceOrder, VenueAsk
from tradekeel.domain.entries import Entry
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import Matcher, MatcherState, PaperAccount, PaperSettings
from tradekeel.domain.messages import Decision, Stamp, VenueTransaction
from tradekeel.domain.monitor import MonitorCore, last_quotes
from tradekeel.domain.orders import OrderType, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.recovery import AccountState, decode_account_state, encode_account_state, fold, view_at
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, ExecutionRow, Mode, StrategyRow, StrategyStatus
from tradekeel.domain.ticks import Bar, Tick, TickWindow
from tradekeel.domain.trades import TradeStatus
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore
from tradekeel.strategies.saving import decode_execution_state

D = Decimal
NS = 1_000_000_000
START_NS = 1_400_000_000 * NS  # Tuesday 2014-05-13 16:53:20 UTC
EUR = "EUR_USD"
RUN = "run-1"
ROUNDS_MAX = 200

_LEDGER = msgspec.msgpack.Encoder(decimal_format="string")
_LEDGER_OUT = msgspec.msgpack.Decoder(MatcherState)
_RECORD_OUT = msgspec.msgpack.Decoder(list[VenueTransaction])


class Killed(BaseException):
    """The process is gone: everything that was not durable is lost."""


class Unlucky:
    """What goes wrong. ``kill_at`` counts the points that the world passes; ``wire`` says how each request fares."""

    def __init__(self, kill_at: Sequence[int] = (), wire: Callable[[str, int], str] | None = None) -> None:
        self.kills = sorted(kill_at)
        self.passed = 0
        self.seen: dict[str, int] = {}
        self.sent = 0
        self._wire = wire

    def point(self, name: str) -> None:
        self.passed += 1
        self.seen[name] = self.seen.get(name, 0) + 1
        if self.kills and self.passed >= self.kills[0]:
            self.kills.pop(0)
            raise Killed(name)

    def fate(self, client_order_id: str) -> str:
        """ok; drop: lost on the way; timeout: arrived, and nobody told us; held: certainly not sent."""
        self.sent += 1
        return "ok" if self._wire is None else self._wire(client_order_id, self.sent)


def ticks_of(
    prices: Sequence[str | Decimal], *, spread: str = "0.00010", symbol: str = EUR, step_s: int = 1
) -> list[Tick]:
    """Ticks whose bids are ``prices``, one every ``step_s`` seconds."""
    return [
        Tick(symbol, START_NS + index * step_s * NS, D(price), D(price) + D(spread), index + 1)
        for index, price in enumerate(prices)
    ]


class World:
    """One account. ``strategies`` by name, in config order."""

    def __init__(
        self,
        ticks: Sequence[Tick],
        strategies: Mapping[str, AnyStrategy],
        *,
        symbols: Sequence[str] = (EUR,),
        exits_at_venue: bool = True,
        hedging: bool = False,
        deposit: str = "100000",
        settings: PaperSettings | None = None,
        limits: RiskLimits | None = None,
        unlucky: Unlucky | None = None,
        window: int = 16,
        cut_every: int = 3,
        replayable: bool = True,
        bars: Mapping[int, tuple[Bar, ...]] | None = None,
        after_window: Callable[[World], None] | None = None,
        notes: bool = False,
    ) -> None:
        self.after_window = after_window
        self.notes = (
            notes  # something is recorded at every loud tick before the venue meets it, as snapshots and commands are
        )
        self.ticks = list(ticks)
        self.bars = dict(bars or {})
        self.strategies = dict(strategies)
        self.instruments: dict[str, Instrument] = {s: CATALOGUE[s] for s in symbols}
        self.unlucky = unlucky or Unlucky()
        self.window_max, self.cut_every = window, cut_every
        self.settings = settings or PaperSettings()
        self.limits = limits or RiskLimits()
        self.account = PaperAccount(account="paper-1", currency="USD", deposit=D(deposit), hedging=hedging)
        self.terms = AccountTerms(
            account="paper-1",
            venue="paper",
            currency="USD",
            instruments=self.instruments,
            exits_at_venue=exits_at_venue,
            hedging=hedging,
            replayable=replayable,
            live=not replayable,
        )
        # What survives a kill.
        self.journal: list[bytes] = []
        self._read: list[tuple[int, r.Record]] = []  # what of it was read back already; nobody can change a record
        self.checkpoints: dict[str, Checkpoint] = {}
        self.record: list[VenueTransaction] = []
        self.ledger: bytes | None = None
        self.arrived: list[str] = []  # client ids as the venue saw them come in
        self.restarts = 0
        self.decisions: dict[tuple[str, int], Decision] = {}
        self.finished = False

    # --- life ----------------------------------------------------------------------------------------------------------

    def run(self) -> World:
        """Until the ticks are through, with a restart after each kill."""
        while not self.finished:
            try:
                self.start()
                self.conduct()
                self.finished = True
            except Killed:
                self.restarts += 1
        return self

    def start(self) -> None:
        """A process begins: fresh, or from what is durable."""
        self.outbox: deque[VenueAsk] = deque()
        self.lookups: deque[str] = deque()
        self.arrived_there = False
        state = None if self.ledger is None else _LEDGER_OUT.decode(self.ledger)
        self.matcher = Matcher(self.account, self.instruments, self.settings, state)
        self.now_ns = START_NS
        if state is None:
            self.acted(self.matcher.open(START_NS))
        self._load()
        self._reconcile()
        self.settle()
        self._attach()

    def _load(self) -> None:
        cut = self.checkpoints.get(ACCOUNT_OWNER)
        book, memories = Book(), {}
        quotes: dict[str, Quote] = {}
        self.cut_book: bytes | None = None
        self.cut_monitor: bytes | None = None
        self.cut_inbox = 0
        if cut is not None:
            state = decode_account_state(cut.state)
            book, memories, quotes = Book.load(state.book), state.memories, state.quotes
            self.cut_book, self.cut_monitor, self.cut_inbox = state.book, state.monitor, cut.inbox
        recovered = fold(book, self.decoded())
        self.tail = recovered.entries
        self.book = recovered.book
        if self.tail:
            self.now_ns = max(self.now_ns, self.tail[-1].record.ts_ns)
        self.core = ExecutorCore(self.book, self.terms, RiskGate(self.limits))
        self.core.resume(memories, 0 if cut is None else cut.position, self.tail)
        self.core.quotes.update(quotes)
        if self.book.execution is None:
            self.take(self.core.note(r.ExecutionStarted(ts_ns=START_NS, row=execution_row())))
        for name, strategy in self.strategies.items():
            if name not in self.book.strategies:
                row = strategy_row(name, strategy, tuple(self.instruments))
                self.take(self.core.note(r.StrategyRegistered(ts_ns=START_NS, row=row)))

    def _reconcile(self) -> None:
        self.unlucky.point("reconcile")
        self.read_news()
        self.take(self.core.recover(self.now_ns))
        self.core.ready = True
        self.unlucky.point("reconciled")

    def _attach(self) -> None:
        entries = tuple(self.tail)
        view = view_at(self.cut_book, entries, None, self.cut_inbox)
        self.monitor = MonitorCore(view, self.instruments, "USD", self.limits, self.cut_monitor)
        self._tell_equity()
        self.strategists: dict[str, StrategistCore] = {}
        for name, strategy in self.strategies.items():
            checkpoint = self.checkpoints.get(name)
            inbox = self.cut_inbox if checkpoint is None else checkpoint.inbox
            view = view_at(self.cut_book, entries, name, inbox)
            saved = None if checkpoint is None else decode_execution_state(checkpoint.state)
            settings = StrategySettings(name=name, execution=RUN, instruments=self.instruments)
            self.strategists[name] = core = StrategistCore(strategy, settings, view, saved)
            core.deliver([e for e in entries if e.sequence > view.inbox])
            core.start(self.now_ns)
        self.frontier = self.book.stamp
        turn = self.book.turn
        self.turn = turn if turn is not None and turn.stamp == self.frontier and self.terms.replayable else None

    # --- the executor's shell ------------------------------------------------------------------------------------------

    def decoded(self) -> list[tuple[int, r.Record]]:
        """The journal as it would be read back."""
        known = len(self._read)
        self._read += [(number, r.decode_record(row)) for number, row in enumerate(self.journal[known:], known + 1)]
        return list(self._read)

    def take(self, effects: Effects) -> None:
        """Commit one step whole; what it asks for goes to the outbox."""
        if effects.entries or effects.checkpoints:
            self.unlucky.point("before commit")
            for entry in effects.entries:
                assert entry.sequence == len(self.journal) + 1
                self.journal.append(r.encode_record(entry.record))
            self.tail.extend(effects.entries)
            for checkpoint in effects.checkpoints:
                self.checkpoints[checkpoint.owner] = checkpoint
            self.unlucky.point("after commit")
        for ask in effects.requests:
            if isinstance(ask, LookUpOrder):
                self.unlucky.point("before LookUpOrder")
                self.lookups.append(ask.client_order_id)
            else:
                self.outbox.append(ask)

    def settle(self) -> None:
        """Perform everything that is asked for, and whatever follows from it.

        After a restart nothing goes out before the feed has brought the venue to where the journal ends.
        """
        while self.lookups or (self.outbox and self.arrived_there):
            while self.lookups:
                self._look_up(self.lookups.popleft())
            asks = list(self.outbox) if self.arrived_there else []
            if asks:
                self.outbox.clear()
            outcomes = [self._perform(ask) for ask in asks]
            self.read_news()
            for ask, fate in zip(asks, outcomes, strict=True):
                if not isinstance(ask, PlaceOrder):
                    continue
                client_id = ask.request.client_order_id
                if fate == "held":
                    self.take(self.core.not_sent(client_id, "held back", self.now_ns))
                elif fate in ("drop", "timeout"):
                    self.take(self.core.lost(client_id, fate, self.now_ns))

    def _perform(self, ask: VenueAsk) -> str:
        self.unlucky.point(f"before {type(ask).__name__}")
        fate = "ok"
        match ask:
            case PlaceOrder(request):
                fate = self.unlucky.fate(request.client_order_id)
                if fate in ("ok", "timeout"):
                    self.arrived.append(request.client_order_id)
                    self.acted(self.matcher.place(request))
            case CancelOrder(client_id):
                self.acted(self.matcher.cancel(client_id))
            case AmendOrder(client_id, price):
                self.acted(self.matcher.amend(client_id, D(price)))
        self.unlucky.point(f"after {type(ask).__name__}")
        return fate

    def _look_up(self, client_id: str) -> None:
        self.read_news()
        if client_id not in self.known_there():
            self.take(self.core.not_sent(client_id, "it never arrived", self.now_ns, never_arrived=True))

    def known_there(self) -> set[str | None]:
        """Client ids in the venue's record."""
        return {entry.client_order_id for entry in self.record}

    def acted(self, entries: list[VenueTransaction]) -> list[VenueTransaction]:
        """What the venue did becomes durable there."""
        self.record.extend(entries)
        self.ledger = _LEDGER.encode(self.matcher.state())
        return entries

    def read_news(self) -> None:
        news = self.record[self.book.cursor :]
        if news:
            self.unlucky.point("before booking")
            self.take(self.core.news(_through_the_wire(news), self.now_ns))

    # --- the conductor ---------------------------------------------------------------------------------------------------

    def conduct(self) -> None:
        """All ticks, from the lowest position that anybody needs."""
        at = min(self.monitor.position, self.matcher.position, *(s.position for s in self.strategists.values()))
        self.venue_at = self.matcher.position
        windows = 0
        if at >= Stamp.position(self.frontier):
            self._go_on()
            self._catch_up(None, max(Stamp.after(at), self.frontier))
        while at < len(self.ticks):
            part = self.ticks[at : at + self.window_max]
            bars = {i: self.bars[at + i] for i in range(len(part)) if at + i in self.bars}
            window = TickWindow(tuple(part), bars)
            self._window(window)
            at = window.last_position
            windows += 1
            if self.cut_every and windows % self.cut_every == 0 and self.arrived_there:
                self.cut(at)
            if self.after_window is not None:
                self.after_window(self)

    def _window(self, window: TickWindow) -> None:
        index, count = 0, len(window.ticks)
        while index < count:
            stop = self._stop_before_frontier(window, index)
            if stop == index:
                self.loud(window, index, venue_acts=window.first_position + index > self.venue_at)
                index += 1
                continue
            acts = min(stop, self.matcher.quiet_until(window, index))
            self._tell(self.monitor)
            calm = self.monitor.quiet_until(window, index, acts)
            if calm > index:
                index = self._quiet(window, index, calm)
            else:
                self.loud(window, index, venue_acts=acts == index)
                index += 1

    def _stop_before_frontier(self, window: TickWindow, index: int) -> int:
        if self.arrived_there:
            return len(window.ticks)
        at = Stamp.position(self.frontier) - window.first_position
        return max(index, min(len(window.ticks), at))

    def _go_on(self) -> None:
        self.settle()  # first it is known what became of every order
        self.arrived_there = True
        self.outbox = deque(self.core.in_order(self.outbox))
        self.settle()

    def _quiet(self, window: TickWindow, index: int, calm: int) -> int:
        until = Stamp.after(window.ticks[calm - 1].position)
        target, decided = self._run_all(window, until)
        done = min(calm, max(index, (target - 1) // 2 - window.first_position + 1))
        if done > index:
            self._pass(window, index, done)
        if decided or target < until:
            self._agree(window, target)
        return done

    def _pass(self, window: TickWindow, start: int, stop: int) -> None:
        quotes, extremes = last_quotes(window, start, stop), window.extremes(start, stop)
        self.monitor.passed(window, start, stop, quotes, extremes)
        last = window.ticks[stop - 1]
        self.matcher.advance(window, stop)
        self._see(last, Stamp.after(last.position), window, start, stop)
        self._tell_equity()

    def _see(self, last: Tick, stamp: int, window: TickWindow, start: int, stop: int) -> None:
        self.now_ns = max(self.now_ns, last.ts_ns)
        self.core.at(stamp)
        quotes, extremes = last_quotes(window, start, stop), window.extremes(start, stop)
        self.take(self.core.see(last.position, quotes, extremes, self.now_ns))

    def loud(self, window: TickWindow, index: int, *, venue_acts: bool) -> None:
        """One tick at which something may happen, in the one order."""
        tick = window.ticks[index]
        before, after = Stamp.before(tick.position), Stamp.after(tick.position)
        self._see(tick, before, window, index, index + 1)
        if self.notes:
            self.take(self.core.note(_note(self.now_ns, self.core.stamp)))
        if venue_acts:
            self.unlucky.point("before match")
            self.matcher.advance(window, index)
            self.acted(self.matcher.on_tick(tick))
            self.unlucky.point("after match")
            self.read_news()
            self.settle()
        else:
            self.matcher.advance(window, index + 1)
        if not self.arrived_there and tick.position >= Stamp.position(self.frontier):
            self._go_on()
        if self._watch(tick):
            self.settle()
        self._catch_up(window, before)
        self._catch_up(window, after)

    def _watch(self, tick: Tick) -> bool:
        self._tell(self.monitor)
        seen = self.monitor.at(tick)
        for move in seen.moves:
            self.take(self.core.move_stop(move.trade_id, move.stop, move.best, None, self.now_ns))
        if seen.trip is not None:
            self.take(self.core.latch(seen.trip.latch, seen.trip.sentence, "risk", self.now_ns))
        if seen.exits:
            wishes = [(e.trade_id, e.reason.value) for e in seen.exits]
            self.take(self.core.exit_trades(wishes, "monitor", self.now_ns))
        self._tell_equity()
        return bool(seen)

    def _tell_equity(self) -> None:
        seen = self.monitor.seen()
        if seen is not None:
            self.core.equity = Equity(seen.equity, seen.day_start, seen.peak)

    def _catch_up(self, window: TickWindow | None, until: int) -> None:
        if self.turn is not None and self.turn.stamp <= until:
            turn, self.turn = self.turn, None
            self._finish_round(window, turn)
        for _ in range(ROUNDS_MAX):
            target, decided = self._run_all(window, until)
            if not decided and target >= until:
                return
            self._agree(window, target)
        raise AssertionError("no end to the decisions")

    def _finish_round(self, window: TickWindow | None, turn: r.Turn) -> None:
        names = list(self.strategists)
        behind = [self.strategists[name] for name in names[names.index(turn.strategy) + 1 :]]
        for strategist in behind:
            self._tell(strategist)
            strategist.run(window, turn.stamp, turn.told_to)
        self._confirm(window, turn.stamp, behind, turn.told_to)

    def _agree(self, window: TickWindow | None, target: int) -> None:
        self._confirm(window, target, self.strategists.values(), self.told_to)
        self._catch_up(window, target)

    def _confirm(self, window: TickWindow | None, target: int, among: Iterable[StrategistCore], told_to: int) -> None:
        sent = False
        for strategist in among:
            decision = strategist.confirm(window, target)
            if decision is not None:
                sent = True
                self._decide(msgspec.structs.replace(decision, told_to=told_to))
                if self.terms.exits_at_venue:
                    self.core.at(target)
                    self.settle()
        if sent:
            self.core.at(target)
            self.settle()

    def _decide(self, decision: Decision) -> None:
        self.unlucky.point("before decide")
        key = (decision.strategy, decision.number)
        known = self.decisions.get(key)
        if known is not None and decision.number <= self.book.strategies[decision.strategy].row.decisions:
            assert (known.position, known.requests) == (decision.position, decision.requests)
        self.decisions[key] = decision
        self.now_ns = max(self.now_ns, decision.ts_ns)
        self.take(self.core.decide(decision, decision.ts_ns))

    def _run_all(self, window: TickWindow | None, until: int) -> tuple[int, bool]:
        target, decided = until, False
        self.told_to = self.book.sequence
        for strategist in self.strategists.values():
            self._tell(strategist)
            reached = strategist.run(window, target)
            holds = strategist.has_more(reached)
            if reached < target:
                target, decided = reached, holds
            elif reached == target and holds:
                decided = True
        return target, decided

    def _tell(self, follower: StrategistCore | MonitorCore) -> None:
        known = follower.news[-1].sequence if follower.news else follower.view.inbox
        follower.deliver(self._behind(known))

    def _behind(self, known: int) -> list[Entry]:
        """Entries of the tail that come behind a number; they are numbered without a gap."""
        return self.tail[max(0, known + 1 - self.tail[0].sequence) :] if self.tail else []

    def cut(self, at: int) -> None:
        """Everybody's state at one stamp and one sequence."""
        stamp = Stamp.after(at)
        self.core.at(stamp)
        self.settle()
        self._catch_up(None, stamp)
        self._tell(self.monitor)
        self.monitor.follow(stamp)
        saved = [self._saved(name, core) for name, core in self.strategists.items()]
        state = AccountState(
            book=self.book.save(),
            monitor=self.monitor.save(),
            memories=self.core.memories,
            rates=None,
            position=at,
            ts_ns=self.now_ns,
            quotes=self.core.quotes,
        )
        account = encode_account_state(state)
        self.take(Effects(checkpoints=(self._checkpoint(ACCOUNT_OWNER, at, account), *saved)))

    def _saved(self, name: str, core: StrategistCore) -> Checkpoint:
        return self._checkpoint(name, core.position, core.save(), core.view.inbox)

    def _checkpoint(self, owner: str, position: int, state: bytes, inbox: int | None = None) -> Checkpoint:
        return Checkpoint(
            execution=RUN,
            owner=owner,
            position=position,
            inbox=self.book.sequence if inbox is None else inbox,
            ts_ns=self.now_ns,
            version=1,
            state=state,
        )

    # --- what must hold --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Both sides agree, every unit of every fill belongs to a trade, and every order that is not over is explained."""
        check_books(self)


def check_books(world: World) -> None:
    """No id twice, fills booked once, positions and balances equal, allocations complete, no trade closed beyond its entry."""
    assert len(world.arrived) == len(set(world.arrived)), "a client id reached the venue twice"
    records = [record for _, record in world.decoded()]
    booked = [rec.transaction for rec in records if isinstance(rec, r.VenueReported)]
    assert booked == world.record[: len(booked)], "the venue's record is booked in order, entry by entry"
    book = world.book
    assert book.cursor == len(world.record)
    assert book.money.balance == world.matcher.balance().balance
    assert {k: (p.quantity, p.cost) for k, p in book.positions.items()} == {
        (p.instrument, p.ref): (p.quantity, p.cost) for p in world.matcher.positions()
    }
    _check_allocations(records, book)
    again = fold(Book(), world.decoded()).book
    assert again.save() == book.save(), "folding the journal gives the executor's own book"
    _check_trades(book)
    _check_orders(world)
    _check_protection(world)


def _check_allocations(records: Sequence[r.Record], book: Book) -> None:
    for rec in records:
        if isinstance(rec, r.VenueReported) and rec.transaction.fill is not None:
            fill = rec.transaction.fill
            assert sum(part.quantity for part in rec.allocations) == fill.quantity
            assert sum(part.fee for part in rec.allocations) == fill.fee
            order = book.order(fill.client_order_id)
            if order is not None:
                own = [*order.closes, order.trade_id]
                moved = [part.trade_id for part in rec.allocations]
                assert moved == [trade_id for trade_id in own if trade_id in moved], (
                    "an order moved a trade not its own"
                )
                assert rec.adopted is None


def _check_trades(book: Book) -> None:
    held: dict[tuple[str, str | None], Decimal] = {}
    for trade in (*book.trades.values(), *book.closed.values()):
        assert trade.exited_quantity <= trade.entered_quantity
        key = (trade.symbol, trade.position_ref)
        held[key] = held.get(key, D(0)) + trade.open_quantity * trade.side.sign
    assert {k: q for k, q in held.items() if q} == {k: p.quantity for k, p in book.positions.items()}


def _check_orders(world: World) -> None:
    """With nothing under way, a live order works at the venue, waits for its entry, or is in doubt."""
    there = {o.client_order_id for o in world.matcher.open_orders()}
    for order in world.book.orders.values():
        waits = order.parent_id in world.book.orders and not order.seen_at_venue
        assert order.client_order_id in there or waits, f"nobody can explain {order}"
    assert there <= set(world.book.orders), "an order works at the venue that our books do not know"


def _check_protection(world: World) -> None:
    """An open trade that wants a stop or a target is kept by orders at the venue, or by the monitor; never by nobody."""
    world._tell(world.monitor)
    world.monitor.follow(world.core.stamp)
    for trade in world.book.trades.values():
        wants = trade.stop_loss is not None or trade.take_profit is not None or trade.trailing_distance is not None
        if trade.status is not TradeStatus.OPEN or not wants or not trade.open_quantity:
            continue
        if trade.exits_at_venue:
            kept = sum(o.open_quantity for o in world.book.live_exits(trade.trade_id, attached=True)[:1])
            assert kept == trade.open_quantity, f"{trade.trade_id} is not protected at the venue: {kept}"
        else:
            assert trade.trade_id in world.monitor.watch.trades, f"nobody keeps the exits of {trade.trade_id}"


def _through_the_wire(news: Sequence[VenueTransaction]) -> list[VenueTransaction]:
    return _RECORD_OUT.decode(_LEDGER.encode(list(news)))


def _note(now_ns: int, stamp: int) -> r.Reconciled:
    return r.Reconciled(ts_ns=now_ns, stamp=stamp, balanced=True, findings=(), balance=D(0))


def execution_row(**changes: Any) -> ExecutionRow:
    """The first row of an execution."""
    row = ExecutionRow(
        execution=RUN,
        account="paper-1",
        number=1,
        mode=Mode.PAPER,
        venue="paper",
        currency="USD",
        status="running",
        config_fingerprint="c",
        data_fingerprint="d",
        opening_balance=D(0),
        started_ns=START_NS,
    )
    return msgspec.structs.replace(row, **changes)


def strategy_row(name: str, strategy: AnyStrategy | None = None, instruments: tuple[str, ...] = (EUR,)) -> StrategyRow:
    """A registered strategy."""
    return StrategyRow(
        execution=RUN,
        strategy=name,
        kind="test" if strategy is None else type(strategy).__name__,
        status=StrategyStatus.ACTIVE,
        instruments=instruments,
        parameters={},
    )


__all__ = [
    "EUR",
    "NS",
    "RUN",
    "START_NS",
    "D",
    "Entry",
    "Killed",
    "OrderType",
    "Side",
    "Unlucky",
    "World",
    "check_books",
    "execution_row",
    "strategy_row",
    "ticks_of",
]
