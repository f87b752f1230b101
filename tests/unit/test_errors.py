"""Every error has its place in the tree, and every category met with every action has exactly one failure word."""

from __future__ import annotations

import inspect
import re
from enum import Enum

import pytest

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
    failure_word,
)

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
            (IllegalTransition, Defect),
            (errors.StoreTooNew, StoreError),
            (errors.StoreCorrupt, StoreError),
            (errors.StoreUnavailable, StoreError),
            (errors.GroupRefused, StoreError),
            (errors.BooksDoNotMatch, OurError),
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
        for actions in FAULT_TABLE.values():
            assert set(actions) == set(ErrorAction)

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
        assert failure_word(ErrorCategory(category), ErrorAction(action)).value == word

    def test_only_what_is_transient_is_ever_retried(self):
        retried = {c for c in ErrorCategory for a in ErrorAction if failure_word(c, a) is FailureWord.RETRY}
        assert retried == {ErrorCategory.TRANSIENT}

    def test_a_critical_error_never_lets_trading_go_on(self):
        words = {failure_word(ErrorCategory.CRITICAL, action) for action in ErrorAction}
        assert words == {FailureWord.HALT, FailureWord.CRASH}


def test_exit_codes_are_those_of_the_operating_guide():
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "BAD_USAGE": 2,
        "VENUE_UNREACHABLE": 3,
        "BOOKS_DO_NOT_MATCH": 4,
        "HALTED_BY_RISK": 5,
        "ALREADY_RUNNING": 6,
        "DEFECT": 70,
    }
