"""The configuration: one strict TOML file, overrides from the environment, secrets by reference.

``load_config(path, environ, kinds)`` is the way in; it reports every problem at once. ``decode`` does the same for one table of a
kind's own. Nothing is read at import.
"""

from tradekeel.config.config import Change, Config, diff
from tradekeel.config.decode import decode
from tradekeel.config.load import SYSTEM_FOLDER, SYSTEM_STATE, Stores, load_config, load_stores
from tradekeel.config.model import (
    SNAPSHOTS_S,
    AccountConfig,
    DaemonConfig,
    Draft,
    FeedConfig,
    FeedRedisConfig,
    InstrumentTable,
    Kinds,
    LoggingConfig,
    RedisConfig,
    Report,
    StorageConfig,
    StrategyConfig,
)
from tradekeel.config.secrets import Secret, Vault
from tradekeel.errors import ConfigError

__all__ = [
    "SNAPSHOTS_S",
    "SYSTEM_FOLDER",
    "SYSTEM_STATE",
    "AccountConfig",
    "Change",
    "Config",
    "ConfigError",
    "DaemonConfig",
    "Draft",
    "FeedConfig",
    "FeedRedisConfig",
    "InstrumentTable",
    "Kinds",
    "LoggingConfig",
    "RedisConfig",
    "Report",
    "Secret",
    "StorageConfig",
    "Stores",
    "StrategyConfig",
    "Vault",
    "decode",
    "diff",
    "load_config",
    "load_stores",
]
