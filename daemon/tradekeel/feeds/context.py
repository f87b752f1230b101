"""What every feed is given beside its own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.feeds.pace import Sleeper


class FeedContext(NamedTuple):
    """The world around one feed."""

    name: str  # as the config calls the feed
    sleeper: Sleeper  # the injected clock
    base: Path = Path()  # what relative paths are relative to
    instruments: Mapping[str, Instrument] = CATALOGUE  # those of the config; the catalogue is known anyway
    timeframes: Mapping[str, Sequence[str]] = {}  # the bars wanted of each instrument
