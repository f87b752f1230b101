"""The local spool keeps what was acknowledged, whatever happens to the process, and says so where the disk has not."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests import cradle
from tests.unit.storage import disks
from tests.unit.storage import samples as s
from tests.unit.storage.disks import tiny_disk
from tradekeel.domain.rows import MetricsCheckpoint, ParameterChange, Row, StrategyEvent, VenueCursor
from tradekeel.errors import Defect, StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage.batch import SENDER_ERRORS
from tradekeel.storage.fitting import INDEXED_BYTES_MAX
from tradekeel.storage.memoryspool import MemorySpool
from tradekeel.storage.promised import NumberedBatch, promise
from tradekeel.storage.spool import Spool
from tradekeel.storage.spoolfiles import DRAINED, HEADER, MARK, SEGMENT, Waiting, file_header, waiting_in

__all__ = ["tiny_disk"]

ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """What a test raises where a process would die."""


def batch(number: int, size: int = 0) -> NumberedBatch:
    """A batch of one small group, or of one with a state of this many bytes."""
    states = (s.checkpoint(number, state=b"x" * size),) if size else ()
    return NumberedBatch(number, (promise(s.group(s.noted(number), checkpoints=states), number),))


def a_day() -> list[NumberedBatch]:
    """What the daemon writes: an opening, decisions and fills, each batch of two groups or three."""
    desk = s.Desk()
    groups = [desk.opening()]
    for number in range(1, 6):
        groups += [desk.decision(), desk.filled(number)]
    batches, first = [], 1
    for number, chunk in enumerate((groups[:1], groups[1:3], groups[3:6], groups[6:8], groups[8:]), start=41):
        promised = []
        for group in chunk:
            promised.append(promise(group, first))
            first += len(group.records)
        batches.append(NumberedBatch(number, tuple(promised)))
    return batches


def fill(spool: Spool, first: int, acknowledged: list[int], size: int = 0) -> None:
    """Append batch after batch, and note each that was acknowledged, until something ends it."""
    for number in range(first, first + 1_000):
        spool.append([batch(number, size)])
        acknowledged.append(number)


def numbers(spool: Spool | MemorySpool) -> list[int]:
    found = [waiting.number for waiting in spool.pending()]
    assert len(found) == spool.batches
    assert [spool.first, spool.last] == ([found[0], found[-1]] if found else [None, None])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture(params=["disk", "memory"])
def spool(request: pytest.FixtureRequest, folder: Path) -> Iterator[Spool | MemorySpool]:
    made: Spool | MemorySpool = Spool.open(folder) if request.param == "disk" else MemorySpool()
    yield made
    made.close()


# --- what both keep --------------------------------------------------------------------------------------------------


class TestASpool:
    def test_gives_back_the_very_groups_and_their_promised_numbers(self, spool):
        batches = a_day()
        for one in batches:
            spool.append([one])
        assert list(spool.pending()) == batches
        assert list(spool.pending()) == batches, "as often as one asks"

    def test_gives_back_every_row_record_and_state_exactly(self, spool):
        hard = s.trade(
            1,
            quantity=Decimal("0.000000000000000000000000000001"),
            stop_loss=Decimal("123456789012345678901234567890.12345678901234567890"),
            metadata={"nested": {"list": [1, None, -2.5e-300, "ü€"]}, "big": 2**63 - 1},
            tags=("", "\x00"),
        )
        rows: tuple[Row, ...] = (
            s.execution(),
            s.strategy(),
            s.signal(),
            hard,
            s.order(),
            s.fill(),
            StrategyEvent(execution=s.RUN, strategy="x", sequence=1, type="t", ts_ns=1, data={"price": "1.10"}),
            MetricsCheckpoint(execution=s.RUN, ts_ns=-1, data=bytes(range(256))),
            VenueCursor(execution=s.RUN, venue="paper", sequence=9, updated_ns=2**63 - 1),
            ParameterChange(execution=s.RUN, ts_ns=1, strategy=None, name="n", old=None, new="1e3"),
        )
        group = s.group(s.noted(), rows=rows, checkpoints=(s.checkpoint(state=b"\x00\xff" * 999),))
        spool.append([NumberedBatch(7, (promise(group, 12),))])
        [waiting] = spool.pending()
        assert waiting.groups[0].group == group
        assert (waiting.groups[0].first, waiting.groups[0].last) == (12, 12)
        assert [type(row) for row in waiting.groups[0].group.rows] == [type(row) for row in rows]

    def test_is_empty_when_everything_is_done_with_and_takes_a_later_number_then(self, spool):
        assert (numbers(spool), spool.size_bytes) == ([], 0)
        spool.append([batch(1), batch(2)])
        assert spool.size_bytes > 0
        spool.drained(2)
        assert (numbers(spool), spool.size_bytes) == ([], 0)
        spool.append([batch(77)])
        assert numbers(spool) == [77]

    def test_lets_go_of_what_is_done_with_and_of_nothing_else(self, spool):
        spool.append([batch(number) for number in range(3, 9)])
        spool.drained(2)
        assert numbers(spool) == [3, 4, 5, 6, 7, 8]
        spool.drained(5)
        assert numbers(spool) == [6, 7, 8]
        spool.drained(5)
        spool.append([batch(9)])
        spool.drained(8)
        assert numbers(spool) == [9]

    @pytest.mark.parametrize("wrong", [[2], [5], [3], [4, 4], [4, 6]])
    def test_takes_numbers_in_order_only(self, spool, wrong):
        spool.append([batch(2), batch(3)])
        with pytest.raises(Defect, match="comes next"):
            spool.append([batch(number) for number in wrong])
        assert numbers(spool) == [2, 3]
        spool.append([batch(4)])

    def test_is_not_told_that_something_is_done_with_that_it_does_not_have(self, spool):
        spool.append([batch(2)])
        with pytest.raises(Defect, match=r"the last one .* is 2"):
            spool.drained(3)
        assert numbers(spool) == [2]

    def test_takes_what_comes_while_it_is_read(self, spool):
        spool.append([batch(1), batch(2)])
        seen = []
        for waiting in spool.pending():
            seen.append(waiting.number)
            if waiting.number == 1:
                spool.append([batch(3)])
            spool.drained(waiting.number)
        assert seen in ([1, 2], [1, 2, 3])
        assert numbers(spool) == ([] if seen == [1, 2, 3] else [3])


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_what_does_not_fit_is_refused_and_what_waits_is_kept(folder, kind):
    spool = Spool.open(folder, bytes_max=5_000) if kind == "disk" else MemorySpool(bytes_max=5_000)
    spool.append([batch(1, 4_000)])
    with pytest.raises(StoreUnavailable, match=r"full: 1 batches .* 5000 are all .*Bring the server back"):
        spool.append([batch(2, 4_000)])
    spool.append([batch(2)])
    assert numbers(spool) == [1, 2]
    spool.drained(1)
    spool.drained(2)
    spool.append([batch(3, 4_000)])


def test_what_is_written_out_is_what_was_drained_of_a_segment_too(folder):
    """The files are what counts, not what of them still waits: the disk has no room for the rest."""
    spool = Spool.open(folder)
    spool.append([batch(1, 9_000), batch(2)])
    before = spool.size_bytes
    assert before == sum(file.stat().st_size for file in folder.glob("*.spool"))
    spool.drained(1)
    assert spool.size_bytes == before


@pytest.mark.parametrize(
    "group",
    [
        s.group(s.noted(), rows=(s.trade(1, metadata={"when": object()}),)),
        s.group(s.noted(), rows=(s.trade(1, quantity=Decimal("NaN")),)),
        s.group(s.noted(), rows=(s.trade(1, created_ns=2**63),)),
        s.group(s.noted(), rows=(s.trade(1, model="\ud800"),)),
        s.group(s.noted(), rows=(s.trade(1, quantity="many"),)),
        s.group(s.noted(), rows=(s.noted(),)),  # type: ignore[arg-type]  # that is the mistake
        s.group(s.noted(), rows=(s.order(1), s.order(1, instrument="GBP_USD"))),
        s.group(structs.replace(s.noted(), instrument=object())),
        s.group(structs.replace(s.noted(), bid="much")),
        s.group(structs.replace(s.noted(), ts_ns=2**63)),
        s.group(checkpoints=(s.checkpoint(2**64),)),
        s.group(s.noted(), rows=(s.trade(1, model="a\0b"),)),
        s.group(structs.replace(s.noted(), correlation_id="a\0b")),
        s.group(s.noted(), rows=(s.order(1, venue_order_id="é" * (INDEXED_BYTES_MAX // 2)),)),
        s.group(s.noted(), rows=(s.order(1, quantity=Decimal("1e-301")),)),
        s.group(s.noted(), rows=(s.order(1, price=Decimal("7" * 301)),)),
    ],
    ids=[
        *("no JSON", "no number", "no 64 bits", "no character", "no amount", "no row", "two things under one id"),
        *("no record", "a record that cannot be read", "no time", "no place"),
        *("a zero character", "a zero character in a record", "more than an index takes"),
        *("an amount next to zero", "an amount without end"),
    ],
)
def test_a_group_that_no_store_would_take_is_not_promised_anything(group):
    with pytest.raises(SENDER_ERRORS):
        promise(group, 1)


# --- on the disk -----------------------------------------------------------------------------------------------------


def test_it_is_there_when_it_is_opened_again_and_goes_on(folder):
    batches = a_day()
    with_first = Spool.open(folder)
    with_first.append(batches[:2])
    with_first.append(batches[2:3])
    again = Spool.open(folder)
    assert (list(again.pending()), again.cut) == (batches[:3], None)
    again.append(batches[3:4])
    again.drained(42)
    third = Spool.open(folder)
    assert list(third.pending()) == batches[2:4]
    third.drained(44)
    assert list(folder.iterdir()) == []
    assert numbers(Spool.open(folder)) == []


def test_its_files_are_for_the_daemon_alone(folder):
    before = os.umask(0)
    try:
        spool = Spool.open(folder)
        spool.append([batch(1), batch(2)])
        spool.drained(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
        "00000000000000000001.spool": 0o600,
        "drained": 0o600,
    }


def test_large_spools_are_cut_into_segments_that_are_removed_one_by_one(folder):
    spool = Spool.open(folder, segment_bytes=2_000)
    for number in range(1, 21):
        spool.append([batch(number, 500)])
    assert len(list(folder.glob("*.spool"))) == 7
    for number in range(1, 21):
        assert numbers(Spool.open(folder))[0] == number
        spool.drained(number)
    assert list(folder.iterdir()) == []


def calls_of(work: Callable[[], object]) -> list[str]:
    """What was asked of the system while this ran, in order: a kill does not show what only a power cut takes."""
    watched = {os.write: "write", os.fsync: "fsync", os.rename: "rename", os.unlink: "unlink"}
    seen: list[str] = []

    def note(frame: object, event: str, called: object) -> None:
        if event == "c_call" and called in watched:
            seen.append(watched[called])

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def test_everything_is_forced_onto_the_disk_before_anybody_is_answered(folder):
    spool = Spool.open(folder)
    assert calls_of(lambda: spool.append([batch(1)])) == ["write", "fsync", "fsync"], "the content, and the new name"
    assert calls_of(lambda: spool.append([batch(2), batch(3)])) == ["write", "fsync"]
    mark = ["write", "fsync", "rename", "fsync"]
    assert calls_of(lambda: spool.drained(2)) == [*mark, "fsync"]
    assert calls_of(lambda: spool.drained(3)) == [*mark, "unlink", "fsync", "unlink", "fsync"]


def test_a_spool_that_failed_refuses_everything(folder):
    def fail(name: str) -> None:
        if name == "spool.written" and armed:
            raise OSError(5, "Input/output error")

    armed: list[bool] = []
    spool = Spool.open(folder, point=fail)
    spool.append([batch(1)])
    armed.append(True)
    with pytest.raises(StoreUnavailable, match=r"Input/output error.*Look at the disk"):
        spool.append([batch(2)])
    armed.clear()
    for again in (lambda: spool.append([batch(2)]), lambda: spool.drained(1), lambda: list(spool.pending())):
        with pytest.raises(StoreUnavailable, match="failed before: OSError"):
            again()
    assert spool.failed is not None
    assert numbers(Spool.open(folder)) == [1, 2], "whether the last one is there nobody was told"


def test_a_full_disk_is_called_by_its_name_and_loses_nothing(tiny_disk):
    spool = Spool.open(tiny_disk / "spool")
    acknowledged: list[int] = []
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        fill(spool, 1, acknowledged, 60_000)
    spool.close()
    again = Spool.open(tiny_disk / "spool")
    assert numbers(again) == acknowledged
    assert again.cut is not None


@pytest.mark.parametrize("marked", [0, 3])
def test_what_is_done_with_makes_room_on_a_disk_that_is_full(tiny_disk, marked):
    """Nothing else might: the spool itself may be what has filled it, and the server is back."""
    spool = Spool.open(tiny_disk / "spool", segment_bytes=200_000)
    acknowledged: list[int] = []
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        fill(spool, 1, acknowledged, 60_000)
    spool.close()
    spool = Spool.open(tiny_disk / "spool", segment_bytes=200_000)
    spool.drained(marked)
    disks.fill(tiny_disk)
    half = len(acknowledged) // 2
    spool.drained(1 + marked)
    spool.drained(half)
    assert numbers(spool) == acknowledged[half:]
    spool.close()
    again = numbers(Spool.open(tiny_disk / "spool"))
    assert again[-len(acknowledged[half:]) :] == acknowledged[half:]
    assert half - again[0] < 4, "the rest of a file waits once more at most"
    spool = Spool.open(tiny_disk / "spool")
    spool.append([batch(acknowledged[-1] + 1)])
    spool.drained(acknowledged[-1] + 1)
    assert list((tiny_disk / "spool").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "spool", tmp_path / "nowhere" / "spool"):
        with pytest.raises(StoreUnavailable, match="opening it failed"):
            Spool.open(place)


# --- kills -----------------------------------------------------------------------------------------------------------

APPENDING = ["spool.before_write", "spool.written", "spool.synced", "spool.named"]
DRAINING = ["spool.before_mark", "spool.marked", "spool.removed", "spool.drained"]


@pytest.mark.parametrize("pass_", [1, 2, 4])
@pytest.mark.parametrize("name", APPENDING)
def test_stopped_anywhere_in_an_append_what_was_acknowledged_is_there_and_perhaps_the_one_under_way(
    folder, name, pass_
):
    passed: list[str] = []

    def point(at: str) -> None:
        passed.append(at)
        if at == name and passed.count(name) == pass_:
            raise Killed

    spool = Spool.open(folder, segment_bytes=1, point=point)
    acknowledged: list[int] = []
    with pytest.raises(Killed):
        fill(spool, 5, acknowledged)
    with pytest.raises(StoreUnavailable, match="failed before"):
        spool.append([batch(99)])
    found = numbers(Spool.open(folder))
    assert found in (acknowledged, [*acknowledged, 5 + len(acknowledged)])
    assert (len(found) > len(acknowledged)) == (name != "spool.before_write")


@pytest.mark.parametrize("pass_", [1, 2])
@pytest.mark.parametrize("name", DRAINING)
@pytest.mark.parametrize("up_to", [2, 7, 10])
def test_stopped_anywhere_while_it_is_emptied_what_waits_is_there_and_nothing_is_missing_in_between(
    folder, name, pass_, up_to
):
    passed: list[str] = []

    def point(at: str) -> None:
        passed.append(at)
        if at == name and passed.count(name) == pass_:
            raise Killed

    spool = Spool.open(folder, segment_bytes=400, point=point)
    for number in range(1, 11):
        spool.append([batch(number)])
    assert len(list(folder.glob("*.spool"))) > 3
    try:
        spool.drained(1)
        spool.drained(up_to)
    except Killed:
        pass
    found = numbers(Spool.open(folder))
    assert found == list(range(11 - len(found), 11))
    assert set(range(up_to + 1, 11)) <= set(found)
    if "spool.marked" in passed and name != "spool.before_mark":
        assert found[:1] != [1]


KILLED_BY_POINT = """
import os, signal, sys
from pathlib import Path
from tests.unit.storage.test_spool import batch
from tradekeel.storage.spool import Spool
name, left = sys.argv[2], int(sys.argv[3])
def point(at):
    global left
    left -= at == name
    if at == name and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
spool = Spool.open(Path(sys.argv[1]), segment_bytes=700, point=point)
for number in range(1, 10_000):
    spool.append([batch(number, 100)])
    print(number, flush=True)
    if number % 5 == 0:
        spool.drained(number - 2)
        print(-(number - 2), flush=True)
"""


@pytest.mark.parametrize("name", [*APPENDING, *DRAINING])
def test_killed_at_any_point_nothing_is_lost(folder, name):
    for times in (1, 3):
        for file in folder.glob("*"):
            file.unlink()
        words = ["-c", KILLED_BY_POINT, str(folder), name, str(times)]
        ended = cradle.to_its_end(cradle.begin(words, loaded=LOADED, cwd=ROOT, **cradle.HEARD), TIMEOUT_S)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert_whole(folder, ended.stdout.split())


def assert_whole(folder: Path, said: Sequence[str]) -> None:
    """What was acknowledged is there, but for what was said to be done with, and nothing is missing in between."""
    acknowledged = max((int(line) for line in said if int(line) > 0), default=0)
    drained = max((-int(line) for line in said if int(line) < 0), default=0)
    found = numbers(Spool.open(folder))
    if not found:
        assert acknowledged == 0
        return
    assert found == list(range(found[0], found[-1] + 1))
    assert found[-1] in (acknowledged, acknowledged + 1)
    assert drained < found[0] <= max(acknowledged - 1, 1), "and what was under way may be done with"


TIMEOUT_S = 60
LOADED = (*cradle.STORE, "tests.unit.storage.test_spool")
KILLS = {"dev": 3, "ci": 6, "campaign": 200}


def test_killed_at_any_moment_nothing_is_lost(folder, seed, profile):
    chance = random.Random(seed)
    for _ in range(KILLS[profile]):
        for file in folder.glob("*"):
            file.unlink()
        words = ["-c", KILLED_BY_POINT, str(folder), "never", "0"]
        with cradle.begin(words, loaded=LOADED, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(1, 300))]
            process.kill()
            lines += process.stdout.read().split("\n")[:-1]
        assert_whole(folder, lines)


# --- torn ends and damage --------------------------------------------------------------------------------------------


@pytest.fixture
def small(folder: Path) -> Path:
    """The one file of a spool of batches 41 to 45."""
    spool = Spool.open(folder)
    spool.append(a_day())
    spool.close()
    [file] = folder.iterdir()
    return file


def entry_ends(file: Path) -> list[int]:
    """Where each entry ends: found by writing them again, one by one."""
    ends, folder = [], file.parent.parent / "again"
    spool = Spool.open(folder)
    for one in a_day():
        spool.append([one])
        ends.append(spool.size_bytes)
    assert ends[-1] == file.stat().st_size
    return ends


def test_cut_off_anywhere_the_whole_entries_are_there_and_the_rest_is_cut(small, seed, profile):
    content, ends = small.read_bytes(), entry_ends(small)
    lengths = {*range(HEADER.size + 30), *(end + n for end in ends[:-1] for n in range(-6, 26)), len(content) - 1}
    lengths.update(
        range(len(content)) if profile == "campaign" else random.Random(seed).sample(range(len(content)), 100)
    )
    for length in sorted(lengths):
        small.write_bytes(content[:length])
        spool = Spool.open(small.parent)
        whole = sum(end <= length for end in ends)
        assert numbers(spool) == list(range(41, 41 + whole))
        at_an_end = length in ends
        assert (spool.cut is None) == at_an_end
        if spool.cut is not None:
            assert "never acknowledged" in spool.cut
        assert Spool.open(small.parent).cut is None
        if whole:
            assert small.stat().st_size == ends[whole - 1]
        else:
            assert not small.exists()


def test_zeros_where_the_end_should_be_are_a_power_cut(small, seed):
    content, ends = small.read_bytes(), entry_ends(small)
    for length in [*random.Random(seed).sample(range(len(content)), 300), *ends, 0, HEADER.size]:
        small.write_bytes(content[:length].ljust(len(content) + 4_096, b"\0"))
        spool = Spool.open(small.parent)
        # A zero that was written cannot be told from one that was not; what counts is where the end mark is.
        assert numbers(spool) == list(range(41, 41 + sum(end <= length for end in ends)))


def test_any_flipped_bit_is_found_and_nothing_is_cut_off(small, seed):
    content, ends = small.read_bytes(), entry_ends(small)
    chance = random.Random(seed)
    places = [*chance.sample(range(len(content)), 400), *range(HEADER.size + 20), *range(ends[-2], ends[-2] + 24)]
    for place in [*places, len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << chance.randrange(8)
        small.write_bytes(damaged)
        with pytest.raises((StoreCorrupt, StoreTooNew)) as caught:
            Spool.open(small.parent)
        assert str(small) in str(caught.value)
        assert "Keep a copy" in str(caught.value)
        if place >= HEADER.size:
            assert f"batch {41 + sum(end <= place for end in ends)} at byte" in str(caught.value)
        assert small.read_bytes() == damaged


def test_damage_that_comes_after_the_opening_is_found_while_it_is_read(small):
    spool = Spool.open(small.parent)
    content = bytearray(small.read_bytes())
    content[entry_ends(small)[2] + 40] ^= 1
    small.write_bytes(content)
    waiting = spool.pending()
    assert [next(waiting).number for _ in range(3)] == [41, 42, 43]
    with pytest.raises(StoreCorrupt, match=r"batch 44 at byte .* is damaged"):
        next(waiting)


@pytest.fixture
def segments(folder: Path) -> list[Path]:
    """The files of a spool of several."""
    spool = Spool.open(folder, segment_bytes=1)
    for number in range(1, 6):
        spool.append([batch(number)])
    return sorted(folder.iterdir())


def test_a_file_that_ends_too_early_with_others_behind_it_is_damage(segments):
    content = segments[1].read_bytes()
    for length in (0, 10, HEADER.size, len(content) - 1):
        segments[1].write_bytes(content[:length])
        with pytest.raises(StoreCorrupt, match=f"{segments[1].name}.* damaged"):
            Spool.open(segments[1].parent)
        assert segments[1].stat().st_size == length


def test_a_file_that_is_missing_in_the_middle_is_damage(segments):
    segments[2].unlink()
    with pytest.raises(StoreCorrupt, match="batch 3 is missing"):
        Spool.open(segments[0].parent)


def test_a_first_file_that_is_missing_behind_the_mark_is_damage(segments):
    (segments[0].parent / MARK).write_bytes(file_header(DRAINED, 1))
    for file in segments[:2]:
        file.unlink()
    with pytest.raises(StoreCorrupt, match="batch 2 is missing"):
        Spool.open(segments[0].parent)


def test_a_file_under_another_ones_name_is_damage(segments):
    segments[-1].write_bytes(segments[0].read_bytes())
    with pytest.raises(StoreCorrupt, match="its name says another"):
        Spool.open(segments[0].parent)


@pytest.mark.parametrize("name", ["00000000000000000009.spool", MARK])
def test_what_is_none_of_ours_is_refused(folder, name):
    folder.mkdir()
    (folder / name).write_bytes(b"shopping list: milk, bread, eggs")
    with pytest.raises(StoreCorrupt, match="not a file of the spool"):
        Spool.open(folder)


@pytest.mark.parametrize(("version", "error"), [(2, StoreTooNew), (0, StoreCorrupt)])
def test_a_file_of_another_format_is_refused_and_not_touched(small, version, error):
    header = bytearray(file_header(SEGMENT, 41))
    header[8:12] = version.to_bytes(4)
    header[-4:] = crc32(header[:-4]).to_bytes(4)
    content = bytes(header) + small.read_bytes()[HEADER.size :]
    small.write_bytes(content)
    with pytest.raises(error, match=f"format {version} .* knows format 1"):
        Spool.open(small.parent)
    assert small.read_bytes() == content


# --- any use of it at all --------------------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("drain"), st.integers(0, 10)),
        st.tuples(st.just("reopen"), st.integers(1, 900)),
    ),
    max_size=25,
)


@given(steps=steps)
def test_whatever_is_done_with_it_it_holds_what_a_list_would(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("spool") / "spool"
    spool, waiting, last = Spool.open(folder, segment_bytes=300), list[int](), 0
    for step, count in steps:
        if step == "append":
            new = list(range(last + 1, last + 1 + count))
            spool.append([batch(number) for number in new])
            waiting, last = waiting + new, last + count
        elif step == "drain" and waiting:
            up_to = min(waiting[0] + count, last)
            spool.drained(up_to)
            waiting = [number for number in waiting if number > up_to]
        elif step == "reopen":
            spool.close()
            spool = Spool.open(folder, segment_bytes=count)
        assert numbers(spool) == waiting
    spool.close()


# --- looking from outside --------------------------------------------------------------------------------------------


class TestWhoeverLooksFromOutside:
    def test_sees_how_many_batches_wait_over_several_files_and_changes_nothing(self, folder):
        assert waiting_in(folder) == Waiting(0, 0)
        spool = Spool.open(folder, segment_bytes=1)
        for number in range(41, 46):
            spool.append([batch(number)])
        spool.drained(42)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        found = waiting_in(folder)
        assert found == Waiting(3, sum(len(content) for name, content in before.items() if name != MARK))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        spool.drained(45)
        assert waiting_in(folder) == Waiting(0, 0)

    def test_counts_what_waits_behind_the_mark_and_not_what_came_to_no_end(self, folder):
        spool = Spool.open(folder)
        for number in range(1, 6):
            spool.append([batch(number)])
        spool.drained(2)
        assert waiting_in(folder).batches == 3
        spool.close()
        [path] = folder.glob("*.spool")
        os.truncate(path, path.stat().st_size - 1)
        assert waiting_in(folder).batches == 2
        assert Spool.open(folder).batches == 2
