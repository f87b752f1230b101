"""What a configuration file may hold, section by section; the Structs' annotations are the schema.

``…Table`` is what stands in the file under one key. ``FeedConfig``, ``AccountConfig`` and ``StrategyConfig`` add the
name, the tables that belong to a kind (of feed, venue, strategy) as they were written (``options``), and, once the kind is
known, what they were decoded to (``settings``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Meta, Struct, field

from tradekeel.config.secrets import Secret
from tradekeel.config.words import quoted
from tradekeel.errors import InputError

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
RESERVED: Final = (
    "all",
    "control",
    "publisher",
    "recorder",
    "root",
    "scheduler",
    "scripts",
    "tasks",
)  # of accounts: these mean something else already
NAME_WORDS: Final = "1 to 31 lower-case letters, digits, hyphens and underscores, the first a letter or digit"

NAMED_MAX: Final = 256  # accounts, feeds, strategies, each

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
OneLine = Annotated[
    str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z", extra={"allowed": "a string of one line, 1 to 200 characters"})
]
SYMBOL: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_./:-]{0,39}\Z")
SYMBOL_WORDS: Final = "an instrument's symbol, like EUR_USD"
Symbol = Annotated[str, Meta(pattern=SYMBOL.pattern, extra={"allowed": SYMBOL_WORDS})]
CURRENCY: Final = re.compile(r"\A[A-Z0-9]{2,10}\Z")
Currency = Annotated[str, Meta(pattern=CURRENCY.pattern, extra={"allowed": "a currency in capitals, like USD"})]
Positive = Annotated[Decimal, Meta(extra={"gt": 0})]
AccountAtVenue = Annotated[  # the paper venue calls a file by it
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z",
        extra={"allowed": "1 to 64 letters, digits and _ . : -, the first a letter or digit"},
    ),
]

PATH_PART_BYTES_MAX: Final = 255  # of a file's name on every file system of ours
PATH_CHARACTERS_MAX: Final = 1_000


def _check_path(text: str) -> None:
    """What no file system takes as a path. Raises InputError."""
    if any(char < " " or char == "\x7f" for char in text):
        raise InputError(f"found {quoted(text)}, allowed: a path without control characters")
    if len(text) > PATH_CHARACTERS_MAX:
        raise InputError(f"found {len(text)} characters, allowed: a path of at most {PATH_CHARACTERS_MAX}")
    for part in text.split("/"):
        if len(os.fsencode(part)) > PATH_PART_BYTES_MAX:
            raise InputError(f"the part {quoted(part)} of the path is longer than {PATH_PART_BYTES_MAX} bytes")


def _check_log_file(text: str) -> None:
    """A path, and one that does not lead out of the state directory by going up. Raises InputError."""
    _check_path(text)
    if ".." in text.split("/"):
        raise InputError(f"found {quoted(text)}, allowed: a path inside of the state directory, or an absolute one")
    if text.endswith(("/", "/.")) or text == ".":
        raise InputError(f"found {quoted(text)}, allowed: the path of a file")
    if "{" in text or "}" in text:  # to the log's library these are patterns, by which it also removes old files
        raise InputError(f"found {quoted(text)}, allowed: a path without braces")


PathText = Annotated[str, Meta(extra={"check": _check_path})]
LogFile = Annotated[OneLine, Meta(extra={"check": _check_log_file})]

CRON: Final = re.compile(r"\A\S{1,40}( +\S{1,40}){4}\Z")
_CRON = Meta(pattern=CRON.pattern, extra={"allowed": 'a cron line of five fields, like "*/5 * * * *"'})
_SECONDS_OR_NEVER = Meta(ge=0, le=86_400, extra={"allowed": "seconds from 0 (never) to 86400"})
SCHEDULE_MIN_S: Final = 0.05


def _check_schedule(schedule: float | str) -> None:
    """Seconds that are none: an account that is compared without a pause does nothing else. Raises InputError."""
    if not isinstance(schedule, str) and 0 < schedule < SCHEDULE_MIN_S:
        raise InputError(f"found {schedule:g}, allowed: 0 (never), {SCHEDULE_MIN_S:g} to 86400 seconds, or a cron line")


Schedule = Annotated[
    Annotated[float, _SECONDS_OR_NEVER] | Annotated[str, _CRON], Meta(extra={"check": _check_schedule})
]
"""Seconds between two runs (0: never), or a cron line of five fields in UTC."""


DaysAYear = Annotated[int, Meta(ge=1, le=366)]


class DaemonConfig(Struct, frozen=True, kw_only=True):
    """The process."""

    name: str = ""  # empty: the file's name without .toml
    state_dir: PathText = ""  # empty: what the service manager gives, else var/NAME
    on_stop: Literal["keep", "cancel_entries", "flatten"] = "keep"
    on_feed_end: Literal["stop", "wait"] = "stop"
    stop_timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 20.0  # a stop that takes longer is forced
    stall_limit_s: Annotated[float, Meta(ge=0.5, le=600)] = (
        10.0  # an actor without progress for so long ends the process
    )


class LoggingConfig(Struct, frozen=True, kw_only=True):
    """The log: to standard error, and to a file as well if one is named."""

    level: Literal["trace", "debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    file: LogFile | None = None
    file_bytes_max: Annotated[int, Meta(ge=10_000, le=10_000_000_000)] = 50_000_000
    files_kept: Annotated[int, Meta(ge=1, le=1_000)] = 5


SECRET_OPTIONS: Final = ("pass", "secret", "scram_")  # a URL's options with one of these in their names hold secrets
PASSFILE: Final = "passfile"  # it only says where one is


def _split_url(text: str, allowed: str, section: str) -> SplitResult:
    """The parts of a server's URL, which holds no secret. Raises InputError, which never quotes it: there may be one in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        if str(error).startswith("Port out of range"):  # what is no number may be a password, and is not quoted
            raise InputError(f"its port is beyond 65535, {allowed}") from None
        raise InputError(f"found no URL, {allowed}") from None
    if parts.password is not None:
        raise InputError(f"a password stands in it (it was not read); put it into {section}.password, {allowed}")
    for name, _value in parse_qsl(parts.query, keep_blank_values=True):
        if name.lower() != PASSFILE and any(word in name.lower() for word in SECRET_OPTIONS):
            is_password = name.lower() in ("password", "pass", "passwd")
            to_do = f"put it into {section}.password" if is_password else "nothing here takes one"
            raise InputError(f"a secret stands in its option {quoted(name)} (it was not read); {to_do}, {allowed}")
    return parts


def _no_url(text: str, allowed: str) -> InputError:
    """A text that is no server's URL, quoted where it cannot hold a password."""
    shown = "another text" if any(sign in text for sign in "@?#") else quoted(text)
    return InputError(f"found {shown}, {allowed}")


def _other_scheme(parts: SplitResult, text: str, allowed: str) -> InputError:
    """A URL of something else is named by what stands before ://, where no password can be."""
    if "://" in text and parts.scheme:
        return InputError(f"it begins with {quoted(f'{parts.scheme}://')}, {allowed}")
    return _no_url(text, allowed)


def check_database_url(text: str) -> None:
    """The URL of a PostgreSQL database, without a password in it: storage.url or storage.replica_url. Raises InputError."""
    if not text:
        return
    allowed = "allowed: postgresql://user@host:5432/database"
    parts = _split_url(text, allowed, "storage")
    if parts.scheme not in ("postgresql", "postgres"):
        raise _other_scheme(parts, text, allowed)
    if len(parts.path) < 2:  # "/" and a name
        raise InputError(f"it names no database behind the server, {allowed}")


DatabaseUrl = Annotated[str, Meta(max_length=1_000, extra={"check": check_database_url})]


SNAPSHOTS_S: Final = 60.0
"""Between two snapshots of a daemon whose file has no schedule. A backtest has steps of its own."""


class StorageConfig(Struct, frozen=True, kw_only=True):
    """The books: in a file of the state directory, on a PostgreSQL server, or in memory."""

    enabled: bool = True  # false: in memory, and nothing outlives the process
    url: DatabaseUrl = ""  # empty: a SQLite file in the state directory
    password: Secret | None = None  # of the user in the URL
    replica_url: DatabaseUrl = ""  # a server that follows it: scripts read there; empty: they read at the primary
    connect_timeout_s: Annotated[float, Meta(ge=1, le=60)] = 5.0
    statement_timeout_s: Annotated[float, Meta(ge=0.5, le=600)] = 5.0
    pool_size: Annotated[int, Meta(ge=1, le=1_000)] = 10
    pool_overflow: Annotated[int, Meta(ge=0, le=1_000)] = 20
    # What becomes of trading while the server is away. Empty: reduce_only with a live account, memory where all are on paper.
    on_store_failure: Literal["", "halt", "reduce_only", "memory"] = ""
    breaker_failures_max: Annotated[int, Meta(ge=1, le=1_000)] = 5
    breaker_open_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 30.0
    spool_bytes_max: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 1 << 30
    lease_s: Annotated[float, Meta(ge=5, le=3_600)] = (
        30.0  # so long after its last word a daemon's accounts may be taken over
    )
    standby: bool = False  # another daemon with the same accounts waits to take over, or this one does
    checkpoint_every_s: Seconds = 5.0
    snapshot_schedule: Schedule | None = None  # performance snapshots; None: see SNAPSHOTS_S
    commit_rows_max: Annotated[int, Meta(ge=1, le=100_000)] = 5_000
    migrations: Literal["upgrade", "refuse"] = "upgrade"  # of books with an earlier schema, at the start
    backups_kept: Annotated[int, Meta(ge=1, le=100)] = 5
    checkpoints_kept: Annotated[int, Meta(ge=1, le=100)] = 3
    sample_ticks_every: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1_000  # journal one tick in so many; 0: none

    def __post_init__(self) -> None:
        if self.sample_ticks_every == 1:
            raise InputError(
                "sample_ticks_every 1 would journal every tick, which are the feed's to keep; allowed: 0 (none) or 2 and more"
            )
        if self.replica_url and not self.url:
            raise InputError("replica_url is given without url: a replica follows the server that url names")


REDIS_SCHEMES = ("redis", "rediss", "unix")

IN_MEMORY: Final = "memory://"
"""What a script may give for the URL of a Redis server: a cache and a registry that end with it."""


def check_redis_url(text: str) -> None:
    """The URL of a Redis server, without a password in it. Raises InputError."""
    if not text:
        return
    allowed = "allowed: redis://host:6379/0, rediss://host:6379/0 or unix:///path?db=0"
    if text == IN_MEMORY:
        raise InputError(f"{text} is for scripts, and a daemon shares with others what it keeps on Redis; {allowed}")
    parts = _split_url(text, allowed, "redis")
    if parts.scheme not in REDIS_SCHEMES or (not parts.path if parts.scheme == "unix" else not parts.hostname):
        raise _no_url(text, allowed)


RedisUrl = Annotated[str, Meta(max_length=1_000, extra={"check": check_redis_url})]


class RedisConfig(Struct, frozen=True, kw_only=True):
    """A Redis server, for what is hot and for outside readers. Nothing is there that must not be lost."""

    url: RedisUrl = ""  # empty: no Redis
    username: OneLine | None = None  # None: the one in the URL, or Redis's default user
    password: Secret | None = None
    deadline_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0  # for each question to the server
    publish_events: bool = True  # the journal, as a stream for outside readers
    events_max: Annotated[int, Meta(ge=1_000, le=1_000_000_000)] = 100_000  # kept of each execution, about
    hot_trades: bool = True  # each account's open trades, as a hash
    register: bool = True  # this daemon among the services that `tradekeel services` lists
    beat_every_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 5.0  # three beats missed, and it counts as dead

    def __post_init__(self) -> None:
        if self.username is not None and self.password is None:
            raise InputError("username is given without password; say where that is, or leave the username out")


STREAM: Final = re.compile(r"\A([a-z0-9][a-z0-9_-]{0,30})?\Z")


class FeedRedisConfig(Struct, frozen=True, kw_only=True):
    """The Redis server of one feed, where it is another one than the rest of the daemon's."""

    url: Annotated[RedisUrl, Meta(min_length=1)]
    username: OneLine | None = None
    password: Secret | None = None
    deadline_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0  # for each question to the server

    def __post_init__(self) -> None:
        if self.username is not None and self.password is None:
            raise InputError("username is given without password; say where that is, or leave the username out")


class FeedTable(Struct, frozen=True, kw_only=True):
    """``[feeds.NAME]``; every other key belongs to the kind."""

    kind: str
    share: bool = False  # with other daemons, through Redis
    share_as: Annotated[
        str, Meta(pattern=STREAM.pattern, extra={"allowed": "the name of a stream, written as the name of a feed"})
    ] = ""  # empty: the feed's own name
    share_ticks_max: Annotated[int, Meta(ge=1_000, le=1_000_000_000)] = 1_000_000  # kept in the stream, about
    redis: FeedRedisConfig | None = None  # None: [redis]
    password: Secret | None = None  # of the user in the url of a database


class AccountTable(Struct, frozen=True, kw_only=True):
    """``[accounts.NAME]``; the table named like the venue belongs to the venue."""

    venue: str
    feed: str
    venue_account: AccountAtVenue | None = None  # None: the account's own name
    currency: Currency = "USD"
    balance: Positive = Decimal(100_000)  # what a paper account starts with
    leverage: Annotated[Decimal, Meta(extra={"ge": 1, "le": 1000})] | None = None  # None: the instruments' margin rates
    hedging: bool = False
    exits: Literal["venue", "monitor"] = (
        "venue"  # who keeps stops and targets; where instruments are shared: the monitor
    )
    share_instruments: bool = False  # several strategies may trade one instrument
    parameter_mode: OneLine | None = None
    days_a_year: DaysAYear | None = None  # that figures are annualised with; None: those of its instruments
    send_within_s: Seconds | None = None  # of a live decision: an entry that could not be sent by then is not sent
    sync_schedule: Schedule = 60.0
    token: Secret | None = None
    risk: dict[str, Any] = field(default_factory=dict)


class StrategyTable(Struct, frozen=True, kw_only=True):
    """``[strategies.NAME]``."""

    kind: OneLine
    account: str
    instruments: Annotated[tuple[Symbol, ...], Meta(min_length=1, max_length=256)]
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)


class InstrumentTable(Struct, frozen=True, kw_only=True):
    """``[instruments.SYMBOL]``: what differs from the catalogue, or all of it for an instrument that is not in it."""

    tick_size: Positive | None = None
    pip_size: Positive | None = None
    lot: Positive | None = None
    lot_step: Positive | None = None
    quantity_min: Positive | None = None
    quantity_max: Positive | None = None
    margin_rate: Positive | None = None
    days_a_year: DaysAYear | None = None  # on which its market trades
    base: Currency | None = None
    quote: Currency | None = None

    def __post_init__(self) -> None:
        if self.quantity_min and self.quantity_max and self.quantity_min > self.quantity_max:
            raise InputError(f"quantity_min {self.quantity_min} is above quantity_max {self.quantity_max}")


class FeedConfig(FeedTable, frozen=True, kw_only=True):
    """A feed: ``options`` is its kind's own table as written, ``settings`` the same decoded."""

    name: str
    options: Mapping[str, Any]
    settings: Any = None  # the kind's Struct; only the kind knows which


class AccountConfig(AccountTable, frozen=True, kw_only=True):
    """An account: ``options`` is its venue's own table as written, ``settings`` the same decoded, and so the risk."""

    name: str
    options: Mapping[str, Any]
    settings: Any = None  # the venue's Struct
    risk_settings: Any = None  # the gate's Struct

    @property
    def account_at_venue(self) -> str:
        """The venue's name of this account."""
        return self.venue_account or self.name


class StrategyConfig(StrategyTable, frozen=True, kw_only=True):
    """A strategy: ``params`` as written, ``settings`` the same decoded."""

    name: str
    settings: Any = None  # the kind's Struct


class Draft(Struct, frozen=True, kw_only=True):
    """A file that is being read, and may be wrong anywhere: for whoever looks for problems that others cannot know of."""

    table: Mapping[str, Any]  # as written, overrides applied
    instruments: Mapping[str, InstrumentTable]  # those that are right by themselves
    folder: Path  # what relative paths are relative to
    state_dir: Path | None = None  # where the state is kept, if that can be told

    def entries(self, section: str) -> dict[str, dict[str, Any]]:
        """The tables of a section as they stand in the file, also those that have problems of their own."""
        tables = self.table.get(section, {})
        entries = tables.items() if isinstance(tables, dict) and len(tables) <= NAMED_MAX else ()
        return {name: entry for name, entry in entries if isinstance(entry, dict)}


Report = Callable[[str, str], object]
"""Notes a problem: the path in the file, and the sentence."""


class Kinds(Struct, frozen=True, kw_only=True):
    """The Structs of the tables that belong to a kind, so that their problems are found in the same pass.

    ``strategies`` is asked with the kind as written and the folder of the file (a kind may be a file of the user's); it
    raises :class:`InputError` for a kind that does not exist. ``try_strategy`` is asked with these and the decoded parameters of
    a strategy that is enabled; it raises :class:`InputError` where one cannot be made of them. ``keys`` says which keys the
    table in a field of such a Struct may have, where the field's type takes any text. ``look`` finds what takes knowledge of
    trading to find.
    """

    feeds: Mapping[str, type[Struct]]
    venues: Mapping[str, type[Struct]]
    strategies: Callable[[str, Path], type[Struct]]
    risk: type[Struct]
    try_strategy: Callable[[str, Path, Struct], object] = lambda kind, folder, params: None
    keys: Mapping[tuple[type[Struct], str], Collection[str]] = {}
    look: Callable[[Draft, Report], object] = lambda draft, report: None
    goals: Collection[str] = ()  # the figures that `tradekeel optimize` may look for
