"""Ids are derived: the same decision gives the same id in every process, and no two decisions share one."""

from __future__ import annotations

import base64
import hashlib
import string

from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.ids import Numbering, client_order_id, content_digest, derived_id, leg_ids

names = st.text(alphabet=string.ascii_lowercase + string.digits + "-_/#", min_size=1, max_size=20)
numberings = st.builds(Numbering, names, st.from_regex(r"|[0-9]{1,4}/[0-9]{1,4}", fullmatch=True))
parts = st.tuples(numberings, names, st.integers(1, 10**6), st.integers(0, 99))


@given(parts)
def test_an_id_is_28_characters_that_every_venue_takes(key: tuple[Numbering, str, int, int]) -> None:
    for found in (client_order_id(*key), *leg_ids(*key)):
        assert len(found) == 28
        assert set(found) <= set(string.ascii_lowercase + "234567")


@given(parts, parts)
def test_ids_are_the_same_exactly_when_what_they_are_derived_from_is(
    one: tuple[Numbering, str, int, int], other: tuple[Numbering, str, int, int]
) -> None:
    assert (client_order_id(*one) == client_order_id(*other)) is (one == other)


def test_the_ids_of_a_leg_are_told_apart_by_their_prefix_alone() -> None:
    order, trade, signal = leg_ids(Numbering("e"), "s", 1, 0)

    assert [i[:2] for i in (order, trade, signal)] == ["tk", "tr", "sg"]
    assert order[2:] == trade[2:] == signal[2:]
    assert order == client_order_id(Numbering("e"), "s", 1, 0)


def test_parts_do_not_run_into_each_other() -> None:
    assert derived_id("x", "ab", "c") != derived_id("x", "a", "bc")
    assert derived_id("x", 1, 11) != derived_id("x", 11, 1)


def test_an_id_never_changes_between_versions() -> None:
    """A journal that was written years ago is folded with these."""
    assert client_order_id(Numbering("run-1"), "floor", 7, 0) == "tkjtie6gp2qclxusfvnzfoyroknu"
    assert content_digest(b"content") == content_digest(b"content") != content_digest(b"other")


@given(st.lists(names, min_size=1, max_size=4))
def test_an_id_is_the_base32_of_a_128_bit_hash(key: list[str]) -> None:
    digest = hashlib.blake2b("\x1f".join(key).encode(), digest_size=16).digest()

    assert derived_id("tk", *key) == "tk" + base64.b32encode(digest).decode().rstrip("=").lower()
