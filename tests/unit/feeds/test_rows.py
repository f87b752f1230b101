"""Bad rows: each kind is found, counted, and met as its policy says; clean blocks and single rows are judged alike."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, csv_feed, quotes, ticks_of, write
from tradekeel.errors import InputError
from tradekeel.feeds.rows import BadRows, Judge, Limits, Quotes, Row, RowKind, Tally, quotes_of

S = 1_000_000_000
BASE = 1_399_507_200 * S  # Thursday, 2014-05-08T00:00:00Z


def at(second: int, bid: str, ask: str) -> str:
    return f"2014-05-08T00:{second // 60:02d}:{second % 60:02d}Z,{bid},{ask}\n"


GOOD = at(1, "1.10000", "1.10010")
LAST = at(9, "1.10020", "1.10030")

#: A bad row between two good ones, by kind.
BAD = {
    RowKind.COLUMNS: "2014-05-08T00:00:02Z,1.1\n",
    RowKind.TIME: "yesterday,1.10000,1.10010\n",
    RowKind.NON_NUMERIC: at(2, "NaN", "1.10010"),
    RowKind.NEGATIVE: at(2, "-1.10000", "1.10010"),
    RowKind.OUT_OF_ORDER: at(0, "1.10000", "1.10010"),
    RowKind.DUPLICATE: GOOD,
    RowKind.CROSSED: at(2, "1.10012", "1.10010"),
    RowKind.ZERO_SPREAD: at(2, "1.10010", "1.10010"),
    RowKind.OFF_GRID: at(2, "1.10000", "1.100105"),
}
USED = (RowKind.DUPLICATE, RowKind.OFF_GRID)  # by default


def feed_of(folder: Path, text: str, **settings: Any) -> Any:
    return csv_feed(write(folder / "quotes.csv", HEADER + text), **settings)


class TestPolicies:
    @pytest.mark.parametrize("kind", [kind for kind in BAD if kind not in USED])
    async def test_by_default_a_bad_row_is_dropped_and_counted(self, tmp_path, kind):
        feed = feed_of(tmp_path, GOOD + BAD[kind] + LAST)
        assert [tick.ts_ns for tick in await ticks_of(feed)] == [BASE + S, BASE + 9 * S]
        assert feed.quality() == {"rows": 3, "ticks": 2, f"{kind}_dropped": 1}

    async def test_by_default_a_quote_that_is_said_twice_is_used_twice_and_counted(self, tmp_path):
        feed = feed_of(tmp_path, GOOD + GOOD)
        assert len(await ticks_of(feed)) == 2
        assert feed.quality() == {"rows": 2, "ticks": 2, "duplicate_accepted": 1}

    async def test_by_default_a_price_off_the_grid_is_used_as_it_is_and_counted(self, tmp_path):
        feed = feed_of(tmp_path, GOOD + BAD[RowKind.OFF_GRID] + LAST)
        assert quotes(await ticks_of(feed))[1] == (BASE + 2 * S, "1.10000", "1.100105")
        assert feed.quality() == {"rows": 3, "ticks": 3, "off_grid_accepted": 1}

    async def test_a_price_off_the_grid_may_be_left_out(self, tmp_path):
        feed = feed_of(tmp_path, GOOD + BAD[RowKind.OFF_GRID] + LAST, bad_rows={"off_grid": "drop"})
        assert [tick.ts_ns for tick in await ticks_of(feed)] == [BASE + S, BASE + 9 * S]
        assert feed.quality() == {"rows": 3, "ticks": 2, "off_grid_dropped": 1}

    async def test_zeros_at_the_end_put_no_price_off_the_grid(self, tmp_path):
        feed = feed_of(tmp_path, GOOD + at(2, "1.1000000", "1.10010") + LAST)
        assert len(await ticks_of(feed)) == 3
        assert feed.quality() == {"rows": 3, "ticks": 3}

    @pytest.mark.parametrize("kind", BAD)
    async def test_fail_names_the_file_the_line_and_what_was_found(self, tmp_path, kind):
        feed = feed_of(tmp_path, GOOD + BAD[kind] + LAST, bad_rows={str(kind): "fail"})
        with pytest.raises(InputError, match=rf"quotes\.csv, line 3: .*bad_rows\.{kind}"):
            await ticks_of(feed)

    @pytest.mark.parametrize(
        ("kind", "mended"),
        [
            (RowKind.CROSSED, (2, "1.10010", "1.10012")),  # bid and ask change places
            (RowKind.ZERO_SPREAD, (2, "1.10009", "1.10011")),  # one tick size wider on each side
            (RowKind.OUT_OF_ORDER, (1, "1.10000", "1.10010")),  # the time of the row before
        ],
    )
    async def test_fix_mends_what_can_be_mended(self, tmp_path, kind, mended):
        feed = feed_of(tmp_path, GOOD + BAD[kind] + LAST, bad_rows={str(kind): "fix"})
        second, bid, ask = mended
        assert quotes(await ticks_of(feed))[1] == (BASE + second * S, bid, ask)
        assert feed.quality()[f"{kind}_fixed"] == 1

    @pytest.mark.parametrize("kind", [RowKind.CROSSED, RowKind.ZERO_SPREAD, *USED])
    async def test_accept_uses_the_row_as_it_is(self, tmp_path, kind):
        feed = feed_of(tmp_path, GOOD + BAD[kind] + LAST, bad_rows={str(kind): "accept"})
        _, bid, ask = BAD[kind].strip().split(",")
        assert quotes(await ticks_of(feed))[1][1:] == (bid, ask)
        assert feed.quality() == {"rows": 3, "ticks": 3, f"{kind}_accepted": 1}

    @pytest.mark.parametrize(
        ("kind", "policy"),
        [
            ("columns", "fix"),
            ("non_numeric", "accept"),
            ("negative", "fix"),
            ("gap", "drop"),
            ("crossed", "ignore"),
            ("out_of_order", "accept"),
        ],
    )
    def test_a_policy_that_makes_no_sense_is_refused(self, kind, policy):
        with pytest.raises(msgspec.ValidationError, match=kind):
            msgspec.convert({kind: policy}, BadRows)

    async def test_a_zero_spread_at_the_lowest_price_is_widened_upwards(self, tmp_path):
        feed = feed_of(tmp_path, at(1, "0.00001", "0.00001"), bad_rows={"zero_spread": "fix"})
        assert quotes(await ticks_of(feed)) == [(BASE + S, "0.00001", "0.00002")]

    async def test_a_row_with_two_faults_is_counted_for_both_if_it_is_used(self, tmp_path):
        feed = feed_of(tmp_path, LAST + at(2, "1.10012", "1.10010"), bad_rows={"out_of_order": "fix", "crossed": "fix"})
        assert len(await ticks_of(feed)) == 2
        assert feed.quality() == {"rows": 2, "ticks": 2, "out_of_order_fixed": 1, "crossed_fixed": 1}

    async def test_a_repeated_quote_is_found_across_a_row_that_was_dropped(self, tmp_path):
        feed = feed_of(tmp_path, GOOD + at(1, "1.10012", "1.10010") + GOOD, bad_rows={"duplicate": "drop"})
        assert len(await ticks_of(feed)) == 1
        assert feed.quality() == {"rows": 3, "ticks": 1, "crossed_dropped": 1, "duplicate_dropped": 1}


class TestNumbers:
    @pytest.mark.parametrize(
        "text", ["NaN", "Infinity", "-inf", "", " ", "1_1", "0x1", "1.1.1", "abc", "１.1", "1e99", "sNaN"]
    )
    async def test_what_is_no_finite_number_is_not_used(self, tmp_path, text):
        feed = feed_of(tmp_path, GOOD + at(2, text, "1.20000") + LAST)
        assert len(await ticks_of(feed)) == 2
        assert feed.quality()["non_numeric_dropped"] == 1

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1e0", "1"), ("11e-1", "1.1"), (" 1.1 ", "1.1"), ("+1.1", "1.1"), (".9", "0.9"), ('"1.1"', "1.1")],
    )
    async def test_a_number_may_be_written_in_any_of_the_usual_ways(self, tmp_path, text, value):
        feed = feed_of(tmp_path, GOOD + at(2, text, "1.20000"))
        assert quotes(await ticks_of(feed))[1] == (BASE + 2 * S, value, "1.20000")

    async def test_a_large_number_with_an_exponent_is_written_out(self, tmp_path):
        feed = feed_of(tmp_path, at(2, "1e5", "100001"))
        assert quotes(await ticks_of(feed)) == [(BASE + 2 * S, "100000", "100001")]


class TestGaps:
    TEN_MINUTES = "2014-05-08T00:00:00Z,1.1,1.2\n2014-05-08T00:10:00.001Z,1.1,1.2\n"
    WEEKEND = "2014-05-09T20:59:59Z,1.1,1.2\n2014-05-11T21:00:02Z,1.1,1.2\n"

    async def test_a_gap_is_counted_and_its_row_used(self, tmp_path):
        feed = feed_of(tmp_path, self.TEN_MINUTES)
        assert len(await ticks_of(feed)) == 2
        assert feed.quality()["gap_accepted"] == 1

    async def test_exactly_the_limit_is_no_gap(self, tmp_path):
        feed = feed_of(tmp_path, self.TEN_MINUTES.replace(".001Z", "Z"))
        await ticks_of(feed)
        assert "gap_accepted" not in feed.quality()

    async def test_the_limit_can_be_set(self, tmp_path):
        feed = feed_of(tmp_path, self.TEN_MINUTES, gap_s=601)
        await ticks_of(feed)
        assert "gap_accepted" not in feed.quality()

    async def test_a_weekend_is_no_gap_unless_the_market_trades_then(self, tmp_path):
        quiet, loud = feed_of(tmp_path, self.WEEKEND), feed_of(tmp_path, self.WEEKEND, gap_on_weekends=True)
        await ticks_of(quiet)
        await ticks_of(loud)
        assert ("gap_accepted" in quiet.quality(), "gap_accepted" in loud.quality()) == (False, True)

    async def test_a_gap_can_stop_the_feed(self, tmp_path):
        with pytest.raises(InputError, match=r"line 3: gap: 600\.001 s after the row before"):
            await ticks_of(feed_of(tmp_path, self.TEN_MINUTES, bad_rows={"gap": "fail"}))


class TestStartAndEnd:
    async def test_start_is_in_and_end_is_out(self, tmp_path):
        rows = "".join(at(second, "1.1", "1.2") for second in range(5))
        feed = feed_of(tmp_path, rows, start="2014-05-08T00:00:01", end="2014-05-08T00:00:03Z")
        assert [tick.ts_ns - BASE for tick in await ticks_of(feed)] == [S, 2 * S]
        assert feed.quality() == {"rows": 5, "ticks": 2, "outside_dropped": 3}

    def test_an_end_that_is_not_after_the_start_is_refused(self, tmp_path):
        with pytest.raises(msgspec.ValidationError, match="is not before end"):
            feed_of(tmp_path, GOOD, start="2014-05-08", end="2014-05-08")


# --- the fast way and the careful way -----------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 1, 1, 1, 40, -2]),  # seconds since the row before
        st.sampled_from([Decimal(bid) for bid in ("5", "5", "5", "5", "6", "6", "5.5", "-2")]),
        st.sampled_from([Decimal(spread) for spread in ("1", "1", "1", "1", "0", "-1", "1.5")]),
        st.sampled_from([None, None, None, Decimal(0), Decimal(5), Decimal(-1)]),
    ),
    max_size=40,
)
POLICIES = st.builds(
    BadRows,
    out_of_order=st.sampled_from(["drop", "fix"]),
    duplicate=st.sampled_from(["drop", "accept"]),
    crossed=st.sampled_from(["drop", "fix", "accept"]),
    zero_spread=st.sampled_from(["drop", "fix", "accept"]),
    off_grid=st.sampled_from(["drop", "accept"]),
)
LIMITS = st.sampled_from(
    [
        Limits(Decimal(1)),
        Limits(Decimal(1), start_ns=BASE + 1 * S, end_ns=BASE + 90 * S, gap_ns=30 * S, gap_on_weekends=True),
    ]
)


def rows_of(steps: Sequence[tuple[int, Decimal, Decimal, Decimal | None]], sized: bool) -> list[Row]:
    now_ns = BASE
    rows: list[Row] = []
    for seconds, bid, spread, size in steps:
        now_ns += seconds * S
        rows.append((now_ns, bid, bid + spread, size if sized else None, None))
    return rows


def one_by_one(rows: Sequence[Row], limits: Limits, policies: BadRows) -> tuple[list[Row], dict[str, int]]:
    """The rules, row by row, without any of the shortcuts."""
    judge = Judge(limits, Tally(policies))
    kept = [row for given in rows if (row := judge._one(given, 1)) is not None]
    return kept, dict(judge.tally.counts)


@given(ROWS, LIMITS, POLICIES, st.lists(st.integers(1, 15), max_size=8), st.booleans())
def test_blocks_are_judged_as_their_rows_are_however_they_are_cut(steps, limits, policies, cuts, sized):
    rows = rows_of(steps, sized)
    judge = Judge(limits, Tally(policies))
    kept: list[Row] = []
    at_row = 0
    for cut in [*cuts, len(rows)]:
        block = rows[at_row : at_row + cut]
        at_row += cut
        if not block:
            continue
        columns = quotes_of(block) if sized else Quotes(*quotes_of(block)[:3])
        if not judge.all_clean(columns):
            columns = judge.sift(columns, range(1, len(block) + 1), "file")
        kept += list(zip(*quotes_of_all(columns), strict=True))
    assert (kept, dict(judge.tally.counts)) == one_by_one(rows, limits, policies)
    assert all(one[0] <= other[0] for one, other in pairwise(kept)), "time never steps back"


def quotes_of_all(columns: Quotes) -> list[Sequence[Any]]:
    none = [None] * len(columns.times_ns)
    return [columns.times_ns, columns.bids, columns.asks, columns.bid_sizes or none, columns.ask_sizes or none]


@given(ROWS, LIMITS, POLICIES, st.integers(0, 40))
def test_judging_goes_on_from_its_memory(steps, limits, policies, cut):
    rows = rows_of(steps, sized=False)
    whole = Judge(limits, Tally(policies))
    first = whole.sift(quotes_of(rows[:cut]), range(cut), "file") if rows[:cut] else Quotes((), (), ())
    second = Judge(limits, Tally(policies))
    second.recall(whole.memory)
    if rows[cut:]:
        rest = second.sift(quotes_of(rows[cut:]), range(len(rows)), "file")
        again = Judge(limits, Tally(policies)).sift(quotes_of(rows), range(len(rows)), "file")
        assert [*first.times_ns, *rest.times_ns] == list(again.times_ns)
