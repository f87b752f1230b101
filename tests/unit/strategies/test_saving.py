"""A state comes back from the disk as it was, or is refused when it is written: nobody finds out by a kill."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct

from tradekeel.domain.orders import Side
from tradekeel.errors import InputError
from tradekeel.strategies.registry import BUILT_IN
from tradekeel.strategies.saving import StateCodec


class Inner(Struct, frozen=True):
    at: float = 0.0


class State(Struct, frozen=True):
    count: int = 0
    price: Decimal = Decimal(0)
    side: Side | None = None
    seen: tuple[Inner, ...] = ()
    notes: dict[str, Any] = {}
    anything: Any = None


CODEC = StateCodec("mine", State)


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(count=5, price=Decimal("1.50"), side=Side.BUY, seen=(Inner(0.1), Inner(1e300)), notes={"a": [1, None]}),
        State(price=7, seen=(Inner(3),)),  # type: ignore[arg-type]  # a number is a number
        State(anything="text"),
    ],
)
def test_a_state_that_comes_back_as_it_was_is_written(state: State) -> None:
    written, back = CODEC.written(state)
    assert back == CODEC.read(written) == state


def test_a_nan_is_what_it_was() -> None:
    back: State = CODEC.written(State(seen=(Inner(float("nan")),), anything=[1, float("nan")]))[1]
    assert back.seen[0].at != back.seen[0].at


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State(count=Decimal("1.5")), r"read back from what is saved of it: Expected `int`, got `str` - at `\$.count`"),  # type: ignore[arg-type]
        (State(price=0.1), "price is 0.1, and comes back as Decimal\\('0.1'\\); give the field the type"),  # type: ignore[arg-type]
        (State(anything=Decimal("1.5")), "anything is Decimal\\('1.5'\\), and comes back as '1.5'"),
        (State(anything=(1, 2)), r"anything is \(1, 2\), and comes back as \[1, 2\]"),
        (State(anything=[Inner()]), r"anything\[0\] is Inner\(at=0.0\), and comes back as \{'at': 0.0\}"),
        (State(notes={"a": {"b": {1}}}), r"notes\['a'\]\['b'\] is \{1\}, and comes back as \[1\]"),
        (State(notes={1: 2}), "Expected `str`, got `int`"),  # type: ignore[dict-item]
        (State(anything="\ud800"), "cannot be written down: .*surrogates not allowed"),
        (State(anything=2**80), "cannot be written down"),
        (State(anything=object()), "cannot be written down: Encoding objects of type object is unsupported"),
        ({"count": 1}, "its state does not come back from being saved as it was: State is \\{'count': 1\\}"),
        (State(anything=("x" * 1_000,)), "x…, and comes back as"),
    ],
)
def test_any_other_is_refused_with_the_field_that_is_wrong(state: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        CODEC.written(state)
    assert str(caught.value).startswith("strategy mine: its state ")
    assert len(str(caught.value)) < 500


def test_a_struct_that_compares_by_identity_is_looked_into() -> None:
    class Odd(Struct, frozen=True, eq=False):
        value: Any = None

    codec = StateCodec("mine", Odd)
    codec.written(Odd(5))
    with pytest.raises(InputError, match="value is"):
        codec.written(Odd((5,)))


@pytest.mark.parametrize("cls", BUILT_IN.values(), ids=lambda cls: cls.kind)
def test_the_built_in_ones_begin_with_a_state_that_comes_back(cls: Any) -> None:
    state = cls.State()
    assert StateCodec("mine", cls.State).written(state)[1] == state
