"""Parameters: bounds hold however they are made, and say what is allowed."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from msgspec import NODEFAULT, Meta, Struct

from tradekeel.config.decode import decode
from tradekeel.errors import InputError
from tradekeel.strategies.parameters import Parameters, about, nearest, specs


class Sample(Parameters, frozen=True, kw_only=True):
    units: Annotated[Decimal, about("size", gt=0, le=Decimal("10.5"), unit="units")] = Decimal(1)
    count: Annotated[int, Meta(ge=2, lt=5, description="how many")] = 3
    share: Annotated[float, about("a share", ge=0, le=1)] = 0.5
    mode: Literal["a", "b"] = "a"
    optional: Annotated[Decimal | None, about("may be left out", ge=0)] = None
    name: str
    loud: bool = False

    def check(self) -> None:
        if self.mode == "b" and self.count == 3:
            raise InputError("mode b does not go with count 3")


def test_values_within_their_bounds_are_taken():
    sample = Sample(name="x", units=Decimal("10.5"), count=4, share=1.0, optional=Decimal(0))
    assert (sample.units, sample.count) == (Decimal("10.5"), 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"units": Decimal(0)}, "units must be above 0, at most 10.5, found 0"),
        ({"units": Decimal("10.51")}, "units must be above 0, at most 10.5, found 10.51"),
        ({"units": Decimal("NaN")}, "units must be a finite number, found NaN"),
        ({"share": float("nan")}, "share must be a finite number, found nan"),
        ({"count": 5}, "count must be at least 2, below 5, found 5"),
        ({"count": 1}, "count must be at least 2, below 5, found 1"),
        ({"optional": Decimal(-1)}, "optional must be at least 0, found -1"),
        ({"mode": "b"}, "mode b does not go with count 3"),
    ],
)
def test_values_outside_are_refused_also_in_code(values: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words):
        Sample(name="x", **values)


def test_a_parameter_says_what_it_is():
    found = {spec.name: spec for spec in specs(Sample)}
    assert list(found) == ["units", "count", "share", "mode", "optional", "name", "loud"]
    units = found["units"]
    assert (units.type, units.default, units.description, units.unit) == ("decimal", Decimal(1), "size", "units")
    assert (units.allowed, units.required) == ("above 0, at most 10.5", False)
    assert (found["count"].type, found["count"].allowed) == ("integer", "at least 2, below 5")
    assert found["mode"].type == "one of a, b"
    assert (found["optional"].type, found["optional"].allowed) == ("decimal", "at least 0")
    assert (found["name"].required, found["name"].default) == (True, NODEFAULT)
    assert found["loud"].type == "true or false"


def test_a_struct_without_the_base_is_described_too():
    class Bare(Struct, frozen=True):
        tags: tuple[str, ...] = ()
        either: int | str = 1

    assert [(spec.name, spec.type, spec.default) for spec in specs(Bare)] == [
        ("tags", "tuple[str, ...]", ()),
        ("either", "integer or text", 1),
    ]


def test_the_configuration_reads_the_same_bounds():
    problems: list[str] = []
    assert decode({"name": "x", "units": 11, "count": 9, "optional": -1}, Sample, "params", problems) is None
    assert len(problems) == 3
    assert problems[0].startswith("params.units: found 11 (an integer)")
    assert decode({"name": "x", "units": "2.50"}, Sample, "params", problems) == Sample(name="x", units=Decimal("2.50"))


def test_a_rule_between_parameters_is_told_by_the_configuration():
    problems: list[str] = []
    assert decode({"name": "x", "mode": "b"}, Sample, "params", problems) is None
    assert problems == ["params: mode b does not go with count 3"]


def test_the_nearest_word():
    assert nearest("flor", ["floor", "donchian"]) == "floor"
    assert nearest("xyz", ["floor", "donchian"]) is None
