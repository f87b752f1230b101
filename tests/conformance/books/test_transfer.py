"""Books as files and back: nothing is lost, nothing is changed, and what is not whole is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.servers.prepared import Prepared
from tests.unit.storage import samples as s
from tests.unit.storage.disks import fill, tiny_disk
from tests.unit.storage.looking import tamper
from tests.unit.storage.samples import CHANGE, SNAPSHOT
from tradekeel.domain import records as r
from tradekeel.domain.rows import MetricsCheckpoint
from tradekeel.errors import InputError, StoreBlocked, StoreCorrupt, StoreUnavailable
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backend import Backend
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.transfer.exporting import export
from tradekeel.storage.transfer.files import checksum_of
from tradekeel.storage.transfer.importing import import_books
from tradekeel.storage.transfer.manifest import Narrowed, read_manifest
from tradekeel.storage.transfer.tables import file_tables
from tradekeel.storage.verify import verify

__all__ = ["tiny_disk"]

KINDS = ["csv", "jsonl", "parquet"]
NASTY = [
    "",
    " ",
    '"',
    '""',
    ",",
    "a,b",
    "line\nline",
    "\r\n",
    "\r",
    "null",
    "NULL",
    "\\N",
    "€ 漢字 😀",
    "'",
    "0",
    "-1",
    "\ufeff",
]


@pytest.fixture
def books(at: Backend, seed: int) -> Backend:
    """Two accounts with a little of everything, and texts and amounts that no format takes as they are."""
    random = Random(seed)
    desks = [s.Desk(), s.Desk("exec-2", account="paper-2")]
    with Store.open(at, now_ns=s.START_NS) as store:
        for desk in desks:
            store.commit([desk.opening(), *(desk.decision() for _ in range(6)), *map(desk.filled, (1, 2, 5))])
        store.commit(
            [
                desks[0].group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=SNAPSHOT)),
                s.group(rows=(MetricsCheckpoint(execution=s.RUN, ts_ns=1, data=bytes(range(256))),)),
            ]
        )
        for text in NASTY:
            amount = Decimal(random.randrange(10**40)).scaleb(-random.randrange(40))
            change = msgspec.structs.replace(
                CHANGE,
                ts_ns=random.randrange(2**62),
                old=text,
                new=random.choice([None, *NASTY]),
                reason=random.choice(NASTY),
                confidence_threshold=random.choice([None, amount, -amount, Decimal("0.0500"), Decimal("1E-30")]),
            )
            store.commit([random.choice(desks[:1]).group(r.ParameterChanged(ts_ns=s.START_NS, change=change))])
    return at


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, at: Backend, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Other places of the same kind, which are empty."""
    if isinstance(at, Sqlite):
        numbers = iter(range(9))
        yield lambda: Sqlite(tmp_path / f"elsewhere {next(numbers)}.db")
        return
    from contextlib import ExitStack

    from tradekeel.storage.postgres import Postgres

    prepared: Prepared = request.getfixturevalue("postgres_books")
    with ExitStack() as stack:
        yield lambda: Postgres(stack.enter_context(prepared.lent()))


def written(books: Backend, folder: Path, kind: str, narrowed: Narrowed | None = None) -> dict[str, bytes]:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    export(books, folder, kind, narrowed or Narrowed())
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_exported_and_imported_is_exported_the_same_byte_for_byte(
    books: Backend, elsewhere: Callable[[], Backend], tmp_path: Path, kind: str
) -> None:
    first = written(books, tmp_path / "first", kind)
    copy = elsewhere()
    done = import_books(copy, tmp_path / "first", s.START_NS)
    assert (done.executions, done.records) == (2, verify(books).records)
    assert verify(copy).ok
    assert written(copy, tmp_path / "second", kind) == first
    assert set(first) == {"manifest.json", *(f"{name}.{kind}" for name in file_tables())}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_and_a_server_give_the_same_bytes(books: Backend, empty_file: Path, tmp_path: Path, kind: str) -> None:
    first = written(books, tmp_path / "first", kind)
    file = Sqlite(tmp_path / "file.db")
    import_books(file, tmp_path / "first", s.START_NS)
    assert written(file, tmp_path / "second", kind) == first


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_comes_after_the_one_it_is_attached_to_however_deep(
    books: Backend, elsewhere: Callable[[], Backend], tmp_path: Path, kind: str
) -> None:
    ids = [f"tk-{letter}" for letter in "zyxw"]  # the deeper, the earlier by its key
    attached = [
        s.order(50 + number, client_order_id=one, parent_id=parent, trade_id=None, signal_id=None)
        for number, (one, parent) in enumerate(zip(ids, [None, *ids], strict=False))
    ]
    with Store.open(books, now_ns=s.START_NS) as store:
        record = r.Administered(ts_ns=s.START_NS, action="x", rows=4, by="a script", orders=tuple(attached))
        [done] = store.commit([s.group(record, rows=tuple(attached))])
        assert not isinstance(done, Exception)
    first = written(books, tmp_path / "first", kind)
    copy = elsewhere()
    import_books(copy, tmp_path / "first", s.START_NS)
    assert written(copy, tmp_path / "second", kind) == first
    if kind == "csv":
        found = [line.split(",")[0].strip('"') for line in first["orders.csv"].decode().splitlines()]
        assert [one for one in found if one in ids] == ids
        assert found[-3:] == ids[1:], "by their depth, then by their key"


def test_csv_tells_nothing_from_an_empty_text(books: Backend, tmp_path: Path) -> None:
    written(books, tmp_path / "out", "csv")
    lines = (tmp_path / "out" / "orders.csv").read_text().splitlines()
    names = lines[0].split(",")
    row = dict(zip(names, lines[1].split(","), strict=True))
    assert row["price"] == ""
    assert row["status_reason"] == '""'
    assert row["quantity"] == "1000"
    assert row["created_ns"] == str(s.START_NS + s.SECOND)
    assert row["created"] == "2014-05-13T16:53:21.000000000Z"
    with (tmp_path / "out" / "parameter_history.csv").open(newline="") as file:
        assert [found["old"] for found in csv.DictReader(file)] == NASTY  # any reader of CSV sees the same texts


def test_json_lines_are_json(books: Backend, tmp_path: Path) -> None:
    written(books, tmp_path / "out", "jsonl")
    trades = [json.loads(line) for line in (tmp_path / "out" / "trades.jsonl").read_text().split("\n")[:-1]]
    assert trades[0]["metadata"] == {"layer": 1, "why": {"rsi": 28.5}}
    assert trades[0]["quantity"] == "1000"
    assert trades[0]["take_profit"] is None


def test_parquet_says_what_its_columns_are(books: Backend, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    written(books, tmp_path / "out", "parquet")
    table = pq.read_table(tmp_path / "out" / "fills.parquet")
    assert table.schema.field("price").metadata == {b"kind": b"decimal"}
    assert {Decimal(price) for price in table.column("price").to_pylist()} == {Decimal("1.39215")}
    moment = table.column("time")[0]
    assert (str(moment.type), moment.value) == ("timestamp[ns, tz=UTC]", table.column("ts_ns")[0].as_py())


def test_an_account_can_be_taken_out_whole(books: Backend, elsewhere: Callable[[], Backend], tmp_path: Path) -> None:
    first = written(books, tmp_path / "first", "jsonl", Narrowed(accounts=("paper-2",)))
    assert "tasks.jsonl" not in first
    copy = elsewhere()
    done = import_books(copy, tmp_path / "first", s.START_NS)
    assert (done.executions, done.rows["trades"]) == (1, 6)
    assert verify(copy).ok
    assert written(copy, tmp_path / "second", "jsonl", Narrowed(accounts=("paper-2",))) == first
    with pytest.raises(InputError, match="no account nobody; they know paper-1, paper-2"):
        written(books, tmp_path / "third", "jsonl", Narrowed(accounts=("nobody",)))


def test_a_span_of_time_or_some_tables_are_for_reading_only(books: Backend, tmp_path: Path) -> None:
    since = s.START_NS + 3 * s.SECOND
    written(books, tmp_path / "span", "csv", Narrowed(since_ns=since, until_ns=since + s.SECOND))
    assert len((tmp_path / "span" / "orders.csv").read_text().splitlines()) == 1 + 2
    some = written(books, tmp_path / "some", "csv", Narrowed(tables=("trades", "orders")))
    assert set(some) == {"manifest.json", "trades.csv", "orders.csv"}
    for name in ("span", "some"):
        assert not read_manifest(tmp_path / name).importable
        with pytest.raises(InputError, match="only a part"):
            import_books(books, tmp_path / name, s.START_NS)
    with pytest.raises(InputError, match="no table nothing"):
        written(books, tmp_path / "none", "csv", Narrowed(tables=("nothing",)))


def test_a_model_gets_state_action_and_reward(at: Backend, tmp_path: Path) -> None:
    closed = {"status": "CLOSED", "exit_reason": "TP", "exit_time_ns": 7, "entry_time_ns": 5}
    rows = [
        s.trade(1, rl_state_key="up", rl_action_key="buy", **_closed(closed)),
        s.trade(2, rl_state_key="down", rl_action_key="wait", **_closed(closed)),
        s.trade(3, **_closed(closed)),
        s.trade(4, rl_state_key="up", rl_action_key="buy"),
    ]
    desk = s.Desk()
    with Store.open(at, now_ns=s.START_NS) as store:
        store.commit([desk.opening(), s.group(rows=tuple(s.signal(n) for n in range(1, 5))), s.group(rows=tuple(rows))])
    manifest = export(at, tmp_path / "out", "jsonl", Narrowed(), learning=True)
    assert [file.table for file in manifest.files] == ["learning"]
    assert not manifest.importable
    found = [json.loads(line) for line in (tmp_path / "out" / "learning.jsonl").read_text().split("\n")[:-1]]
    assert [(row["state"], row["action"], row["reward"]) for row in found] == [
        ("up", "buy", str(rows[0].pnl)),
        ("down", "wait", str(rows[1].pnl)),
    ]


def _closed(changes: dict[str, Any]) -> dict[str, Any]:
    from tradekeel.domain.trades import CloseReason, TradeStatus

    return changes | {"status": TradeStatus.CLOSED, "exit_reason": next(iter(CloseReason))}


def test_books_with_archives_go_out_and_come_back_without_their_files(
    books: Backend, elsewhere: Callable[[], Backend], tmp_path: Path
) -> None:
    [moved] = archive(books, 2**62, tmp_path / "archives", s.START_NS, records_max=9)[:1]
    first = written(books, tmp_path / "first", "jsonl")
    copy = elsewhere()
    import_books(copy, tmp_path / "first", s.START_NS)
    assert written(copy, tmp_path / "second", "jsonl") == first
    assert verify(copy, archives=tmp_path / "archives").notes == ()
    assert verify(copy, archives=tmp_path / "archives").ok
    assert f"({moved.row.name}" in verify(copy, archives=tmp_path / "nowhere").notes[0]


def test_books_that_have_anything_in_them_are_not_filled(books: Backend, tmp_path: Path) -> None:
    written(books, tmp_path / "out", "csv")
    with pytest.raises(InputError, match="empty books only"):
        import_books(books, tmp_path / "out", s.START_NS)
    with pytest.raises(InputError, match="exists already"):
        written(books, tmp_path / "out", "csv")


def change_an_amount(folder: Path, kind: str) -> None:
    path = folder / f"trades.{kind}"
    path.write_bytes(path.read_bytes().replace(b"1.39000", b"1.39001"))


def lose_a_row(folder: Path, kind: str) -> None:
    path = folder / f"orders.{kind}"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def lose_a_record(folder: Path, kind: str) -> None:
    path = folder / f"journal.{kind}"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def break_a_reference(folder: Path, kind: str) -> None:
    path = folder / f"signals.{kind}"
    path.write_bytes(path.read_bytes().replace(b"sgexec-1-2", b"sgexec-1-9"))


def break_the_form(folder: Path, kind: str) -> None:
    path = folder / f"fills.{kind}"
    path.write_bytes(path.read_bytes()[:-20])


DAMAGE = [change_an_amount, lose_a_row, lose_a_record, break_a_reference, break_the_form]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("forged", [False, True], ids=["by accident", "with the checksums made to fit"])
def test_what_does_not_agree_with_itself_is_refused(
    books: Backend,
    elsewhere: Callable[[], Backend],
    tmp_path: Path,
    kind: str,
    damage: Callable[[Path, str], None],
    forged: bool,
) -> None:
    out = tmp_path / "out"
    written(books, out, kind)
    damage(out, kind)
    if forged:
        forge(out)
    copy = elsewhere()
    with pytest.raises(StoreCorrupt):
        import_books(copy, out, s.START_NS)
    if copy.exists():
        with closing(copy.connect(read_only=True)) as db:
            there = copy.tables(db.execute)
            assert not there or db.execute("SELECT count(*) FROM executions").fetchone()[0] == 0


def forge(folder: Path) -> None:
    from hashlib import sha256

    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        content = (folder / file["file"]).read_bytes()
        file["sha256"] = sha256(content).hexdigest()
        file["rows"] = len(content.splitlines()) - (manifest["files_are"] == "csv")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_no_export_is_refused(books: Backend, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no export"):
        import_books(books, tmp_path / "empty", s.START_NS)
    with pytest.raises(InputError, match="csv, jsonl, parquet"):
        written(books, tmp_path / "out", "xml")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_nothing(books: Backend, tmp_path: Path) -> None:
    def fail(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(books, tmp_path / "out", "csv", Narrowed(), progress=fail)
    assert not list(tmp_path.glob("out*"))


def test_of_two_that_export_into_one_folder_at_a_time_the_first_one_has_it(books: Backend, tmp_path: Path) -> None:
    """Neither mixes its files with those of the other; what one that was killed has left is in nobody's way."""
    refused: list[StoreUnavailable] = []
    left = tmp_path / "out.partial"
    left.mkdir()
    (left / "left.csv").touch()

    def beside(step: str, done: int, total: int) -> None:
        with pytest.raises(StoreUnavailable, match="somebody else is making it") as caught:
            export(books, tmp_path / "out", "csv", Narrowed(accounts=("paper-2",)))
        refused.append(caught.value)

    manifest = export(books, tmp_path / "out", "csv", Narrowed(), progress=beside)
    assert refused
    assert manifest == read_manifest(tmp_path / "out")
    assert {file.file for file in manifest.files} | {"manifest.json"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert all(checksum_of(tmp_path / "out" / file.file) == file.sha256 for file in manifest.files)
    assert not left.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_damaged_is_named_and_nothing_is_exported(books: Backend, tmp_path: Path, kind: str) -> None:
    tamper(books, f"UPDATE journal SET ts_ns = ts_ns + 1 WHERE execution = '{s.RUN}' AND sequence = 4")
    with pytest.raises(StoreCorrupt, match=rf"record 4 of execution {s.RUN} is damaged .* put a copy back"):
        export(books, tmp_path / "out", kind, Narrowed())
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_is_named_and_not_the_books(books: Backend, tiny_disk: Path, kind: str) -> None:
    fill(tiny_disk)
    (tiny_disk / "filler").write_bytes(
        (tiny_disk / "filler").read_bytes()[: -16 * 1024]
    )  # room for a file, and not for all
    target = tiny_disk / "out"
    with pytest.raises(StoreBlocked, match=rf"^{target} was not made, because its disk is full"):
        export(books, target, kind, Narrowed())
    assert not list(tiny_disk.glob("out*"))


def test_a_folder_that_cannot_be_made_is_named_with_what_there_must_be(books: Backend) -> None:
    with pytest.raises(StoreBlocked, match=r"^/proc/x cannot be written .*must exist and be writable for this user"):
        export(books, Path("/proc/x"), "csv", Narrowed())
