"""A market written down quote by quote, strategies that ask for what stands in a script, and what came of it.

A line of a market is ``[INSTRUMENT] BID ASK [BIDSIZExASKSIZE] [@TIME]``: EUR_USD one second behind the line before, unless it
says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import Struct

from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.run import run
from tradekeel.backtest.setup import Setup, Traded
from tradekeel.backtest.source import TicksSource
from tradekeel.domain import records as r
from tradekeel.domain.entries import Entry
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.domain.messages import Enter, Exit, Fill, Request, TransactionKind, VenueTransaction
from tradekeel.domain.orders import Order, OrderType, Side
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import Trade
from tradekeel.strategies.base import AnyStrategy, Strategy, StrategyContext

EUR = "EUR_USD"
LIMIT = OrderType.LIMIT
START = "2024-01-03T13:00:00Z"
"""A Wednesday, with London and New York open."""


def ns(moment: str) -> int:
    """A moment as text, in nanoseconds."""
    return int(datetime.fromisoformat(moment).timestamp()) * NS_PER_S


def tape(*lines: str) -> list[Tick]:
    """The ticks of a market that is written down."""
    ticks: list[Tick] = []
    ts_ns = ns(START) - NS_PER_S
    for position, line in enumerate(lines, start=1):
        words = line.split()
        instrument = words.pop(0) if "_" in words[0] else EUR
        ts_ns += NS_PER_S
        if words[-1].startswith("@"):
            ts_ns = ns(words.pop()[1:])
        bid_size, ask_size = words[2].split("x") if len(words) > 2 else (None, None)
        ticks.append(
            Tick(
                instrument,
                ts_ns,
                Decimal(words[0]),
                Decimal(words[1]),
                position,
                None if bid_size is None else Decimal(bid_size),
                None if ask_size is None else Decimal(ask_size),
            )
        )
    return ticks


# --- who trades -------------------------------------------------------------------------------------------------------

Line = Sequence[Request] | Callable[[StrategyContext], Sequence[Request]]
"""What is asked for at a tick; what has to name a trade or an order that there is by then is a function of the context."""


class Nothing(Struct, frozen=True):
    """No parameters."""


class At(Struct, frozen=True):
    """The last tick that was seen: nothing else is known."""

    tick: int = 0


class Script(Strategy[Nothing, At]):
    """Asks at given ticks for given things."""

    kind = "script"
    Params = Nothing
    State = At

    def __init__(self, script: Mapping[int, Line]) -> None:
        super().__init__(Nothing())
        self._script = dict(script)

    def on_tick(self, tick: Tick, state: At, context: StrategyContext) -> tuple[At, Sequence[Request]]:
        line = self._script.get(tick.position, ())
        return At(tick.position), line(context) if callable(line) else line


def buy(quantity: str, *, instrument: str = EUR, **more: Any) -> Enter:
    """A long entry."""
    return Enter(instrument=instrument, side=Side.BUY, quantity=Decimal(quantity), **_exact(more))


def sell(quantity: str, *, instrument: str = EUR, **more: Any) -> Enter:
    """A short entry."""
    return Enter(instrument=instrument, side=Side.SELL, quantity=Decimal(quantity), **_exact(more))


def leave(quantity: str | None = None, *, instrument: str = EUR) -> Exit:
    """An exit of the oldest trades; of all of them where no quantity is named."""
    return Exit(instrument=instrument, quantity=None if quantity is None else Decimal(quantity))


def leave_trade(number: int, quantity: str | None = None) -> Callable[[StrategyContext], Sequence[Request]]:
    """An exit of the n-th open trade, counted from 0."""

    def line(context: StrategyContext) -> Sequence[Request]:
        trade = context.open_trades[number]
        part = None if quantity is None else Decimal(quantity)
        return [Exit(instrument=trade.symbol, trade_id=trade.trade_id, quantity=part)]

    return line


_AMOUNTS = frozenset(("price", "stop_price", "stop_loss", "take_profit", "trailing_distance"))


def _exact(more: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if name in _AMOUNTS else value for name, value in more.items()}


# --- the account ------------------------------------------------------------------------------------------------------


def account(
    strategies: Mapping[str, AnyStrategy],
    *,
    instruments: Sequence[str] = (EUR,),
    currency: str = "USD",
    deposit: str = "10000",
    leverage: str | None = "30",
    hedging: bool = False,
    exits_at_venue: bool = True,
    settings: PaperSettings | None = None,
    limits: RiskLimits | None = None,
) -> Setup:
    """An account that these strategies trade."""
    cap = None if leverage is None else Decimal(leverage)
    return Setup(
        execution="scene",
        terms=AccountTerms(
            account="a",
            venue="paper",
            currency=currency,
            instruments={symbol: CATALOGUE[symbol] for symbol in instruments},
            exits_at_venue=exits_at_venue,
            hedging=hedging,
            leverage=cap,
        ),
        paper=PaperAccount(account="a", currency=currency, deposit=Decimal(deposit), leverage=cap, hedging=hedging),
        settings=settings or PaperSettings(),
        limits=limits or RiskLimits(),
        venue_instruments=CATALOGUE,
        traded=tuple(
            Traded(
                strategy=strategy,
                row=StrategyRow(
                    execution="",
                    strategy=name,
                    kind=strategy.kind,
                    status=StrategyStatus.ACTIVE,
                    instruments=tuple(instruments),
                    parameters={},
                ),
            )
            for name, strategy in strategies.items()
        ),
    )


# --- what came of it --------------------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """One fill: at which tick, what, and what was booked with it."""

    tick: int
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal


def filled(tick: int, side: str, quantity: str, price: str, *, fee: str = "0", realised: str = "0") -> Filled:
    """A fill as it is expected."""
    return Filled(tick, side, Decimal(quantity), Decimal(price), Decimal(fee), Decimal(realised))


class RoundTrip(NamedTuple):
    """One trade as it stood at the end."""

    side: str
    entered: Decimal
    entry_value: Decimal  # price times quantity, over all entries: exact, as an average is not
    exited: Decimal
    exit_value: Decimal
    pnl: Decimal
    reason: str | None


def traded(side: str, entry: str, exit: str | None, *, pnl: str, reason: str | None) -> RoundTrip:
    """A trade as it is expected; ``entry`` and ``exit`` are sums of ``QUANTITY*PRICE``, an exit of None is none."""
    entered, entry_value = _sum(entry)
    exited, exit_value = (Decimal(0), Decimal(0)) if exit is None else _sum(exit)
    return RoundTrip(side, entered, entry_value, exited, exit_value, Decimal(pnl), reason)


def _sum(text: str) -> tuple[Decimal, Decimal]:
    parts = [[Decimal(number) for number in part.split("*")] for part in text.split("+")]
    return sum((q for q, _ in parts), Decimal(0)), sum((q * p for q, p in parts), Decimal(0))


class Played:
    """A run that is over, and its books."""

    def __init__(self, kernel: Kernel, entries: Sequence[Entry], ticks: Sequence[Tick]) -> None:
        self.kernel, self.entries, self._ticks = kernel, entries, ticks

    @property
    def record(self) -> list[VenueTransaction]:
        """The venue's record."""
        return [e.record.transaction for e in self.entries if isinstance(e.record, r.VenueReported)]

    @property
    def fills(self) -> list[Filled]:
        """All fills; the time of each is that of the tick at which it happened."""
        found = []
        for news in self.record:
            fill = news.fill
            if fill is not None:
                assert fill.ts_ns == news.ts_ns == self._ticks[news.position - 1].ts_ns
                assert fill.instrument == self._ticks[news.position - 1].instrument or news.reason == "margin_call"
                found.append(Filled(news.position, fill.side.value, fill.quantity, fill.price, fill.fee, fill.realised))
        return found

    @property
    def venue_fills(self) -> list[Fill]:
        """All fills as the venue told them."""
        return [news.fill for news in self.record if news.fill is not None]

    @property
    def trades(self) -> list[RoundTrip]:
        """All trades as they stood at the end, by the order of their decisions."""
        return [
            RoundTrip(
                trade.side.value,
                trade.entered_quantity,
                trade.entry_value,
                trade.exited_quantity,
                trade.exit_value,
                trade.pnl,
                None if trade.exit_reason is None else trade.exit_reason.value,
            )
            for trade in self.rows(Trade, "trade_id")
        ]

    @property
    def orders(self) -> list[Order]:
        """All orders as they stood at the end, by the order of their decisions."""
        return self.rows(Order, "client_order_id")

    def rows(self, kind: type[Any], key: str) -> list[Any]:
        """The last version of each row of a kind."""
        latest: dict[str, Any] = {}
        for entry in self.entries:
            for row in entry.rows:
                if type(row) is kind:
                    latest[getattr(row, key)] = row
        return list(latest.values())

    def told(self, *kinds: TransactionKind) -> list[tuple[int, str]]:
        """The ticks and reasons of some of the venue's entries."""
        return [(news.position, news.reason) for news in self.record if news.kind in kinds]

    def ends(self, *, balance: str, equity: str) -> bool:
        """Whether the venue, our books and the monitor all end with these figures. To be asserted; says which do not."""
        there, book = self.kernel.account.exchange.matcher.balance(), self.kernel.account.book
        wanted = (Decimal(balance), Decimal(balance), Decimal(equity), Decimal(equity))
        found = (there.balance, book.money.balance, there.equity, self.kernel.monitor.equity())
        assert found == wanted, "balance there, balance here, equity there, equity here"
        return True


def play(setup: Setup, ticks: Sequence[Tick], *, window_ticks: int = 2_048, **timeframes: Sequence[str]) -> Played:
    """Run it to the end."""
    journal = MemoryJournal()
    ran = run(setup, TicksSource(ticks, window_ticks=window_ticks, timeframes=timeframes), journal)
    assert ran.completed
    return Played(ran.kernel, journal.entries, ticks)


def alone(script: Mapping[int, Line], ticks: Sequence[Tick], **terms: Any) -> Played:
    """One scripted strategy on an account of these terms."""
    return play(account({"s": Script(script)}, **terms), ticks)
