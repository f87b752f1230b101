"""What a strategy may ask for: anything that somebody could decide about, and nothing that could hurt whoever decides."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Cancel, Emit, Enter, Exit, MoveStop, Request, SetTimer
from tradekeel.domain.orders import OrderType, Side
from tradekeel.errors import InputError
from tradekeel.strategies.requests import check_request, check_requests

D = Decimal


def enter(**more: Any) -> Enter:
    known: dict[str, Any] = {"instrument": "EUR_USD", "side": Side.BUY, "quantity": D(1000)}
    return Enter(**(known | more))


class MyEnter(Enter, frozen=True, kw_only=True, tag="enter", tag_field="request"):
    """A request with defaults of the user's own."""


def _nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"x": data}
    return data


def checked(request: Any) -> Request:
    return check_request(request, "mine", {name: CATALOGUE[name] for name in ("EUR_USD", "GBP_USD")})


@pytest.mark.parametrize(
    "request_",
    [
        enter(stop_loss=D("1.1"), confidence=D("0.7"), tags=("a",), metadata={"layer": 1, "why": ["x", None]}),
        enter(quantity=D(1) / D(3)),
        enter(reverse=True),
        Exit(instrument="GBP_USD", quantity=D("0.5"), reason="take_profit"),
        Exit(instrument="GBP_USD"),
        Cancel(client_order_id="tk"),
        MoveStop(trade_id="t", stop_loss=D("1.1")),
        SetTimer(name="t", at_ns=5),
        Emit(type="t", data={"a": "1.5"}),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_can_be_decided_about_passes_as_it_is(request_: Request) -> None:
    assert checked(request_) == request_


def test_a_word_becomes_what_it_means() -> None:
    """Compared by identity, "buy" is not a buy: the trade would be short and the venue would buy."""
    found = checked(enter(side="buy", type="limit", price=D(1)))

    assert isinstance(found, Enter)
    assert found.side is Side.BUY
    assert found.type is OrderType.LIMIT


@pytest.mark.parametrize(
    "name", ["quantity", "price", "stop_price", "stop_loss", "take_profit", "trailing_distance", "trailing_percent"]
)
@pytest.mark.parametrize(
    "value", [0.5, 1, "1.1", D("NaN"), D("Infinity"), D(0), D(-1), D("1e-41"), D("1e15")], ids=repr
)
def test_an_amount_is_a_decimal_above_zero_that_the_books_can_hold(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"mine asks with {name} = .* must be a Decimal above zero"):
        checked(enter(**{name: value}))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (enter(instrument="XAU_USD"), "'XAU_USD', which is not among its instruments: EUR_USD, GBP_USD"),
        (Exit(instrument="XAU_USD"), "not among its instruments"),
        (Exit(instrument="EUR_USD", reason="boredom"), "exit reason 'boredom': a strategy's are signal, stop_loss"),
        (Exit(instrument="EUR_USD", quantity=D(0)), "quantity = Decimal\\('0'\\)"),
        (enter(side="both"), "Invalid enum value 'both'"),
        (enter(metadata={"x": object()}), "cannot be written down"),
        (enter(metadata={"x": 2**70}), "cannot be written down"),
        (enter(confidence=D("NaN")), "is confident by .*NaN"),
        (enter(confidence=D(7)), "must be a number from 0 to 1"),
        (enter(confidence=D("1e-99999")), "must be a number from 0 to 1"),
        (
            enter(reverse=True, type=OrderType.LIMIT, price=D(1)),
            "reverse with a limit order: only a market entry closes",
        ),
        (enter(reverse=True, type=OrderType.STOP, stop_price=D(1)), "reverse with a stop order"),
        (enter(trailing_percent=D(150)), "it must be below 100"),
        (enter(stop_loss=D("1e-9")), "stop_loss = .* which is no price: the smallest step of EUR_USD is 0.00001"),
        (Exit(instrument="EUR_USD", reason="margin_call"), "exit reason 'margin_call'"),
        (enter(model="m" * 201), "model of 201 characters, at most 200"),
        (enter(model="a\0b"), "a zero character in model"),
        (Emit(type="a\0b", data={}), "a zero character in type"),
        (enter(tags=("t",) * 201), "201 tags, at most 200"),
        (enter(metadata={"x": "y" * 16_385}), "metadata of 16393 bytes, at most 16384"),
        (Emit(type="t", data=_nested(10_000)), "cannot be written down|no JSON"),
        (SetTimer(name="t", at_ns=1.5), "Expected `int`, got `float`"),  # type: ignore[arg-type]  # on purpose
        (Emit(type="t", data=[1]), "Expected `object`, got `array`"),  # type: ignore[arg-type]
        (None, "cannot be written down"),
        (Emit(type=""), "emits an event without a type"),
        (Emit(type="\ud800"), "cannot be written down.*surrogates not allowed"),
        (enter(tags=("\ud800",)), "cannot be written down"),
        (enter(metadata={"\ud800": 1}), "cannot be written down"),
        (enter(expire_at_ns=2**63), "expire_at_ns = 9223372036854775808: it must be from -9223372036854775808 to"),
        (enter(exit_at_ns=2**64 - 1), "exit_at_ns = 18446744073709551615: it must be from"),
        (enter(exit_at_ns=2**65), "cannot be written down"),
        (SetTimer(name="t", at_ns=2**63), "at_ns = 9223372036854775808: it must be from"),
        (SetTimer(name="t", at_ns=-(2**63) - 1), "cannot be written down"),
        (MyEnter(instrument="EUR_USD", side=Side.BUY, quantity=D(-1)), "quantity = Decimal\\('-1'\\)"),
    ],
)
def test_anything_else_is_an_error_that_says_what_is_wrong(request_: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(request_)


@pytest.mark.parametrize(
    ("side", "price"),
    [(Side.BUY, D("1.33333")), (Side.SELL, D("1.33334"))],
    ids=["a buy not dearer", "a sell not cheaper"],
)
def test_prices_are_put_on_the_instruments_grid_a_limit_never_to_a_worse_one(side: Side, price: Decimal) -> None:
    third = D(4) / D(3)

    found = checked(
        enter(side=side, type=OrderType.LIMIT, price=third, stop_loss=third, take_profit=third + D("0.000002"))
    )

    assert isinstance(found, Enter)
    assert (found.price, found.stop_loss, found.take_profit) == (price, D("1.33333"), D("1.33334"))


def test_what_it_holds_it_may_leave_though_it_is_no_more_its_own() -> None:
    """It was taken from its instruments with an open trade."""
    own = {"EUR_USD": CATALOGUE["EUR_USD"]}
    leaves = Exit(instrument="XAU_USD")

    assert check_requests([leaves], "mine", own, lambda symbol: symbol == "XAU_USD") == [leaves]
    with pytest.raises(InputError, match="'XAU_USD', which is not among its instruments: EUR_USD"):
        check_requests([enter(instrument="XAU_USD")], "mine", own, lambda symbol: symbol == "XAU_USD")


def test_a_step_asks_for_a_bounded_number_of_things() -> None:
    with pytest.raises(InputError, match="mine asks for 1001 things at once, at most 1000"):
        check_requests([Cancel(client_order_id="tk")] * 1_001, "mine", CATALOGUE)


def test_what_json_has_no_word_for_is_kept_as_text() -> None:
    """An indicator that is not warm is no reason to give a strategy up, and null would say that there was none."""
    odd = {"a": float("nan"), "b": [1.5, {"c": float("-inf")}], "d": None}
    kept = {"a": "nan", "b": [1.5, {"c": "-inf"}], "d": None}

    entered, emitted = checked(enter(metadata=odd)), checked(Emit(type="t", data=odd))

    assert isinstance(entered, Enter)
    assert isinstance(emitted, Emit)
    assert (entered.metadata, emitted.data) == (kept, kept)
