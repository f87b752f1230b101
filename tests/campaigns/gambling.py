"""Gamblers for daemons that are killed. Loaded as a user's file.

What the gamblers of the unit tests say when they are stopped is left out: a daemon that is stopped in between and started
again should trade as one that was not.
"""

from __future__ import annotations

from tests.unit.domain.gambler import GamblerState, Out, Reckless
from tradekeel.strategies.base import Stopped, StrategyContext


class Gambling(Reckless):
    """Wants anything, answers anything, and says nothing in the end."""

    def on_stop(self, event: Stopped, state: GamblerState, context: StrategyContext) -> Out:
        return state, ()
