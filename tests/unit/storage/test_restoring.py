"""A copy put in the place of the books: the old ones or the new ones at any moment, and the old ones are never lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.disks import overwrite_the_middle
from tradekeel.errors import InputError, StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage.backend import Restored, Restoring
from tradekeel.storage.files import back_up
from tradekeel.storage.restoring import put_back
from tradekeel.storage.store import Store
from tradekeel.storage.torn import make_whole
from tradekeel.storage.verify import verify

OLD, NEW = 2, 5
"""Decisions in the copy, and in the books when it is put back."""


@pytest.fixture
def books(path: Path, empty_books: Path) -> Path:
    """Books of which a copy was made, and which went on then."""
    shutil.copy(empty_books, path)
    desk = s.Desk()
    with Store.open(path, now_ns=s.START_NS) as store:
        store.commit([desk.opening(), *(desk.decision() for _ in range(OLD))])
        back_up(path, path.with_name("copy.db"))
        store.commit([desk.decision() for _ in range(NEW - OLD)])
    return path


@pytest.fixture
def copy(books: Path) -> Path:
    return books.with_name("copy.db")


def restore(path: Path, copy: Path, point: Callable[[str], object] = lambda name: None) -> Restored:
    folder = path.parent
    return put_back(
        path,
        copy,
        Restoring(
            s.START_NS, folder / "restoring", folder / "backups" / "replaced", lambda step, done, total: None, point
        ),
    )


def decisions(path: Path) -> int:
    """How many there are, in books that agree with themselves."""
    assert verify(path).lines() == verify(path).lines()[:1]
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM orders").fetchone()[0])


def test_the_books_are_the_copy_then_and_those_before_are_kept(books: Path, copy: Path) -> None:
    before = copy.read_bytes()
    restored = restore(books, copy)
    assert decisions(books) == OLD
    assert restored.replaced is not None
    kept = Path(restored.replaced) / books.name
    assert decisions(kept) == NEW
    assert (restored.executions, restored.records) == (1, 3 + OLD)
    assert copy.read_bytes() == before
    assert oct(books.stat().st_mode & 0o777) == "0o600"
    assert not (books.parent / "restoring").exists()


def test_what_is_only_in_the_log_is_kept_with_the_old_books(books: Path, copy: Path) -> None:
    desk_of_many = Store.open(books, now_ns=s.START_NS)
    other = s.Desk("exec-2", account="paper-2")
    desk_of_many.commit([other.opening(), other.decision()])
    log = books.with_name(books.name + "-wal")
    saved = log.read_bytes(), books.read_bytes()
    desk_of_many.close()
    books.write_bytes(saved[1])
    log.write_bytes(saved[0])  # as a kill leaves it
    restored = restore(books, copy)
    assert decisions(books) == OLD
    assert decisions(Path(str(restored.replaced)) / books.name) == NEW + 1


def test_where_there_were_no_books_the_copy_is_all_there_is(books: Path, copy: Path) -> None:
    books.unlink()
    assert restore(books, copy).replaced is None
    assert decisions(books) == OLD


def test_a_truncated_copy_is_said_to_be_that_and_another_one_asked_for(books: Path, copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[: 3 * 4_096])
    with pytest.raises(StoreCorrupt, match=r"is damaged, and nothing was changed.*Put another copy back") as refused:
        restore(books, copy)
    assert "db restore" not in str(refused.value)


def test_books_may_be_restored_again_and_again(books: Path, copy: Path) -> None:
    places = {restore(books, copy).replaced for _ in range(3)}
    assert len(places) == 3
    assert decisions(books) == OLD


def damage_a_payload(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as db:
        db.execute("DROP TRIGGER journal_refuses_update")
        db.execute("UPDATE journal SET payload = zeroblob(length(payload)) WHERE sequence = 4")
        db.commit()


def damage_a_table(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as db:
        db.execute("UPDATE trades SET quantity = '999'")
        db.commit()


def cut_it_off(copy: Path) -> None:
    os.truncate(copy, copy.stat().st_size // 2)


def write_nonsense(copy: Path) -> None:
    copy.write_bytes(b"these are no books" * 1_000)


def damage_the_last_record(copy: Path) -> None:
    """What a start looks at, and calls the books damaged by."""
    with closing(sqlite3.connect(copy)) as db:
        db.execute("DROP TRIGGER journal_refuses_update")
        db.execute("UPDATE journal SET crc = crc + 1 WHERE sequence = (SELECT max(sequence) FROM journal)")
        db.commit()


DAMAGES = [damage_a_payload, damage_the_last_record, damage_a_table, cut_it_off, write_nonsense, overwrite_the_middle]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_refused_and_nothing_changes(books: Path, copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy)
    before = books.read_bytes()
    with pytest.raises(
        StoreCorrupt, match=r"is damaged, and nothing was changed: .*\. Put another copy back\.$"
    ) as refused:
        restore(books, copy)
    said = str(refused.value)
    assert said.startswith(str(copy))
    assert "restoring" not in said
    assert "db restore" not in said, "it is what was just tried"
    assert books.read_bytes() == before
    assert not (books.parent / "backups").exists()


def test_what_is_no_copy_is_refused(books: Path, copy: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        restore(books, copy.with_name("nothing.db"))
    with pytest.raises(InputError, match="books themselves"):
        restore(books, books)
    copy.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        restore(books, copy)
    with closing(sqlite3.connect(copy)) as db:
        db.execute("CREATE TABLE somebody (elses)")
    with pytest.raises(StoreCorrupt, match="not a Tradekeel store"):
        restore(books, copy)


def test_a_copy_of_a_newer_version_is_refused(books: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    with pytest.raises(StoreTooNew):
        restore(books, copy)


@pytest.mark.parametrize("with_a_log", [False, True], ids=["a file", "a file and its log"])
def test_damaged_books_are_replaced_and_kept_as_they_are(books: Path, copy: Path, with_a_log: bool) -> None:
    write_nonsense(books)
    log = books.with_name(books.name + "-wal")
    if with_a_log:
        log.write_bytes(b"nor is this a log")
    restored = restore(books, copy)
    assert decisions(books) == OLD
    kept = Path(str(restored.replaced))
    assert (kept / books.name).read_bytes().startswith(b"these are no books")
    assert (kept / log.name).exists() == with_a_log


POINTS = ("restore.proved", "restore.kept", "restore.swapped")
DIE = """
import os, signal, sys
from pathlib import Path
from tests.unit.storage.test_restoring import restore
def die(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
restore(Path(sys.argv[1]), Path(sys.argv[2]), die)
"""


def killed_at(point: str, books: Path, copy: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(books), str(copy), point], env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_there_are_the_old_books_or_the_new(books: Path, copy: Path, point: str) -> None:
    killed_at(point, books, copy)
    assert decisions(books) == (OLD if point == "restore.swapped" else NEW)
    assert not make_whole(books, books.parent / "restoring")
    restored = restore(books, copy)  # the next try clears up
    assert decisions(books) == OLD
    assert not (books.parent / "restoring").exists()
    kept = sorted(path for path in (books.parent / "backups").rglob(books.name))
    assert Path(str(restored.replaced)) / books.name in kept
    assert max(map(decisions, kept)) == NEW
    assert all(not path.samefile(books) for path in kept)


def test_killed_between_a_damaged_file_and_its_log_both_are_put_together_again(books: Path, copy: Path) -> None:
    write_nonsense(books)
    log = books.with_name(books.name + "-wal")
    log.write_bytes(b"nor is this a log")
    killed_at("restore.kept", books, copy)
    assert make_whole(books, books.parent / "restoring")
    assert not make_whole(books, books.parent / "restoring")
    assert log.read_bytes() == b"nor is this a log"
    killed_at("restore.kept", books, copy)
    kept = Path(str(restore(books, copy).replaced))
    assert decisions(books) == OLD
    assert (kept / log.name).read_bytes() == b"nor is this a log"
    assert (kept / books.name).read_bytes().startswith(b"these are no books")


def test_a_log_without_its_file_is_kept_too(books: Path, copy: Path) -> None:
    books.unlink()
    log = books.with_name(books.name + "-wal")
    log.write_bytes(b"nor is this a log")
    kept = Path(str(restore(books, copy).replaced))
    assert decisions(books) == OLD
    assert (kept / log.name).read_bytes() == b"nor is this a log"


def test_a_disk_that_is_full_changes_nothing(books: Path, copy: Path) -> None:
    before = books.read_bytes()

    def full(name: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreUnavailable, match="No space left"):
        restore(books, copy, full)
    assert books.read_bytes() == before
