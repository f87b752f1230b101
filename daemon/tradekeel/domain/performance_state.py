"""What the performance tracker knows, as one Struct that is saved and taken up again.

**How large it gets.** Sums are of constant size. Groups have a bound, and so has the log of the last closings
(:mod:`~tradekeel.domain.performance_trades`). Only days grow: by a row of some 60 bytes each, 130 KB after ten
years. All of it is in the account's cut, beside the book, whose thousand closed trades and ended orders are ten times as large.
What is journaled with each snapshot (:func:`for_checkpoint`) is without the log and with the newest days only: a few
kilobytes, however long the run.

**Versions.** Version 1 kept totals and no groups, days or times. Its state is read as what it is: the totals go on, and
everything else counts from there; ``earlier_trades`` and ``earlier_days`` say how much is in the totals alone.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Struct, field, structs

from tradekeel.domain.money import ZERO
from tradekeel.domain.performance_days import Curve, Day, Fall, ReturnSums
from tradekeel.domain.performance_trades import TradeLog, TradeSums
from tradekeel.domain.sessions import TRADING_DAYS_A_YEAR

T = TypeVar("T")

VERSION = 2

CHECKPOINT_DAYS = 10
"""Rows of days in a snapshot's checkpoint. All checkpoints of a run together have every day, unless none was taken for longer."""


class Costs(Struct):
    """What trading cost, in account currency, over all fills."""

    fills: int = 0
    unpriced: int = 0  # fills of orders that nobody had seen a price for: their slippage is not known
    turnover: Decimal = ZERO  # sum of quantity * price * rate
    fees: Decimal = ZERO
    financing: Decimal = ZERO  # booked over night; above zero is income
    slippage: Decimal = ZERO
    of_open: dict[
        str, Decimal
    ] = {}  # slippage so far, by trade that is not closed; where it is not known of any fill, none


class Exposure(Struct):
    """How long positions were held."""

    since_ns: int | None = None  # something is held since then
    held_ns: int = 0


class PerformanceState(Struct):
    """Everything the tracker knows. ``version`` changes when fields change their meaning."""

    version: int = VERSION
    ticks: int = 0
    balance: Decimal = ZERO
    equity: Decimal | None = None
    peak_equity: Decimal | None = None
    max_drawdown: Decimal = ZERO
    max_drawdown_peak: Decimal | None = None
    trades: TradeSums = field(default_factory=TradeSums)
    returns: ReturnSums = field(default_factory=ReturnSums)
    earlier_trades: int = 0
    earlier_days: int = 0
    curve: Curve = field(default_factory=Curve)
    costs: Costs = field(default_factory=Costs)
    exposure: Exposure = field(default_factory=Exposure)
    first_mids: dict[str, Decimal] = {}  # the middle of each instrument's first quote
    log: TradeLog = field(default_factory=TradeLog)
    days: dict[int, Day] = {}  # those that are over, by ordinal
    days_a_year: int = TRADING_DAYS_A_YEAR  # that ratios are annualised with: of the account's markets


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(PerformanceState)


def encode(state: PerformanceState) -> bytes:
    """The state as bytes."""
    return _ENCODER.encode(state)


def decode(data: bytes) -> PerformanceState:
    """The state from :func:`encode`, of this version or one before; raises ``msgspec`` errors on anything else."""
    return upgraded(_DECODER.decode(data))


def upgraded(state: PerformanceState) -> PerformanceState:
    """A state that was read, as this version goes on from it. Raises ``msgspec.ValidationError`` for one of a later version."""
    if state.version == VERSION:
        return state
    if state.version != 1:
        raise msgspec.ValidationError(
            f"performance figures were saved in version {state.version}, and this Tradekeel reads up to {VERSION}: "
            "start the one that has saved them"
        )
    state.version = VERSION
    state.earlier_trades, state.earlier_days = state.trades.total, state.returns.count
    curve = state.curve
    if state.max_drawdown_peak is not None:
        curve.deepest = Fall(state.max_drawdown, state.max_drawdown_peak)
        curve.steepest = Fall(state.max_drawdown, state.max_drawdown_peak)
    return state


def for_checkpoint(state: PerformanceState) -> PerformanceState:
    """The state as it is journaled with a snapshot: no closing can be taken back any more, and only the newest days are there."""
    log = state.log.settled()
    log.days = _newest(log.days)
    return structs.replace(state, log=log, days=_newest(state.days))


def _newest(days: dict[int, T]) -> dict[int, T]:
    return {day: days[day] for day in sorted(days)[-CHECKPOINT_DAYS:]}
