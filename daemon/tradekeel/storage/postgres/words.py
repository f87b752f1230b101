"""PostgreSQL's complaints in our words: what happened, where, and what to do."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg

from tradekeel.errors import StoreCorrupt, StoreDenied, StoreError, StoreUnavailable
from tradekeel.storage.backend import RESTORE

_DENIED: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((pg.InvalidPassword, pg.InvalidAuthorizationSpecification), "Check the user in storage.url and storage.password."),
    ((pg.InvalidCatalogName,), "Make the database first: CREATE DATABASE, as an administrator of the server."),
    (
        (pg.InsufficientPrivilege,),
        "This role may not do that: run `tradekeel db upgrade` as the owner, and grant trading_adapter to this role.",
    ),
)

_TO_DO: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((pg.DiskFull,), "The server's disk is full: free some space there."),
    ((pg.OutOfMemory, pg.TooManyConnections), "The server is out of memory or connections: see max_connections."),
    ((pg.ReadOnlySqlTransaction,), "This server takes no writes: it is a standby, or set so. Name the primary."),
    ((pg.QueryCanceled,), "The statement took longer than storage.statement_timeout_s."),
    ((pg.LockNotAvailable, pg.DeadlockDetected), "Somebody else holds a lock: look at pg_stat_activity."),
)


def in_our_words(error: Exception, place: str, doing: str) -> StoreError:
    """The store error that a complaint of the driver, the server or the system means."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, pg.DataCorrupted | pg.IndexCorrupted):
        return StoreCorrupt(f"{place} is damaged ({doing}: {said}). {RESTORE}")
    for kinds, to_do in _DENIED:
        if isinstance(error, kinds):
            return StoreDenied(f"{place}: {doing} failed: {said}. {to_do}")
    for kinds, to_do in _TO_DO:
        if isinstance(error, kinds):
            return StoreUnavailable(f"{place}: {doing} failed: {said}. {to_do}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return StoreUnavailable(
            f"{place} cannot be reached ({doing}: {said}). Is the server running, and the address right?"
        )
    return StoreUnavailable(f"{place}: {doing} failed: {said}. Look at the server's log.")
