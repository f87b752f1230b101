"""The contract between Tradekeel and a strategy: pure functions of ``(event, state, context)``.

A handler takes what happened, the strategy's state and what the account looks like, and returns the state after it and
what the strategy asks for. The same object runs live, on paper, in a backtest and in the simulator.

**A strategy is pure, and everything rests on it.** The conductor lets strategies run ahead of each other and, when one
of them decides something, puts the others back and *runs the same ticks again*; a restart does the same from a
checkpoint. Running twice must be running once. So a handler

* reads no clock (time is ``tick.ts_ns`` or ``event.ts_ns``) and draws no random number,
* does no I/O, and keeps nothing outside its state: no globals, no attributes set on ``self`` after ``__init__``,
* never changes the state it was given; it builds a new one, or returns the old one when nothing changed.

The state is therefore a *frozen* msgspec Struct of values that do not change (tuples, not lists). It is saved with
every decision (as msgpack, at most 64 KiB): whatever is not in it does not survive a restart.

Ticks arrive by the hundred thousand a second: ``on_tick`` should return ``state, ()`` early, build a new state with its
constructor (``msgspec.structs.replace`` is several times slower), and leave Decimal divisions alone. Indicators may
use floats; what goes into a request is Decimal, as money is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Fill, Request
from tradekeel.domain.orders import Order
from tradekeel.domain.positions import Position
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError

STATE_VERSION_MAX = 2**31 - 1

NOTHING: tuple[Request, ...] = ()
"""What a handler that asks for nothing returns beside the state."""

HANDLERS = (
    "on_start",
    "on_tick",
    "on_bar",
    "on_fill",
    "on_order",
    "on_timer",
    "on_pause",
    "on_resume",
    "on_stop",
)

ORDER_ENDED = frozenset({"denied", "rejected", "canceled", "expired", "not_sent"})
"""Of the words of :attr:`OrderUpdate.event` those after which nothing more of the order fills (late fills, which a venue reports
after the end, excepted).
"""


class StrategyContext(Struct, frozen=True, kw_only=True):
    """What the account looks like to a strategy. Never older than the news that the strategy was given.

    On a live account it may be younger than the tick in hand, so a strategy decides from its own state ("I have asked
    for this already") and uses the context for what its state cannot know.
    """

    balance: Decimal  # of the account, in its currency
    open_positions: Mapping[str, Position]  # the account's net positions by instrument, flat ones left out
    instrument: Instrument  # of the event in hand; the first configured one where an event has none
    pip_size: Decimal  # of that instrument
    instruments: Mapping[str, Instrument]  # all that the strategy is configured for, in that order
    open_trades: tuple[Trade, ...] = ()  # this strategy's pending, open and closing trades, oldest first
    working_orders: tuple[Order, ...] = ()  # this strategy's orders that are not terminal
    paused: bool = False  # entries would be denied
    warm: bool = True  # what is_warm said last; while False, entries are denied
    execution: str = ""
    strategy: str = ""
    parameter_mode: str = ""


# --- events ----------------------------------------------------------------------------------------------------------


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """The strategy begins, or goes on after a restart. ``gap_ns`` is how long a live feed went unseen, 0 in replay."""

    ts_ns: int
    resumed: bool = False
    gap_ns: int = 0


class FillEvent(Struct, frozen=True, kw_only=True, tag="fill"):
    """A fill moved one of the strategy's trades. A fill that belongs to several trades comes once a trade."""

    fill: Fill
    order: Order | None  # after the fill; None where the venue acted by itself
    trade: Trade  # after the fill
    opens: bool  # it entered the trade; otherwise it closed a part of it
    quantity: Decimal  # the part of the fill that belongs to this trade
    ts_ns: int


class OrderUpdate(Struct, frozen=True, kw_only=True, tag="order"):
    """Something other than a fill happened to an order of the strategy."""

    order: Order
    event: str  # accepted or unknown, or one of ORDER_ENDED
    reason: str = ""
    ts_ns: int


class TimerFired(Struct, frozen=True, kw_only=True, tag="timer"):
    """A timer that the strategy set is due. ``ts_ns`` is the moment it was set for, or the first one after a gap."""

    name: str
    ts_ns: int


class Paused(Struct, frozen=True, kw_only=True, tag="paused"):
    """No new entries from here on; exits go on."""

    ts_ns: int
    reason: str = ""


class Resumed(Struct, frozen=True, kw_only=True, tag="resumed"):
    """Entries again."""

    ts_ns: int
    reason: str = ""


class Stopped(Struct, frozen=True, kw_only=True, tag="stopped"):
    """The execution stops, or ends; a stop for a restart is one, too. Requests are still taken, new entries are not."""

    ts_ns: int
    reason: str = ""


Event = Started | Tick | Bar | FillEvent | OrderUpdate | TimerFired | Paused | Resumed | Stopped

# --- the strategy ----------------------------------------------------------------------------------------------------

P = TypeVar("P", bound=Struct)
S = TypeVar("S", bound=Struct)


class Strategy(Generic[P, S]):
    """Base of all strategies: ``P`` its parameters, ``S`` its state. Every handler does nothing until overridden.

    A handler returns ``(state, requests)``; read the rules of purity at the top of this module before writing one.
    """

    kind: ClassVar[str] = ""
    """The name in the configuration; a strategy from a file needs none."""

    Params: ClassVar[type[Struct]]
    """The parameters: a frozen Struct with defaults (strategies/parameters.py has a base that checks bounds)."""

    State: ClassVar[type[Struct]]
    """The state: a frozen Struct that msgspec can encode and decode."""

    state_version: ClassVar[int] = 1
    """Raise it when ``State`` changes in a way that old saved states do not fit."""

    def __init__(self, params: P) -> None:
        self.params = params

    def timeframes(self) -> tuple[str, ...]:
        """The bars that ``on_bar`` wants, of each of its instruments: "5s", "1m", "4h", or "100t" for ticks."""
        return ()

    def initial_state(self) -> S:
        """The state before the first event; by default ``State()``."""
        return self.State()  # type: ignore[return-value]  # State is the class that S names

    def is_warm(self, state: S) -> bool:
        """Whether the strategy has seen enough to enter. Asked after each step until it says yes, again after a gap;
        while it says no, its entries are denied."""
        return True

    def on_start(self, event: Started, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """First of all, also after a restart, with the state that was saved."""
        return state, NOTHING

    def on_tick(self, tick: Tick, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """A quote of one of its instruments. The hot path: see the top of this module."""
        return state, NOTHING

    def on_bar(self, bar: Bar, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """A complete bar; it comes before the tick that completed it."""
        return state, NOTHING

    def on_fill(self, event: FillEvent, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """A trade of the strategy was entered, or closed in part or whole, whoever asked for it."""
        return state, NOTHING

    def on_order(self, event: OrderUpdate, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """An order of the strategy was accepted, denied, rejected, canceled, expired, never sent, or is unknown."""
        return state, NOTHING

    def on_timer(self, event: TimerFired, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """A timer of the strategy is due."""
        return state, NOTHING

    def on_pause(self, event: Paused, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """Entries are denied from here on."""
        return state, NOTHING

    def on_resume(self, event: Resumed, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """Entries are taken again."""
        return state, NOTHING

    def on_stop(self, event: Stopped, state: S, context: StrategyContext) -> tuple[S, Sequence[Request]]:
        """The run stops; the state is saved after this."""
        return state, NOTHING


AnyStrategy = Strategy[Any, Any]
"""A strategy of which only the contract is known."""


def overrides(strategy: AnyStrategy | type[AnyStrategy], handler: str) -> bool:
    """Whether the strategy has a ``handler`` of its own, so that events nobody handles need not be delivered."""
    if handler not in HANDLERS:
        raise InputError(f"{handler!r} is no handler of a strategy: {', '.join(HANDLERS)}")
    cls = strategy if isinstance(strategy, type) else type(strategy)
    return getattr(cls, handler) is not getattr(Strategy, handler)


# --- the checks that a class must pass before it trades --------------------------------------------------------------


def check_strategy_class(cls: type[AnyStrategy]) -> None:
    """Raise :class:`~tradekeel.errors.InputError` unless ``cls`` keeps the contract as far as a class can show it.

    What it cannot show, purity, is documented and tested; what it can show is that nothing in parameters or state can
    be changed in place, and that the state can be saved and read back.
    """
    for name in ("Params", "State"):
        struct = getattr(cls, name, None)
        if struct is None:
            raise InputError(
                f"{cls.__name__} has no {name}: give it a class attribute, a frozen msgspec Struct "
                f"(class {name}(Struct, frozen=True): ...)"
            )
        if not (isinstance(struct, type) and issubclass(struct, Struct)):
            raise InputError(f"{cls.__name__}.{name} must be a class derived from msgspec.Struct, found {struct!r}")
        if not struct.__struct_config__.frozen:
            raise InputError(
                f"{cls.__name__}.{name} is not frozen. Write `class {struct.__name__}(Struct, frozen=True)`: the same "
                "ticks may be run twice from the same state, so nobody may change it in place; return a new one instead"
            )
    _check_fields(cls, "Params", cls.Params)
    _check_fields(cls, "State", cls.State)
    try:
        msgspec.msgpack.Decoder(cls.State)
    except TypeError as error:
        raise InputError(f"{cls.__name__}.State cannot be read back by msgspec: {error}") from None
    version: object = cls.state_version
    if type(version) is not int or not 1 <= version <= STATE_VERSION_MAX:
        raise InputError(f"{cls.__name__}.state_version counts from 1, found {version!r}")


_MUTABLE = {
    msgspec.inspect.ListType: "a list; use tuple[X, ...]",
    msgspec.inspect.SetType: "a set; use frozenset[X]",
    msgspec.inspect.ByteArrayType: "a bytearray; use bytes",
}


def _check_fields(cls: type[AnyStrategy], name: str, struct: type[Struct]) -> None:
    try:
        info = msgspec.inspect.type_info(struct)
    except (TypeError, NameError) as error:
        raise InputError(f"{cls.__name__}.{name}: a field's type cannot be resolved: {error}") from None
    for path, problem in _problems(info, struct.__name__, set()):
        raise InputError(f"{cls.__name__}.{name}: {path} is {problem}. What a state holds must not change in place")


def _problems(info: msgspec.inspect.Type, path: str, seen: set[type]) -> Iterator[tuple[str, str]]:
    """Everything under a type that could be changed in place, and where. A dict is allowed: copy it to change it."""
    if type(info) in _MUTABLE:
        yield path, _MUTABLE[type(info)]
    elif isinstance(info, msgspec.inspect.CustomType):
        yield (
            path,
            f"a {info.cls.__name__}, which msgspec cannot save; use a Struct, numbers, text and tuples",
        )
    elif isinstance(info, msgspec.inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        if not info.cls.__struct_config__.frozen:
            yield (
                path,
                f"a {info.cls.__name__}, which is not frozen; write class {info.cls.__name__}(Struct, frozen=True)",
            )
        for field in info.fields:
            yield from _problems(field.type, f"{path}.{field.name}", seen)
    elif isinstance(info, msgspec.inspect.UnionType):
        for part in info.types:
            yield from _problems(part, path, seen)
    elif isinstance(info, msgspec.inspect.TupleType):
        for part in info.item_types:
            yield from _problems(part, path, seen)
    elif isinstance(info, (msgspec.inspect.VarTupleType, msgspec.inspect.FrozenSetType)):
        yield from _problems(info.item_type, path, seen)
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _problems(info.value_type, path, seen)
    elif isinstance(info, msgspec.inspect.Metadata):
        yield from _problems(info.type, path, seen)
