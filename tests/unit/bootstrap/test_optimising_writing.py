"""A configuration with other parameters: its own text but for those values, or nothing at all."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.bootstrap.optimising.writing import lines_of, write_with
from tradekeel.errors import InputError

VALUES = {"ema": {"fast": 7, "stop_loss_pips": Decimal("12.50"), "timeframe": "1m", "reverse": True}}

TABLE = """\
# ours
[strategies.ema]          # follows
kind = "ema_cross"

[strategies.ema.params]   # moved by hand before
fast = 3                  # quick, and 3 # means it
slow = 34
timeframe = "5s"

[strategies.other.params]
fast = 99
"""

INLINE = """\
[strategies.ema]
kind = "ema_cross"
params = { fast = 3, slow = 34, timeframe = "5s" }   # all in a line
instruments = ["EUR_USD"]
"""


def rewritten(folder: Path, text: str) -> str:
    (folder / "old.toml").write_text(text)
    write_with(folder / "old.toml", folder / "new.toml", VALUES)
    return (folder / "new.toml").read_text()


def params(text: str) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads(text, parse_float=Decimal)["strategies"]["ema"]["params"]
    return found


@pytest.mark.parametrize("text", [TABLE, INLINE, '[strategies.ema]\nkind = "ema_cross"\n'])
def test_only_those_values_change(tmp_path: Path, text: str) -> None:
    done = rewritten(tmp_path, text)
    before, after = tomllib.loads(text), tomllib.loads(done)
    wanted = {"fast": 7, "stop_loss_pips": Decimal("12.5"), "timeframe": "1m", "reverse": True}
    assert params(done) == {**before["strategies"]["ema"].get("params", {}), **wanted}
    for table in (before, after):
        table["strategies"]["ema"].pop("params", None)
    assert before == after


def test_comments_stay(tmp_path: Path) -> None:
    done = rewritten(tmp_path, TABLE)
    assert [line for line in TABLE.splitlines() if "#" in line and "fast" not in line] == [
        line for line in done.splitlines() if "#" in line and "fast" not in line
    ]
    assert "fast = 7                  # quick, and 3 # means it" in done
    assert "fast = 99" in done


texts = st.text(st.characters(codec="utf-8"))
moments = st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=-5, minutes=-30))))
numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9)
plain = st.booleans() | st.integers() | numbers | texts | st.dates() | st.times() | moments
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(values)
def test_whatever_toml_can_say_is_written_as_toml(value: object) -> None:
    text = "\n".join(lines_of({"ema": {"moved": value}}))
    assert params(text) == {"moved": value}


@pytest.mark.parametrize("written", ["weights = { slow = 1, quick = 2 } # ours\nfast = 3", "fast = 3", ""])
def test_a_choice_may_be_a_table(tmp_path: Path, written: str) -> None:
    (tmp_path / "old.toml").write_text(f"[strategies.ema]\n[strategies.ema.params]\n{written}\n")
    choice = {"slow": Decimal("0.5"), "at times": ["07:00", {"from": date(2024, 1, 2)}]}
    write_with(tmp_path / "old.toml", tmp_path / "new.toml", {"ema": {"weights": choice}})
    assert params((tmp_path / "new.toml").read_text())["weights"] == choice


def test_a_table_that_cannot_be_changed_by_lines_is_left_and_the_lines_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write yourself") as caught:
        rewritten(tmp_path, 'strategies.ema = { kind = "ema_cross", params = { fast = 3 } }\n')
    assert "fast = 7" in str(caught.value)
    assert not (tmp_path / "new.toml").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    rewritten(tmp_path, TABLE)
    with pytest.raises(InputError, match="exists already"):
        rewritten(tmp_path, TABLE)


def test_a_file_elsewhere_would_mean_other_paths(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "old.toml").write_text(TABLE)
    with pytest.raises(InputError, match="relative to the file"):
        write_with(tmp_path / "old.toml", tmp_path / "elsewhere" / "new.toml", VALUES)


def test_the_lines_to_paste() -> None:
    assert lines_of(VALUES) == [
        "[strategies.ema.params]",
        "fast = 7",
        "stop_loss_pips = 12.50",
        'timeframe = "1m"',
        "reverse = true",
    ]
