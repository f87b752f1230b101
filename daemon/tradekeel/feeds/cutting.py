"""A file feed's own files up to a time, as files of the same names: for whoever would read the data past the feed."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

from tradekeel.feeds.context import FeedContext
from tradekeel.feeds.file import FileFeedSettings, instrument_of, reader_of
from tradekeel.feeds.files import DataFile, TextReader, locate
from tradekeel.feeds.rows import BadRow
from tradekeel.feeds.textrows import TextPiece, TextRows
from tradekeel.feeds.zones import BadTime

GZIP_LEVEL = 1
"""They are read a few times and deleted."""


def cut_files(settings: FileFeedSettings, context: FeedContext, end_ns: int, folder: Path) -> Mapping[str, str]:
    """Write them into a folder, without the first row that is later than ``end_ns`` and all behind it.

    Returns the new path for each of the feed's paths; nothing where its files are no plain or gzipped text, or a path goes
    through folders. Files that begin later are left out, but for the first of all.
    """
    found: dict[str, str] = {}
    for number, (symbol, path) in enumerate(settings.paths.items()):
        reader = reader_of(settings, instrument_of(symbol, context.instruments))
        files = locate(path, context.base)
        if not isinstance(reader, TextRows) or "**" in path or any(file.member is not None for file in files):
            return {}
        own = folder / str(number)
        own.mkdir(parents=True)
        for first, file in enumerate(files):
            if not _cut(reader, file, end_ns, own / Path(file.path).name, keeps=not first):
                break
        place = context.base / Path(path).expanduser()
        found[path] = str(own if place.is_dir() else own / Path(path).name)
    return found


def _cut(reader: TextRows, file: DataFile, end_ns: int, target: Path, *, keeps: bool) -> bool:
    """Whether all of it was kept. With ``keeps`` there is a file even where no row is."""
    line = _first_later(reader, file, end_ns)
    text = "".join(text for _, text in TextReader(file).pieces())
    if line is not None:
        header = 2 if reader.header else 1
        if line <= header and not keeps:
            return False
        text = "".join(text.splitlines(keepends=True)[: line - 1])
    data = text.encode("utf-8", "surrogateescape")
    target.write_bytes(gzip.compress(data, GZIP_LEVEL) if target.suffix.lower() == ".gz" else data)
    return line is None


def _first_later(reader: TextRows, file: DataFile, end_ns: int) -> int | None:
    """The line of the first row that is later, counted from 1."""
    last_ns = -1
    for piece in reader.pieces(file):
        assert isinstance(piece, TextPiece)
        for line, text in piece.rows():
            try:
                read = piece.row(text, last_ns)
            except (BadRow, BadTime, ValueError):
                continue  # the feed will say so
            if isinstance(read, str):
                continue
            for row in read[0]:
                if row[0] > end_ns:
                    return line
                last_ns = max(last_ns, row[0])
    return None
