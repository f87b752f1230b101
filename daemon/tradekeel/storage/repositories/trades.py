"""Trades in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Unpack

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.money import ZERO
from tradekeel.domain.rows import ExecutionRow
from tradekeel.domain.trades import OPEN_STATES, CloseReason, Trade, TradeStatus
from tradekeel.domain.tradestats import StatsTally, TradeStats
from tradekeel.errors import VersionConflict
from tradekeel.ports.repositories.paging import Listed, Page, Paging, Span, Timed
from tradekeel.storage import tables
from tradekeel.storage.repositories import traderules as rules
from tradekeel.storage.repositories.base import Repository, bounded, fields_changed, timeout_of
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.listing import Listing, asked, in_span, matching

STATS_PAGE_ROWS = 5_000

DESCRIPTIVE = frozenset(
    {"session", "timeframe", "pattern_type", "model", "confidence_score", "meta_strategy_id", "regime", "rl_state_key"}
    | {"rl_action_key", "tags", "metadata", "parameter_mode"}
)
"""What says of a trade what it is, and steers nothing."""

_STEERS = "a trade"

Apply = Callable[[Trade, int, str], Trade]
"""The trade after, from the one before, the time, and the account's currency."""

Statuses = TradeStatus | str | tuple[TradeStatus | str, ...] | None


class SqlTradeRepository(Repository[Trade]):
    """See :class:`~tradekeel.ports.repositories.TradeRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=Trade,
        time="created_ns",
        key=("trade_id",),
        sorts=rules.SORTS,
        times=rules.TIMES,
    )

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def save_trade(self, trade: Trade, **call: Unpack[Timed]) -> Trade:
        """Add a trade."""
        [saved] = await self._add("save_trade", [trade], _STEERS, timeout_of(call))
        return saved

    async def save_trades(self, trades: Sequence[Trade], **call: Unpack[Timed]) -> int:
        """Add many, all or none."""
        return len(await self._add("save_trades", bounded(trades, "trades"), _STEERS, timeout_of(call)))

    def _look_at_new(self, run: ExecutionRow, row: Trade) -> None:
        if run.mode.is_a_daemons:
            rules.refuse_more_held(None, row)

    async def update_trade(
        self,
        trade_id: str,
        changes: Mapping[str, object],
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Change the named fields and nothing else."""

        def apply(trade: Trade, now_ns: int, currency: str) -> Trade:
            return rules.updated(trade, changes, now_ns)

        return await self._change("update_trade", trade_id, apply, expected_version, timeout_of(call))

    async def mark_trade_closed(
        self,
        trade_id: str,
        exit_price: Decimal,
        exit_time_ns: int,
        reason: CloseReason | str,
        *,
        fee: Decimal = ZERO,
        pnl: Decimal | None = None,
        rate: Decimal | None = None,
        expected_version: int | None = None,
        **call: Unpack[Timed],
    ) -> Trade:
        """Close all that the trade still holds at one price."""
        how = rules.closing(exit_price, exit_time_ns, reason, fee, pnl, rate)

        def apply(trade: Trade, now_ns: int, currency: str) -> Trade:
            return rules.closed(trade, how, now_ns, currency)

        return await self._change("mark_trade_closed", trade_id, apply, expected_version, timeout_of(call))

    async def _change(
        self,
        action: str,
        trade_id: str,
        apply: Callable[[Trade, int, str], Trade],
        expected_version: int | None,
        timeout_s: float | None,
    ) -> Trade:
        async def work(change: Change) -> Trade:
            before = await self._before(change, f"trade {trade_id}", self.table.c.trade_id == trade_id)
            execution = await change.execution(before.execution, steers=None)
            if expected_version is not None and before.version != expected_version:
                raise VersionConflict(f"trade {trade_id}", expected_version, before.version)
            after = self.exactly(lambda: apply(before, change.now_ns, execution.currency), f"trade {trade_id}")
            if execution.mode.is_a_daemons and execution.status == "closed":
                rules.refuse_more_held(before, after)
            touched = fields_changed(before, after) - {"version", "updated_ns"}
            steering = sorted(touched - DESCRIPTIVE)
            steers = f"the {', '.join(steering)} of a trade" if steering else None
            [saved] = await change.replace(before.execution, [after], steers=steers)
            return saved

        return await self.database.write(action, work, timeout_s)

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def get_trade_by_id(self, trade_id: str, **call: Unpack[Timed]) -> Trade | None:
        """One trade."""
        return await self._first("reading a trade", [self.table.c.trade_id == trade_id], call)

    async def get_recent_trades(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: Statuses = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Trade]:
        """Trades by the decision that wanted them, the newest first."""
        where = self._where(symbol=symbol, strategy=strategy, status=status, account=account, execution=execution)
        return await self._page("listing trades", where, paging)

    async def get_open_trades(
        self,
        symbol: str | None = None,
        strategy: str | None = None,
        *,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Trade]:
        """Trades that hold, or may still come to hold, anything."""
        where = self._where(symbol=symbol, status=OPEN_STATES, account=account)
        # Compared so that it is the status that is gone by: most trades of either are closed.
        for column, wanted in (("strategy", strategy), ("execution", execution)):
            if wanted is not None:
                where.append(literal_column(f"{column} || ''") == wanted)
        return await self._page("listing open trades", where, paging)

    async def get_trades_by_session(self, session: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a session, the newest first."""
        return await self._of(paging, session=session)

    async def get_trades_by_pattern(self, pattern_type: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a pattern, the newest first."""
        return await self._of(paging, pattern_type=pattern_type)

    async def get_trades_by_strategy(self, strategy: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of a strategy, the newest first."""
        return await self._of(paging, strategy=strategy)

    async def get_trades_by_instrument(self, symbol: str, **paging: Unpack[Paging]) -> Page[Trade]:
        """Trades of an instrument by their entry, the newest first."""
        by_entry: Paging = {"sort": "entry_time_ns", **paging}
        return await self._of(by_entry, symbol=symbol)

    async def get_trades_by_date_range(self, since_ns: int, until_ns: int, **paging: Unpack[Listed]) -> Page[Trade]:
        """Trades of a stretch of time, the newest first."""
        within: Paging = {**paging, "since_ns": since_ns, "until_ns": until_ns}
        return await self._of(within)

    async def _of(self, paging: Paging, **words: Any) -> Page[Trade]:
        return await self._page("listing trades", self._where(**words), paging)

    async def count_trades(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: Statuses = None,
        session: str | None = None,
        pattern_type: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        where = self._where(
            symbol=symbol,
            strategy=strategy,
            status=status,
            session=session,
            pattern_type=pattern_type,
            account=account,
            execution=execution,
        )
        return await self._count("counting trades", where, span)

    async def get_stats(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> TradeStats:
        """Figures of the closed trades."""
        query = asked(dict(span))
        timeout_s = rules.STATS_TIMEOUT_S if query.timeout_s is None else query.timeout_s
        where = self._where(symbol=symbol, strategy=strategy, session=session, account=account, execution=execution)
        span_of_exits = in_span(self.table.c.exit_time_ns, query.since_ns, query.until_ns)
        status: ColumnElement[Any] = literal_column("status")
        if span_of_exits:
            status = literal_column("status || ''")  # so that it is the times that are gone by: most trades are closed
        where.extend([status == TradeStatus.CLOSED.value, *span_of_exits])
        columns: list[ColumnElement[Any]] = [
            literal_column(name) for name in ("pnl", "symbol", "strategy", "session", "exit_time_ns")
        ]

        async def ask(db: AsyncConnection) -> TradeStats:
            tally = StatsTally()
            statement = select(*columns).select_from(self.table).where(*where)
            found = await db.stream(statement, execution_options={"yield_per": STATS_PAGE_ROWS})
            async for rows in found.partitions():
                for pnl, *words in rows:
                    tally.add(Decimal(pnl), *words)
            return tally.stats()

        return await self.database.read("computing statistics", ask, timeout_s, one_moment=True)

    def _where(self, **words: Any) -> list[ColumnElement[bool]]:
        return matching(tables.trades, **words)
