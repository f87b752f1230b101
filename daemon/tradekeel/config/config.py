"""The configuration as the daemon uses it, and what changed between two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Context, Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from tradekeel.config.decode import Origin, decode
from tradekeel.config.model import (
    AccountConfig,
    DaemonConfig,
    FeedConfig,
    InstrumentTable,
    LoggingConfig,
    RedisConfig,
    StorageConfig,
    StrategyConfig,
)
from tradekeel.config.optimize import OptimizeConfig
from tradekeel.config.secrets import Secret, Vault
from tradekeel.config.words import join_path

S = TypeVar("S", bound=Struct)

_EXACT = Context(prec=64)


class Config(Struct, frozen=True, kw_only=True):
    """One configuration, complete and checked."""

    source: Path
    daemon: DaemonConfig
    logging: LoggingConfig
    storage: StorageConfig
    redis: RedisConfig
    feeds: Mapping[str, FeedConfig]
    accounts: Mapping[str, AccountConfig]
    strategies: Mapping[str, StrategyConfig]
    instruments: Mapping[str, InstrumentTable]
    optimize: (
        OptimizeConfig | None
    )  # None: the file has no such section. It decides nothing of a daemon, and is in no value below
    state_dir: Path  # absolute, resolved
    warnings: tuple[str, ...]
    raw: Mapping[str, Any]  # the tables as written, overrides applied
    values: Mapping[str, Any]  # the effective values, defaults included, by path
    vault: Vault
    origins: Mapping[str, Origin]  # what the environment has set, by path

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.source.parent

    @property
    def fingerprint(self) -> str:
        """A hash of the effective values; equal for two files that mean the same. A secret counts by its reference only."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(self.values):
            digest.update(f"{path}={_canonical(self.values[path])}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def decode(self, table: Mapping[str, Any], type_: type[S], path: str, problems: list[str]) -> S | None:
        """A table of a kind's own as its Struct, with this file's secrets and origins; see :func:`tradekeel.config.decode`."""
        return decode(table, type_, path, problems, vault=self.vault, origins=self.origins, folder=self.folder)


class Change(Struct, frozen=True):
    """One value that differs. None is "not there"; a Secret shows its reference only."""

    path: str
    old: Any
    new: Any


def diff(old: Config, new: Config) -> list[Change]:
    """Every effective value that differs, by path, in the order of the paths."""
    paths = sorted(old.values.keys() | new.values.keys())
    changes = [Change(path, old.values.get(path), new.values.get(path)) for path in paths]
    return [change for change in changes if not _same(change.old, change.new)]


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, Secret) or isinstance(new, Secret):
        return bool(old == new)  # knows of a changed value behind the same reference
    return _canonical(old) == _canonical(new)


def flat_values(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The effective values of decoded sections by path. Arrays are one value; an empty table has none."""
    flat: dict[str, Any] = {}
    for section, value in tables.items():
        _flatten(section, _plain(value), flat)
    return flat


def _plain(value: Any) -> Any:
    """A section as nested tables. A kind's table is taken decoded where it is, with its defaults, and as written otherwise."""
    if isinstance(value, FeedConfig):
        own = value.options if value.settings is None else value.settings
        return _fields_but(value, {"name", "options", "settings"}) | _plain(own)
    if isinstance(value, AccountConfig):
        own = value.options if value.settings is None else value.settings
        risk = value.risk if value.risk_settings is None else value.risk_settings
        shared = _fields_but(value, {"name", "options", "settings", "risk", "risk_settings"})
        return shared | {"risk": _plain(risk), value.venue: _plain(own)}
    if isinstance(value, StrategyConfig):
        params = value.params if value.settings is None else value.settings
        return _fields_but(value, {"name", "settings", "params"}) | {"params": _plain(params)}
    if isinstance(value, Struct):
        return _fields_but(value, set())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _fields_but(struct: Struct, left_out: set[str]) -> dict[str, Any]:
    names = [name for name in struct.__struct_fields__ if name not in left_out]
    return {name: _plain(getattr(struct, name)) for name in names}


def _flatten(path: str, value: Any, flat: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(join_path(path, key), item, flat)
    else:
        flat[path] = value


def _canonical(value: Any) -> str:
    """Text that is equal for equal values: 5, 5.0 and 5e0 are one number, in whichever type they arrived."""
    match value:
        case None | bool():
            return str(value)
        case int() | float() | Decimal():
            return _canonical_number(value)
        case Enum():
            return _canonical(value.value)
        case Secret():
            return value.reference
        case date():
            return value.isoformat()
        case list() | tuple():
            return "[" + ",".join(map(_canonical, value)) + "]"
        case set() | frozenset():
            return "{" + ",".join(sorted(map(_canonical, value))) + "}"
        case Mapping() | Struct():
            table = value if isinstance(value, Mapping) else _plain(value)
            items = sorted((str(key), _canonical(item)) for key, item in table.items())
            return "{" + ",".join(f"{json.dumps(key)}:{item}" for key, item in items) + "}"
    return json.dumps(str(value))


def _canonical_number(value: float | Decimal) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return hex(value)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return str(_EXACT.plus(number.normalize(_EXACT))) if number.is_finite() else str(number)
