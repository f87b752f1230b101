"""Files of market data: finding them, putting them in order, fingerprinting them, and reading their text in pieces.

Plain text, gzip and zip are read as they are, one piece at a time, so memory does not grow with the data. Whatever is
wrong with a file (missing, damaged, binary) is a :class:`DataError` that names it.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from msgspec import Struct

from tradekeel.errors import DataError, InputError

T = TypeVar("T")

CHUNK_BYTES = 96 * 1024
HASHED_AT_ONCE_BYTES = 1024 * 1024
LINE_BYTES_MAX = 1024 * 1024
SUFFIXES = (".csv", ".txt", ".tsv", ".gz", ".zip")
PARQUET_SUFFIXES = (".parquet", ".pq")
PARQUET_MARK = b"PAR1"
ENTRIES_LOOKED_AT_MAX = 10_000
_DATE = re.compile(r"(?<![0-9])((?:19|20)[0-9]{2})[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12][0-9]|3[01])(?![0-9])")
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class DataFile(Struct, frozen=True):
    """One text of rows: a file, or one member of a zip."""

    path: str
    member: str | None
    day: tuple[int, int, int] | None  # the date in its name
    size_bytes: int  # as stored, compressed or not

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path if self.member is None else f"{self.path}:{self.member}"


def check_path(path: str) -> None:
    """What can be no path at all. Raises :class:`InputError`."""
    if not path or any(char < " " or char == "\x7f" for char in path):
        raise InputError(f"{path!r} is no path: a feed's path is a file, a folder, or a pattern such as ticks/*.zip")


def locate(path: str, base: Path, suffixes: Sequence[str] = SUFFIXES) -> list[DataFile]:
    """Every text of rows that ``path`` means, in date order: a file, a folder, or a pattern with ``*``.

    Of a folder those files whose names end in one of ``suffixes``. A relative path is relative to ``base``.
    Files are ordered by the dates in their names if each has one, and else by name.
    """
    check_path(path)
    try:
        return _located(path, base / Path(path).expanduser(), suffixes)
    except (OSError, RuntimeError) as error:  # RuntimeError: a home of nobody, links that lead in a circle
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path!r} cannot be looked into: {reason}") from None


def _located(path: str, place: Path, suffixes: Sequence[str]) -> list[DataFile]:
    if place.is_dir():
        names = [entry for entry in place.iterdir() if entry.is_file() and _is_data(entry, suffixes)]
        nothing = f"the folder {place} has no files of market data: looked for names ending in {', '.join(suffixes)}"
        nothing += "" if names else _further_down(place, suffixes)
    elif place.is_file():
        names, nothing = [place], ""
    elif any(sign in path for sign in "*?["):
        names = [Path(found) for found in glob.glob(str(place), recursive=True)]
        names = [found for found in names if found.is_file()]
        nothing = f"no file matches {place}"
    elif place.exists():
        raise DataError(
            f"{place} is neither a file nor a folder: market data is read again and again, and from any place in it"
        )
    else:
        raise DataError(f"{place} does not exist: a feed's path is a file, a folder, or a pattern such as ticks/*.zip")
    files = [file for name in names for file in _texts_of(name)]
    if not files:
        raise DataError(nothing or f"{place} holds nothing to read")
    if all(file.day for file in files):
        return sorted(files, key=lambda file: (file.day or (), Path(file.path).name, file.path, file.member or ""))
    return sorted(files, key=lambda file: (Path(file.path).name, file.path, file.member or ""))


class FileHashes:
    """Hashes of whole files, each computed once for as long as the file stays the one it is: gigabytes take a while.

    ``reading`` is called with a file's path, the bytes read so far and those in all; what it raises ends the reading.
    What else takes a while and is read once a process is kept here, too (:meth:`once`).
    """

    def __init__(self, reading: Callable[[str, int, int], object] | None = None) -> None:
        self._reading = reading if reading is not None else lambda path, done, size: None
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self._made: dict[bytes, Any] = {}

    def once(self, key: bytes, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for a key."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def of(self, path: str) -> bytes:
        """The hash of a file's bytes as they are now. Raises :class:`DataError`."""
        with _named(path), Path(path).open("rb") as stored:
            status = os.fstat(stored.fileno())
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            known = self._known.get(path)
            if known is None or known[0] != state:
                self._known[path] = known = (state, self._read(path, stored, status.st_size))
        return known[1]

    def _read(self, path: str, stored: IO[bytes], size: int) -> bytes:
        digest = hashlib.blake2b()
        done = 0
        while piece := stored.read(HASHED_AT_ONCE_BYTES):
            digest.update(piece)
            done += len(piece)
            self._reading(path, done, size)
        return digest.digest()


def fingerprint(files: Sequence[DataFile], options: bytes, hashes: FileHashes) -> str:
    """A hash of the files' bytes as stored, their dates and order, and the options that change what is read."""
    digest = hashlib.blake2b(options, digest_size=16)
    hashed: dict[str, bytes] = {}
    for file in files:
        if file.path not in hashed:
            hashed[file.path] = hashes.of(file.path)
        digest.update(f"\n{file.member or ''}\n{file.day}\n".encode())
        digest.update(hashed[file.path])
    return digest.hexdigest()


class TextReader:
    """Reads one file's lines in pieces, and knows how far it is."""

    def __init__(self, file: DataFile) -> None:
        self.file = file
        self.share_read = 0.0  # of the file, 0 to 1

    def pieces(self) -> Iterator[tuple[int, str]]:
        """Whole lines, joined, with the number of the first; closing the iterator closes the file."""
        with _named(self.file.name), self._opened() as (handle, stored, total_bytes):
            line, rest = 1, b""
            while chunk := handle.read(CHUNK_BYTES):
                if line == 1 and not rest:
                    chunk = _without_mark(chunk, self.file.name)
                self.share_read = min(1.0, stored.tell() / total_bytes) if total_bytes else 1.0
                cut = chunk.rfind(b"\n") + 1
                if not cut:
                    rest += chunk
                    if len(rest) > LINE_BYTES_MAX:
                        raise DataError(f"{self.file.name}, line {line}: longer than a megabyte; is it a text file?")
                    continue
                text = (rest + chunk[:cut]).decode("utf-8", "replace")
                rest = chunk[cut:]
                yield line, text
                line += text.count("\n")
            if rest:
                yield line, rest.decode("utf-8", "replace")
            self.share_read = 1.0

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], IO[bytes], int]]:
        """The uncompressed bytes, the handle whose place tells how far that is, and that handle's size."""
        path = Path(self.file.path)
        if self.file.member is not None:
            with zipfile.ZipFile(path) as archive, archive.open(self.file.member) as member:
                yield member, member, archive.getinfo(self.file.member).file_size
        elif path.suffix.lower() == ".gz":
            with path.open("rb") as stored, gzip.open(stored) as unpacked:
                yield cast(IO[bytes], unpacked), stored, self.file.size_bytes
        else:
            with path.open("rb") as stored:
                yield stored, stored, self.file.size_bytes


def _further_down(folder: Path, suffixes: Sequence[str]) -> str:
    """Where data lies instead, if it is among the first entries of the folders in this one: they may be of other instruments."""
    first = islice(folder.rglob("*"), ENTRIES_LOOKED_AT_MAX)
    found = next((entry for entry in first if _is_data(entry, suffixes) and entry.is_file()), None)
    return "" if found is None else f". Folders in it are not looked into: there are some in {found.parent}"


def _is_data(entry: Path, suffixes: Sequence[str]) -> bool:
    return not entry.name.startswith(".") and entry.suffix.lower() in suffixes


def _texts_of(path: Path) -> list[DataFile]:
    """The file itself, or the members of a zip."""
    if path.suffix.lower() != ".zip":
        return [DataFile(str(path), None, _day_of(path.name), path.stat().st_size)]
    with _named(str(path)), zipfile.ZipFile(path) as archive:
        members = [
            info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX")
        ]
    if not members:
        raise DataError(f"{path}: the zip holds no file")
    day = _day_of(path.name)
    return [
        DataFile(str(path), info.filename, day or _day_of(info.filename), info.compress_size)
        for info in sorted(members, key=lambda info: info.filename)
    ]


def _day_of(name: str) -> tuple[int, int, int] | None:
    match = _DATE.search(name)
    if match is None:
        return None
    year, month, day = map(int, match.groups())
    try:
        date(year, month, day)
    except ValueError:
        return None
    return year, month, day


def _without_mark(chunk: bytes, name: str) -> bytes:
    """The file's first bytes without a UTF-8 byte order mark. Raises :class:`DataError` if this is no text of ours."""
    if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name} is UTF-16 text: save it as UTF-8")
    if chunk.startswith(PARQUET_MARK):
        raise DataError(f'{name} is a Parquet file: set format = "parquet"')
    if b"\0" in chunk:
        raise DataError(f"{name} is a binary file, not rows of text (packed files end in .gz or .zip)")
    return chunk.removeprefix(b"\xef\xbb\xbf")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with reading a file into an error that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{name} does not exist any more") from None
    except _UNREADABLE as error:
        raise DataError(
            f"{name} cannot be read: {str(error) or type(error).__name__}; it may be cut short or damaged"
        ) from None
