"""Which market data somebody means: the feed of a configuration, or a file with what was said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.backtest.source import TickDataSource
from tradekeel.bootstrap.backtesting import shared_ticks
from tradekeel.bootstrap.place import config_path
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.sharing import READS_A_STREAM, needs_a_secret, password_of
from tradekeel.config.overrides import read_value
from tradekeel.config.words import did_you_mean
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.money import parse_amount
from tradekeel.errors import InputError
from tradekeel.feeds import FileFeedSettings
from tradekeel.feeds.file import NO_PARQUET, suffixes_of
from tradekeel.feeds.files import locate
from tradekeel.feeds.recognising import recognise, symbol_in
from tradekeel.feeds.typed import bare_symbol


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
    stream: Callable[[], TickDataSource] | None = None  # of a feed that never ends by itself: what is there now
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
    if needs_a_secret(plan.config, feed):  # only then: those of accounts are the daemon's to read
        plan = read_plan(config_path(target), environ)
        feed = plan.config.feeds[name]
    if getattr(feed.settings, "live", False):
        raise InputError(f"feed {name} of {target} is a live market, which has no end")
    return Chosen(
        name=f"feed {name}",
        kind=feed.kind,
        settings=feed.settings,
        base=plan.config.folder,
        instruments=plan.instruments,
        password=password_of(feed),
        stream=partial(shared_ticks, plan, feed, {}) if feed.kind == READS_A_STREAM else None,
    )


def _of_path(path: str, options: Options) -> Chosen:
    given = _nested(options.settings)
    found = recognise(path, Path(), given)
    table: dict[str, Any] = {**found, **given}
    for inner in ("columns", "bars"):
        if inner in found:
            table[inner] = {**found[inner], **given.get(inner, {})}
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
