"""One account without its actors: the executor's core, the venue, and the records of all that they do.

What the daemon's executor does with messages and a disk between them is done here in one step: a core's effects are kept, told
to everybody who follows the journal, and what they ask for is done at the venue when the conductor lets it settle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tradekeel.backtest.exchange import Exchange
from tradekeel.domain import records as r
from tradekeel.domain.account import Equity
from tradekeel.domain.book import Book
from tradekeel.domain.effects import CancelOrder, Effects, LookUpOrder, VenueAsk
from tradekeel.domain.entries import Entry
from tradekeel.domain.evidence import NEVER_ARRIVED
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.messages import Decision, Stamp
from tradekeel.domain.positions import Quote
from tradekeel.domain.protocol import EquitySeen, Outcome, OutcomeKind
from tradekeel.domain.rows import Checkpoint, ExecutionRow, StrategyRow
from tradekeel.domain.ticks import Extremes, TickWindow
from tradekeel.errors import Defect

SETTLING_ROUNDS_MAX = 10_000
"""Rounds of requests and answers at one tick: each answer may lead to another request, and there is an end to that."""


class Follower(Protocol):
    """Somebody who reads the journal behind a cursor of his own: the monitor, a strategist."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """These come next."""


class Journal(Protocol):
    """Where the records go, with the rows that each has changed."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep these; they come in their order."""


class MemoryJournal:
    """All entries, in memory, and the states of the last cut."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._saved: tuple[Checkpoint, ...] = ()
        self._kept = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep these."""
        self.entries.extend(entries)

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """Keep these states; what was appended since is part of them."""
        self._saved, self._kept = tuple(saved), len(self.entries)

    def last_cut(self) -> Sequence[Checkpoint]:
        """The states of the last cut. What came behind it is forgotten: it comes again."""
        del self.entries[self._kept :]
        return self._saved


Hears = Callable[[Decision], object]
"""Told of each decision as the strategy has taken it, before anything comes of it."""


class Account(Struct):
    """See the module. ``last_ns`` is event time: of the last thing that has happened."""

    core: ExecutorCore
    exchange: Exchange
    journal: Journal
    followers: list[Follower] = []
    last_ns: int = 0
    due: list[VenueAsk] = []
    hears: Hears | None = None

    @property
    def book(self) -> Book:
        """The account's books."""
        return self.core.book

    # --- the beginning and the end ----------------------------------------------------------------------------------------

    def begin(self, row: ExecutionRow, strategies: Sequence[StrategyRow]) -> None:
        """Open the execution and the account at the venue; from here on it trades."""
        core = self.core
        self.take(core.note(r.ExecutionStarted(ts_ns=self.last_ns, row=row)))
        self.take(core.register(strategies, self.last_ns))
        self.exchange.begin(row.execution, self.last_ns)
        self._book_news()
        self.take(core.recover(self.last_ns))
        core.ready = True

    def go_on(self) -> None:
        """Trade from where a saved state stands: nothing was under way there, so there is nothing to find out."""
        self.core.at(Stamp.after(self.exchange.matcher.position))
        self.take(self.core.recover(self.last_ns))
        self.core.ready = True

    def expire(self, reason: str) -> None:
        """End what works, and take nothing new."""
        self.take(self.core.end(reason, self.last_ns))
        self.settle(self.core.stamp)

    def close(self, reason: str) -> None:
        """Close the execution; nothing is recorded behind that."""
        self.take(self.core.note(r.ExecutionClosed(ts_ns=self.last_ns, stamp=self.core.stamp, reason=reason)))

    # --- steps ------------------------------------------------------------------------------------------------------------

    def take(self, effects: Effects) -> None:
        """Keep what a step has recorded, tell it to the followers, and note what it asks for."""
        if effects.entries:
            self.journal.append(effects.entries)
            for follower in self.followers:
                follower.deliver(effects.entries)
        self.due.extend(effects.requests)

    def see(
        self,
        window: TickWindow,
        start: int,
        stop: int,
        stamp: int,
        quotes: Mapping[str, Quote],
        covered: Mapping[str, Extremes],
    ) -> None:
        """The ticks of ``[start, stop)`` have passed everybody; what comes next happens at ``stamp``.

        ``quotes`` are each instrument's last among them. ``covered`` is the range of its prices, where a trade is open that may
        ask for it, or may be entered.
        """
        for quote in quotes.values():
            self.last_ns = max(self.last_ns, quote.ts_ns)
        self.core.at(stamp)
        self.take(self.core.see(window.ticks[stop - 1].position, quotes, covered, self.last_ns))

    def decide(self, decision: Decision) -> None:
        """A strategy's decision."""
        if self.hears is not None:
            self.hears(decision)
        self.last_ns = max(self.last_ns, decision.ts_ns)
        self.take(self.core.decide(decision, decision.ts_ns))

    def match(self, window: TickWindow, index: int) -> None:
        """Let the venue act on one tick, book what comes of it, and settle."""
        tick = window.ticks[index]
        self.last_ns = max(self.last_ns, tick.ts_ns)
        stamp = Stamp.before(tick.position)
        self.core.at(stamp)
        self.exchange.match(window, index)
        self._book_news()
        self.settle(stamp)

    def equity_seen(self, seen: EquitySeen | None) -> None:
        """What the monitor says of the account: the gate's measure."""
        if seen is not None:
            self.core.equity = Equity(seen.equity, seen.day_start, seen.peak)

    def sample(self, ticks: Iterable[r.TickSampled]) -> None:
        """A few ticks of many become records, at once: where a run saves its state is no part of its journal."""
        self.take(self.core.sample(ticks))
        self.take(self.core.journal_samples())

    def note(self, record: r.Record) -> None:
        """Record something that nobody decides."""
        self.take(self.core.note(record))

    def settle(self, stamp: int) -> None:
        """Do everything that is asked for, and what its answers ask for, until nothing is."""
        self.core.at(stamp)
        for _ in range(SETTLING_ROUNDS_MAX):
            if not self.due:
                return
            self._perform(self._wanted())
        raise Defect(f"no end to the requests at tick {Stamp.position(stamp)}")

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _wanted(self) -> list[VenueAsk]:
        """What is due, as far as it is still wanted; a cancel that was asked for twice is asked for once."""
        asks, self.due = self.due, []
        wanted: dict[object, VenueAsk] = {}
        for place, ask in enumerate(asks):
            if self.core.is_wanted(ask):
                wanted.setdefault(ask if isinstance(ask, CancelOrder) else place, ask)
        return list(wanted.values())

    def _perform(self, asks: Sequence[VenueAsk]) -> None:
        row = self.book.execution
        assert row is not None
        outcomes: list[Outcome] = []
        questions: list[str] = []
        for ask in asks:
            if isinstance(ask, LookUpOrder):
                questions.append(ask.client_order_id)
            elif (outcome := self.exchange.perform(ask, row)) is not None:
                outcomes.append(outcome)
        self._book_news()
        for outcome in outcomes:
            self._follow(outcome)
        for client_order_id in questions:
            if not self.exchange.knows(client_order_id):
                self.take(self.core.not_sent(client_order_id, NEVER_ARRIVED, self.last_ns, never_arrived=True))

    def _book_news(self) -> None:
        news = self.exchange.take_news()
        if news:
            self.take(self.core.news(news, self.last_ns))

    def _follow(self, outcome: Outcome) -> None:
        core, key = self.core, outcome.client_order_id
        if outcome.again is not None:
            return  # the halt that holds it back has taken back what it was asked for
        if outcome.kind is OutcomeKind.NOT_SENT:
            self.take(core.not_sent(key, outcome.reason, self.last_ns))
        elif outcome.kind is OutcomeKind.UNKNOWN:
            self.take(core.lost(key, outcome.reason, self.last_ns))
