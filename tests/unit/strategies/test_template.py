"""What `tradekeel new-strategy` writes is loaded, configured and run here as a user would."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.strategies.driver import D, Market, enters, events
from tradekeel.config import load_config
from tradekeel.domain.orders import OrderEvent
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError
from tradekeel.strategies.registry import describe, load_strategy_class
from tradekeel.strategies.template import render


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in render("dip_buyer").items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def unknown_folder(folder: Path) -> Iterator[Path]:
    """The folder, where Python does not look for modules: as with pytest's importlib mode, or from another folder."""
    before = sys.path[:]
    assert str(folder) not in before
    yield folder
    sys.path[:] = before
    sys.modules.pop("dip_buyer", None)


def market(folder: Path, **params: object) -> Market:
    cls = load_strategy_class("dip_buyer.py:DipBuyer", folder)
    return Market(cls(cls.Params(**params)), auto=False)


def test_its_three_files_are_named_after_it():
    assert list(render("dip_buyer")) == ["dip_buyer.py", "test_dip_buyer.py", "dip_buyer.toml"]
    assert "@" not in "".join(render("dip_buyer").values())


def test_the_strategy_loads_runs_and_survives_the_purity_checks(folder: Path):
    m = market(folder)
    assert m.tick("1.1009", "1.1010") == []
    requests = m.tick("1.1004", "1.1005")
    assert events(requests) == ["dip_bought"]
    assert enters(requests)[0].stop_loss == D("1.0995")
    assert m.tick("1.0900", "1.0901") == []
    m.fill("O1", "1.1005")
    m.close("T1", "1.1015", CloseReason.TAKE_PROFIT)
    assert (m.state.busy, m.state.dips) == (False, 1)


def test_a_refused_entry_makes_it_look_for_the_next_dip(folder: Path):
    m = market(folder)
    m.tick("1.1009", "1.1010")
    m.tick("1.1004", "1.1005")
    m.end("O1", OrderEvent.LOSE, "unknown")
    assert m.state.busy
    m.end("O1", OrderEvent.PROVE_NOT_SENT, "not_sent")
    assert not m.state.busy


def test_the_generated_tests_find_their_strategy_and_pass(unknown_folder: Path):
    spec = importlib.util.spec_from_file_location("generated_test", unknown_folder / "test_dip_buyer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_generated_tests_need_nothing_but_what_tradekeel_runs_on(folder: Path):
    """Where pytest is not installed, in a folder of the user's, with a strategy that is right and with one that is not.

    (-B: the file is written twice within a second, and compiled code goes by the second.)
    """
    hidden = "import sys; sys.modules['pytest'] = None; import runpy; sys.path.insert(0, sys.argv[1])"
    command = [sys.executable, "-B", "-c", f"{hidden}; runpy.run_path(sys.argv[2], run_name='__main__')"]

    def run_tests() -> subprocess.CompletedProcess[str]:
        words = [*command, str(folder), str(folder / "test_dip_buyer.py")]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    good = run_tests()
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines() == [
        "test_a_dip_is_bought_with_a_stop_and_a_target: passed",
        "test_a_smaller_move_is_not: passed",
    ]
    strategy = folder / "dip_buyer.py"
    strategy.write_text(strategy.read_text().replace("take_profit=tick.ask +", "take_profit=tick.ask -"))
    assert "AssertionError" in run_tests().stderr


def test_the_generated_configuration_fits_the_strategy(folder: Path):
    config = load_config(folder / "dip_buyer.toml", {})
    strategy = config.strategies["dip_buyer"]
    cls = load_strategy_class(strategy.kind, folder)
    known = {spec.name for spec in describe("", cls).parameters}
    assert set(strategy.params) == known


def test_its_own_check_speaks(folder: Path):
    with pytest.raises(InputError, match="less than a quarter"):
        market(folder, target_pips=D(1))


@pytest.mark.parametrize("name", ["", "x", "My", "my-strategy", "1st", "a__b", "class", "a" * 32, "a/b", "_a"])
def test_a_name_that_cannot_be_a_modules_is_refused(name: str):
    with pytest.raises(InputError, match="cannot be a strategy's name"):
        render(name)
