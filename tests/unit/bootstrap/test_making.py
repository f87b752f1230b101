"""New strategies, the catalogue, the schema's history, and a copy of the books."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.database import backup
from tradekeel.bootstrap.making import catalogue, write_strategy
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.schemas import history, upgrade
from tradekeel.errors import AlreadyRunning, InputError
from tradekeel.storage.schema import HEAD
from tradekeel.storage.verify import verify


def test_a_new_strategy_can_be_run_as_it_is_and_is_never_written_over(tmp_path: Path) -> None:
    written = write_strategy("dips", tmp_path / "mine")
    assert {path.name for path in written} == {"dips.py", "test_dips.py", "dips.toml"}
    [account] = read_plan(tmp_path / "mine" / "dips.toml", {}).accounts
    assert [strategy.config.kind for strategy in account.strategies] == ["dips.py:Dips"]
    with pytest.raises(InputError, match="exists already"):
        write_strategy("dips", tmp_path / "mine")
    described = catalogue(f"{tmp_path / 'mine' / 'dips.py'}:Dips")
    assert described[0]["parameters"]


def test_the_catalogue_has_every_kind_with_its_defaults() -> None:
    kinds = {kind["kind"]: kind for kind in catalogue(None)}
    assert {"floor", "ema_cross", "donchian"} <= kinds.keys()
    defaults = {spec["name"]: spec["default"] for spec in kinds["floor"]["parameters"]}
    assert defaults["initial_units"] == "1000"
    assert defaults["max_layers"] == 5
    with pytest.raises(InputError, match="did you mean floor"):
        catalogue("flor")


def test_the_schema_is_up_to_date_and_says_since_when(place: Place) -> None:
    assert upgrade(place, print) == {"applied": [], "notes": [], "copy": None}
    assert [row["revision"] for row in history(place)][-1] == HEAD


def test_the_schema_of_a_running_daemon_is_left_alone(place: Place) -> None:
    holder = place.statedir
    holder.lock()
    try:
        with pytest.raises(AlreadyRunning):
            upgrade(place, print)
        assert history(place)
    finally:
        holder.release()


def test_the_books_of_a_running_daemon_are_copied_whole(place: Place, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    holder = place.statedir
    holder.lock()
    try:
        (tmp_path / "new").mkdir()
        made = backup(place, tmp_path / "new" / "copy.db", lambda done, total: steps.append((done, total)))
    finally:
        holder.release()
    copy = tmp_path / "new" / "copy.db"
    assert made == {"books": str(place.statedir.books), "copy": str(copy), "bytes": copy.stat().st_size}
    assert copy.stat().st_mode & 0o777 == 0o600
    assert steps[-1][0] == steps[-1][1] > 0
    assert verify(copy).ok


def test_a_copy_is_put_where_nothing_is_and_something_can_be(place: Place, tmp_path: Path) -> None:
    def refused(copy: Path, match: str) -> None:
        with pytest.raises(InputError, match=match):
            backup(place, copy, lambda done, total: None)

    there = tmp_path / "precious"
    there.write_text("precious")
    refused(there, "exists already")
    refused(there / "copy.db", "is no folder in which")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link", "exists already")
    assert there.read_text() == "precious"
    with pytest.raises(InputError, match="no books"):
        backup(Place(tmp_path / "empty", None), tmp_path / "copy.db", lambda done, total: None)
