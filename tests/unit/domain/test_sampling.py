"""Which ticks the journal keeps: one in so many, of all instruments, and the same ones however they are taken."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.records import next_sample


def sampled(every: int, until: int) -> list[int]:
    found = [next_sample(1, every)]
    while found[-1] <= until:
        found.append(next_sample(found[-1] + 1, every))
    return found[:-1]


@given(every=st.integers(2, 5_000), stretches=st.integers(1, 50))
def test_there_is_one_in_each_stretch(every: int, stretches: int) -> None:
    assert [-(-place // every) for place in sampled(every, every * stretches)] == list(range(1, stretches + 1))


@given(every=st.integers(2, 5_000), position=st.integers(0, 100_000))
def test_the_next_one_is_the_same_from_every_place_before_it(every: int, position: int) -> None:
    place = next_sample(position, every)
    assert position <= place < position + 2 * every
    assert next_sample(place, every) == place
    assert next_sample((position + place) // 2, every) == place


def test_instruments_that_take_turns_are_all_in_it() -> None:
    """A thousand is even: always the last of it would be always the second of two."""
    for count in range(2, 21):
        of = Counter(place % count for place in sampled(1_000, 400_000))
        assert len(of) == count
        assert min(of.values()) * count > 200, "and none of them seldom"
