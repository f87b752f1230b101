"""The money: realised profit, commission, conversion, financing, margin and margin calls, to the last digit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import pytest

from tests.unit.domain.matching_desk import NS, START_S, D, Desk, stop
from tradekeel.domain.matching import Commission, FinancingRate, Slippage
from tradekeel.domain.messages import TransactionKind


def round_trip(desk: Desk, side: str = "buy", quantity: int = 1000) -> None:
    """In at 1.10010 or 1.10000, out at 1.10100 or 1.10110."""
    desk.place("in", side, quantity)
    desk.tick("1.10000/1.10010")
    desk.place("out", "sell" if side == "buy" else "buy", quantity)
    desk.tick("1.10100/1.10110")


class TestProfit:
    def test_of_a_long_is_booked_with_the_closing_fill(self):
        desk = Desk()
        round_trip(desk)
        fill = desk.record[-1].fill
        assert fill is not None
        assert (fill.realised, fill.fee, fill.rate) == (D("0.9"), D(0), D(1))
        assert desk.record[-1].balance == D("10000.9")

    def test_of_a_short_is_booked_with_the_closing_fill(self):
        desk = Desk()
        round_trip(desk, "sell")
        assert desk.record[-1].balance == D("9998.9")

    def test_of_a_flip_is_that_of_the_part_that_closed(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.place("flip", "sell", 3000)
        desk.tick("1.10100/1.10110")
        fill = desk.record[-1].fill
        assert fill is not None
        assert (fill.quantity, fill.realised) == (D(3000), D("0.9"))
        (position,) = desk.matcher.positions()
        assert (position.quantity, position.cost) == (D(-2000), D(-2202))

    def test_not_yet_realised_is_worth_what_closing_now_would_bring(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.tick("1.10050/1.10070")
        balance = desk.matcher.balance()
        assert (balance.balance, balance.unrealised, balance.equity) == (D(10000), D("0.4"), D("10000.4"))

    def test_in_another_currency_is_converted_at_the_mid_of_the_tick_and_the_rate_is_told(self):
        desk = Desk(quote=None)
        desk.tick("101.000/101.020", "USD_JPY")
        desk.place("in", "buy", 1000, instrument="USD_JPY")
        desk.tick("101.000/101.020", "USD_JPY")
        desk.place("out", "sell", 1000, instrument="USD_JPY")
        desk.tick("102.000/102.020", "USD_JPY")
        fill = desk.record[-1].fill
        assert fill is not None
        # 980 yen at 1 / 102.01
        assert (fill.rate, fill.realised) == (D("0.00980296049407"), D("9.6069"))

    def test_goes_through_a_third_currency_where_it_must(self):
        desk = Desk()  # EUR_USD has been seen at 1.10005 mid
        desk.tick("0.80000/0.80020", "EUR_GBP")
        desk.place("in", "buy", 1000, instrument="EUR_GBP")
        desk.tick("0.80000/0.80020", "EUR_GBP")
        desk.place("out", "sell", 1000, instrument="EUR_GBP")
        desk.tick("0.81000/0.81020", "EUR_GBP")
        fill = desk.record[-1].fill
        assert fill is not None
        # GBP to EUR is 1 / 0.8101, EUR to USD 1.10005
        assert fill.rate == D("1.35791877545982")
        assert fill.realised == D("13.3076")  # 9.80 pounds

    def test_without_a_way_to_convert_it_no_order_is_taken(self):
        desk = Desk()
        desk.tick("0.80000/0.80020", "AUD_CHF")
        assert desk.place("a", "buy", 1000, instrument="AUD_CHF") == ["a rejected (NO_CONVERSION)"]

    def test_is_converted_at_a_fixed_rate_until_the_pair_is_seen(self):
        desk = Desk(conversion_rates={"USD_CHF": D("0.5")})
        desk.tick("0.80000/0.80000", "AUD_CHF")
        desk.place("a", "buy", 1000, instrument="AUD_CHF")
        desk.tick("0.80000/0.80000", "AUD_CHF")
        desk.tick("0.81000/0.81000", "AUD_CHF")
        assert desk.matcher.balance().unrealised == 20
        desk.tick("0.80000/0.80000", "USD_CHF")
        assert desk.matcher.balance().unrealised == D("12.5")


class TestCommission:
    @pytest.mark.parametrize(
        ("model", "fee"),
        [
            (Commission(model="per_unit", taker=D("0.00002")), "0.02"),
            (Commission(model="per_lot", taker=D("3.5")), "0.035"),
            (Commission(model="per_million", taker=D(25)), "0.0276"),  # 1100.10 * 25 / 1e6 = 0.0275025
            (Commission(model="percent", taker=D("0.01")), "0.1101"),  # 1100.10 * 0.0001 = 0.11001
            (Commission(model="per_unit", taker=D("0.00002"), minimum=D(1)), "1"),
        ],
    )
    def test_by_model_is_rounded_up_to_what_is_booked(self, model: Commission, fee: str):
        desk = Desk(commission=model)
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        assert desk.record[-1].fill is not None
        assert desk.record[-1].fill.fee == D(fee)
        assert desk.record[-1].balance == 10000 - D(fee)

    @pytest.mark.parametrize(
        ("lot", "fees"),
        [(None, [D("0.035"), D("1.75")]), (D(10_000), [D("0.35"), D("0.0002")])],
    )
    def test_by_lot_is_by_the_instruments_unless_it_has_its_own(self, lot: D | None, fees: list[D]):
        desk = Desk(
            commission=Commission(model="per_lot", taker=D("3.5"), lot=lot), conversion_rates={"USDT_USD": D(1)}
        )
        desk.tick("9000/9001", "BTC_USDT")
        desk.place("in", "buy", 1000)
        desk.place("coin", "buy", "0.5", instrument="BTC_USDT")
        desk.tick("1.10000/1.10010")
        desk.tick("9000/9001", "BTC_USDT")
        assert [entry.fill.fee for entry in desk.record if entry.fill] == fees

    def test_of_a_maker_is_the_makers(self):
        desk = Desk(commission=Commission(model="per_unit", taker=D("0.001"), maker=D("0.0001")))
        desk.place("taker", "buy", 1000)
        desk.place("maker", "buy", 1000, "limit", price="1.09000")
        desk.tick("1.10000/1.10010")
        desk.tick("1.08990/1.09000")
        assert [entry.fill.fee for entry in desk.record if entry.fill] == [1, D("0.1")]

    def test_minimum_and_rounding_are_once_an_order_however_many_fills_it_takes(self):
        desk = Desk(commission=Commission(model="per_unit", taker=D("0.000033"), minimum=D("0.01")))
        desk.place("in", "buy", 1000)
        for _ in range(10):
            desk.tick("1.10000/1.10010", ask_size=100)
        fees = [entry.fill.fee for entry in desk.record if entry.fill]
        assert fees[0] == D("0.01")  # the minimum
        assert sum(fees) == D("0.033")
        assert len(fees) == 10

    def test_in_yen_notional_is_converted(self):
        desk = Desk(quote=None, commission=Commission(model="percent", taker=D("0.01")))
        desk.tick("100.000/100.000", "USD_JPY")
        desk.place("in", "buy", 1000, instrument="USD_JPY")
        desk.tick("100.000/100.000", "USD_JPY")
        assert desk.record[-1].balance == D("9999.9")


class TestSlippage:
    @pytest.mark.parametrize(
        ("model", "buy", "sell"),
        [
            (Slippage(model="fixed", pips=D("0.3")), "1.10013", "1.09997"),
            (Slippage(model="spread", share=D("0.5")), "1.10015", "1.09995"),
            (Slippage(model="impact", pips=D("0.5"), quantity=D(1000)), "1.10020", "1.09990"),
        ],
    )
    def test_makes_market_orders_worse(self, model: Slippage, buy: str, sell: str):
        desk = Desk(slippage=model)
        desk.place("b", "buy", 2000)
        desk.place("s", "sell", 2000)
        assert desk.tick("1.10000/1.10010") == [f"b buy 2000 at {buy} taker", f"s sell 2000 at {sell} taker"]

    def test_makes_stops_worse_and_leaves_limits_alone(self):
        desk = Desk(slippage=Slippage(model="fixed", pips=D(1)))
        desk.place("stop", "sell", 1000, "stop", stop_price="1.09950")
        desk.place("limit", "buy", 1000, "limit", price="1.09960")
        assert desk.tick("1.09950/1.09960") == [
            "stop sell 1000 at 1.09940 taker",
            "limit buy 1000 at 1.09960 taker",
        ]

    def test_by_chance_is_between_nothing_and_its_most_and_does_not_depend_on_ids(self):
        prices = set()
        for name in ("a", "b"):
            desk = Desk(deposit="1000000", slippage=Slippage(model="random", pips=D("0.5")), seed=3)
            told = []
            for number in range(60):
                desk.place(f"{name}{number}", "buy", 1000)
                told.append(desk.tick("1.10000/1.10010")[0].split(" ", 1)[1])
            prices.add(tuple(told))
        assert len(prices) == 1
        seen = {D(line.split()[3]) for line in prices.pop()}
        assert seen == {D("1.10010") + D("0.00001") * n for n in range(6)}

    def test_never_makes_a_price_of_nothing(self):
        desk = Desk(slippage=Slippage(model="fixed", pips=D(20_000)), margin_call_level=None)
        desk.place("s", "sell", 1)
        assert desk.tick("1.10000/1.10010") == ["s sell 1 at 0.00001 taker"]


def at(moment: str) -> float:
    """Seconds from the desk's first tick to a UTC moment."""
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - START_S - 1


class TestFinancing:
    RATES: ClassVar = {"EUR_USD": FinancingRate(long=D("-3.65"), short=D("1.825"))}

    def long(self, desk: Desk, quantity: int = 1000) -> None:
        desk.place("in", "buy" if quantity > 0 else "sell", abs(quantity))
        desk.tick("1.10000/1.10010", after_s=0)

    def test_is_booked_at_17_new_york_at_the_first_tick_from_then_on(self):
        desk = Desk(financing=self.RATES)
        self.long(desk)
        assert desk.tick("1.20000/1.20010", after_s=at("2014-05-13 20:59:59")) == []
        told = desk.tick("1.30000/1.30010", after_s=1)
        # one night on 1000 units at the last mark before it, 1.20005: 1200.05 * 3.65 % / 365
        assert told == ["EUR_USD financed -0.1200 (1 night)"]
        assert desk.record[-1].balance == D("9999.88")
        assert desk.record[-1].ts_ns == int(datetime(2014, 5, 13, 21, tzinfo=UTC).timestamp()) * NS
        assert desk.tick("1.30000/1.30010") == []

    def test_counts_three_nights_on_wednesday(self):
        desk = Desk(financing=self.RATES)
        self.long(desk, -1000)
        told = desk.tick("1.10000/1.10010", after_s=at("2014-05-14 21:00:00"))
        assert told == ["EUR_USD financed 0.0550 (1 night)", "EUR_USD financed 0.1650 (3 nights)"]

    def test_counts_them_on_thursday_where_a_pair_settles_in_one_day(self):
        rates = {
            symbol: FinancingRate(unit="pips_per_day", long=D("-1"), short=D(1)) for symbol in ("EUR_USD", "USD_CAD")
        }
        desk = Desk(financing=rates)
        desk.tick("1.25000/1.25010", symbol="USD_CAD")
        desk.place("eur", "buy", 1000)
        desk.place("cad", "buy", 1000, instrument="USD_CAD")
        desk.tick("1.10000/1.10010")
        desk.tick("1.25000/1.25010", symbol="USD_CAD")
        told = desk.tick("1.10000/1.10010", after_s=at("2014-05-14 21:00:00"))
        assert [line.split(" (")[1] for line in told] == ["1 night)", "1 night)", "3 nights)", "1 night)"]
        assert [line.split()[0] for line in told] == ["EUR_USD", "USD_CAD"] * 2, "one roll after the other"
        told = desk.tick("1.10000/1.10010", after_s=86_400)
        assert [line.split(" (")[1] for line in told] == ["1 night)", "3 nights)"]

    def test_over_a_weekend_counts_friday_only(self):
        desk = Desk(financing=self.RATES)
        desk.tick("1.10000/1.10010", after_s=at("2014-05-16 20:00:00"))
        self.long(desk)
        assert desk.tick("1.10000/1.10010", after_s=3600 * 48) == ["EUR_USD financed -0.1100 (1 night)"]

    def test_moves_with_daylight_saving(self):
        desk = Desk(financing=self.RATES)
        desk.tick("1.10000/1.10010", after_s=at("2014-12-09 12:00:00"))
        self.long(desk)
        assert desk.tick("1.10000/1.10010", after_s=3600 * 9.5) == []  # 21:30 UTC, 16:30 in New York
        assert desk.tick("1.10000/1.10010", after_s=1800) == ["EUR_USD financed -0.1100 (1 night)"]

    def test_in_pips_a_day(self):
        rate = FinancingRate(unit="pips_per_day", long=D("-0.7"), short=D("0.2"))
        desk = Desk(financing={"EUR_USD": rate})
        self.long(desk)
        told = desk.tick("1.10000/1.10010", after_s=at("2014-05-13 21:00:00"))
        assert told == ["EUR_USD financed -0.0700 (1 night)"]

    def test_concerns_nobody_without_a_position(self):
        desk = Desk(financing=self.RATES)
        assert desk.tick("1.10000/1.10010", after_s=at("2014-05-23 21:00:00")) == []
        self.long(desk)
        assert desk.tick("1.10000/1.10010", after_s=1) == []

    def test_on_a_hedging_account_is_booked_for_each_position(self):
        desk = Desk(hedging=True, financing=self.RATES)
        self.long(desk, 1000)
        self.long(desk, -1000)
        desk.tick("1.10000/1.10010", after_s=at("2014-05-13 21:00:00"))
        booked = [e for e in desk.record if e.kind is TransactionKind.FINANCED]
        assert [(e.venue_order_id, e.amount) for e in booked] == [("2", D("-0.11")), ("4", D("0.055"))]


class TestMargin:
    def test_used_is_the_instruments_share_of_notional_at_mid(self):
        desk = Desk()
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        assert desk.matcher.balance().margin_used == D("36.6317")  # 1000 * 1.10005 * 0.0333, to four digits

    def test_is_at_least_what_the_accounts_leverage_asks_for(self):
        desk = Desk(leverage="10")
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        assert desk.matcher.balance().margin_used == D("110.005")

    def test_must_cover_a_market_order_when_it_is_placed(self):
        desk = Desk(deposit="110", leverage="10")
        assert desk.place("b", "buy", 1000) == ["b rejected (INSUFFICIENT_MARGIN)"]
        assert desk.place("a", "buy", 999) == ["a accepted 999"]

    def test_must_cover_any_order_when_it_fills(self):
        desk = Desk(deposit="110", leverage="10")
        desk.place("a", "buy", 999)
        desk.place("b", "buy", 999)
        assert desk.tick("1.10000/1.10010") == ["a buy 999 at 1.10010 taker", "b canceled 999 (INSUFFICIENT_MARGIN)"]

    def test_must_cover_the_commission_too(self):
        desk = Desk(
            deposit="110", leverage="10", quote="1.1/1.1", commission=Commission(model="per_unit", taker=D("1e-6"))
        )
        assert desk.place("a", "buy", 1000) == ["a rejected (INSUFFICIENT_MARGIN)"]
        assert Desk(deposit="110", leverage="10", quote="1.1/1.1").place("a", "buy", 1000) == ["a accepted 1000"]

    def test_is_not_asked_of_what_reduces(self):
        desk = Desk(deposit="111", leverage="10")
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        desk.place("out", "sell", 1000)
        assert desk.tick("1.09000/1.09010") == ["out sell 1000 at 1.09000 taker"]

    def test_is_asked_of_the_part_that_flips(self):
        desk = Desk(deposit="111", leverage="10")
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10010")
        assert desk.place("flip", "sell", 2100) == ["flip rejected (INSUFFICIENT_MARGIN)"]
        assert desk.place("turn", "sell", 2000) == ["turn accepted 2000"]

    def test_counts_both_sides_of_a_hedging_account(self):
        desk = Desk(deposit="221", leverage="10", hedging=True)
        desk.place("a", "buy", 1000)
        desk.place("b", "sell", 1000)
        desk.tick("1.10000/1.10000")
        assert desk.matcher.balance().margin_used == 220
        assert desk.place("c", "sell", 100) == ["c rejected (INSUFFICIENT_MARGIN)"]


class TestMarginCall:
    def test_closes_whole_positions_at_the_market_the_largest_loss_first_until_the_level_is_restored(self):
        desk = Desk(deposit="500", leverage="10", hedging=True)
        desk.place("small", "buy", 1000)
        desk.place("large", "buy", 3000)
        desk.tick("1.10000/1.10000")
        # margin 440 at 1.10; at 1.03: equity 500 - 280 = 220, margin 412, level 53 %
        assert desk.tick("1.03000/1.03000") == []
        # at 1.02: equity 180, margin 408, level 44 %
        assert desk.tick("1.02000/1.02000") == [
            "margin_called 0 (equity 180.0000 at or below 0.5 of margin 408.0000)",
            "- sell 3000 at 1.02000 taker (margin_call)",
        ]
        assert [p.ref for p in desk.matcher.positions()] == ["2"]
        fill = desk.record[-1].fill
        assert fill is not None
        assert (fill.client_order_id, fill.venue_order_id, fill.position_ref) == (None, fill.fill_id, "3")
        assert fill.realised == -240

    def test_takes_the_exits_of_what_it_closes_with_it(self):
        desk = Desk(deposit="120", leverage="10")
        desk.place("in", "buy", 1000, attached=(stop("sl", "0.90000"),))
        desk.tick("1.10000/1.10000")
        assert desk.tick("1.03000/1.03000")[1:] == [
            "- sell 1000 at 1.03000 taker (margin_call)",
            "sl canceled 1000 (nothing_to_reduce)",
        ]

    def test_comes_exactly_at_the_level(self):
        desk = Desk(deposit="110", leverage="10", quote="1.10000/1.10000")
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10000")
        # 110 - 1000 * (1.1 - p) against half of 100 * p: the level is at 1.0421052...
        assert desk.tick("1.04211/1.04211") == []
        assert desk.tick("1.04210/1.04210") != []

    def test_comes_at_a_level_that_is_met_to_the_last_digit(self):
        desk = Desk(deposit="110", leverage="10", quote="1.1/1.1", margin_call_level=D(1))
        desk.place("in", "buy", 1000)
        assert desk.tick("1.1/1.1")[1] == "margin_called 0 (equity 110.0 at or below 1 of margin 110.00)"

    def test_can_be_caused_by_a_conversion_rate_alone(self):
        desk = Desk(deposit="12000", leverage="10", currency="USD", quote=None)
        desk.tick("1.50000/1.50000", "EUR_GBP")
        desk.tick("1.00000/1.00000", "GBP_USD")
        desk.place("in", "buy", 70_000, instrument="EUR_GBP")
        desk.tick("1.50000/1.50000", "EUR_GBP")
        desk.tick("1.47000/1.47000", "EUR_GBP")  # 2,100 pounds lost
        # 12000 - 2100 r against half of 10290 r: the level is at 1.6563...
        assert desk.tick("1.60000/1.60000", "GBP_USD") == []
        assert desk.tick("1.65630/1.65630", "GBP_USD") == []
        told = desk.tick("1.65640/1.65640", "GBP_USD")
        assert told[0].startswith("margin_called")

    def test_never_comes_where_it_is_switched_off(self):
        desk = Desk(deposit="111", leverage="10", margin_call_level=None)
        desk.place("in", "buy", 1000)
        desk.tick("1.10000/1.10000")
        assert desk.tick("0.50000/0.50000") == []
        assert desk.matcher.balance().equity == -489


def test_the_first_entry_of_the_record_is_the_deposit():
    desk = Desk(deposit="2500.50", quote=None)
    (entry,) = desk.record
    assert (entry.sequence, entry.kind, entry.amount, entry.balance) == (
        1,
        TransactionKind.DEPOSITED,
        D("2500.50"),
        D("2500.50"),
    )


def test_an_account_is_opened_once():
    desk = Desk()
    with pytest.raises(Exception, match="open already"):
        desk.matcher.open()
