"""Files that are not what they should be: a clear error that names the file, or a count; never a crash, never a guess."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, build, csv_feed, ticks_of, write
from tradekeel.errors import InputError

ROW = "2014-05-08T00:00:{:02d}Z,1.1,1.2\n"
ROWS = "".join(ROW.format(second) for second in range(60))


class TestNothingThere:
    @pytest.mark.parametrize("path", ["missing.csv", "missing/", "missing/*.csv", "*.nothing"])
    def test_a_path_that_leads_nowhere(self, tmp_path, path):
        with pytest.raises(InputError, match=r"does not exist: a feed's path is a file|no file matches"):
            csv_feed(tmp_path / path)

    def test_a_pipe_and_a_device_are_no_files(self, tmp_path):
        os.mkfifo(tmp_path / "q.csv")
        for path in (tmp_path / "q.csv", Path("/dev/null")):
            with pytest.raises(InputError, match=f"{path} is neither a file nor a folder"):
                csv_feed(path)

    def test_a_folder_without_data(self, tmp_path):
        write(tmp_path / "README.md", "nothing here")
        with pytest.raises(InputError, match=r"has no files of market data: looked for names ending in \.csv"):
            csv_feed(tmp_path)

    def test_a_folder_whose_data_is_further_down(self, tmp_path):
        (tmp_path / "eurusd").mkdir()
        write(tmp_path / "eurusd" / "q.csv", HEADER + ROWS)
        with pytest.raises(InputError, match=f"not looked into: there are some in {tmp_path / 'eurusd'}$"):
            csv_feed(tmp_path)

    def test_a_zip_without_files(self, tmp_path):
        zipfile.ZipFile(tmp_path / "q.zip", "w").close()
        with pytest.raises(InputError, match=r"q\.zip: the zip holds no file"):
            csv_feed(tmp_path / "q.zip")

    async def test_a_file_that_vanishes_after_the_start(self, tmp_path):
        path = write(tmp_path / "q.csv", HEADER + ROWS)
        feed = csv_feed(path)
        path.unlink()
        with pytest.raises(InputError, match=r"q\.csv does not exist any more"):
            await ticks_of(feed)

    @pytest.mark.parametrize("text", ["", HEADER, "\n\n", HEADER + "\n \n"])
    async def test_an_empty_file_is_a_feed_without_ticks(self, tmp_path, text):
        feed = csv_feed(
            write(tmp_path / "q.csv", text), columns={"time": 1, "bid": 2, "ask": 3}, header=text.startswith(HEADER)
        )
        assert await ticks_of(feed) == []
        assert feed.quality()["ticks"] == 0
        assert feed.progress() == 1.0

    async def test_an_empty_file_among_others_does_no_harm(self, tmp_path):
        write(tmp_path / "1.csv", "")
        write(tmp_path / "2.csv", HEADER + ROWS)
        assert len(await ticks_of(csv_feed(tmp_path))) == 60


class TestDamaged:
    def cut(self, path: Path, share: float) -> Path:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    def test_a_zip_that_was_cut_short(self, tmp_path):
        path = self.cut(write(tmp_path / "q.zip", HEADER + ROWS), 0.5)
        with pytest.raises(InputError, match=r"q\.zip cannot be read: .*cut short or damaged"):
            csv_feed(path)

    async def test_a_zip_with_a_flipped_byte(self, tmp_path):
        path = write(tmp_path / "q.zip", HEADER + ROWS)
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"q\.zip.*damaged"):
            await ticks_of(csv_feed(path))

    async def test_a_gzip_that_was_cut_short(self, tmp_path):
        path = self.cut(write(tmp_path / "q.csv.gz", HEADER + ROWS * 50), 0.7)
        with pytest.raises(InputError, match=r"q\.csv\.gz cannot be read"):
            await ticks_of(csv_feed(path, bad_rows={"out_of_order": "fix"}))

    @pytest.mark.parametrize("name", ["q.zip", "q.csv.gz"])
    async def test_a_name_that_promises_packed_data(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"just text")
        with pytest.raises(InputError, match=r"cannot be read: .*damaged"):
            await ticks_of(csv_feed(tmp_path / name))

    async def test_packed_data_under_a_plain_name(self, tmp_path):
        (tmp_path / "q.csv").write_bytes(gzip.compress((HEADER + ROWS).encode(), mtime=0))
        with pytest.raises(InputError, match=r"q\.csv is a binary file"):
            await ticks_of(csv_feed(tmp_path / "q.csv"))

    async def test_utf_16(self, tmp_path):
        path = write(tmp_path / "q.csv", (HEADER + ROWS).encode("utf-16"))
        with pytest.raises(InputError, match=r"q\.csv is UTF-16 text: save it as UTF-8"):
            await ticks_of(csv_feed(path))

    async def test_a_line_without_an_end(self, tmp_path):
        path = write(tmp_path / "q.csv", "9" * 2_000_000)
        with pytest.raises(InputError, match="longer than a megabyte"):
            await ticks_of(csv_feed(path))

    async def test_a_folder_where_a_file_was(self, tmp_path):
        path = write(tmp_path / "q.csv", HEADER)
        feed = csv_feed(path)
        path.unlink()
        path.mkdir()
        with pytest.raises(InputError, match=r"q\.csv cannot be read: .*directory"):
            await ticks_of(feed)


class TestWrongSettings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"delimiter": ";", "columns": {"time": 1, "bid": 2, "ask": 3}},
            {"time_format": "%d.%m.%Y"},
            {"columns": {"time": "bid"}},
            {"columns": {"bid": "time"}},
            {"header": False, "format": "quote"},
        ],
    )
    async def test_where_no_row_can_be_read_the_settings_are_wrong_not_the_data(self, tmp_path, settings):
        path = write(tmp_path / "20140508.csv", HEADER + ROWS)
        with pytest.raises(InputError, match=r"not one of [\d,]+ rows could be read; the first: .*, line \d"):
            await ticks_of(csv_feed(path, **settings))

    async def test_it_says_so_early_in_a_long_file(self, tmp_path):
        path = write(tmp_path / "q.csv", HEADER + "x,y,z\n" * 200_000)
        feed = csv_feed(path)
        with pytest.raises(InputError, match="not one of"):
            await ticks_of(feed)
        assert feed.quality()["rows"] < 50_000

    async def test_a_column_that_the_header_does_not_have(self, tmp_path):
        path = write(tmp_path / "q.csv", "when,bid,ask\n" + ROWS)
        with pytest.raises(InputError, match=r"q\.csv: no column 'time' in the header, which has 'when', 'bid', 'ask'"):
            await ticks_of(csv_feed(path))

    @pytest.mark.parametrize("header", ["time,bid,bid,ask", "time,bid,ask, BID"])
    async def test_a_column_that_the_header_has_twice(self, tmp_path, header):
        """Which of them is meant is a guess about prices."""
        path = write(tmp_path / "q.csv", header + "\n2014-05-08T00:00:00Z,1.1,1.2,1.2\n")
        with pytest.raises(InputError, match=r"q\.csv: the header has the column 'bid' more than once"):
            await ticks_of(csv_feed(path))
        assert await ticks_of(csv_feed(path, columns={"bid": 2, "ask": 4}))

    async def test_a_column_that_nobody_asks_for_may_be_there_twice(self, tmp_path):
        path = write(tmp_path / "q.csv", "time,bid,ask,note,note\n2014-05-08T00:00:00Z,1.1,1.2,a,b\n")
        assert await ticks_of(csv_feed(path))

    async def test_a_named_column_without_a_header(self, tmp_path):
        with pytest.raises(InputError, match="is named, but the file has no header"):
            await ticks_of(csv_feed(write(tmp_path / "q.csv", ROWS), header=False))

    async def test_a_row_where_the_header_should_be(self, tmp_path):
        path = write(tmp_path / "q.csv", ROWS)
        with pytest.raises(InputError, match="set header = false"):
            await ticks_of(csv_feed(path, columns={"time": 1, "bid": 2, "ask": 3}))

    def test_milliseconds_since_midnight_of_no_day(self, tmp_path):
        path = write(tmp_path / "eurusd.csv", "1000,1.1,1.2")
        with pytest.raises(InputError, match=r"eurusd\.csv: .* must hold the date"):
            build("file", {"path": str(path), "instrument": "EUR_USD", "format": "quote"})


class TestDirt:
    async def test_line_ends_quotes_and_blank_lines_do_no_harm(self, tmp_path):
        text = '\ufeff"time","bid","ask"\r\n\r\n"2014-05-08T00:00:00Z","1.1","1.2"\r\n2014-05-08T00:00:01Z,1.1,1.2\n\n'
        feed = csv_feed(write(tmp_path / "q.csv", text.encode()))
        assert len(await ticks_of(feed)) == 2
        assert feed.quality() == {"rows": 2, "ticks": 2, "blank": 2}

    async def test_a_quote_that_is_never_closed_costs_one_row_only(self, tmp_path):
        feed = csv_feed(
            write(tmp_path / "q.csv", HEADER + ROW.format(1) + '"2014-05-08T00:00:02Z,1.1,1.2\n' + ROW.format(3))
        )
        assert len(await ticks_of(feed)) == 2
        assert feed.quality()["columns_dropped"] == 1

    async def test_a_row_too_short_and_one_too_long_do_not_make_two_right_ones(self, tmp_path):
        text = HEADER + ROW.format(1) + "2014-05-08T00:00:02Z,1.1\n1.2,2014-05-08T00:00:03Z,1.1,1.2\n" + ROW.format(4)
        feed = csv_feed(write(tmp_path / "q.csv", text))
        assert len(await ticks_of(feed)) == 2
        assert feed.quality()["columns_dropped"] == 2

    async def test_whole_numbers_in_the_wrong_columns_are_not_taken_for_right_ones(self, tmp_path):
        text = "time,bid,ask,note\n10,100,101\n11,5,102,103,7\n12,100,101,9\n"
        feed = csv_feed(write(tmp_path / "q.csv", text), time_format="epoch_s")
        assert [tick.ts_ns for tick in await ticks_of(feed)] == [12 * 10**9]
        assert feed.quality()["columns_dropped"] == 2

    @pytest.mark.parametrize("time", ["1_0", "١٢"])
    async def test_a_time_in_digits_that_only_python_reads_is_a_bad_time(self, tmp_path, time):
        feed = csv_feed(
            write(tmp_path / "q.csv", HEADER + f"9,1.1,1.2\n{time},1.1,1.2\n13,1.1,1.2\n"), time_format="epoch_s"
        )
        assert [tick.ts_ns // 10**9 for tick in await ticks_of(feed)] == [9, 13]
        assert feed.quality()["time_dropped"] == 1

    async def test_bytes_that_are_no_text_cost_their_row_only(self, tmp_path):
        text = (HEADER + ROW.format(1)).encode() + b"\xff\xfe\x80,1.1,1.2\n" + ROW.format(2).encode()
        feed = csv_feed(write(tmp_path / "q.csv", text))
        assert len(await ticks_of(feed)) == 2
        assert feed.quality()["time_dropped"] == 1

    @given(
        st.lists(st.one_of(st.just(ROW.format(5).encode()), st.binary(max_size=40), st.text(max_size=20)), max_size=30)
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_whatever_a_file_holds_each_row_is_used_or_counted_or_the_file_is_refused(self, tmp_path, parts):
        text = b"\n".join(part if isinstance(part, bytes) else part.encode("utf-8", "replace") for part in parts)
        feed: Any = csv_feed(write(tmp_path / "q.csv", HEADER.encode() + text))
        try:
            ticks = await ticks_of(feed)
        except InputError:
            return
        quality = feed.quality()
        assert quality["ticks"] == len(ticks)
        dropped = sum(count for kind, count in quality.items() if kind.endswith("_dropped"))
        assert quality["rows"] == len(ticks) + dropped
