"""Opening the books for writing: a file at once, a server when it answers, and memory where there is nothing better."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial

from loguru import logger

from tradekeel.bootstrap.books import in_memory
from tradekeel.bootstrap.effort import Effort
from tradekeel.bootstrap.withoutserver import BooksWithoutServer
from tradekeel.config import Config
from tradekeel.domain.counting import counted
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import AlreadyRunning, StoreAway, StoreBlocked, StoreHeld
from tradekeel.runtime.clock import Clock, new_id, pause
from tradekeel.runtime.faults import point
from tradekeel.runtime.loop import Aside
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.standin import SpoolingBooks
from tradekeel.storage.store import Store

ASK_AGAIN_S = 0.05
LOCK_PAUSE_S = 0.1
STAND_BY_S = 0.5
RENEWALS = 3  # of a lease, within its time

MEMORY = "memory"

Strategies = Mapping[str, tuple[str, ...]]
"""The names of each account's strategies."""


def on_store_failure(config: Config) -> str:
    """What becomes of trading while the books' server is away; one live account is enough to be careful with all of them."""
    chosen = config.storage.on_store_failure
    if chosen:
        return chosen
    is_live = any(account.venue != "paper" for account in config.accounts.values())
    return "reduce_only" if is_live else MEMORY


def _nothing() -> None:
    """Nobody has an objection."""


class Opener:
    """Opens the books that a configuration describes. All of it blocks, in a thread of the recorder's own."""

    def __init__(
        self, config: Config, books: Backend, statedir: StateDir, clock: Clock, effort: Effort, heed: Callable[[], None]
    ) -> None:
        """``heed`` raises where a stop was asked for: nothing is waited for any more."""
        self.config = config
        self.books = books
        """Where they are: in memory from the moment on at which a start went on without their server."""
        self.memory_since_ns: int | None = None
        """UTC: since when they are there for that reason. None where they are where the configuration has them."""
        self._server = books
        self._statedir = statedir
        self._clock = clock
        self._effort = effort
        self._heed = heed
        self._begun = False  # the server has answered, and trading goes on whether it does again or not
        self._policy = on_store_failure(config)
        self._run = new_id()
        self._lease_left_ns: Callable[[], int | None] = lambda: None

    @property
    def described(self) -> str:
        """Where the books are, in a few words."""
        without = "" if self.memory_since_ns is None else f", because {self._server.described} was away at the start"
        return self.books.described + without

    @property
    def is_on_a_server(self) -> bool:
        """Whether they may be away."""
        return not isinstance(self.books, Sqlite)

    def open(self, strategies: Strategies) -> AccountBooks | SpoolingBooks:
        """The books, to be closed by whoever asked. A server that is away is waited for, where trading may not go without."""
        if not self.is_on_a_server:
            return self._here(strategies)
        standing_by = ""
        while True:
            books = self._on_the_server(strategies)
            try:
                self._wait_for(books, standing_by)
            except StoreAway as error:
                books.close()
                return self._without_server(error, strategies)
            except (AlreadyRunning, StoreHeld) as error:  # a standby of a newer version migrates when its turn comes
                books.close()
                if not self.config.storage.standby:
                    raise
                if not standing_by:
                    logger.info("standing by: {}", error)
                standing_by = f"standing by: {error}"
                self._effort.waits(standing_by)
                pause(STAND_BY_S)
            except BaseException:
                books.close()
                raise
            else:
                self._begun = True
                return books

    def lease_left_ns(self) -> int | None:
        """For how long no other daemon may trade the accounts. None where none waits for that."""
        return self._lease_left_ns()

    def store(self) -> Store:
        """The store itself, brought up to date. Raises StopAsked where a stop is asked for meanwhile."""
        return self._store(self._heed)

    def _store(self, heed: Callable[[], object]) -> Store:
        storage = self.config.storage
        store = Store.open(
            self.books,
            now_ns=self._clock.now_ns(),
            point=point,
            checkpoints_kept=storage.checkpoints_kept,
            backups_kept=storage.backups_kept,
            progress=self._effort.moved,
            heed=heed,
            migrate=storage.migrations == "upgrade",
        )
        for migration in store.migrations:
            backup = f", after a backup to {migration.backup}" if migration.backup else ""
            logger.info("the books have schema {} now: {}{}", migration.revision, migration.description, backup)
        for note in store.notes:
            logger.warning("{}", note)
        return store

    # --- on a server ---------------------------------------------------------------------------------------------------------

    def _on_the_server(self, strategies: Strategies) -> SpoolingBooks:
        from tradekeel.storage.breaker import Breaker
        from tradekeel.storage.memoryspool import MemorySpool
        from tradekeel.storage.postgres.lease import Holder, Writer
        from tradekeel.storage.postgres.remote import PostgresBooks
        from tradekeel.storage.spool import Spool

        storage = self.config.storage
        lease_ns = round(storage.lease_s * NS_PER_S)
        on_disk = Spool.open(self._statedir.spool, bytes_max=storage.spool_bytes_max, point=point)
        if on_disk.cut:
            logger.warning("{}", on_disk.cut)
        # What an earlier run left on the disk is brought to the server first, whatever is said now.
        uses_memory = self._policy == MEMORY and not on_disk.batches
        waiting = MemorySpool() if uses_memory else on_disk
        if uses_memory:
            on_disk.close()
        writer = Writer(
            daemon=self.config.daemon.name,
            holder=Holder(
                host=socket.gethostname(),
                installation=self._statedir.installation(new_id),
                place=self._statedir.place(),
                run=self._run,
                yields=storage.standby,
            ),
            accounts=tuple(self.config.accounts),
            lease_ns=lease_ns,
            standby=storage.standby,
        )
        self._begun = False
        remote = PostgresBooks(
            # A start is broken off by a stop. What has begun may be just then what brings the last batches there.
            lambda: self._store(_nothing if self._begun else self._heed),
            writer,
            waiting=lambda: bool(waiting.batches),
            outlives_us=lambda: waiting.durable and bool(waiting.batches),
            aside=Aside("books"),
            pause=partial(pause, LOCK_PAUSE_S),
            now_ns=self._clock.now_ns,
            monotonic_ns=self._monotonic_ns,
            tell=partial(logger.warning, "{}"),
        )
        if storage.standby:
            self._lease_left_ns = remote.lease_left_ns
        return SpoolingBooks(
            remote,
            lambda account, progress: AccountBooks(remote.store, strategies).load(account, progress),
            waiting,
            monotonic_ns=self._monotonic_ns,
            now_ns=self._clock.now_ns,
            pause=partial(pause, LOCK_PAUSE_S),
            breaker=Breaker(
                failures_max=storage.breaker_failures_max, open_ns=round(storage.breaker_open_s * NS_PER_S)
            ),
            lease_left_ns=self.lease_left_ns,
            lease_margin_ns=lease_ns // RENEWALS,
            renew_every_ns=lease_ns // RENEWALS,
            point=point,
        )

    def _monotonic_ns(self) -> int:
        return round(self._clock.monotonic() * NS_PER_S)

    def _wait_for(self, books: SpoolingBooks, standing_by: str) -> None:
        """Until the server has answered, and has all that waited for it. StoreAway where trading may begin without.

        A server that is there and does not let us in, or whose schema cannot be changed as it must be, is not away: somebody has
        to look at that before anything is traded. Nor is one that is only starting, as after a power cut: where trading may begin
        without, it has the breaker's time all the same.
        ``standing_by`` is what was said of another daemon's lease a moment ago, or empty.
        """
        began_s, told = self._clock.monotonic(), False

        def piece_brought() -> None:
            self._heed()
            if batches := books.stands().batches:  # days of them take their time
                what = counted(batches, "batch is", "batches are")
                self._effort.waits(f"bringing what waited to the books' server: {what} left")

        while True:
            self._heed()
            try:
                books.settle(piece_brought)
            except StoreAway as error:
                if isinstance(error.__cause__, StoreBlocked):
                    raise error.__cause__ from None
                waited_s = self._clock.monotonic() - began_s
                is_open = books.stands().breaker != "closed"
                if self._policy == MEMORY and is_open and waited_s >= self.config.storage.breaker_open_s:
                    raise
                asked = error.__cause__ is not None  # until it has answered once more, what it said last holds
                waiting = f"waiting for the books' server: {error}" if asked or not standing_by else standing_by
                self._effort.waits(waiting)
                if asked and not told:
                    told = True
                    logger.warning("{}", waiting)
                pause(ASK_AGAIN_S)
            else:
                return

    def _without_server(self, error: StoreAway, strategies: Strategies) -> AccountBooks:
        """Every account is on paper, and may go on without its books."""
        logger.error(
            "the books' server is away ({}): the accounts begin in memory, without what was there, and nothing of it is kept. "
            "Stop and start again when it is back",
            error,
        )
        memory = in_memory(self._statedir)
        memory.forget()
        self.books, self.memory_since_ns = memory, self._clock.now_ns()
        return self._here(strategies)

    def _here(self, strategies: Strategies) -> AccountBooks:
        """In a file, or in memory: also once more, for a recorder that was started again."""
        if self.memory_since_ns is None:
            return AccountBooks(self.store(), strategies)
        return BooksWithoutServer(self.store(), strategies, self._server)
