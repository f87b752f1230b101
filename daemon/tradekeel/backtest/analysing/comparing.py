"""What differs between what strategies asked for in two runs."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from tradekeel.backtest.analysing.asked import Asked, Run
from tradekeel.domain.messages import Enter, Request, Stamp


class Changed(Struct, frozen=True, kw_only=True):
    """The first decision of a strategy that is another one, and how many are."""

    strategy: str
    position: int  # the tick of the whole data
    ts_ns: int
    before: tuple[Request, ...] | None  # what was asked for in the run that is compared with; None: nothing
    after: tuple[Request, ...] | None  # and in the other one
    count: int  # decisions that only one of the two has


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string", order="deterministic")


def changes(before: Sequence[Asked], after: Sequence[Asked]) -> list[Changed]:
    """Strategy by strategy what is not the same: the tick, the moment between two ticks, and all that was asked for."""
    found = []
    for strategy in dict.fromkeys(each.strategy for each in (*before, *after)):
        own = [each for each in before if each.strategy == strategy]
        others = [each for each in after if each.strategy == strategy]
        first = next((pair for pair in _side_by_side(own, others) if pair[0] != pair[1]), None)
        if first is not None:
            found.append(_changed(strategy, own, others, first))
    return sorted(found, key=lambda each: each.position)


def up_to(position: int, asked: Iterable[Asked]) -> list[Asked]:
    """What was decided on the ticks up to one."""
    return [each for each in asked if each.stamp <= Stamp.after(position)]


def behind(position: int, asked: Iterable[Asked]) -> list[Asked]:
    """What was decided later."""
    return [each for each in asked if each.stamp > Stamp.after(position)]


_Key = tuple[int, bytes]


def _key(asked: Asked) -> _Key:
    return asked.stamp, _ENCODER.encode(asked.requests)


def _side_by_side(
    before: Sequence[Asked], after: Sequence[Asked]
) -> Iterator[tuple[_Key | None, _Key | None, Asked | None, Asked | None]]:
    for index in range(max(len(before), len(after))):
        one = before[index] if index < len(before) else None
        two = after[index] if index < len(after) else None
        yield None if one is None else _key(one), None if two is None else _key(two), one, two


def _changed(
    strategy: str,
    before: Sequence[Asked],
    after: Sequence[Asked],
    first: tuple[_Key | None, _Key | None, Asked | None, Asked | None],
) -> Changed:
    _, _, one, two = first
    stamp = min(each.stamp for each in (one, two) if each is not None)
    one, two = (each if each is not None and each.stamp == stamp else None for each in (one, two))
    at = one if one is not None else two
    assert at is not None
    own, others = Counter(map(_key, before)), Counter(map(_key, after))
    return Changed(
        strategy=strategy,
        position=Stamp.position(stamp),
        ts_ns=at.ts_ns,
        before=None if one is None else one.requests,
        after=None if two is None else two.requests,
        count=max((own - others).total(), (others - own).total()),
    )


# --- entries alone ----------------------------------------------------------------------------------------------------


class EntryChanges(Struct, frozen=True, kw_only=True):
    """How the entries that one strategy asked for differ between the whole run and one that began later."""

    strategy: str
    entries: int  # in the whole run
    missing: int  # only the whole run asked for them
    extra: int  # only the other one did
    values: int  # both did, at the same tick and to the same side, with another price, stop or size
    holding: int  # of all these, so many where the strategy held something else
    first: Changed | None = None
    first_holding: bool = False  # it held something else already at the first

    @property
    def differing(self) -> int:
        """All of them."""
        return self.missing + self.extra + self.values


def entry_changes(strategy: str, whole: Run, other: Run, shift: int, position: int) -> EntryChanges:
    """Compare the entries behind a tick by tick, instrument and side; ``shift`` ticks came before the first of the other run.

    What is left, moved or said is no part of it: that follows from what is held. Entries that were asked for while a strategy was
    not warm are none, since they are denied.
    """
    one, two = _entries(strategy, whole, 0, position), _entries(strategy, other, shift, position)
    missing, extra = one.keys() - two.keys(), two.keys() - one.keys()
    values = {key for key in one.keys() & two.keys() if _traded(one[key].enter) != _traded(two[key].enter)}
    different = sorted({*missing, *extra, *values})
    holding = [held_before(whole, strategy, k[0]) != held_before(other, strategy, k[0] - 2 * shift) for k in different]
    first = None
    if different:
        key = different[0]
        first = Changed(
            strategy=strategy,
            position=Stamp.position(key[0]),
            ts_ns=(one.get(key) or two[key]).ts_ns,
            before=(one[key].enter,) if key in one else None,
            after=(two[key].enter,) if key in two else None,
            count=len(different),
        )
    return EntryChanges(
        strategy=strategy,
        entries=len(one),
        missing=len(missing),
        extra=len(extra),
        values=len(values),
        holding=sum(holding),
        first=first,
        first_holding=bool(holding) and holding[0],
    )


def _traded(enter: Enter) -> Enter:
    """What an entry asks for, without what it says beside: a count in its notes is another one after another past."""
    return structs.replace(enter, tags=(), metadata={})


_EntryKey = tuple[int, str, str, int]


class _Entry(NamedTuple):
    enter: Enter
    ts_ns: int


def _entries(strategy: str, run: Run, shift: int, position: int) -> dict[_EntryKey, _Entry]:
    """By the moment in the whole data, instrument, side, and which of several such."""
    found: dict[_EntryKey, _Entry] = {}
    for asked in run.asked:
        stamp = asked.stamp + 2 * shift
        if asked.strategy != strategy or not asked.warm or stamp <= Stamp.after(position):
            continue
        for request in asked.requests:
            if isinstance(request, Enter):
                number = 0
                while (key := (stamp, request.instrument, request.side.value, number)) in found:
                    number += 1
                found[key] = _Entry(request, asked.ts_ns)
    return found


def held_before(run: Run, strategy: str, stamp: int) -> tuple[str, ...]:
    """What a strategy has before anything happens at a moment (a stamp)."""
    timeline = run.held.get(strategy, [])
    place = bisect_left(timeline, stamp, key=lambda held: held.stamp)
    return timeline[place - 1].trades if place else ()
