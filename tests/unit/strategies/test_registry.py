"""Kinds: built in, or from a file whose problems are told with file, line and what to do."""

from __future__ import annotations

import decimal
import sys
from pathlib import Path

import pytest

from tests.unit.strategies.driver import Market
from tradekeel.errors import InputError
from tradekeel.strategies.base import check_strategy_class
from tradekeel.strategies.floor import FloorStrategy
from tradekeel.strategies.registry import BUILT_IN, catalogue, load_strategy_class, wanted_timeframes

GOOD = """\
from __future__ import annotations
from msgspec import Struct
from tradekeel.strategies.base import Strategy

class Params(Struct, frozen=True):
    pips: int = 3

class Mine(Strategy[Params, "Mine.State"]):
    '''Counts.'''
    class State(Struct, frozen=True):
        ticks: int = 0
    Params = Params
    def on_tick(self, tick, state, context):
        return self.State(state.ticks + self.params.pips), ()
"""


def refused(folder: Path, text: str | None, kind: str = "mine.py:Mine") -> str:
    if text is not None:
        (folder / "mine.py").write_text(text)
    before = set(sys.modules)
    with pytest.raises(InputError) as caught:
        load_strategy_class(kind, folder)
    if "line" in str(caught.value) and "importing" in str(caught.value):
        assert set(sys.modules) == before, "a file that failed stays imported"
    return str(caught.value)


def test_built_in_kinds_are_found_by_their_name_and_keep_the_contract(tmp_path: Path):
    assert load_strategy_class("floor", tmp_path) is FloorStrategy
    assert sorted(BUILT_IN) == ["donchian", "ema_cross", "floor"]
    for cls in BUILT_IN.values():
        check_strategy_class(cls)


def test_the_catalogue_describes_every_parameter_of_every_kind():
    for info in catalogue():
        assert info.doc
        for spec in info.parameters:
            assert spec.description, f"{info.kind}.{spec.name} has no description"
            assert not spec.required, f"{info.kind}.{spec.name} has no default"
    assert [info.kind for info in catalogue()] == sorted(BUILT_IN)


def test_a_strategy_from_a_file_runs(tmp_path: Path):
    (tmp_path / "mine.py").write_text(GOOD)
    cls = load_strategy_class("mine.py:Mine", tmp_path)
    m = Market(cls(cls.Params()))
    m.tick("1.1", "1.2")
    m.tick("1.1", "1.2")
    assert m.state == cls.State(6)


def test_a_file_in_a_folder_below_is_found(tmp_path: Path):
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.py").write_text(GOOD)
    assert load_strategy_class("strategies/mine.py:Mine", tmp_path).__name__ == "Mine"


def test_the_same_file_gives_the_same_class_and_a_changed_file_a_new_one(tmp_path: Path):
    (tmp_path / "mine.py").write_text(GOOD)
    first = load_strategy_class("mine.py:Mine", tmp_path)
    assert load_strategy_class("mine.py:Mine", tmp_path) is first
    (tmp_path / "mine.py").write_text(GOOD.replace("pips: int = 3", "pips: int = 4"))
    assert load_strategy_class("mine.py:Mine", tmp_path).Params().pips == 4  # type: ignore[attr-defined]


def test_two_files_of_one_name_do_not_meet(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(GOOD.replace("Counts.", name))
    docs = [load_strategy_class("mine.py:Mine", tmp_path / name).__doc__ for name in ("a", "b")]
    assert docs == ["a", "b"]


def test_a_file_named_like_an_installed_module_hides_nothing(tmp_path: Path):
    (tmp_path / "decimal.py").write_text(GOOD)
    load_strategy_class("decimal.py:Mine", tmp_path)
    assert "Decimal" in vars(sys.modules["decimal"])


def test_an_unknown_kind_names_the_nearest(tmp_path: Path):
    assert refused(tmp_path, None, "ema-cross").startswith("unknown strategy 'ema-cross': did you mean ema_cross?")
    assert "built in are donchian, ema_cross, floor" in refused(tmp_path, None, "zzz")
    assert 'is named "my_strategy.py:MyStrategy"' in refused(tmp_path, None, "zzz")


@pytest.mark.parametrize("kind", ["mine:Mine", "mine.py:", "mine.py:a b", ":Mine"])
def test_a_kind_that_is_neither_says_how_it_is_written(tmp_path: Path, kind: str):
    assert 'like "my_strategy.py:MyStrategy"' in refused(tmp_path, None, kind)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path):
    message = refused(tmp_path, None)
    assert message.startswith(f"{tmp_path / 'mine.py'} does not exist")
    assert "relative to the folder of the configuration file" in message


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path):
    (tmp_path / "mine.py").mkdir()
    assert refused(tmp_path, None) == f"{tmp_path / 'mine.py'} cannot be read: Is a directory"


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path):
    message = refused(tmp_path, "x = 1\ndef broken(:\n    pass\n")
    assert message.startswith(f"{tmp_path / 'mine.py'}, line 2: invalid syntax")
    assert "def broken(:" in message


def test_bytes_that_are_no_text_are_told(tmp_path: Path):
    (tmp_path / "mine.py").write_bytes(b"x = '\xff'\n")
    assert str(tmp_path / "mine.py") in refused(tmp_path, None)
    (tmp_path / "mine.py").write_bytes(b"x = '\0'\n")
    assert str(tmp_path / "mine.py") in refused(tmp_path, None)


def test_an_error_on_import_is_told_with_its_line(tmp_path: Path):
    message = refused(tmp_path, "x = 1\n\ny = 1 / 0\n")
    assert message == f"{tmp_path / 'mine.py'}, line 3: importing it failed with ZeroDivisionError: division by zero"


def test_a_file_that_ends_the_process_does_not(tmp_path: Path):
    assert "importing it failed with SystemExit: 3" in refused(tmp_path, "raise SystemExit(3)\n")
    for name in (
        "KeyboardInterrupt",
        "GeneratorExit",
        "asyncio.CancelledError",
        "BaseExceptionGroup('g', [KeyboardInterrupt()])",
    ):
        said = refused(tmp_path, f"import asyncio\nraise {name}\n")
        assert f"line 2: importing it failed with {name.partition('(')[0].removeprefix('asyncio.')}" in said


def test_a_missing_library_says_what_to_install(tmp_path: Path):
    message = refused(tmp_path, "import no_such_library\n")
    assert "line 1" in message
    assert "Install 'no_such_library' beside tradekeel" in message


def test_a_missing_class_names_those_that_are_there(tmp_path: Path):
    assert refused(tmp_path, GOOD, "mine.py:Yours").endswith("has no class Yours: it has Mine")
    assert refused(tmp_path, "x = 1\n").endswith("has no class Mine: it has no class derived from Strategy")


def test_a_class_that_is_no_strategy_says_how_to_become_one(tmp_path: Path):
    message = refused(tmp_path, "\n\nclass Mine:\n    pass\n")
    assert f"{tmp_path / 'mine.py'}, line 3: Mine is not a strategy" in message
    assert "from tradekeel.strategies.base import Strategy" in message


def test_a_state_that_is_not_frozen_is_told_with_the_line_of_the_class(tmp_path: Path):
    message = refused(tmp_path, GOOD.replace("State(Struct, frozen=True)", "State(Struct)"))
    assert message.startswith(f"{tmp_path / 'mine.py'}, line 8: Mine.State is not frozen. Write")


@pytest.mark.parametrize(
    ("code", "raises", "said"),
    [
        ("def __init__(self, params):\n        raise RuntimeError('odd pips only')", True,
         "making it failed with RuntimeError: odd pips only"),
        ("def timeframes(self):\n        return {4: '1m'}[self.params.pips]", True, "timeframes() failed with KeyError: 3"),
        ("def timeframes(self):\n        raise SystemExit(3)", True, "timeframes() failed with SystemExit: 3"),
        ("def __init__(self, params):\n        raise GeneratorExit", True, "making it failed with GeneratorExit"),
        ("def timeframes(self):\n        return '1m'", False, "timeframes(): found '1m', allowed: a tuple of texts"),
        ("def timeframes(self):\n        return ('7m',)", False, "timeframes(): timeframe '7m' does not divide a day evenly"),
        ("def timeframes(self):\n        return (5,)", False, "timeframes() failed with TypeError"),
    ],
)  # fmt: skip
def test_a_strategy_that_cannot_be_made_or_wants_no_bars_that_there_are_is_told_with_its_place(
    code: str, raises: bool, said: str, tmp_path: Path
):
    file = tmp_path / "mine.py"
    before = GOOD.partition("    def on_tick")[0]
    file.write_text(before + f"    {code}\n")
    cls = load_strategy_class("mine.py:Mine", tmp_path)
    with pytest.raises(InputError) as caught:
        wanted_timeframes(cls, cls.Params())
    at = f", line {len(before.splitlines()) + 2}" if raises else ""
    assert str(caught.value).startswith(f"{file}{at}: {said}")


def test_a_file_that_sets_decimals_context_rounds_nothing_but_its_own(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        GOOD.replace("\n\n", "\nimport decimal\ndecimal.getcontext().prec = 3\n\n", 1)
        + "    def __init__(self, params):\n        decimal.getcontext().prec = 4\n"
        + "    def timeframes(self):\n        decimal.getcontext().prec = 5\n        return ()\n"
    )
    before = decimal.getcontext().prec
    cls = load_strategy_class("mine.py:Mine", tmp_path)
    wanted_timeframes(cls, cls.Params())
    assert decimal.getcontext().prec == before


@pytest.mark.parametrize("version", ["'a'", "0", "True", "1.0", "None", "2**31"])
def test_a_version_that_does_not_count_is_told(version: str, tmp_path: Path):
    message = refused(tmp_path, GOOD + f"    state_version = {version}\n")
    assert "Mine.state_version counts from 1, found" in message


def test_a_file_that_leaves_while_it_is_imported_is_told(tmp_path: Path):
    message = refused(tmp_path, GOOD + "raise GeneratorExit\n")
    assert message == f"{tmp_path / 'mine.py'}, line 15: importing it failed with GeneratorExit"


def test_what_a_strategy_wants_is_asked_with_its_parameters(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        GOOD + "    def timeframes(self):\n        return [f'{self.params.pips}m', '3m']\n"
    )
    cls = load_strategy_class("mine.py:Mine", tmp_path)
    assert wanted_timeframes(cls, cls.Params()) == ("3m",)
    assert wanted_timeframes(FloorStrategy, FloorStrategy.Params()) == ()
