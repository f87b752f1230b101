"""Archives, read by whoever looks at a whole execution: what can be read is there, and what cannot is named and left out."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.unit.storage import samples as s
from tests.unit.storage.rounds import DAY, Trader
from tests.unit.storage.samples import SNAPSHOT
from tradekeel.domain import records as r
from tradekeel.domain.rows import PerformanceSnapshot
from tradekeel.domain.trades import Trade
from tradekeel.storage.archives import archives_of
from tradekeel.storage.archiving.file import file_checksum
from tradekeel.storage.archiving.moving import Moved, archive
from tradekeel.storage.archiving.reading import OTHER_VERSION, PUT_BACK, Archived, read_archives
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.journal import JournalRow
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.store import Store

LATER = s.START_NS + 10_000 * DAY
TRIPS = 6


class Home:
    """Books in which an execution has traded and ended, and the folder of its archives."""

    def __init__(self, at: Backend, folder: Path) -> None:
        self.at, self.folder = at, folder
        trader = self.trader = Trader()
        row = structs.replace(SNAPSHOT, execution=s.RUN)
        self.commit(
            trader.opening(),
            *(group for _ in range(TRIPS) for group in trader.round_trip()),
            trader.desk.group(r.SnapshotTaken(ts_ns=trader.now_ns, snapshot=row)),
            trader.closed(),
        )
        self.trades = self.rows(Trade)
        self.journal = self.entries()

    def commit(self, *groups: r.Group) -> None:
        with Store.open(self.at, now_ns=s.START_NS) as store:
            assert not [result for result in store.commit(list(groups)) if isinstance(result, Exception)]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with closing(self.at.connect(read_only=True)) as db:
            yield db

    def rows(self, kind: type[Any]) -> list[Any]:
        mapping = mapping_of(kind)
        with self.reading() as db:
            return [mapping.decode(values) for values in db.execute(f"{mapping.select_sql} ORDER BY 1").fetchall()]

    def entries(self) -> list[tuple[Any, ...]]:
        with self.reading() as db:
            asked = "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal ORDER BY sequence"
            return [(*row[:4], bytes(row[4]), row[5]) for row in db.execute(asked).fetchall()]

    def archive(self, records_max: int = 7) -> list[Moved]:
        return archive(self.at, LATER, self.folder, LATER, records_max=records_max)

    def read(self) -> tuple[Archived, list[JournalRow]]:
        entries: list[JournalRow] = []
        with self.reading() as db:
            kinds = (Trade, PerformanceSnapshot)
            return read_archives(db, self.at, s.RUN, self.folder, kinds, entries.append), entries


@pytest.fixture
def home(at: Backend, tmp_path: Path) -> Home:
    return Home(at, tmp_path / "archives")


def by_id(trades: list[Trade]) -> list[Trade]:
    return sorted(trades, key=lambda trade: trade.trade_id)


def test_books_without_an_archive_have_nothing_to_read(home: Home) -> None:
    found, entries = home.read()
    assert (found.of(Trade), entries, found.lacking) == ([], [], "")


def test_every_row_and_every_record_that_was_moved_is_read_as_it_was(home: Home) -> None:
    assert len(home.archive()) > 2
    found, entries = home.read()
    assert by_id(found.of(Trade)) == by_id(home.trades)
    assert len(found.of(PerformanceSnapshot)) == 1
    assert entries == home.journal[:-1], "the last record stays in the books"
    assert (found.unread, found.lacking, sum(found.lost.values())) == ([], "", 0)


def test_the_files_before_and_behind_one_that_is_not_there_are_read(home: Home) -> None:
    moved = home.archive()
    gone = moved[1]
    gone.path.unlink()
    found, entries = home.read()
    assert [entry[0] for entry in entries] == [
        entry[0] for entry in home.journal[:-1] if not gone.row.first <= entry[0] <= gone.row.last
    ]
    assert found.lacking == f"The archive {gone.path} is not there"
    assert found.lost["journal"] == gone.row.counts["journal"]
    moved[0].path.unlink()
    assert home.read()[0].lacking == f"The archive {moved[0].path} is not there, and 1 other cannot be read"


def test_a_file_that_was_changed_is_not_believed(home: Home) -> None:
    moved = home.archive()
    content = bytearray(moved[-1].path.read_bytes())
    content[-9] ^= 1
    moved[-1].path.write_bytes(content)
    found, _ = home.read()
    assert "is not the file that was made" in found.lacking
    assert (found.of(Trade), found.lost["trades"]) == ([], moved[-1].row.counts["trades"])


def rewritten(home: Home, moved: Moved, table: str, column: str, value: str) -> None:
    """A file whose first row of a table says something that this version does not know, as one of a later version might."""
    head, *lines, _ = gzip.decompress(moved.path.read_bytes()).splitlines(keepends=True)
    place = [name for name, _ in json.loads(head)["tables"][table]].index(column) + 1
    number = next(number for number, line in enumerate(lines) if json.loads(line)[0] == table)
    row = json.loads(lines[number])
    row[place] = value
    lines[number] = json.dumps(row, separators=(",", ":")).encode() + b"\n"
    trailer = {"rows": moved.row.counts, "sha256": sha256(b"".join([head, *lines])).hexdigest()}
    moved.path.write_bytes(gzip.compress(b"".join([head, *lines, json.dumps(trailer).encode() + b"\n"])))
    row_of = structs.replace(moved.row, sha256=file_checksum(moved.path))
    with closing(home.at.connect()) as db:
        (known,) = (each for each in archives_of(db, home.at, s.RUN) if each.first == row_of.first)
        changed = structs.replace(known, sha256=row_of.sha256)
        db.execute(home.at.begin_write)
        db.execute(
            "UPDATE journal_archives SET sha256 = ?, crc = ? WHERE execution = ? AND first = ?",
            (changed.sha256, changed.crc(), s.RUN, changed.first),
        )
        db.execute("COMMIT")


def test_behind_a_row_that_this_version_cannot_read_the_others_are_read(home: Home) -> None:
    moved = home.archive(records_max=1_000)[0]
    rewritten(home, moved, "trades", "status", "PONDERED")
    found, entries = home.read()
    assert len(found.of(Trade)) == TRIPS - 1
    assert entries == home.journal[:-1]
    assert found.lacking.startswith(f"The archive {moved.path.name} has a row that this version cannot read: trades (")
    assert (found.lost["trades"], found.lost["journal"]) == (1, 0)
    assert found.unread[0].remedy == OTHER_VERSION


def test_of_a_file_that_is_not_there_it_is_said_what_is_lacking_and_what_to_do(home: Home) -> None:
    gone = home.archive()[-1]
    gone.path.unlink()
    (unread,) = home.read()[0].unread
    assert (unread.row.first, unread.row.last) == (gone.row.first, gone.row.last)
    assert +unread.lost == Counter(gone.row.counts)
    assert unread.remedy == PUT_BACK


def test_only_what_is_wanted_is_kept_and_how_far_it_is_can_be_told(home: Home) -> None:
    moved = home.archive()
    told: list[tuple[int, int]] = []
    wanted = by_id(home.trades)[2]
    with home.reading() as db:
        found = read_archives(
            db,
            home.at,
            s.RUN,
            home.folder,
            (Trade,),
            wanted=lambda trade: trade.trade_id == wanted.trade_id,
            tell=lambda done, total: told.append((done, total)),
        )
    assert found.of(Trade) == [wanted]
    rows = sum(sum(each.row.counts.values()) for each in moved)
    assert told[0] == (0, rows)
    assert told[-1] == (rows, rows)
    assert told == sorted(told)


def test_a_file_that_may_not_be_read_is_named(home: Home) -> None:
    path = home.archive(records_max=1_000)[0].path
    path.unlink()
    path.mkdir()
    assert home.read()[0].lacking == f"The archive {path.name} cannot be read: Is a directory"


@pytest.mark.parametrize("everything", [False, True])
def test_what_was_removed_behind_an_archive_is_no_row_of_it(home: Home, everything: bool) -> None:
    moved = home.archive()
    first = by_id(home.trades)[0].trade_id
    removed = r.Removed(table="trades", where={} if everything else {"trade_id": first})
    told = r.Administered(ts_ns=home.trader.now_ns, action="removed", rows=1, by="a script", removed=(removed,))
    home.commit(home.trader.desk.group(told))
    found, _ = home.read()
    assert by_id(found.of(Trade)) == ([] if everything else by_id(home.trades)[1:])
    assert len(found.of(PerformanceSnapshot)) == 1
    moved[-1].path.unlink()
    assert bool(home.read()[0].lost["trades"]) is not everything, "what was wiped is not lacking"
