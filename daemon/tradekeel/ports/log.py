"""What the log must offer."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Say(Protocol):
    """Writes a line of the log; ``fields`` are shown behind it."""

    def __call__(self, level: Level, text: str, **fields: str) -> None: ...
