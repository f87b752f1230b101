"""The whole file: its sections, and what stands in each."""

from __future__ import annotations

from msgspec import Struct, field

from tradekeel.config.model import (
    AccountTable,
    DaemonConfig,
    FeedTable,
    InstrumentTable,
    LoggingConfig,
    RedisConfig,
    StorageConfig,
    StrategyTable,
)
from tradekeel.config.optimize import OptimizeConfig


class FileTables(Struct, frozen=True, kw_only=True):
    """The whole file."""

    daemon: DaemonConfig = DaemonConfig()
    logging: LoggingConfig = LoggingConfig()
    storage: StorageConfig = StorageConfig()
    redis: RedisConfig = RedisConfig()
    feeds: dict[str, FeedTable] = field(default_factory=dict)
    accounts: dict[str, AccountTable] = field(default_factory=dict)
    strategies: dict[str, StrategyTable] = field(default_factory=dict)
    instruments: dict[str, InstrumentTable] = field(default_factory=dict)
    optimize: OptimizeConfig = OptimizeConfig()
