"""Going on from the disk: the last cut, the journal behind it, or a new execution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from tradekeel.actors.executor.reconciling import Reconciling
from tradekeel.domain.book import Book
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.money import ZERO
from tradekeel.domain.positions import Quote
from tradekeel.domain.protocol import FeedEnded, LoadAccount, LoadedAccount
from tradekeel.domain.records import DaemonStarted, ExecutionStarted
from tradekeel.domain.recovery import Folding, decode_account_state, opening_of
from tradekeel.domain.rows import FEED_HAS_ENDED, ExecutionRow, Latch
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import Defect
from tradekeel.runtime.clock import FOREVER_S
from tradekeel.runtime.errors import ActorDied
from tradekeel.runtime.faults import point

LOAD_TIMEOUT_S = FOREVER_S
"""The recorder reads for as long as there is a journal; whether it makes progress is for control's watch to say."""

RECORDER_GONE_S = 60.0
"""The process ends with its recorder, long before."""

CLOCK_BEHIND_S = 60.0
"""Seconds by which the clock may be behind the books without a word."""

PAGE_RECORDS_MAX = 1_000
"""Records of the journal that are gone through at a time."""

T = TypeVar("T")


class Starting(Reconciling):
    """Recovers the account, or begins anew."""

    async def on_start(self) -> None:
        loaded = await self._load()
        point("executor.recover.loaded")
        rates = await self._restore(loaded)
        self.settings.chronicle.begin(self._book, self._tail, self.clock.monotonic())
        self.core = ExecutorCore(self._book, self.terms, self._make_gate(rates))
        self.core.resume(self._memories, self._cut_position, ())
        for page in _pages(self._tail):
            self.core.retrace(page)
            await self.clock.sleep(0)
        self.core.quotes.update(self._quotes)
        for note in loaded.notes:
            self._alert("warning", note)
        self._look_at_the_clock()
        if loaded.previous is not None and self._has_ended(loaded.previous):
            self._stay_ended(loaded.previous)
            return
        if self._book.execution is None:
            self._begin_execution(loaded)
        elif self._book.execution.data_fingerprint != self.settings.data_fingerprint:
            raise Defect("the feed's data changed")  # refused with a clear error before anything was started
        self._take(self.core.register(self.settings.strategies, self._now()))
        self._recovered = (len(self._book.orders), len(self._book.trades), self._first_five())
        self._commit_record(
            DaemonStarted(
                ts_ns=self._now(),
                stamp=self.core.stamp,
                version=self.settings.version,
                wall_ns=self.clock.now_ns(),
                recovered_orders=len(self._book.orders),
                recovered_trades=len(self._book.trades),
            )
        )
        self._heed_what_was_said_meanwhile()
        self._tell_session()
        self._reconcile()
        self._flush()

    def _look_at_the_clock(self) -> None:
        """It was ahead before, or is wrong now: who waits for a time of the books waits until the clock is there, in silence."""
        behind_s = (self._last_ns - self.clock.now_ns()) / NS_PER_S
        if self.terms.live and behind_s > CLOCK_BEHIND_S:
            self._alert(
                "warning",
                f"{self.terms.account}: the clock is {behind_s:,.0f} s behind the last record of the books: it was ahead then, "
                "or is wrong now. Until it is there again, whoever waits for a time (a strategy between two signals or before it "
                "asks for an exit once more, a trade that is to be held for so long at most) waits so much longer",
            )

    def _heed_what_was_said_meanwhile(self) -> None:
        """While there was no daemon, or none that could hear: a release first, since whatever halts is of a later kill."""
        released = self.settings.released_by()
        if released is not None:
            reason, by = released
            self._take(self.core.release(reason, by, self._now()))
            self._when_durable(self.settings.forget_release)
        held = self.settings.halted_by()
        if held is not None:
            reason, by = held
            self._take(self.core.latch(Latch.HALTED, reason, by, self._now()))

    async def _load(self) -> LoadedAccount:
        while True:
            try:
                loaded = await self._recorder.ask(LoadAccount(self.terms.account), timeout_s=LOAD_TIMEOUT_S)
            except ActorDied:
                # Failing, too, would hide why it ends.
                await self.clock.sleep(RECORDER_GONE_S)
            else:
                assert isinstance(loaded, LoadedAccount)
                return loaded

    async def _restore(self, loaded: LoadedAccount) -> Any:
        """Where nothing that was saved can be read, this is the whole journal: the loop turns behind each page of it."""
        self._saved = dict(loaded.saved)
        self._memories = {}
        self._quotes: dict[str, Quote] = {}
        rates = None
        book = Book()
        state = None
        if loaded.cut is not None:
            state = decode_account_state(loaded.cut.state)
            book = loaded.book if loaded.book is not None else Book.load(state.book)
            self._cut_book, self._cut_monitor, self._cut_position = state.book, state.monitor, state.position
            self._cut_inbox = loaded.cut.inbox
            self._memories, rates = state.memories, state.rates
            self._quotes = state.quotes
        elif loaded.book is not None:  # the records before are in an archive
            book = loaded.book
            self._cut_book, self._cut_inbox = book.save(), book.sequence
        self._book = book
        self._last_ns = state.ts_ns if state is not None else 0
        folding = Folding(book, (checkpoint.inbox for checkpoint in self._saved.values()))
        for page in _pages(loaded.journal):
            entries = folding.take(page)
            self._tail.extend(entries)
            self._last_ns = max((self._last_ns, *(entry.record.ts_ns for entry in entries)))
            await self.clock.sleep(0)
        self._on_the_way = folding.on_the_way
        return rates

    def _first_five(self) -> tuple[str, ...]:
        trades = [
            f"trade {t.trade_id} {t.side} {t.open_quantity} {t.symbol} {t.status}" for t in self._book.trades.values()
        ]
        orders = [
            f"order {o.client_order_id} {o.side} {o.quantity} {o.instrument} {o.status}"
            for o in self._book.orders.values()
        ]
        return tuple((trades + orders)[:5])

    def _has_ended(self, last: Book) -> bool:
        """Whether this run, which may go on after a kill, has begun and ended for this account: then nothing is begun anew.

        An execution of an earlier run proves nothing, however it ended: this one may have been killed before its first.
        """
        row = last.execution
        return (
            row is not None
            and row.number > self.settings.number_before
            and row.close_reason == FEED_HAS_ENDED
            and row.data_fingerprint == self.settings.data_fingerprint
        )

    def _stay_ended(self, last: Book) -> None:
        self._book = last
        self.core = ExecutorCore(last, self.terms, self._make_gate(None))
        self._ended = True
        self._state = FEED_HAS_ENDED
        self._recovered = (0, 0, ())
        self._announce(False, FEED_HAS_ENDED)
        account = self.terms.account
        self._control.latest(
            ("feed-ended", account), FeedEnded(account, "it had ended before the restart", closed=True)
        )

    def _begin_execution(self, loaded: LoadedAccount) -> None:
        settings = self.settings
        execution = settings.make_execution_id()
        opening = None if loaded.previous is None else opening_of(loaded.previous, execution)
        before = None if loaded.previous is None else loaded.previous.execution
        row = ExecutionRow(
            execution=execution,
            account=self.terms.account,
            number=loaded.next_number,
            mode=settings.mode,
            venue=self.terms.venue,
            currency=self.terms.currency,
            status="running",
            config_fingerprint=settings.config_fingerprint,
            data_fingerprint=settings.data_fingerprint,
            opening_balance=ZERO if opening is None else opening.balance,
            started_ns=self.clock.now_ns(),
            # What a person or a limit has stopped stays stopped until a person says otherwise, whichever run it is.
            paused=before is not None and before.paused,
            latch=Latch.OPEN if before is None else before.latch,
            latch_reason="" if before is None else before.latch_reason,
        )
        self._commit_record(ExecutionStarted(ts_ns=self._now(), row=row, opening=opening))


def _pages(things: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(things)
    while page := list(islice(rest, PAGE_RECORDS_MAX)):
        yield page
