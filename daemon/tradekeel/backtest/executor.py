"""A backtest from Python: data, a strategy and what it begins with.

result = BacktestExecutor(data_source, strategy, Decimal(10_000)).execute()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.around import CheckedSource
from tradekeel.backtest.given import (
    amount_given,
    given,
    instruments_given,
    name_of,
    refuse_no_journal,
    refuse_unknown,
    refuse_wrong_terms,
    source_given,
    strategies_given,
)
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.run import Keeper, Ran, run
from tradekeel.backtest.setup import Setup, Traded
from tradekeel.backtest.source import FeedSource, TickDataSource, TicksSource
from tradekeel.backtest.streamed import RedisTickDataSource
from tradekeel.domain.entries import Entry
from tradekeel.domain.ids import derived_id
from tradekeel.domain.instruments import CATALOGUE, Instrument, days_a_year_of
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.domain.messages import Fill
from tradekeel.domain.orders import Order
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.domain.tasks import TaskStatus, refuse_status
from tradekeel.domain.ticks import Tick
from tradekeel.domain.trades import Trade
from tradekeel.errors import Defect, InputError
from tradekeel.ports import BuildsBars, Feed
from tradekeel.strategies.base import AnyStrategy

ACCOUNT = "backtest"


class BacktestResult(Struct, frozen=True, kw_only=True):
    """What a run has come to. Amounts are in the account's currency, rows are as they were last, in the order they began in.

    ``trades``, ``orders`` and ``fills`` are gathered from ``entries``, so they are empty, too, where another journal was given.
    """

    execution: str
    status: TaskStatus  # COMPLETED, or PAUSED: executing again goes on
    currency: str
    ticks: int
    balance: Decimal  # deposits + realised + financing - fees
    equity: Decimal | None  # with what is open, at the last quotes; None where a price or a rate is missing
    trades: tuple[Trade, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    quality: Mapping[str, int]  # what the source says of its data: bad rows by kind and what was done about them
    entries: Sequence[Entry]  # the journal; empty where another one was given


class BacktestExecutor:
    """One account that trades strategies on a source of ticks.

    ``data_source`` is a :class:`~tradekeel.backtest.source.TickDataSource`, a feed that never waits, or ticks whose positions
    count from 1; it is asked for the bars that strategies want. ``strategy`` is one strategy, or several by their names; each
    trades ``instruments`` (those of the source). ``initial_balance`` is in ``currency``. Ticks before ``begins_ns`` (event time)
    warm the strategies up: nothing is entered there, and no figure counts them. The rest is what a configuration says of an
    account: see docs/configuration.md.
    Raises :class:`~tradekeel.errors.InputError` for what cannot be tested, and for whatever is of another kind than what is asked
    for, with what to give instead.
    """

    def __init__(
        self,
        data_source: TickDataSource | Feed | Sequence[Tick],
        strategy: AnyStrategy | Mapping[str, AnyStrategy],
        initial_balance: Decimal | int | str,
        *,
        currency: str = "USD",
        instruments: Mapping[str, Instrument] | None = None,
        settings: PaperSettings | None = None,
        limits: RiskLimits | None = None,
        leverage: Decimal | int | str | None = Decimal(30),
        hedging: bool = False,
        exits_at_venue: bool = True,
        days_a_year: int | None = None,
        begins_ns: int = 0,
        journal: Keeper | None = None,
    ) -> None:
        strategies = strategies_given(strategy)
        deposit = amount_given("initial_balance", initial_balance, "10000")
        leverage = None if leverage is None else amount_given("leverage", leverage, "30")
        refuse_wrong_terms(
            currency, settings, limits, days_a_year, begins_ns, hedging=hedging, exits_at_venue=exits_at_venue
        )
        refuse_no_journal(journal)
        known = {**CATALOGUE, **({} if instruments is None else instruments_given(instruments))}
        self._source, self._strategies = source_given(data_source, known), strategies
        _ask_for_bars(self._source, strategies)
        self._journal: Keeper = journal if journal is not None else MemoryJournal()
        symbols = self._source.info.instruments
        refuse_unknown(symbols, known)
        days = days_a_year or days_a_year_of(known[symbol] for symbol in symbols)
        rows = {name: _row(name, each, symbols) for name, each in strategies.items()}
        self.setup = Setup(
            execution=_id(
                self._source.info.fingerprint,
                deposit,
                currency,
                rows,
                settings,
                limits,
                leverage,
                hedging,
                exits_at_venue,
                days,
                begins_ns,
                [known[symbol] for symbol in symbols],
            ),
            terms=AccountTerms(
                account=ACCOUNT,
                venue="paper",
                currency=currency,
                instruments={symbol: known[symbol] for symbol in symbols},
                exits_at_venue=exits_at_venue and (len(strategies) == 1 or hedging),
                hedging=hedging,
                leverage=leverage,
            ),
            paper=PaperAccount(account=ACCOUNT, currency=currency, deposit=deposit, leverage=leverage, hedging=hedging),
            settings=settings or PaperSettings(),
            limits=limits or RiskLimits(),
            venue_instruments=known,
            traded=tuple(Traded(strategy=each, row=rows[name]) for name, each in strategies.items()),
            days_a_year=days,
            begins_ns=begins_ns,
            data_fingerprint=self._source.info.fingerprint,
        )
        self.status = TaskStatus.CREATED
        self.ticks = 0
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_to_stop = False
        self._is_run = threading.Lock()

    @property
    def progress(self) -> int:
        """Percent of the ticks, as far as that is known."""
        if self.status is TaskStatus.COMPLETED:
            return 100
        return int(100 * (self._source.progress() or 0.0)) if self.ticks else 0

    def execute(self, tell: Callable[[int], object] = lambda position: None) -> BacktestResult:
        """Run to the end of the ticks, or until :meth:`stop`; executing again goes on from there.

        ``tell`` hears now and then which tick was reached. Raises InputError for what a strategy does wrong, DataError for data
        that is refused: the status is FAILED then. What a source, a journal or ``tell`` raises beside that is raised as it is,
        and executing again goes on from the last saved state. Raises InputError, too, while it is being run, which goes on.
        """
        return self._result(self.run(tell).kernel)

    def run(self, tell: Callable[[int], object] = lambda position: None) -> Ran:
        """As :meth:`execute`, and gives the kernel as it stands at the end, with nothing gathered."""
        if not callable(tell):
            raise InputError(f"tell is {given(tell)}: give a function of one tick's position, such as print")
        if not self._is_run.acquire(blocking=False):
            raise InputError("this backtest is being run: two at a time would write one journal. Make another executor")
        try:
            return self._run(tell)
        finally:
            # Behind the run, and not before it: whoever stops it may come before its first tick.
            self._is_to_stop = False
            self._is_run.release()

    def _run(self, tell: Callable[[int], object]) -> Ran:
        self._set(TaskStatus.RUNNING)
        # Another backtest may have asked the same source for others since.
        _ask_for_bars(self._source, self._strategies)

        def goes_on(position: int) -> bool:
            self.ticks = position
            tell(position)
            if not self._may_go_on.is_set():
                self._set(TaskStatus.PAUSED)
                self._may_go_on.wait()
                self._set(TaskStatus.RUNNING)
            return not self._is_to_stop

        source = _looked_at(self._source, self.ticks)
        try:
            ran = run(self.setup, source, self._journal, goes_on=goes_on)
        except (InputError, Defect):
            self._set(TaskStatus.FAILED)
            raise
        except Exception:  # a server that is away, or what a source, a journal or ``tell`` of one's own has thrown
            self._set(TaskStatus.PAUSED)
            raise
        self._set(TaskStatus.COMPLETED if ran.completed else TaskStatus.PAUSED)
        return ran

    def pause(self) -> None:
        """From another thread: wait behind the ticks in hand, until :meth:`resume`."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """Go on."""
        self._may_go_on.set()

    def stop(self) -> None:
        """From another thread: :meth:`execute` returns behind the ticks in hand, with what there is by then."""
        self._is_to_stop = True
        self._may_go_on.set()

    def _set(self, status: TaskStatus) -> None:
        refuse_status(self.status, status)
        self.status = status

    def _result(self, kernel: Kernel) -> BacktestResult:
        book = kernel.account.book
        entries = self._journal.entries if isinstance(self._journal, MemoryJournal) else []
        rows: dict[tuple[type, str], Any] = {}
        for entry in entries:
            for row in entry.rows:
                if isinstance(row, Trade):
                    rows[Trade, row.trade_id] = row
                elif isinstance(row, Order):
                    rows[Order, row.client_order_id] = row
                elif isinstance(row, Fill):
                    rows[Fill, f"{row.instrument} {row.venue_order_id} {row.fill_id}"] = row
        return BacktestResult(
            execution=self.setup.execution,
            status=self.status,
            currency=self.setup.terms.currency,
            ticks=kernel.position,
            balance=book.money.balance,
            equity=kernel.monitor.equity(),
            trades=tuple(row for (kind, _), row in rows.items() if kind is Trade),
            orders=tuple(row for (kind, _), row in rows.items() if kind is Order),
            fills=tuple(row for (kind, _), row in rows.items() if kind is Fill),
            quality=dict(self._source.quality()),
            entries=entries,
        )


def _row(name: str, strategy: AnyStrategy, symbols: Sequence[str]) -> StrategyRow:
    return StrategyRow(
        execution="",
        strategy=name,
        kind=name_of(strategy),
        status=StrategyStatus.ACTIVE,
        instruments=tuple(symbols),
        parameters={field: str(getattr(strategy.params, field)) for field in strategy.params.__struct_fields__},
    )


def _looked_at(source: TickDataSource, reached: int) -> TickDataSource:
    """The source, behind checks of what a program of somebody's own may give; a list was looked at when it was given."""
    if isinstance(source, TicksSource):
        return source
    return CheckedSource(source, reached, judged=isinstance(source, (FeedSource, RedisTickDataSource)))


def _ask_for_bars(source: TickDataSource, strategies: Mapping[str, AnyStrategy]) -> None:
    """Have the source build what the strategies want: a strategy that waits for bars would otherwise wait to the end."""
    frames = tuple(dict.fromkeys(frame for each in strategies.values() for frame in each.timeframes()))
    if not frames:
        return
    if not isinstance(source, BuildsBars):
        raise InputError(
            f"bars of {', '.join(frames)} are wanted, and {source.info.name} cannot be asked for them: give its ticks as a list, "
            "or a source with the method build_bars(timeframes)"
        )
    source.build_bars(dict.fromkeys(source.info.instruments, frames))


def _id(data: str, deposit: Decimal, currency: str, rows: Mapping[str, StrategyRow], *terms: object) -> str:
    """Of all that decides what comes out, but for the strategies' code."""
    told = [f"{row.strategy} {row.kind} {sorted(row.parameters.items())}" for row in rows.values()]
    return derived_id("", "backtest", data, f"{deposit:f}", currency, *told, *map(repr, terms))
