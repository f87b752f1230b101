"""What a backtest has come to, for programs and in words for people."""

from __future__ import annotations

from typing import Any

from tradekeel.backtest.reporting.held import OpenTrades
from tradekeel.bootstrap.backtests import Executed, WarmedUp
from tradekeel.bootstrap.summary import refusals
from tradekeel.domain.counting import counted
from tradekeel.domain.instruments import shown_amount
from tradekeel.domain.rows import Latch
from tradekeel.domain.times import to_the_second


def as_json(executed: Executed) -> dict[str, Any]:
    """An execution for programs."""
    return {
        "task": executed.task,
        "name": executed.name,
        "number": executed.number,
        "execution": executed.execution,
        "status": executed.status.value,
        "progress_percent": executed.progress,
        "state": str(executed.folder),
        "ticks": executed.ticks,
        "resumed_behind_tick": executed.resumed_at,
        "duration_s": executed.duration_s,
        "quality": executed.quality,
        "first_bad_rows": executed.first_bad,
        "instruments_without_ticks": executed.without_ticks,
        "misnamed": executed.misnamed,
        "within_bars": executed.within_bars,
        "doubts": executed.doubts,
        "warm_up": executed.warm_up,
        "account": executed.summary,
    }


def remarks(executed: Executed, held: OpenTrades | None) -> list[str]:
    """What its figures do not say: orders, what came of them, what is open still, and what holds the account back."""
    summary = executed.summary
    if summary is None:
        return []
    said = [counted(summary.orders, "order")]
    came_to_nothing = refusals(summary.denied, summary.rejections)
    if came_to_nothing:
        said.append(came_to_nothing)
    if summary.trades_open:
        unrealised = None if held is None else held.unrealised
        worth = "" if unrealised is None else f" (unrealised {shown_amount(unrealised, summary.currency)})"
        said.append(f"{counted(summary.trades_open, 'trade')} open{worth}")
    latched = [f"the account is {summary.latch}: {summary.latch_reason}"] if summary.latch != Latch.OPEN else []
    return [
        f"balance {shown_amount(summary.balance, summary.currency)} {summary.currency}, {', '.join(said)}",
        *latched,
    ]


def warm_up_words(warm: WarmedUp) -> tuple[list[str], list[str]]:
    """What is told of a warm-up, and what is complained of."""
    if warm.from_ns is None:
        return [], ["the data begins no earlier than the start: there was nothing to warm strategies up with"]
    begins, asked = to_the_second(warm.from_ns), to_the_second(warm.asked_from_ns)
    short = [f"the warm-up is shorter than asked for: the data begins at {begins}, and not at {asked}"]
    return [
        f"warm-up: {counted(warm.ticks, 'tick')} before the start, from {begins} on"
    ], short if warm.is_short else []
