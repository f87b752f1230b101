"""A table becomes a Struct or a list of problems; nothing is converted silently and nothing is reported late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from tradekeel.config import Secret, decode
from tradekeel.config.decode import Origin
from tradekeel.errors import ConfigError, Defect, InputError


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(Struct, frozen=True, kw_only=True):
    least: Decimal
    most: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise InputError(f"least {self.least} is above most {self.most}")


class Everything(Struct, frozen=True, kw_only=True):
    text: str = ""
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    on: bool = False
    amount: Annotated[Decimal, Meta(extra={"bounds": {"gt": "0"}})] = Decimal(1)
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    mode: Literal["slow", "fast"] = "slow"
    names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=3)] = ("a",)
    pair: tuple[int, str] = (1, "one")
    weights: dict[str, Decimal] = {}
    seen: frozenset[str] = frozenset()
    listed: Sequence[int] = ()
    inner: Inner | None = None
    inners: list[Inner] = []
    by_name: Mapping[str, Inner] = {}
    start: datetime | None = None
    day: date | None = None
    path: Path | None = None
    either: str | Decimal = "max"
    anything: Any = None


class Needs(Struct, frozen=True, kw_only=True):
    this: str
    that: Annotated[int, Meta(ge=0)]


def one(key: str, value: object) -> Everything | str:
    """Decode a table of one key: the Struct, or the only problem."""
    found: list[str] = []
    result = decode({key: value}, Everything, "", found)
    if result is not None:
        assert found == []
        return result
    (problem,) = found
    return problem


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("text", "a", "a"),
        ("count", 10, 10),
        ("share", Decimal("0.25"), 0.25),
        ("on", True, True),
        ("amount", 5, Decimal(5)),
        ("amount", Decimal("0.10"), Decimal("0.10")),
        ("amount", "123456789.123456789", Decimal("123456789.123456789")),
        ("colour", "green", Colour.GREEN),
        ("level", 2, Level.HIGH),
        ("mode", "fast", "fast"),
        ("names", ["a", "b"], ("a", "b")),
        ("pair", [2, "two"], (2, "two")),
        ("weights", {"x": 1}, {"x": Decimal(1)}),
        ("seen", ["a", "a"], frozenset({"a"})),
        ("listed", [1, 2], (1, 2)),
        ("inner", {"least": 1}, Inner(least=Decimal(1))),
        ("inners", [{"least": 1}], [Inner(least=Decimal(1))]),
        ("by_name", {"x": {"least": 1}}, {"x": Inner(least=Decimal(1))}),
        ("start", "2014-05-08T00:00:00Z", datetime(2014, 5, 8, tzinfo=UTC)),
        ("start", datetime(2014, 5, 8, tzinfo=UTC), datetime(2014, 5, 8, tzinfo=UTC)),
        ("day", "2014-05-08", date(2014, 5, 8)),
        ("path", "data/ticks", Path("data/ticks")),
        ("either", "max", "max"),
        ("either", "2.5", Decimal("2.5")),
        ("either", 2, Decimal(2)),
        ("anything", [1, {"x": 2}], [1, {"x": 2}]),
    ],
)
def test_a_value_of_the_right_type_is_taken(key: str, value: object, expected: object) -> None:
    result = one(key, value)
    assert isinstance(result, Everything)
    assert getattr(result, key) == expected
    assert type(getattr(result, key)) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("text", 1, "text: found 1 (an integer), allowed: a string"),
        ("count", True, "count: found true (a boolean), allowed: an integer from 1 to 10"),
        ("count", "3", 'count: found "3" (a string), allowed: an integer from 1 to 10'),
        ("count", Decimal("3.0"), "count: found 3.0 (a number), allowed: an integer from 1 to 10"),
        ("count", 11, "count: found 11 (an integer), allowed: an integer from 1 to 10"),
        ("share", Decimal(1), "share: found 1 (a number), allowed: a number above 0, below 1"),
        ("share", "0.5", 'share: found "0.5" (a string), allowed: a number above 0, below 1'),
        ("on", 1, "on: found 1 (an integer), allowed: true or false"),
        ("amount", 0, "amount: found 0 (an integer), allowed: a decimal number above 0"),
        ("amount", "ten", 'amount: found "ten" (a string), allowed: a decimal number above 0'),
        ("amount", True, "amount: found true (a boolean), allowed: a decimal number above 0"),
        ("amount", Decimal("NaN"), "amount: found NaN (a number), allowed: a decimal number above 0"),
        ("amount", "Infinity", 'amount: found "Infinity" (a string), allowed: a decimal number above 0'),
        (
            "amount",
            Decimal("1e999999"),
            "amount: found 1E+999999 (a number), allowed: a decimal number above 0",
        ),
        (
            "colour",
            "gren",
            'colour: found "gren" (a string), allowed: one of "red", "green"; did you mean "green"?',
        ),
        ("level", True, "level: found true (a boolean), allowed: one of 1, 2"),
        (
            "mode",
            "FAST",
            'mode: found "FAST" (a string), allowed: one of "slow", "fast"; did you mean "fast"?',
        ),
        ("mode", [], 'mode: found an array of 0, allowed: one of "slow", "fast"'),
        ("names", "a", 'names: found "a" (a string), allowed: an array 1 to 3 long, each a string'),
        ("names", [], "names: found an array of 0, allowed: an array 1 to 3 long, each a string"),
        ("names", ["a", 2], "names[1]: found 2 (an integer), allowed: a string"),
        ("pair", [1], "pair: found an array of 1, allowed: 2 entries"),
        ("weights", {"x": "y"}, 'weights.x: found "y" (a string), allowed: a decimal number'),
        ("weights", 1, "weights: found 1 (an integer), allowed: a table"),
        ("inner", 1, "inner: found 1 (an integer), allowed: a table"),
        ("inner", {}, "inner.least: is missing, allowed: a decimal number"),
        ("inner", {"least": 11}, "inner: least 11 is above most 10"),
        ("inners", [{"least": 1}, {"least": 12}], "inners[1]: least 12 is above most 10"),
        ("by_name", {"a b": {"least": 11}}, 'by_name."a b": least 11 is above most 10'),
        ("path", "a\0b", 'path: found "a\\u0000b" (a string), allowed: a Path'),
        ("either", True, "either: found true (a boolean), allowed: a decimal number or a string"),
    ],
)
def test_anything_else_is_a_problem_that_says_where_what_and_what_is_allowed(
    key: str, value: object, problem: str
) -> None:
    assert one(key, value) == problem


@pytest.mark.parametrize("value", ["yesterday", "2014-05-08T00:00:00", 5, datetime(2014, 5, 8)])  # noqa: DTZ001
def test_a_time_without_an_offset_is_not_a_moment(value: object) -> None:
    problem = one("start", value)
    assert isinstance(problem, str)
    assert "a date and time with its offset" in problem


def test_all_problems_come_at_once() -> None:
    found: list[str] = []
    assert decode({"count": 0, "txt": "", "inner": {"least": "x", "mots": 1}}, Everything, "s", found) is None
    assert found == [
        's.txt: unknown key; did you mean "text"?',
        "s.count: found 0 (an integer), allowed: an integer from 1 to 10",
        's.inner.mots: unknown key; did you mean "most"?',
        's.inner.least: found "x" (a string), allowed: a decimal number',
    ]


def test_every_missing_key_is_named_with_what_it_may_be() -> None:
    found: list[str] = []
    decode({}, Needs, "s", found)
    assert found == [
        "s.this: is missing, allowed: a string",
        "s.that: is missing, allowed: an integer at least 0",
    ]


def test_an_unknown_key_near_nothing_lists_what_there_is() -> None:
    found: list[str] = []
    decode({"this": "", "that": 1, "zzzzzz": 1}, Needs, "s", found)
    assert found == ["s.zzzzzz: unknown key; known keys: that, this"]


def test_a_key_that_is_there_already_is_not_suggested() -> None:
    found: list[str] = []
    decode({"this": "", "thi": "", "that": 0}, Needs, "", found)
    assert found == ['thi: unknown key; did you mean "this"?']
    found.clear()
    decode({"this": "", "thas": ""}, Needs, "", found)
    assert found[0] == 'thas: unknown key; did you mean "that"?'


def test_hundreds_of_unknown_keys_are_counted_instead_of_listed() -> None:
    found: list[str] = []
    decode({f"k{n}": n for n in range(500)}, Everything, "s", found)
    assert len(found) == 21
    assert found[-1] == "s: 480 more unknown keys"


def test_a_table_that_only_one_member_of_a_union_takes_is_explained_by_that_member() -> None:
    class Either(Struct, kw_only=True):
        fee: Inner | Decimal

    found: list[str] = []
    decode({"fee": {"lest": 1}}, Either, "", found)
    assert found == [
        'fee.lest: unknown key; did you mean "least"?',
        "fee.least: is missing, allowed: a decimal number",
    ]


def test_a_structs_own_checks_may_raise_what_msgspec_expects_and_several_problems() -> None:
    class Checked(Struct):
        kind: str

        def __post_init__(self) -> None:
            if self.kind == "many":
                raise ConfigError(["first", "second"])
            if self.kind == "value":
                raise ValueError("not this one")
            if self.kind == "numbers":
                Decimal("sNaN") + 1
            if self.kind == "anything":
                raise RuntimeError("no idea")
            if self.kind == "the end":
                raise SystemExit(3)

    found: list[str] = []
    for kind in ("many", "value", "numbers", "anything", "the end"):
        assert decode({"kind": kind}, Checked, "s", found) is None
    assert found == [
        "s: first",
        "s: second",
        "s: not this one",
        "s: these numbers cannot be computed with",
        "s: Checked does not take these: RuntimeError: no idea",
        "s: Checked does not take these: SystemExit: 3",
    ]


def test_a_secret_in_the_open_is_refused_without_showing_it() -> None:
    class WithToken(Struct):
        token: Secret | None = None

    found: list[str] = []
    assert decode({"token": "hunter2-hunter2"}, WithToken, "s", found) is None
    assert "credential" in found[0]
    assert "hunter2" not in found[0]


def test_a_value_from_the_environment_is_named_as_such_and_text_stays_text() -> None:
    origins = {"s.text": Origin("TRADEKEEL__S__TEXT", "007"), "s.count": Origin("TRADEKEEL__S__COUNT", "x")}
    found: list[str] = []
    decode({"text": 7, "count": "x"}, Everything, "s", found, origins=origins)
    (problem,) = found
    assert problem.startswith('s.count: found "x" (a string), allowed: an integer from 1 to 10')
    assert problem.endswith("(set by the environment variable TRADEKEEL__S__COUNT)")
    found.clear()
    result = decode({"text": 7}, Everything, "s", found, origins=origins)
    assert result is not None
    assert result.text == "007"


def test_a_type_that_cannot_be_decoded_is_our_bug() -> None:
    class Odd(Struct):
        value: complex = 1j

    with pytest.raises(Defect):
        decode({"value": 1}, Odd, "", [])


def test_an_array_beyond_the_limit_is_refused() -> None:
    assert one("listed", [1] * 10_001) == "listed: found 10001 entries, allowed: at most 10000"


# What tomllib can deliver, and a little more.
toml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=8)
    | st.datetimes()
    | st.dates()
    | st.times(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Everything.__struct_fields__, "least", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(Everything.__struct_fields__) | st.text(max_size=5), toml_values, max_size=6))
def test_any_table_becomes_a_struct_or_problems_and_never_an_exception(table: dict[str, Any]) -> None:
    found: list[str] = []
    result = decode(table, Everything, "s", found)
    assert (result is None) == bool(found)
    assert all(problem.isprintable() for problem in found)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=1, max_value=10**15))
def test_a_decimal_is_exactly_what_was_written_however_it_was_written(amount: Decimal) -> None:
    for written in (amount, str(amount), f"{amount:f}"):
        result = one("amount", written)
        assert isinstance(result, Everything)
        assert result.amount == amount
        assert result.amount.as_tuple() == amount.as_tuple()
