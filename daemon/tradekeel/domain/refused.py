"""Orders that came to nothing, counted by why: those that our gate denied, and those that the venue rejected."""

from __future__ import annotations

from collections.abc import Mapping

from tradekeel.domain.orders import OrderStatus

REASONS_MAX = 100
"""Reasons that are kept apart: a venue's are its own words, and each may name another number."""

REASON_CHARACTERS_MAX = 120
SHOWN_MAX = 6
"""Reasons of the venue that a line names, the most frequent."""

OTHER, ARCHIVED, NONE_GIVEN = "(other)", "(archived)", "(none given)"


class Refused:
    """What there is of such orders, one after the other. Begins with what was counted before."""

    def __init__(self, denied: Mapping[str, int], rejections: Mapping[str, int]) -> None:
        self._denied, self._rejections = dict(denied), dict(rejections)

    def take(self, status: str, reason: str) -> None:
        """The next order; one that came to something changes nothing."""
        if status == OrderStatus.REJECTED:
            _add(self._rejections, _in_one_line(reason))
        elif status == OrderStatus.DENIED:  # a denial's reason is its code, a colon and a sentence
            code = reason.partition(":")[0]
            self._denied[code] = self._denied.get(code, 0) + 1

    @property
    def denied(self) -> dict[str, int]:
        """Orders that the gate denied, by the code of its reason, the most frequent first."""
        return _most_frequent_first(self._denied)

    @property
    def rejections(self) -> dict[str, int]:
        """Orders that the venue rejected, by the reason that it gave, the most frequent first."""
        return _most_frequent_first(self._rejections)


def _in_one_line(reason: str) -> str:
    line = " ".join(reason.split())
    return line[:REASON_CHARACTERS_MAX] or NONE_GIVEN


def _add(counts: dict[str, int], reason: str) -> None:
    known = reason in counts or len(counts) < REASONS_MAX
    name = reason if known else OTHER
    counts[name] = counts.get(name, 0) + 1


def _most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def reasons(counts: Mapping[str, int], shown_max: int | None = None) -> str:
    """``INSUFFICIENT_MARGIN 12, NO_PRICE 1``; those beyond so many are counted together."""
    shown = list(counts.items())[:shown_max]
    rest = sum(counts.values()) - sum(count for _, count in shown)
    said = [f"{name} {count:,}" for name, count in shown]
    return ", ".join([*said, f"for other reasons {rest:,}"] if rest else said)
