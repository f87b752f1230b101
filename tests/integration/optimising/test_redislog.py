"""A study on a Redis server is its own, and one that has lost a part of itself is refused, and waited for by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import redis

from tests.integration.optimising.contender import board_of
from tradekeel.backtest.optimising.studies import Board
from tradekeel.bootstrap.optimising.stores import PREFIX, StoreSettings, opened_store
from tradekeel.errors import StoreCorrupt

TRIALS = 3


@contextmanager
def joined(url: str, name: str) -> Iterator[Board]:
    with opened_store(StoreSettings(url, None, Path(name))) as store:
        yield board_of(store, name, "random", TRIALS)


def run_all(board: Board) -> None:
    while (trial := board.claim()) is not None:
        assert board.complete(trial, [1.0], {})


def test_who_joins_a_study_reads_no_other(redis_url: str) -> None:
    with joined(redis_url, "one") as board:
        run_all(board)
    with opened_store(StoreSettings(redis_url, None, Path("other"))) as store:
        assert optuna.get_all_study_names(store) == []
    with joined(redis_url, "one") as again:
        assert again.counts().complete == TRIALS
    with redis.Redis.from_url(redis_url) as client:
        keys = client.keys()
        assert isinstance(keys, list)
        assert keys
        assert all(key.startswith(f"{PREFIX}:one:".encode()) for key in keys)


def test_a_study_that_has_lost_an_entry_is_refused(redis_url: str) -> None:
    with joined(redis_url, "one") as board:
        run_all(board)
    with redis.Redis.from_url(redis_url) as client:
        assert client.delete(f"{PREFIX}:one:log:5") == 1
    with (
        pytest.raises(StoreCorrupt, match=r"has lost entry 5 of the study below tradekeel:optimize:one:"),
        joined(redis_url, "one"),
    ):
        pass


def test_a_study_that_is_deleted_ends_whoever_is_at_it(redis_url: str) -> None:
    with joined(redis_url, "one") as board:
        assert board.claim() is not None
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        with pytest.raises(StoreCorrupt, match="has lost entry 0"):
            board.claim()
