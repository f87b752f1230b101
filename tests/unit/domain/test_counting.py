"""One is one, whatever is counted."""

from __future__ import annotations

from tradekeel.domain.counting import counted


def test_one_is_one_and_all_else_is_many() -> None:
    assert [counted(count, "trade") for count in (0, 1, 2, 2_500)] == [
        "0 trades",
        "1 trade",
        "2 trades",
        "2,500 trades",
    ]
    assert [counted(count, "batch", "batches") for count in (1, 2)] == ["1 batch", "2 batches"]
