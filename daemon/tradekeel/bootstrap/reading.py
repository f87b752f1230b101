"""The books as the command line shows them: plain rows (:mod:`~tradekeel.bootstrap.values`), from the database alone."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, get_args

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.holdings import positions_of
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import Row, moment_ns, plain_row
from tradekeel.config.words import did_you_mean
from tradekeel.domain.account import SAMPLES_WAITING_MAX
from tradekeel.domain.messages import SignalStatus
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.records import ExecutionClosed, Record
from tradekeel.domain.rows import STARTED_FRESH, ExecutionRow, StrategyStatus
from tradekeel.domain.trades import TradeStatus
from tradekeel.errors import InputError
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.loop import run as run_loop
from tradekeel.storage.archives import archived_rows
from tradekeel.storage.backend import Backend
from tradekeel.storage.moment import one_moment
from tradekeel.storage.queries import CHUNK_ROWS, Filter, JournalEntry, Reader

LIMIT_DEFAULT = 20
_LAST_SEQUENCE = 2**62
_RECORD_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(Record))


class Query(Struct, frozen=True, kw_only=True):
    """Which rows. What is None does not narrow. Without ``execution`` and ``all_runs``: each account's newest execution."""

    account: str | None = None
    strategy: str | None = None
    instrument: str | None = None
    status: tuple[str, ...] | None = None
    type: str | None = None
    execution: str | None = None
    all_runs: bool = False
    last_runs: bool = False  # of trades: not of runs that a later one of the account has followed
    since: str | None = None
    until: str | None = None
    limit: int | None = LIMIT_DEFAULT


def read_rows(place: Place, kind: str, query: Query) -> list[Row]:
    """Rows of one kind (trades, orders, fills, signals, events, journal, positions, …), newest first.

    Positions are valued at the quotes of their account's last checkpoint.
    Raises InputError for a word that is none, and StoreError.
    """
    which = _filter(query)
    return run_loop(_read, place.books(), kind, query, which, use_uvloop=False)


def in_archives(place: Place, kind: str, query: Query) -> int:
    """How many rows of a kind have been moved into archives, of the account or the execution that is asked for.

    Raises StoreError.
    """
    accounts = None if query.account is None else (query.account,)
    executions = None if query.execution is None else (query.execution,)
    with one_moment(place.books(), "looking for its archives") as db:
        return archived_rows(db, accounts, executions).get(_TABLES.get(kind, kind), 0)


_TABLES = {"events": "strategy_events", "snapshots": "performance_snapshots", "parameters": "parameter_history"}


def account_names(place: Place) -> list[str]:
    """The accounts that the books know. Raises StoreError."""
    return sorted({row["account"] for row in read_rows(place, "executions", Query(limit=None))})


async def _read(books_at: Backend, kind: str, query: Query, which: Filter) -> list[Row]:
    _refuse_meaningless(kind, query)
    async with Reader(books_at) as books:
        await _check_words(books, kind, query)
        executions = await _executions(books, query)
        followed = await _followed(books) if kind == "trades" else {}
        if query.last_runs:
            executions = [run for run in executions if run.execution not in followed]
        times = await _times(books, query, executions)
        if kind == "executions":
            others = await books.elsewhere() if query.account is None else ()
            return [plain_row(row) for row in await books.executions(which) if row.account not in others]
        if kind == "positions":
            with one_moment(books_at) as db:
                return [row for run in executions for row in positions_of(db, run, {})][: which.limit]
        if kind == "journal":
            return await _journal(books, executions, which, times)
        rows = await _listed(books, kind, executions, which, times)
        return [_after_the_run(row, followed) for row in rows] if kind == "trades" else rows


async def _followed(books: Reader) -> dict[str, ExecutionRow]:
    """Executions that a later one of their account has followed, by their ids."""
    every = [run for run in await books.executions(Filter(limit=None)) if run.mode.is_a_daemons]
    newest: dict[str, int] = {}
    for run in every:
        newest[run.account] = max(run.number, newest.get(run.account, 0))
    return {run.execution: run for run in every if run.number < newest[run.account]}


def _after_the_run(row: Row, followed: Mapping[str, ExecutionRow]) -> Row:
    """A trade with what became of it when its run was over: one that was open stays so in the books of that run, and goes on in
    the next one under another id, unless that one began afresh.
    """
    run = followed.get(row["execution"])
    after = None
    if run is not None and row["status"] in OPEN_STATUSES:
        carried = Decimal(row["open_quantity"]) and run.close_reason != STARTED_FRESH
        after = "carried on" if carried else "left behind"
    return row | {"after_the_run": after, "carried_over": "carried" in row["tags"]}


OPEN_STATUSES = (TradeStatus.PENDING.value, TradeStatus.OPEN.value, TradeStatus.CLOSING.value)


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
    if query.account is None:
        others = await books.elsewhere()
        every = [row for row in every if row.account not in others]
    if query.all_runs:
        return every
    newest: dict[str, ExecutionRow] = {}
    for row in every:
        if row.account not in newest or row.number > newest[row.account].number:
            newest[row.account] = row
    return list(newest.values())


Times = Callable[[Filter, ExecutionRow], Filter]
"""A filter with the times that are meant for rows of this execution."""


async def _times(books: Reader, query: Query, executions: Sequence[ExecutionRow]) -> Times:
    """How long ago is reckoned from the clock's time; in runs of a recorded or made-up market, whose time is another, from the
    newest that these books have.
    """
    replayed = {run.execution for run in executions if run.data_fingerprint}
    if not replayed or (query.since is None and query.until is None):
        return lambda which, run: which
    newest_ns = max([await _market_ns(books, execution) for execution in replayed])
    since_ns = None if query.since is None else moment_ns(query.since, newest_ns)
    until_ns = None if query.until is None else moment_ns(query.until, newest_ns)

    def narrowed(which: Filter, run: ExecutionRow) -> Filter:
        if run.execution not in replayed:
            return which
        return msgspec.structs.replace(which, since_ns=since_ns, until_ns=until_ns)

    return narrowed


async def _market_ns(books: Reader, execution: str) -> int:
    """The market's time of the newest record. What `--fresh` has closed has a last record by the clock, and sampled ticks may
    stand behind what came later.
    """
    last = await books.journal(execution, before=_LAST_SEQUENCE, limit=SAMPLES_WAITING_MAX + 2)
    return max((entry.ts_ns for entry in last if not isinstance(entry.record, ExecutionClosed)), default=0)


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


async def _listed(
    books: Reader, kind: str, executions: Sequence[ExecutionRow], which: Filter, times: Times
) -> list[Row]:
    """Rows of each execution, merged by time."""
    lister, time = _LISTS[kind]
    found: list[tuple[Any, ExecutionRow]] = []
    for run in executions:
        narrowed = msgspec.structs.replace(times(which, run), account=None, execution=run.execution)
        found.extend((row, run) for row in await lister(books)(narrowed))
    if len(executions) > 1:
        found.sort(key=lambda pair: getattr(pair[0], time), reverse=True)
    kept = found[: which.limit]
    return [of_run(run) | plain_row(row) for row, run in kept]


def of_run(run: ExecutionRow) -> Row:
    """What every row says of the run that it belongs to."""
    return {"account": run.account, "execution": run.execution, "run": run.number, "currency": run.currency}


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


async def _journal(books: Reader, executions: Sequence[ExecutionRow], which: Filter, times: Times) -> list[Row]:
    """The newest records, newest first: merged by time, those of one execution in their order."""
    runs = [[(entry, run) for entry in await _records(books, run.execution, times(which, run))] for run in executions]
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
