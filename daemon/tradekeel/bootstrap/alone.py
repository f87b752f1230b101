"""Whoever changes books without being their daemon is alone with them meanwhile, or does not begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from tradekeel.bootstrap.place import Place
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import StoreUnavailable
from tradekeel.runtime import faults
from tradekeel.statedir import A_COMMAND_IS_ALONE, StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.spool import Spool
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.torn import make_whole


@contextmanager
def alone_at(place: Place, environ: Mapping[str, str]) -> Iterator[StateDir]:
    """The state directory, locked for as long as it takes. AlreadyRunning beside a daemon."""
    faults.arm_from_environment(environ)
    statedir = place.statedir
    statedir.lock(A_COMMAND_IS_ALONE)
    try:
        yield statedir
    finally:
        statedir.release()


@contextmanager
def alone_with_books(place: Place, environ: Mapping[str, str]) -> Iterator[tuple[Backend, StateDir]]:
    """The books that there are, without a daemon: here, and on any other machine that shares their server."""
    place.books()  # says so where there are none; and nothing is made for that
    with alone_at(place, environ) as statedir:
        make_whole_again(statedir)
        books = place.books()
        refuse_while_batches_wait(books, statedir)
        yield books, statedir


def refuse_while_batches_wait(books: Backend, statedir: StateDir, otherwise: str = "") -> None:
    """What the server has not got yet would no longer fit behind what is changed there. ``otherwise`` is another way out."""
    if isinstance(books, Sqlite) or not statedir.spool.is_dir():
        return
    spool = Spool.open(statedir.spool)
    try:
        waiting = spool.batches
    finally:
        spool.close()
    if waiting:
        raise StoreUnavailable(
            f"{statedir.spool}: {waiting} batches of the daemon wait for the books' server, which must have them first: start "
            f"the daemon while the server is there, and stop it{otherwise}"
        )


def make_whole_again(statedir: StateDir) -> bool:
    """After a `tradekeel db restore` that was killed there are the old books or the new ones; whether that took anything."""
    try:
        return make_whole(statedir.books, statedir.restoring)
    except OSError as error:
        raise StoreUnavailable(
            f"{statedir.books}: what a killed restore has left cannot be put right: {error}"
        ) from error


def when(now_ns: int) -> str:
    """A moment as part of a file's name."""
    return datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
