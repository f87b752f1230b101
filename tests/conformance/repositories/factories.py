"""Rows to store, with something in every field; the same for the same seed.

A factory belongs to one test. Plain rows are what a script would write; ``extreme`` ones hold what no script should: amounts with
all their digits, texts in every script, the first and the last nanosecond.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from msgspec import structs

from tradekeel.domain.messages import Fill, Liquidity, Signal, SignalStatus
from tradekeel.domain.orders import Order, OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
DAY_NS = 86_400 * SECOND
LATER_NS = START_NS + 1_000 * DAY_NS  # when every plain row is over
LAST_NS = 2**63 - 1

SYMBOLS = ("EUR_USD", "USD_JPY", "GBP_USD", "BTC_USD")
SESSIONS = ("LONDON", "NEW_YORK", "TOKYO", None)
PATTERNS = ("retracement", "breakout", None)
STRATEGIES = ("floor", "trend")

EXTREME_AMOUNTS = (
    Decimal("123456789012345678901234.123456789012345678901234"),
    Decimal("-0.000000000000000000000001"),
    Decimal("0.10"),
    Decimal("1E+23"),
    Decimal("1E-24"),
    Decimal(0),
    Decimal("-999999999999999999999999.999999999999"),
)
EXTREME_TEXTS = (
    "",
    " ",
    "a'b\"c;--\\",
    "née €uro 漢字 العربية",
    "👩‍👩‍👧‍👦 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "line\nbreak\ttab\r\x01\x7f",
    "%s ? :x {} %(y)s",
    "x" * 2_000,  # the longest that an index takes beside the others of its row
)
LONG_TEXTS = (*EXTREME_TEXTS[:-1], "x" * 10_000)
"""For what no index has."""


class Factory:
    """Makes rows of one execution."""

    def __init__(self, execution: str, account: str, seed: int = 0) -> None:
        self.execution, self.account = execution, account
        self.random = random.Random(seed)
        self.numbers: dict[str, int] = {}

    def next(self, kind: str) -> int:
        """The next number of a kind of row, from 1."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def amount(self, low: int = 1, high: int = 100_000, places: int = 5) -> Decimal:
        """An amount with so many decimals."""
        return Decimal(self.random.randint(low, high)).scaleb(-places)

    def strategy(self, name: str | None = None, **changes: Any) -> StrategyRow:
        number = self.next("strategy")
        row = StrategyRow(
            execution=self.execution,
            strategy=name if name is not None else f"strategy-{number}",
            kind=self.random.choice(("FloorStrategy", "TrendStrategy")),
            status=StrategyStatus.ACTIVE,
            status_reason="",
            instruments=tuple(self.random.sample(SYMBOLS, 2)),
            parameters={"units": 1000, "pips": "20.5", "nested": {"list": [1, None, True, "ü"]}},
            decisions=number,
            updated_ns=START_NS + number * SECOND,
        )
        return structs.replace(row, **changes)

    def signal(self, strategy: str = "floor", **changes: Any) -> Signal:
        number = self.next("signal")
        row = Signal(
            signal_id=f"sg-{self.execution}-{number}",
            execution=self.execution,
            strategy=strategy,
            symbol=self.random.choice(SYMBOLS),
            timeframe="M5",
            side=self.random.choice(list(Side)),
            confidence=self.amount(0, 100, 2),
            entry_price=self.amount(),
            stop_loss=self.amount(),
            take_profit=self.amount(),
            session=self.random.choice(SESSIONS),
            pattern_type=self.random.choice(PATTERNS),
            generated_at_ns=START_NS + number * SECOND,
            rl_state_key=f"s{number}",
            rl_action_key="buy",
        )
        return structs.replace(row, **changes)

    def trade(self, strategy: str | None = "floor", status: TradeStatus = TradeStatus.OPEN, **changes: Any) -> Trade:
        """A trade in some status, consistent in itself."""
        number = self.next("trade")
        created = START_NS + number * SECOND
        quantity, price = Decimal(self.random.randint(1, 100)), self.amount()
        entered = status not in (TradeStatus.PENDING, TradeStatus.FAILED)
        closed = status is TradeStatus.CLOSED
        side, exit_price = self.random.choice(list(TradeSide)), self.amount()
        value = quantity * price
        gross = (exit_price - price) * quantity * side.sign if closed else Decimal(0)
        row = Trade(
            trade_id=f"tr-{self.execution}-{number}",
            signal_id=None,
            execution=self.execution,
            account=self.account,
            strategy=strategy,
            venue="manual",
            symbol=self.random.choice(SYMBOLS),
            side=side,
            status=status,
            quantity=quantity,
            entered_quantity=quantity if entered else Decimal(0),
            entry_value=value if entered else Decimal(0),
            exited_quantity=quantity if closed else Decimal(0),
            exit_value=quantity * exit_price if closed else Decimal(0),
            open_cost=value if entered and not closed else Decimal(0),
            leverage=Decimal(30),
            margin=self.amount() if entered else Decimal(0),
            entry_time_ns=created + 7 if entered else None,
            entry_fee=self.amount(0, 100, 2) if entered else Decimal(0),
            entry_slippage=self.amount(-100, 100),
            exit_time_ns=created + self.random.randint(7, 5 * DAY_NS) if closed else None,
            exit_fee=self.amount(0, 100, 2) if closed else Decimal(0),
            exit_slippage=self.amount(-100, 100) if closed else Decimal(0),
            exit_reason=self.random.choice(list(CloseReason)) if closed else None,
            financing=self.amount(-100, 100, 2) if closed else Decimal(0),
            stop_loss=price / 2,
            initial_stop_loss=price / 2,
            take_profit=price * 2,
            trailing_distance=Decimal("0.0010"),
            exit_at_ns=created + DAY_NS,
            best_price=price * 2,
            worst_price=price / 2,
            gross_pnl=gross,
            session=self.random.choice(SESSIONS),
            timeframe="M5",
            pattern_type=self.random.choice(PATTERNS),
            model="gbm-3",
            confidence_score=self.amount(0, 100, 2),
            meta_strategy_id="meta-1",
            regime="trending",
            rl_state_key=f"s{number}",
            rl_action_key="hold",
            entry_order_id=f"tk-{self.execution}-{number}",
            exit_order_ids=(f"tx-{number}",) if closed else (),
            venue_order_id=f"v{number}",
            venue_trade_ids=(f"f{number}",),
            position_ref=None,
            liquidity="taker",
            correlation_id=f"c{number}",
            parameter_mode="normal",
            tags=("first", "zweite Ebene €"),
            metadata={"layer": number, "why": {"rsi": 28.5, "list": [1, None, "x"]}},
            entry_position=number,
            created_ns=created,
            updated_ns=created,
        )
        return structs.replace(row, **changes)

    def order(
        self, strategy: str | None = "floor", status: OrderStatus = OrderStatus.ACCEPTED, **changes: Any
    ) -> Order:
        number = self.next("order")
        filled = status in (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)
        row = Order(
            client_order_id=f"tk-{self.execution}-{number}",
            execution=self.execution,
            account=self.account,
            strategy=strategy,
            instrument=self.random.choice(SYMBOLS),
            side=self.random.choice(list(Side)),
            type=OrderType.LIMIT,
            purpose=Purpose.ENTRY,
            quantity=Decimal(1000),
            price=self.amount(),
            stop_price=None,
            expire_at_ns=START_NS + DAY_NS,
            oco_group="oco-1",
            after_cancel_of=("tk-x",),
            closes=("tr-x", "tr-y"),
            decision=number,
            leg=1,
            status=status,
            status_reason="",
            filled_quantity={OrderStatus.FILLED: Decimal(1000), OrderStatus.PARTIALLY_FILLED: Decimal(400)}.get(
                status, Decimal(0)
            ),
            filled_value=self.amount() if filled else Decimal(0),
            fee=self.amount(0, 100, 2) if filled else Decimal(0),
            venue_order_id=f"v-{self.execution}-{number}",
            correlation_id=f"c{number}",
            reference_price=self.amount(),
            created_ns=START_NS + number * SECOND,
            submitted_ns=START_NS + number * SECOND + 1,
            updated_ns=START_NS + number * SECOND + 2,
            deadline_ns=START_NS + DAY_NS,
            stamp=2 * number,
        )
        return structs.replace(row, **changes)

    def fill(self, client_order_id: str | None = None, **changes: Any) -> Fill:
        number = self.next("fill")
        row = Fill(
            fill_id=f"f{number}",
            account=self.account,
            venue=self.random.choice(("manual", "oanda")),
            instrument=self.random.choice(SYMBOLS),
            side=self.random.choice(list(Side)),
            quantity=Decimal(self.random.randint(1, 1000)),
            price=self.amount(),
            fee=self.amount(-100, 100, 4),
            realised=self.amount(-100_000, 100_000, 2),
            rate=Decimal("1.00000000000001"),
            liquidity=self.random.choice(list(Liquidity)),
            ts_ns=START_NS + number * SECOND,
            venue_order_id=f"v-{self.execution}-{number}",
            client_order_id=client_order_id,
            venue_sequence=number,
        )
        return structs.replace(row, **changes)

    def fill_of(self, order: Order, **changes: Any) -> Fill:
        """A fill of that order."""
        same = {"instrument": order.instrument, "side": order.side, "venue_order_id": order.venue_order_id or "v-new"}
        return self.fill(order.client_order_id, **same | changes)

    # --- what no script should write -------------------------------------------------------------------------------------

    def extreme_trade(self, number: int) -> Trade:
        """A trade of extremes, another for each number."""
        amounts = self._turned(EXTREME_AMOUNTS, number)
        indexed, texts = self._turned(EXTREME_TEXTS, number), self._turned(LONG_TEXTS, number)
        return self.trade(
            quantity=abs(amounts[0]) or Decimal("1E-24"),
            entered_quantity=abs(amounts[1]),
            entry_value=amounts[2],
            exited_quantity=Decimal(0),
            open_cost=amounts[3],
            entry_fee=amounts[4],
            entry_slippage=amounts[5],
            financing=amounts[6],
            stop_loss=amounts[0],
            initial_stop_loss=amounts[1],
            take_profit=None,
            leverage=None,
            gross_pnl=amounts[2],
            entry_time_ns=LAST_NS if number % 2 else 0,
            exit_at_ns=-LAST_NS,
            session=indexed[0],
            timeframe=None,
            pattern_type=indexed[1],
            model=texts[2],
            meta_strategy_id=texts[3],
            regime=texts[4],
            correlation_id=texts[5],
            tags=tuple(texts),
            metadata={text: [text, {"n": 2**63, "f": 0.1, "none": None}] for text in texts},
        )

    @staticmethod
    def _turned(values: tuple[Any, ...], number: int) -> list[Any]:
        at = number % len(values)
        return [*values[at:], *values[:at]]


def executed(signal: Signal) -> Signal:
    """The signal as it is once it was executed."""
    return structs.replace(signal, executed=True, execution_status=SignalStatus.EXECUTED)
