"""Where the books of a daemon are: a file of its state directory, a PostgreSQL server, or memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradekeel.config import ConfigError, StorageConfig, Vault, decode
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.sqlite import InMemory, Sqlite

MEMORY = Path("/dev/shm")  # noqa: S108  # a file system in memory, which other processes of this user can look into


def books_of(storage: StorageConfig, statedir: StateDir, daemon: str) -> Backend:
    """The books that a configuration describes, as ``daemon`` sees them. InputError where what they need is not installed."""
    if not storage.enabled:
        return in_memory(statedir)
    if storage.url:
        return _on_a_server(storage, statedir, daemon)
    return Sqlite(statedir.books, statedir.create)


def books_in(
    table: Mapping[str, Any], statedir: StateDir, daemon: str, environ: Mapping[str, str], source: str
) -> Backend:
    """The same from a configuration's ``[storage]`` as it is written, whatever else is wrong in the file. Raises ConfigError."""
    known = StorageConfig.__struct_fields__
    problems: list[str] = []
    words = {key: value for key, value in table.items() if key in known}
    storage = decode(words, StorageConfig, "storage", problems, vault=Vault(environ))
    if storage is None or problems:
        raise ConfigError(problems, source)
    return books_of(storage, statedir, daemon)


def _on_a_server(storage: StorageConfig, statedir: StateDir, daemon: str) -> Backend:
    try:
        from tradekeel.storage.postgres import Limits, Postgres
    except ImportError as error:
        raise InputError(
            f"storage.url names a PostgreSQL server, and its driver is not installed ({error}): "
            "pip install 'tradekeel[postgres]'"
        ) from None
    limits = Limits(
        connect_timeout_s=storage.connect_timeout_s,
        statement_timeout_s=storage.statement_timeout_s,
        pool_size=storage.pool_size,
        pool_overflow=storage.pool_overflow,
    )
    password = None if storage.password is None else storage.password.reveal()
    return Postgres(
        storage.url,
        limits,
        password=password,
        replica_url=storage.replica_url or None,
        daemon=daemon,
        backups=statedir.backups,
        place=_place_of(statedir),
    )


def _place_of(statedir: StateDir) -> str:
    """What tells our state directory from a copy; empty before a daemon has begun there."""
    try:
        return statedir.place()
    except StoreUnavailable:
        return ""


def ledgers_of(books: Backend, statedir: StateDir) -> StateDir:
    """Where the paper venue's ledgers are. With books in memory they are there, too: a venue that remembered what the books have
    forgotten would halt the account.
    """
    return StateDir(books.path.parent) if isinstance(books, InMemory) else statedir


def in_memory(statedir: StateDir) -> InMemory:
    """Books that are lost with the process: one place for each state directory and user."""
    name = hashlib.blake2b(os.fsencode(statedir.path), digest_size=8).hexdigest()
    return InMemory(MEMORY / f"tradekeel-{os.geteuid()}-{name}" / "books.db", statedir.path)
