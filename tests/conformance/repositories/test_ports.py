"""What the ports promise, the repositories do: every method, with the same words."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tradekeel.ports import repositories as ports
from tradekeel.ports.tradestore import TradeStore
from tradekeel.storage import repositories
from tradekeel.storage.redis.trades import RedisTradeStore
from tradekeel.storage.tradestore import SqlTradeStore

PAIRS: list[tuple[Any, Any]] = [
    (getattr(ports, name), getattr(repositories, f"Sql{name}"))
    for name in sorted(vars(ports))
    if name.endswith("Repository")
] + [(TradeStore, SqlTradeStore), (TradeStore, RedisTradeStore)]


@pytest.mark.parametrize(("port", "kind"), PAIRS, ids=lambda kind: kind.__name__)
def test_every_method_is_there_and_takes_the_same(port: Any, kind: Any) -> None:
    promised = {
        name: found for name, found in vars(port).items() if inspect.isfunction(found) and not name.startswith("_")
    }
    assert len(promised) > 2
    for name, method in promised.items():
        ours = inspect.signature(getattr(kind, name)).parameters
        theirs = inspect.signature(method).parameters
        assert list(ours) == list(theirs), name
        assert [p.kind for p in ours.values()] == [p.kind for p in theirs.values()], name
        assert method.__doc__, f"{port.__name__}.{name} says what it does"


def test_there_is_a_repository_for_every_port() -> None:
    assert len(PAIRS) == 12 + 2  # and the small face, twice
