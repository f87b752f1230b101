"""How clients of a Redis server are made: where it is, who we are, how long we wait.

redis-py tries again by itself unless it is told not to, and then a lost answer makes one INCR count twice. So no client here
ever retries: what came of a command that was not answered is for its sender to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from tradekeel.errors import InputError
from tradekeel.ports.cache import DEADLINE_S

if TYPE_CHECKING:
    from redis import Redis as SyncRedis
    from redis.asyncio import ConnectionPool, Redis

CONNECTIONS_MAX: Final = 10
IDLE_CHECK_S: Final = 15.0
"""A connection that was idle for so long is asked whether it still lives before a command is trusted to it."""

PORT: Final = 6379
DATABASES_MAX: Final = 65_536
PROTOCOL: Final = 2
"""Of the wire: the older one, whose answers look alike with every version of server and library."""

NOT_INSTALLED: Final = (
    "this Tradekeel was installed without redis-py, which talks to a Redis server: pip install 'tradekeel[redis]'"
)

_KINDS = {"redis": "Connection", "rediss": "SSLConnection", "unix": "UnixDomainSocketConnection"}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")


class RedisSettings(Struct, frozen=True, kw_only=True):
    """A server and how to talk to it.

    ``url`` is ``redis://HOST:PORT/DB``, ``rediss://…`` for TLS (``?ssl_ca_certs=FILE`` and the like name files), or
    ``unix:///PATH?db=DB``. User and password may stand in it; those beside it win.
    """

    url: str
    username: str | None = None
    password: str | None = None
    deadline_s: float = DEADLINE_S
    connections_max: int = CONNECTIONS_MAX
    idle_check_s: float = IDLE_CHECK_S
    client_name: str = "tradekeel"  # what `CLIENT LIST` shows

    def __repr__(self) -> str:
        return f"RedisSettings({where_is(self)})"


def check_settings(settings: RedisSettings) -> None:
    """Raises InputError where the settings make no sense; nothing is connected, nor imported."""
    _arguments(settings)


def make_client(settings: RedisSettings) -> Redis:
    """A client, not yet connected. Raises InputError where the settings make no sense, or redis-py is not installed."""
    told = _told(settings)
    try:
        from redis.asyncio import Redis, connection
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise InputError(NOT_INSTALLED) from error
    pool = connection.ConnectionPool(
        connection_class=getattr(connection, _kind_of(settings)),
        max_connections=settings.connections_max,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=settings.idle_check_s,
        **told,
    )
    return Redis.from_pool(pool)


def make_blocking_client(settings: RedisSettings) -> SyncRedis:
    """A client for where there is no event loop, of one connection, not yet connected. Raises InputError as make_client does."""
    told = _told(settings)
    try:
        from redis import Redis, connection
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InputError(NOT_INSTALLED) from error
    pool = connection.ConnectionPool(
        connection_class=getattr(connection, _kind_of(settings)),
        max_connections=1,
        retry=Retry(NoBackoff(), 0),
        **told,
    )
    return Redis.from_pool(pool)


def _told(settings: RedisSettings) -> dict[str, Any]:
    """What the connections of every client are told. Raises InputError."""
    return {
        "socket_timeout": settings.deadline_s,
        "socket_connect_timeout": settings.deadline_s,
        "client_name": settings.client_name,
        "protocol": PROTOCOL,
        **_arguments(settings),
    }


def _kind_of(settings: RedisSettings) -> str:
    """redis-py's class of connections for the address."""
    return _KINDS[urlsplit(settings.url).scheme]


def blocking_twin(client: Redis) -> Redis:
    """A client of the same server that waits for an answer as long as its caller does: for XREAD BLOCK and the like."""
    from redis.asyncio import ConnectionPool, Redis

    pool = client.connection_pool
    arguments = {**pool.connection_kwargs, "socket_timeout": None}
    return Redis.from_pool(
        ConnectionPool(connection_class=pool.connection_class, max_connections=connections_of(pool), **arguments)
    )


def connections_of(pool: ConnectionPool) -> int:
    """How many connections a pool may have; one that somebody else made may have set no bound."""
    return min(int(pool.max_connections), 100)


def where_is(settings: RedisSettings) -> str:
    """The server for a message: no user, no password."""
    try:
        arguments = _arguments(settings)
    except InputError:
        return "Redis at an address that makes no sense"
    return where_of(arguments)


def where_of(arguments: dict[str, Any]) -> str:
    """The server that a connection's arguments mean, for a message."""
    db = arguments.get("db", 0)
    if "path" in arguments:
        return f"Redis at {arguments['path']}, database {db}"
    return f"Redis at {arguments.get('host', 'localhost')}:{arguments.get('port', PORT)}, database {db}"


def _arguments(settings: RedisSettings) -> dict[str, Any]:
    """What a connection is made with. Messages never quote the URL: a password may stand in it."""
    try:
        url = urlsplit(settings.url)
        port = url.port
    except ValueError as error:
        raise InputError(f"the Redis URL cannot be read. {_HOW}") from error
    if url.scheme not in _KINDS:
        raise InputError(f"a Redis URL begins with redis://, rediss:// or unix://, not with {url.scheme!r}. {_HOW}")
    if not 1 <= settings.connections_max <= 1_000:
        raise InputError(f"{settings.connections_max} connections to Redis: 1 to 1000 are allowed")
    if not 0 < settings.deadline_s <= 600:
        raise InputError(f"a deadline of {settings.deadline_s} s for Redis: more than 0 and at most 600 s are allowed")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    arguments: dict[str, Any] = {"db": _database(url, options.pop("db", None))}
    if url.scheme == "unix":
        if not url.path or url.netloc.rpartition("@")[2]:
            raise InputError(f"a unix:// URL of Redis names a socket by its whole path. {_HOW}")
        arguments["path"] = unquote(url.path)
    else:
        arguments["host"] = url.hostname or "localhost"
        arguments["port"] = port or PORT
    if url.scheme == "rediss":
        arguments.update({name: options.pop(name) for name in _TLS_OPTIONS if name in options})
    if options:
        raise InputError(f"a Redis URL has no option {', '.join(map(repr, sorted(options)))}. {_HOW}")
    username = settings.username or (unquote(url.username) if url.username else None)
    password = settings.password or (unquote(url.password) if url.password else None)
    if username and not password:
        raise InputError(f"a user of Redis, {username!r}, is named without a password")
    return {**arguments, "username": username, "password": password}


def _database(url: SplitResult, option: str | None) -> int:
    path = "" if url.scheme == "unix" else url.path.strip("/")
    given = option if option is not None else path
    if not given:
        return 0
    if not given.isdecimal() or int(given) >= DATABASES_MAX:
        raise InputError(f"a Redis URL names its database by a number, not by {given!r}. {_HOW}")
    return int(given)


_HOW = "Write redis://HOST:PORT/DB, rediss://HOST:PORT/DB?ssl_ca_certs=FILE or unix:///PATH?db=DB."
