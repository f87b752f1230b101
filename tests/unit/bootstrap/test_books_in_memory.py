"""Books in memory: whoever looks at them, or deletes them, is told that they are not kept, and how to name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from tests.unit.storage import samples
from tradekeel.bootstrap.books import in_memory
from tradekeel.bootstrap.place import Place, place_of
from tradekeel.bootstrap.standing import read_status
from tradekeel.cli.database import WORDS, wipe
from tradekeel.cli.status import status
from tradekeel.errors import ExitCode, InputError
from tradekeel.storage.store import Store

CONFIG = "[daemon]\nstate_dir = 'state'\n[storage]\nenabled = false\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A daemon that has ended, whose books are still in memory."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    found = place_of(path, {})
    found.statedir.create()
    books = in_memory(found.statedir)
    books.forget()
    with Store.open(books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    yield found
    books.remove()


def test_the_status_says_that_the_next_start_empties_them(place: Place) -> None:
    found = read_status(place)
    assert (found["running"], found["emptied_at_start"], len(found["accounts"])) == (False, True, 1)
    with redirect_stdout(StringIO()) as said:
        status(str(place.config))
    assert "the books are in memory: they are not kept, and the next start empties them" in said.getvalue()


def test_by_the_state_directory_alone_they_are_not_found_and_that_says_how_to_name_them(place: Place) -> None:
    by_folder = Place(place.state_dir, None)
    with pytest.raises(
        InputError, match=r"are not there but in memory: name its configuration file, or its name under"
    ):
        by_folder.books()
    assert "are not there but in memory" in read_status(by_folder)["problem"]


def test_a_copy_made_by_a_wipe_is_not_said_to_be_put_back(place: Place) -> None:
    with redirect_stdout(StringIO()) as said:
        assert wipe(str(place.config), confirm=WORDS) is ExitCode.DONE
    assert "a copy of what was there is " in said.getvalue()
    assert "db restore" not in said.getvalue()
