"""The books as the command line shows them: plain rows, exact, from the database alone.

Every row is a dictionary of JSON values. Amounts are text, digit by digit as they are stored; times are ISO 8601 in UTC with all
nine digits beside the integer nanoseconds (``entry_time`` beside ``entry_time_ns``).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.summary import opening_record
from tradekeel.config.words import did_you_mean
from tradekeel.domain.messages import Fill, SignalStatus
from tradekeel.domain.money import ledger, plain
from tradekeel.domain.monitor import MonitorState
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.positions import Position, Quote, conversion_rate, convert
from tradekeel.domain.records import ACCOUNT_OWNER, ExecutionRow, Record, StrategyStatus
from tradekeel.domain.recovery import decode_account_state
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import InputError
from tradekeel.runtime.clock import NS_PER_S, SystemClock
from tradekeel.runtime.loop import run as run_loop
from tradekeel.storage.files import connect
from tradekeel.storage.queries import CHUNK_ROWS, Filter, JournalEntry, Reader

LIMIT_DEFAULT = 20
_LAST_SEQUENCE = 2**62
_RECORD_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(Record))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_SPAN_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DERIVED: dict[type[Struct], tuple[str, ...]] = {
    Trade: ("entry_price", "exit_price", "pnl", "pnl_percentage", "r_multiple", "risk_reward_ratio", "open_quantity"),
}

Row = dict[str, Any]


class Query(Struct, frozen=True, kw_only=True):
    """Which rows. What is None does not narrow. Without ``execution`` and ``all_runs``: each account's newest execution."""

    account: str | None = None
    strategy: str | None = None
    instrument: str | None = None
    status: tuple[str, ...] | None = None
    type: str | None = None
    execution: str | None = None
    all_runs: bool = False
    since: str | None = None
    until: str | None = None
    limit: int | None = LIMIT_DEFAULT


def read_rows(place: Place, kind: str, query: Query) -> list[Row]:
    """Rows of one kind (trades, orders, fills, signals, events, journal, positions, …), newest first.

    Raises InputError for a word that is none, and StoreError.
    """
    which = _filter(query)
    return run_loop(_read, place.books(), kind, query, which, use_uvloop=False)


def account_names(place: Place) -> list[str]:
    """The accounts that the books know. Raises StoreError."""
    return sorted({row["account"] for row in read_rows(place, "executions", Query(limit=None))})


async def _read(path: Path, kind: str, query: Query, which: Filter) -> list[Row]:
    _refuse_meaningless(kind, query)
    async with Reader(path) as books:
        await _check_words(books, kind, query)
        executions = await _executions(books, query)
        if kind == "executions":
            return [plain_row(row) for row in await books.executions(which)]
        if kind == "positions":
            held = [row for run in executions for row in await _positions(books, path, run)]
            return held[: which.limit]
        if kind == "journal":
            return await _journal(books, executions, which)
        return await _listed(books, kind, executions, which)


_MEANINGLESS: dict[str, tuple[tuple[str, ...], str]] = {
    "positions": (("since", "until"), "positions are what is held now; what moved them is in `fills`"),
    "journal": (("strategy", "instrument", "status"), "its records are the whole account's; see `orders` and `events`"),
    "executions": (("strategy", "instrument", "status"), "executions are the whole account's"),
    "snapshots": (("strategy", "instrument", "status"), "snapshots are the whole account's"),
}


def _refuse_meaningless(kind: str, query: Query) -> None:
    """A word that does not narrow these rows is refused: an answer that ignores it would look like one that does not."""
    words, why = _MEANINGLESS.get(kind, ((), ""))
    for word in words:
        if getattr(query, word) is not None:
            raise InputError(f"--{word} means nothing for {kind}: {why}")


_STATUSES: dict[str, type[StrEnum]] = {
    "trades": TradeStatus,
    "orders": OrderStatus,
    "signals": SignalStatus,
    "strategies": StrategyStatus,
}


async def _check_words(books: Reader, kind: str, query: Query) -> None:
    """A word that nothing in the books bears is refused: "no orders" must never be the answer to a misspelling."""
    every = await books.executions(Filter(limit=None))
    _check_word("account", query.account, {row.account for row in every})
    if query.strategy is not None:
        rows = await books.strategies(Filter(limit=None))
        _check_word("strategy", query.strategy, {row.strategy for row in rows})
    if query.instrument is not None and not await books.knows_instrument(query.instrument):
        rows = await books.strategies(Filter(limit=None))
        _check_word("instrument", query.instrument, {symbol for row in rows for symbol in row.instruments})
    if query.type is not None:
        types = set(_RECORD_TYPES) if kind == "journal" else await books.event_types()
        _check_word("type", query.type, types)
    known = _STATUSES.get(kind)
    for word in query.status or ():
        if known is not None:
            _check_word("status", word, {status.value for status in known})


def _check_word(what: str, word: str | None, known: set[str]) -> None:
    if word is not None and known and word not in known:
        raise InputError(f"there is no {what} {word!r}; {did_you_mean(word, sorted(known), 'there are')}")


async def _executions(books: Reader, query: Query) -> list[ExecutionRow]:
    """The executions that are meant, newest first."""
    every = await books.executions(Filter(account=query.account, limit=None))
    if query.execution is not None:
        found = [row for row in every if row.execution == query.execution]
        if not found:
            raise InputError(f"there is no execution {query.execution}")
        return found
    if query.all_runs:
        return every
    newest: dict[str, ExecutionRow] = {}
    for row in every:
        if row.account not in newest or row.number > newest[row.account].number:
            newest[row.account] = row
    return list(newest.values())


_Lister = Callable[[Reader], Callable[[Filter], Awaitable[Sequence[Any]]]]

_LISTS: dict[str, tuple[_Lister, str]] = {
    "trades": (lambda books: books.trades, "created_ns"),
    "orders": (lambda books: books.orders, "created_ns"),
    "fills": (lambda books: books.fills, "ts_ns"),
    "signals": (lambda books: books.signals, "generated_at_ns"),
    "events": (lambda books: books.events, "ts_ns"),
    "strategies": (lambda books: books.strategies, "updated_ns"),
    "snapshots": (lambda books: books.snapshots, "ts_ns"),
    "parameters": (lambda books: books.parameter_history, "ts_ns"),
}


async def _listed(books: Reader, kind: str, executions: Sequence[ExecutionRow], which: Filter) -> list[Row]:
    """Rows of each execution, merged by time."""
    lister, time = _LISTS[kind]
    found: list[tuple[Any, ExecutionRow]] = []
    for run in executions:
        narrowed = msgspec.structs.replace(which, account=None, execution=run.execution)
        found.extend((row, run) for row in await lister(books)(narrowed))
    if len(executions) > 1:
        found.sort(key=lambda pair: getattr(pair[0], time), reverse=True)
    kept = found[: which.limit]
    return [{"account": run.account, "execution": run.execution} | plain_row(row) for row, run in kept]


def _filter(query: Query) -> Filter:
    now_ns = SystemClock().now_ns()
    return Filter(
        account=query.account,
        strategy=query.strategy,
        instrument=query.instrument,
        status=query.status,
        type=query.type,
        since_ns=None if query.since is None else moment_ns(query.since, now_ns),
        until_ns=None if query.until is None else moment_ns(query.until, now_ns),
        execution=query.execution,
        limit=query.limit,
    )


async def _journal(books: Reader, executions: Sequence[ExecutionRow], which: Filter) -> list[Row]:
    """The newest records, newest first: merged by time, those of one execution in their order."""
    runs = [[(entry, run) for entry in await _records(books, run.execution, which)] for run in executions]
    merged = heapq.merge(*runs, key=lambda pair: -pair[0].ts_ns)
    return [{"account": run.account} | plain_row(entry) for entry, run in islice(merged, which.limit)]


async def _records(books: Reader, execution: str, which: Filter) -> list[JournalEntry]:
    """The newest records of one execution, newest first; read in pieces, since all of them may be very many."""
    found: list[JournalEntry] = []
    while which.limit is None or len(found) < which.limit:
        wanted = CHUNK_ROWS if which.limit is None else min(CHUNK_ROWS, which.limit - len(found))
        before = found[-1].sequence if found else _LAST_SEQUENCE
        page = await books.journal(execution, before=before, limit=wanted, which=which)
        found.extend(reversed(page))
        if len(page) < wanted:
            break
    return found


# --- positions ------------------------------------------------------------------------------------------------------------


async def _positions(books: Reader, path: Path, run: ExecutionRow) -> list[Row]:
    """What an execution took over and what its fills made of it, with the profit at the last saved prices."""
    held, quotes = _opening(path, run), _quotes(path, run)
    fills = await books.fills(Filter(execution=run.execution, limit=None))
    for fill in reversed(fills):
        key = (fill.instrument, fill.position_ref)
        held[key] = _booked(held.get(key), fill)
    return [_position_row(run, position, quotes) for _, position in sorted(held.items(), key=str) if position.quantity]


def _booked(position: Position | None, fill: Fill) -> Position:
    before = position or Position(fill.instrument, ref=fill.position_ref)
    return before.apply(fill.side, fill.quantity, fill.price).position


def _opening(path: Path, run: ExecutionRow) -> dict[tuple[str, str | None], Position]:
    with closing(connect(path, read_only=True)) as db:
        record = opening_record(db, run.execution)
    taken_over = () if record is None or record.opening is None else record.opening.positions
    return {(position.instrument, position.ref): position for position in taken_over}


def _quotes(path: Path, run: ExecutionRow) -> Mapping[str, Quote]:
    """The prices of the last cut; none before there is one."""
    with closing(connect(path, read_only=True)) as db:
        row = db.execute(
            "SELECT state FROM checkpoints WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT 1",
            (run.execution, ACCOUNT_OWNER),
        ).fetchone()
    if row is None:
        return {}
    try:
        monitor = decode_account_state(row[0]).monitor
        return msgspec.msgpack.decode(monitor, type=MonitorState).quotes if monitor else {}
    except msgspec.MsgspecError:
        return {}


def _position_row(run: ExecutionRow, position: Position, quotes: Mapping[str, Quote]) -> Row:
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


def _in_account_currency(
    amount: Decimal, instrument: str, currency: str, quotes: Mapping[str, Quote]
) -> Decimal | None:
    with ledger():
        rate = conversion_rate(instrument.rpartition("_")[2], currency, quotes)
        return None if rate is None else convert(amount, rate, currency)


# --- plain values ------------------------------------------------------------------------------------------------------------


def plain_row(row: Struct) -> Row:
    """A row of the books as JSON values, with what people want to read of it without computing."""
    values: Row = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        values[name] = plain_value(value)
        if name.endswith("_ns"):
            values["time" if name == "ts_ns" else name.removesuffix("_ns")] = None if value is None else iso(value)
    with ledger():
        values.update((name, plain_value(getattr(row, name))) for name in _DERIVED.get(type(row), ()))
    return values


def plain_value(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | int() | float():
            return value
        case Decimal():
            return plain(value)
        case Enum():
            return value.value
        case str():
            return str(value)
        case Mapping():
            return {str(key): plain_value(item) for key, item in value.items()}
        case Struct():
            tag = {} if value.__struct_config__.tag is None else {"type": value.__struct_config__.tag}
            return tag | {name: plain_value(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return f"{len(value)} bytes"
        case Iterable():
            return [plain_value(item) for item in value]
    return str(value)


def iso(ns: int) -> str:
    """A moment as ISO 8601 in UTC, exact to the nanosecond."""
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def moment_ns(text: str, now_ns: int) -> int:
    """A date, a date and time (UTC unless it says otherwise), or how long ago: 90s, 15m, 2h, 3d, 1w. Raises InputError."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now_ns - int(span[1]) * _SPAN_S[span[2]] * NS_PER_S
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is no time: write 2014-05-08, 2014-05-08T13:30, or how long ago, like 15m, 2h or 3d"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1_000
