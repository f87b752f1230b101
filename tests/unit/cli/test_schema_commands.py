"""`tradekeel db upgrade`, `downgrade`, `current`, `history`: what they say, ask, refuse and change."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.bootstrap.books import make_place
from tests.unit.storage import samples
from tradekeel.bootstrap.place import Place
from tradekeel.cli.app import dispatch
from tradekeel.errors import ExitCode
from tradekeel.storage import migrating, schema
from tradekeel.storage.files import connect
from tradekeel.storage.schema import HEAD, REVISIONS
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store

Out = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A daemon's place with empty books."""
    Store.open(tmp_path / "empty.db", now_ns=samples.START_NS).close()
    return make_place(tmp_path / "state", tmp_path / "empty.db")


@pytest.fixture
def earlier(place: Place) -> Place:
    """The same, as the first version has left them."""
    migrating.downgrade(place.statedir.books, "0001", samples.START_NS, backup=False)
    return place


def version(place: Place) -> str | None:
    books = Sqlite(place.statedir.books)
    with closing(connect(books.path)) as db:
        return schema.version_of(db.execute, books)


def run(place: Place, *words: str) -> int:
    return dispatch(["db", *words, "--state", str(place.state_dir)])


def test_current_says_where_the_books_are_and_what_is_missing(earlier: Place, capsys: Out) -> None:
    assert run(earlier, "current") == ExitCode.DONE
    missing = ", ".join(REVISIONS[1:])
    assert f"schema 0001, the newest is {HEAD}; missing: {missing}" in capsys.readouterr().out
    assert run(earlier, "current", "--json") == ExitCode.DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["version"], said["newest"], said["missing"]) == ("0001", HEAD, list(REVISIONS[1:]))


def test_a_dry_run_changes_nothing(earlier: Place, capsys: Out) -> None:
    assert run(earlier, "upgrade", "--dry-run") == ExitCode.DONE
    said = capsys.readouterr().out
    assert f"is copied into {earlier.statedir.backups}" in said
    assert all(f"then: {revision} " in said for revision in REVISIONS[1:])
    assert "CREATE TABLE" not in said
    assert run(earlier, "upgrade", "--dry-run", "--sql") == ExitCode.DONE
    assert "CREATE TABLE tasks" in capsys.readouterr().out
    assert run(earlier, "upgrade", "--dry-run", "--sql", "--json") == ExitCode.DONE
    plan = json.loads(capsys.readouterr().out)
    assert [step["revision"] for step in plan["would"]] == list(REVISIONS[1:])
    assert "CREATE TABLE tasks" in plan["sql"]
    assert version(earlier) == "0001"
    assert list(earlier.statedir.backups.iterdir()) == []


def test_the_sql_is_part_of_a_dry_run_only(earlier: Place, capsys: Out) -> None:
    assert run(earlier, "upgrade", "--sql") == ExitCode.BAD_USAGE
    assert "--dry-run" in capsys.readouterr().err
    assert version(earlier) == "0001"


def test_an_upgrade_says_what_it_did_and_the_next_one_that_nothing_was_missing(earlier: Place, capsys: Out) -> None:
    assert run(earlier, "upgrade", "--json") == ExitCode.DONE
    applied = json.loads(capsys.readouterr().out)
    assert [row["revision"] for row in applied] == list(REVISIONS[1:])
    assert {row["backup"] for row in applied} == {file.name for file in earlier.statedir.backups.iterdir()}
    assert [row["checksum"] for row in applied] == [schema.CHECKSUMS[name] for name in REVISIONS[1:]]
    assert run(earlier, "upgrade") == ExitCode.DONE
    assert "The schema is up to date." in capsys.readouterr().out
    assert run(earlier, "upgrade", "--dry-run") == ExitCode.DONE
    assert "nothing would be done" in capsys.readouterr().out


def test_the_copy_that_was_made_first_is_named_in_a_line_of_its_own(place: Place, capsys: Out) -> None:
    for way in (("downgrade", "0002", "--yes"), ("upgrade",)):
        before = set(place.statedir.backups.iterdir())
        assert run(place, *way) == ExitCode.DONE
        [made] = set(place.statedir.backups.iterdir()) - before
        assert f"a copy of the books as they were before is at {made}\n" in capsys.readouterr().out


def test_an_upgrade_without_a_backup_makes_none(earlier: Place) -> None:
    assert run(earlier, "upgrade", "--without-backup") == ExitCode.DONE
    assert version(earlier) == HEAD
    assert list(earlier.statedir.backups.iterdir()) == []


def test_a_downgrade_is_confirmed_by_a_word_on_the_command_line(place: Place, capsys: Out) -> None:
    assert run(place, "downgrade", "0001", "--yes", "--json") == ExitCode.DONE
    taken_back = json.loads(capsys.readouterr().out)
    assert [row["from_revision"] for row in taken_back] == list(reversed(REVISIONS[1:]))
    assert all(row["backup"] for row in taken_back)
    assert version(place) == "0001"


def test_nobody_to_confirm_it_means_that_nothing_is_taken_back(place: Place, capsys: Out) -> None:
    assert run(place, "downgrade", "0001") == ExitCode.BAD_USAGE
    assert "--yes" in capsys.readouterr().err
    assert version(place) == HEAD


@pytest.mark.parametrize(("words", "code", "left"), [("GO BACK TO 0002", 0, "0002"), ("yes", 2, HEAD)])
def test_a_person_is_asked_for_the_words(place: Place, words: str, code: int, left: str) -> None:
    told, typed = pty.openpty()
    command = [sys.executable, "-m", "tradekeel", "db", "downgrade", "0002", "--state", str(place.state_dir)]
    with subprocess.Popen(command, stdin=typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(typed)
        assert process.stderr is not None
        asked = b""
        while b"type: GO BACK TO 0002" not in asked:
            assert select.select([process.stderr], [], [], 60)[0], asked
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, asked
            asked += piece
        assert f"would be taken back: {HEAD} ".encode() in asked
        os.write(told, words.encode() + b"\n")
        process.communicate(timeout=60)
        assert process.returncode == code
    os.close(told)
    assert version(place) == left


@pytest.mark.parametrize("way", [("upgrade",), ("downgrade", "0001", "--yes")])
def test_beside_a_daemon_nothing_is_changed_and_a_plan_can_be_made(
    place: Place, capsys: Out, way: tuple[str, ...]
) -> None:
    holder = place.statedir
    holder.lock()
    try:
        assert run(place, *way) == ExitCode.ALREADY_RUNNING
        assert run(place, *way, "--dry-run") == ExitCode.DONE
    finally:
        holder.release()
    assert version(place) == HEAD


def test_what_is_no_earlier_schema_is_refused_with_those_that_are(place: Place, capsys: Out) -> None:
    assert run(place, "downgrade", "0000", "--yes") == ExitCode.BAD_USAGE
    assert f"allowed: {', '.join(REVISIONS[:-1])}" in capsys.readouterr().err


def test_the_history_tells_of_both_ways(place: Place, capsys: Out) -> None:
    assert run(place, "downgrade", "0002", "--yes") == ExitCode.DONE
    assert run(place, "upgrade") == ExitCode.DONE
    capsys.readouterr()
    assert run(place, "history", "--json") == ExitCode.DONE
    rows = json.loads(capsys.readouterr().out)
    way = [(row["from_revision"], row["revision"]) for row in rows]
    made, again = list(pairwise([None, *REVISIONS])), list(pairwise(REVISIONS[REVISIONS.index("0002") :]))
    back = [(later, earlier) for earlier, later in reversed(again)]
    assert way == [*made, *back, *again]
    assert set(rows[0]) == {"revision", "from_revision", "description", "applied", "applied_ns", "backup", "checksum"}
