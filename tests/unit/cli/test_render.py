"""Tables fit the terminal by giving up columns, never digits."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tradekeel.cli.render import (
    Column,
    amount,
    coloured,
    end_of_id,
    fitting,
    make_table,
    moment,
    pipe_width,
    print_table,
    rounded,
    text,
    time,
    time_of_year,
    trimmed,
)

COLUMNS = (
    Column("symbol", text("symbol")),
    Column("pnl", amount("pnl"), right=True),
    Column("strategy", text("strategy"), 2),
    Column("account", text("account"), 9),
)
ROWS = [{"symbol": "EUR_USD", "pnl": "-12345.678900", "strategy": "trend", "account": "paper-account"}]


def drawn(rows: list[dict[str, str]], width: int) -> str:
    out = io.StringIO()
    print_table(rows, COLUMNS, "Nothing.", Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize(
    ("width", "kept"), [(80, "symbol pnl strategy account"), (40, "symbol pnl strategy"), (25, "symbol pnl")]
)
def test_the_least_important_columns_go_first(width: int, kept: str) -> None:
    shown = drawn(ROWS, width)
    assert shown.splitlines()[0].split() == kept.split()
    assert "-12345.6789" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_times_and_ids_become_shorter_before_a_column_goes_and_what_room_is_left_goes_to_the_long_form() -> None:
    columns = (
        Column("time", time("time"), 2, short=time_of_year("time")),
        *COLUMNS[:2],
        Column("order", text("order"), 1, short=end_of_id("order")),
    )
    rows = [ROWS[0] | {"time": "2014-05-08T13:30:01.000000000Z", "order": "tk5omjf6k2njvmenu3scs4r2alwy"}]

    def shown(width: int) -> list[str]:
        out = io.StringIO()
        print_table(rows, columns, "", Console(file=out, width=width))
        return out.getvalue().splitlines()[2].split("  ")

    assert shown(80) == ["2014-05-08 13:30:01", "EUR_USD", "-12345.6789", "tk5omjf6k2njvmenu3scs4r2alwy"]
    assert shown(70) == ["05-08 13:30:01", "EUR_USD", "-12345.6789", "tk5omjf6k2njvmenu3scs4r2alwy"]
    assert shown(49) == ["05-08 13:30:01", "EUR_USD", "-12345.6789", "…r2alwy"]
    assert shown(30) == ["EUR_USD", "-12345.6789", "…r2alwy"]


@pytest.mark.parametrize(
    ("columns", "width"), [(None, 80), ("132", 132), ("", 80), ("wide", 80), ("0", 80), ("-5", 80), ("9" * 30, 80)]
)
def test_in_a_pipe_tables_are_as_wide_as_columns_says(columns: str | None, width: int) -> None:
    assert pipe_width({} if columns is None else {"COLUMNS": columns}) == width


def test_an_amount_is_never_cut_even_where_there_is_no_room() -> None:
    folded = drawn(ROWS, 10)
    assert all(part in folded for part in ("-1234", "5.678", "9")), folded


def test_no_rows_are_a_sentence() -> None:
    assert drawn([], 80) == "Nothing.\n"


@given(st.integers(min_value=1, max_value=200))
def test_what_is_kept_stays_in_its_order(width: int) -> None:
    cells = {column.title: [column.cell(row) for row in ROWS] for column in COLUMNS}
    kept = fitting(COLUMNS, cells, width)
    assert [column for column in COLUMNS if column in kept] == kept
    assert {"symbol", "pnl"} <= {column.title for column in kept}
    assert make_table(ROWS, COLUMNS, width).row_count == 1


@given(st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**9), max_value=10**9))
def test_trimming_never_changes_an_amount(value: Decimal) -> None:
    shown = trimmed(f"{value:f}")
    assert Decimal(shown) == value
    assert not ("." in shown and shown.endswith(("0", ".")))


def test_profit_is_green_and_loss_is_red() -> None:
    assert [str(coloured(value).style) for value in ("1.50", "-0.01", "0.00", None)] == ["green", "red", "", ""]


def test_moments_and_ratios() -> None:
    assert moment("2014-05-08T13:30:01.123456789Z") == "2014-05-08 13:30:01"
    assert moment(None) == ""
    assert (rounded("1.2345", 2), rounded(None, 2)) == ("1.23", "")
    assert rounded("-0.004", 2) == "0.00", "minus nothing is nothing"
