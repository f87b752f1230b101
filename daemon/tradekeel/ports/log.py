"""What the log must offer."""

from __future__ import annotations

from typing import Protocol


class Say(Protocol):
    """Writes a line of the log; ``fields`` are shown behind it."""

    def __call__(self, level: str, text: str, **fields: str) -> None: ...
