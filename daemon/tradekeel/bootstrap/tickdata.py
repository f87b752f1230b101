"""Market data for a backtest from Python: what `tradekeel data` reads, as a source of ticks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from tradekeel.backtest.source import FeedSource, TickDataSource
from tradekeel.bootstrap.backtesting import FULL_SPEED, NO_CLOCK
from tradekeel.bootstrap.datachoice import Options, choose
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.feeds import FEEDS, FeedContext


def tick_data(
    source: str | Path,
    *,
    instrument: str | None = None,
    tick_size: str | None = None,
    feed: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TickDataSource:
    """Ticks for :class:`~tradekeel.backtest.BacktestExecutor` from a file, a folder or a pattern, or from a configuration's feed.

    What files are is recognised as `tradekeel data` does it. ``instrument`` says whose quotes they are, ``tick_size`` the
    smallest step of a price of what is not in the catalogue, and ``settings`` are other options of a file feed by their names:
    ``{"columns.time": "when", "start": "2024-01-02"}``. Of a configuration ``feed`` names one of several. Raises InputError,
    ConfigError, DataError.
    """
    options = Options(feed=feed, instrument=instrument, tick_size=tick_size, settings=settings or {})
    chosen = choose(str(source), options, os.environ)
    if chosen.stream is not None:
        return chosen.stream()
    changes = {name: value for name, value in FULL_SPEED.items() if name in chosen.settings.__struct_fields__}
    instruments = {**CATALOGUE, **chosen.instruments}
    context = FeedContext(chosen.name, NO_CLOCK, chosen.base, instruments, password=chosen.password)
    return FeedSource(FEEDS[chosen.kind].build(structs.replace(chosen.settings, **changes), context))
