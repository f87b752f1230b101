"""All stores of a daemon in one object, by the daemon's own settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from tradekeel.bootstrap.books import books_of
from tradekeel.bootstrap.place import DEFAULT_VARIABLE, config_path
from tradekeel.bootstrap.publishing import redis_settings
from tradekeel.config import load_stores
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import StateDir
from tradekeel.storage.adapter import Part, StoreAdapter


class DataAdapter(StoreAdapter):
    """See :class:`~tradekeel.ports.adapter.DataAdapter`: ``async with DataAdapter.from_settings("market.toml") as data``."""

    @classmethod
    def from_settings(
        cls,
        source: Path | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        require: Collection[Part] = (),
        trades_in: Literal["books", "redis"] = "books",
        by: str = "script",
        namespace: str = "scripts",
        fleet: str = "main",
    ) -> Self:
        """The stores that a daemon's file describes, or with nothing named the file in $TRADEKEEL_CONFIG, or the environment.

        ``source`` is a path, or a name under systemd. ``TRADEKEEL__STORAGE__…`` and ``TRADEKEEL__REDIS__…`` go over what the file
        says; without a file they are all there is. ``memory://`` for ``redis.url`` is a cache and a registry of this object
        alone, which a daemon refuses. Calls that name no deadline have ``storage.statement_timeout_s``, those to
        Redis ``redis.deadline_s``. Under ``storage.migrations = "refuse"`` no books are made where there are none. Nothing is
        connected yet. Raises ConfigError with everything that is wrong, and InputError.
        """
        environ = os.environ if environ is None else environ
        target = source or environ.get(DEFAULT_VARIABLE)
        found = load_stores(None if target is None else config_path(str(target)), environ)
        clock = SystemClock()
        return cls(
            books_of(found.storage, StateDir(found.state_dir), found.name),
            "memory" if found.redis_in_memory else redis_settings(found.redis) if found.redis.url else None,
            now_ns=clock.now_ns,
            monotonic=clock.monotonic,
            by=by,
            timeout_s=found.storage.statement_timeout_s,
            require=require,
            trades_in=trades_in,
            namespace=namespace,
            fleet=fleet,
            migrate=found.storage.migrations == "upgrade",
        )
