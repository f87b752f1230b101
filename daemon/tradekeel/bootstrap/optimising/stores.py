"""Where studies are kept, by Optuna's own storages: a SQLite file, a PostgreSQL database, a Redis server.

Whatever such a server says against it is said in our words, and never with a password.
"""

from __future__ import annotations

import fcntl
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from tradekeel.config.optimize import is_redis_url
from tradekeel.errors import InputError, StoreAway, StoreRefused, StoreUnavailable
from tradekeel.runtime.loop import in_time
from tradekeel.statedir.files import make_folder
from tradekeel.statedir.layout import DIRECTORY_MODE
from tradekeel.storage.redis.client import NOT_INSTALLED as NO_REDIS
from tradekeel.storage.redis.client import RedisSettings, make_blocking_client, where_is

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

EXTRA = "optimising is done by Optuna, which is not installed: pip install 'tradekeel[optimize]'"
NO_POSTGRES = (
    "this Tradekeel was installed without psycopg, which talks to PostgreSQL: pip install 'tradekeel[postgres]'"
)
CONNECT_TIMEOUT_S = 10
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""Of libpq: a server whose machine or network is gone says nothing any more, and is found to be away within half a minute."""

TIMEOUT_S = 120
"""How long a process waits for others that write into the same file, and a PostgreSQL server for one that stands still in a
transaction, and holds what others wait for.
"""

TABLES_TRIES_MAX = 5
"""Of two machines that make Optuna's tables at the same moment one fails, and finds them made when it looks again."""

PREFIX = "tradekeel:optimize"
"""Of the keys on a Redis server; behind it is the study's name, so that who joins one reads no other."""


class StoreSettings(Struct, frozen=True):
    """Where a study is kept. Without a URL: in ``folder``, whose name is the study's, also on a Redis server."""

    url: str
    password: str | None
    folder: Path
    timeout_s: float = TIMEOUT_S

    @property
    def is_redis(self) -> bool:
        """Whether it is a Redis server."""
        return is_redis_url(self.url)

    def __str__(self) -> str:
        if not self.url:
            return str(self.file)
        if self.is_redis:
            return where_is(self._redis)
        parts = urlsplit(self.url)
        return f"PostgreSQL at {parts.hostname or 'a socket'}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def __repr__(self) -> str:
        return f"StoreSettings({self})"

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.folder / "study.db"

    @property
    def _redis(self) -> RedisSettings:
        return RedisSettings(url=self.url, password=self.password, client_name="tradekeel-optimize")


def need_optuna() -> None:
    """InputError where the extra is not installed. Optuna's own log is kept quiet: what it would say, we say."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(EXTRA) from error
    optuna.logging.disable_default_handler()
    logging.getLogger("optuna").setLevel(logging.ERROR)


def open_store(settings: StoreSettings) -> BaseStorage:
    """The storage, connected. Raises InputError, StoreAway, StoreRefused, StoreUnavailable."""
    need_optuna()
    with explained(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna: which of its parts may still change
        try:
            return _redis(settings) if settings.is_redis else _postgres(settings) if settings.url else _file(settings)
        except RuntimeError as error:  # Optuna's word for tables of another version than its own
            raise StoreRefused(f"{settings} cannot be used by this version of Optuna: {_line(error)}") from error


@contextmanager
def opened_store(settings: StoreSettings) -> Iterator[BaseStorage]:
    """The storage for as long as the block lasts."""
    store = open_store(settings)
    try:
        yield store
    finally:
        close_store(store)


def close_store(store: BaseStorage) -> None:
    """Let go of its connections."""
    engine = getattr(
        getattr(store, "_backend", None), "engine", None
    )  # Optuna's way to it is not the same in each version
    if engine is not None:
        store.remove_session()
        engine.dispose()
    client = getattr(getattr(store, "_backend", None), "client", None)
    if client is not None:
        client.close()


def _file(settings: StoreSettings) -> BaseStorage:
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy import event

    try:
        _make_folders(settings.folder)
        lock = (settings.folder / "making").open("w")
    except OSError as error:
        raise StoreUnavailable(f"{settings.folder} cannot be made: {error.strerror}") from error
    with lock:
        if not in_time(lambda: fcntl.flock(lock, fcntl.LOCK_EX), settings.timeout_s):  # the tables are made by one
            raise StoreUnavailable(
                f"{settings} has been in the making by another process for {settings.timeout_s:g} s: does one stand still?"
            )
        options = {"connect_args": {"timeout": settings.timeout_s}}
        storage = RDBStorage(f"sqlite:///{settings.file}", engine_kwargs=options)
    # Optuna looks at a trial and then changes it, in one transaction. Begun by the look alone, such a transaction of SQLite keeps
    # nobody else from the same: so each is begun as one that writes, and they come one after the other.
    event.listen(storage.engine, "connect", _no_begin_by_the_driver)
    event.listen(storage.engine, "begin", _begin_to_write)
    storage.engine.dispose()
    return get_storage(storage)


def _make_folders(folder: Path) -> None:
    """The study's folder and those above it, each for its owner alone, as the state directory is."""
    missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
    for each in reversed(missing):
        make_folder(each, DIRECTORY_MODE)


def _no_begin_by_the_driver(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _begin_to_write(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgres(settings: StoreSettings) -> BaseStorage:
    from optuna.exceptions import StorageInternalError
    from optuna.storages import get_storage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    from tradekeel.bootstrap.optimising.postgresstudy import PostgresStudies

    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise InputError(NO_POSTGRES) from error
    url = make_url(settings.url).set(drivername="postgresql+psycopg")
    if settings.password is not None:
        url = url.set(password=settings.password)
    told = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "tradekeel-optimize",
        "options": f"-c idle_in_transaction_session_timeout={round(settings.timeout_s * 1_000)}",
        **KEEPALIVE,
    }
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True, "connect_args": told}
    for left in reversed(range(TABLES_TRIES_MAX)):
        try:
            return get_storage(PostgresStudies(url.render_as_string(hide_password=False), engine_kwargs=options))
        except (IntegrityError, ProgrammingError, StorageInternalError):
            if not left:
                raise
    raise AssertionError


def _redis(settings: StoreSettings) -> BaseStorage:
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise InputError(NO_REDIS) from error
    from optuna.storages import JournalStorage

    from tradekeel.bootstrap.optimising.redislog import RedisLog

    client = make_blocking_client(settings._redis)
    return JournalStorage(RedisLog(client, f"{PREFIX}:{settings.folder.name}", str(settings)))


@contextmanager
def explained(settings: StoreSettings) -> Iterator[None]:
    """What the drivers raise, in our words."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

    denied: tuple[type[Exception], ...] = ()
    away: tuple[type[Exception], ...] = (OperationalError, InterfaceError)
    refused: tuple[type[Exception], ...] = (SQLAlchemyError,)
    if settings.is_redis:
        try:
            from redis import exceptions as of_redis
        except ImportError as error:
            raise InputError(NO_REDIS) from error
        denied = (of_redis.AuthenticationError, of_redis.NoPermissionError)
        away, refused = (of_redis.ConnectionError, of_redis.TimeoutError), (of_redis.RedisError,)
    try:
        yield
    except denied as error:
        raise StoreRefused(f"{settings} does not let us in: {_line(error)}") from error
    except away as error:
        raise _of_database(settings, error) from error
    except StorageInternalError as error:
        raise _of_database(settings, error.__cause__ or error) from error
    except refused as error:
        raise StoreRefused(f"{settings} refuses it: {_line(error)}") from error


def _of_database(settings: StoreSettings, error: BaseException) -> Exception:
    said = _line(getattr(error, "orig", None) or error)
    if not settings.url:
        return StoreUnavailable(f"{settings} cannot be used: {said}")
    if any(word in said.lower() for word in ("authentication", "password", "does not exist", "permission")):
        return StoreRefused(f"{settings} does not let us in: {said}")
    return StoreAway(f"{settings} does not answer: {said}; the same command goes on when it does")


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
