"""One is one, whatever is counted."""

from __future__ import annotations

from tradekeel.domain.counting import counted, each_counted


def test_one_is_one_and_all_else_is_many() -> None:
    assert [counted(count, "trade") for count in (0, 1, 2, 2_500)] == [
        "0 trades",
        "1 trade",
        "2 trades",
        "2,500 trades",
    ]
    assert [counted(count, "batch", "batches") for count in (1, 2)] == ["1 batch", "2 batches"]


def test_a_list_of_counts_is_told_by_name_without_what_is_zero() -> None:
    assert (
        each_counted({"gap_accepted": 1, "crossed_dropped": 4000, "time_dropped": 0})
        == "4,000 crossed dropped, 1 gap accepted"
    )
    assert each_counted({}) == ""
