"""Positions: any sequence of fills leaves what a dumb recomputation leaves, to the last digit."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import NOON_NS, dec, quote
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.money import ONE, ZERO, ledger, share_out
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import (
    COST_STEP,
    RATE_STEP,
    Booking,
    Leg,
    Position,
    Quote,
    Rate,
    conversion_path,
    conversion_rate,
    convert,
    margin_required,
    rate_along,
)
from tradekeel.errors import Defect

quantities = st.decimals(min_value=dec("0.001"), max_value=dec(10**6), places=3)
prices = st.decimals(min_value=dec("0.00001"), max_value=dec(200_000), places=5)
fill_lists = st.lists(st.tuples(st.sampled_from(Side), quantities, prices), max_size=30)


def booked(fills: list[tuple[Side, Decimal, Decimal]]) -> tuple[Position, list[Booking]]:
    position, bookings = Position("EUR_USD"), []
    for side, quantity, price in fills:
        bookings.append(position.apply(side, quantity, price))
        position = bookings[-1].position
    return position, bookings


def exact(values) -> Fraction:
    return sum(map(Fraction, values), Fraction(0))


class TestOneFill:
    def test_opens(self):
        booking = Position("EUR_USD").apply(Side.BUY, dec(1000), dec("1.1"))
        assert booking == Booking(Position("EUR_USD", dec(1000), dec("1100.0")), ZERO, ZERO, dec(1000))

    def test_adds(self):
        booking = Position("EUR_USD", dec(-1000), dec(-1100)).apply(Side.SELL, dec(500), dec("1.2"))
        assert (booking.position.quantity, booking.position.cost) == (dec(-1500), dec("-1700.0"))
        assert (booking.realised, booking.closed, booking.opened) == (ZERO, ZERO, dec(500))

    def test_closes_a_part_and_keeps_the_rest_at_its_cost(self):
        booking = Position("EUR_USD", dec(1000), dec(1100)).apply(Side.SELL, dec(400), dec("1.2"))
        assert (booking.position.quantity, booking.position.cost) == (dec(600), dec(660))
        assert (booking.realised, booking.closed, booking.opened) == (dec(40), dec(400), ZERO)

    def test_closes_whole(self):
        booking = Position("EUR_USD", dec(-1000), dec(-1100)).apply(Side.BUY, dec(1000), dec("1.0"))
        assert booking.position == Position("EUR_USD")
        assert booking.realised == dec(100)

    def test_flips_by_closing_whole_and_opening_the_rest(self):
        booking = Position("EUR_USD", dec(1000), dec(1100)).apply(Side.SELL, dec(1500), dec("1.2"))
        assert (booking.position.quantity, booking.position.cost) == (dec(-500), dec(-600))
        assert (booking.realised, booking.closed, booking.opened) == (dec(100), dec(1000), dec(500))

    def test_keeps_the_venues_reference(self):
        assert Position("EUR_USD", ref="p7").apply(Side.BUY, ONE, ONE).position.ref == "p7"

    @pytest.mark.parametrize("quantity", ["0", "-1"])
    def test_of_nothing_is_a_defect(self, quantity):
        with pytest.raises(Defect, match="above zero"):
            Position("EUR_USD").apply(Side.BUY, dec(quantity), ONE)

    def test_releases_a_third_and_loses_nothing(self):
        position = Position("EUR_USD", dec(3), dec("1.0"))
        released = []
        for _ in range(3):
            booking = position.apply(Side.SELL, ONE, ONE)
            released.append(ONE - booking.realised)
            position = booking.position
        assert released == [dec("0.333333333333"), dec("0.333333333334"), dec("0.333333333333")]
        assert sum(released) == 1


class TestAnySequenceOfFills:
    @given(fill_lists)
    def test_leaves_the_sum_of_its_quantities(self, fills):
        position, bookings = booked(fills)
        assert Fraction(position.quantity) == exact(q * side.sign for side, q, _ in fills)
        for (_, quantity, _), booking in zip(fills, bookings, strict=True):
            assert booking.closed + booking.opened == quantity

    @given(fill_lists)
    def test_cash_equals_realised_less_what_is_still_laid_out(self, fills):
        position, bookings = booked(fills)
        cash = -exact(Fraction(q) * Fraction(p) * side.sign for side, q, p in fills)
        assert cash == exact(b.realised for b in bookings) - Fraction(position.cost)

    @given(fill_lists, prices)
    def test_realised_and_unrealised_are_cash_and_what_is_held_is_worth(self, fills, mark):
        position, bookings = booked(fills)
        cash = -exact(Fraction(q) * Fraction(p) * side.sign for side, q, p in fills)
        profit = exact(b.realised for b in bookings) + Fraction(position.unrealised(mark, mark))
        assert profit == cash + Fraction(position.quantity) * Fraction(mark)

    @given(fill_lists)
    def test_costs_what_the_average_says_within_the_named_rounding(self, fills):
        position, _ = booked(fills)
        quantity, cost = Fraction(0), Fraction(0)  # a dumb twin that never rounds
        for side, q, p in fills:
            signed = Fraction(q) * side.sign
            if quantity * signed >= 0:
                cost += signed * Fraction(p)
            elif abs(signed) < abs(quantity):
                cost *= (quantity + signed) / quantity
            else:
                cost = (quantity + signed) * Fraction(p)
            quantity += signed
        assert abs(Fraction(position.cost) - cost) <= len(fills) * Fraction(COST_STEP) / 2

    @given(fill_lists)
    def test_has_no_cost_when_flat_and_costs_its_own_way_otherwise(self, fills):
        position, _ = booked(fills)
        if not position.quantity:
            assert position.cost == 0
            assert position.average_price is None
        else:
            assert position.cost * position.quantity >= 0

    @given(fill_lists)
    def test_is_the_same_in_every_threads_context(self, fills):
        with decimal.localcontext(decimal.Context(prec=5)):
            coarse = booked(fills)
        assert coarse == booked(fills)

    @given(
        st.lists(st.tuples(quantities, prices), min_size=1, max_size=8),
        st.lists(st.tuples(st.integers(1, 1000), prices), min_size=1, max_size=8),
    )
    def test_closed_in_whatever_parts_has_realised_what_it_brought(self, entries, exits):
        fills = [(Side.BUY, q, p) for q, p in entries]
        held = sum((q for q, _ in entries), ZERO)
        parts = share_out(held, [Decimal(weight) for weight, _ in exits], dec("1e-12"))
        fills += [(Side.SELL, q, p) for q, (_, p) in zip(parts, exits, strict=True)]
        position, bookings = booked(fills)
        assert position == Position("EUR_USD")
        cash = -exact(Fraction(q) * Fraction(p) * side.sign for side, q, p in fills)
        assert exact(b.realised for b in bookings) == cash


class TestFigures:
    def test_the_average_is_for_display(self):
        assert Position("EUR_USD", dec(3), dec(1)).average_price == dec("0.333333333333")
        assert Position("EUR_USD", dec(-2), dec(-3)).average_price == dec("1.5")

    def test_longs_are_marked_at_the_bid_and_shorts_at_the_ask(self):
        assert Position("EUR_USD", dec(10), dec(10)).unrealised(dec("1.1"), dec("1.2")) == dec("1.0")
        assert Position("EUR_USD", dec(-10), dec(-10)).unrealised(dec("1.1"), dec("1.2")) == dec("-2.0")
        assert Position("EUR_USD").unrealised(dec("1.1"), dec("1.2")) == 0

    def test_margin_is_notional_times_the_larger_rate(self):
        eur_usd = CATALOGUE["EUR_USD"]
        assert margin_required(eur_usd, dec(-1000), dec("1.1"), None) == dec("36.63")
        assert margin_required(eur_usd, dec(1000), dec("1.1"), dec(20)) == dec(55)
        assert margin_required(eur_usd, dec(1000), dec("1.1"), dec(500)) == dec("36.63")

    def test_margin_from_a_leverage_is_never_understated(self):
        assert margin_required(CATALOGUE["EUR_USD"], dec(1), dec(1), dec(3)) == Decimal("0.33333333333334")

    def test_an_amount_is_converted_to_what_is_booked(self):
        assert convert(dec("1.23456"), dec("0.9"), "EUR") == dec("1.1111")
        assert convert(dec("-1000"), dec("0.006666"), "JPY") == dec("-6.67")


class TestConversion:
    quotes = {  # noqa: RUF012  # read only
        "EUR_USD": quote("1.1", "1.3", NOON_NS),
        "USD_JPY": quote("99", "101", NOON_NS - 5),
        "GBP_USD": quote("1.5", "1.5", NOON_NS - 9),
    }

    def test_of_the_accounts_own_currency_needs_no_quote(self):
        assert conversion_rate("USD", "USD", {}) == 1
        assert rate_along((), {}) == Rate(ONE)

    def test_takes_a_direct_pair_at_its_middle(self):
        assert conversion_rate("EUR", "USD", self.quotes) == dec("1.2")

    def test_takes_an_inverse_pair(self):
        assert conversion_rate("JPY", "USD", self.quotes) == dec("0.01")

    def test_takes_one_step_through_a_third_currency(self):
        assert conversion_path("EUR", "JPY", self.quotes) == (
            Leg("EUR_USD", inverse=False),
            Leg("USD_JPY", inverse=False),
        )
        assert conversion_rate("EUR", "JPY", self.quotes) == dec(120)
        assert conversion_rate("JPY", "EUR", self.quotes) == Decimal("0.00833333333333")

    def test_has_no_rate_where_no_pair_leads(self):
        assert conversion_path("CHF", "USD", self.quotes) is None
        assert conversion_rate("CHF", "USD", self.quotes) is None

    def test_has_no_rate_while_a_quote_is_missing(self):
        path = conversion_path("EUR", "JPY", self.quotes)
        assert path is not None
        assert rate_along(path, {"EUR_USD": self.quotes["EUR_USD"]}) is None

    def test_is_as_old_as_its_oldest_quote(self):
        path = conversion_path("EUR", "JPY", self.quotes)
        assert path is not None
        assert rate_along(path, self.quotes) == Rate(dec(120), NOON_NS - 5)

    @given(st.permutations(["EUR_USD", "USD_JPY", "GBP_USD", "EUR_JPY", "GBP_JPY"]))
    def test_takes_the_same_way_in_whatever_order_the_pairs_are_known(self, symbols):
        assert conversion_path("GBP", "EUR", symbols) == (
            Leg("GBP_JPY", inverse=False),
            Leg("EUR_JPY", inverse=True),
        )

    def test_rounds_once_whatever_digits_the_amount_and_the_quotes_have(self):
        fine = Quote(dec("1." + "1" * 45), dec("123456.2"))
        rate = conversion_rate("EUR", "USD", {"EUR_USD": fine})
        assert rate == dec("61728.65555555555556")
        with ledger():
            assert convert(dec("1." + "3" * 45), rate, "USD") == dec("82304.8741")

    def test_of_a_yen_into_bitcoin_still_has_digits(self):
        rate = conversion_rate("JPY", "BTC", {"BTC_JPY": Quote(dec(16_000_000), dec(16_000_000))})
        assert rate == Decimal("6.250000E-8")

    @given(prices, prices)
    def test_there_and_back_is_one_within_the_grid(self, bid, ask):
        low, high = min(bid, ask), max(bid, ask)
        quotes = {"EUR_USD": Quote(low, high)}
        there, back = conversion_rate("EUR", "USD", quotes), conversion_rate("USD", "EUR", quotes)
        assert there is not None
        assert back is not None
        error = abs(Fraction(there) * Fraction(back) - 1)
        assert error <= Fraction(RATE_STEP) * (Fraction(there) + Fraction(back))
