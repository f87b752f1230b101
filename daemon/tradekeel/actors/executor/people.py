"""What people, and the end of a run, ask of an account."""

from __future__ import annotations

import msgspec

from tradekeel.actors.executor.shell import TRADING, Shell
from tradekeel.domain.effects import Effects
from tradekeel.domain.messages import Stamp
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.protocol import (
    NOTHING_DONE,
    AccountCommand,
    AccountStatus,
    ChangeParameters,
    CloseExecution,
    Command,
    Describe,
    EndWorking,
    FailStrategy,
    HoldEntries,
    TakeNoMore,
)
from tradekeel.domain.records import ExecutionClosed, ParameterChanged
from tradekeel.domain.rows import FEED_HAS_ENDED, Latch, StrategyStatus, standing_of
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import Defect
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.faults import point

IF_REJECTED = "exits that are rejected are told in the log and not tried again: then flatten again"
"""A venue that says no would be asked for ever; a person who is told may know why it does."""

ID_ENDING_MIN = 6
"""Characters of an id's end that tell orders apart: as many as tables show."""


class People(Shell):
    """Commands, status, endings."""

    def _command(self, message: AccountCommand, reply: Reply | None) -> None:
        if reply is not None and reply.expired:
            return  # whoever gave it was told that it was not taken
        if self._ended:
            if reply is not None:
                reply.send(f"nothing to do: {self.terms.account} is over, {FEED_HAS_ENDED}")
            return
        if message.command in (Command.FLATTEN, Command.RESOLVE) and not self.core.ready:
            # What they send would be taken for orders of an earlier incarnation, which may have been sent, and go out twice.
            self._waiting_ready.append((message, reply))
            return
        now, by, why = self._now(), message.by, message.reason
        effects, said = self._obey(message, now, by, why)
        self._take(effects)
        self._tell_session()
        if reply is not None:
            self._promise(reply, said)

    def _obey(self, message: AccountCommand, now: int, by: str, why: str) -> tuple[Effects, str]:
        account = self.terms.account
        match message.command:
            case Command.PAUSE:
                self._stays_paused = True
                return self.core.pause(True, why, by, now), f"{account} is paused: no new entries, exits go on"
            case Command.RESUME:
                self._stays_paused = False
                return self.core.pause(False, why, by, now), self._resumed()
            case Command.KILL:
                return self.core.latch(
                    Latch.HALTED, why or "killed", by, now
                ), f"{account} is halted until it is released"
            case Command.RELEASE if not self._is_latched():
                return Effects(), f"{account} was not held: nothing to release"
            case Command.RELEASE:
                return self.core.release(why, by, now), f"{account} is released"
            case Command.FLATTEN if self.core.is_halted:
                return Effects(), f"{NOTHING_DONE}: {account} is halted, and nothing is sent until it is released"
            case Command.FLATTEN:
                self._stays_paused = True
                return self.core.flatten(by, now), f"{account} is being closed and then paused; {IF_REJECTED}"
            case Command.RESOLVE:
                return self._resolve(message, now, by)
        raise Defect(f"no rule for {message.command}")

    def _resumed(self) -> str:
        row, account = self._book.execution, self.terms.account
        if row is None or row.latch is Latch.OPEN:
            return f"{account} takes entries again"
        return f"{account} is not paused any more, and stays {row.latch.value} until it is released: {row.latch_reason}"

    def _is_latched(self) -> bool:
        row = self._book.execution
        return row is not None and row.latch is not Latch.OPEN

    def _resolve(self, message: AccountCommand, now: int, by: str) -> tuple[Effects, str]:
        order = self._meant(message.client_order_id)
        if order is None or order.status is not OrderStatus.UNKNOWN:
            state = "not known or ended" if order is None else str(order.status)
            return (
                Effects(),
                f"{NOTHING_DONE}: order {message.client_order_id} is {state}, only unknown orders are resolved",
            )
        effects = self.core.resolve(order.client_order_id, OrderStatus(message.outcome), by, now)
        return effects, f"order {order.client_order_id} is {message.outcome}"

    def _meant(self, given: str) -> Order | None:
        """The order of this id; or, as tables shorten ids, the only unknown one that ends so."""
        found = self._book.orders.get(given)
        ending = given.lstrip("….")
        if found is not None or len(ending) < ID_ENDING_MIN:
            return found
        unknown = (o for o in self._book.orders.values() if o.status is OrderStatus.UNKNOWN)
        so_called = [order for order in unknown if order.client_order_id.endswith(ending)]
        return so_called[0] if len(so_called) == 1 else None

    def _describe(self, message: Describe, reply: Reply | None) -> None:
        assert reply is not None
        book, row = self._book, self._book.execution
        reply.send(
            AccountStatus(
                account=self.terms.account,
                execution=None if row is None else row.execution,
                state=self._standing(),
                paused=row is not None and row.paused,
                latch=Latch.OPEN if row is None else row.latch,
                latch_reason="" if row is None else row.latch_reason,
                orders=len(book.orders),
                unknown=tuple(o.client_order_id for o in book.orders.values() if o.status is OrderStatus.UNKNOWN),
                trades=len(book.trades),
                positions={symbol: str(net) for symbol, net in book.nets().items()},
                balance=str(book.money.balance),
                equity=self._equity(),
                cursor=book.cursor,
                sequence=book.sequence,
                ts_ns=self._now(),
                position=Stamp.position(self.core.stamp),
                strategies={name: line.row.status.value for name, line in book.strategies.items()},
                quotes={s: (str(q.bid), str(q.ask), q.ts_ns) for s, q in self.core.quotes.items()},
            )
        )

    def _standing(self) -> str:
        """How the account stands, in a word where it is reconciled: what holds it back, or that nothing does."""
        row = self._book.execution
        if self._state != TRADING or row is None:
            return self._state
        return standing_of(row.latch, row.paused)

    def _equity(self) -> str | None:
        """Balance and unrealised profit at the latest quotes, or None where a price or a rate is missing."""
        with ledger():
            equity = self._marks.equity(self._book.money.balance, self._book.positions.values(), self.core.quotes)
        return None if equity is None else str(equity)

    def _change_parameters(self, message: ChangeParameters, reply: Reply | None) -> None:
        """In the account's own time: in a replay its journal knows no other."""
        assert reply is not None
        now = self._now()
        for change in message.changes:
            dated = msgspec.structs.replace(change, execution=self._book.execution_id, ts_ns=now)
            self._commit_record(ParameterChanged(ts_ns=now, stamp=self.core.stamp, change=dated))
        self._promise(reply, True)

    def _end_working(self, message: EndWorking, reply: Reply | None) -> None:
        if message.what in ("flatten", "close"):
            if not self.core.is_halted:  # as for the command: each exit would be denied
                self._take(self._ending(message.what))
        elif message.what == "resume":
            if not self._stays_paused:
                self._take(self.core.pause(False, message.reason, "stop", self._now()))
        elif message.what == "all":
            self._take(self.core.end(message.reason, self._now()))
        else:
            self._take(self.core.cancel_entries(message.reason, self._now()))
        if reply is not None:
            self._settling.append(reply)

    def _ending(self, what: str) -> Effects:
        if what == "flatten":
            return self.core.flatten("stop", self._now(), for_stop=True)
        wishes = [(trade_id, CloseReason.MANUAL.value) for trade_id in self._book.trades]
        return self.core.exit_trades(wishes, "operator", self._now())

    def _take_no_more(self, message: TakeNoMore, reply: Reply | None) -> None:
        assert reply is not None
        self.core.stopping = True
        reply.send(True)

    def _hold_entries(self, message: HoldEntries, reply: Reply | None) -> None:
        if self.core.held != message.reason:
            self.core.held = message.reason
            self._announce_again()

    def _close(self, message: CloseExecution, reply: Reply | None) -> None:
        self._closing = (message, reply)

    def _close_when_quiet(self) -> None:
        """Nothing is written behind it, so what is on its way comes first."""
        if self._closing is None or not self._is_quiet():
            return
        (message, reply), self._closing = self._closing, None
        point("executor.close.before")
        self._commit_record(ExecutionClosed(ts_ns=self._now(), stamp=self.core.stamp, reason=message.reason))
        self._ended, self._state = True, message.reason
        if reply is not None:
            self._settling.append(reply)

    def _fail_strategy(self, message: FailStrategy, reply: Reply | None) -> None:
        self._take(self.core.retire(message.strategy, StrategyStatus.FAILED, message.reason, self._now()))
        self._alert("critical", f"strategy {message.strategy} has failed: {message.reason}. Its exits go on.")
        if reply is not None:
            self._settling.append(reply)
