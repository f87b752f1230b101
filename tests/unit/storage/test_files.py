"""Books in a SQLite file: what holds of the file and its log, beside what holds of books wherever they are."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.disks import overwrite_the_middle
from tests.unit.storage.looking import tamper
from tradekeel.domain.rows import ACCOUNT_OWNER
from tradekeel.errors import StoreCorrupt, StoreUnavailable
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backups import back_up as back_up_before
from tradekeel.storage.files import back_up, compare_amounts
from tradekeel.storage.queries import Reader
from tradekeel.storage.sqlite import InMemory, Sqlite
from tradekeel.storage.store import Store, Written
from tradekeel.storage.verify import verify

# --- a full disk -----------------------------------------------------------------------------------------------------


def fill_up(store: Store) -> None:
    """Let the file grow no further, as on a full disk."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_fails_the_whole_batch_and_the_store_for_good(store, desk, path):
    fill_up(store)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        store.commit(
            [s.group(s.noted()), s.group(checkpoints=(s.checkpoint(owner=ACCOUNT_OWNER, state=b"x" * 10**6),))]
        )
    store._db.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(StoreUnavailable, match="failed before"):
        store.commit([s.group(s.noted())])
    assert store.failed is not None
    store.close()
    with Store.open(path, now_ns=s.START_NS) as again:
        assert again.last_sequence(s.RUN) == 3
        assert again.commit([s.group(s.noted())]) == [Written(4, 4)]


def test_a_store_that_failed_leaves_file_and_log_as_they_are(store, desk, path):
    store.commit([desk.decision()])
    fill_up(store)
    with pytest.raises(StoreUnavailable):
        store.commit([s.group(checkpoints=(s.checkpoint(owner=ACCOUNT_OWNER, state=b"x" * 10**6),))])
    log = path.with_name(path.name + "-wal")
    before = path.read_bytes(), log.read_bytes()
    store.close()
    assert (path.read_bytes(), log.read_bytes()) == before
    with Store.open(path, now_ns=s.START_NS) as again:
        assert again.last_sequence(s.RUN) == 4
    assert not log.exists(), "a sound store folds its log into the file when it is closed"


def test_what_a_store_that_failed_has_left_in_the_log_is_in_the_file_before_anything_comes_behind_it(
    store, desk, path, tmp_path
):
    """Behind a failed fsync a system may show what is not on the disk: nothing is acknowledged in the same log."""
    store.commit([desk.decision()])
    fill_up(store)
    with pytest.raises(StoreUnavailable):
        store.commit([s.group(checkpoints=(s.checkpoint(owner=ACCOUNT_OWNER, state=b"x" * 10**6),))])
    store.close()
    alone = tmp_path / "without its log.db"
    with Store.open(path, now_ns=s.START_NS):
        alone.write_bytes(path.read_bytes())
    with Store.open(alone, now_ns=s.START_NS) as without:
        assert without.last_sequence(s.RUN) == 4
    assert verify(alone).ok


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_backup_is_a_whole_store(store, desk, path, tmp_path):
    store.commit([desk.decision()])
    progress: list[tuple[int, int]] = []
    target = tmp_path / "elsewhere" / "copy.db"
    back_up(path, target, lambda done, total: progress.append((done, total)))
    store.commit([desk.filled(1)])
    assert progress
    assert progress[-1][0] == progress[-1][1]
    assert verify(target).ok
    assert sorted(p.name for p in target.parent.iterdir() if "-shm" not in p.name and "-wal" not in p.name) == [
        "copy.db"
    ]
    with Store.open(target, now_ns=s.START_NS) as copy:
        assert copy.last_sequence(s.RUN) == 4


def test_a_place_where_no_copy_can_be_put_is_blamed_and_not_the_books(store, path, tmp_path):
    (tmp_path / "file").touch()
    for target in (Path("/proc/copy.db"), tmp_path / "file" / "copy.db"):
        with pytest.raises(StoreUnavailable, match=f"^{target} cannot be written .*writable for this user"):
            back_up(path, target)
    with pytest.raises(StoreUnavailable, match=f"^{tmp_path / 'file' / 'a'} cannot be written"):
        archive(Sqlite(path), 1, tmp_path / "file" / "a", 1)


def test_a_backup_beside_a_running_daemon_is_the_view_of_one_moment(store, desk, path, tmp_path):
    state = b"x" * 60_000
    store.commit([s.group(s.noted(n), checkpoints=(s.checkpoint(n, f"owner {n}", state=state),)) for n in range(200)])
    steps: list[tuple[int, int]] = []

    def commit_more(done: int, total: int) -> None:
        steps.append((done, total))
        store.commit([desk.decision()])

    back_up(path, tmp_path / "copy.db", commit_more)
    assert len(steps) > 1
    assert [done for done, _ in steps] == sorted({done for done, _ in steps}), "it never began anew"
    assert store.last_sequence(s.RUN) == 203 + len(steps)
    with Store.open(tmp_path / "copy.db", now_ns=s.START_NS) as copy:
        assert copy.last_sequence(s.RUN) == 203
    assert verify(tmp_path / "copy.db").ok


def test_a_backup_of_nothing_says_so(path, tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        back_up(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_never_replaces_a_file(store, path, tmp_path):
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreUnavailable, match="never overwritten"):
        back_up(path, target)
    assert target.read_text() == "precious"


def test_nor_one_that_somebody_else_has_put_there_while_it_was_made(store, path, tmp_path):
    target = tmp_path / "copy.db"
    with pytest.raises(StoreUnavailable, match="never overwritten"):
        back_up(path, target, lambda done, total: target.write_text("precious"))
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob("copy.db.*"))


def test_of_two_that_make_one_copy_at_a_time_none_names_what_the_other_has_only_begun(store, path, tmp_path):
    target = tmp_path / "copy.db"
    begun = target.with_name("copy.db.partial")

    def begin_too(done: int, total: int) -> None:
        begun.unlink()
        begun.write_text("half of a copy")

    with pytest.raises(StoreUnavailable, match="somebody else is making it"):
        back_up(path, target, begin_too)
    assert not target.exists()
    assert begun.read_text() == "half of a copy"


@pytest.fixture
def damaged(store: Store, desk: s.Desk, path: Path) -> Path:
    """Books that open as if nothing was wrong."""
    store.commit([desk.decision() for _ in range(400)])
    store.close()
    overwrite_the_middle(path)
    return path


def test_a_copy_of_damaged_books_is_none(damaged, tmp_path):
    target = tmp_path / "copy.db"
    with pytest.raises(StoreCorrupt, match=r"copying it to .*copy.db, which was not made") as caught:
        back_up(damaged, target)
    assert str(caught.value).startswith(f"{damaged} is damaged")
    assert "put a copy back" in str(caught.value)
    assert not list(tmp_path.glob("copy.db*"))


def test_a_copy_with_a_record_that_is_damaged_is_none(store, desk, path, tmp_path):
    """SQLite's check sees no more than the structure of the pages."""
    tamper(path, "UPDATE journal SET payload = zeroblob(length(payload)) WHERE sequence = 2")
    with pytest.raises(StoreCorrupt, match=f"which was not made: record 2 of execution {s.RUN} has a checksum"):
        back_up(path, tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy.db*"))


def test_before_damaged_books_are_migrated_no_copy_of_them_is_called_one(damaged, tmp_path):
    with pytest.raises(sqlite3.DatabaseError) as caught:
        back_up_before(damaged, "0003", s.START_NS, 5, lambda text: None, lambda: None)
    assert isinstance(Sqlite(damaged).in_our_words(caught.value, "copying it"), StoreCorrupt)
    assert not list((damaged.parent / "backups").iterdir())


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def books(store: Store) -> s.Desk:
    """Six decisions, three of them filled."""
    begun = s.Desk()
    store.commit([begun.opening(), *(begun.decision() for _ in range(6)), *(begun.filled(n) for n in (1, 2, 3))])
    return begun


def fingerprint(path: Path) -> dict[str, str]:
    """What is in the files. The shared memory holds locks and readers' marks, nothing of the books."""
    files = [path, path.with_name(path.name + "-wal")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def test_reading_leaves_no_trace_and_lets_the_log_be_cut_back(books, store, path):
    before = fingerprint(path)
    async with Reader(path) as reader:
        assert len(await reader.orders()) == 6
        assert fingerprint(path) == before
        store.commit([books.decision()])
        assert len(await reader.orders()) == 7, "what is committed is seen at once"
        busy = store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0, "between two questions nothing keeps the log from being cut back"
    before = fingerprint(path)
    async with Reader(path) as reader:
        await reader.trades()
    assert fingerprint(path) == before


async def test_books_that_a_killed_daemon_left_are_read_whole(books, store, path, tmp_path):
    crashed = tmp_path / "crashed.db"
    for ending in ("", "-wal"):  # what is on the disk after a kill: the file and its log
        crashed.with_name(crashed.name + ending).write_bytes(path.with_name(path.name + ending).read_bytes())
    before = fingerprint(crashed)
    async with Reader(crashed) as reader:
        assert len(await reader.orders()) == 6
    assert fingerprint(crashed) == before
    with Store.open(crashed, now_ns=0) as again:
        assert again.last_sequence(s.RUN) == 12


async def test_where_there_is_nothing_yet_it_says_what_to_do(path):
    with pytest.raises(StoreUnavailable, match=r"no database at .* yet: start the daemon with `tradekeel run`"):
        async with Reader(path):
            pass
    assert not path.exists()


async def test_an_empty_file_has_no_schema_to_read(path):
    path.touch()
    with pytest.raises(StoreUnavailable, match="db upgrade"):
        async with Reader(path):
            pass


async def test_what_is_no_database_is_damage(path):
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with Reader(path):
            pass


def test_where_there_is_nothing_there_is_nothing_to_verify(path):
    with pytest.raises(StoreUnavailable, match="tradekeel run"):
        verify(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("9", "10"),
        ("-10", "-9"),
        ("0.12345678901234567890", "0.12345678901234567891"),
        ("12345678901234567890", "12345678901234567891"),
        ("1E-30", "1e-20"),
        ("1", "no amount"),
        ("1", "NaN"),
        ("a", "b"),
        ("10", ""),
    ],
)
def test_amounts_are_compared_to_the_last_digit_and_damaged_ones_come_last(less: str, more: str) -> None:
    assert compare_amounts(less, more) == -1
    assert compare_amounts(more, less) == 1
    assert compare_amounts(less, less) == 0
    assert compare_amounts("1.0", "1.00") == 0


def test_books_in_memory_are_not_begun_in_a_place_that_somebody_else_has_made(tmp_path: Path) -> None:
    ours = InMemory(tmp_path / "ours" / "books.db", tmp_path)
    ours.forget()
    (tmp_path / "ours" / "books.db").touch()
    ours.forget()
    assert list((tmp_path / "ours").iterdir()) == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "theirs").symlink_to(tmp_path / "elsewhere")  # what rmtree leaves alone, as what may not be removed
    theirs = InMemory(tmp_path / "theirs" / "books.db", tmp_path)
    with pytest.raises(StoreUnavailable, match=r"theirs.*another user may have made it"):
        theirs.forget()
    for wrong in (theirs, InMemory(tmp_path / "elsewhere" / "books.db", tmp_path)):  # not there, and open to everybody
        with pytest.raises(PermissionError, match="no folder of this user's alone"):
            wrong.connect()
