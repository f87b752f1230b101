"""`tradekeel data`: what there is in market data, what is odd about it, and the same in a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.place import config_path
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.sharing import password_of
from tradekeel.config.overrides import read_value
from tradekeel.config.words import did_you_mean
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.money import parse_amount
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError
from tradekeel.feeds import FEEDS, FeedContext, FileFeedSettings, FileHashes
from tradekeel.feeds.examining import SPIKE_MADS, Examiner, Measured
from tradekeel.feeds.file import NO_PARQUET, suffixes_of
from tradekeel.feeds.files import locate
from tradekeel.feeds.recognising import recognise, symbol_in
from tradekeel.feeds.rows import RowKind
from tradekeel.feeds.typed import bare_symbol
from tradekeel.ports import Feed
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.loop import run as run_loop

Tell = Callable[[str, int, int], object]
WINDOW_TICKS = 8_192
STEPS = 1_000
"""How finely a bar shows how far the reading is."""

NO_PROBLEM = frozenset({RowKind.OUTSIDE})
"""What was left out because it was asked to be."""


class Options(Struct, frozen=True, kw_only=True):
    """What was said on the command line about the data, beside where it is."""

    feed: str | None = None  # of a configuration
    instrument: str | None = None
    tick_size: str | None = None
    settings: Mapping[str, Any] = {}  # options of a file feed, by their names; a part of a table by "columns.time"


class Chosen(Struct, frozen=True, kw_only=True):
    """The data that is meant."""

    name: str  # what messages call it
    kind: str
    settings: Any  # of that kind of feed
    base: Path
    instruments: Mapping[str, Instrument]
    password: Callable[[], str] | None = None
    recognised: Mapping[str, Any] = {}  # settings that nobody gave


def choose(target: str, options: Options, environ: Mapping[str, str]) -> Chosen:
    """The feed of a configuration, or a file, a folder or a pattern. Raises InputError, ConfigError."""
    if target.endswith(".toml") or ("/" not in target and not _is_there(target)):
        return _of_config(target, options, environ)
    if options.feed is not None:
        raise InputError(f"{target} is data and no configuration: --feed means nothing beside it")
    return _of_path(target, options)


def _is_there(target: str) -> bool:
    return Path(target).exists() or any(sign in target for sign in "*?[.")


def _of_config(target: str, options: Options, environ: Mapping[str, str]) -> Chosen:
    if options.instrument is not None or options.tick_size is not None or options.settings:
        raise InputError(
            f"{target} is a configuration, which says what its data is: only --feed means something beside it"
        )
    plan = read_plan(config_path(target), environ, fetch_secrets=False)
    feeds = plan.config.feeds
    name = options.feed or (next(iter(feeds)) if len(feeds) == 1 else None)
    if name is None:
        raise InputError(
            f"{target} has {len(feeds)} feeds: choose one with --feed: {', '.join(feeds) or 'there is none'}"
        )
    if name not in feeds:
        raise InputError(f"{target} has no feed {name!r}; {did_you_mean(name, list(feeds), 'it has')}")
    feed = feeds[name]
    if feed.password is not None:  # only then: those of accounts are the daemon's to read
        plan = read_plan(config_path(target), environ)
        feed = plan.config.feeds[name]
    if feed.kind == "redis" or getattr(feed.settings, "live", False):
        raise InputError(f"feed {name} of {target} is a live market or a shared stream, which has no end")
    return Chosen(
        name=f"feed {name}",
        kind=feed.kind,
        settings=feed.settings,
        base=plan.config.folder,
        instruments=plan.instruments,
        password=password_of(feed),
    )


def _of_path(path: str, options: Options) -> Chosen:
    given = _nested(options.settings)
    found = recognise(path, Path(), given)
    table: dict[str, Any] = {**found, **given}
    if "columns" in found:
        table["columns"] = {**found["columns"], **given.get("columns", {})}
    instruments = _instruments(path, options, table)
    try:
        settings = msgspec.convert({**table, "instruments": dict.fromkeys(instruments, path)}, FileFeedSettings)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None
    return Chosen(name=path, kind="file", settings=settings, base=Path(), instruments=instruments, recognised=found)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``{"columns.time": …}`` as tables in tables, values as TOML reads them."""
    table: dict[str, Any] = {}
    for key, value in settings.items():
        inner, parts = table, key.split(".")
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"--set {key}: {part} is a value already, and no table")
        inner[parts[-1]] = read_value(value) if isinstance(value, str) and key not in _TEXTS else value
    return table


_TEXTS = frozenset({"format", "time_format", "time_zone", "delimiter", "decimal_mark", "start", "end", "path"})
"""Options that are text, whatever they look like."""


def _instruments(path: str, options: Options, table: Mapping[str, Any]) -> dict[str, Instrument]:
    if options.instrument is not None:
        names = [name.strip() for name in options.instrument.split(",") if name.strip()]
    elif table.get("format") == "parquet":
        names = _in_parquet(path, table.get("columns", {}).get("instrument", "instrument"))
    else:
        names = []
    if not names:
        files = locate(path, Path(), suffixes_of(table.get("format")))
        names = [symbol_in(path, [file.path for file in files], CATALOGUE)]
    return {name: _instrument(name, options) for name in names}


def _in_parquet(path: str, column: str) -> list[str]:
    try:
        from tradekeel.feeds.parquet import instruments_in
    except ImportError as error:
        raise InputError(NO_PARQUET.format(error)) from None
    known = {bare_symbol(symbol): symbol for symbol in CATALOGUE}
    files = [file.path for file in locate(path, Path(), suffixes_of("parquet"))]
    return [known.get(bare_symbol(name), name) for name in instruments_in(files, column)]


def _instrument(symbol: str, options: Options) -> Instrument:
    known = CATALOGUE.get(symbol)
    if options.tick_size is None:
        if known is None:
            raise InputError(
                f"instrument {symbol!r} is not in the catalogue: say the smallest step of its price with --tick-size"
            )
        return known
    size = parse_amount(options.tick_size)
    if known is not None:
        return msgspec.structs.replace(known, tick_size=size)
    base, _, quote = symbol.partition("_")
    return Instrument(symbol=symbol, base=base, quote=quote or base, tick_size=size, pip_size=size)


def examine(chosen: Chosen, tell: Tell, spike_mads: str | None = None) -> dict[str, Any]:
    """Read all of it; everything that was seen, as JSON values. Raises InputError, StoreError."""
    mads = SPIKE_MADS if spike_mads is None else parse_amount(spike_mads)
    if mads <= 0:
        raise InputError(f"--spike-mads must be above zero, found {spike_mads}")
    settings, failing = _lenient(chosen.settings)
    gap_s: Decimal | None = getattr(settings, "gap_s", None)
    always_open = bool(getattr(settings, "gap_on_weekends", False) or getattr(settings, "weekends", False))
    as_written = msgspec.json.decode(msgspec.json.encode(settings))
    symbols = list(FEEDS[chosen.kind].symbols(as_written))
    instruments = {symbol: chosen.instruments.get(symbol) or CATALOGUE[symbol] for symbol in symbols}
    examiner = Examiner(instruments, None if gap_s is None else int(gap_s * NS_PER_S))
    feed, quality = _read_all(chosen, settings, tell, examiner.take, examiner)
    return {
        "data": chosen.name,
        "kind": chosen.kind,
        "format": getattr(settings, "format", None),
        "recognised": dict(chosen.recognised),
        "fingerprint": feed.info.fingerprint,
        "bytes": feed.info.total_bytes if chosen.kind == "file" else None,
        "rows": quality.get("rows", quality["ticks"]),
        "ticks": quality["ticks"],
        "counts": quality,
        "instruments": [
            _shown(one, always_open, mads, failing, in_files=chosen.kind == "file")
            for one in examiner.measured.values()
        ],
    }


def _lenient(settings: Any) -> tuple[Any, frozenset[str]]:
    """Settings at which nothing stops: what would fail is left out and counted, and which kinds those are."""
    changes: dict[str, Any] = {"speed": "max"} if hasattr(settings, "speed") else {}
    failing: frozenset[str] = frozenset()
    if hasattr(settings, "bad_rows"):
        policies = msgspec.structs.asdict(settings.bad_rows)
        failing = frozenset(kind for kind, policy in policies.items() if policy == "fail")
        softer = {kind: "accept" if kind == RowKind.GAP else "drop" for kind in failing}
        changes["bad_rows"] = msgspec.structs.replace(settings.bad_rows, **softer)
    return msgspec.structs.replace(settings, **changes), failing


def _read_all(
    chosen: Chosen, settings: Any, tell: Tell, take: Callable[[Sequence[Tick]], object], watch: Examiner | None = None
) -> tuple[Feed, dict[str, int]]:
    """All ticks of a feed, in order, to ``take``; the feed, and its counts."""
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
    return feed, counts


def _shown(
    one: Measured, always_open: bool, mads: Decimal, failing: frozenset[str], *, in_files: bool
) -> dict[str, Any]:
    days = one.days()
    spikes = one.spikes(mads)
    median = one.spreads.median()
    spreads = one.spreads.counts
    on_weekends = 0 if always_open else one.on_weekends()
    missed = [] if always_open else one.missed()
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
        "spread_median": _text(median),
        "spread_min": _text(min(spreads, default=None)),
        "spread_max": _text(max(spreads, default=None)),
        "spreads_exact": one.spreads.exact,
        "files": [
            {"file": name, "rows": part.rows, "first": iso(part.first_ns), "last": iso(part.last_ns)}
            for name, part in one.parts.items()
            if part.first_ns is not None and in_files
        ],
        "bad_rows": [
            {
                "kind": kind.value,
                "count": oddity.count,
                "policy": "fail" if kind in failing else oddity.policy,
                "examples": [{"where": example.where, "found": example.found} for example in oddity.examples],
            }
            for kind, oddity in bad.items()
        ],
        "spikes": {
            "count": spikes.count,
            "bound_mads": _text(spikes.bound_mads),
            "bound": _text(spikes.bound),
            "largest": [
                {"tick": step.position, "time": iso(step.ts_ns), "step": _text(step.step)} for step in spikes.largest
            ],
        },
        "overlaps": [{"file": name, "with": other, "seconds": f"{ns / NS_PER_S:.3f}"} for name, other, ns in overlaps],
        "sessions_without_ticks": [
            {"session": gap.session, "start": iso(gap.start_ns), "end": iso(gap.end_ns)} for gap in missed
        ],
        "ticks_on_weekends": on_weekends,
        "problems": problems + spikes.count + len(overlaps) + len(missed) + on_weekends,
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def convert(chosen: Chosen, target: Path, tell: Tell) -> dict[str, Any]:
    """Write what a feed would deliver, by its policies, into a Parquet file. Raises InputError, StoreUnavailable."""
    try:
        from tradekeel.feeds.writing import TickFile
    except ImportError as error:
        raise InputError(NO_PARQUET.format(error)) from None
    settings = msgspec.structs.replace(chosen.settings, speed="max")
    with TickFile(target) as file:
        feed, counts = _read_all(chosen, settings, tell, file.write)
    return {
        "data": chosen.name,
        "file": str(target.absolute()),
        "bytes": target.stat().st_size,
        "bytes_read": feed.info.total_bytes if chosen.kind == "file" else None,
        "ticks": file.rows,
        "instruments": list(feed.info.instruments),
        "counts": counts,
        "recognised": dict(chosen.recognised),
    }
