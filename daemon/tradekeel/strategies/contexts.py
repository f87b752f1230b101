"""What a strategy is shown of its account beside an event: one context for each instrument, made anew where something changed."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.orders import Order
from tradekeel.domain.view import View
from tradekeel.strategies.arithmetic import arithmetic
from tradekeel.strategies.base import StrategyContext
from tradekeel.strategies.working import WorkingOrders


class StrategySettings(Struct, frozen=True, kw_only=True):
    """What the configuration says about one strategy.

    With ``saves_decisions`` a decision carries the state to be saved with it; without, the run saves at its cuts only. Before
    ``begins_ns`` (event time) the strategy is not warm, whatever it says of itself: a backtest only warms it up until then.
    """

    name: str
    execution: str
    instruments: Mapping[str, Instrument]
    parameter_mode: str = ""
    saves_decisions: bool = True
    begins_ns: int = 0


class Contexts:
    """See the module. They stand until the view follows an entry or the strategy gets warm or cold."""

    def __init__(self, settings: StrategySettings, view: View) -> None:
        self._settings = settings
        self._view = view
        self._working = WorkingOrders(view.orders.values())
        self._warm = False
        self._made: dict[str, StrategyContext] = {}

    def follow(self, entry: Entry) -> None:
        """The view has followed this entry."""
        for row in entry.rows:
            if type(row) is Order and row.strategy == self._settings.name:
                self._working.take(row)
        self._made = {}

    def all(self, warm: bool) -> dict[str, StrategyContext]:
        """Those of all instruments, by symbol."""
        if not self._made or warm is not self._warm:
            self._made, self._warm = self._make(warm), warm
        return self._made

    def about(self, symbol: str | None, warm: bool) -> StrategyContext:
        """That of an instrument; for what is about none of its own, the first."""
        contexts = self.all(warm)
        found = contexts.get(symbol) if symbol is not None else None
        return found if found is not None else next(iter(contexts.values()))

    def _make(self, warm: bool) -> dict[str, StrategyContext]:
        view, settings = self._view, self._settings
        with arithmetic():  # and not in what the strategy has made of its own
            positions = view.net_positions()
        trades = tuple(view.trades.values())
        orders = self._working.all()
        return {
            symbol: StrategyContext(
                balance=view.balance,
                open_positions=positions,
                instrument=instrument,
                pip_size=instrument.pip_size,
                instruments=settings.instruments,
                open_trades=trades,
                working_orders=orders,
                paused=view.paused,
                warm=warm,
                execution=settings.execution,
                strategy=settings.name,
                parameter_mode=settings.parameter_mode,
            )
            for symbol, instrument in settings.instruments.items()
        }
