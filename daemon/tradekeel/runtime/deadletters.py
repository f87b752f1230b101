"""Where mail goes whose addressee is not there: counted by actor and type of message, the last few kept to look at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

#: Distinct (actor, message type) pairs that are counted apart; whatever comes after them is counted together.
KINDS_MAX = 1_000

OTHERS = ("(others)", "(others)")


class DeadLetter(NamedTuple):
    """One message nobody will handle, and why. Any: the runtime carries every vocabulary and knows none."""

    actor: str
    message: Any
    why: str


class DeadLetters:
    """The sink. ``on_dead_letter`` is called for each, synchronously; it must not send mail."""

    def __init__(self, keep_last: int = 100, on_dead_letter: Callable[[DeadLetter], object] | None = None) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.last: deque[DeadLetter] = deque(maxlen=keep_last)
        self._on_dead_letter = on_dead_letter

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, actor: str, message: Any, why: str) -> None:
        kind = (actor, type(message).__name__)
        if kind not in self.counts and len(self.counts) >= KINDS_MAX:
            kind = OTHERS
        self.counts[kind] += 1
        letter = DeadLetter(actor, message, why)
        self.last.append(letter)
        if self._on_dead_letter is not None:
            self._on_dead_letter(letter)
