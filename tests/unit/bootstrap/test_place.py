"""Which daemon a command is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.place import Place, config_path, find_place
from tradekeel.errors import ConfigError, InputError

CONFIG = "[daemon]\nstate_dir = 'state-{name}'\n[feeds.f]\nkind='synthetic'\n[accounts.a]\nvenue='paper'\nfeed='f'\n"


def write(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(CONFIG.format(name=name))
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_says_where_its_state_is(tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    found = find_place(str(path), None, {})
    assert (found.state_dir, found.config, found.name) == (tmp_path / "state-one", path, "one")


def test_a_file_that_is_broken_otherwise_still_says_it(tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    path.write_text(path.read_text() + "[nonsense]\nx = 1\n[strategies.s]\nkind = 7\n")
    assert find_place(str(path), None, {}).state_dir == tmp_path / "state-one"


@pytest.mark.parametrize(
    "text", ["[daemon]\nstate_dir = 7\n", "[daemon]\nname = 5\n", "[daemon\n", "daemon = 1\n[accounts"]
)
def test_a_file_that_does_not_say_it_can_be_checked_but_not_asked(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    place = find_place(str(path), None, {})
    assert place.config == path
    for ask in (lambda: place.pid, lambda: place.has_books, lambda: place.statedir, place.books):
        with pytest.raises(ConfigError, match=r"bad\.toml: 1 problem"):
            ask()


def test_a_file_that_is_not_there_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_place(str(tmp_path / "none.toml"), None, {})


def test_the_only_file_is_meant_although_it_does_not_say_where_its_state_lies(tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    path.write_text(path.read_text().replace("'state-one'", "5"))
    assert find_place(None, None, {}).config == path
    two = write(tmp_path, "two")
    find_place(str(two), None, {}).statedir.create()
    find_place(str(two), None, {}).statedir.books.write_bytes(b"")
    assert find_place(None, None, {}).config == two


def test_the_environment_may_move_the_state(tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    moved = {"TRADEKEEL__DAEMON__STATE_DIR": str(tmp_path / "elsewhere")}
    assert find_place(str(path), None, moved).state_dir == tmp_path / "elsewhere"


def test_a_state_directory_needs_no_file(tmp_path: Path) -> None:
    assert find_place(None, tmp_path / "state", {}) == Place(tmp_path / "state", None)
    with pytest.raises(InputError, match="not both"):
        find_place("one.toml", tmp_path / "state", {})


def test_a_bare_name_is_a_service(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/etc/tradekeel/nowhere\.toml"):
        find_place("nowhere", None, {})
    (tmp_path / "named").write_text("")
    assert config_path("named") == Path("named")  # unless there is such a file


def test_the_environment_names_the_usual_one(tmp_path: Path) -> None:
    write(tmp_path, "one")
    two = write(tmp_path, "two")
    assert find_place(None, None, {"TRADEKEEL_CONFIG": str(two)}).config == two


def test_left_out_it_is_the_only_one_here_or_in_config(tmp_path: Path) -> None:
    path = write(tmp_path / "config", "only")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'else'\n")
    assert find_place(None, None, {}).config == path


def test_of_several_it_is_the_one_that_has_books_then_the_one_that_runs(tmp_path: Path) -> None:
    one, two = write(tmp_path, "one"), write(tmp_path, "two")
    with pytest.raises(InputError, match=r"one\.toml.*two\.toml"):
        find_place(None, None, {})
    place = find_place(str(two), None, {})
    place.statedir.create()
    place.statedir.books.write_bytes(b"")
    assert find_place(None, None, {}).config == two
    first = find_place(str(one), None, {}).statedir
    first.lock()
    try:
        assert find_place(None, None, {}).config == one
    finally:
        first.release()


def test_nothing_at_all_is_told_with_what_to_do() -> None:
    with pytest.raises(InputError, match="TRADEKEEL_CONFIG"):
        find_place(None, None, {})


def test_books_that_are_not_there_yet_are_no_fault(tmp_path: Path) -> None:
    place = Place(tmp_path, None)
    assert not place.has_books
    with pytest.raises(InputError, match="tradekeel run"):
        place.books()
