"""Money is exact: nothing is rounded but by name, and nothing depends on the thread's decimal context."""

from __future__ import annotations

import decimal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.make import dec
from tradekeel.domain.money import (
    AMOUNT_DIGITS_MAX,
    LEDGER,
    PRECISION,
    Rounding,
    divide,
    ledger,
    on_grid,
    parse_amount,
    plain,
    round_to,
    share_out,
)
from tradekeel.errors import Defect, InputError

amounts = st.decimals(min_value=dec(-(10**15)), max_value=dec(10**15), allow_nan=False, allow_infinity=False, places=8)
steps = st.sampled_from([dec("1"), dec("0.01"), dec("0.0001"), dec("1e-12"), dec("0.25"), dec("5"), dec("0.05")])
roundings = st.sampled_from(Rounding)


def whole_part(value: Fraction) -> int:
    return value.numerator // value.denominator


def dumb_round(value: Fraction, step: Fraction, mode: str) -> Fraction:
    """The same in whole numbers: floor, and then the rule of the mode."""
    steps_down = whole_part(value / step)
    rest = value / step - steps_down
    up = {
        decimal.ROUND_FLOOR: False,
        decimal.ROUND_CEILING: rest > 0,
        decimal.ROUND_DOWN: rest > 0 and value < 0,
        decimal.ROUND_UP: rest > 0 and value > 0,
        decimal.ROUND_HALF_EVEN: rest > Fraction(1, 2) or (rest == Fraction(1, 2) and steps_down % 2 == 1),
    }[mode]
    return (steps_down + up) * step


class TestTheLedgerContext:
    def test_refuses_to_drop_a_digit(self):
        with ledger(), pytest.raises(decimal.Inexact):
            dec(1) / dec(3)

    def test_keeps_fifty_digits(self):
        with ledger():
            assert dec(10**25 - 1) * dec(10**24 + 1) == dec((10**25 - 1) * (10**24 + 1))

    def test_refuses_floats(self):
        with ledger(), pytest.raises(decimal.FloatOperation):
            dec(1) + Decimal(1.5 / 3)

    def test_ends_with_the_block_even_after_an_error(self):
        before = decimal.getcontext().prec
        with pytest.raises(RuntimeError), ledger():
            raise RuntimeError
        assert decimal.getcontext().prec == before

    def test_can_be_entered_again_inside(self):
        with ledger():
            with ledger():
                pass
            assert decimal.getcontext().prec == PRECISION

    def test_belongs_to_its_thread(self):
        with ledger(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: decimal.getcontext().prec).result() != PRECISION


class TestRounding:
    @given(amounts, steps, roundings)
    def test_equals_the_same_rule_in_whole_numbers(self, value, step, rounding):
        expected = dumb_round(Fraction(value), Fraction(step), rounding.mode)
        assert Fraction(round_to(value, step, rounding)) == expected

    @given(amounts, amounts.filter(bool), steps, roundings)
    def test_of_a_quotient_is_decided_by_the_exact_quotient(self, value, by, step, rounding):
        expected = dumb_round(Fraction(value) / Fraction(by), Fraction(step), rounding.mode)
        assert Fraction(divide(value, by, step, rounding)) == expected

    def test_looks_beyond_fifty_digits_before_it_decides(self):
        # 1 + 1e-60 is above 1, and a fee is never understated.
        assert divide(dec(10**60 + 1), dec(10**60), dec("0.01"), Rounding.FEE) == dec("1.01")

    @pytest.mark.parametrize(
        ("rounding", "up", "down"),
        [
            (Rounding.RELEASED_COST, "0.02", "-0.02"),
            (Rounding.CONVERSION, "0.02", "-0.02"),
            (Rounding.FEE, "0.02", "-0.02"),
            (Rounding.SHARE, "0.01", "-0.01"),
            (Rounding.SIZE, "0.01", "-0.01"),
            (Rounding.PRICE_NEAREST, "0.02", "-0.02"),
            (Rounding.PRICE_DOWN, "0.01", "-0.02"),
            (Rounding.PRICE_UP, "0.02", "-0.01"),
            (Rounding.EXCESS, "0.02", "-0.02"),
            (Rounding.LIMIT, "0.01", "-0.01"),
            (Rounding.DISPLAY, "0.02", "-0.02"),
        ],
    )
    def test_each_name_rounds_in_its_own_favour(self, rounding, up, down):
        assert round_to(dec("0.015"), dec("0.01"), rounding) == dec(up)
        assert round_to(dec("-0.015"), dec("0.01"), rounding) == dec(down)

    def test_has_as_many_names_as_reasons(self):
        assert len({r.value for r in Rounding}) == len(list(Rounding)) == 12

    def test_does_not_depend_on_the_threads_context(self):
        value = dec("123456789012345678901234567890.123456789012")
        with decimal.localcontext(decimal.Context(prec=6)):
            assert str(round_to(value, dec("1e-12"), Rounding.SHARE)) == str(value)
            assert share_out(dec(10**12 + 1), [dec(10**9), dec(1)], dec(1))[1] == dec(1000)

    def test_never_leaves_a_negative_zero(self):
        assert str(round_to(dec("-0.001"), dec("0.01"), Rounding.DISPLAY)) == "0.00"

    def test_by_zero_raises(self):
        with pytest.raises(decimal.DivisionByZero):
            divide(dec(1), dec(0), dec("0.01"), Rounding.DISPLAY)

    @given(amounts, steps, roundings)
    def test_lands_on_the_grid_and_stays_there(self, value, step, rounding):
        rounded = round_to(value, step, rounding)
        assert on_grid(rounded, step)
        assert round_to(rounded, step, rounding) == rounded


@pytest.mark.parametrize(
    ("value", "step", "on"), [("1.00000", "0.00001", True), ("1.000001", "0.00001", False), ("0", "3", True)]
)
def test_a_value_is_on_the_grid_if_it_is_a_whole_multiple(value, step, on):
    assert on_grid(dec(value), dec(step)) is on


class TestSharingOut:
    weights = st.lists(
        st.decimals(min_value=0, max_value=dec(10**9), allow_nan=False, allow_infinity=False, places=4),
        min_size=1,
        max_size=12,
    ).filter(any)

    @given(amounts, weights, steps)
    def test_shares_sum_to_the_amount_exactly(self, amount, weights, step):
        shares = share_out(amount, weights, step)
        assert len(shares) == len(weights)
        assert sum(map(Fraction, shares)) == Fraction(amount)

    @given(amounts, weights, steps)
    def test_every_share_but_the_last_is_its_part_rounded_towards_zero(self, amount, weights, step):
        total = sum(map(Fraction, weights))
        for share, weight in list(zip(share_out(amount, weights, step), weights, strict=True))[:-1]:
            expected = dumb_round(Fraction(amount) * Fraction(weight) / total, Fraction(step), decimal.ROUND_DOWN)
            assert Fraction(share) == expected

    def test_the_last_takes_the_remainder(self):
        assert share_out(dec("1.00"), [dec(1), dec(1), dec(1)], dec("0.01")) == [dec("0.33"), dec("0.33"), dec("0.34")]

    def test_a_rebate_is_shared_like_a_fee(self):
        assert share_out(dec("-1.00"), [dec(2), dec(1)], dec("0.01")) == [dec("-0.66"), dec("-0.34")]

    @pytest.mark.parametrize("weights", [[], [dec(0), dec(0)], [dec(2), dec(-1)]])
    def test_among_nobody_is_a_defect(self, weights):
        with pytest.raises(Defect, match="cannot be shared out"):
            share_out(dec(1), weights, dec("0.01"))


class TestText:
    @given(amounts)
    def test_comes_back_as_the_same_amount(self, value):
        text = plain(value)
        assert parse_amount(text) == value
        assert "E" not in text.upper()

    @pytest.mark.parametrize(("value", "text"), [("1E+5", "100000"), ("-0.00", "0.00"), ("1E-8", "0.00000001")])
    def test_is_plain(self, value, text):
        assert plain(dec(value)) == text

    @pytest.mark.parametrize("text", ["", "abc", "1,5", "0x10", "1.2.3", "--1", "1e", "é"])
    def test_that_is_no_number_is_refused(self, text):
        with pytest.raises(InputError, match="not a decimal number"):
            parse_amount(text)

    @pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-inf"])
    def test_that_is_not_finite_is_refused(self, text):
        with pytest.raises(InputError, match="not a finite number"):
            parse_amount(text)

    @pytest.mark.parametrize("text", ["9" * (AMOUNT_DIGITS_MAX + 1), "1e26", "1e-26", "1e999999"])
    def test_of_more_digits_than_money_has_is_refused(self, text):
        with pytest.raises(InputError, match="25 digits"):
            parse_amount(text)

    @pytest.mark.parametrize("text", ["9" * AMOUNT_DIGITS_MAX, "1e25", "1e-25", "-0.0001"])
    def test_of_as_many_digits_as_money_may_have_is_exact(self, text):
        assert parse_amount(text) == dec(text)

    @pytest.mark.parametrize("text", ["1_000", " 1", "1\n", "١"])
    def test_is_never_guessed_at(self, text):
        with pytest.raises(InputError, match="not a decimal number"):
            parse_amount(text)

    def test_is_text(self):
        with pytest.raises(InputError):
            parse_amount(None)  # type: ignore[arg-type]  # what a careless caller does


@given(st.integers(-(10**25) + 1, 10**25 - 1), st.integers(-(10**25) + 1, 10**25 - 1))
def test_the_product_of_two_amounts_always_fits_the_ledger(a, b):
    assert LEDGER.multiply(dec(a), dec(b)) == dec(a * b)
