"""What happens to the books when the machine is unkind: kills, full disks, damage, no rights."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import cradle
from tests.unit.storage import samples as s
from tests.unit.storage.committer import GROUPS
from tests.unit.storage.disks import tiny_disk
from tradekeel.errors import StoreBlocked, StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage import migrating
from tradekeel.storage.files import back_up, connect
from tradekeel.storage.journal import read_records
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

__all__ = ["tiny_disk"]

ROOT = Path(__file__).parents[3]
OPENING_RECORDS = 3
KILLS = {"dev": 4, "ci": 8, "campaign": 200}


def start(path: Path, point: str = "-", bytes_max: int = 0) -> subprocess.Popen[str]:
    words = ["tests.unit.storage.committer", str(path), point, str(bytes_max)]
    return cradle.begin(words, loaded=cradle.STORE, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    with process:
        assert process.stdout is not None
        return process.stdout.read().split("\n")[:-1]


def assert_whole(path: Path, acknowledged: int) -> int:
    """The books are sound, hold all that was acknowledged, and no half batch; returns what they hold."""
    with Store.open(path, now_ns=s.START_NS) as store:
        last = store.last_sequence(s.RUN)
        assert [sequence for sequence, _ in store.read_journal(s.RUN, 0, 10**6)] == list(range(1, last + 1))
    assert last >= acknowledged
    assert (last - OPENING_RECORDS) % GROUPS == 0, "a batch is there whole or not at all"
    verdict = verify(path)
    assert verdict.ok, verdict.lines()
    return last


# --- kills -----------------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_the_books_hold_what_was_acknowledged(path, seed, profile):
    chance = random.Random(seed)
    for _ in range(KILLS[profile]):
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        acknowledged = 0
        with start(path) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split("\n")
            acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
        assert_whole(path, acknowledged)


@pytest.mark.parametrize(
    ("point", "survives"),
    [("store.in_transaction", 2), ("store.before_commit", 2), ("store.after_commit", 3)],
)
def test_killed_at_a_point_a_batch_is_whole_or_not_there(path, point, survives):
    lines = said(start(path, f"{point}:4"))  # the first pass is the opening
    assert [int(line) for line in lines] == [OPENING_RECORDS + GROUPS * n for n in (1, 2)]
    assert assert_whole(path, int(lines[-1])) == OPENING_RECORDS + GROUPS * survives


# --- full disks ------------------------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_stops_the_store_and_loses_nothing(path):
    lines = said(start(path, bytes_max=900_000))
    acknowledged = int(lines[-3])
    assert lines[-2].startswith("failed: ")
    assert lines[-1] == "refused"
    assert_whole(path, acknowledged)


def test_a_full_disk_is_called_by_its_name(tiny_disk, tmp_path):
    lines = said(start(tiny_disk / "books.db"))
    assert "the disk is full" in lines[-2]
    assert lines[-1] == "refused"
    for file in tiny_disk.iterdir():
        shutil.copy(file, tmp_path)  # where there is room to open it again
    assert_whole(tmp_path / "books.db", int(lines[-3]))


def test_a_disk_without_room_for_the_copy_is_named_before_anything_is_migrated(tiny_disk):
    books = tiny_disk / "books.db"
    Store.open(books, now_ns=s.START_NS).close()
    migrating.downgrade(books, "0001", s.START_NS, backup=False)
    with pytest.raises(StoreBlocked, match=r"bytes are free on its disk.*Nothing was changed"):
        Store.open(books, now_ns=s.START_NS)
    assert not (tiny_disk / "backups").exists()
    Store.open(books, now_ns=s.START_NS, backup=False).close()


def test_a_copy_that_does_not_fit_leaves_nothing(tiny_disk, finished):
    with Store.open(finished, now_ns=s.START_NS) as store:
        states = (s.checkpoint(n, f"owner {n}", state=b"x" * 60_000) for n in range(80))
        store.commit([s.group(s.noted(n), checkpoints=(state,)) for n, state in enumerate(states)])
    with pytest.raises(StoreUnavailable, match="its disk is full"):
        back_up(finished, tiny_disk / "copy.db")
    assert list(tiny_disk.iterdir()) == []


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(path: Path, empty_books: Path) -> Path:
    """Books of twenty decisions, closed."""
    shutil.copy(empty_books, path)
    desk = s.Desk()
    with Store.open(path, now_ns=s.START_NS) as store:
        store.commit([desk.opening()])
        for number in range(1, 21):
            store.commit([desk.decision(), desk.filled(number)])
    return path


def flip(path: Path, text: bytes) -> None:
    """Flip one bit of the first place where ``text`` stands."""
    content = bytearray(path.read_bytes())
    place = content.index(text)
    content[place] ^= 0x01
    path.write_bytes(content)


def test_a_flipped_bit_in_a_record_is_found_and_named(finished):
    flip(finished, f"{7:032x}".encode())  # the digest of decision 7: it stands in the payload alone
    number = OPENING_RECORDS + 2 * 7 - 1
    with Store.open(finished, now_ns=s.START_NS) as store, pytest.raises(StoreCorrupt, match=f"record {number} of"):
        store.read_journal(s.RUN, 0, 100)
    verdict = verify(finished)
    assert not verdict.ok
    assert any(f"record {number} of execution {s.RUN} is damaged" in problem for problem in verdict.problems)


def test_a_flipped_bit_in_the_newest_record_is_found_at_the_start(finished):
    with closing(sqlite3.connect(finished)) as db, db:
        db.execute("DROP TRIGGER journal_refuses_update")
        db.execute("UPDATE journal SET payload = x'00' WHERE sequence = (SELECT max(sequence) FROM journal)")
    with pytest.raises(StoreCorrupt, match="its checksum is off"):
        Store.open(finished, now_ns=s.START_NS)


def test_an_execution_whose_journal_is_gone_is_damage(finished):
    with closing(sqlite3.connect(finished)) as db, db:
        db.execute("DROP TRIGGER journal_refuses_delete")
        db.execute("DELETE FROM journal")
    with pytest.raises(StoreCorrupt, match=r"execution exec-1 has no journal.*db backup"):
        Store.open(finished, now_ns=s.START_NS)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_was_cut_off_is_damage_and_the_message_says_what_to_do(finished, share):
    with finished.open("r+b") as file:
        file.truncate(int(finished.stat().st_size * share))
    with pytest.raises(StoreCorrupt, match=r"is damaged .*db backup"):
        Store.open(finished, now_ns=s.START_NS)
    assert not verify(finished).ok


def test_a_page_of_noise_is_found_at_the_start(finished):
    content = bytearray(finished.read_bytes())
    for page in range(4, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    finished.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="damaged"):
        Store.open(finished, now_ns=s.START_NS)
    assert not verify(finished).ok


def test_what_is_no_database_is_damage(path):
    path.write_bytes(b"these are not the books you are looking for" * 100)
    with pytest.raises(StoreCorrupt, match="is damaged"):
        Store.open(path, now_ns=s.START_NS)
    assert not verify(path).ok


def test_somebody_elses_database_is_left_alone(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE recipes (cake TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="not a Tradekeel store"):
        Store.open(path, now_ns=s.START_NS)
    assert path.read_bytes() == before


def test_books_of_a_newer_version_are_left_alone(finished):
    with closing(sqlite3.connect(finished)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    before = finished.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer Tradekeel \(schema 9999"):
        Store.open(finished, now_ns=s.START_NS)
    with pytest.raises(StoreTooNew):
        verify(finished)
    assert finished.read_bytes() == before


def test_books_without_a_version_are_damage(finished):
    with closing(sqlite3.connect(finished)) as db, db:
        db.execute("DELETE FROM alembic_version")
    with pytest.raises(StoreCorrupt, match="does not say which version"):
        Store.open(finished, now_ns=s.START_NS)


# --- rights ----------------------------------------------------------------------------------------------------------

OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from tradekeel.errors import StoreUnavailable
from tradekeel.storage.files import connect
from tradekeel.storage.journal import read_records
from tradekeel.storage.files import back_up
from tradekeel.storage.store import Store
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]), now_ns=0)
except StoreUnavailable as error:
    print(error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user may enter and read."""
    folder = Path(tempfile.mkdtemp(prefix="tradekeel-public-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("exists", [False, True], ids=["a new file", "an existing file"])
def test_a_folder_that_may_not_be_written_is_said_so(public, exists):
    path = public / "books.db"
    if exists:
        with Store.open(path, now_ns=s.START_NS) as store:
            store.commit([s.Desk().opening()])
        path.chmod(0o444)
    public.chmod(0o555)
    answer = subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert str(path) in answer.stdout
    assert "writable for this user" in answer.stdout


def test_a_folder_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        Store.open(tmp_path / "nowhere" / "books.db", now_ns=s.START_NS)


def test_a_second_writer_waits_and_then_gives_up(finished):
    with closing(sqlite3.connect(finished, isolation_level=None)) as other, Store.open(finished, now_ns=0) as store:
        other.execute("BEGIN IMMEDIATE")
        store._db.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(StoreUnavailable, match="in use by another program"):
            store.commit([s.group(s.noted())])


def test_any_flipped_bit_of_a_journal_row_is_found(finished, seed):
    """Header, text, numbers, payload: whatever it does to the row, nobody gets to believe the record."""
    chance = random.Random(seed)
    content = finished.read_bytes()
    place = content.index(f"{7:032x}".encode())
    with Store.open(finished, now_ns=s.START_NS) as store:
        sound = store.read_journal(s.RUN, 0, 100)
    for _ in range(150):
        damaged_content = bytearray(content)
        damaged_content[chance.randrange(place - 500, place + 300)] ^= 1 << chance.randrange(8)
        finished.write_bytes(damaged_content)
        with closing(connect(finished, read_only=True)) as db:
            try:
                records = read_records(db, finished, s.RUN, 0, 100)
            except (StoreCorrupt, sqlite3.DatabaseError):
                continue
        assert records == sound


def test_a_journal_that_ends_before_its_checkpoints_is_damage(finished):
    with closing(sqlite3.connect(finished)) as db, db:
        db.execute("DROP TRIGGER journal_refuses_delete")
        db.execute("DELETE FROM journal WHERE sequence > 40")
    with pytest.raises(StoreCorrupt, match="ends at record 40, but record 42 was written"):
        Store.open(finished, now_ns=s.START_NS)
