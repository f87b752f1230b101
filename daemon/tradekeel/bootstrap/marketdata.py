"""`tradekeel data`: what there is in market data, what is odd about it, and the same in a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tradekeel.backtest.source import TickDataSource
from tradekeel.bootstrap.backtesting import HOURS_SAY_NOTHING
from tradekeel.bootstrap.datachoice import Chosen
from tradekeel.domain.counting import counted, each_counted
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.money import parse_amount
from tradekeel.domain.sessions import EVERY_DAY_A_YEAR
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError
from tradekeel.feeds import FEEDS, FeedContext, FileHashes
from tradekeel.feeds.examining import SPIKE_MADS, Examiner, Measured, Oddity, Spikes
from tradekeel.feeds.file import NO_PARQUET
from tradekeel.feeds.rows import RowKind
from tradekeel.ports import FeedInfo
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.loop import run as run_loop

Tell = Callable[[str, int, int], object]
WINDOW_TICKS = 8_192
STEPS = 1_000
"""How finely a bar shows how far the reading is."""

NO_PROBLEM = frozenset({RowKind.OUTSIDE})
"""What was left out because it was asked to be."""


def examine(chosen: Chosen, tell: Tell, spike_mads: str | None = None) -> dict[str, Any]:
    """Read all of it; everything that was seen, as JSON values. Raises InputError, StoreError."""
    mads = SPIKE_MADS if spike_mads is None else parse_amount(spike_mads)
    if mads <= 0:
        raise InputError(f"--spike-mads must be above zero, found {spike_mads}")
    settings, failing = _lenient(chosen.settings)
    hours_tell = not any(getattr(settings, name, False) for name in HOURS_SAY_NOTHING)
    as_written = msgspec.json.decode(msgspec.json.encode(settings))
    symbols = list(FEEDS[chosen.kind].symbols(as_written))
    instruments = {symbol: chosen.instruments.get(symbol) or CATALOGUE[symbol] for symbol in symbols}
    examiner = Examiner(instruments, getattr(settings, "gap_ns", None))
    about, quality = _read_all(chosen, settings, tell, examiner.take, examiner)
    return {
        "data": chosen.name,
        "kind": chosen.kind,
        "format": getattr(settings, "format", None),
        "recognised": dict(chosen.recognised),
        "fingerprint": about.fingerprint,
        "bytes": about.total_bytes if chosen.kind == "file" else None,
        "rows": quality.get("rows", quality["ticks"]),
        "ticks": quality["ticks"],
        "counts": quality,
        "instruments": [
            _shown(
                one,
                hours_tell and one.instrument.days_a_year < EVERY_DAY_A_YEAR,
                mads,
                failing,
                in_files=chosen.kind == "file",
            )
            for one in examiner.measured.values()
        ],
    }


def _lenient(settings: Any) -> tuple[Any, frozenset[str]]:
    """Settings at which nothing stops: what would fail is left out and counted, and which kinds those are."""
    changes: dict[str, Any] = {}
    failing: frozenset[str] = frozenset()
    if hasattr(settings, "bad_rows"):
        policies = msgspec.structs.asdict(settings.bad_rows)
        failing = frozenset(kind for kind, policy in policies.items() if policy == "fail")
        softer = {kind: "accept" if kind == RowKind.GAP else "drop" for kind in failing}
        changes["bad_rows"] = msgspec.structs.replace(settings.bad_rows, **softer)
    return msgspec.structs.replace(settings, **changes), failing


def _read_all(
    chosen: Chosen, settings: Any, tell: Tell, take: Callable[[Sequence[Tick]], object], watch: Examiner | None = None
) -> tuple[FeedInfo, dict[str, int]]:
    """All ticks, in order and as fast as it goes, to ``take``; what they are of, and the counts."""
    if chosen.stream is not None:
        return _read_stream(chosen.stream, tell, take)
    if hasattr(settings, "speed"):
        settings = msgspec.structs.replace(settings, speed="max")
    hashes = FileHashes(lambda path, done, size: tell(f"looking at {Path(path).name}", done, size))
    context = FeedContext(
        chosen.name,
        SystemClock(),
        chosen.base,
        {**CATALOGUE, **chosen.instruments},
        hashes=hashes,
        watch=watch,
        password=chosen.password,
        reading=tell,
    )
    feed = FEEDS[chosen.kind].build(settings, context)

    async def read() -> None:
        await feed.open(0)
        try:
            while (window := await feed.next_window(WINDOW_TICKS)) is not None:
                take(window.ticks)
                tell("reading ticks", int((feed.progress() or 0) * STEPS), STEPS)
        finally:
            counts.update(feed.quality())
            await feed.close()

    counts: dict[str, int] = {}
    run_loop(read)
    return feed.info, counts


def _read_stream(
    open_stream: Callable[[], TickDataSource], tell: Tell, take: Callable[[Sequence[Tick]], object]
) -> tuple[FeedInfo, dict[str, int]]:
    """What a stream holds now, as its backtest would have it."""
    with closing(open_stream()) as source:
        for window in source.windows():
            take(window.ticks)
            tell("reading ticks", int((source.progress() or 0) * STEPS), STEPS)
        return source.info, dict(source.quality())


def _shown(
    one: Measured, hours_tell: bool, mads: Decimal, failing: frozenset[str], *, in_files: bool
) -> dict[str, Any]:
    days = one.days()
    spikes = one.spikes(mads)
    spreads = one.spreads.counts
    on_weekends = one.on_weekends() if hours_tell else 0
    missed = one.missed() if hours_tell else []
    overlaps = one.overlaps()
    bad = {kind: oddity for kind in RowKind if (oddity := one.oddities.get(kind)) is not None}
    problems = sum(oddity.count for kind, oddity in bad.items() if kind not in NO_PROBLEM)
    return {
        "instrument": one.instrument.symbol,
        "ticks": one.ticks,
        "first_ns": one.first_ns if one.ticks else None,
        "first": iso(one.first_ns) if one.ticks else None,
        "last_ns": one.last_ns if one.ticks else None,
        "last": iso(one.last_ns) if one.ticks else None,
        "days": len(days),
        "ticks_a_day": one.ticks // len(days) if days else 0,
        "ticks_a_day_min": min(days.values(), default=0),
        "ticks_a_day_max": max(days.values(), default=0),
        "price_low": _text(one.low),
        "price_high": _text(one.high),
        "spread_median": _text(one.spreads.median()),
        "spread_min": _text(min(spreads, default=None)),
        "spread_max": _text(max(spreads, default=None)),
        "spreads_exact": one.spreads.exact,
        "files": list(_files(one)) if in_files else [],
        "bad_rows": [_bad(kind, oddity, failing) for kind, oddity in bad.items()],
        "spikes": _spikes(spikes),
        "overlaps": [{"file": name, "with": other, "seconds": f"{ns / NS_PER_S:.3f}"} for name, other, ns in overlaps],
        "sessions_without_ticks": [
            {"session": gap.session, "start": iso(gap.start_ns), "end": iso(gap.end_ns)} for gap in missed
        ],
        "ticks_on_weekends": on_weekends,
        "ticks_at_one_time": one.at_one_time,
        "problems": problems + spikes.count + len(overlaps) + len(missed) + on_weekends,
    }


def _files(one: Measured) -> Iterator[dict[str, Any]]:
    for name, part in one.parts.items():
        if part.first_ns is not None:
            first, last = iso(part.first_ns), iso(part.last_ns)
            yield {"file": name, "rows": part.rows, "quotes": part.quotes, "first": first, "last": last}


def _bad(kind: RowKind, oddity: Oddity, failing: frozenset[str]) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "count": oddity.count,
        "policy": "fail" if kind in failing else oddity.policy,
        "examples": [{"where": example.where, "found": example.found} for example in oddity.examples],
    }


def _spikes(spikes: Spikes) -> dict[str, Any]:
    return {
        "count": spikes.count,
        "bound_mads": _text(spikes.bound_mads),
        "bound": _text(spikes.bound),
        "largest": [
            {"tick": step.position, "time": iso(step.ts_ns), "step": _text(step.step)} for step in spikes.largest
        ],
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def no_ticks(name: str, counts: Mapping[str, int]) -> str:
    """What is said of data without a tick, and what became of its rows."""
    left = each_counted({kind: count for kind, count in counts.items() if kind not in ("ticks", "rows")})
    rows = counts.get("rows", 0)
    why = f"of {counted(rows, 'row')} none was left" + (f" ({left})" if left else "") if rows else "there are no rows"
    return f"{name} has not a single tick: {why}"


def convert(chosen: Chosen, target: Path, tell: Tell) -> dict[str, Any]:
    """Write what a feed would deliver, by its policies, into a Parquet file. Raises StoreUnavailable, and InputError also where
    that is not a single tick: a file of none would only be met by whoever reads it.
    """
    try:
        from tradekeel.feeds.writing import TickFile
    except ImportError as error:
        raise InputError(NO_PARQUET.format(error)) from None
    with TickFile(target) as file:
        about, counts = _read_all(chosen, chosen.settings, tell, file.write)
        if not file.rows:
            raise InputError(f"{no_ticks(chosen.name, counts)}. Nothing was written")
    bars = getattr(chosen.settings, "bars", None)
    return {
        "data": chosen.name,
        "file": str(target.absolute()),
        "bytes": target.stat().st_size,
        "bytes_read": about.total_bytes if chosen.kind == "file" else None,
        "ticks": file.rows,
        "instruments": list(about.instruments),
        "made_of_bars": None if bars is None else bars.span,
        "counts": counts,
        "recognised": dict(chosen.recognised),
    }
