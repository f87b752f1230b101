"""Orders that came to nothing are counted by why, whatever a venue says."""

from __future__ import annotations

from tradekeel.domain.refused import NONE_GIVEN, OTHER, REASON_CHARACTERS_MAX, REASONS_MAX, Refused, reasons


def test_the_gates_codes_and_the_venues_reasons_are_counted_the_most_frequent_first() -> None:
    counts = Refused({"paused": 1}, {"NO_PRICE": 1})
    for status, reason in (
        *[("rejected", "INSUFFICIENT_MARGIN")] * 2,
        *[("denied", "price_collar: 60 pips from 1.1")] * 2,
        ("filled", ""),
        ("canceled", "client_request"),
    ):
        counts.take(status, reason)
    assert list(counts.denied.items()) == [("price_collar", 2), ("paused", 1)]
    assert list(counts.rejections.items()) == [("INSUFFICIENT_MARGIN", 2), ("NO_PRICE", 1)]


def test_a_venues_words_are_one_line_of_bounded_length() -> None:
    counts = Refused({}, {})
    counts.take("rejected", "no\n\n  money \t left")
    counts.take("rejected", "")
    counts.take("rejected", "x" * 1_000)
    assert counts.rejections == {"no money left": 1, NONE_GIVEN: 1, "x" * REASON_CHARACTERS_MAX: 1}


def test_reasons_that_never_repeat_do_not_grow_for_ever() -> None:
    counts = Refused({}, {})
    for number in range(REASONS_MAX + 50):
        counts.take("rejected", f"order {number} is too large")
    counts.take("rejected", "order 3 is too large")
    assert len(counts.rejections) == REASONS_MAX + 1
    assert list(counts.rejections.items())[:2] == [(OTHER, 50), ("order 3 is too large", 2)]
    assert sum(counts.rejections.values()) == REASONS_MAX + 51


def test_in_words() -> None:
    assert reasons({"NO_PRICE": 1_200, "WRONG_SIDE": 1}) == "NO_PRICE 1,200, WRONG_SIDE 1"
    assert reasons({"NO_PRICE": 3, "WRONG_SIDE": 2, "NO_CONVERSION": 1}, 1) == "NO_PRICE 3, for other reasons 3"
