"""The files of the spool as bytes: what a header and an entry look like, and what a folder of them holds.

See :mod:`tradekeel.storage.spool` for what they are for. Every number is big-endian. The length of an entry has a checksum of
its own (with the number and the payload's checksum): a length that is off would lead the reader astray, to a place that looks
like the end of a file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from msgspec import Struct

from tradekeel.errors import Defect, StoreCorrupt, StoreTooNew
from tradekeel.storage.files import sync

VERSION = 1
"""The format of these files. Another one is refused."""

SEGMENT, DRAINED = b"TKSPOOL\n", b"TKDRAIN\n"
"""How a file of entries begins, and how the mark does."""

MARK = "drained"
"""The file that says up to which number nothing need be looked at any more."""

END = b"end\n"
"""Behind each payload. None of it is a zero: where it stands, the append came to its end."""

HEADER = struct.Struct(">8sIQI")
HEAD = struct.Struct(">IQII")

WHAT_TO_DO = (
    "What is in it was acknowledged and is not on the server. Keep a copy of this folder; if the disk cannot give the file back, "
    "move the folder away and start again: the account is compared with its venue, and halts where the books miss something."
)


class Head(NamedTuple):
    """What stands before a payload."""

    length: int
    number: int
    crc: int


class Segment(Struct):
    """A file of entries. ``start`` is where the first one that waits begins, ``size`` where the last one ends."""

    path: Path
    first: int
    last: int
    start: int
    size: int

    def skip(self, up_to: int) -> None:
        """Entries up to this number wait no more."""
        if up_to < self.first:
            return
        with self.path.open("rb") as file:
            while True:
                file.seek(self.start)
                head = read_head(file)
                if head is None:
                    raise StoreCorrupt(self.damage(up_to, self.start))
                if head.number > up_to:
                    return
                self.start += HEAD.size + head.length + len(END)

    def damage(self, number: int, at: int, how: str = "its checksum is off") -> str:
        """What to say of an entry that is not what was written."""
        return f"{self.path}: batch {number} at byte {at} is damaged ({how}). {WHAT_TO_DO}"


class Waiting(NamedTuple):
    """How much a folder holds."""

    batches: int
    bytes: int


class Found(NamedTuple):
    """What a folder holds."""

    segments: list[Segment]
    drained: int
    cut: str | None = None  # what was cut off, in words


def file_header(kind: bytes, number: int) -> bytes:
    """How a file begins: its kind, the format's version, a number, and their checksum."""
    head = HEADER.pack(kind, VERSION, number, 0)[:-4]
    return head + crc32(head).to_bytes(4)


def entry_head(length: int, number: int, crc: int) -> bytes:
    """What stands before a payload of this length and checksum."""
    head = HEAD.pack(length, number, crc, 0)[:-4]
    return head + crc32(head).to_bytes(4)


def read_head(file: BinaryIO) -> Head | None:
    """The head at the file's place, or None where there is none or it is damaged."""
    content = file.read(HEAD.size)
    if len(content) < HEAD.size:
        return None
    length, number, crc, own = HEAD.unpack(content)
    return Head(length, number, crc) if crc32(content[:-4]) == own else None


def read_header(content: bytes, kind: bytes, path: Path) -> int:
    """The number in a file's header. Raises StoreTooNew on a later format, StoreCorrupt on anything else."""
    if len(content) >= HEADER.size:
        found, version, number, own = HEADER.unpack(content[: HEADER.size])
        if found == kind and crc32(content[: HEADER.size - 4]) == own:
            if version == VERSION:
                return int(number)
            error = StoreTooNew if version > VERSION else StoreCorrupt
            raise error(
                f"{path} has format {version} of the spool, and this Tradekeel knows format {VERSION}. Nothing was touched: "
                "let the Tradekeel that wrote it bring what waits to the server."
            )
    raise StoreCorrupt(f"{path} is damaged or not a file of the spool: its header is not one. {WHAT_TO_DO}")


def numbers_in_order(numbers: Sequence[int], last: int | None) -> None:
    """Raise a Defect unless each number is the one behind the one before it (``last``, then the first of ``numbers``)."""
    expected = numbers[0] if last is None else last + 1
    for number in numbers:
        if number != expected or number < 1:
            raise Defect(f"the spool is given batch {number}, and batch {max(expected, 1)} comes next")
        expected += 1


# --- looking from outside ----------------------------------------------------------------------------------------------


def waiting_in(folder: Path) -> Waiting:
    """How much waits, for people: nothing is changed, and what is damaged is not found here but by whoever opens it.

    It reads the heads of one file, since numbers follow one another. Beside its daemon it is as of about now.
    """
    try:
        paths = sorted(path for path in folder.glob("*.spool") if path.stem.isdecimal())
        if not paths:
            return Waiting(0, 0)
        mark = folder / MARK
        drained = read_header(mark.read_bytes(), DRAINED, mark) if mark.exists() else 0
        begins = [int(path.stem) for path in (paths[0], paths[-1])]
        batches = max(_last_in(paths[-1], begins[1]) - max(drained, begins[0] - 1), 0)
        return Waiting(batches, sum(path.stat().st_size for path in paths) if batches else 0)
    except FileNotFoundError:
        return Waiting(0, 0)  # its daemon has brought it there since


def _last_in(path: Path, first: int) -> int:
    """The number of the last entry that came to its end."""
    last, at, size = first - 1, HEADER.size, path.stat().st_size
    with path.open("rb") as file:
        while True:
            file.seek(at)
            head = read_head(file)
            at += 0 if head is None else HEAD.size + head.length + len(END)
            if head is None or at > size:
                return last
            last = head.number


# --- the folder ------------------------------------------------------------------------------------------------------


def scan(folder: Path, entry_bytes_max: int) -> Found:
    """Read and check everything. What a kill left of an append in the last file is cut off, durably.

    Raises StoreCorrupt, StoreTooNew or OSError.
    """
    (folder / f"{MARK}.partial").unlink(missing_ok=True)
    paths = sorted(folder.glob("*.spool"))
    mark = folder / MARK
    drained = read_header(mark.read_bytes(), DRAINED, mark) if mark.exists() else 0
    segments: list[Segment] = []
    cut: str | None = None
    for path in paths:
        segment, said = _read_segment(path, entry_bytes_max, is_last=path is paths[-1])
        cut = said or cut
        if segment is not None:
            _follows(segment, segments, drained, folder)
            segments.append(segment)
    while segments and segments[0].last <= drained:  # a kill came before they were removed
        segments.pop(0).path.unlink()
    if segments:
        segments[0].skip(drained)
    elif drained:
        mark.unlink()
        drained = 0
    sync(folder)
    return Found(segments, drained, cut)


def _follows(segment: Segment, before: Sequence[Segment], drained: int, folder: Path) -> None:
    if before:
        gap = segment.first != before[-1].last + 1
        missing = before[-1].last + 1
    else:
        gap, missing = 0 < drained < segment.first - 1, drained + 1
    if gap:
        raise StoreCorrupt(
            f"{folder}: batch {missing} is missing, {segment.path.name} begins with another. {WHAT_TO_DO}"
        )


def _read_segment(path: Path, entry_bytes_max: int, *, is_last: bool) -> tuple[Segment | None, str | None]:
    """The segment, or None where it held nothing; and what was cut off, in words."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(HEADER.size)
        if is_last and (len(header) < HEADER.size or not header[-1]) and _never_ended(file, HEADER.size - 1):
            return None, _cut(path, 0, size)
        first = read_header(header, SEGMENT, path)
        if path.name != f"{first:020d}.spool":
            raise StoreCorrupt(f"{path} begins with batch {first}, and its name says another. {WHAT_TO_DO}")
        segment = Segment(path, first, first - 1, HEADER.size, HEADER.size)
        while segment.size < size:
            if not _read_entry(file, segment, entry_bytes_max, is_last):
                break
    if segment.last < first:
        if not is_last:
            raise StoreCorrupt(segment.damage(first, segment.size, "there is nothing of it"))
        return None, _cut(path, 0, size)  # killed between header and entry
    return segment, None if segment.size == size else _cut(path, segment.size, size)


def _read_entry(file: BinaryIO, segment: Segment, entry_bytes_max: int, is_last: bool) -> bool:
    """Take the next entry into the segment; False where it is the beginning of one that never came to its end."""
    at, number = segment.size, segment.last + 1
    file.seek(at)
    head = read_head(file)
    if head is None or head.length > entry_bytes_max:
        if is_last and _never_ended(file, at + HEAD.size - 1):
            return False
        raise StoreCorrupt(segment.damage(number, at, "what stands before it is not what was written"))
    payload, end_mark = file.read(head.length), file.read(len(END))
    if end_mark != END or crc32(payload) != head.crc:
        if is_last and _never_ended(file, at + HEAD.size + head.length + len(END) - 1):
            return False
        raise StoreCorrupt(segment.damage(number, at))
    if head.number != number:
        raise StoreCorrupt(segment.damage(number, at, f"batch {head.number} is in its place"))
    segment.last, segment.size = number, at + HEAD.size + head.length + len(END)
    return True


def _never_ended(file: BinaryIO, at: int) -> bool:
    """Whether there is nothing from here on: the file ends before, or has zeros in place of what never reached the disk."""
    file.seek(at)
    while piece := file.read(1024**2):
        if piece.strip(b"\0"):
            return False
    return True


def _cut(path: Path, at: int, size: int) -> str:
    """Shorten the file to ``at``, or remove it where that leaves nothing; durable when this returns."""
    if at == 0:
        path.unlink()
        sync(path.parent)
    else:
        os.truncate(path, at)
        sync(path)
    return f"{path}: the last {size - at} bytes are of an append that was never acknowledged, and were cut off"
