"""The rows of the books' tables: the latest version of an execution, a strategy, a snapshot and so on, and their words.

They follow from the journal (:mod:`tradekeel.domain.records`); orders, trades, signals and fills have modules of their own.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.orders import Order
from tradekeel.domain.trades import Trade

CHECKPOINT_BYTES_MAX = 64 * 1024
"""A strategy's saved state may not be larger: it is written with every decision."""


class StrategyStatus(StrEnum):
    """The life of a strategy."""

    DRAFT = "draft"  # configured, not enabled, and it has not traded in this execution
    ACTIVE = "active"
    PAUSED = "paused"  # active, in an account whose entries are paused
    STOPPED = "stopped"  # no longer configured, or no longer enabled: its open trades keep their exits
    FAILED = "failed"  # it cannot go on; its open trades keep their exits

    @property
    def runs(self) -> bool:
        """Whether it sees the market and may decide; one that is paused still manages its exits."""
        return self in (StrategyStatus.ACTIVE, StrategyStatus.PAUSED)


class Mode(StrEnum):
    """What kind of run an execution is."""

    LIVE = "live"
    PAPER = "paper"
    BACKTEST = "backtest"
    MANUAL = "manual"  # kept by a script or by hand, not by a daemon

    @property
    def is_a_daemons(self) -> bool:
        """Whether a daemon runs it, one at a time for an account, and goes on with it after a restart."""
        return self in (Mode.LIVE, Mode.PAPER)


class Latch(StrEnum):
    """What may be traded. Ordered by severity; each is durable and survives a restart. A pause is beside it."""

    OPEN = "open"
    REDUCE_ONLY = "reduce_only"  # a risk limit tripped: no new exposure
    HALTED = "halted"  # no orders at all until a person releases it

    def is_above(self, other: Latch) -> bool:
        """Whether it forbids more."""
        order = list(Latch)
        return order.index(self) > order.index(other)


def standing_of(latch: Latch, paused: bool) -> str:
    """How a reconciled account stands, in one word: what holds it back most, or that it is trading."""
    if latch is not Latch.OPEN:
        return latch.value
    return "paused" if paused else "trading"


# --- rows (projections) ----------------------------------------------------------------------------------------------


class ExecutionRow(Struct, frozen=True, kw_only=True):
    """One run of one strategy set on one account."""

    execution: str
    account: str
    number: int
    mode: Mode
    venue: str
    currency: str
    status: str  # running, closed
    config_fingerprint: str
    data_fingerprint: str
    opening_balance: Decimal
    started_ns: int
    closed_ns: int | None = None
    close_reason: str = ""
    latch: Latch = Latch.OPEN
    latch_reason: str = ""
    paused: bool = False


class StrategyRow(Struct, frozen=True, kw_only=True):
    """A configured strategy within an execution."""

    execution: str
    strategy: str
    kind: str
    status: StrategyStatus
    status_reason: str = ""
    instruments: tuple[str, ...]
    parameters: dict[str, Any]
    decisions: int = 0
    updated_ns: int = 0


class StrategyEvent(Struct, frozen=True, kw_only=True):
    """A decision worth explaining: numbered per strategy."""

    execution: str
    strategy: str
    sequence: int
    type: str
    ts_ns: int
    data: dict[str, Any]


class PerformanceSnapshot(Struct, frozen=True, kw_only=True):
    """Figures of an account at a time; ratios are None where they are undefined."""

    execution: str
    ts_ns: int
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    pnl: Decimal
    balance: Decimal
    equity: Decimal
    sharpe: Decimal | None
    max_drawdown: Decimal
    average_risk_reward: Decimal | None
    session: str | None
    parameter_mode: str | None


class ParameterChange(Struct, frozen=True, kw_only=True):
    """One changed parameter. ``changed_by`` is system_auto, learning_agent, manual or emergency."""

    execution: str
    ts_ns: int
    strategy: str | None
    name: str
    old: str | None
    new: str | None
    parameter_mode: str | None = None
    session: str | None = None
    confidence_threshold: Decimal | None = None
    min_risk_reward: Decimal | None = None
    reason: str = ""
    changed_by: str = "manual"


class MetricsCheckpoint(Struct, frozen=True, kw_only=True):
    """The performance tracker's saved state."""

    execution: str
    ts_ns: int
    data: bytes


class VenueCursor(Struct, frozen=True, kw_only=True):
    """How far a venue's account record has been booked."""

    execution: str
    venue: str
    sequence: int
    updated_ns: int


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A saved state: of a strategy (``owner`` its name) or of the account's book and monitor (``owner`` "#account").

    ``inbox`` is the journal sequence that the state includes, ``position`` the feed position; CRC and sequence are
    added on writing.
    """

    execution: str
    owner: str
    position: int
    inbox: int
    ts_ns: int
    version: int
    state: bytes


ACCOUNT_OWNER = "#account"

FEED_HAS_ENDED = "the feed has ended"
STARTED_FRESH = "started fresh"
WIPED = "wiped"
"""Why an execution was closed: after the first the next one takes over its balance and open trades, after the second nothing,
after the third balance and positions, since there are no trades any more."""

Row = (
    ExecutionRow
    | StrategyRow
    | Order
    | Fill
    | Trade
    | Signal
    | StrategyEvent
    | PerformanceSnapshot
    | ParameterChange
    | MetricsCheckpoint
    | VenueCursor
)
