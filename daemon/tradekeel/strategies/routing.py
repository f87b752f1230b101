"""One state an instrument: how the built-in strategies trade several instruments without mixing their prices.

The state of the first instrument is the strategy's state itself, the others hang from it in ``others``. With one
instrument, the usual case, that costs a comparison a tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Struct, structs

from tradekeel.domain.messages import Request
from tradekeel.strategies.base import NOTHING


class Routed(Struct, frozen=True, gc=False):
    """A state that belongs to one instrument and carries those of the others, which have no others."""

    instrument: str = ""
    others: tuple[Any, ...] = ()


R = TypeVar("R", bound=Routed)


def cover(state: R, instruments: Iterable[str], blank: Callable[[str], R]) -> R:
    """The state with a place for each of ``instruments``; what is there stays, also of instruments no longer traded."""
    parts: dict[str, R] = {part.instrument: part for part in (state, *state.others) if part.instrument}
    for symbol in instruments:
        if symbol not in parts:
            parts[symbol] = blank(symbol)
    if not parts:
        return state
    first, *rest = parts.values()
    if first is state and len(rest) == len(state.others):
        return state
    bare = [structs.replace(part, others=()) for part in rest]
    return structs.replace(first, others=tuple(bare))


def route(state: R, symbol: str, handle: Callable[[R], tuple[R, Sequence[Request]]]) -> tuple[R, Sequence[Request]]:
    """Let ``handle`` work on the state of ``symbol``; an instrument that the strategy does not trade changes nothing."""
    if state.instrument == symbol:
        return handle(state)
    for index, part in enumerate(state.others):
        if part.instrument == symbol:
            after, requests = handle(part)
            if after is part:
                return state, requests
            others = (*state.others[:index], after, *state.others[index + 1 :])
            return structs.replace(state, others=others), requests
    return state, NOTHING
