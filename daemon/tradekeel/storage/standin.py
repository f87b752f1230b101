"""Books on a server that may be away: what it cannot take waits on this side, in order, and is brought to it exactly once.

Every batch has a number, and the server writes it down in the transaction of the batch. While the server answers, a
batch goes straight to it. A batch whose commit fails may or may not have been applied, and nobody can say; so it is
kept here under its number, and it is answered with the journal numbers that it has or will get: there is no other
writer of these executions, and we know the last number of each. From then on everything is kept here first, and now and
then (:mod:`tradekeel.storage.breaker`) the server is tried. When it is back it is asked for the number of its last batch. What it
has is passed over; the rest is brought in order, a piece at a time, each batch checked *before* it becomes durable: its
journal numbers must be those that were promised, and nothing may be refused, because all of it was answered for. Where that does
not hold it is a defect: nothing is changed on either side, and the process ends.

A process that is killed while something waits finds it when it starts: :meth:`SpoolingBooks.settle` brings it to the server
before anything is loaded. Where the server is away then, that is a :class:`~tradekeel.errors.StoreAway`, and may be tried
again.

**Numbers.** The batches that wait are ``first`` to ``last``, the server's last one is ``applied``, and at any moment
``first - 1 <= applied <= last`` (or ``applied`` is the last one that we know of, where none wait). Lower, and the server has
lost what it had acknowledged: an older copy was put back. Higher, and somebody else writes under our name.

**The lease.** Where a standby would take over when a lease ends, nothing is kept here from a margin before that: whoever
takes over must not meet a writer that still answers.

The class is synchronous and belongs to one thread at a time; :attr:`SpoolingBooks.state` may be read by any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from msgspec import structs

from tradekeel.domain.protocol import LoadedAccount, StoreStands
from tradekeel.domain.records import Group
from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import (
    AlreadyRunning,
    Defect,
    GroupRefused,
    LeaseLost,
    StoreAway,
    StoreCorrupt,
    StoreUnavailable,
    TradekeelError,
    named,
    text_of,
)
from tradekeel.storage.batch import SENDER_ERRORS, Written
from tradekeel.storage.breaker import Breaker, BreakerEvent, BreakerStatus, allows, apply
from tradekeel.storage.points import Point, unwatched
from tradekeel.storage.promised import KEEP_IT, NEWEST, NumberedBatch, Promised, as_answered, promise
from tradekeel.storage.remote import Asking, Away, Load, RemoteStore, StoreMode, StoreState, WaitingBatches, begins
from tradekeel.storage.store import CommitResult

TEND_EVERY_S = 1.0
"""How often the books are looked after though nobody commits."""

PIECE_BATCHES_MAX = 64
"""So many batches are brought to the server in one piece at most; then whoever waits has a turn."""

PIECE_NS = 20_000_000
"""A piece that has taken so long is ended: an order that is decided meanwhile waits for it before it goes out."""

PIECE_BATCHES_MIN = 2
"""And so many in any case: more than may have come meanwhile, so that an end is in sight."""

LAST_TRY_NS, LAST_TRIES, LAST_DRAIN_NS = 5_000_000_000, 2, 8_000_000_000
"""How long, and how often, a stop tries to bring what would be lost; and how long in all where the server takes it."""

T = TypeVar("T")


def _nothing() -> None:
    """Nobody has an objection."""


class SpoolingBooks:
    """See the module. Nothing can be committed before the first :meth:`settle`."""

    def __init__(
        self,
        remote: RemoteStore,
        load: Load,
        waiting: WaitingBatches,
        *,
        monotonic_ns: Callable[[], int],
        now_ns: Callable[[], int],
        pause: Callable[[], object],
        breaker: Breaker = Breaker(),  # noqa: B008  # a frozen value
        lease_left_ns: Callable[[], int | None] = lambda: None,
        lease_margin_ns: int = 0,
        renew_every_ns: int | None = None,
        point: Point = unwatched,
    ) -> None:
        """``now_ns`` is UTC. ``pause`` lets a moment pass. ``lease_left_ns`` says how long no standby may take over,
        or None where there is none; nothing is kept here from ``lease_margin_ns`` before its end.

        Where nothing was committed for ``renew_every_ns``, an empty batch is: the server hears that we are there.
        """
        self._remote = remote
        self._load = load
        self._waiting = waiting
        self._monotonic_ns = monotonic_ns
        self._now_ns = now_ns
        self._pause = pause
        self._breaker = breaker
        self._lease_left_ns = lease_left_ns
        self._lease_margin_ns = lease_margin_ns
        self._renew_every_ns = renew_every_ns
        self._committed_ns = monotonic_ns()
        self._point = point
        self._connected = False
        self._asking = Asking(monotonic_ns)
        self._number: int | None = None  # of the last batch; unknown before the server was asked
        self._sequences: dict[str, int] = {}  # the last journal number of each execution, with what waits
        self._failed: str | None = None
        self._cause: TradekeelError | None = None  # what the server, or the way to it, said last
        self._mode = StoreMode.AWAY
        self._since_ns = now_ns()
        self._reason = "the server was not asked yet"
        self._changes = 0
        self._state = self._look()

    @property
    def state(self) -> StoreState:
        """How it is with the store."""
        return self._state

    # --- what the recorder asks for ---------------------------------------------------------------------------------------

    def commit(self, groups: Sequence[Group]) -> Sequence[CommitResult]:
        """Make groups durable together, on the server or here: for each its place in the journal, or GroupRefused.

        StoreUnavailable means that they are neither known to be there nor kept here; these books are done for then.
        """
        if not groups:
            return []
        with self._sound():
            number = self._next_number()
            if self._mode is StoreMode.DIRECT:
                return self._commit_there(number, groups)
            results = self._keep(number, groups)
            self._attempt()
            return results

    def _next_number(self) -> int:
        if self._number is None:
            raise Defect("groups are committed before it is known what the server has: settle() comes first")
        return self._number + 1

    def load(self, account: str, progress: Callable[[], object] = _nothing) -> LoadedAccount:
        """Everything that an account needs to go on, with all that waits brought to the server before.

        StoreAway where the server cannot be reached. ``progress`` is called for each page of a long journal, and the lease
        is renewed meanwhile: nobody may take over who would have to read the same.
        """
        self.settle()

        def page_read() -> None:
            progress()
            with self._sound():
                self._renew()
            if self._mode is not StoreMode.DIRECT:
                raise self._away()

        try:
            with self._asking:
                loaded = self._load(account, page_read)
                if loaded.execution is not None:
                    self._sequences[loaded.execution] = self._remote.last_sequence(loaded.execution)
        except StoreUnavailable as error:
            self._refuse_if_failed()
            self._fell(error)
            raise self._away() from error
        return loaded

    def executions(self) -> Sequence[ExecutionRow]:
        """All executions, oldest first, with all that waits brought to the server before. StoreAway where it is away."""
        self.settle()
        try:
            return self._remote.executions()
        except StoreUnavailable as error:
            self._fell(error)
            raise self._away() from error

    def close(self) -> None:
        """Let go of everything. What waits on a disk stays; what waits in memory is brought to the server, if that is there."""
        try:
            if not self._waiting.durable and self._waiting.batches and self._failed is None:
                self._bring_what_would_be_lost()
        finally:
            self._failed = self._failed or "they were closed"
            self._waiting.close()
            self._remote.close()

    def _bring_what_would_be_lost(self) -> None:
        """Whatever the breaker says: what the first try hears may be from before the server was back, so there is another."""
        failures, until_ns = 0, (began_ns := self._monotonic_ns()) + LAST_TRY_NS
        while failures < LAST_TRIES and self._mode is not StoreMode.DIRECT and self._monotonic_ns() < until_ns:
            self._breaker = structs.replace(self._breaker, status=BreakerStatus.CLOSED, failures=0)
            with self._sound():
                if self._attempt():
                    until_ns = began_ns + LAST_DRAIN_NS
                else:
                    self._pause()
            failures += self._breaker.failures

    @property
    def tend_every_s(self) -> float | None:
        """How often :meth:`tend` wants to be called."""
        return TEND_EVERY_S

    def tend(self) -> bool:
        """For moments in which nobody commits: the lease is renewed, and what waits goes to the server. Whether there is more."""
        if self._mode is not StoreMode.DIRECT:
            return self.advance()
        with self._sound():
            self._renew()
        return False

    def _renew(self) -> None:
        if self._renew_every_ns is not None and self._monotonic_ns() >= self._committed_ns + self._renew_every_ns:
            self._commit_there(self._next_number(), ())

    @property
    def asks(self) -> bool:
        """Whether the server is being asked at this moment, and may take its time."""
        return self._asking.goes_on

    def stands(self) -> StoreStands:
        """How it is with the store, for people and for whoever decides what may be traded."""
        return self._state.told()

    # --- what is to be done beside that -----------------------------------------------------------------------------------

    def settle(self, heed: Callable[[], object] = _nothing) -> None:
        """Bring all that waits to the server; commits go straight to it afterwards.

        StoreAway where the server cannot be reached, or where it is too early to try, and AlreadyRunning where another daemon
        holds the lease: ask again later. ``heed`` is called between pieces and may raise to end it; nothing is lost by that.
        """
        self._refuse_if_failed()
        while self._mode is not StoreMode.DIRECT:
            with self._sound(but=AlreadyRunning):
                reached = self._attempt()
            if not reached:
                raise self._away() from self._cause
            heed()

    def advance(self) -> bool:
        """While nobody commits: bring a piece of what waits to the server, if it may be tried. Whether there is more."""
        if self._mode is not StoreMode.DIRECT:
            with self._sound():
                self._attempt()
        return self._mode is StoreMode.DRAINING

    @contextmanager
    def _sound(self, but: type[TradekeelError] | tuple[()] = ()) -> Iterator[None]:
        """Whatever goes wrong inside, ``but`` for this, leaves it open what is where: nothing is done any more."""
        self._refuse_if_failed()
        try:
            yield
        except BaseException as error:
            if not isinstance(error, but):
                self._failed = named(error)
            raise

    def _refuse_if_failed(self) -> None:
        if self._failed is not None:
            raise StoreUnavailable(f"the books are not used, because they failed before: {self._failed}")

    # --- straight to the server -------------------------------------------------------------------------------------------

    def _commit_there(self, number: int, groups: Sequence[Group]) -> list[CommitResult]:
        self._point("standin.before_commit")
        try:
            with self._asking:
                self._learn_sequences(groups)
                results = self._remote.commit_numbered(number, groups)
        except StoreUnavailable as error:
            self._fell(error)
            return self._keep(number, groups)
        self._point("standin.after_commit")
        self._number, self._committed_ns = number, self._monotonic_ns()
        for group, result in zip(groups, results, strict=True):
            if isinstance(result, Written):
                self._sequences[group.execution] = result.last
        return results

    def _learn_sequences(self, groups: Iterable[Group]) -> None:
        """What to promise if the server goes: asked once for each execution."""
        for group in groups:
            execution = group.execution
            if execution not in self._sequences:
                self._sequences[execution] = 0 if begins(group) else self._remote.last_sequence(execution)

    # --- kept here --------------------------------------------------------------------------------------------------------

    def _keep(self, number: int, groups: Sequence[Group]) -> list[CommitResult]:
        """Let the batch wait, and promise its groups their places.

        It waits even where no group of it can be kept: the server may have applied it under its number.
        """
        self._heed_lease()
        results: list[CommitResult] = []
        promised: list[Promised] = []
        sequences = self._sequences.copy()
        for group in groups:
            first = self._last_of(group, sequences) + 1
            try:
                kept = promise(group, first)
            except SENDER_ERRORS as error:
                refused = GroupRefused(f"a group of execution {group.execution} was refused: {named(error)}")
                refused.__cause__ = error
                results.append(refused)
                continue
            promised.append(kept)
            sequences[group.execution] = kept.last
            results.append(Written(first, kept.last))
        self._waiting.append([NumberedBatch(number, tuple(promised))])
        self._point("standin.kept")
        self._heed_lease()  # a slow disk may have taken until then: nobody is answered
        self._number, self._sequences = number, sequences
        self._publish()
        return results

    def _last_of(self, group: Group, sequences: dict[str, int]) -> int:
        last = sequences.get(group.execution)
        if last is None:
            if not begins(group):
                raise StoreUnavailable(
                    f"the server is away ({self._reason}), and nobody here knows where the journal of execution "
                    f"{group.execution} ends. Start again when the server is back."
                )
            last = 0
        return last

    def _heed_lease(self) -> None:
        left_ns = self._lease_left_ns()
        if left_ns is not None and left_ns <= self._lease_margin_ns:
            raise StoreUnavailable(
                f"the server is away ({self._reason}), and our lease ends: a standby may take over. Nothing more is kept here; "
                "what was acknowledged is, and goes to the server when it is back."
            )

    # --- and brought there ------------------------------------------------------------------------------------------------

    def _attempt(self) -> bool:
        """Try the server, if it may be tried, and bring it a piece of what waits; whether it answered."""
        now_ns = self._monotonic_ns()
        if not allows(self._breaker, BreakerEvent.TRY, now_ns):
            return False
        try:
            is_there = self._connected or self._ask(self._remote.knock)
            if not is_there:
                return False
            self._try(now_ns)
            if not self._connected:
                self._meet()
            self._bring_a_piece()
        except Away as away:
            self._fell(away.error)
            return False
        except AlreadyRunning as error:  # it answers, and lets somebody else write
            self._fell(error)
            if self._number is not None:
                raise LeaseLost(f"another daemon has taken over: {text_of(error)}") from error
            raise
        return True

    def _try(self, now_ns: int) -> None:
        self._breaker = apply(self._breaker, BreakerEvent.TRY, now_ns)
        self._publish()

    def _ask(self, question: Callable[[], T]) -> T:
        """The server's answer. What goes wrong on this side is told from what goes wrong on that."""
        try:
            with self._asking:
                return question()
        except StoreUnavailable as error:
            raise Away(error) from error

    def _meet(self) -> None:
        """Make a connection, and compare what the server has with what we know."""
        self._ask(self._remote.reconnect)
        applied = self._ask(self._remote.last_batch)
        self._point("standin.met")
        lowest, highest = self._waiting.first, self._waiting.last
        if lowest is None or highest is None:
            known = applied if self._number is None else self._number
            lowest, highest = known + 1, known
        if applied < lowest - 1:
            raise StoreCorrupt(
                f"the server's books end with batch {applied}, and it had acknowledged batch {lowest - 1}: an older copy was put "
                f"back, or it failed over to a server that was behind. {NEWEST}"
            )
        if applied > highest:
            raise Defect(
                f"the server's last batch is {applied}, and ours is {highest}: somebody else writes under our name, or these "
                f"batches wait since long ago. {KEEP_IT}"
            )
        if applied >= lowest:
            self._pass_over(applied)
        self._number = highest
        self._connected = True

    def _pass_over(self, applied: int) -> None:
        """What the server has already need not be brought; but it must be what was answered for."""
        promised: dict[str, int] = {}
        for batch in self._waiting.pending():
            if batch.number > applied:
                break
            promised.update({kept.group.execution: kept.last for kept in batch.groups})
        for execution, last in promised.items():
            found = self._ask(partial(self._remote.last_sequence, execution))
            if found != last:
                raise Defect(
                    f"the server has batch {applied}, and with it the journal of execution {execution} ends at record {found}; "
                    f"it was answered that it ends at {last}. {KEEP_IT}"
                )
            self._sequences[execution] = max(last, self._sequences.get(execution, 0))
        self._waiting.drained(applied)

    def _bring_a_piece(self) -> None:
        until_ns = self._monotonic_ns() + PIECE_NS
        brought: int | None = None
        try:
            for count, batch in enumerate(self._waiting.pending(), start=1):
                self._bring(batch)
                brought = batch.number
                if count >= PIECE_BATCHES_MAX or (count >= PIECE_BATCHES_MIN and self._monotonic_ns() >= until_ns):
                    break
        except Away:
            self._done_with(brought)
            raise
        self._done_with(brought)
        self._succeeded()
        more = self._waiting.first is not None
        self._enter(StoreMode.DRAINING if more else StoreMode.DIRECT, "the server is back" if more else "")

    def _bring(self, batch: NumberedBatch) -> None:
        groups = [kept.group for kept in batch.groups]
        approve = partial(as_answered, batch)
        approve(self._ask(partial(self._remote.commit_numbered, batch.number, groups, approve)))
        self._point("standin.brought")
        for kept in batch.groups:
            self._sequences[kept.group.execution] = max(kept.last, self._sequences.get(kept.group.execution, 0))

    def _done_with(self, brought: int | None) -> None:
        if brought is not None:
            self._succeeded()
            self._waiting.drained(brought)

    # --- how it is --------------------------------------------------------------------------------------------------------

    def _succeeded(self) -> None:
        self._breaker = apply(self._breaker, BreakerEvent.SUCCEED, self._monotonic_ns())

    def _fell(self, error: TradekeelError) -> None:
        """The server did not answer as it should."""
        self._connected = False
        self._cause = error
        if self._breaker.status is BreakerStatus.OPEN:
            self._try(self._monotonic_ns())  # that nobody opened was the one try
        self._breaker = apply(self._breaker, BreakerEvent.FAIL, self._monotonic_ns())
        self._enter(StoreMode.AWAY, text_of(error))

    def _enter(self, mode: StoreMode, reason: str) -> None:
        if mode is not self._mode:
            self._mode, self._since_ns = mode, self._now_ns()
        self._reason = reason
        self._publish()

    def _publish(self) -> None:
        if (self._state.mode, self._state.breaker) != (self._mode, self._breaker.status):
            self._changes += 1
        self._state = self._look()

    def _look(self) -> StoreState:
        return StoreState(
            mode=self._mode,
            breaker=self._breaker.status,
            since_ns=self._since_ns,
            reason=self._reason,
            batches=self._waiting.batches,
            size_bytes=self._waiting.size_bytes,
            promise_holds=self._waiting.durable or self._mode is StoreMode.DIRECT,
            changes=self._changes,
        )

    def _away(self) -> StoreAway:
        again_ns = self._breaker.tried_again_ns
        later = (
            "" if again_ns is None else f"; it is tried again in {max(again_ns - self._monotonic_ns(), 0) / 1e9:.0f} s"
        )
        return StoreAway(
            f"the server that keeps the books is away ({self._reason}){later}. {self._waiting.batches} batches wait for it."
        )
