"""The table of conformance counts each case once, under the backend that its name has."""

from __future__ import annotations

import pytest

from tools.conformance import NONE, backend_of, count


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("sqlite", "sqlite"),
        ("redis-limited-user", "redis-limited-user"),
        ("redis", "redis"),
        ("postgres-by name", "postgres"),
        ("a word-memory", "memory"),
        ("postgresql", NONE),
        ("", NONE),
    ],
)
def test_a_backend_is_a_whole_part_of_the_name(name: str, backend: str) -> None:
    assert backend_of(name) == backend


def test_cases_are_counted_by_interface() -> None:
    said = [
        "tests/conformance/test_cache.py::test_a_value_comes_back[redis-é]",
        "tests/conformance/test_cache.py::test_a_value_comes_back[memory-é]",
        "tests/conformance/repositories/test_trades.py::test_a_trade[sqlite]",
        "tests/conformance/repositories/test_ports.py::test_all",
        "",
        "4 tests collected in 0.1s",
    ]
    assert count(said) == {
        "cache": {"redis": 1, "memory": 1},
        "repositories/trades": {"sqlite": 1},
        "repositories/ports": {NONE: 1},
    }
