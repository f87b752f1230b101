"""What an execution holds, at its exact cost: the sum of its fills, and the profit at the latest prices that are known.

Where a wipe has deleted the fills the journal still tells of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, Inexact

import msgspec

from tradekeel.bootstrap.summary import opening_of_fills
from tradekeel.bootstrap.values import Row, plain_value
from tradekeel.domain.messages import Fill
from tradekeel.domain.money import ledger, plain
from tradekeel.domain.monitor import MonitorState
from tradekeel.domain.positions import Position, Quote, book_fill, conversion_rate, convert
from tradekeel.domain.recovery import decode_account_state
from tradekeel.domain.rows import ACCOUNT_OWNER, WIPED, ExecutionRow
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.storage.archives import last_archived
from tradekeel.storage.backend import Connection
from tradekeel.storage.journal import REPORTED, fills_told
from tradekeel.storage.rows import mapping_of

Quotes = Mapping[str, Quote]


def positions_of(db: Connection, run: ExecutionRow, latest: Quotes) -> list[Row]:
    """What an execution took over and what its fills made of it; the profit is at the ``latest`` quotes, and where there is none
    at the last saved ones. InputError for amounts that a script has written down, and that nobody can compute with.
    """
    try:
        return _positions_of(db, run, latest)
    except Inexact as error:
        raise InputError(
            f"the positions of account {run.account} cannot be computed: amounts of its fills have more digits than can be "
            "computed exactly. Ask for the other accounts by --account"
        ) from error


def _positions_of(db: Connection, run: ExecutionRow, latest: Quotes) -> list[Row]:
    opening = opening_of_fills(db, run)
    held = {} if opening is None else {(position.instrument, position.ref): position for position in opening.positions}
    quotes = {**_quotes(db, run), **latest}
    if run.close_reason == WIPED:
        for fill in _wiped(db, run):
            book_fill(held, fill)
    mapping, after = mapping_of(Fill), -1 if opening is None else opening.cursor
    for row in db.stream(
        f"{mapping.select_sql} WHERE execution = ? AND venue_sequence > ? ORDER BY id", (run.execution, after)
    ):
        book_fill(held, mapping.decode(row))
    return [_position_row(run, position, quotes) for _, position in sorted(held.items(), key=str)]


def _wiped(db: Connection, run: ExecutionRow) -> Iterator[Fill]:
    """The fills that a wipe has deleted, behind the last archive: what they came to is what the next execution takes over."""
    told = db.stream(
        "SELECT payload FROM journal WHERE execution = ? AND type = ? AND sequence > ? ORDER BY sequence",
        (run.execution, REPORTED, last_archived(db, run.execution)),
    )
    return fills_told(payload for (payload,) in told)


def _quotes(db: Connection, run: ExecutionRow) -> Quotes:
    """The prices of the last cut; none before there is one."""
    row = db.execute(
        "SELECT state FROM checkpoints WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT 1",
        (run.execution, ACCOUNT_OWNER),
    ).fetchone()
    if row is None:
        return {}
    try:
        monitor = decode_account_state(row[0]).monitor
        return msgspec.msgpack.decode(monitor, type=MonitorState).quotes if monitor else {}
    except (msgspec.MsgspecError, ValueError):
        return {}


def _position_row(run: ExecutionRow, position: Position, quotes: Quotes) -> Row:
    quote = quotes.get(position.instrument)
    with ledger():
        unrealised = None if quote is None else position.unrealised(quote.bid, quote.ask)
    booked = None if unrealised is None else _in_account_currency(unrealised, position.instrument, run.currency, quotes)
    mark = None if quote is None else (quote.bid if position.quantity > 0 else quote.ask)
    return {
        "account": run.account,
        "execution": run.execution,
        "instrument": position.instrument,
        "side": "LONG" if position.quantity > 0 else "SHORT",
        "quantity": plain(abs(position.quantity)),
        "average_price": plain_value(position.average_price),
        "cost": plain(position.cost),
        "mark": plain_value(mark),
        "unrealised": plain_value(unrealised),
        "unrealised_currency": position.instrument.rpartition("_")[2],
        "unrealised_account": plain_value(booked),
        "mark_time": None if quote is None else iso(quote.ts_ns),
        "ref": position.ref,
    }


def _in_account_currency(amount: Decimal, instrument: str, currency: str, quotes: Quotes) -> Decimal | None:
    with ledger():
        rate = conversion_rate(instrument.rpartition("_")[2], currency, quotes)
        return None if rate is None else convert(amount, rate, currency)
