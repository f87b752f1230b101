"""The local spool: acknowledged batches that the server does not have yet, on this machine's disk.

It is an append-only log in a folder of its own, cut into segments so that what is done with can be removed. A segment is a
header and then entries; a new one is begun when the last is large, and by each process anew, so that no file is written
to again once its writer is gone::

    spool/00000000000000000041.spool   header, entry 41, entry 42, …
    spool/00000000000000000973.spool   header, entry 973, …
    spool/drained                      the number of the last entry that need not be looked at any more

    header   "TKSPOOL\\n"  version  number of the first entry   CRC-32 of these
    entry    length  number  CRC-32 of the payload   CRC-32 of these   payload   end mark

**What was acknowledged.** :meth:`Spool.append` returns when its entries are on the disk (and the name of a new file, too). A
write or fsync that fails is never tried again: the next one may report success without having written what the first one lost.
So the spool refuses everything from then on, and the process ends.

**What was not.** A process that is killed in the middle of an append leaves an entry without its end: the file ends too early,
or, after a power cut, there are zeros where its end should be. Nobody was answered for it, so it is cut off when the folder
is opened. An entry whose end is there and whose checksum is off is damage, wherever it is, and so is a file that ends too
early with others behind it: an error that names the entry, and nothing is skipped. As a rule it was whole once, and answered
for. The last one may not have been: a power cut may leave a later page of it on the disk and an earlier one not, and nothing
in the file tells that from damage. So a person decides: see docs/recovery.md.

The class is synchronous and belongs to one thread at a time; that one process at a time has the folder is the state
directory's business.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from tradekeel.errors import Defect, StoreCorrupt, StoreUnavailable, named
from tradekeel.storage.files import sync
from tradekeel.storage.points import Point, unwatched
from tradekeel.storage.promised import NumberedBatch, decode_groups, encode_groups
from tradekeel.storage.spoolfiles import (
    DRAINED,
    END,
    HEADER,
    MARK,
    SEGMENT,
    Found,
    Segment,
    entry_head,
    file_header,
    numbers_in_order,
    read_head,
    scan,
)

BYTES_MAX = 1024**3
"""What may wait: an outage of days at a trading pace, and less than a disk."""

SEGMENT_BYTES = 16 * 1024**2
"""A segment that has grown to this is followed by a new one."""

ENTRY_BYTES_MAX = 256 * 1024**2
"""No batch is as large; a length beyond this is none."""

FILE_MODE, FOLDER_MODE = 0o600, 0o700

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """See the module. Make one with :meth:`open`."""

    durable = True
    """Whether what is in it survives the process."""

    def __init__(self, folder: Path, found: Found, bytes_max: int, segment_bytes: int, point: Point) -> None:
        self.folder = folder
        self.cut = found.cut  # what the opening cut off, in words, for the log
        self._segments = found.segments
        self._drained = found.drained
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._point = point
        self._file: int | None = None  # the last segment, where this process has begun it
        self._failed: str | None = None

    @classmethod
    def open(
        cls, folder: Path, *, bytes_max: int = BYTES_MAX, segment_bytes: int = SEGMENT_BYTES, point: Point = unwatched
    ) -> Spool:
        """Open or make the folder, read every entry, and cut off what a kill has left in the middle of an append.

        Raises StoreCorrupt (naming the entry), StoreTooNew, or StoreUnavailable where it cannot be read or written.
        """
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=FOLDER_MODE)
                sync(folder.parent)
            found = scan(folder, ENTRY_BYTES_MAX)
        except OSError as error:
            raise _in_our_words(error, folder, "opening it") from error
        return cls(folder, found, bytes_max, segment_bytes, point)

    # --- what is in it ---------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int | None:
        """The number of the oldest batch that waits, or None."""
        return max(self._segments[0].first, self._drained + 1) if self._segments else None

    @property
    def last(self) -> int | None:
        """The number of the newest batch that waits, or None."""
        return self._segments[-1].last if self._segments else None

    @property
    def batches(self) -> int:
        """How many wait."""
        return 0 if self.first is None or self.last is None else self.last - self.first + 1

    @property
    def size_bytes(self) -> int:
        """What the files take."""
        return sum(segment.size for segment in self._segments)

    @property
    def failed(self) -> str | None:
        """Why this spool refuses everything, or None while it works."""
        return self._failed

    def pending(self) -> Iterator[NumberedBatch]:
        """All that waits, in order, each read when it is asked for. Raises StoreCorrupt, naming the entry."""
        self._refuse_if_failed()
        for segment in list(self._segments):
            try:
                with segment.path.open("rb") as file:
                    yield from self._entries(segment, file)
            except OSError as error:
                raise _in_our_words(error, segment.path, "reading it") from error

    def _entries(self, segment: Segment, file: BinaryIO) -> Iterator[NumberedBatch]:
        file.seek(segment.start)
        at, number = segment.start, max(segment.first, self._drained + 1)
        while at < segment.size:
            head = read_head(file)
            payload = file.read(head.length) if head is not None else b""
            if head is None or head.number != number or crc32(payload) != head.crc or file.read(len(END)) != END:
                raise StoreCorrupt(segment.damage(number, at))
            try:
                groups = decode_groups(payload)
            except (msgspec.MsgspecError, ValueError, KeyError) as error:
                raise StoreCorrupt(segment.damage(number, at, f"it cannot be decoded: {named(error)}")) from error
            at = file.tell()
            yield NumberedBatch(number, groups)
            number += 1

    # --- writing ---------------------------------------------------------------------------------------------------------

    def append(self, batches: Sequence[NumberedBatch]) -> None:
        """Put batches on the disk, behind those that are there; durable when this returns.

        Raises StoreUnavailable: where they do not fit, and nothing was written; or where a write failed, and this spool is
        done for. Numbers that do not follow are a Defect.
        """
        self._refuse_if_failed()
        if not batches:
            return
        numbers_in_order([batch.number for batch in batches], self.last)
        entries = b"".join(_entry(batch) for batch in batches)
        if self.size_bytes + len(entries) + HEADER.size > self._bytes_max:
            raise StoreUnavailable(
                f"{self.folder} is full: {self.batches} batches in {self.size_bytes} bytes, and {self._bytes_max} are all "
                "that it may take. Bring the server back; what waits is kept."
            )
        try:
            self._write(batches, entries)
        except BaseException as error:
            self._failed = named(error)
            if isinstance(error, OSError):
                raise _in_our_words(error, self.folder, "writing to it") from error
            raise

    def _write(self, batches: Sequence[NumberedBatch], entries: bytes) -> None:
        first, last = batches[0].number, batches[-1].number
        is_new = self._file is None or self._segments[-1].size >= self._segment_bytes
        if is_new:
            self._begin(first)
            entries = file_header(SEGMENT, first) + entries
        assert self._file is not None
        self._point("spool.before_write")
        _write_all(self._file, entries)
        self._point("spool.written")
        os.fsync(self._file)
        self._point("spool.synced")
        if is_new:
            sync(self.folder)  # the file's name is as durable as its content
            self._point("spool.named")
            self._segments.append(Segment(self._path(first), first, last, HEADER.size, len(entries)))
        else:
            segment = self._segments[-1]
            segment.last, segment.size = last, segment.size + len(entries)

    def _begin(self, first: int) -> None:
        self._let_go()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path(first), flags, FILE_MODE)

    def _path(self, first: int) -> Path:
        return self.folder / f"{first:020d}.spool"

    # --- removing --------------------------------------------------------------------------------------------------------

    def drained(self, up_to: int) -> None:
        """The server has every batch up to this number: they are gone for good when this returns.

        A kill in between leaves some that wait once more; the server tells by their numbers that it has them.
        Raises StoreUnavailable where the disk fails; this spool is done for then.
        """
        self._refuse_if_failed()
        if self.first is None or self.last is None or up_to < self.first:
            return
        if up_to > self.last:
            raise Defect(f"{self.folder}: batch {up_to} is said to be done with, but the last one here is {self.last}")
        try:
            self._remove(up_to)
        except BaseException as error:
            self._failed = named(error)
            if isinstance(error, OSError):
                raise _in_our_words(error, self.folder, "removing what is done with") from error
            raise

    def _remove(self, up_to: int) -> None:
        self._point("spool.before_mark")
        try:
            _write_mark(self.folder, up_to)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # What is removed makes room, and may be all that does. Without a mark some wait once more behind a kill.
            for name in (f"{MARK}.partial", MARK):
                (self.folder / name).unlink(missing_ok=True)
            sync(self.folder)
        self._point("spool.marked")
        self._drained = up_to
        if up_to == self.last:
            self._let_go()
        while self._segments and self._segments[0].last <= up_to:
            self._segments[0].path.unlink()
            del self._segments[0]
            self._point("spool.removed")
        if self._segments:
            self._segments[0].skip(up_to)
        sync(self.folder)
        if not self._segments:
            (self.folder / MARK).unlink(missing_ok=True)
            sync(self.folder)
            self._drained = 0
        self._point("spool.drained")

    # --- the end ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the files. What waits stays."""
        self._let_go()
        if self._failed is None:
            self._failed = "it was closed"

    def _let_go(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _refuse_if_failed(self) -> None:
        if self._failed is not None:
            raise StoreUnavailable(f"{self.folder}: not used, because the spool failed before: {self._failed}")


def _entry(batch: NumberedBatch) -> bytes:
    payload = encode_groups(batch.groups)
    if len(payload) > ENTRY_BYTES_MAX:
        raise StoreUnavailable(
            f"batch {batch.number} has {len(payload)} bytes, and {ENTRY_BYTES_MAX} are all that the spool takes of one"
        )
    return entry_head(len(payload), batch.number, crc32(payload)) + payload + END


def _write_mark(folder: Path, up_to: int) -> None:
    """There is the old mark or the new one, whatever happens, and after the return the new one."""
    partial = folder / f"{MARK}.partial"
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        _write_all(file, file_header(DRAINED, up_to))
        os.fsync(file)
    finally:
        os.close(file)
    partial.rename(folder / MARK)
    sync(folder)


def _write_all(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


def _in_our_words(error: OSError, path: Path, doing: str) -> StoreUnavailable:
    if error.errno in NO_ROOM:
        return StoreUnavailable(f"the disk is full ({doing} {path}: {error}). Free some space and start again.")
    return StoreUnavailable(
        f"{path}: {doing} failed: {error}. Look at the disk (space, mount, rights, errors in the kernel log)."
    )
