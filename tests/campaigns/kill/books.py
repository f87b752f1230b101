"""Reads the two sides' files as bytes and numbers, and checks that they say the same.

Nothing of the product is used here: no types, no fold, no verify. The databases' drivers, msgpack and Decimal are enough
to see whether an order was sent twice, whether a fill was lost, and whether the money adds up. Every check returns
sentences; none means that it holds.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path

import msgspec

from tests.campaigns.kill.reading import Row, reading

EXACT = Context(prec=60)
_WORKING = ("intended", "accepted", "partially_filled", "cancel_requested")
IN_DOUBT = ("intended", "submitted", "unknown")
NEVER_THERE = ("denied", "not_sent")


@dataclass
class Ours:
    """One account's side: everything that our books say."""

    executions: list[Row]
    journal: list[Row]
    orders: list[Row]
    fills: list[Row]
    trades: list[Row]
    strategies: list[Row]
    events: list[Row]
    cursors: list[Row]


@dataclass
class Theirs:
    """The venue's side: its record, its orders and positions, and where the account stands."""

    record: list[Row]
    orders: list[Row]
    positions: list[Row]
    standing: Row
    damaged: list[str] = field(default_factory=list)


def read_ours(place: Path | str, account: str) -> Ours:
    """All rows of one account, in a file or in the database at an address."""
    with reading(place) as rows:
        executions = rows("SELECT * FROM executions WHERE account = ? ORDER BY number", account)
        ids = [row["execution"] for row in executions]

        def of(table: str, order: str) -> list[Row]:
            statement = f"SELECT * FROM {table} WHERE execution = ? ORDER BY {order}"
            return [row for execution in ids for row in rows(statement, execution)]

        return Ours(
            executions,
            of("journal", "sequence"),
            of("orders", "created_ns, client_order_id"),
            of("fills", "venue_sequence"),
            of("trades", "created_ns, trade_id"),
            of("strategies", "strategy"),
            of("strategy_events", "strategy, sequence"),
            of("venue_cursors", "venue"),
        )


def read_theirs(path: Path) -> Theirs:
    """Everything that the paper venue's ledger holds."""
    damaged: list[str] = []

    def whole(row: Row, what: str, name: str = "payload") -> Row:
        if zlib.crc32(row[name]) != row["crc"]:
            damaged.append(f"the venue's {what} is damaged")
        content: Row = msgspec.msgpack.decode(row[name])
        return content

    with reading(path) as rows:
        standing = whole(rows("SELECT * FROM account")[0], "standing", "standing")
        record = [whole(row, f"entry {row['sequence']}") for row in rows("SELECT * FROM transactions ORDER BY 1")]
        orders = [
            whole(row, f"order {row['venue_order_id']}") | {"open": row["open"]}
            for row in rows("SELECT * FROM orders ORDER BY id")
        ]
        positions = [whole(row, "position") for row in rows("SELECT * FROM positions")]
    return Theirs(record, orders, positions, standing, damaged)


def _sum(values: Iterator[str | Decimal] | list[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, Decimal(value))
    return total


# --- at every moment, also between a kill and the restart -------------------------------------------------------------


def check_always(ours: Ours, theirs: Theirs) -> Iterator[str]:
    """What must hold at any moment at which the power may go."""
    damaged = [*theirs.damaged, *_journal_is_whole(ours)]
    if damaged:
        yield from damaged  # what cannot be read proves nothing more
        return
    yield from _record_is_whole(theirs)
    yield from _nothing_twice(theirs)
    yield from _only_durable_was_sent(ours, theirs)
    yield from _only_durable_was_told(ours, theirs)
    yield from _decisions_count(ours)
    yield from _samples_in_order(ours)
    yield from _one_order_a_leg(ours, theirs)


def _journal_is_whole(ours: Ours) -> Iterator[str]:
    expected: Counter[str] = Counter()
    for row in ours.journal:
        execution = row["execution"]
        expected[execution] += 1
        where = f"journal record {row['sequence']}"
        if row["sequence"] != expected[execution]:
            yield f"{where} stands where {expected[execution]} should"
            return
        head = f"{execution}\0{row['sequence']}\0{row['type']}\0{row['ts_ns']}\0{row['correlation_id']}\0".encode()
        if zlib.crc32(row["payload"], zlib.crc32(head)) != row["crc"]:
            yield f"{where}: the checksum is off"
            return
        content = msgspec.msgpack.decode(row["payload"])
        if (content["record"], content["ts_ns"]) != (row["type"], row["ts_ns"]):
            yield f"{where}: its columns and its content disagree"


def _record_is_whole(theirs: Theirs) -> Iterator[str]:
    numbers = [entry["sequence"] for entry in theirs.record]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the venue's record has a gap: {numbers[:5]} ... {numbers[-5:]}"
    if theirs.standing["sequence"] != len(numbers):
        yield f"the venue stands at {theirs.standing['sequence']} and its record ends at {len(numbers)}"


def _nothing_twice(theirs: Theirs) -> Iterator[str]:
    for client_id, times in Counter(order["client_order_id"] for order in theirs.orders).items():
        if times > 1:
            yield f"client id {client_id} stands {times} times among the venue's orders"
    answers = ("order_accepted", "order_rejected")
    taken = Counter(entry.get("client_order_id") for entry in theirs.record if entry["kind"] in answers)
    for answered, times in taken.items():
        if times > 1:
            yield f"client id {answered} was taken {times} times by the venue"


def _only_durable_was_sent(ours: Ours, theirs: Theirs) -> Iterator[str]:
    known = {order["client_order_id"] for order in ours.orders}
    for order in theirs.orders:
        if order["client_order_id"] not in known:
            yield f"the venue has order {order['client_order_id']}, and our books do not"


def _only_durable_was_told(ours: Ours, theirs: Theirs) -> Iterator[str]:
    for cursor in ours.cursors:
        if cursor["sequence"] > len(theirs.record):
            yield f"entry {cursor['sequence']} of the venue is booked, and its record ends at {len(theirs.record)}"
    at_venue = {_fill_of_entry(entry) for entry in theirs.record if entry.get("fill")}
    for fill in ours.fills:
        if _fill_of_row(fill) not in at_venue:
            yield f"our fill {fill['fill_id']} of order {fill['client_order_id']} is not the venue's"


def _decisions_count(ours: Ours) -> Iterator[str]:
    last: Counter[tuple[str, str]] = Counter()
    for row in ours.journal:
        if row["type"] != "decision_taken":
            continue
        content = msgspec.msgpack.decode(row["payload"])
        key = (row["execution"], content["strategy"])
        last[key] += 1
        if content["number"] != last[key]:
            yield f"decision {content['number']} of {key[1]} stands where {last[key]} should"
            last[key] = content["number"]


def _samples_in_order(ours: Ours) -> Iterator[str]:
    last: Counter[str] = Counter()
    for row in ours.journal:
        if row["type"] != "tick_sampled":
            continue
        position = msgspec.msgpack.decode(row["payload"])["position"]
        if position <= last[row["execution"]]:
            yield f"tick {position} was sampled behind tick {last[row['execution']]}"
        last[row["execution"]] = position


def _one_order_a_leg(ours: Ours, theirs: Theirs) -> Iterator[str]:
    """Of a decision and all its renewals the venue saw one order at most."""
    at_venue = {order["client_order_id"] for order in theirs.orders}
    by_id = {order["client_order_id"]: order for order in ours.orders}
    seen: Counter[str] = Counter()
    for order in ours.orders:
        if order["client_order_id"] in at_venue:
            root = order
            while root["renews"] is not None and root["renews"] in by_id:
                root = by_id[root["renews"]]
            seen[root["client_order_id"]] += 1
    for root_id, times in seen.items():
        if times > 1:
            yield f"the decision behind order {root_id} reached the venue {times} times"


# --- when nothing is under way ----------------------------------------------------------------------------------------


WISHED = ("campaign", "risk", "latch file")
"""Who may latch an account that is steered: a person, or a limit. The books and comparisons never have a reason to."""


def check_settled(ours: Ours, theirs: Theirs, *, steered: bool = False) -> Iterator[str]:
    """What must hold when a daemon has stopped in order, whether or not its run is over."""
    yield from check_always(ours, theirs)
    if theirs.damaged or any(_journal_is_whole(ours)):
        return
    yield from _sides_know_the_same_orders(ours, theirs)
    yield from _fills_once(ours, theirs)
    yield from _record_booked_once(ours, theirs)
    yield from _positions_equal(ours, theirs)
    yield from _money_equal(ours, theirs)
    yield from _fees_add_up(ours)
    yield from _always_balanced(ours, steered)


# --- at the end -------------------------------------------------------------------------------------------------------


def check_ended(ours: Ours, theirs: Theirs, *, steered: bool = False) -> Iterator[str]:
    """What must hold when a run has ended by itself. ``steered``: somebody may have paused or halted it, or a limit."""
    yield from check_settled(ours, theirs, steered=steered)
    if theirs.damaged or any(_journal_is_whole(ours)):
        return
    yield from _execution_closed(ours, steered)
    yield from _nothing_in_doubt(ours, theirs)


def _execution_closed(ours: Ours, steered: bool) -> Iterator[str]:
    if len(ours.executions) != 1:
        yield f"{len(ours.executions)} executions where one was asked for"
    for row in ours.executions:
        if row["status"] != "closed" or ((row["latch"] != "open" or row["paused"]) and not steered):
            state = (row["status"], row["latch"], row["latch_reason"], row["paused"])
            yield f"execution {row['number']} is not closed as it should be: {state}"
    paused = {row["execution"] for row in ours.executions if row["paused"]}
    for row in ours.strategies:
        if row["status"] != ("paused" if row["execution"] in paused else "active"):
            yield f"strategy {row['strategy']} is {row['status']}: {row['status_reason']}"


def _nothing_in_doubt(ours: Ours, theirs: Theirs) -> Iterator[str]:
    terminal = ("filled", "canceled", "expired", "denied", "rejected", "not_sent")
    for order in ours.orders:
        if order["status"] not in terminal:
            yield f"order {order['client_order_id']} ended as {order['status']}"
    for order in theirs.orders:
        if order["open"]:
            yield f"order {order['client_order_id']} is still open at the venue"


def _sides_know_the_same_orders(ours: Ours, theirs: Theirs) -> Iterator[str]:
    there = {order["client_order_id"]: order for order in theirs.orders}
    for order in ours.orders:
        venue = there.get(order["client_order_id"])
        if order["status"] in NEVER_THERE:
            if venue is not None:
                yield f"order {order['client_order_id']} is {order['status']} and known to the venue"
            continue
        if venue is None:
            yield f"order {order['client_order_id']} is {order['status']} and not known to the venue"
            continue
        if Decimal(order["filled_quantity"]) != Decimal(venue.get("filled", 0)):
            yield f"order {order['client_order_id']}: {order['filled_quantity']} filled here, {venue['filled']} there"
        if order["status"] not in _WORKING and order["status"] != str(venue["state"]):
            yield f"order {order['client_order_id']}: {order['status']} here, {venue['state']} there"


_FILL = ("fill_id", "venue_order_id", "client_order_id", "instrument", "side", "position_ref", "liquidity", "ts_ns")
_FILL_AMOUNTS = ("quantity", "price", "fee", "realised", "rate")


def _fill_of_row(row: Row) -> tuple[object, ...]:
    return (*(row[name] for name in _FILL), *(Decimal(row[name]) for name in _FILL_AMOUNTS))


def _fill_of_entry(entry: Row) -> tuple[object, ...]:
    fill = entry["fill"]
    return (*(fill.get(name) for name in _FILL), *(Decimal(fill[name]) for name in _FILL_AMOUNTS))


def _fills_once(ours: Ours, theirs: Theirs) -> Iterator[str]:
    here = Counter(_fill_of_row(row) for row in ours.fills)
    there = Counter(_fill_of_entry(entry) for entry in theirs.record if entry.get("fill"))
    for fill, times in (there - here).items():
        yield f"the venue's fill {fill[0]} of {fill[2]} is missing in our books ({times})"
    for fill, times in (here - there).items():
        yield f"our fill {fill[0]} of {fill[2]} is not the venue's ({times})"


def _record_booked_once(ours: Ours, theirs: Theirs) -> Iterator[str]:
    booked = [
        msgspec.msgpack.decode(row["payload"])["transaction"]["sequence"]
        for row in ours.journal
        if row["type"] == "venue_reported"
    ]
    if booked != list(range(1, len(theirs.record) + 1)):
        twice = sorted(number for number, times in Counter(booked).items() if times > 1)
        lost = sorted(set(range(1, len(theirs.record) + 1)) - set(booked))
        yield f"the venue's {len(theirs.record)} entries were booked {len(booked)} times: twice {twice}, never {lost}"


def _positions_equal(ours: Ours, theirs: Theirs) -> Iterator[str]:
    from_fills: dict[tuple[str, object], Decimal] = {}
    for fill in ours.fills:
        key = (fill["instrument"], fill["position_ref"])
        signed = Decimal(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)
        from_fills[key] = EXACT.add(from_fills.get(key, Decimal(0)), signed)
    here = {key: quantity for key, quantity in from_fills.items() if quantity}
    there = {(p["instrument"], p.get("ref")): Decimal(p["quantity"]) for p in theirs.positions}
    if here != there:
        yield f"positions from our fills are {here}, the venue's {there}"
    held: dict[str, Decimal] = {}
    for trade in ours.trades:
        left = Decimal(trade["entered_quantity"]) - Decimal(trade["exited_quantity"])
        if left < 0 or (trade["status"] in ("CLOSED", "FAILED") and left):
            yield f"trade {trade['trade_id']} is {trade['status']} with {left} left"
        if left:
            held[trade["symbol"]] = held.get(trade["symbol"], Decimal(0)) + left * (
                1 if trade["side"] == "LONG" else -1
            )
    net: dict[str, Decimal] = {}
    for (symbol, _), quantity in here.items():
        net[symbol] = net.get(symbol, Decimal(0)) + quantity
    if {k: v for k, v in held.items() if v} != {k: v for k, v in net.items() if v}:
        yield f"open trades hold {held}, the fills amount to {net}"


def _money_equal(ours: Ours, theirs: Theirs) -> Iterator[str]:
    entries = [e["transaction"] for e in _contents(ours, "venue_reported")]
    deposits = _sum(e["amount"] for e in entries if e["kind"] == "deposited")
    financing = _sum(e["amount"] for e in entries if e["kind"] == "financed")
    realised = _sum(fill["realised"] for fill in ours.fills)
    fees = _sum(fill["fee"] for fill in ours.fills)
    sums = {name: Decimal(value) for name, value in theirs.standing["sums"].items()}
    mine = {"deposits": deposits, "realised": realised, "financing": financing, "fees": fees}
    for name, amount in mine.items():
        if sums.get(name, Decimal(0)) != amount:
            yield f"{name}: {amount} here, {sums.get(name)} there"
    balance = EXACT.subtract(_sum([deposits, realised, financing]), fees)
    told = [Decimal(e["balance"]) for e in theirs.record if e.get("balance") is not None]
    if told and told[-1] != balance:
        yield f"our balance is {balance}, the venue's {told[-1]}"
    running = Decimal(0)
    for entry in theirs.record:
        running = EXACT.add(running, Decimal(entry.get("amount", 0)))
        if entry.get("fill"):
            fill = entry["fill"]
            running = EXACT.subtract(EXACT.add(running, Decimal(fill["realised"])), Decimal(fill["fee"]))
        if entry.get("balance") is not None and Decimal(entry["balance"]) != running:
            yield f"the venue's balance after entry {entry['sequence']} is {entry['balance']}, its entries make {running}"
            return


def _fees_add_up(ours: Ours) -> Iterator[str]:
    paid = _sum(fill["fee"] for fill in ours.fills)
    carried = _sum(Decimal(t["entry_fee"]) + Decimal(t["exit_fee"]) for t in ours.trades)
    if paid != carried:
        yield f"fills cost {paid} in fees, trades carry {carried}"
    bought = _sum(fill["quantity"] for fill in ours.fills)
    traded = _sum(Decimal(t["entered_quantity"]) + Decimal(t["exited_quantity"]) for t in ours.trades)
    if bought != traded:
        yield f"{bought} units were filled, trades account for {traded}"


def _always_balanced(ours: Ours, steered: bool) -> Iterator[str]:
    for content in _contents(ours, "reconciled"):
        if not content["balanced"]:
            yield f"a comparison with the venue found: {content.get('findings')}"
    for content in _contents(ours, "latch_changed"):
        if content["latch"] != "open" and not (steered and content["by"] in WISHED):
            yield f"the account was latched: {content['latch']} ({content['reason']})"


def _contents(ours: Ours, type_: str) -> Iterator[Row]:
    for row in ours.journal:
        if row["type"] == type_:
            yield msgspec.msgpack.decode(row["payload"])
