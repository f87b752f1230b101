"""What the log says of trading: only what is durable, each thing once, and never so much that it drowns the rest."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.days import costs, journal, world
from tests.unit.domain.world import Killed, Unlucky, World
from tests.unit.storage import samples
from tradekeel.actors.executor.chronicle import (
    COUNT_EVERY_S,
    OTHER,
    TRADES_PER_S_MAX,
    TROUBLES_MAX,
    Chronicle,
)
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import shown_amount, shown_price
from tradekeel.domain.messages import Signal, SignalStatus, TransactionKind, VenueTransaction
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.recovery import fold
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import Trade, TradeStatus

NOW_S = 1_000.0


class Line(NamedTuple):
    level: str
    text: str
    fields: dict[str, str]


class Log:
    """What was said, at the level that is asked for."""

    def __init__(self, level: str = "INFO") -> None:
        self.level = level
        self.lines: list[Line] = []

    def say(self, level: str, text: str, **fields: str) -> None:
        self.lines.append(Line(level, text, fields))

    def shows(self, level: str) -> bool:
        levels = ("DEBUG", "INFO", "WARNING")
        return levels.index(level) >= levels.index(self.level)

    def chronicle(self) -> Chronicle:
        return Chronicle("paper", "USD", self.say, self.shows)

    def about(self, word: str) -> list[Line]:
        return [line for line in self.lines if word in line.text]


class Story:
    """Entries of an account in the making; ``denied`` and the like return the newest."""

    def __init__(self) -> None:
        self.desk = samples.Desk()
        self.entries: list[Entry] = []
        self.put(self.desk.opening())

    def put(self, group: r.Group) -> list[Entry]:
        made: list[Entry] = []
        book = fold(Book(), ((e.sequence, e.record) for e in self.entries)).book
        for record in group.records:
            rows = tuple(book.apply(record))
            made.append(Entry(book.sequence, record, rows))
        self.entries += made
        return made

    def opened(self, count: int) -> list[Entry]:
        numbers = [self.desk.orders + n for n in range(1, count + 1)]
        made = [entry for _ in numbers for entry in self.put(self.desk.decision())]
        return made + [entry for number in numbers for entry in self.put(self.desk.filled(number))]

    def denied(self, why: str, strategy: str = samples.STRATEGY) -> list[Entry]:
        """One denied entry; the strategy is only a name on it."""
        [taken] = self.desk.decision().records
        assert isinstance(taken, r.DecisionTaken)
        order = structs.replace(
            taken.orders[0], status=OrderStatus.DENIED, status_reason=why, trade_id=None, strategy=strategy
        )
        signal: Signal = structs.replace(taken.signals[0], execution_status=SignalStatus.DENIED, trade_id=None)
        record = structs.replace(taken, orders=(order,), signals=(signal,), trades=())
        return [Entry(len(self.entries) + 1, record, (order, signal))]

    def latched(self, latch: Latch = Latch.OPEN, *, paused: bool = False, reason: str = "lunch {}") -> list[Entry]:
        record = r.LatchChanged(ts_ns=samples.START_NS, paused=paused, latch=latch, reason=reason, by="alice")
        return self.put(self.desk.group(record))


def seen_of(entries: Iterable[Entry]) -> Counter[str]:
    """How often trades were opened and closed, counted from the books' own rows."""
    counts: Counter[str] = Counter()
    open_: set[str] = set()
    for row in (row for entry in entries for row in entry.rows if isinstance(row, Trade)):
        if row.status in (TradeStatus.OPEN, TradeStatus.CLOSING) and row.trade_id not in open_:
            open_.add(row.trade_id)
            counts["opened"] += 1
        elif row.status is TradeStatus.CLOSED and row.trade_id in open_:
            open_.discard(row.trade_id)
            counts["closed"] += 1
    return counts


# --- trades ---------------------------------------------------------------------------------------------------------------


@pytest.mark.untraced
@given(st.integers(0, 300))
def test_each_trade_is_told_of_when_it_opens_and_when_it_closes_with_its_ids(seed: int) -> None:
    log = Log()
    chronicle = log.chronicle()
    entries = fold(Book(), journal(seed)).entries
    for second, entry in enumerate(entries):
        chronicle.tell([entry], float(second))

    trades = [line for line in log.lines if " opened " in line.text or " closed " in line.text]
    assert Counter(word for line in trades for word in ("opened", "closed") if f" {word} " in line.text) == seen_of(
        entries
    )
    for line in trades:
        assert line.level == "INFO"
        assert {"account", "trade_id", "order_id", "correlation_id"} <= line.fields.keys()
        assert all(line.fields.values())


def test_a_line_says_what_a_person_wants_to_know() -> None:
    story, log = Story(), Log()
    log.chronicle().tell(story.opened(1), NOW_S)
    assert [line.text for line in log.lines] == ["floor opened LONG 1000 EUR_USD at 1.39215 (stop 1.39000)"]

    log = Log()
    entries = fold(Book(), journal(3)).entries
    closing = next(e for e in entries if seen_of(entries[: e.sequence])["closed"])
    chronicle = log.chronicle()
    chronicle.begin(
        fold(Book(), ((e.sequence, e.record) for e in entries if e.sequence < closing.sequence)).book, (), 0
    )
    chronicle.tell([closing], NOW_S)
    [line] = log.about(" closed ")
    for word in (" by ", "pnl ", " USD", " at "):
        assert word in line.text


@pytest.mark.parametrize(
    ("value", "symbol", "shown"),
    [
        ("1.101555763889", "EUR_USD", "1.101556"),
        ("1.39215", "EUR_USD", "1.39215"),
        ("151.3000", "USD_JPY", "151.3"),
        ("151.30049999", "USD_JPY", "151.3005"),
        ("0.123456789012", "PEPE_USDT", "0.12345679"),
        ("100000", "BTC_USDT", "100000"),
    ],
)
def test_an_average_price_has_the_instruments_digits_and_one_more(value: str, symbol: str, shown: str) -> None:
    assert shown_price(Decimal(value), symbol) == shown


@pytest.mark.parametrize(
    ("value", "currency", "shown"),
    [
        ("1.736944444445", "USD", "1.7369"),
        ("-0.4500", "EUR", "-0.45"),
        ("0.00004", "USD", "0"),
        ("1234.567", "JPY", "1234.57"),
    ],
)
def test_an_amount_has_the_digits_that_are_booked_in_its_currency(value: str, currency: str, shown: str) -> None:
    assert shown_amount(Decimal(value), currency) == shown


def test_in_a_second_so_many_trades_have_a_line_and_the_others_are_counted() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    chronicle.tell(story.opened(TRADES_PER_S_MAX + 30), NOW_S)
    assert len(log.lines) == TRADES_PER_S_MAX
    assert chronicle.due_s == NOW_S + 1

    chronicle.tell_counts(NOW_S + 1)
    assert "30 more opened" in log.lines[-1].text
    assert not chronicle.due_s

    chronicle.tell(story.opened(1), NOW_S + 2)
    assert len(log.lines) == TRADES_PER_S_MAX + 2


# --- orders that come to nothing ------------------------------------------------------------------------------------------


def test_of_a_flood_of_denials_the_first_of_each_reason_is_told_and_then_a_count_every_minute() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    for number in range(1_000):
        chronicle.tell(story.denied(f"price_collar: {number} pips off"), NOW_S + number / 1_000)
    chronicle.tell(story.denied("paused: trading is paused"), NOW_S)
    chronicle.tell(story.denied("paused: trading is paused", "trend"), NOW_S)
    assert [line.level for line in log.lines] == ["WARNING"] * 3
    assert log.lines[0].text == "floor: entry order denied: buy 1000 EUR_USD market: price_collar: 0 pips off"
    assert log.lines[0].fields["order_id"] == "tkexec-1-1"

    chronicle.tell_counts(NOW_S + COUNT_EVERY_S)
    [count] = log.lines[3:]
    assert (
        count.text
        == "floor: 999 more orders denied, price_collar, within a minute; the last: price_collar: 999 pips off"
    )
    chronicle.tell_counts(NOW_S + 2 * COUNT_EVERY_S)
    assert len(log.lines) == 4
    assert chronicle.due_s is None

    chronicle.tell(story.denied("price_collar: it is back"), NOW_S + 3 * COUNT_EVERY_S)
    assert "it is back" in log.lines[-1].text


def test_reasons_without_end_do_not_fill_the_memory() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    for number in range(TROUBLES_MAX + 50):
        chronicle.tell(story.denied(f"code_{number}: why"), NOW_S)
    assert len(log.lines) == TROUBLES_MAX + 1
    chronicle.end()
    assert log.lines[-1].text == f"49 more orders {OTHER}, within a minute; the last: code_149: why"


def test_what_the_venue_rejects_is_told_with_its_reason() -> None:
    story, log = Story(), Log()
    story.put(story.desk.decision())
    news = VenueTransaction(
        sequence=2,
        kind=TransactionKind.ORDER_REJECTED,
        ts_ns=samples.START_NS,
        client_order_id=f"tk{samples.RUN}-1",
        reason="margin",
    )
    log.chronicle().tell(story.put(story.desk.group(r.VenueReported(ts_ns=news.ts_ns, transaction=news))), NOW_S)
    [line] = log.lines
    assert line.level == "WARNING"
    assert line.text == "floor: entry order rejected by the venue: buy 1000 EUR_USD market: margin"


def test_an_order_whose_outcome_nobody_knows_is_told() -> None:
    story, log = Story(), Log()
    story.put(story.desk.decision())
    lost = r.OrderChanged(
        ts_ns=samples.START_NS, client_order_id=f"tk{samples.RUN}-1", event="lose", reason="no answer in time"
    )
    log.chronicle().tell(story.put(story.desk.group(lost)), NOW_S)
    assert "unknown, and looked up" in log.lines[0].text


def test_nothing_that_was_counted_stays_unsaid_at_the_end() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    chronicle.tell(story.opened(TRADES_PER_S_MAX + 1), NOW_S)
    for _ in range(3):
        chronicle.tell(story.denied("paused: lunch"), NOW_S)
    chronicle.end()
    assert [line.text.split(",")[0] for line in log.lines[-2:]] == [
        "trades: 1 more opened within a second",
        "floor: 2 more orders denied",
    ]
    assert chronicle.due_s is None


# --- what may be traded ---------------------------------------------------------------------------------------------------


def test_pauses_halts_and_releases_have_a_line_each() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    chronicle.tell(story.latched(paused=True), NOW_S)
    chronicle.tell(story.latched(Latch.HALTED, paused=True, reason="too hot"), NOW_S)
    chronicle.tell(story.latched(paused=True), NOW_S)
    chronicle.tell(story.latched(), NOW_S)
    assert [(line.level, line.text) for line in log.lines] == [
        ("INFO", "paper is paused by alice: lunch {}: no new entries (tradekeel resume)"),
        ("WARNING", "paper is halted by alice: too hot (tradekeel release)"),
        ("INFO", "paper is released by alice: lunch {}"),
        ("INFO", "paper takes entries again by alice: lunch {}"),
    ]


# --- once -----------------------------------------------------------------------------------------------------------------


def test_what_was_durable_before_the_process_began_is_not_told_again() -> None:
    story, log = Story(), Log()
    story.opened(2)
    story.latched(paused=True)
    chronicle = log.chronicle()
    chronicle.begin(fold(Book(), ((e.sequence, e.record) for e in story.entries)).book, story.entries, NOW_S)
    assert log.lines == []
    chronicle.tell(story.latched(), NOW_S)
    assert "takes entries again" in log.lines[0].text


def test_what_an_executor_did_not_live_to_tell_is_told_by_the_next_one() -> None:
    story, log = Story(), Log()
    chronicle = log.chronicle()
    chronicle.begin(Book(), (), NOW_S)
    chronicle.tell(story.entries, NOW_S)
    chronicle.tell(story.opened(1), NOW_S)
    story.opened(1)  # durable, and its executor died before it heard of that
    for _ in range(2):
        chronicle.begin(fold(Book(), ((e.sequence, e.record) for e in story.entries)).book, story.entries, NOW_S)
    assert [line.fields["trade_id"] for line in log.about("opened")] == [f"tr{samples.RUN}-1", f"tr{samples.RUN}-2"]


def test_trades_that_an_execution_takes_over_were_opened_before() -> None:
    log = Log()
    opening = r.Opening(cursor=0, balance=Decimal(1), positions=(), trades=(samples.trade(1),))
    record = r.ExecutionStarted(ts_ns=samples.START_NS, row=samples.execution(), opening=opening)
    log.chronicle().tell([Entry(1, record, (samples.trade(1),))], NOW_S)
    [line] = log.lines
    assert line.text.endswith(
        "begins, with the last one's balance 1 USD and 1 open trade carried over (--fresh begins anew)"
    )


@pytest.mark.untraced
@given(st.integers(0, 10**6))
def test_over_all_the_lives_of_a_day_no_trade_is_told_of_twice(seed: int) -> None:
    """Each life has a chronicle of its own, as each process has; what is told follows the commits."""
    plain = world(seed, settings=costs).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 3)
    log = Log()
    killed = world(seed, Unlucky(at), settings=costs)
    while not killed.finished:
        chronicle = log.chronicle()
        told = [len(killed.journal)]
        try:
            killed.start()
            chronicle.begin(fold(Book(), killed.decoded()[: told[0]]).book, (), 0.0)
            killed.conduct()
            killed.finished = True
        except Killed:
            killed.restarts += 1
        _tell_commits(killed, chronicle, told[0])
    # A trade may open again by a late fill, but the same line is never said again.
    lines = [
        (line.text, line.fields["trade_id"]) for line in log.lines if "trade_id" in line.fields and line.level == "INFO"
    ]
    assert len(lines) == len(set(lines))


def _tell_commits(done: World, chronicle: Chronicle, after: int) -> None:
    """What became durable in this life."""
    entries = fold(Book(), done.decoded()).entries
    for number, entry in enumerate(entries[after:]):
        chronicle.tell([entry], float(number))


# --- details --------------------------------------------------------------------------------------------------------------


def test_orders_and_fills_are_told_to_whoever_asks_for_details_and_to_nobody_else() -> None:
    story = Story()
    entries = story.opened(1)
    quiet, detailed = Log(), Log("DEBUG")
    quiet.chronicle().tell(entries, NOW_S)
    detailed.chronicle().tell(entries, NOW_S)
    assert [line.level for line in quiet.lines] == ["INFO"]
    details = [line for line in detailed.lines if line.level == "DEBUG"]
    assert [line.text for line in details] == [
        "entry order is intended (decision_taken): buy 1000 EUR_USD market",
        "fill f1: buy 1000 EUR_USD at 1.39215, fee 0.0500",
        "entry order is filled (venue: order_filled): buy 1000 EUR_USD market",
    ]
    assert all(isinstance(value, str) for line in details for value in line.fields.values())


def test_an_order_of_nobody_is_said_to_be_its_sources() -> None:
    log = Log()
    order: Order = samples.order(
        1, strategy=None, source="operator", status=OrderStatus.DENIED, status_reason="halted: no"
    )
    record = r.OrdersIntended(ts_ns=samples.START_NS, orders=(order,))
    log.chronicle().tell([Entry(1, record, (order,))], NOW_S)
    assert log.lines[0].text.startswith("operator: entry order denied")
