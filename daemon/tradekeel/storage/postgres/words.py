"""PostgreSQL's complaints in our words: what happened, where, and what to do."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors as pg
from sqlalchemy.exc import TimeoutError as PoolIsEmpty

from tradekeel.errors import StoreCorrupt, StoreDenied, StoreError, StoreUnavailable
from tradekeel.storage.backend import RESTORE

_CREDENTIALS = (
    "Check user and password (storage.url and storage.password, or a script's URL), and the server's pg_hba.conf."
)
_NO_DATABASE = "Make the database first: CREATE DATABASE, as an administrator of the server."
_RIGHTS = "This role may not do that: run `tradekeel db upgrade` as the owner, and grant trading_adapter to this role."
_MAY_NOT_CONNECT = "Its owner must grant CONNECT to this role."
_CERTIFICATES = "Check sslmode and the certificates that the URL names."
_DENIED = frozenset({_CREDENTIALS, _NO_DATABASE, _RIGHTS, _MAY_NOT_CONNECT, _CERTIFICATES})
"""Nobody is away there: a person has to do something before it goes on."""

_FULL_HOUSE = "The server is out of memory or connections: see max_connections."
_AWAY = "Is the server running, and the address right?"
_QUESTION = re.compile(
    r" Is the server running (on that host|locally) and accepting (TCP/IP )?connections( on that socket)?\?"
)
"""The driver asks what we ask behind it."""
_POOL = "Ask less at a time, or raise storage.pool_size."
_SAYS_WHY = "The server refused it, and says why."
_COMES_AND_GOES = "It is starting or stopping: try again when it is up."

_DAMAGE = (pg.DataCorrupted, pg.IndexCorrupted, pg.UndefinedTable, pg.UndefinedColumn)
"""Broken pages, and tables that are not what they were when the version was looked at."""

UNDONE = (pg.DeadlockDetected, pg.SerializationFailure)
"""Two transactions were in each other's way, and the server took one of them back, all of it."""

_TO_DO: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((pg.DiskFull,), "The server's disk is full: free some space there."),
    ((pg.OutOfMemory, pg.TooManyConnections), _FULL_HOUSE),
    ((pg.InvalidPassword, pg.InvalidAuthorizationSpecification), _CREDENTIALS),
    ((pg.InvalidCatalogName,), _NO_DATABASE),
    ((pg.InsufficientPrivilege,), _RIGHTS),
    ((pg.ReadOnlySqlTransaction,), "This server takes no writes: it is a standby, or set so. Name the primary."),
    ((pg.QueryCanceled,), "The statement took longer than storage.statement_timeout_s."),
    ((pg.LockNotAvailable,), "Somebody else holds a lock: look at pg_stat_activity."),
    (UNDONE, "Somebody else's transaction was in its way, and all of it was taken back: try again."),
    ((pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow), _COMES_AND_GOES),
)

# A connection that is refused has no code, only words, which may be in the server's language: then its own are all there is.
_REFUSED: tuple[tuple[str, str], ...] = (
    (
        r"authentication failed|no password supplied|pg_hba\.conf|role .* (does not exist|is not permitted)",
        _CREDENTIALS,
    ),
    (r"database .* does not exist", _NO_DATABASE),
    (r"too many (clients|connections)|connection slots", _FULL_HOUSE),
    (r"starting up|shutting down|not ((yet|currently) )?accepting connections|in recovery mode", _COMES_AND_GOES),
    (r"permission denied for database", _MAY_NOT_CONNECT),
    (r"\bSSL\b|sslmode|certificate", _CERTIFICATES),
    (r"Connection refused|resolve host|timeout expired|No route|unreachable", _AWAY),
    (r"FATAL", _SAYS_WHY),
)


def in_our_words(error: Exception, place: str, doing: str) -> StoreError:
    """The store error that a complaint of the driver, the server or the system means."""
    said = _QUESTION.sub("", " ".join(str(error).split())) or type(error).__name__
    if isinstance(error, PoolIsEmpty):
        return StoreUnavailable(f"{place}: {doing} failed: all connections are in use ({said}). {_POOL}")
    if isinstance(error, _DAMAGE):
        return StoreCorrupt(f"{place} is damaged ({doing}: {said}). {RESTORE}")
    for kinds, to_do in _TO_DO:
        if isinstance(error, kinds):
            return _unavailable(f"{place}: {doing} failed: {said}", to_do)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        to_do = next((to_do for words, to_do in _REFUSED if re.search(words, said)), _AWAY)
        is_there = to_do in _DENIED  # it answered, and said no
        return _unavailable(
            f"{place} {'does not let us in' if is_there else 'cannot be reached'} ({doing}: {said})", to_do
        )
    # Whatever it is, the server is there: no start may take it for one that is away.
    return StoreDenied(f"{place}: {doing} failed: {said}. Look at the server's log.")


def _unavailable(what: str, to_do: str) -> StoreUnavailable:
    return (StoreDenied if to_do in _DENIED else StoreUnavailable)(f"{what}. {to_do}")
