"""Several strategies that decide at one tick, in rounds: a kill in the middle of a round does not change whose turn it is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.scenarios import support_answering as answering
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home

NAMES = ("first", "second", "third")
DECISIONS = 3 * len(NAMES)
"""At each tick that somebody wants something: one wish and two answers of each strategy."""


def _home(place: Path) -> Home:
    kind = f"{Path(answering.__file__).resolve()}:Answers"
    account = configs.account("a", more="hedging = true")
    named = "".join(configs.strategy(name, "a", kind, "") for name in NAMES)
    return Home(place, configs.head(cut_every_s=600) + configs.market(60) + account + named)


def _turns(home: Home) -> list[tuple[str, int]]:
    return [(record["strategy"], record["number"]) for record in home.records("a", "decision_taken")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    home = _home(tmp_path_factory.mktemp("undisturbed"))
    assert home.live({}).code == 0
    return _turns(home)


def test_all_have_their_turn_in_config_order_before_anybody_answers(undisturbed: list[tuple[str, int]]) -> None:
    first_tick = undisturbed[:DECISIONS]

    assert first_tick == [(name, number) for number in (1, 2, 3) for name in NAMES]


@pytest.mark.parametrize("decision", range(1, DECISIONS + 1))
@pytest.mark.parametrize("point", ["executor.decide.before", "executor.after_commit", "paper.place.after_commit"])
def test_a_kill_in_the_middle_of_a_round_changes_no_turn(
    point: str, decision: int, undisturbed: list[tuple[str, int]], tmp_path: Path
) -> None:
    home = _home(tmp_path)
    with home.start({"TRADEKEEL_KILL_AT": f"{point}:{decision}"}) as process:
        assert process.end() == -signal.SIGKILL
    assert home.live({}).code == 0
    assert _turns(home) == undisturbed
    assert home.wrong("a") + home.unverified() == []
