"""Where ticks come from: one module a source, behind :class:`~tradekeel.ports.Feed`.

:data:`FEEDS` maps each ``kind`` of the config to its settings, to the function that builds the feed from them, and to what
tells from its table alone whether it can be built, however wrong the table is otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.file import FileFeedSettings, file_feed, file_symbols, look_at_files
from tradekeel.feeds.files import FileHashes
from tradekeel.feeds.pace import Sleeper
from tradekeel.feeds.shared import RedisFeedSettings, look_at_nothing, shared_feed, shared_symbols
from tradekeel.feeds.sharing import Outbox, TappedFeed
from tradekeel.feeds.sql import SqlFeedSettings, look_at_database, sql_feed, sql_symbols
from tradekeel.feeds.synthetic import SyntheticFeedSettings, look_at_prices, synthetic_feed, synthetic_symbols
from tradekeel.ports import Feed


class FeedKind(NamedTuple):
    """One kind of feed."""

    settings: type[Struct]
    build: Callable[[Any, FeedContext], Feed]  # Any: each takes its own settings, as named beside it
    symbols: Callable[
        [Mapping[str, Any]], dict[str, Keys]
    ]  # of a table as written: each instrument, and where it is named
    look: Callable[[Mapping[str, Any], FeedSurroundings], Iterator[Problem]]  # what would keep it from being built


FEEDS: dict[str, FeedKind] = {
    "file": FeedKind(FileFeedSettings, file_feed, file_symbols, look_at_files),
    "redis": FeedKind(RedisFeedSettings, shared_feed, shared_symbols, look_at_nothing),
    "sql": FeedKind(SqlFeedSettings, sql_feed, sql_symbols, look_at_database),
    "synthetic": FeedKind(SyntheticFeedSettings, synthetic_feed, synthetic_symbols, look_at_prices),
}

__all__ = [
    "FEEDS",
    "FeedContext",
    "FeedKind",
    "FeedSurroundings",
    "FileFeedSettings",
    "FileHashes",
    "Outbox",
    "RedisFeedSettings",
    "Sleeper",
    "SqlFeedSettings",
    "SyntheticFeedSettings",
    "TappedFeed",
]
