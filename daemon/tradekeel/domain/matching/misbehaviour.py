"""Requests that get lost on purpose: ``drop_rate`` never arrive, ``timeout_rate`` arrive and are never answered.

Drawn by what is asked and how often it was asked at this tick, never by the client id: ids are random, and two runs over the
same ticks must lose the same orders. An order that was lost and is asked for again draws anew.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tradekeel.domain.matching.chance import happens
from tradekeel.domain.matching.terms import PaperSettings
from tradekeel.domain.messages import OrderRequest

_What = tuple[str | int | Decimal, ...]


class Misbehaviour:
    """What a venue with these settings does to one request after the other."""

    def __init__(self, settings: PaperSettings) -> None:
        self._settings = settings
        self._drawn_at = -1
        self._drawn: Counter[_What] = Counter()

    def loses(self, request: OrderRequest, position: int) -> bool:
        """Whether this request, made at a tick, never arrives."""
        return self._happens(self._settings.drop_rate, "drop", request, position)

    def keeps_silent(self, request: OrderRequest, position: int) -> bool:
        """Whether this request is done and not answered."""
        return self._happens(self._settings.timeout_rate, "timeout", request, position)

    def _happens(self, rate: Decimal, how: str, request: OrderRequest, position: int) -> bool:
        if not rate:
            return False
        what: _What = (how, request.instrument, position, request.side.value, request.quantity)
        if self._drawn_at != position:
            self._drawn_at, self._drawn = position, Counter()
        self._drawn[what] += 1
        return happens(rate, self._settings.seed, *what, self._drawn[what])
