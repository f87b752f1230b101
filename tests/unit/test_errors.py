"""Every error has its place in the tree, and every category met with every action has exactly one failure word."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradekeel
from tradekeel import errors
from tradekeel.errors import (
    FAULT_TABLE,
    ConfigError,
    Defect,
    ErrorAction,
    ErrorCategory,
    ExitCode,
    FailureWord,
    IllegalTransition,
    InputError,
    OurError,
    OutcomeUnknown,
    StoreError,
    TradekeelError,
    VenueRefused,
    VenueUnreachable,
    action_of,
    category_of,
    failure_word,
    named,
    text_of,
)

ROOT = Path(tradekeel.__file__).parent
GROUPS = {TradekeelError, OurError, StoreError}
"""They only group others: nobody raises them."""


def everything() -> list[type[TradekeelError]]:
    """Every error of the product, in whichever module it is."""
    for module in pkgutil.walk_packages([str(ROOT)], "tradekeel."):
        if "migrations" not in module.name and module.name != "tradekeel.__main__":
            importlib.import_module(module.name)
    found, waiting = [], [TradekeelError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("tradekeel"):
            found.append(kind)
        waiting.extend(kind.__subclasses__())
    return sorted(set(found), key=lambda kind: (kind.__module__, kind.__name__))


ALL = everything()
CONCRETE = [kind for kind in ALL if kind not in GROUPS]


def one_of(kind: type[TradekeelError]) -> TradekeelError:
    """An error of this class, with nothing in it."""
    return kind.__new__(kind)


WORDS = {
    # the meanings of the design's five failure words
    "retry": "transient, with back-off; never for an order",
    "degrade": "go on without an optional part, loudly",
    "reduce-only": "no new exposure, exits go on",
    "halt": "no orders until a person says so; the daemon keeps running",
    "crash": "restart from disk",
}


class TestTheTree:
    def test_is_drawn_in_the_docstring_as_it_is(self):
        drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
        kinds = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, TradekeelError)]
        assert sorted(drawn) == sorted(e.__name__ for e in kinds if e is not TradekeelError)

    def test_has_one_root(self):
        assert TradekeelError.__bases__ == (Exception,)

    def test_keeps_ours_the_venues_no_and_nobody_knows_apart(self):
        for one in (OurError, VenueRefused, VenueUnreachable, OutcomeUnknown):
            others = {OurError, VenueRefused, VenueUnreachable, OutcomeUnknown} - {one}
            assert not any(issubclass(one, other) for other in others)

    @pytest.mark.parametrize(
        ("child", "parent"),
        [
            (ConfigError, InputError),
            (errors.DataError, InputError),
            (IllegalTransition, Defect),
            (errors.StoreTooNew, StoreError),
            (errors.StoreTooOld, StoreError),
            (errors.StoreCorrupt, StoreError),
            (errors.StoreUnavailable, StoreError),
            (errors.GroupRefused, StoreError),
            (errors.StoreAway, StoreError),
            (errors.StoreUnanswered, StoreError),
            (errors.StoreRefused, StoreError),
            (errors.UserRefused, errors.StoreRefused),
            (errors.AlreadyRunning, OurError),
        ],
    )
    def test_can_be_caught_by_branch(self, child, parent):
        assert issubclass(child, parent)


class TestMessages:
    def test_a_config_error_counts_and_lists_all_problems(self):
        error = ConfigError(["a is missing", "b is 3"], "demo.toml")
        assert str(error) == "demo.toml: 2 problems in the configuration\n  - a is missing\n  - b is 3"
        assert error.problems == ["a is missing", "b is 3"]

    def test_a_config_error_of_no_file_says_so_by_silence(self):
        assert str(ConfigError(["a is missing"])) == "1 problem in the configuration\n  - a is missing"

    def test_an_illegal_transition_names_machine_state_and_event(self):
        class Light(Enum):
            RED = 1

        error = IllegalTransition("light", Light.RED, Light.RED)
        assert str(error) == "light: RED is not allowed in state RED"
        assert (error.state, error.event) == (Light.RED, Light.RED)

    def test_a_refusal_carries_the_venues_own_word(self):
        assert str(VenueRefused("INSUFFICIENT_MARGIN", "need 12")) == "INSUFFICIENT_MARGIN: need 12"
        assert str(VenueRefused("MARKET_HALTED")) == VenueRefused("MARKET_HALTED").code == "MARKET_HALTED"


class TestFailureWords:
    def test_are_exactly_the_five_of_the_design(self):
        assert {word.value for word in FailureWord} == set(WORDS)

    def test_say_in_the_code_what_they_mean(self):
        source = inspect.getsource(FailureWord)
        for word in FailureWord:
            assert re.search(rf'{word.name} = "{word}"  # {re.escape(WORDS[word.value])}', source)

    def test_there_is_one_for_every_category_and_action(self):
        assert set(FAULT_TABLE) == set(ErrorCategory)
        for rule in FAULT_TABLE.values():
            assert set(rule.words) == set(ErrorAction)

    @pytest.mark.parametrize(
        ("category", "action", "word"),
        [
            ("validation", "reject", "degrade"),
            ("validation", "retry", "degrade"),
            ("validation", "fail", "halt"),
            ("validation", "record_and_continue", "degrade"),
            ("transient", "reject", "degrade"),
            ("transient", "retry", "retry"),
            ("transient", "fail", "reduce-only"),
            ("transient", "record_and_continue", "degrade"),
            ("critical", "reject", "halt"),
            ("critical", "retry", "crash"),
            ("critical", "fail", "crash"),
            ("critical", "record_and_continue", "halt"),
            ("business_logic", "reject", "degrade"),
            ("business_logic", "retry", "reduce-only"),
            ("business_logic", "fail", "reduce-only"),
            ("business_logic", "record_and_continue", "degrade"),
        ],
    )
    def test_of_each_category_met_with_each_action(self, category, action, word):
        assert FAULT_TABLE[ErrorCategory(category)].words[ErrorAction(action)].value == word

    def test_only_what_is_transient_is_ever_retried(self):
        retried = {c for c, rule in FAULT_TABLE.items() if FailureWord.RETRY in rule.words.values()}
        assert retried == {ErrorCategory.TRANSIENT}

    def test_a_critical_error_never_lets_trading_go_on(self):
        words = set(FAULT_TABLE[ErrorCategory.CRITICAL].words.values())
        assert words == {FailureWord.HALT, FailureWord.CRASH}


class TestWhatAnErrorMeans:
    def test_every_error_that_is_raised_has_a_category_and_no_group_has_one(self):
        without = {kind for kind in ALL if not hasattr(kind, "category")}
        assert without == GROUPS

    def test_nobody_raises_a_group(self):
        names = {kind.__name__ for kind in GROUPS}
        assert [place for place, raised in raised_by_name() if raised in names] == []

    def test_a_class_says_its_category_itself_or_has_the_one_of_what_it_is_a_kind_of(self):
        for kind in CONCRETE:
            parents = [base for base in kind.__bases__ if base in CONCRETE]
            assert "category" in vars(kind) or parents, kind

    @given(kind=st.sampled_from(CONCRETE), action=st.sampled_from(ErrorAction))
    def test_comes_from_the_table_for_every_error_and_action(self, kind, action):
        error, rule = one_of(kind), FAULT_TABLE[kind.category]
        assert category_of(error) is kind.category
        assert action_of(error) is rule.usual
        assert failure_word(error) is rule.words[rule.usual]
        assert failure_word(error, action) is rule.words[action]

    @given(kind=st.sampled_from(CONCRETE), action=st.sampled_from(ErrorAction))
    def test_failing_is_never_milder_than_any_other_action_and_only_a_transient_error_is_tried_again(
        self, kind, action
    ):
        milder_first = [FailureWord.RETRY, FailureWord.DEGRADE, FailureWord.REDUCE_ONLY, FailureWord.HALT]
        severity = [*milder_first, FailureWord.CRASH].index
        error = one_of(kind)
        assert severity(failure_word(error, action)) <= severity(failure_word(error, ErrorAction.FAIL))
        again = failure_word(error, action) is FailureWord.RETRY
        assert again == (category_of(error) is ErrorCategory.TRANSIENT and action is ErrorAction.RETRY)

    @given(error=st.sampled_from([KeyError("x"), AssertionError(), OSError(28, "full"), KeyboardInterrupt()]))
    def test_what_nobody_raised_on_purpose_is_a_defect(self, error):
        assert category_of(error) is category_of(Defect("x"))
        assert failure_word(error) is FailureWord.CRASH

    def test_the_recovery_guide_lists_every_error_under_its_category(self):
        guide = (ROOT.parent.parent / "docs" / "recovery.md").read_text()
        for category, rule in FAULT_TABLE.items():
            name = category.value.replace("_", " ")
            row = re.search(rf"^\| \*\*{name}\*\* \| (.*) \| (.*) \| (.*) \|$", guide, re.MULTILINE)
            assert row is not None, category
            listed = set(re.findall(r"`(\w+)`", row[1]))
            there = {
                kind.__name__ for kind in CONCRETE if kind.category is category and not kind.__name__.startswith("_")
            }
            rest = {kind.__name__ for kind in ALL if kind.__module__ == "tradekeel.runtime.errors"}
            assert listed <= there
            assert there - listed <= (rest if category is ErrorCategory.CRITICAL else set())
            assert row[2] == rule.usual.value.replace("_", " ")
            assert row[3] == rule.words[rule.usual].value


def raised_by_name() -> Iterator[tuple[str, str]]:
    """Where the product raises, and the name of what."""
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if isinstance(raised, ast.Name):
                    yield f"{file.name}:{node.lineno}", raised.id


def test_exit_codes_are_those_of_the_operating_guide():
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "DIFFERENT": 1,
        "BAD_USAGE": 2,
        "VENUE_UNREACHABLE": 3,
        "BOOKS_DO_NOT_MATCH": 4,
        "HALTED_BY_RISK": 5,
        "ALREADY_RUNNING": 6,
        "INTERRUPTED": 7,
        "DEFECT": 70,
    }


# --- what they say ------------------------------------------------------------------------------------------------------


class Unspeakable(Exception):
    """Of a user's own, and no good."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "text", "name"),
    [
        (ValueError("no"), "no", "ValueError: no"),
        (ValueError(), "", "ValueError"),
        (ValueError("half: \ud800"), r"half: \ud800", r"ValueError: half: \ud800"),
        (Unspeakable(), "", "Unspeakable"),
        (ValueError("x" * 3_000), "x" * 2_000 + "…", "ValueError: " + "x" * 2_000 + "…"),
    ],
    ids=["plain", "empty", "half a character", "raises", "long"],
)
def test_what_an_exception_says_can_be_stored_and_shown_whoever_wrote_it(
    error: Exception, text: str, name: str
) -> None:
    assert (text_of(error), named(error)) == (text, name)
    text_of(error).encode()
