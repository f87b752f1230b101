"""Positions, computed from the fills in SQL; where a wipe has deleted those, from what the journal tells of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar, Unpack

from msgspec import structs
from sqlalchemy import ColumnElement, delete, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import Position, PositionKey, Quote, booked
from tradekeel.domain.records import Administered, ExecutionStarted, decode_record, record_type_of
from tradekeel.domain.rows import STARTED_FRESH, WIPED, ExecutionRow, Mode
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import Span, Timed
from tradekeel.ports.repositories.positions import (
    POSITIONS_TIMEOUT_S,
    CloseOut,
    Exposure,
    HeldPosition,
    NetPosition,
    Period,
    PositionNote,
    PositionSummary,
    Realised,
    Valued,
)
from tradekeel.storage import tables
from tradekeel.storage.archives import Figures
from tradekeel.storage.journal import REPORTED, fills_told
from tradekeel.storage.repositories.archived import counted_in, newest_archive
from tradekeel.storage.repositories.base import timeout_of
from tradekeel.storage.repositories.change import Change, look_at_storable
from tradekeel.storage.repositories.database import Database
from tradekeel.storage.repositories.listing import asked, decoded, in_span, matching, selected, word_of
from tradekeel.storage.rows import mapping_of

FILLS_AT_ONCE = 5_000

_FLAT = (ZERO, ZERO)
_SIGNS = {side.value: side.sign for side in Side}

_FORMATS = {Period.HOUR: "%Y-%m-%dT%H", Period.DAY: "%Y-%m-%d", Period.MONTH: "%Y-%m"}

T = TypeVar("T")
AccountKey = tuple[str, PositionKey]
Values = Sequence[Any]


class _Run(NamedTuple):
    """An execution whose fills count.

    What is in an archive is there once and for all: no position changes when fills are removed that were booked before it.
    """

    row: ExecutionRow
    opening: Sequence[Position] = ()  # what it took over, where nothing before it says so
    archive: Figures | None = None  # what came of the fills up to where it was archived
    known: frozenset[Values] = frozenset()  # the fills in the tables that are in that, each by its key
    whole_from_ns: int = 0  # since when everything is in the books
    told_after: int | None = None  # a wipe has deleted the fills: the journal tells of them behind this record

    @property
    def fills(self) -> list[ColumnElement[bool]]:
        """Which fills come on top."""
        return [tables.fills.c.execution == self.row.execution]

    def begins(self, strategy: str | None = None, before_ns: int | None = None) -> Sequence[Position]:
        """What these come on top of: of one strategy's fills, and at a time. InputError for one whose fills are archived."""
        if self.archive is None:
            return self.opening if strategy is None else ()
        if before_ns is not None and before_ns < self.whole_from_ns:
            raise InputError(
                f"what account {self.row.account} held then can no longer be told from the books: its fills before "
                f"{iso(self.whole_from_ns)} are in an archive (tradekeel db archive --read FILE --table fills)"
            )
        return self.archive.positions if strategy is None else self.archive.strategies.get(strategy, ())


def _without_daemons(runs: Sequence[_Run], account: str) -> list[_Run]:
    return [run for run in runs if run.row.account != account or not run.row.mode.is_a_daemons]


def _without_wiped(runs: Sequence[_Run], account: str) -> list[_Run]:
    return [run for run in runs if run.row.account != account or run.told_after is None]


_BOOKED = ("account", "instrument", "position_ref", "side", "quantity", "price", "ts_ns")
"""What positions follow from of each fill."""


class _Held:
    """Positions as they come about, fill by fill."""

    def __init__(self) -> None:
        self.last_ns: dict[AccountKey, int] = {}
        self._sums: dict[AccountKey, tuple[Decimal, Decimal]] = {}  # quantity, cost

    def take_over(self, account: str, positions: Sequence[Position]) -> None:
        for position in positions:
            self._sums[account, (position.instrument, position.ref)] = (position.quantity, position.cost)

    def book(self, rows: Sequence[Values]) -> None:
        sums, last_ns = self._sums, self.last_ns
        with ledger():
            for account, instrument, ref, side, quantity, price, ts_ns in rows:
                key = (account, (instrument, ref))
                held, cost = sums.get(key, _FLAT)
                held, cost, _, _ = booked(held, cost, _SIGNS[side], Decimal(quantity), Decimal(price))
                sums[key] = (held, cost)
                if ts_ns > last_ns.get(key, -1):
                    last_ns[key] = ts_ns

    @property
    def positions(self) -> dict[AccountKey, Position]:
        return {key: Position(key[1][0], quantity, cost, key[1][1]) for key, (quantity, cost) in self._sums.items()}


class SqlPositionRepository:
    """See :class:`~tradekeel.ports.repositories.PositionRepository`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # --- what is held ----------------------------------------------------------------------------------------------------

    async def get_position(
        self, account: str, instrument: str, ref: str | None = None, **call: Unpack[Timed]
    ) -> HeldPosition | None:
        """One open position."""
        held = await self.get_open_positions(account, **call)
        return next((one for one in held if (one.instrument, one.position.ref) == (instrument, ref)), None)

    async def get_all_positions(
        self, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """Every position that there ever was."""
        return await self._held(account, execution, call)

    async def get_open_positions(
        self, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What is held now."""
        return [held for held in await self._held(account, execution, call) if held.quantity]

    async def get_positions_at(
        self, ts_ns: int, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What was held at a time."""
        asked({"until_ns": ts_ns})
        return [held for held in await self._held(account, execution, call, before_ns=ts_ns) if held.quantity]

    async def get_positions_by_strategy(
        self, strategy: str, account: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What the fills of a strategy's orders come to."""
        return [held for held in await self._held(account, None, call, strategy=strategy) if held.quantity]

    async def _held(
        self,
        account: str | None,
        execution: str | None,
        call: Timed,
        *,
        before_ns: int | None = None,
        strategy: str | None = None,
    ) -> list[HeldPosition]:
        fills, orders = tables.fills.c, tables.orders.c
        where = in_span(fills.ts_ns, None, before_ns)
        if strategy is not None:
            ours = select(orders.client_order_id).where(orders.strategy == strategy)
            where = [*where, fills.client_order_id.in_(ours)]

        async def ask(db: AsyncConnection) -> list[HeldPosition]:
            held = _Held()
            for run in await self._runs(db, account, execution):
                if before_ns is None or await self._began_ns(db, run) <= before_ns:
                    held.take_over(run.row.account, run.begins(strategy, before_ns))
                if strategy is None:  # whose a fill was that is deleted is in no table any more
                    async for rows in self._told(db, _BOOKED, run, before_ns):
                        held.book(rows)
                async for rows in self._on_top(db, _BOOKED, run, *where):
                    held.book(rows)
            return await self._annotated(db, held)

        return await self._read("computing positions", ask, call)

    async def _began_ns(self, db: AsyncConnection, run: _Run) -> int:
        """Since when a run has what it began with, by the time of its market, which may be years ago; 0 where nobody knows."""
        if not run.row.data_fingerprint:
            return run.row.started_ns  # a live market's time is the clock's
        if run.archive is not None or not run.opening:
            return 0  # what it began with says itself since when that is known, or is nothing
        journal = tables.journal.c
        # Until its feed has a time a run's records have none; what people write in between has the clock's.
        timed = (
            journal.execution == run.row.execution,
            journal.ts_ns != 0,
            journal.type != record_type_of(Administered),
        )
        found = await db.execute(select(journal.ts_ns).where(*timed).order_by(journal.sequence).limit(1))
        return found.scalar() or 0

    async def _runs(self, db: AsyncConnection, account: str | None, execution: str | None) -> list[_Run]:
        """The executions whose fills count, in their order, each with what it begins with."""
        mapping, runs = mapping_of(ExecutionRow), tables.executions
        statement = selected(mapping).where(*matching(runs, account=account, execution=execution))
        found = await db.execute(statement.order_by(runs.c.account, runs.c.number))
        rows = [decoded(mapping, row) for row in found]
        if execution is not None:
            return [await self._run(db, row) for row in rows]
        counting: list[_Run] = []
        for row in rows:
            if row.mode is Mode.MANUAL:
                counting.append(_Run(row))
            elif row.mode.is_a_daemons:
                run = await self._run(db, row)
                counting = _without_wiped(counting, row.account)  # it says itself what it took over from that
                if run.archive is not None or run.told_after is not None:  # all that was held before is in it
                    counting = _without_daemons(counting, row.account)
                elif any(one.row.account == row.account and one.row.mode.is_a_daemons for one in counting):
                    run = _Run(row)  # it took over what the fills before it came to
                counting.append(run)
                if row.close_reason == STARTED_FRESH:  # what comes behind has nothing of it
                    counting = _without_daemons(counting, row.account)
        return counting

    async def _run(self, db: AsyncConnection, row: ExecutionRow) -> _Run:
        """An execution with what it took over, or with what it held behind its last archive."""
        journal = tables.journal.c
        archive = await newest_archive(db, self.database.backend, row.execution)
        if archive is not None:
            behind = select(journal.ts_ns).where(
                journal.execution == row.execution, journal.sequence == archive.last + 1
            )
            whole_from_ns = (await db.execute(behind)).scalar_one()
            if row.close_reason == WIPED:
                # What fills were there when it was archived says nothing any more, because a wipe may have been before it.
                held = tuple(archive.book_behind().positions.values())
                figures = structs.replace(archive.figures, positions=held, strategies={})
                return _Run(row, (), figures, whole_from_ns=whole_from_ns, told_after=archive.last)
            return _Run(row, (), archive.figures, counted_in(archive), whole_from_ns)
        first = select(journal.payload).where(journal.execution == row.execution, journal.sequence == 1)
        payload = (await db.execute(first)).scalar()
        record = None if payload is None else decode_record(payload)
        opening = record.opening if isinstance(record, ExecutionStarted) else None
        began = () if opening is None else opening.positions
        return _Run(row, began, told_after=0 if row.close_reason == WIPED else None)

    async def _told(
        self, db: AsyncConnection, names: Sequence[str], run: _Run, before_ns: int | None = None
    ) -> AsyncIterator[Sequence[Values]]:
        """The fills that a wipe has deleted, as the journal tells of them; nothing for an execution that was not wiped."""
        if run.told_after is None:
            return
        journal = tables.journal.c
        reported = (journal.execution == run.row.execution, journal.type == REPORTED, journal.sequence > run.told_after)
        statement = select(journal.payload).where(*reported).order_by(journal.sequence)
        found = await db.stream(statement, execution_options={"yield_per": FILLS_AT_ONCE})
        async for page in found.partitions():
            fills = fills_told(payload for (payload,) in page)
            yield [
                [getattr(fill, name) for name in names] for fill in fills if before_ns is None or fill.ts_ns < before_ns
            ]

    async def _on_top(
        self, db: AsyncConnection, names: Sequence[str], run: _Run, *where: ColumnElement[bool]
    ) -> AsyncIterator[Sequence[Values]]:
        """An execution's fills that come on top of what it begins with."""
        if not run.known:
            async for rows in self._fills(db, names, *run.fills, *where):
                yield rows
            return
        async for rows in self._fills(db, (*names, *tables.FILL_KEY), *run.fills, *where):
            yield [row[: len(names)] for row in rows if tuple(row[len(names) :]) not in run.known]

    async def _fills(
        self, db: AsyncConnection, names: Sequence[str], *where: ColumnElement[bool]
    ) -> AsyncIterator[Sequence[Values]]:
        """Fills in the order in which they were booked, few of them in memory."""
        columns: list[ColumnElement[Any]] = [literal_column(name) for name in names]
        statement = select(*columns).select_from(tables.fills).where(*where).order_by(tables.fills.c.id)
        found = await db.stream(statement, execution_options={"yield_per": FILLS_AT_ONCE})
        async for rows in found.partitions():
            yield rows

    async def _annotated(self, db: AsyncConnection, held: _Held) -> list[HeldPosition]:
        notes = {
            (row.account, (row.instrument, row.position_ref or None)): PositionNote(
                note=row.note, tag=row.tag, owner=row.owner, updated_ns=row.updated_ns
            )
            for row in await db.execute(select(tables.position_notes))
        }
        return [
            HeldPosition(account=key[0], position=position, last_fill_ns=held.last_ns.get(key), note=notes.get(key))
            for key, position in sorted(held.positions.items(), key=lambda item: _order(item[0]))
        ]

    # --- what follows from it --------------------------------------------------------------------------------------------

    async def get_net_by_symbol(self, account: str | None = None, **call: Unpack[Timed]) -> dict[str, NetPosition]:
        """Open instruments, each netted over its positions and accounts."""
        held = await self.get_open_positions(account, **call)
        return {name: net for name, net in _netted(one.position for one in held).items() if net.quantity}

    async def get_net_across_venues(self, account: str | None = None, **call: Unpack[Timed]) -> dict[str, NetPosition]:
        """The same, with the quantity at each venue beside it."""

        async def ask(db: AsyncConnection) -> tuple[_Held, dict[str, dict[str, Decimal]]]:
            held, venues = _Held(), dict[str, dict[str, Decimal]]()
            for run in await self._runs(db, account, None):
                held.take_over(run.row.account, run.begins())
                for position in run.begins():
                    _add(venues.setdefault(position.instrument, {}), run.row.venue, position.quantity)
                names = (*_BOOKED, "venue")
                for some in (self._told(db, names, run), self._on_top(db, names, run)):
                    async for rows in some:
                        held.book([row[:-1] for row in rows])
                        for row in rows:
                            side, quantity, venue = row[3], row[4], row[-1]
                            _add(venues.setdefault(row[1], {}), venue, _SIGNS[side] * Decimal(quantity))
            return held, venues

        held, venues = await self._read("netting venues", ask, call)
        nets = _netted(held.positions.values())
        flat = NetPosition(instrument="", quantity=ZERO, cost=ZERO)
        return {
            instrument: NetPosition(
                instrument=instrument,
                quantity=nets.get(instrument, flat).quantity,
                cost=nets.get(instrument, flat).cost,
                by_venue={venue: quantity for venue, quantity in sorted(by_venue.items()) if quantity},
            )
            for instrument, by_venue in sorted(venues.items())
            if any(by_venue.values())
        }

    async def get_exposure(
        self, prices: Mapping[str, Quote] | None = None, account: str | None = None, **call: Unpack[Timed]
    ) -> Exposure:
        """Gross and net exposure by quote currency, and net by currency."""
        gross: dict[str, Decimal] = {}
        net: dict[str, Decimal] = {}
        by_currency: dict[str, Decimal] = {}
        for held in await self.get_open_positions(account, **call):
            base, _, quote = held.instrument.rpartition("_")
            mark = _mark(held.position, prices or {})
            with ledger():
                value = held.position.cost if mark is None else held.quantity * mark
            _add(gross, quote, value.copy_abs())
            _add(net, quote, value)
            _add(by_currency, base or held.instrument, held.quantity)
            if base:
                _add(by_currency, quote, -value)
        return Exposure(gross=gross, net=net, by_currency=by_currency)

    async def get_unrealised(
        self, prices: Mapping[str, Quote], account: str | None = None, **call: Unpack[Timed]
    ) -> list[Valued]:
        """Open positions at the prices given."""
        valued = []
        for held in await self.get_open_positions(account, **call):
            quote = prices.get(held.instrument)
            unrealised = None if quote is None else held.position.unrealised(quote.bid, quote.ask)
            valued.append(Valued(held=held, mark=_mark(held.position, prices), unrealised=unrealised))
        return valued

    async def get_realised(
        self, period: Period | str = Period.DAY, account: str | None = None, **span: Unpack[Span]
    ) -> dict[str, Realised]:
        """What was realised in each period that had fills."""
        shape, query = _FORMATS[word_of(Period, period, "period")], asked(dict(span))
        of_backtests = select(tables.executions.c.execution).where(tables.executions.c.mode == Mode.BACKTEST)
        where = [
            *matching(tables.fills, account=account),
            *in_span(tables.fills.c.ts_ns, query.since_ns, query.until_ns),
            tables.fills.c.execution.not_in(of_backtests),
        ]

        async def ask(db: AsyncConnection) -> dict[str, Realised]:
            found: dict[str, tuple[Decimal, Decimal, int]] = {}
            async for rows in self._fills(db, ("ts_ns", "realised", "fee"), *where):
                with ledger():
                    for ts_ns, realised, fee in rows:
                        name = datetime.fromtimestamp(ts_ns // NS_PER_S, UTC).strftime(shape)
                        profit, fees, count = found.get(name, (ZERO, ZERO, 0))
                        found[name] = (profit + Decimal(realised), fees + Decimal(fee), count + 1)
            return {
                name: Realised(realised=profit, fees=fees, fills=count)
                for name, (profit, fees, count) in sorted(found.items())
            }

        return await self._read(
            "computing what was realised", ask, {"timeout_s": query.timeout_s} if query.timeout_s else {}
        )

    async def get_summary(self, account: str | None = None, **call: Unpack[Timed]) -> PositionSummary:
        """How many, which way, where."""
        held = await self.get_open_positions(account, **call)
        long = sum(one.quantity > ZERO for one in held)
        return PositionSummary(
            count=len(held),
            long=long,
            short=len(held) - long,
            accounts=tuple(sorted({one.account for one in held})),
            instruments=tuple(sorted({one.instrument for one in held})),
        )

    async def get_close_out(self, account: str | None = None, **call: Unpack[Timed]) -> list[CloseOut]:
        """What would have to be sent to hold nothing."""
        return [
            CloseOut(held=held, side=Side.SELL if held.quantity > ZERO else Side.BUY, quantity=held.quantity.copy_abs())
            for held in await self.get_open_positions(account, **call)
        ]

    async def count_positions(self, account: str | None = None, **call: Unpack[Timed]) -> int:
        """How many are open."""
        return len(await self.get_open_positions(account, **call))

    # --- what people attach ----------------------------------------------------------------------------------------------

    async def annotate(
        self,
        account: str,
        instrument: str,
        ref: str | None = None,
        *,
        note: str = "",
        tag: str = "",
        owner: str = "",
        **call: Unpack[Timed],
    ) -> PositionNote:
        """Attach a note, a tag and an owner. It follows from no journal, and stands in none."""
        table = tables.position_notes
        texts = {"account": account, "instrument": instrument, "position_ref": ref or "", "note": note, "tag": tag}
        texts["owner"] = owner
        look_at_storable(table, texts)

        async def work(change: Change) -> PositionNote:
            await change.hold(account)
            here = [table.c[name] == texts[name] for name in ("account", "instrument", "position_ref")]
            await change.db.execute(delete(table).where(*here))
            if note or tag or owner:
                await change.db.execute(insert(table).values(**texts, updated_ns=change.now_ns))
            return PositionNote(note=note, tag=tag, owner=owner, updated_ns=change.now_ns)

        return await self.database.write("annotate", work, timeout_of(call))

    async def _read(self, doing: str, ask: Callable[[AsyncConnection], Awaitable[T]], call: Timed) -> T:
        timeout_s = timeout_of(call)
        limit_s = POSITIONS_TIMEOUT_S if timeout_s is None else timeout_s
        try:
            return await self.database.read(doing, ask, limit_s, one_moment=True)
        except ArithmeticError as error:
            raise InputError(f"{doing}: amounts have more digits than can be computed exactly") from error


def _order(key: AccountKey) -> tuple[str, str, str]:
    account, (instrument, ref) = key
    return account, instrument, ref or ""


def _mark(position: Position, prices: Mapping[str, Quote]) -> Decimal | None:
    quote = prices.get(position.instrument)
    if quote is None:
        return None
    return quote.bid if position.quantity > ZERO else quote.ask


def _add(sums: dict[str, Decimal], name: str, amount: Decimal) -> None:
    with ledger():
        sums[name] = sums.get(name, ZERO) + amount


def _netted(held: Iterable[Position]) -> dict[str, NetPosition]:
    quantities: dict[str, Decimal] = {}
    costs: dict[str, Decimal] = {}
    for one in held:
        _add(quantities, one.instrument, one.quantity)
        _add(costs, one.instrument, one.cost)
    return {
        name: NetPosition(instrument=name, quantity=quantity, cost=costs[name])
        for name, quantity in sorted(quantities.items())
    }
