"""What comes before the tree of actors: everything that can refuse a start is looked at, and what takes long is done in a thread.

Books in a file are opened by the recorder, behind the checks. Books on a server are opened here, before them: what an earlier
process left waiting belongs to them, and until the server has it nobody knows what they say. So this is also where a server that
is away is waited for, and where a daemon stands by for another one's lease.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from loguru import logger

from tradekeel import __version__
from tradekeel.bootstrap.books import books_of, ledgers_of
from tradekeel.bootstrap.checks import other_balance, outlook
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.effort import Effort
from tradekeel.bootstrap.fresh import finish_forgetting, forget_paper
from tradekeel.bootstrap.opening import Opener
from tradekeel.bootstrap.plan import AccountPlan, Plan
from tradekeel.bootstrap.publishing import prepare_publishing
from tradekeel.bootstrap.sharing import password_of, stream_of
from tradekeel.bootstrap.telling import say
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import StoreAway, StoreUnavailable
from tradekeel.feeds import FEEDS, FeedContext, FileHashes
from tradekeel.ports import Feed as Source
from tradekeel.ports import FeedInfo
from tradekeel.runtime.clock import Clock, pause
from tradekeel.runtime.faults import point
from tradekeel.runtime.loop import BlockingWorker
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.sqlite import InMemory
from tradekeel.storage.standin import SpoolingBooks

WAIT_FOR_FEED_S = 0.2

Books = AccountBooks | SpoolingBooks


class StopAsked(Exception):
    """Somebody asked for a stop while the start was still looking at things: it goes no further."""


class Preparing:
    """See the module; and what all that is built needs to know of it."""

    def __init__(
        self, plan: Plan, statedir: StateDir, system: ActorSystem, *, fresh: bool, stop_asked: Callable[[], bool]
    ) -> None:
        self.plan = plan
        self.statedir = statedir
        self.system = system
        self.effort = Effort(system.clock)
        self._opener = Opener(
            plan.config,
            books_of(plan.config.storage, statedir, plan.config.daemon.name),
            statedir,
            system.clock,
            self.effort,
            self._heed_stop,
        )
        self._opened: Books | None = None  # of a server, until the recorder takes them over
        self._in_use: Books | None = None
        self._fresh = fresh
        self._stop_asked = stop_asked
        self._hashes = FileHashes(self._reading)
        self._infos: dict[str, FeedInfo] = {}
        self._waited_for: set[str] = set()
        self._before_run: dict[str, int] = {}
        self._workers: dict[str, BlockingWorker] = {}
        self._data = self._worker("data")

    @property
    def books(self) -> Backend:
        """Where the books are: in memory, too, where their server was away at the start."""
        return self._opener.books

    @property
    def ledgers(self) -> StateDir:
        """Where the paper venues keep their ledgers."""
        return ledgers_of(self.books, self.statedir)

    async def prepare(self) -> None:
        """Look at everything that can refuse the start, in a thread: large files, old books and servers take their time.

        Raises what the start is refused with, or :class:`StopAsked`.
        """
        await self._data.call(self._prepare)

    def _prepare(self) -> None:
        accounts = self.plan.accounts
        if self.plan.config.redis.url:
            prepare_publishing(self.plan.config.redis)
        if isinstance(self.books, InMemory):
            self.books.forget()
            logger.warning("the books are in memory: whatever ends this process, nothing of them is left")
        with self.effort.under_way():
            fingerprints = {account.config.name: self._info(account).fingerprint for account in accounts}
            if self._opener.is_on_a_server:
                self._open_on_the_server(fingerprints)
            else:
                self._look(fingerprints)
        for account in accounts:
            warning = other_balance(account, self.ledgers)
            if warning is not None:
                logger.bind(account=account.config.name).warning("{}", warning)

    def _look(self, fingerprints: Mapping[str, str]) -> None:
        accounts = self.plan.accounts
        # All that refuses a start comes before anything that cannot be taken back.
        found = outlook(accounts, self.ledgers, self.books, fingerprints, fresh=self._fresh)
        found.refuse(str(self.plan.config.source))
        finish_forgetting(accounts, self.ledgers, self.books)
        self._begin_anew([account for account in accounts if account.config.name in found.anew])

    def _open_on_the_server(self, fingerprints: Mapping[str, str]) -> None:
        """A server that goes away in the middle of this is waited for once more: each step may be done again."""
        while self._opened is None:
            self._opened = self._opener.open(self._strategies)
            try:
                self._look(fingerprints)
                self._begin_run(self._opened.executions())
            except StoreAway as error:
                logger.warning("{}", error)
                self.close_books()
            except BaseException:
                self.close_books()
                raise

    def close_books(self) -> None:
        """Let go of books that no recorder has taken over."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def open_books(self) -> Books | None:
        """For the recorder, in its thread: the books to be written. None where a stop was asked for meanwhile."""
        with self.effort.under_way():
            point("start.opening")
            if self._opened is None:
                try:
                    opened = self._opener.open(self._strategies)
                except StopAsked:
                    return None
                self._begin_run(opened.executions())
                return opened
        self._in_use, self._opened = self._opened, None
        return self._in_use

    def tell_what_waits(self) -> None:
        """At the end: a person may want to look after the server before the next start."""
        stands = None if self._in_use is None else self._in_use.stands()
        if stands is None or not stands.batches:
            return
        if stands.durable:
            logger.warning(
                "{} batches wait in {} for the books' server: the next start brings them there before it trades",
                stands.batches,
                self.statedir.spool,
            )
        else:
            logger.error(
                "{} batches waited for the books' server in memory, and are lost: what they tell of happened at the venue, and "
                "the books will not know of it",
                stands.batches,
            )

    @property
    def _strategies(self) -> dict[str, tuple[str, ...]]:
        return {a.config.name: tuple(s.config.name for s in a.strategies) for a in self.plan.accounts}

    def _begin_anew(self, accounts: Sequence[AccountPlan]) -> None:
        """All that `--fresh` is for; or those that never traded: a first start with a mistake in the feed must not hold up the
        one without.
        """
        if not self._fresh:
            for account in accounts:
                name = account.config.name
                logger.bind(account=name).info(
                    "{}: its data has changed, and it has not traded yet: it begins anew", name
                )
        if not accounts:
            return
        if self._opened is not None:
            forget_paper(accounts, self.ledgers, self._opened)
        elif self.books.exists():
            opened = self._opener.open({})
            try:
                forget_paper(accounts, self.ledgers, opened)
            finally:
                opened.close()
        else:
            forget_paper(accounts, self.ledgers, None)

    def _begin_run(self, executions: Sequence[ExecutionRow]) -> None:
        """A run begins, or goes on, now that nothing refuses it any more, and before any account does anything.

        One in memory is no run that could be gone on with: what is marked is another one's.
        """
        if isinstance(self.books, InMemory):
            return
        accounts: Collection[str] = frozenset(self._strategies)
        real = [row for row in executions if row.mode.is_a_daemons]
        newest: dict[str, int] = {}
        for row in real:
            newest[row.account] = max(row.number, newest.get(row.account, 0))
        if any(row.status == "running" and row.account in accounts for row in real):
            newest = {}  # the mark is gone (books that were moved, say), and the run is not over: what has ended, ended in it
        self._before_run = self.statedir.begin_run(newest)

    # --- while that lasts ---------------------------------------------------------------------------------------------------

    def tell_starting(self) -> None:
        """What the start is at, for whoever looks while there is no control to say it."""
        with suppress(
            StoreUnavailable
        ):  # it is for looking at; a disk that does not take it is found out by the start itself
            Desk(self.statedir).write_status(self._starting())

    async def describe_starting(self) -> dict[str, Any]:
        """The same, for whoever looks on at a terminal."""
        return self._starting()

    def _starting(self) -> dict[str, Any]:
        return {
            "name": self.plan.config.daemon.name,
            "ready": False,
            "pid": os.getpid(),
            "version": __version__,
            "ts_ns": self.system.clock.now_ns(),
            "config": str(self.plan.config.source),
            "doing": self.effort.doing,
        }

    def _reading(self, path: str, done: int, size: int) -> None:
        """A piece of a feed's data has been read, to tell whether it is the data that was there before."""
        point("start.reading")
        self._heed_stop()
        self.effort.moved(f"reading {path}, to see that it is unchanged: {done / 1e9:.1f} of {size / 1e9:.1f} GB")

    def _reading_rows(self, what: str, done: int, rows: int) -> None:
        """The same of a database."""
        point("start.reading")
        self._heed_stop()
        self.effort.moved(f"reading {what}, to see that it is unchanged: {done:,} of {rows:,} rows")

    def _wait_a_moment(self, for_what: str) -> None:
        """What a feed cannot do without is not there yet."""
        self._heed_stop()
        self._say_that_we_wait(for_what)
        self.effort.waits(f"waiting: {for_what}")
        pause(WAIT_FOR_FEED_S)

    def _say_that_we_wait(self, for_what: str) -> None:
        """Once for each thing."""
        if for_what not in self._waited_for:
            self._waited_for.add(for_what)
            logger.warning("waiting: {}", for_what)

    def _heed_stop(self) -> None:
        if self._stop_asked():
            raise StopAsked

    # --- feeds and threads --------------------------------------------------------------------------------------------------

    def _source(self, account: AccountPlan, patience: Callable[[str], object]) -> Source:
        feed = self.plan.config.feeds[account.config.feed]
        timeframes: dict[str, tuple[str, ...]] = {}
        for strategy in account.strategies:
            for symbol in strategy.config.instruments:
                timeframes[symbol] = tuple(dict.fromkeys((*timeframes.get(symbol, ()), *strategy.timeframes)))
        clock: Clock = self.system.clock
        context = FeedContext(
            feed.name,
            clock,
            self.plan.config.folder,
            self.plan.instruments,
            timeframes,
            self._hashes,
            stream_of(self.plan.config, feed),
            say,
            patience,
            password=password_of(feed),
            reading=self._reading_rows,
            aside=self._worker(f"feed {account.config.name}", may_be_left=True),
        )
        return FEEDS[feed.kind].build(feed.settings, context)

    def _info(self, account: AccountPlan) -> FeedInfo:
        """What the account's feed is like, as it was when the process looked at it: nothing of that can change while it runs."""
        name = account.config.name
        if name not in self._infos:
            self._infos[name] = self._source(account, self._wait_a_moment).info
        return self._infos[name]

    def _worker(self, name: str, *, may_be_left: bool = False) -> BlockingWorker:
        """The one thread of this name, however often its actor is started again: each has let go of it before the next begins."""
        if name not in self._workers:
            self._workers[name] = BlockingWorker(name, may_be_left=may_be_left)
        return self._workers[name]

    @property
    def workers(self) -> Sequence[BlockingWorker]:
        """All threads that work for actors."""
        return tuple(self._workers.values())
