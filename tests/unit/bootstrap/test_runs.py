"""Which execution a word means: a state directory, a configuration, or an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.bootstrap.books import SECOND_ACCOUNT, open_second_account
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.runs import reported_run, run_of
from tradekeel.errors import InputError

CONFIG = '[daemon]\nstate_dir = "{}"\n'


@pytest.fixture
def two(place: Place) -> Place:
    """Two executions whose ids begin alike."""
    open_second_account(place, 1)
    return place


@pytest.fixture
def config(two: Place, tmp_path: Path) -> Path:
    path = tmp_path / "test.toml"
    path.write_text(CONFIG.format(two.state_dir))
    return path


def test_a_word_that_begins_several_ids_or_none_is_refused_with_what_there_is(two: Place) -> None:
    assert reported_run("exec-2", two, None, {}).row.execution == "exec-2"
    for word in ("exec-", "none-like-it", "e", "exec-1#9", "exec-1#x"):
        with pytest.raises(InputError) as refused:
            reported_run(word, two, None, {})
        assert all(name in str(refused.value) for name in ("exec-1#1", "exec-2#1")), word


def test_an_id_is_looked_for_among_those_of_the_account_that_is_named(two: Place) -> None:
    assert reported_run("exec-", two, SECOND_ACCOUNT, {}).row.execution == "exec-2"
    assert reported_run(None, two, SECOND_ACCOUNT, {}).row.execution == "exec-2"


def test_a_report_and_a_comparison_tell_folders_configurations_and_ids_apart_alike(two: Place, config: Path) -> None:
    for word in (str(two.state_dir), str(config)):
        for found in (reported_run(word, None, "paper-1", {}), run_of(word, None, {})):
            assert found.place.state_dir == two.state_dir
    for found in (reported_run("exec-1", two, None, {}), run_of("exec-1", two, {})):
        assert found.row.execution == "exec-1"


def test_behind_a_state_directory_its_configuration_may_stand(two: Place, config: Path) -> None:
    behind = Place(two.state_dir, config)
    for found in (reported_run(str(two.state_dir), behind, None, {}), run_of(str(two.state_dir), behind, {})):
        assert found.place.config == config
    other = Place(two.state_dir, config.with_name("other.toml"))
    for word, place in ((str(two.state_dir), two), (str(config), two), (str(config), other)):
        with pytest.raises(InputError, match="are two places"):
            reported_run(word, place, None, {})


def test_a_word_is_told_to_name_nothing_where_nobody_knows_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="'typo' is no state directory and no configuration"):
        reported_run("typo", None, None, {})
