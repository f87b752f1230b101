"""After a restart an account goes on from the newest cut that can be read and that no strategy's saved state is older than."""

from __future__ import annotations

import pytest
from msgspec import structs

from tests.unit.storage.looking import tamper
from tests.unit.storage.rounds import DAY, Trader
from tests.unit.storage.samples import RUN, START_NS, STRATEGY, Desk, group
from tests.unit.storage.samples import checkpoint as state_of
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.recovery import AccountState, encode_account_state, fold
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, StrategyStatus
from tradekeel.domain.trades import Trade
from tradekeel.errors import StoreCorrupt
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.queries import Filter, Reader
from tradekeel.storage.store import Store

ACCOUNT = "paper-1"


@pytest.fixture
def books(store: Store) -> AccountBooks:
    return AccountBooks(store, {ACCOUNT: (STRATEGY,)})


def cut(book: Book) -> Checkpoint:
    """What the executor saves at a moment at which everybody stands still."""
    state = AccountState(book=book.save(), monitor=b"", memories={}, rates=None, position=book.sequence, ts_ns=1)
    return Checkpoint(
        execution=RUN,
        owner=ACCOUNT_OWNER,
        position=book.sequence,
        inbox=book.sequence,
        ts_ns=1,
        version=1,
        state=encode_account_state(state),
    )


def saved(book: Book) -> Checkpoint:
    """What a strategy saves, having read all there is."""
    return structs.replace(state_of(book.sequence), inbox=book.sequence)


def save(store: Store, *checkpoints: Checkpoint) -> None:
    """States that no record comes with."""
    store.commit([group(checkpoints=checkpoints)])


def decide(store: Store, desk: Desk, times: int) -> None:
    """Decisions; what the strategy saves with each is saved by the tests, where they want it."""
    for _ in range(times):
        store.commit([structs.replace(desk.decision(), checkpoints=())])


def test_without_a_cut_the_journal_is_read_from_its_first_record(books: AccountBooks, store: Store, desk: Desk) -> None:
    decide(store, desk, 3)
    loaded = books.load(ACCOUNT)
    assert (loaded.execution, loaded.cut, loaded.book) == (RUN, None, None)
    assert [number for number, _ in loaded.journal] == list(range(1, desk.book.sequence + 1))
    assert fold(Book(), loaded.journal).book.save() == desk.book.save()


def test_the_newest_cut_comes_with_its_books_and_the_journal_behind_it(
    books: AccountBooks, store: Store, desk: Desk
) -> None:
    decide(store, desk, 2)
    save(store, cut(desk.book))
    decide(store, desk, 2)
    newest = cut(desk.book)
    save(store, newest, saved(desk.book))
    decide(store, desk, 3)
    loaded = books.load(ACCOUNT)
    assert loaded.cut == newest
    assert loaded.book is not None
    assert loaded.book.sequence == newest.inbox
    assert [number for number, _ in loaded.journal] == list(range(newest.inbox + 1, desk.book.sequence + 1))
    assert fold(loaded.book, loaded.journal).book.save() == desk.book.save()


def test_a_cut_that_a_strategys_state_is_older_than_is_passed_over(
    books: AccountBooks, store: Store, desk: Desk
) -> None:
    decide(store, desk, 1)
    older = cut(desk.book)
    save(store, older, saved(desk.book))
    decide(store, desk, 2)
    save(store, cut(desk.book))
    assert books.load(ACCOUNT).cut == older


@pytest.mark.parametrize("status", StrategyStatus)
def test_a_strategy_that_does_not_run_holds_nobody_back(
    status: StrategyStatus, books: AccountBooks, store: Store, desk: Desk
) -> None:
    decide(store, desk, 1)
    oldest = cut(desk.book)
    save(store, oldest, saved(desk.book))
    changed = r.StrategyStatusChanged(ts_ns=2, strategy=STRATEGY, status=status, reason="it threw twice")
    rows = tuple(desk.book.apply(changed))
    store.commit([r.Group(execution=RUN, records=(changed,), rows=rows)])
    newest = cut(desk.book)
    save(store, newest)
    assert books.load(ACCOUNT).cut == (oldest if status.runs else newest)


def test_a_cut_that_cannot_be_read_is_left_out_with_a_note(
    books: AccountBooks, store: Store, desk: Desk, at: Backend
) -> None:
    decide(store, desk, 1)
    older = cut(desk.book)
    save(store, older)
    decide(store, desk, 1)
    number = desk.book.sequence
    save(store, structs.replace(cut(desk.book), state=b"\xc1 is no message"))
    decide(store, desk, 1)
    damaged = cut(desk.book)
    save(store, damaged)
    tamper(at, f"UPDATE checkpoints SET crc = crc + 1 WHERE inbox = {damaged.inbox}")
    loaded = books.load(ACCOUNT)
    assert loaded.cut == older
    assert any(f"record {damaged.inbox}" in note and "checksum" in note for note in loaded.notes)
    assert any(f"record {number} cannot be read" in note for note in loaded.notes)


def test_a_journal_with_a_gap_behind_the_cut_is_not_gone_on_with(
    books: AccountBooks, store: Store, desk: Desk, at: Backend
) -> None:
    decide(store, desk, 2)
    save(store, cut(desk.book))
    decide(store, desk, 3)
    tamper(at, f"DELETE FROM journal WHERE sequence = {desk.book.sequence - 1}")
    with pytest.raises(StoreCorrupt, match="gap"):
        books.load(ACCOUNT)


def test_whoever_waits_for_a_long_journal_sees_that_it_is_being_read(store: Store, desk: Desk) -> None:
    decide(store, desk, 3)
    pages: list[int] = []
    loaded = AccountBooks(store, {}, page_rows=2).load(ACCOUNT, lambda: pages.append(1))
    assert len(pages) == len(loaded.journal) // 2 + 1
    assert [sequence for sequence, _ in loaded.journal] == list(range(1, desk.book.sequence + 1))


def test_a_closed_execution_hands_its_books_to_the_next(books: AccountBooks, store: Store, desk: Desk) -> None:
    decide(store, desk, 2)
    save(store, cut(desk.book))
    closed = r.ExecutionClosed(ts_ns=5, reason="the feed has ended")
    rows = tuple(desk.book.apply(closed))
    store.commit([r.Group(execution=RUN, records=(closed,), rows=rows)])
    loaded = books.load(ACCOUNT)
    assert (loaded.execution, loaded.next_number, loaded.journal) == (None, 2, ())
    assert loaded.previous is not None
    assert loaded.previous.save() == desk.book.save()


def test_an_account_that_never_traded_begins_with_its_first_execution(books: AccountBooks) -> None:
    loaded = books.load(ACCOUNT)
    assert (loaded.execution, loaded.next_number, loaded.previous) == (None, 1, None)


MANY = 1_000


@pytest.mark.untraced
@pytest.mark.parametrize("cut_at", [0, 600, MANY], ids=["from the first record", "from an old cut", "from a new cut"])
async def test_a_thousand_open_trades_are_recovered_field_by_field(at: Backend, cut_at: int) -> None:
    desk = Desk()
    with Store.open(at, now_ns=START_NS) as store:
        store.commit([desk.opening()])
        for last in range(50, MANY + 1, 50):
            decided = [structs.replace(desk.decision(), checkpoints=()) for _ in range(50)]
            store.commit([*decided, *(desk.filled(number) for number in range(last - 49, last + 1))])
            if last == cut_at:
                save(store, cut(desk.book))
    with Store.open(at, now_ns=START_NS) as store:
        loaded = AccountBooks(store, {ACCOUNT: (STRATEGY,)}).load(ACCOUNT)
    assert (loaded.cut is not None) is bool(cut_at)
    recovered = fold(loaded.book or Book(), loaded.journal).book.trades
    async with Reader(at) as reader:
        listed = await reader.trades(Filter(status="OPEN", limit=None))
    assert len(recovered) == len(listed) == MANY
    for trade in listed:
        known = desk.book.trades[trade.trade_id]
        for name in Trade.__struct_fields__:
            assert getattr(recovered[trade.trade_id], name) == getattr(trade, name) == getattr(known, name), name


def test_the_next_run_takes_over_from_the_newest_also_where_the_clock_was_set_back_before_that_began(
    books: AccountBooks, store: Store
) -> None:
    first = Trader()
    results = store.commit([first.opening(), *first.round_trip(), first.closed()])
    first.now_ns = START_NS - DAY
    second = Trader("exec-2", number=2)
    results += store.commit([second.going_on(first), second.entry(), second.closed()])
    assert not [result for result in results if isinstance(result, Exception)]
    previous = books.load(ACCOUNT).previous
    assert previous is not None
    assert (previous.execution_id, previous.cursor) == ("exec-2", second.desk.book.cursor)
    assert previous.net("EUR_USD") == 1_000
