"""A strategy's state on its way to the disk and back.

A state is written with every decision and read only behind a restart. One that would come back as something else, because
a field holds what its type does not say, would go on unnoticed until a kill, and then be another strategy's, or nobody's.
So it is read back at once, wherever it is written, and what differs is told with the field's name.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.errors import InputError

SHOWN_MAX = 80
"""Characters of a value in a sentence."""


class ExecutionState(Struct, frozen=True, kw_only=True):
    """Everything a strategist needs to go on: what is saved with each decision and at each checkpoint."""

    strategy_state: bytes  # msgpack of the strategy's State
    state_version: int
    stamp: int
    position: int
    inbox: int
    decisions: int
    timers: dict[str, int] = {}
    started: bool = False
    over: bool = False  # it has taken its on_stop at the end of the run
    warm: bool = True
    ticks_processed: int = 0
    last_tick_ns: int = 0
    current_balance: Decimal
    open_positions: dict[str, Decimal] = {}
    metrics: dict[str, int] = {}
    """How often so far, since the execution began; what has not happened is not there.

    What its decisions asked for: signals (entries), exits, cancels, moves, emits. What it was told: fills of its trades,
    and orders that were denied (by the gate) or rejected (by the venue).
    """


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(ExecutionState)


def decode_execution_state(data: bytes) -> ExecutionState:
    """The saved state; raises ``msgspec`` errors on anything else."""
    return _DECODER.decode(data)


class StateCodec:
    """Writes and reads the states of one strategy."""

    def __init__(self, strategy: str, state: type[Struct]) -> None:
        self._strategy = strategy
        self._decoder = msgspec.msgpack.Decoder(state)

    def written(self, state: Any) -> tuple[bytes, Any]:
        """The state as msgpack, and as it reads back. Raises InputError if that is not what it was."""
        who = f"strategy {self._strategy}"
        try:
            data = _ENCODER.encode(state)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # msgspec's own errors are ValueErrors
            raise InputError(f"{who}: its state cannot be written down: {error}") from error
        try:
            back = self._decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{who}: its state cannot be read back from what is saved of it: {error}") from error
        if back != state and (difference := _difference(state, back, "")) is not None:
            path, was, now = difference
            raise InputError(
                f"{who}: its state does not come back from being saved as it was: {path or 'State'} is {_shown(was)}, "
                f"and comes back as {_shown(now)}; give the field the type of what it holds"
            )
        return data, back

    def read(self, data: bytes) -> Any:
        """A state that was saved. Raises InputError if it is none of this strategy's."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise InputError(f"strategy {self._strategy}: its saved state does not fit its State: {error}") from error


def _difference(was: Any, back: Any, path: str) -> tuple[str, Any, Any] | None:
    """The first place where two states differ, and what is there. A NaN is what it was, though it is not equal to itself."""
    parts: list[tuple[str, Any, Any]] = []
    match was:
        case Struct() if type(back) is type(was):
            parts = [(f".{name}", getattr(was, name), getattr(back, name)) for name in was.__struct_fields__]
        case dict() if isinstance(back, dict) and back.keys() == was.keys():
            parts = [(f"[{key!r}]", value, back[key]) for key, value in was.items()]
        case tuple() | list() if type(back) is type(was) and len(back) == len(was):
            parts = [(f"[{index}]", one, two) for index, (one, two) in enumerate(zip(was, back, strict=True))]
        case _ if was == back or (was != was and back != back):  # so a NaN is told
            return None
        case _:
            return path.removeprefix("."), was, back
    for name, one, two in parts:
        found = _difference(one, two, path + name)
        if found is not None:
            return found
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
