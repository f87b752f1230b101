"""Every way a file may write a time, read to the nanosecond; what cannot be read is refused, never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.bootstrap.values import moment_ns
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.feeds.times import time_reader
from tradekeel.feeds.zones import BadTime, parse_instant, parse_zone

MOMENT_NS = 1_399_534_200_123_456_789  # 2014-05-08T07:30:00.123456789Z
MOMENT_S_NS = 1_399_534_200_000_000_000

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1))  # noqa: DTZ001


def ns(text: str) -> int:
    return parse_instant(text)


def read(
    text: str, time_format: str, zone: str = "UTC", last_ns: int = -1, day: tuple[int, int, int] | None = None
) -> int:
    """One time, read alone; the column reader must say the same wherever it says anything."""
    reader = time_reader(time_format, parse_zone(zone))
    reader.new_file(day)
    alone = reader.one(text, last_ns)
    assert reader.one(text, last_ns) == alone  # from memory, too
    try:
        column = reader.column([text, text])
    except (BadTime, ValueError):
        return alone
    assert column == [alone, alone]
    return alone


class TestFormats:
    @pytest.mark.parametrize(
        ("text", "time_format", "expected"),
        [
            ("2014-05-08T07:30:00.123456789Z", "iso", MOMENT_NS),
            ("2014-05-08 07:30:00.123456789", "iso", MOMENT_NS),
            ("2014-05-08T09:30:00.123456789+02:00", "iso", MOMENT_NS),
            ("2014-05-08T09:30:00+02", "iso", MOMENT_S_NS),
            ("2014-05-08T02:30:00-0500", "iso", MOMENT_S_NS),
            ("2014-05-08 07:30:00 +00:00", "iso", MOMENT_S_NS),
            ("2014-05-08T07:30:00,5Z", "iso", MOMENT_S_NS + 500_000_000),
            ("2014-05-08T07:30", "iso", MOMENT_S_NS),
            ("2014-05-08", "iso", MOMENT_S_NS - 27_000 * 10**9),
            ("1399534200", "epoch_s", MOMENT_S_NS),
            ("1399534200.123456789", "epoch_s", MOMENT_NS),
            ("1399534200123", "epoch_ms", MOMENT_S_NS + 123_000_000),
            ("1399534200123.456789", "epoch_ms", MOMENT_NS),
            ("1399534200123456", "epoch_us", MOMENT_S_NS + 123_456_000),
            ("1399534200123456789", "epoch_ns", MOMENT_NS),
            ("08.05.2014 07:30:00.123", "%d.%m.%Y %H:%M:%S.%f", MOMENT_S_NS + 123_000_000),
            ("20140508 073000123", "%Y%m%d %H%M%S%f", MOMENT_S_NS + 123_000_000),
            ("8 May 14, 7:30 AM", "%d %b %y, %I:%M %p", MOMENT_S_NS),
            ("5/8/2014 12:30 PM -0500", "%m/%d/%Y %I:%M %p %z", MOMENT_S_NS + 36_000 * 10**9),
            ("100% 2014.05.08", "100%% %Y.%m.%d", MOMENT_S_NS - 27_000 * 10**9),
        ],
    )
    def test_read_exactly(self, text, time_format, expected):
        assert read(text, time_format) == expected

    @pytest.mark.parametrize("text", ["27000123", "27000123.456789"])
    def test_milliseconds_since_midnight_take_the_day_from_the_file(self, text):
        expected = MOMENT_NS if "." in text else MOMENT_S_NS + 123_000_000
        assert read(text, "ms_since_midnight", day=(2014, 5, 8)) == expected

    @pytest.mark.parametrize(
        ("text", "time_format"),
        [
            ("", "iso"),
            ("2014-05-08T25:00:00", "iso"),
            ("2014-05-08T07:60:00", "iso"),
            ("2014-02-30T07:00:00", "iso"),
            ("2014-5-8", "iso"),
            ("08.05.2014", "iso"),
            ("٢٠١٤-05-08", "iso"),
            ("2014-05-08T07:30:00.1234567891Z", "iso"),
            ("12:30", "epoch_s"),
            ("-1", "epoch_s"),
            ("1e9", "epoch_s"),
            ("1_399", "epoch_s"),
            ("1399534200123", "epoch_s"),  # milliseconds: the year 46319
            ("NaN", "epoch_ms"),
            ("0.1234567891", "epoch_s"),
            ("0.5", "epoch_ns"),
            ("13:30 PM 8 May 2014", "%I:%M %p %d %b %Y"),
            ("8 Mai 2014", "%d %b %Y"),
            ("1850-01-01", "%Y-%m-%d"),
        ],
    )
    def test_anything_else_is_a_bad_time(self, text, time_format):
        reader = time_reader(time_format, UTC)
        with pytest.raises(BadTime):
            reader.one(text, -1)

    @pytest.mark.parametrize("text", ["86400000", "-1", "", "12:00"])
    def test_a_day_has_24_hours(self, text):
        reader = time_reader("ms_since_midnight", UTC)
        reader.new_file((2014, 5, 8))
        with pytest.raises(BadTime):
            reader.one(text, -1)
        with pytest.raises((BadTime, ValueError)):
            reader.column([text])

    @pytest.mark.parametrize(
        "time_format", ["unix", "", "%Y-%m", "%H:%M:%S", "%Y-%m-%d %Q", "%Y-%m-%d %Y", "%I %d.%m.%Y", "%Y%m%d%"]
    )
    def test_an_unknown_format_is_refused_and_says_what_is_allowed(self, time_format):
        with pytest.raises(InputError, match="time_format"):
            time_reader(time_format, UTC)

    @given(MOMENTS, st.integers(0, 999))
    def test_all_formats_agree(self, moment, nanos):
        since = moment - datetime(1970, 1, 1)  # noqa: DTZ001
        expected = since // timedelta(microseconds=1) * 1_000 + nanos
        digits = f"{moment.microsecond * 1_000 + nanos:09d}"
        assert read(f"{moment:%Y-%m-%d %H:%M:%S}.{digits}", "iso") == expected
        assert read(f"{moment:%d/%m/%Y %H.%M.%S}.{digits}", "%d/%m/%Y %H.%M.%S.%f") == expected
        assert read(f"{expected // 10**9}.{digits}", "epoch_s") == expected
        assert read(str(expected), "epoch_ns") == expected
        midnight_ms = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000
        text = f"{midnight_ms + int(digits[:3])}.{digits[3:]}"
        assert read(text, "ms_since_midnight", day=(moment.year, moment.month, moment.day)) == expected


class TestColumns:
    """A column is read as its texts are read one by one, or not at all."""

    @given(
        st.sampled_from(
            [
                "%Y-%m-%dT%H:%M:%S.%f",
                "%d%m%Y%H%M%S",
                "%d %b %y %I:%M:%S %p",
                "%S.%f %M:%H %d/%m/%Y",
                "%f %Y-%m-%d %H:%M:%S",
                "%H:%M %d.%m.%Y",
                "%Y%m%d %H%M%S%f%z",
            ]
        ),
        st.lists(
            st.tuples(MOMENTS, st.booleans(), st.integers(0, 9), st.sampled_from(["+0000", "-0500", "Z"])),
            min_size=1,
            max_size=6,
        ),
    )
    def test_of_any_pattern(self, pattern, rows):
        texts = []
        for moment, short, digits, zone in rows:
            text = pattern.replace("%f", f"{moment.microsecond:06d}000"[: max(1, digits)]).replace("%z", zone)
            text = moment.strftime(text)
            texts.append(text.replace(" 0", " ").replace("/0", "/") if short else text)
        self.compare(pattern, texts)

    @given(
        st.lists(
            st.sampled_from(
                [
                    "2014-05-08 07:30:00",
                    "2014-05-08T07:30:61",
                    "2014-05-08T07:30:0x",
                    "2014-05-08T07:31:59",
                    "2014-05-08T07:30Z",
                    "2014-05-08T07:30:01.5",
                    "2014-05-08T07:30:02.7Z",
                    "2014-05-08T07:30:02.75",
                ]
            ),
            min_size=1,
            max_size=3,
        )
    )
    def test_of_iso_times(self, texts):
        self.compare("iso", texts)

    @given(
        st.lists(st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,10})?|[+ -]?[0-9]{3}", fullmatch=True), min_size=1, max_size=3),
        st.sampled_from(["epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "ms_since_midnight"]),
    )
    def test_of_numbers(self, texts, time_format):
        self.compare(time_format, texts)

    def compare(self, time_format: str, texts: list[str]) -> None:
        reader = time_reader(time_format, UTC)
        reader.new_file((2014, 5, 8))
        for part in (texts, texts[:1] * 3, texts[::-1]):
            try:
                column = reader.column(part)
            except (BadTime, ValueError):
                continue
            assert column == [reader.one(text, -1) for text in part]


class TestZones:
    @pytest.mark.parametrize(
        ("zone", "hours"), [("UTC", 0), ("GMT", 0), ("UTC-05:00", -5), ("UTC+2", 2), ("+0530", 5.5), ("Etc/GMT+5", -5)]
    )
    def test_fixed(self, zone, hours):
        assert read("2014-05-08T07:30", "iso", zone) == MOMENT_S_NS - int(hours * 3_600) * 10**9

    @pytest.mark.parametrize(
        "zone", ["", "Mars/Olympus", "UTC+15", "UTC5", "../etc/passwd", "/etc/localtime", "America"]
    )
    def test_an_unknown_zone_is_refused_and_says_how_to_write_one(self, zone):
        with pytest.raises(InputError, match="New_York"):
            parse_zone(zone)

    def test_a_zone_in_the_text_beats_the_zone_of_the_feed(self):
        assert read("2014-05-08T07:30Z", "iso", "America/New_York") == MOMENT_S_NS
        assert read("2014-05-08T03:30", "iso", "America/New_York") == MOMENT_S_NS

    @given(st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1)))  # noqa: DTZ001
    def test_any_wall_time_in_new_york(self, moment):
        zone = ZoneInfo("America/New_York")
        aware = moment.replace(tzinfo=zone)
        if aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            return  # skipped by the clocks: tested below
        since = aware.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        assert (
            read(f"{moment:%Y-%m-%dT%H:%M:%S.%f}", "iso", "America/New_York")
            == since // timedelta(microseconds=1) * 1_000
        )

    def test_a_time_that_the_clocks_skip_is_a_bad_time(self):
        with pytest.raises(BadTime, match="does not exist in America/New_York"):
            read("2014-03-09T02:30:00", "iso", "America/New_York")

    def test_a_time_that_comes_twice_is_the_first_unless_that_would_go_back(self):
        first, second = ns("2014-11-02T05:30:00"), ns("2014-11-02T06:30:00")
        assert read("2014-11-02T01:30:00", "iso", "America/New_York") == first
        assert read("2014-11-02T01:30:00", "iso", "America/New_York", last_ns=first) == first
        assert read("2014-11-02T01:30:00", "iso", "America/New_York", last_ns=first + 1) == second

    def test_milliseconds_since_midnight_are_those_of_the_wall_clock(self):
        assert read("0", "ms_since_midnight", "UTC-05:00", day=(2014, 5, 1)) == ns("2014-05-01T05:00:00")
        assert read("10800000", "ms_since_midnight", "America/New_York", day=(2014, 3, 9)) == ns("2014-03-09T07:00:00")

    def test_a_column_with_and_without_zones_needs_a_closer_look(self):
        reader = time_reader("iso", UTC)
        with pytest.raises(BadTime):
            reader.column(["2014-05-08T07:30:00Z", "2014-05-08T07:30:00"])


class TestInstants:
    @pytest.mark.parametrize(
        "text",
        ["2014-05-08T07:30:00", "2014-05-08T07:30", "2014-05-08T07:30Z", "2014-05-08 09:30+02:00", "20140508T0730"],
    )
    def test_without_a_zone_they_are_utc(self, text):
        assert parse_instant(text) == MOMENT_S_NS

    @pytest.mark.parametrize(
        "text",
        [
            "2014-05-08T07:30:00.123456789Z",
            "2014-05-08T09:30:00.123456789+02:00",
            "20140508T073000,123456789",
            iso(MOMENT_NS),
        ],
    )
    def test_they_are_read_to_the_nanosecond(self, text):
        assert parse_instant(text) == moment_ns(text, 0) == MOMENT_NS

    @given(st.integers(0, 4_000_000_000_000_000_000))
    def test_what_we_write_ourselves_is_what_we_read(self, moment):
        assert parse_instant(iso(moment)) == moment

    @pytest.mark.parametrize(("digits", "nanoseconds"), [("5", 500_000_000), ("1234567", 123_456_700)])
    def test_any_number_of_digits_up_to_nine_will_do(self, digits, nanoseconds):
        assert parse_instant(f"2014-05-08T07:30:00.{digits}Z") == MOMENT_S_NS + nanoseconds

    @pytest.mark.parametrize("text", ["", "yesterday", "2014-13-01", "08.05.2014", "2014-05-08T07:30:00.1234567891Z"])
    def test_anything_else_is_refused_with_an_example(self, text):
        with pytest.raises(InputError, match="is not a time: write"):
            parse_instant(text)
