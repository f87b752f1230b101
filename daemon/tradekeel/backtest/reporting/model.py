"""What a report of one execution has, all of it read from the books that the execution left.

Amounts are in account currency and exact, times UTC nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from tradekeel.backtest.reporting.held import OpenTrades
from tradekeel.domain.messages import Signal
from tradekeel.domain.orders import Order
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.rows import ExecutionRow, StrategyRow
from tradekeel.domain.tasks import TaskExecution, TaskRow
from tradekeel.domain.trades import Trade

FORMAT = 1
"""Of the report as JSON: it changes when a field changes its name or its meaning, not when one is added."""


class CurvePoint(Struct, frozen=True):
    """A value at a time."""

    ts_ns: int
    value: Decimal


class FundsMove(Struct, frozen=True):
    """A deposit, or with a minus a withdrawal, when the books had it."""

    ts_ns: int
    amount: Decimal


class PricePoint(Struct, frozen=True):
    """A quote that the journal has kept of an instrument."""

    ts_ns: int
    bid: Decimal
    ask: Decimal


class StopLevel(Struct, frozen=True):
    """Where a trade's stop stood from a time on."""

    ts_ns: int
    price: Decimal


class AsOf(Struct, frozen=True, kw_only=True):
    """Up to where the figures go: to the last saved state of the account, since equity between two states was seen by ticks that
    the journal does not have.
    """

    ts_ns: int | None  # None: no state was saved yet, and there are no figures
    position: int  # the tick
    sequence: int  # the journal record
    records_behind: int  # records of trading that came later: the tables have what they say, the figures do not
    finished: bool  # the execution is closed


class Curve(Struct, frozen=True, kw_only=True):
    """The equity over time, and what an equal stake in each instrument would have come to."""

    source: str  # snapshots, or balances: of runs without snapshots, what the venue's entries left on the account
    equity: tuple[CurvePoint, ...] = ()
    under_water: tuple[CurvePoint, ...] = ()  # percent of the highest equity before, zero or below, by shares of it
    benchmark: tuple[CurvePoint, ...] = ()  # buy and hold, of the same equity and funds, without costs and conversion
    rolling_sharpe: tuple[CurvePoint, ...] = ()  # of the trading days up to then, annualised


class SourceFile(Struct, frozen=True, kw_only=True):
    """The code of a kind of strategy, as it is where the report is made."""

    kind: str
    strategies: tuple[str, ...]
    path: str
    sha256: str  # "" where it cannot be read
    text: str
    note: str = ""


class Configuration(Struct, frozen=True, kw_only=True):
    """The effective values by path, secrets by their reference; none where the file is not what the execution ran with."""

    source: str = ""
    values: Mapping[str, str] = {}
    note: str = ""


class RunReport(Struct, frozen=True, kw_only=True):
    """See the module."""

    version: str  # of the Tradekeel that made the report
    ran_by: tuple[str, ...]  # versions that worked on the execution
    where: str  # its books
    run: ExecutionRow
    task: TaskRow | None  # of a backtest
    task_execution: TaskExecution | None
    as_of: AsOf
    figures: PerformanceReport | None
    held: OpenTrades | None  # as of the same moment; None without figures
    curve: Curve
    prices: Mapping[str, tuple[PricePoint, ...]]
    trades: tuple[Trade, ...]  # by their decision
    stops: Mapping[str, tuple[StopLevel, ...]]  # by trade: where its stop was moved to
    strategies: tuple[StrategyRow, ...]
    denied: Mapping[str, int]  # orders, by the code of the gate's reason
    rejected: int
    rejections: Mapping[str, int]  # the same by the venue's reason
    archived_trades: int  # in archives that cannot be read: they are in the figures, and not among the trades
    configuration: Configuration = Configuration()
    sources: tuple[SourceFile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        number = self.run.number if self.task_execution is None else self.task_execution.number
        return f"{self.run.execution[:12]}#{number} ({self.run.mode}, {self.run.account})"


class Traded(Struct, frozen=True, kw_only=True):
    """One execution as it is compared with another."""

    name: str
    run: ExecutionRow
    trades: tuple[Trade, ...]
    signals: tuple[Signal, ...]
    orders: tuple[Order, ...]  # entries
    first_ns: int | None  # of its journal
    last_ns: int | None
    archived: int = 0  # trades in archives that cannot be read, and so not among these
    lacking: str = ""  # which, and why
    remedy: str = ""  # what to do about the first of them
