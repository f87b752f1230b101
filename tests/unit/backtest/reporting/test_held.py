"""What is open where figures end: each trade at the last price at which it could be left, in account currency."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.backtest.reporting.reports import closed, held
from tradekeel.backtest.reporting.held import newest, open_trades, total_of
from tradekeel.domain.positions import Quote
from tradekeel.domain.trades import TradeSide, TradeStatus

QUOTES = {
    "EUR_USD": Quote(Decimal("1.3900"), Decimal("1.3902"), 1),
    "USD_JPY": Quote(Decimal("99.99"), Decimal("100.01"), 1),
}


def test_a_long_is_worth_the_bid_and_a_short_the_ask() -> None:
    long, short = held(1), held(2, side=TradeSide.SHORT)
    found = open_trades([long, short, closed(3)], QUOTES, "USD")
    # 1,000 units at 1.3921 that could be sold at 1.3900, and bought back at 1.3902
    assert found.by_trade == {long.trade_id: Decimal("-2.10"), short.trade_id: Decimal("1.90")}
    assert (found.trades, found.unrealised) == (2, Decimal("-0.20")), (
        "the spread, which an account that nets would not pay"
    )


def test_what_is_left_of_a_trade_counts_with_what_it_has_cost() -> None:
    half = held(1, status=TradeStatus.CLOSING, exited_quantity=Decimal(600), open_cost=Decimal("556.84"))
    assert open_trades([half], QUOTES, "USD").unrealised == Decimal("-0.84")


def test_what_a_trade_has_booked_while_it_is_open_is_neither_closed_nor_unrealised() -> None:
    half = held(
        1, gross_pnl=Decimal("3.1"), entry_fee=Decimal("0.2"), exit_fee=Decimal("0.1"), financing=Decimal("-0.5")
    )
    assert open_trades([half, held(2), closed(3)], QUOTES, "USD").booked == Decimal("2.3") + held(2).pnl


def test_it_is_converted_into_the_account_currency() -> None:
    yen = held(1, symbol="USD_JPY", open_cost=Decimal(99_490))
    assert open_trades([yen], QUOTES, "USD").unrealised == Decimal("5.0000"), "500 yen at 100"


def test_without_a_price_or_a_rate_nobody_knows_and_no_sum_pretends_to() -> None:
    known, unknown = held(1), held(2, symbol="GBP_USD")
    found = open_trades([known, unknown], QUOTES, "USD")
    assert found.by_trade[unknown.trade_id] is None
    assert (found.trades, found.unrealised) == (2, None)
    assert open_trades([held(1)], {"EUR_USD": QUOTES["EUR_USD"]}, "CHF").unrealised is None
    assert total_of([known], found.by_trade) == Decimal("-2.10")


def test_nothing_is_open_is_zero() -> None:
    found = open_trades([closed(1)], QUOTES, "USD")
    assert (found.trades, found.unrealised, found.by_trade) == (0, Decimal(0), {})


def test_of_many_trades_the_newest_are_kept_and_the_open_ones_before_them() -> None:
    trades = [closed(0), held(1), held(2), *(closed(number) for number in range(3, 8))]
    assert newest(trades, 3) == [trades[1], trades[2], *trades[5:]]
    assert newest(trades, 1) == [trades[2], trades[7]], "as many at most"
    assert newest(trades, 8) == trades
