"""An account that trades: whole round trips, as the executor journals them."""

from __future__ import annotations

from decimal import Decimal

from msgspec import structs

from tests.unit.storage import samples as s
from tradekeel.domain import records as r
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.orders import Purpose, Side
from tradekeel.domain.recovery import opening_of
from tradekeel.domain.rows import StrategyEvent
from tradekeel.domain.trades import Allocation, CloseReason

DAY = 86_400 * s.SECOND


class Trader:
    """Round trips of one execution, each at its own time; what comes of them is what the book says."""

    def __init__(self, run: str = s.RUN, account: str = "paper-1", number: int = 1) -> None:
        self.desk = s.Desk(run, account, number)
        self.run, self.account = run, account
        self.now_ns = s.START_NS
        self.step_ns = DAY  # from one round trip to the next
        self.trips = 0

    def opening(self) -> r.Group:
        return self.desk.opening()

    def going_on(self, before: Trader) -> r.Group:
        """The beginning behind an execution that was closed, whose open trades are taken over."""
        self.now_ns = before.now_ns
        row = s.execution(self.run, self.desk.number, self.account, started_ns=self.now_ns)
        opening = opening_of(before.desk.book, self.run)
        registered = r.StrategyRegistered(ts_ns=self.now_ns, row=s.strategy(self.run))
        return self.desk.group(r.ExecutionStarted(ts_ns=self.now_ns, row=row, opening=opening), registered)

    def entry(self) -> r.Group:
        """A decision, and its entry filled."""
        self.trips += 1
        self.now_ns += self.step_ns
        number = self.trips
        own = {"created_ns": self.now_ns, "updated_ns": self.now_ns}
        event = StrategyEvent(
            execution=self.run,
            strategy=s.STRATEGY,
            sequence=number,
            type="layer_opened",
            ts_ns=self.now_ns,
            data={"layer": number},
        )
        taken = r.DecisionTaken(
            ts_ns=self.now_ns,
            strategy=s.STRATEGY,
            number=number,
            digest=f"{number:032x}",
            position=number,
            inbox=self.desk.book.sequence,
            signals=(s.signal(number, self.run, generated_at_ns=self.now_ns, rl_state_key="up", rl_action_key="buy"),),
            orders=(s.order(number, self.run, account=self.account, **own),),
            trades=(s.trade(number, self.run, account=self.account, rl_state_key="up", rl_action_key="buy", **own),),
            events=(event,),
        )
        part = Allocation(trade_id=self._trade(number), quantity=Decimal(1000), opens=True, fee=Decimal("0.0500"))
        return self.desk.group(taken, self._filled(number, Side.BUY, f"tk{self.run}-{number}", part, "1.39215"))

    def exit(self, number: int | None = None, price: str = "1.39315", trade_id: str | None = None) -> r.Group:
        """A trade closed; the newest, unless it is said."""
        trip = self.trips if number is None else number
        trade = self.desk.book.trades[trade_id or self._trade(trip)]
        self.now_ns += s.SECOND
        order = s.order(
            trip,
            self.run,
            account=self.account,
            client_order_id=f"tx{self.run}-{trip}",
            side=Side.SELL,
            purpose=Purpose.EXIT,
            source="monitor",
            trade_id=trade.trade_id,
            signal_id=trade.signal_id,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
            close_reason=next(iter(CloseReason)),
        )
        part = Allocation(trade_id=trade.trade_id, quantity=Decimal(1000), opens=False, fee=Decimal("0.0500"))
        filled = self._filled(trip, Side.SELL, order.client_order_id, part, price)
        return self.desk.group(
            r.OrdersIntended(ts_ns=self.now_ns, orders=(order,), reason="target"),
            structs.replace(filled, reason=next(iter(CloseReason)).value),
        )

    def round_trip(self) -> list[r.Group]:
        return [self.entry(), self.exit()]

    def closed(self) -> r.Group:
        """The end of the execution."""
        return self.desk.group(r.ExecutionClosed(ts_ns=self.now_ns, reason="the feed has ended"))

    def _trade(self, number: int) -> str:
        return f"tr{self.run}-{number}"

    def _filled(self, number: int, side: Side, order_id: str, part: Allocation, price: str) -> r.VenueReported:
        cursor = self.desk.book.cursor + 1
        fill = s.fill(
            cursor,
            self.run,
            account=self.account,
            side=side,
            price=Decimal(price),
            client_order_id=order_id,
            realised=Decimal("1.00") if side is Side.SELL else Decimal(0),
            ts_ns=self.now_ns,
        )
        balance = self.desk.book.money.balance + fill.realised - fill.fee
        news = VenueTransaction(
            sequence=cursor, kind=TransactionKind.ORDER_FILLED, ts_ns=self.now_ns, fill=fill, balance=balance
        )
        return r.VenueReported(ts_ns=self.now_ns, transaction=news, allocations=(part,))
