"""What a backtest's books say is what a dumb account makes of the venue's fills, to the last digit, whoever trades what.

Strategies that want anything at all trade a lively market of several instruments over a night and a weekend. After each window of
ticks the venue's account, our books, and the dumb one are compared; then the trades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import pytest

from tests.unit.backtest.dumb import COST, DumbAccount, nearest
from tests.unit.backtest.lively import MIDS, World, market
from tests.unit.backtest.scene import Played
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.proof import prove
from tradekeel.backtest.setup import begin
from tradekeel.backtest.source import TicksSource
from tradekeel.domain import records as r
from tradekeel.domain.messages import Liquidity, TransactionKind, VenueTransaction
from tradekeel.domain.ticks import Tick
from tradekeel.domain.trades import Trade, TradeStatus

pytestmark = pytest.mark.untraced
"""The lines of a run are those of the tests of its exactness."""

ZERO = Decimal(0)
TICKS = 300
WINDOW_TICKS = 40
SEEDS = range(4)

PATHS = {
    "USD": {"USD": [], "GBP": ["GBP_USD"], "CAD": ["-USD_CAD"]},
    "EUR": {"USD": ["-EUR_USD"], "GBP": ["-EUR_GBP"], "CAD": ["-USD_CAD", "-EUR_USD"]},
}

WORLDS = {
    "netting": World(),
    "netting, exits at the venue": World(exits_at_venue=True, sizes=True),
    "netting in euros": World(currency="EUR", sizes=True, latency_ms=1_500),
    "netting on a bad line": World(exits_at_venue=True, faults="0.1"),
    "hedging": World(hedging=True, exits_at_venue=True),
    "hedging in euros": World(hedging=True, currency="EUR", sizes=True),
    "margin calls": World(deposit="240", call_level="1.05", exits_at_venue=True),
    "margin calls of layers": World(deposit="240", call_level="1.05", hedging=True),
}


class Twin:
    """The dumb account beside the real one: it reads the venue's record, tick by tick."""

    def __init__(self, world: World, ticks: Sequence[Tick]) -> None:
        self.account = DumbAccount(PATHS[world.currency], "0.0001", "30", world.maker, "0.05")
        self._ticks, self._read, self._quoted = ticks, 0, 0

    def follow(self, record: Sequence[VenueTransaction], position: int) -> None:
        """Everything up to a tick; each entry must leave the balance that the venue wrote behind it."""
        for news in record[self._read :]:
            self._quote(news.position)
            self._book(news)
            assert news.balance == self.account.balance, f"behind entry {news.sequence}"
        self._read = len(record)
        self._quote(position)

    def _quote(self, position: int) -> None:
        for tick in self._ticks[self._quoted : position]:
            self.account.quotes[tick.instrument] = (tick.bid, tick.ask)
        self._quoted = max(self._quoted, position)

    def _book(self, news: VenueTransaction) -> None:
        fill = news.fill
        if news.kind is TransactionKind.DEPOSITED:
            self.account.deposits += news.amount
        elif news.kind is TransactionKind.FINANCED:
            self.account.financing += news.amount
        elif fill is not None:
            symbol, size, price = fill.instrument, fill.quantity, fill.price
            assert fill.rate == self.account.rate(symbol), f"entry {news.sequence}"
            fee = self.account.charge(fill.venue_order_id, symbol, size, price, fill.liquidity.value)
            earned = self.account.fill(symbol, fill.position_ref, fill.side.sign, size, price)
            assert (fill.fee, fill.realised) == (fee, earned), f"entry {news.sequence}"


@cache
def played(world: World, seed: int) -> Played:
    """A run, compared with its twin after each window."""
    ticks = market(seed, TICKS, sizes=world.sizes)
    source, journal = TicksSource(ticks, window_ticks=WINDOW_TICKS), MemoryJournal()
    kernel = begin(world.setup(seed), journal, ticks[0].ts_ns)
    done, twin = Played(kernel, journal.entries, ticks), Twin(world, ticks)
    for window in source.windows():
        kernel.conduct(window)
        kernel.rest()
        twin.follow(done.record, window.last_position)
        agree(done, twin.account)
    kernel.end()
    kernel.rest()
    twin.follow(done.record, len(ticks))
    agree(done, twin.account)
    return done


def agree(done: Played, dumb: DumbAccount) -> None:
    """Balance, its parts, positions with their cost, and equity: at the venue, in our books, and by the dumb account."""
    kernel = done.kernel
    prove(kernel)
    book, matcher = kernel.account.book, kernel.account.exchange.matcher
    there = matcher.balance()
    wanted = (dumb.deposits, dumb.realised, dumb.financing, dumb.fees)
    assert (there.deposits, there.realised, there.financing, there.fees) == wanted
    assert (book.money.deposits, book.money.realised, book.money.financing, book.money.fees) == wanted
    assert there.balance == book.money.balance == kernel.monitor.view.balance == dumb.balance
    held = {key: (quantity, cost) for key, (quantity, cost) in dumb.held.items()}
    assert {(p.instrument, p.ref): (p.quantity, p.cost) for p in matcher.positions()} == held
    assert {key: (p.quantity, p.cost) for key, p in book.positions.items()} == held
    assert there.equity == dumb.equity()
    # The monitor rounds position by position, the venue all layers of an instrument in one.
    layers = len(held) - len({symbol for symbol, _ in held})
    watched = kernel.monitor.equity()
    assert watched is not None
    assert abs(watched - dumb.equity()) <= dumb.step * layers


def trades_agree(done: Played) -> None:
    """Each trade is what its parts of the fills come to, and all of them what the account has earned and paid."""
    book = done.kernel.account.book
    trades: list[Trade] = done.rows(Trade, "trade_id")
    gross: dict[str, Decimal] = defaultdict(Decimal)
    fees: dict[str, Decimal] = defaultdict(Decimal)
    units: dict[str, Decimal] = defaultdict(Decimal)
    cost: dict[str, Decimal] = defaultdict(Decimal)
    sign = {trade.trade_id: trade.side.sign for trade in trades}
    for entry in done.entries:
        if not isinstance(entry.record, r.VenueReported) or entry.record.transaction.fill is None:
            continue
        fill, parts = entry.record.transaction.fill, entry.record.allocations
        assert sum((part.quantity for part in parts), ZERO) == fill.quantity
        assert sum((part.fee for part in parts), ZERO) == fill.fee
        for part in parts:
            one = part.trade_id
            fees[one] += part.fee
            if part.opens:
                units[one] += part.quantity
                cost[one] += part.quantity * fill.price
                continue
            released = (
                nearest(cost[one] * part.quantity / units[one], COST) if part.quantity < units[one] else cost[one]
            )
            gross[one] += nearest((part.quantity * fill.price - released) * sign[one] * fill.rate, Decimal("0.0001"))
            units[one] -= part.quantity
            cost[one] -= released
    for trade in trades:
        one = trade.trade_id
        assert (trade.open_quantity, trade.open_cost) == (units[one], cost[one])
        assert (trade.gross_pnl, trade.entry_fee + trade.exit_fee) == (gross[one], fees[one])
        assert trade.pnl == gross[one] - fees[one] + trade.financing
    money = book.money
    assert sum((trade.financing for trade in trades), ZERO) == money.financing
    assert sum(fees.values(), ZERO) == money.fees
    assert sum(gross.values(), ZERO) + book.attribution == money.realised
    earned = sum((trade.pnl for trade in trades), ZERO) + book.attribution
    assert money.deposits + earned == money.balance


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WORLDS)
def test_the_books_are_what_a_dumb_account_makes_of_the_fills(name: str, seed: int) -> None:
    done = played(WORLDS[name], seed)
    trades_agree(done)
    if WORLDS[name].hedging:
        assert done.kernel.account.book.attribution == ZERO, "each layer is a position of its own: nothing is netted"


@pytest.mark.parametrize("name", WORLDS)
def test_all_that_moves_money_happens_in_these_runs(name: str) -> None:
    world = WORLDS[name]
    runs = [played(world, seed) for seed in SEEDS]
    trades: list[Trade] = [trade for done in runs for trade in done.rows(Trade, "trade_id")]
    assert sum(trade.status is TradeStatus.CLOSED for trade in trades) > 50
    assert {fill.instrument for done in runs for fill in done.venue_fills} == set(MIDS)
    kinds = {news.kind for done in runs for news in done.record}
    assert {TransactionKind.FINANCED, TransactionKind.ORDER_CANCELED} <= kinds
    assert (TransactionKind.MARGIN_CALLED in kinds) is (world.call_level != "0.5")
    netted = any(done.kernel.account.book.attribution for done in runs)
    assert netted is not world.hedging
    in_parts = any(len({f.venue_order_id for f in done.venue_fills}) < len(done.venue_fills) for done in runs)
    assert in_parts or not world.sizes
    makers = [fill for done in runs for fill in done.venue_fills if fill.liquidity is Liquidity.MAKER]
    assert makers
