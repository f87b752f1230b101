"""What `tradekeel new-strategy NAME` writes: a strategy that runs as it is, a test of it, and a configuration to try it.

The strategy buys dips. It is short, and it shows what every strategy needs: parameters with bounds, a frozen state, a decision,
and what to do when an order comes to nothing.
"""

from __future__ import annotations

import keyword
import re
from typing import Final

from tradekeel.errors import InputError

NAME_CHARACTERS_MAX: Final = 31  # as any name in a configuration

_STRATEGY: Final = '''\
"""@CLASS@: buys after a dip, with a stop and a target; one trade at a time, on one instrument.

    tradekeel check @NAME@.toml     is everything right?
    tradekeel run @NAME@.toml       trade it on paper, on a synthetic market
    python test_@NAME@.py           run its tests (with the Python that Tradekeel is installed in)

A strategy is a set of pure functions of (event, state, context). The same ticks may be run twice, and must lead to the same
result: take the time from the event, draw no random numbers, keep everything in the state, and never change a state
in place. What is not in the state is gone after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from msgspec import Struct

from tradekeel.domain.messages import Emit, Enter, Request
from tradekeel.domain.orders import Purpose, Side
from tradekeel.domain.ticks import Tick
from tradekeel.domain.trades import TradeStatus
from tradekeel.errors import InputError
from tradekeel.strategies.base import ORDER_ENDED, FillEvent, OrderUpdate, Started, Strategy, StrategyContext
from tradekeel.strategies.parameters import Parameters, about


class @CLASS@Parameters(Parameters, frozen=True, kw_only=True):
    """What can be set under [strategies.@NAME@.params]; `tradekeel strategies` shows it."""

    units: Annotated[Decimal, about("size of a trade", gt=0, unit="units")] = Decimal(1000)
    dip_pips: Annotated[Decimal, about("fall from the highest ask that is bought", gt=0, unit="pips")] = Decimal(5)
    stop_pips: Annotated[Decimal, about("stop below the entry", gt=0, unit="pips")] = Decimal(10)
    target_pips: Annotated[Decimal, about("target above the entry", gt=0, unit="pips")] = Decimal(10)

    def check(self) -> None:
        """Rules between parameters."""
        if self.target_pips * 4 < self.stop_pips:
            raise InputError(f"target_pips ({self.target_pips}) is less than a quarter of stop_pips ({self.stop_pips})")


class @CLASS@State(Struct, frozen=True):
    """Everything the strategy remembers; saved with each of its decisions."""

    highest: Decimal = Decimal(0)  # ask since the last trade
    busy: bool = False  # an entry was asked for, or a trade is open
    dips: int = 0  # bought so far


Result = tuple[@CLASS@State, Sequence[Request]]


class @CLASS@(Strategy[@CLASS@Parameters, @CLASS@State]):
    """Buys after a dip from the highest ask, with a stop and a target."""

    Params = @CLASS@Parameters
    State = @CLASS@State

    def on_start(self, event: Started, state: @CLASS@State, context: StrategyContext) -> Result:
        """First of all, and after each restart, with the state that was saved."""
        if len(context.instruments) != 1:
            raise InputError(f"@CLASS@ trades one instrument, found {', '.join(context.instruments)}")
        return state, ()

    def on_tick(self, tick: Tick, state: @CLASS@State, context: StrategyContext) -> Result:
        """Called for every tick: return early, and return the same state while nothing changes."""
        if state.busy:
            return state, ()
        if tick.ask > state.highest:
            return @CLASS@State(tick.ask, False, state.dips), ()
        dip = self.params.dip_pips * context.pip_size
        if state.highest - tick.ask < dip or context.paused:
            return state, ()
        instrument = context.instrument
        enter = Enter(
            instrument=tick.instrument,
            side=Side.BUY,
            quantity=instrument.quantity(self.params.units),
            stop_loss=tick.ask - instrument.from_pips(self.params.stop_pips),
            take_profit=tick.ask + instrument.from_pips(self.params.target_pips),
        )
        # An event explains the decision later: `tradekeel events`.
        told = Emit(type="dip_bought", data={"highest": str(state.highest), "ask": str(tick.ask)})
        return @CLASS@State(tick.ask, True, state.dips + 1), (told, enter)

    def on_fill(self, event: FillEvent, state: @CLASS@State, context: StrategyContext) -> Result:
        """A trade was entered or left, by whomever: the stop, the target, a person."""
        if event.trade.status is TradeStatus.CLOSED:
            return @CLASS@State(Decimal(0), False, state.dips), ()
        return state, ()

    def on_order(self, event: OrderUpdate, state: @CLASS@State, context: StrategyContext) -> Result:
        """The entry was denied, rejected, canceled...: look for the next dip. "unknown" is not an end: it may have filled."""
        ended = event.event in ORDER_ENDED and event.order.purpose is Purpose.ENTRY
        if ended and not event.order.filled_quantity:
            return @CLASS@State(Decimal(0), False, state.dips), ()
        return state, ()
'''

_TEST: Final = '''\
"""@CLASS@, tick by tick. Run it with python, or with pytest if you have it."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the strategy lies beside its test, wherever that is run from

from @NAME@ import @CLASS@  # noqa: E402

from tradekeel.domain.instruments import CATALOGUE  # noqa: E402
from tradekeel.domain.messages import Enter  # noqa: E402
from tradekeel.domain.ticks import Tick  # noqa: E402
from tradekeel.strategies.base import StrategyContext  # noqa: E402

EUR_USD = CATALOGUE["EUR_USD"]
CONTEXT = StrategyContext(
    balance=Decimal(10_000),
    open_positions={},
    instrument=EUR_USD,
    pip_size=EUR_USD.pip_size,
    instruments={"EUR_USD": EUR_USD},
)


def run(strategy, asks):
    """All requests for a row of asks, with a spread of one pip."""
    state, requests = strategy.initial_state(), []
    for second, ask in enumerate(asks):
        tick = Tick("EUR_USD", second * 1_000_000_000, Decimal(ask) - Decimal("0.0001"), Decimal(ask))
        state, more = strategy.on_tick(tick, state, CONTEXT)
        requests += more
    return requests


def test_a_dip_is_bought_with_a_stop_and_a_target():
    strategy = @CLASS@(@CLASS@.Params(dip_pips=Decimal(5)))
    requests = run(strategy, ["1.1000", "1.1010", "1.1006", "1.1005", "1.1004"])
    (enter,) = [request for request in requests if isinstance(request, Enter)]
    assert (enter.stop_loss, enter.take_profit) == (Decimal("1.0995"), Decimal("1.1015"))


def test_a_smaller_move_is_not():
    assert run(@CLASS@(@CLASS@.Params()), ["1.1000", "1.0996", "1.1000", "1.0996"]) == []


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"{name}: passed")
'''

_CONFIG: Final = """\
# Tries @CLASS@ on paper, on a market that is made up and the same every time: tradekeel run @NAME@.toml

[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 200_000

[accounts.paper]
venue = "paper"
feed = "market"
currency = "USD"
balance = "10000"

[strategies.@NAME@]
kind = "@NAME@.py:@CLASS@"
account = "paper"
instruments = ["EUR_USD"]

[strategies.@NAME@.params]
units = 1000
dip_pips = 5
stop_pips = 10
target_pips = 10
"""


def class_name(name: str) -> str:
    """``my_strategy`` as a class is called: MyStrategy."""
    return "".join(part.capitalize() for part in name.split("_"))


def render(name: str) -> dict[str, str]:
    """The files of a new strategy, by their names. Raises :class:`InputError` for a name that cannot be a module's."""
    wrong = not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or len(name) > NAME_CHARACTERS_MAX
    if wrong or keyword.iskeyword(name) or "__" in name:
        raise InputError(
            f"{name!r} cannot be a strategy's name: 2 to {NAME_CHARACTERS_MAX} lower-case letters, digits and single "
            "underscores, the first a letter, like my_strategy"
        )
    files = {f"{name}.py": _STRATEGY, f"test_{name}.py": _TEST, f"{name}.toml": _CONFIG}
    return {file: text.replace("@CLASS@", class_name(name)).replace("@NAME@", name) for file, text in files.items()}
