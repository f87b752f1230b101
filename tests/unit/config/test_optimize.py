"""``[optimize]``: what is wrong with it is found while the file is read, with its place and a remedy."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.config.files import GOOD, load, problems
from tradekeel.bootstrap.plan import kinds
from tradekeel.config.optimize import OptimizeConfig

FILE = GOOD.replace("seed = 7", 'seed = 7\ninstruments = ["EUR_USD"]\nticks = 10').replace(
    "loss_daily_max", "daily_loss_max"
)
RANGES = "[optimize.parameters.floor]\nmax_layers = { from = 1, to = 9, step = 2 }\n"


def optimize(folder: Path, text: str) -> OptimizeConfig:
    found = load(folder, f"{FILE}\n{text}", kinds=kinds()).optimize
    assert found is not None
    return found


def test_without_the_section_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, FILE, kinds=kinds()).optimize is None


def test_ranges_are_exact(tmp_path: Path) -> None:
    text = '[optimize.parameters.floor]\nretracement_pips = { from = 0.1, to = "2.3", step = 0.1 }\n'
    range_ = optimize(tmp_path, text).parameters["floor"]["retracement_pips"]
    assert (range_.from_, range_.to, range_.step) == (Decimal("0.1"), Decimal("2.3"), Decimal("0.1"))


def test_the_sampler_follows_from_the_number_of_objectives(tmp_path: Path) -> None:
    assert optimize(tmp_path, f"[optimize]\n{RANGES}").sampler_used == "tpe"
    two = '[optimize]\nobjective = ["sharpe", "max_drawdown"]\n'
    assert optimize(tmp_path, two + RANGES).sampler_used == "nsga2"


def test_it_is_no_part_of_what_a_daemon_is(tmp_path: Path) -> None:
    without = load(tmp_path, FILE, kinds=kinds())
    assert load(tmp_path, f"{FILE}\n[optimize]\n{RANGES}", kinds=kinds()).fingerprint == without.fingerprint


def test_nobody_fetches_its_password_who_only_reads_the_file(tmp_path: Path) -> None:
    found = optimize(tmp_path, f'[optimize]\npassword = {{ env = "NOT_THERE" }}\n{RANGES}')
    assert repr(found.password) == 'Secret({env = "NOT_THERE"})'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[optimize]\ntrails = 5\n", 'optimize.trails: unknown key; did you mean "trials"?'),
        ('[optimize]\nobjective = "sharp"\n', 'optimize.objective: there is no figure "sharp"; did you mean "sharpe"?'),
        ('[optimize]\nobjective = ["sharpe", "sharpe"]\n', "optimize: objective sharpe is named twice"),
        ('[optimize]\naccount = "papr"\n', 'optimize.account: there is no account "papr"; did you mean "paper-1"?'),
        ('[optimize]\nsampler = "nsga2"\n', 'optimize: sampler "nsga2" is for two objectives'),
        ('[optimize]\nobjective = ["sharpe", "pnl"]\npruner = "median"\n', "optimize: pruning compares one objective"),
        ('[optimize]\nin_sample = "30d"\n', "optimize: in_sample and out_of_sample are given together"),
        (
            '[optimize]\nstorage = "mysql://there/x"\n',
            "optimize.storage: found another text than a URL of PostgreSQL or Redis",
        ),
        (
            '[optimize]\nstorage = "redis://:pw@there/0"\n',
            "optimize.storage: a password stands in it (it was not read)",
        ),
        (
            "[optimize.parameters.flor]\n",
            'optimize.parameters.flor: there is no strategy "flor"; did you mean "floor"?',
        ),
        (
            "[optimize.parameters.floor]\nmax_layer = { from = 1, to = 2 }\n",
            'optimize.parameters.floor.max_layer: the strategy has no such parameter; did you mean "max_layers"?',
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { from = 0, to = 2 }\n",
            "optimize.parameters.floor.max_layers: the strategy refuses from 0; see `tradekeel strategies`",
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { from = 1, to = 2.5 }\n",
            "optimize.parameters.floor.max_layers: to 2.5 is no whole number, and the parameter takes no other",
        ),
        (
            '[optimize.parameters.floor]\nmax_layers = { choices = [1, "two"] }\n',
            "optimize.parameters.floor.max_layers: the strategy refuses the choice two",
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { from = 5, to = 2 }\n",
            "optimize.parameters.floor.max_layers: from 5 is above to 2",
        ),
        ("[optimize.parameters.floor]\nmax_layers = { from = 5 }\n", "max_layers: say from and to, or choices"),
        ("[optimize.parameters.floor]\nmax_layers = { choices = [2, 2] }\n", "max_layers: a choice is named twice"),
        (
            '[optimize.parameters.floor]\ntake_profit_pips = { choices = [5, "5.0"] }\n',
            "take_profit_pips: the choice 5.0 is named twice, in other words",
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { choices = [] }\n",
            "max_layers.choices: found an array of 0, allowed: an array 1 to 1000 long (",
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { choices = [2, { of = [-inf] }] }\n",
            "optimize.parameters.floor.max_layers: nan and inf are no choice",
        ),
        *(
            (
                f"[optimize.parameters.floor]\nmax_layers = {{ choices = [2, {choice}] }}\n",
                "optimize.parameters.floor.max_layers: the strategy refuses the choice",
            )
            for choice in ("{ of = 1 }", "[1]", "2024-01-02", "2024-01-02T03:04:05Z", "03:04:05")
        ),
        (
            "[optimize.parameters.floor]\nmax_layers = { choices = [2], step = 1 }\n",
            "max_layers: choices stand alone",
        ),
        (
            "[optimize.parameters.floor]\nretracement_pips = { from = 0, to = 1, log = true }\n",
            "retracement_pips: log goes with a from above 0 and without a step",
        ),
        (
            '[optimize.parameters.floor]\nretracement_pips = { from = 1, to = 100, step = "0.00001" }\n',
            "retracement_pips: these are more than 1,000,000 values",
        ),
    ],
)
def test_a_problem_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, f"{FILE}\n{text}", kinds=kinds())
    assert len(found) == 1
    assert said in found[0]


def test_a_strategy_that_is_not_enabled_trades_in_no_trial(tmp_path: Path) -> None:
    text = FILE.replace('kind = "floor"', 'kind = "floor"\nenabled = false')
    (found,) = problems(tmp_path, f"{text}\n[optimize]\n{RANGES}", kinds=kinds())
    assert "set enabled = true" in found
