"""Which strategies look within bars that a feed plays as ticks: what lies in there is made up, and tells how a bar will close."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.plan import AccountPlan, Plan
from tradekeel.domain.bars import parse_timeframe


class WithinBars(Struct, frozen=True, kw_only=True):
    """One strategy that decides on less than what the data says."""

    strategy: str
    feed: str
    span: str  # of the bars that are played
    timeframe: str  # the shortest that it decides on; "" for every tick

    def __str__(self) -> str:
        on = f"bars of {self.timeframe}" if self.timeframe else "every tick"
        return (
            f"strategy {self.strategy} decides on {on}, and feed {self.feed} makes its ticks up from bars of {self.span}: "
            "these tell how a bar will close before it does, so what comes out is too good or means nothing. "
            f"Let it decide on bars of {self.span} or longer"
        )


def within_bars(plan: Plan, account: AccountPlan) -> tuple[WithinBars, ...]:
    """Strategies of the account, in config order, that want no bars, bars of so many ticks, or shorter ones than their feed's.

    A stream that another daemon shares does not say what it was made of, and is not looked at.
    """
    feed = plan.config.feeds[account.config.feed]
    settings: Any = feed.settings
    played = getattr(settings, "bars", None)
    if played is None:
        return ()
    found = []
    for strategy in account.strategies:
        frames = [parse_timeframe(text) for text in strategy.timeframes]
        shortest = min(frames, key=lambda frame: frame.span_ns, default=None)
        if shortest is None or shortest.span_ns < played.span_ns:
            text = "" if shortest is None else shortest.text
            found.append(WithinBars(strategy=strategy.config.name, feed=feed.name, span=played.span, timeframe=text))
    return tuple(found)
