"""A copy of books on a server holds everything as of one moment, and restores whole or not at all."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer, connected
from tests.unit.storage import samples as s
from tests.unit.storage.disks import fill, tiny_disk
from tests.unit.storage.looking import tamper
from tradekeel.errors import StoreBlocked, StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage import migrating
from tradekeel.storage.backend import Restored, Restoring
from tradekeel.storage.moment import one_moment
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.dump import HEADER, DumpHeader, opened
from tradekeel.storage.schema import HEAD
from tradekeel.storage.store import CommitResult, Store
from tradekeel.storage.transfer.exporting import export
from tradekeel.storage.transfer.manifest import Narrowed
from tradekeel.storage.verify import verify

__all__ = ["tiny_disk"]

NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture
def books(postgres_url: str) -> Postgres:
    """Books with trades in them, and with everything that a line end or a tab could break."""
    made = Postgres(postgres_url)
    desk = s.Desk()
    with Store.open(made, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), *(desk.decision() for _ in range(40))])
        store.commit([desk.filled(number) for number in range(1, 31)])
    with connected(postgres_url) as db:
        db.execute(
            "INSERT INTO trading.position_notes (account, instrument, position_ref, note, tag, owner, updated_ns) "
            "VALUES ('paper-1', 'EUR_USD', '', E'two\\nlines\\t\\\\N \\u20ac', '', 'ann', 1)"
        )
    return made


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[Postgres]:
    """A database with nothing in it."""
    url = postgres_server.new_database()
    yield Postgres(url)
    postgres_server.drop(url)


def restore(copy: Path, books: Postgres, progress: Callable[[int, int], None] = lambda done, total: None) -> Restored:
    """Put a copy back; ``progress`` is told how far the rows are, in bytes."""

    def told(step: str, done: int, total: int) -> None:
        if step == "copying":
            progress(done, total)

    return books.restore(copy, Restoring(NOW_NS, copy.parent, copy.parent / "replaced", told, lambda name: None))


def everything(books: Postgres) -> dict[str, list[tuple]]:
    """All rows by the names of their columns: those that only PostgreSQL has may stand before one that was added later."""
    with closing(books.connect(read_only=True)) as db:
        found = {}
        for name in books.tables(db.execute):
            named = "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY column_name) FROM information_schema.columns "
            asked = db.execute(f"{named} WHERE table_schema = 'trading' AND table_name = ?", (name,))
            columns = asked.fetchall()[0][0]
            found[name] = sorted((tuple(row) for row in db.execute(f"SELECT {columns} FROM {name}")), key=repr)
        return found


def test_it_restores_to_the_same_rows_and_a_clean_proof(books, empty, tmp_path):
    books.copy(tmp_path / "copy.zip")
    restored = restore(tmp_path / "copy.zip", empty)
    assert everything(empty) == everything(books)
    assert verify(empty).ok
    assert (restored.version, restored.replaced) == (HEAD, None)
    with opened(tmp_path / "copy.zip") as (_, header):
        pass
    assert {table.name: table.rows for table in header.tables if table.rows} == {
        name: len(rows) for name, rows in everything(books).items() if rows
    }
    with Store.open(empty, now_ns=NOW_NS) as store:
        assert store.migrations == ()
        store.commit([s.group(checkpoints=(s.checkpoint(99),))])  # rows are numbered on
    assert (tmp_path / "copy.zip").stat().st_mode & 0o777 == 0o600


def test_a_disk_without_room_for_a_copy_is_named_and_nothing_is_left_there(books, tiny_disk):
    fill(tiny_disk)
    with pytest.raises(StoreBlocked, match=r"copy\.zip was not made, because its disk is full") as failed:
        books.copy(tiny_disk / "copy.zip")
    assert "cannot be reached" not in str(failed.value)
    assert [file.name for file in tiny_disk.iterdir()] == ["filler"]


def test_a_place_that_cannot_be_written_is_named(books, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreBlocked, match=r"file/copy\.zip cannot be written"):
        books.copy(tmp_path / "file" / "copy.zip")


def test_a_copy_of_the_first_schema_is_brought_up_to_date(books, empty, tmp_path):
    migrating.downgrade(books, "0001", NOW_NS, backup=False)
    books.copy(tmp_path / "copy.zip")
    assert restore(tmp_path / "copy.zip", empty).version == "0001"
    assert verify(empty).ok
    with Store.open(empty, now_ns=NOW_NS, backup=False) as store:
        assert store.migrations == ()


def test_what_is_written_meanwhile_is_not_in_it(books, empty, tmp_path):
    before = everything(books)
    written: list[CommitResult] = []

    def beside(done: int, total: int) -> None:
        if not written:
            with Store.open(books, now_ns=NOW_NS) as store:
                written.extend(store.commit([s.group(s.noted(7))]))

    books.copy(tmp_path / "copy.zip", beside)
    assert written
    restore(tmp_path / "copy.zip", empty)
    assert everything(empty) == before
    assert verify(empty).ok


def test_it_says_how_far_it_is(books, empty, tmp_path):
    out: list[tuple[int, int]] = []
    back: list[tuple[int, int]] = []
    books.copy(tmp_path / "copy.zip", lambda *step: out.append(step))
    restore(tmp_path / "copy.zip", empty, lambda *step: back.append(step))
    for steps in (out, back):
        assert steps == sorted(steps)
        assert all(done <= total for done, total in steps)
        assert steps[-1][0] == steps[-1][1]


class Enough(Exception):
    """Somebody wants it to end."""


def enough(done: int, total: int) -> None:
    raise Enough


def test_one_that_is_called_off_leaves_nothing(books, empty, tmp_path):
    with pytest.raises(Enough):
        books.copy(tmp_path / "copies" / "copy.zip", enough)
    assert list((tmp_path / "copies").iterdir()) == []
    books.copy(tmp_path / "copy.zip")
    with pytest.raises(Enough):
        restore(tmp_path / "copy.zip", empty, enough)
    assert everything(empty) == {}


def test_a_copy_never_replaces_a_file(books, tmp_path):
    (tmp_path / "copy.zip").write_text("mine")
    with pytest.raises(StoreUnavailable, match="never overwritten"):
        books.copy(tmp_path / "copy.zip")
    assert (tmp_path / "copy.zip").read_text() == "mine"


def test_nor_one_that_somebody_else_has_put_there_while_it_was_made(books, tmp_path):
    target = tmp_path / "copy.zip"
    with pytest.raises(StoreUnavailable, match="never overwritten"):
        books.copy(target, lambda done, total: target.write_text("precious"))
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob("copy.zip.*"))


def test_of_two_that_make_one_copy_at_a_time_none_names_what_the_other_has_only_begun(books, tmp_path):
    target = tmp_path / "copy.zip"
    begun = target.with_name("copy.zip.partial")

    def begin_too(done: int, total: int) -> None:
        begun.unlink()
        begun.write_text("half of a copy")

    with pytest.raises(StoreUnavailable, match="somebody else is making it"):
        books.copy(target, begin_too)
    assert not target.exists()
    assert begun.read_text() == "half of a copy"


def test_a_copy_of_tables_that_are_replaced_meanwhile_is_none(books, tmp_path):
    books.copy(tmp_path / "copy.zip")
    restored: list[Restored] = []

    def beside(done: int, total: int) -> None:
        if not restored:
            restored.append(restore(tmp_path / "copy.zip", books))

    with pytest.raises(
        StoreUnavailable, match=r"other\.zip, which was not made: meanwhile somebody has put other tables"
    ):
        books.copy(tmp_path / "other.zip", beside)
    assert restored
    assert not list(tmp_path.glob("other*"))
    books.copy(tmp_path / "other.zip")
    assert verify(books).ok


def test_an_export_of_tables_that_are_replaced_meanwhile_is_none(books, tmp_path):
    """It sees no row of those that come in their place, and would have files of books that are half empty."""
    books.copy(tmp_path / "copy.zip")
    restored: list[Restored] = []

    def beside(step: str, done: int, total: int) -> None:
        if not restored:
            restored.append(restore(tmp_path / "copy.zip", books))

    with pytest.raises(StoreUnavailable, match="exporting it: meanwhile somebody has put other tables"):
        export(books, tmp_path / "out", "csv", Narrowed(), progress=beside)
    assert restored
    assert not list(tmp_path.glob("out*"))


def test_a_proof_of_tables_that_are_replaced_meanwhile_is_none(books, tmp_path):
    books.copy(tmp_path / "copy.zip")

    def beside(step: str, done: int, total: int) -> None:
        if (step, done) == ("file", 0):
            restore(tmp_path / "copy.zip", books)

    with pytest.raises(StoreUnavailable, match=r"verifying it: meanwhile somebody has put other tables"):
        verify(books, beside)


def test_who_looks_at_tables_that_are_replaced_meanwhile_is_told_so(books, tmp_path):
    books.copy(tmp_path / "copy.zip")

    def look() -> None:
        with one_moment(books) as db:
            restore(tmp_path / "copy.zip", books)
            assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)

    with pytest.raises(StoreUnavailable, match="not be of one moment"):
        look()
    assert verify(books).ok


# --- damage ----------------------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, **members: bytes) -> Path:
    """The same archive with other members in it: its own checksums are right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            key = name.partition("-")[2].partition(".")[0] or "header"
            new.writestr(name, members.get(key, old.read(name)))
    return target


def header_of(source: Path) -> dict:
    with zipfile.ZipFile(source) as archive:
        found: dict = json.loads(archive.read(HEADER))
        return found


def test_a_flipped_byte_anywhere_is_found(books, empty, tmp_path):
    books.copy(tmp_path / "copy.zip")
    whole = (tmp_path / "copy.zip").read_bytes()
    for place in range(40, len(whole), len(whole) // 12):
        damaged = tmp_path / f"{place}.zip"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            restore(damaged, empty)
        except StoreCorrupt:
            assert everything(empty) == {}
        else:  # where nothing is kept that anybody reads: a time, a comment
            assert everything(empty) == everything(books)
            with closing(empty.connect()) as db:
                db.execute("DROP SCHEMA trading CASCADE")


def test_of_books_with_a_damaged_record_there_is_no_copy(books, tmp_path):
    """It could never be put back: `db restore` proves what it puts in place."""
    tamper(books, "UPDATE journal SET ts_ns = ts_ns + 1 WHERE sequence = 2")
    with pytest.raises(
        StoreCorrupt, match=rf"copy\.zip, which was not made: record 2 of execution {s.RUN} has a checksum"
    ):
        books.copy(tmp_path / "copy.zip")
    assert not list(tmp_path.glob("copy.zip*"))


@pytest.mark.parametrize("damage", ["a row less", "an amount", "cut off"])
def test_rows_that_are_not_what_the_header_says_are_not_restored(books, empty, tmp_path, damage):
    books.copy(tmp_path / "copy.zip")
    with opened(tmp_path / "copy.zip") as (archive, header):
        [fills] = [table for table in header.tables if table.name == "fills"]
        rows = archive.read(fills.member)
    changed = {
        "a row less": rows.split(b"\n", 1)[1],
        "an amount": rows.replace(b"1.39215", b"1.39216", 1),
        "cut off": rows[:-40],
    }[damage]
    with pytest.raises(StoreCorrupt, match=r"damaged|fills"):
        restore(rewritten(tmp_path / "copy.zip", tmp_path / "damaged.zip", fills=changed), empty)
    assert everything(empty) == {}


def test_a_copy_of_a_newer_version_is_refused(books, empty, tmp_path):
    books.copy(tmp_path / "copy.zip")
    header = header_of(tmp_path / "copy.zip") | {"revision": "9999"}
    newer = rewritten(tmp_path / "copy.zip", tmp_path / "newer.zip", header=json.dumps(header).encode())
    with pytest.raises(StoreTooNew, match="9999"):
        restore(newer, empty)


@pytest.mark.parametrize("what", ["text", "archive", "another format"])
def test_what_is_no_copy_is_said_to_be_none(books, empty, tmp_path, what):
    file = tmp_path / "copy.zip"
    if what == "text":
        file.write_text("these are not the books")
    elif what == "archive":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("letter.txt", "dear ann")
    else:
        books.copy(tmp_path / "whole.zip")
        header = header_of(tmp_path / "whole.zip") | {"format": "tradekeel-books-7"}
        rewritten(tmp_path / "whole.zip", file, header=json.dumps(header).encode())
    with pytest.raises(StoreCorrupt, match=r"copy|format"):
        restore(file, empty)


def test_tools_that_know_zip_and_json_can_read_it(books, tmp_path):
    books.copy(tmp_path / "copy.zip")
    shutil.unpack_archive(tmp_path / "copy.zip", tmp_path / "unpacked")
    header = header_of(tmp_path / "copy.zip")
    assert set(header) == set(DumpHeader.__struct_fields__)
    for table in header["tables"]:
        assert (tmp_path / "unpacked" / table["member"]).stat().st_size == table["bytes"]
