"""The story of a run as the strategies lived it: trades, events and sampled ticks, without what must differ between two runs.

Ids are made from the execution's random id, versions and update times count what a restart adds. Everything else,
prices, times, reasons and money to the last digit, must be the same in a run that was killed and in one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec

from tests.campaigns.kill.books import Ours
from tests.campaigns.kill.reading import Row

_IDS = frozenset(
    (
        "trade_id",
        "signal_id",
        "execution",
        "entry_order_id",
        "exit_order_ids",
        "venue_order_id",
        "venue_trade_ids",
        "position_ref",
        "correlation_id",
        "version",
        "updated_ns",
    )
)

Line = tuple[tuple[str, str], ...]


def story_of(ours: Ours) -> dict[str, list[Line]]:
    """Chapters, each a sorted list of lines."""
    trades = sorted(_line(row) for row in ours.trades)
    names = {row["trade_id"]: f"trade {_line(row)[:6]}" for row in ours.trades}
    events = [_event(row, names) for row in ours.events]
    return {"trades": trades, "events": events, "sampled ticks": [*_samples(ours)]}


def _samples(ours: Ours) -> Iterator[Line]:
    for row in ours.journal:
        if row["type"] == "tick_sampled":
            tick = msgspec.msgpack.decode(row["payload"])
            yield tuple((name, str(tick[name])) for name in ("position", "instrument", "ts_ns", "bid", "ask"))


def _line(row: Row) -> Line:
    keep = {name: str(value) for name, value in row.items() if name not in _IDS}
    first = ("created_ns", "strategy", "symbol", "side", "quantity", "entry_time_ns")
    return (*((name, keep.pop(name)) for name in first), *sorted(keep.items()))


def _event(row: Row, names: dict[str, str]) -> Line:
    data = {key: names.get(str(value), value) for key, value in json.loads(row["data"]).items()}
    return (
        ("strategy", row["strategy"]),
        ("sequence", str(row["sequence"])),
        ("type", row["type"]),
        ("ts_ns", str(row["ts_ns"])),
        ("data", json.dumps(data, sort_keys=True)),
    )


def differences(reference: dict[str, list[Line]], found: dict[str, list[Line]]) -> Iterator[str]:
    """What is told differently, at most a few lines a chapter."""
    for chapter, wanted in reference.items():
        told = found[chapter]
        if told == wanted:
            continue
        if len(told) != len(wanted):
            yield f"{len(told)} {chapter} instead of {len(wanted)}"
        yield from _first(chapter, wanted, told)


def _first(chapter: str, wanted: Sequence[Line], told: Sequence[Line]) -> Iterator[str]:
    shown = 0
    for number, (should, does) in enumerate(zip(wanted, told, strict=False), start=1):
        if should == does:
            continue
        there = dict(should)
        changed = [f"{k} is {v}, not {there.get(k)}" for k, v in does if there.get(k) != v]
        yield f"{chapter} {number} ({', '.join(v for _, v in should[:6])}): {'; '.join(changed[:8])}"
        shown += 1
        if shown == 3:
            return
