"""The files of a feed with another future: what is before is as it was, to the last character of what is read."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtesting import NO_CLOCK
from tradekeel.domain.ticks import Tick
from tradekeel.feeds import FEEDS, FeedContext, FileFeedSettings
from tradekeel.feeds.cutting import cut_files
from tradekeel.feeds.zones import parse_instant

ROWS = [
    "2024-01-03T13:00:01Z,1.10010,1.10020",
    "2024-01-03T13:00:02Z,1.10020,1.10030",
    "nothing,that,is",
    "2024-01-03T13:00:02Z,1.10030,1.10040",
    "2024-01-03T13:00:03Z,1.10050,1.10070",
    "2024-01-03T13:00:04Z,1.10040,1.10050",
]
END_NS = parse_instant("2024-01-03T13:00:02Z")


def text(*rows: str) -> str:
    return "\n".join(("time,bid,ask", *rows)) + "\n"


def settings(path: str, **more: Any) -> FileFeedSettings:
    return FileFeedSettings(path=path, instrument="EUR_USD", **more)


def cut(folder: Path, given: FileFeedSettings, *, opposite: bool = False) -> str:
    """The path of what was laid out."""
    context = FeedContext(name="f", sleeper=NO_CLOCK, base=folder)
    (path,) = cut_files(given, context, END_NS, folder / "cut", opposite=opposite).values()
    return path


def ticks(path: str, **more: Any) -> list[Tick]:
    feed = FEEDS["file"].build(settings(path, **more), FeedContext(name="f", sleeper=NO_CLOCK))
    return [tick for window in FeedSource(feed).windows() for tick in window.ticks]


def test_what_is_later_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(*ROWS))
    path = Path(cut(tmp_path, settings("a.csv")))
    assert path.name == "a.csv"
    assert path.read_text() == text(*ROWS[:4]), "rows that cannot be read stay, since the feed counts them"


def test_gzipped_files_stay_gzipped(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text(*ROWS).encode()))
    assert gzip.decompress(Path(cut(tmp_path, settings("a.csv.gz"))).read_bytes()).decode() == text(*ROWS[:4])


@pytest.mark.parametrize("path", ["data", "data/*.csv"])
def test_files_that_begin_later_are_left_out(tmp_path: Path, path: str) -> None:
    (tmp_path / "data").mkdir()
    for name, rows in {"1.csv": ROWS[:2], "2.csv": ROWS[3:5], "3.csv": ROWS[5:]}.items():
        (tmp_path / "data" / name).write_text(text(*rows))
    laid_out = cut(tmp_path, settings(path))
    folder = Path(laid_out) if path == "data" else Path(laid_out).parent
    assert {each.name: each.read_text() for each in folder.iterdir()} == {
        "1.csv": text(*ROWS[:2]),
        "2.csv": text(*ROWS[3:4]),
    }
    assert [tick.bid for tick in ticks(laid_out)] == [tick.bid for tick in ticks(str(tmp_path / path))][:3]


def test_the_opposite_of_what_is_later_is_turned_about_the_last_price_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(*ROWS))
    path = Path(cut(tmp_path, settings("a.csv"), opposite=True))
    assert path.read_text().splitlines()[5:] == [
        "2024-01-03T13:00:03Z,1.10000,1.10020",
        "2024-01-03T13:00:04Z,1.10020,1.10030",
    ]


def test_the_opposite_is_written_as_the_rest(tmp_path: Path) -> None:
    rows = [row.replace(",", ";").replace("1.1", "1,1") for row in ROWS]
    (tmp_path / "a.csv").write_text("time;bid;ask\r\n" + "\r\n".join(rows) + "\r\n")
    path = cut(tmp_path, settings("a.csv", delimiter=";", decimal_mark=","), opposite=True)
    assert Path(path).read_text().splitlines()[-1] == "2024-01-03T13:00:04Z;1,10020;1,10030"


def test_files_of_one_name_in_several_folders_are_not_laid_out_over_each_other(tmp_path: Path) -> None:
    for folder, rows in {"1": ROWS[:2], "2": ROWS[3:5]}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text(text(*rows))
    context = FeedContext(name="f", sleeper=NO_CLOCK, base=tmp_path)
    assert cut_files(settings("*/a.csv"), context, END_NS, tmp_path / "cut") == {}


def test_what_is_no_text_is_not_laid_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", text(*ROWS))
    context = FeedContext(name="f", sleeper=NO_CLOCK, base=tmp_path)
    assert cut_files(settings("a.zip"), context, END_NS, tmp_path / "cut") == {}
    frames = settings("a.zip", format="binance")
    assert cut_files(frames, context, END_NS, tmp_path / "cut") == {}
