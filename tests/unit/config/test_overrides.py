"""TRADEKEEL__SECTION__KEY: the environment changes what the file says, by the file's own rules."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.config.files import GOOD, load, problems
from tradekeel.config.overrides import apply_overrides, read_value


def test_a_value_is_replaced_however_its_name_is_spelt(tmp_path: Path) -> None:
    for variable in (
        "TRADEKEEL__ACCOUNTS__PAPER_1__BALANCE",
        "TRADEKEEL__accounts__paper-1__balance",
        "tradekeel__Accounts__Paper_1__Balance",
    ):
        assert load(tmp_path, environ={variable: "250000"}).accounts["paper-1"].balance == Decimal(250_000)


def test_a_section_that_the_file_leaves_out_can_be_set(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"TRADEKEEL__LOGGING__LEVEL": "debug"}).logging.level == "debug"


def test_keys_of_a_kind_and_of_free_tables_can_be_set(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        environ={
            "TRADEKEEL__FEEDS__MARKET__SPEED": "max",
            "TRADEKEEL__ACCOUNTS__PAPER_1__PAPER__LATENCY_MS": "5",
            "TRADEKEEL__ACCOUNTS__PAPER_1__RISK__SIGNAL_FILTER__CONFIDENCE_THRESHOLD": "0.5",
            "TRADEKEEL__STRATEGIES__FLOOR__PARAMS__MAX_LAYERS": "2",
        },
    )
    assert config.feeds["market"].options == {"seed": 7, "speed": "max"}
    assert config.accounts["paper-1"].options == {"latency_ms": 5}
    assert config.accounts["paper-1"].risk["signal_filter"] == {"confidence_threshold": Decimal("0.5")}
    assert config.strategies["floor"].params == {"max_layers": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("5.10", Decimal("5.10")),
        ("true", True),
        ('"5"', "5"),
        ("[1, 2]", [1, 2]),
        ('{ env = "X" }', {"env": "X"}),
        ("EUR_USD", "EUR_USD"),
        ("", ""),
        ("007", "007"),
        ("1\nother = 2", "1\nother = 2"),
        ("1 # comment", 1),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("[" * 5_000, "[" * 5_000),
    ],
)
def test_a_value_is_toml_where_it_is_toml_and_text_where_not(text: str, value: object) -> None:
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        (
            "TRADEKEEL__DAEMON__ON_STPO",
            "TRADEKEEL__DAEMON__ON_STPO in the environment: daemon has nothing named 'on_stpo'; did you mean \"on_stop\"?",
        ),
        (
            "TRADEKEEL__ACCOUNTS__PAPER_2__BALANCE",
            (
                "TRADEKEEL__ACCOUNTS__PAPER_2__BALANCE in the environment: accounts has nothing named 'paper_2__balance'; "
                'did you mean "paper-1"?'
            ),
        ),
        ("TRADEKEEL__LOGGING", "TRADEKEEL__LOGGING in the environment: logging is a table; name one of its keys"),
        (
            "TRADEKEEL__ACCOUNTS__PAPER_1",
            "TRADEKEEL__ACCOUNTS__PAPER_1 in the environment: accounts.paper-1 is a table; name one of its keys",
        ),
        (
            "TRADEKEEL__ACCOUNTS__PAPER_1__VENUE__X",
            "TRADEKEEL__ACCOUNTS__PAPER_1__VENUE__X in the environment: accounts.paper-1.venue is a value and has no keys",
        ),
        ("TRADEKEEL__", "TRADEKEEL__ in the environment: the file has nothing named ''; known keys:"),
    ],
)
def test_a_name_that_means_nothing_is_a_problem(tmp_path: Path, variable: str, problem: str) -> None:
    (found,) = problems(tmp_path, environ={variable: "1"})
    assert found.startswith(problem)


def test_a_bad_value_says_that_it_came_from_the_environment(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, environ={"TRADEKEEL__DAEMON__ON_STOP": "panic"})
    assert found == (
        'daemon.on_stop: found "panic" (a string), allowed: one of "keep", "cancel_entries", "flatten" '
        "(set by the environment variable TRADEKEEL__DAEMON__ON_STOP)"
    )


def test_a_secret_cannot_be_slipped_in(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, environ={"TRADEKEEL__ACCOUNTS__PAPER_1__TOKEN": "hunter2-hunter2"})
    assert found.startswith("accounts.paper-1.token: a secret may not stand in the file")
    assert "hunter2" not in found
    config = load(tmp_path, environ={"TRADEKEEL__ACCOUNTS__PAPER_1__TOKEN": '{ env = "T" }', "T": "hunter2-hunter2"})
    token = config.accounts["paper-1"].token
    assert token is not None
    assert token.reveal() == "hunter2-hunter2"


def test_two_names_that_the_environment_cannot_tell_apart_are_said(tmp_path: Path) -> None:
    text = GOOD + '[accounts.paper_1]\nvenue = "paper"\nfeed = "market"\n'
    (found,) = problems(tmp_path, text, {"TRADEKEEL__ACCOUNTS__PAPER_1__BALANCE": "5"})
    assert "could mean each of paper-1, paper_1; set it in the file" in found


def test_names_with_two_underscores_are_reached(tmp_path: Path) -> None:
    text = GOOD.replace("paper-1", "paper__1")
    config = load(tmp_path, text, {"TRADEKEEL__ACCOUNTS__PAPER__1__BALANCE": "5"})
    assert config.accounts["paper__1"].balance == 5


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    environ = {"TRADEKEEL_PROFILE": "ci", "PATH": "/bin", "TRADEKEEL": "x"}
    assert load(tmp_path, environ=environ).origins == {}


def test_a_flood_of_variables_is_refused_whole() -> None:
    found: list[str] = []
    environ = {f"TRADEKEEL__DAEMON__K{n}": "1" for n in range(1001)}
    assert apply_overrides(tomllib.loads(GOOD), environ, found) == {}
    assert found == ["the environment has 1001 overrides, allowed: at most 1000"]
