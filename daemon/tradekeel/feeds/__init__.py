"""Where ticks come from: one module a source, behind :class:`~tradekeel.ports.Feed`.

:data:`FEEDS` maps each ``kind`` of the config to its settings and to the function that builds the feed from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct

from tradekeel.feeds.context import FeedContext
from tradekeel.feeds.file import FileFeedSettings, file_feed
from tradekeel.feeds.pace import Sleeper
from tradekeel.feeds.synthetic import SyntheticFeedSettings, synthetic_feed
from tradekeel.ports import Feed


class FeedKind(NamedTuple):
    """One kind of feed."""

    settings: type[Struct]
    build: Callable[[Any, FeedContext], Feed]  # Any: each takes its own settings, as named beside it


FEEDS: dict[str, FeedKind] = {
    "file": FeedKind(FileFeedSettings, file_feed),
    "synthetic": FeedKind(SyntheticFeedSettings, synthetic_feed),
}

__all__ = ["FEEDS", "FeedContext", "FeedKind", "FileFeedSettings", "Sleeper", "SyntheticFeedSettings"]
