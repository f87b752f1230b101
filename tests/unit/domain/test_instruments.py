"""Instruments: grids of price and size, and what is booked in a currency."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec
from tradekeel.domain.instruments import CATALOGUE, Instrument, days_a_year_of, ledger_step
from tradekeel.domain.money import Rounding, ledger, on_grid
from tradekeel.domain.sessions import THURSDAY, WEDNESDAY
from tradekeel.errors import InputError

EUR_USD, USD_JPY, BTC = CATALOGUE["EUR_USD"], CATALOGUE["USD_JPY"], CATALOGUE["BTC_USDT"]


def made(**fields: object) -> Instrument:
    known: dict[str, object] = {
        "symbol": "XAU_USD",
        "base": "XAU",
        "quote": "USD",
        "tick_size": dec("0.01"),
        "pip_size": dec("0.1"),
    }
    return Instrument(**(known | fields))  # type: ignore[arg-type]  # fields of a test's choice


class TestTheCatalogue:
    @pytest.mark.parametrize("symbol", sorted(CATALOGUE))
    def test_is_consistent(self, symbol):
        instrument = CATALOGUE[symbol]
        assert instrument.symbol == f"{instrument.base}_{instrument.quote}" == symbol
        assert on_grid(instrument.pip_size, instrument.tick_size)
        assert on_grid(instrument.quantity_min, instrument.lot_step)

    def test_quotes_a_tenth_of_a_pip(self):
        assert (EUR_USD.pip_size, EUR_USD.tick_size) == (dec("0.0001"), dec("0.00001"))
        assert (USD_JPY.pip_size, USD_JPY.tick_size) == (dec("0.01"), dec("0.001"))

    def test_trades_bitcoin_in_parts_without_leverage(self):
        assert (BTC.lot_step, BTC.margin_rate) == (dec("0.00001"), dec(1))

    def test_knows_which_markets_never_close(self):
        never = {symbol for symbol, known in CATALOGUE.items() if known.days_a_year == 365}
        assert never == {"BTC_USDT", "ETH_USDT"}
        assert {known.days_a_year for symbol, known in CATALOGUE.items() if symbol not in never} == {252}

    def test_counts_the_days_of_the_market_that_rests_least(self):
        assert days_a_year_of([EUR_USD, USD_JPY]) == 252
        assert days_a_year_of([EUR_USD, BTC]) == 365
        assert days_a_year_of([]) == 252

    def test_calls_a_hundred_thousand_units_a_lot_and_one_bitcoin(self):
        assert {known.lot for known in (EUR_USD, USD_JPY, made())} == {dec(100_000)}
        assert BTC.lot == 1
        assert made(lot=dec(100)).lot == 100


class TestAnInstrument:
    def test_shows_as_many_digits_as_its_grids_have(self):
        assert (EUR_USD.price_digits, BTC.price_digits) == (5, 2)
        assert made(tick_size=dec(5), pip_size=dec(10), lot_step=dec(100)).price_digits == 0

    def test_measures_distances_in_pips(self):
        assert EUR_USD.pips(dec("0.00123")) == dec("12.3")
        assert USD_JPY.pips(dec("-0.5")) == dec(-50)

    def test_measures_pips_inside_the_ledger_too_where_the_pip_is_no_power_of_ten(self):
        with ledger():
            assert made(tick_size=dec("0.03"), pip_size=dec("0.03")).pips(dec("0.1")) == dec("3.333")

    @given(st.decimals(min_value=0, max_value=10_000, places=1))
    def test_takes_pips_back_to_the_same_distance(self, pips: Decimal):
        assert EUR_USD.pips(EUR_USD.from_pips(pips)) == pips

    def test_takes_pips_of_whatever_digits_to_the_nearest_step(self):
        coarse = made(tick_size=dec("0.03"), pip_size=dec("0.03"))
        assert coarse.from_pips(dec("1." + "3" * 60)) == dec("0.03")

    @pytest.mark.parametrize(
        ("symbol", "weekday"),
        [
            ("USD_CAD", THURSDAY),
            ("USD_TRY", THURSDAY),
            ("USD_RUB", THURSDAY),
            ("CAD_USD", THURSDAY),
            ("EUR_USD", WEDNESDAY),
            ("USD_JPY", WEDNESDAY),
            ("GBP_CAD", WEDNESDAY),
            ("BTC_USDT", WEDNESDAY),
        ],
    )
    def test_knows_over_which_roll_the_weekend_is_financed(self, symbol, weekday):
        base, quote = symbol.split("_")
        assert made(symbol=symbol, base=base, quote=quote).triple_weekday == weekday

    def test_puts_prices_on_the_grid_in_the_direction_asked_for(self):
        assert EUR_USD.price(dec("1.234567")) == dec("1.23457")
        assert EUR_USD.price(dec("1.234567"), Rounding.PRICE_DOWN) == dec("1.23456")
        assert EUR_USD.price(dec("1.234561"), Rounding.PRICE_UP) == dec("1.23457")

    def test_never_asks_for_more_than_was_decided(self):
        assert BTC.quantity(dec("0.123459")) == dec("0.12345")
        assert EUR_USD.quantity(dec("999.99")) == 999

    @pytest.mark.parametrize(
        "field", ["tick_size", "pip_size", "lot", "lot_step", "quantity_min", "quantity_max", "margin_rate"]
    )
    @pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity"])
    def test_refuses_a_figure_that_is_not_above_zero(self, field, value):
        with pytest.raises(InputError, match=rf"XAU_USD: {field} must be above zero, found {value}"):
            made(**{field: dec(value)})

    def test_refuses_a_year_without_days(self):
        with pytest.raises(InputError, match="XAU_USD: days_a_year must be 1 or more, found 0"):
            made(days_a_year=0)

    def test_refuses_a_pip_between_two_ticks(self):
        with pytest.raises(InputError, match="pip_size must be a multiple of tick_size"):
            made(tick_size=dec("0.03"))

    def test_refuses_a_smallest_size_above_the_largest(self):
        with pytest.raises(InputError, match="quantity_min is above quantity_max"):
            made(quantity_min=dec(10), quantity_max=dec(9))


@pytest.mark.parametrize(
    ("currency", "step"),
    [("USD", "0.0001"), ("EUR", "0.0001"), ("JPY", "0.01"), ("BTC", "1E-8"), ("USDT", "1E-8"), ("XXX", "0.0001")],
)
def test_amounts_are_booked_finer_than_a_coin(currency, step):
    assert ledger_step(currency) == dec(step)
