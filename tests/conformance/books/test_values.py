"""What is hard to store comes back as it was, or is refused by itself: extremes of numbers, texts, sizes."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.looking import look
from tradekeel.domain.rows import ACCOUNT_OWNER
from tradekeel.errors import GroupRefused
from tradekeel.storage.backend import Backend
from tradekeel.storage.queries import Filter, Reader
from tradekeel.storage.store import Store, Written
from tradekeel.storage.verify import verify

AMOUNTS = [
    "1e-30",
    "-1e-30",
    "1.390000000000000000000000000000",
    "1234567890123456789012345678901234567890",  # 40 digits
    "-12345678901234567890.12345678901234567890",
    "0.1234567890123456789012345678901234567891",
    "1e400",
    "0e-12",
]
TEXTS = [
    "",
    " blanks stay ",
    "née €, 你好, 🦀, e\u0301, \u202eright to left",
    "'; DROP TABLE orders; -- \\ \" % %s %% ? :name {} $1",
    "line\r\nline\tline\x01\x7f\ufeff\ufffe",
    "x" * 100_000,
]


@pytest.mark.parametrize("amount", AMOUNTS)
async def test_an_amount_keeps_every_digit(store: Store, desk: s.Desk, at: Backend, amount: str) -> None:
    row = s.trade(1, signal_id=None, gross_pnl=Decimal(amount))
    assert store.commit([s.group(s.noted(), rows=(row,))]) == [Written(4, 4)]
    async with Reader(at) as reader:
        [read] = await reader.trades()
    assert read == row
    if "e4" not in amount:  # what is larger than one is written out
        assert str(Decimal(read.gross_pnl)) == str(Decimal(amount))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_a_text_keeps_every_character_and_finds_its_row(
    store: Store, desk: s.Desk, at: Backend, text: str
) -> None:
    nested = {"text": text, text: [text, {"deep": text}], "nul": "a\0b", "number": -(2**63), "half": 0.1}
    row = s.trade(1, signal_id=None, session=text, tags=(text, "a\0b"), metadata=nested)
    store.commit([s.group(s.noted(), rows=(row,))])
    async with Reader(at) as reader:
        assert await reader.trades(Filter(session=text)) == [row]


@pytest.mark.parametrize("name", ["exec-é你🦀", "exec ' \" % ? \\", "EXEC-1"])
def test_an_execution_may_be_called_anything(store: Store, desk: s.Desk, at: Backend, name: str) -> None:
    other = s.Desk(name, account=f"account {name}")
    store.commit([other.opening(), other.decision(), other.filled(1)])
    assert store.last_sequence(name) == 5
    assert [row.execution for row in store.executions(f"account {name}")] == [name]
    assert len(store.load_checkpoints(name, s.STRATEGY).saved) == 1
    assert verify(at).ok


@pytest.mark.parametrize("ts_ns", [-(2**63), -1, 0, 2**63 - 1])
async def test_a_time_keeps_its_nanoseconds(store: Store, desk: s.Desk, at: Backend, ts_ns: int) -> None:
    row = s.trade(1, signal_id=None, created_ns=ts_ns, updated_ns=ts_ns)
    store.commit([s.group(s.noted(), rows=(row,))])
    async with Reader(at) as reader:
        assert await reader.trades() == [row]


@pytest.mark.parametrize(
    "row",
    [
        s.trade(2, created_ns=-(2**63) - 1),
        s.trade(2, version=2**64),
        s.trade(2, gross_pnl=Decimal("Infinity")),
        s.trade(2, session="\udcff"),
        s.trade(2, metadata={"text": "\ud800"}),
        s.trade(2, metadata={"number": 2**65}),
        s.trade(2, quantity=Decimal(0)),
        s.trade(2, strategy="nobody"),
        s.trade(2, trade_id=""),
        s.fill(1),
    ],
    ids=["-2^63-1", "2^64", "infinity", "surrogate", "in JSON", "2^65", "no units", "whose", "no id", "twice"],
)
def test_of_many_groups_only_the_one_that_cannot_be_stored_is_refused(
    store: Store, desk: s.Desk, at: Backend, row: Any
) -> None:
    store.commit([desk.decision(), desk.filled(1)])
    good = [group for _ in range(10) for group in (desk.decision(), desk.filled(desk.orders))]
    results = store.commit([*good[:7], s.group(s.noted(), rows=(s.signal(99), row)), *good[7:]])
    assert isinstance(results.pop(7), GroupRefused)
    assert results == [Written(number, number) for number in range(6, 26)]
    assert look(at, "SELECT count(*) FROM signals") == [(11,)], "nothing stays of the refused one"
    assert store.failed is None
    assert verify(at).ok


def test_an_id_that_no_index_takes_is_refused_alone_where_there_is_such_a_limit(
    store: Store, desk: s.Desk, at: Backend, seed: int
) -> None:
    endless = random.Random(seed).randbytes(5_000).hex()  # nothing that could be packed
    refused, written = store.commit([s.group(s.noted(), rows=(s.fill(9, fill_id=endless),)), s.group(s.noted())])
    if at.name == "postgresql":
        assert isinstance(refused, GroupRefused)
        assert written == Written(4, 4)
    else:
        assert (refused, written) == (Written(4, 4), Written(5, 5))
    assert store.failed is None


async def test_a_row_may_be_large(store: Store, desk: s.Desk, at: Backend, seed: int) -> None:
    noise = random.Random(seed).randbytes(8_000_000)
    row = s.trade(1, signal_id=None, metadata={"notes": noise.hex()})
    saved = s.checkpoint(owner=ACCOUNT_OWNER, state=noise)
    store.commit([s.group(s.noted(), rows=(row,), checkpoints=(saved,))])
    assert store.load_checkpoints(s.RUN, ACCOUNT_OWNER).saved[0].checkpoint == saved
    async with Reader(at) as reader:
        assert await reader.trades() == [row]


@pytest.mark.untraced
def test_a_batch_may_have_thousands_of_groups_and_one_bad_one(store: Store, desk: s.Desk, at: Backend) -> None:
    groups = [desk.decision() for _ in range(1_000)]
    results = store.commit([*groups[:500], s.group(s.noted(), rows=(s.order(1, trade_id="nowhere"),)), *groups[500:]])
    assert isinstance(results.pop(500), GroupRefused)
    assert results[-1] == Written(1_003, 1_003)
    assert verify(at).ok
