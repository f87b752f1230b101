"""Disks, files and clocks that do what they should not: a clear message, the documented exit code, and nothing lost.

Each fault hits a daemon that was interrupted in the middle of everything, or hits it there. Where the fault can be
mended, it is, and the run then ends as the one that was never disturbed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios import support_strategies as strategies
from tests.scenarios.support import Home, Story, caught_signals, fail_at, story_undisturbed, told_differently
from tests.unit.storage.looking import tamper
from tradekeel.bootstrap.audit import audit
from tradekeel.bootstrap.checking import check, exit_code
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.standing import read_status

PAIR = configs.pair(160)
ADVICE = "put a copy back that you have made"


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Story]:
    """The story of the run that nothing happened to."""
    return story_undisturbed(PAIR)


def _interrupted(place: Path, toml: str = PAIR, at: int = 60) -> Home:
    """A daemon that was interrupted in the middle of everything."""
    home = Home(place, toml)
    assert home.live({"recorder:Commit": fail_at(at)}).code == 70
    return home


def _goes_on_as_if_nothing_had_been(home: Home, reference: dict[str, Story]) -> None:
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []
    assert told_differently(reference, home) == []


def _fold(path: Path) -> None:
    """Bring what is in the write-ahead log into the file, as a daemon that ends in order does."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _flip(path: Path, content: bytes) -> None:
    """Flip a bit of this content, wherever in the file it stands: pages that are free now may hold older copies.

    It is found by its beginning, which has its time and what it belongs to: the end of a long one is on another page.
    """
    beginning = content[:200]
    inside = min(12, len(beginning) - 1)
    damaged = beginning[:inside] + bytes([beginning[inside] ^ 4]) + beginning[inside + 1 :]
    whole = path.read_bytes()
    assert beginning in whole
    path.write_bytes(whole.replace(beginning, damaged))


# --- full and read-only -----------------------------------------------------------------------------------------------------


@contextmanager
def _disk(path: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A small disk of its own; yields what remounts it with other options."""
    path.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("needs the right to mount; the limit on file sizes is tested in its place")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _fill(folder: Path) -> None:
    """Take every byte that is left."""
    file = os.open(folder / "ballast", os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(file, bytes(4_096)):
            pass
    except OSError:
        pass
    finally:
        os.close(file)


def test_a_disk_that_fills_up_ends_the_process_and_with_room_it_goes_on(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = Home(place, PAIR)
    with _disk(home.state, "400k") as remount:
        life = home.live()
        assert life.code == 70
        assert "disk is full" in life.log
        remount("size=64m")  # to be read, SQLite needs room beside the books
        assert home.wrong("a", "b", ended=False) == []
        _goes_on_as_if_nothing_had_been(home, undisturbed)


@pytest.mark.parametrize("point", ["a/session:Perform", "recorder:Commit"])
def test_a_disk_that_is_full_from_one_moment_on(point: str, place: Path, undisturbed: dict[str, Story]) -> None:
    home = Home(place, PAIR)
    with _disk(home.state, "64m"):
        life = home.live({point: lambda passed: _fill(home.state) if passed == 4 else None})
        assert life.code == 70
        assert "disk is full" in life.log
        (home.state / "ballast").unlink()
        _goes_on_as_if_nothing_had_been(home, undisturbed)


def test_a_disk_that_is_full_before_it_begins(place: Path, undisturbed: dict[str, Story]) -> None:
    home = Home(place, PAIR)
    with _disk(home.state, "256k") as remount:
        _fill(home.state)
        life = home.live()
        assert life.code == 70
        assert "the disk is full: nothing was lost, free some space and start again" in life.log
        (home.state / "ballast").unlink()
        remount("size=64m")
        _goes_on_as_if_nothing_had_been(home, undisturbed)


def test_files_that_may_grow_no_further_are_like_a_full_disk(place: Path, undisturbed: dict[str, Story]) -> None:
    home = Home(place, PAIR)
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); "
    limit += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", limit, sys.executable, "-m", "tradekeel", "run", "--plain", str(home.config)]
    full = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert full.returncode == 70
    assert "Look at the disk (space, mount, errors in the kernel log)" in full.stderr
    assert home.wrong("a", "b", ended=False) == []
    _goes_on_as_if_nothing_had_been(home, undisturbed)


def test_a_read_only_state_directory_is_told_at_the_first_start_and_at_a_restart(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = Home(place, PAIR)
    with _disk(home.state, "64m") as remount:
        remount("ro")
        assert _refusal(home) == 70
        remount("rw")
        assert home.live({"recorder:Commit": fail_at(60)}).code == 70
        remount("ro")
        assert _refusal(home) == 70
        remount("rw")
        _goes_on_as_if_nothing_had_been(home, undisturbed)


def _refusal(home: Home) -> int:
    life = home.live()
    assert "the file system is read-only: mount it writable, or set daemon.state_dir to a place that is" in life.log
    return life.code


@pytest.mark.parametrize("name", ["commands", "results", "latches"])
def test_a_file_where_a_folder_should_be_is_told(name: str, place: Path) -> None:
    home = _interrupted(place)
    shutil.rmtree(home.state / name)
    (home.state / name).write_text("in the way")
    life = home.live()
    assert life.code == 70
    assert "a file is where a folder should be: move it away" in life.log


# --- damaged books ----------------------------------------------------------------------------------------------------------


def _spoil_header(path: Path) -> None:
    _overwrite(path, 0, b"this is no database any more")


def _spoil_page(path: Path) -> None:
    _overwrite(path, path.stat().st_size // 2 // 4_096 * 4_096, b"\xff" * 4_096)


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [_spoil_header, _spoil_page, _cut_in_half])
def test_damaged_books_are_refused_and_a_good_copy_goes_on(
    spoil: Callable[[Path], None], place: Path, undisturbed: dict[str, Story]
) -> None:
    home = _interrupted(place)
    _fold(home.books)
    good = home.books.read_bytes()
    spoil(home.books)
    life = home.live()
    assert life.code == 4, life.log
    assert "is damaged" in life.log
    assert ADVICE in life.log
    home.books.write_bytes(good)
    _goes_on_as_if_nothing_had_been(home, undisturbed)


def _last_record(home: Home, account: str, back: int = 0) -> bytes:
    payload: bytes = home.ours(account).journal[-1 - back]["payload"]
    return payload


@pytest.mark.parametrize("back", [0, 3])
def test_a_flipped_bit_in_the_journals_tail_is_found_when_it_starts(back: int, place: Path) -> None:
    toml = PAIR.replace("checkpoint_every_s = 0.05", "checkpoint_every_s = 600")
    home = _interrupted(place, toml)
    _fold(home.books)
    _flip(home.books, _last_record(home, "a", back))
    life = home.live()
    assert life.code == 4, life.log
    assert "is damaged (its checksum is off)" in life.log
    assert ADVICE in life.log


def test_a_flipped_bit_behind_the_last_cut_does_not_stop_it_and_is_found_by_verify(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = _interrupted(place, at=90)
    _fold(home.books)
    _flip(home.books, home.ours("a").journal[4]["payload"])
    assert home.live().code == 0
    assert told_differently(undisturbed, home) == []
    found = audit(Place(home.state, home.config), lambda step, done, total: None)
    assert not found.ok
    assert any("record 5 of execution" in line and "its checksum is off" in line for line in found.lines())


def test_damage_that_shows_only_when_all_is_summed_up_ends_it_with_4(place: Path) -> None:
    home = Home(place, PAIR)

    def damage(passed: int) -> None:
        if passed == 1:
            last = "sequence = (SELECT max(sequence) FROM journal WHERE type = 'venue_reported')"
            tamper(home.books, f"UPDATE journal SET payload = x'00' WHERE type = 'venue_reported' AND {last}")

    life = home.live({"control:FeedEnded": damage})
    assert life.code == 4, life.log
    assert "cannot be decoded" in life.log


@pytest.mark.parametrize("which", ["id IN (SELECT max(id) FROM checkpoints GROUP BY execution, owner)", "1 = 1"])
def test_damaged_checkpoints_are_left_out_down_to_the_journals_first_record(
    which: str, place: Path, undisturbed: dict[str, Story]
) -> None:
    home = _interrupted(place, at=90)
    with closing(sqlite3.connect(home.books)) as db:
        db.execute(f"UPDATE checkpoints SET state = zeroblob(length(state)) WHERE {which}")
        db.commit()
    life = home.live()
    assert life.code == 0, life.log
    assert "is damaged (its checksum is off) and left out" in life.log
    assert home.wrong("a", "b") == []
    assert told_differently(undisturbed, home) == []


def test_books_of_a_newer_version_are_not_touched(place: Path, undisturbed: dict[str, Story]) -> None:
    home = _interrupted(place)
    with closing(sqlite3.connect(home.books)) as db:
        known = db.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    life = home.live()
    assert life.code == 2
    assert "was written by a newer Tradekeel (schema 9999" in life.log
    assert "Install that version again, or restore a backup made before the upgrade." in life.log
    with closing(sqlite3.connect(home.books)) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (known,))
        db.commit()
    _goes_on_as_if_nothing_had_been(home, undisturbed)


# --- the venue's ledger -------------------------------------------------------------------------------------------------------


def test_a_damaged_ledger_is_refused_and_a_good_copy_goes_on(place: Path, undisturbed: dict[str, Story]) -> None:
    home = _interrupted(place)
    _fold(home.ledger("a"))
    good = home.ledger("a").read_bytes()
    _spoil_header(home.ledger("a"))
    life = home.live()
    assert life.code == 4
    assert "is damaged: file is not a database" in life.log
    home.ledger("a").write_bytes(good)
    with closing(sqlite3.connect(home.ledger("a"))) as db:
        (standing,) = db.execute("SELECT standing FROM account").fetchone()
        db.execute("UPDATE account SET standing = ?", (bytes([standing[0]]) + bytes([standing[1] ^ 1]) + standing[2:],))
        db.commit()
        life = home.live()
        assert life.code == 4
        assert "the account's standing is damaged" in life.log
        db.execute("UPDATE account SET standing = ?", (standing,))
        db.commit()
    _goes_on_as_if_nothing_had_been(home, undisturbed)


@pytest.mark.parametrize("point", ["session.place.before", "session.cancel.before", "session.match.before"])
def test_a_ledger_that_fails_in_the_middle_of_anything_is_read_again_and_the_run_goes_on(
    point: str, place: Path, undisturbed: dict[str, Story]
) -> None:
    """Nobody waits for ever for a venue that nobody opens again."""
    home = Home(place, PAIR)
    broken: list[threading.Timer] = []

    def rename(before: str, after: str) -> None:
        for account in "ab":
            with closing(sqlite3.connect(home.ledger(account))) as db:
                db.execute(f"ALTER TABLE {before} RENAME TO {after}")

    def break_it(passed: int) -> None:
        if not broken and passed >= 3:
            rename("orders", "gone")
            broken.append(threading.Timer(0.3, rename, ["gone", "orders"]))
            broken[0].start()

    with caught_signals() as inbox:
        gives_up = threading.Timer(20.0, os.kill, [os.getpid(), signal.SIGTERM])
        gives_up.start()
        first = home.live({point: break_it}, signals=inbox)
        gives_up.cancel()
    broken[0].join()
    assert "stopping: signal" not in first.log, "it stood still"
    assert first.code in (0, 70)
    assert "no such table" in first.log
    if first.code:
        assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []
    assert told_differently(undisturbed, home) == []


def test_a_ledger_of_a_newer_version_or_of_another_account_is_refused(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = _interrupted(place)
    with closing(sqlite3.connect(home.ledger("a"))) as db:
        (known,) = db.execute("PRAGMA user_version").fetchone()
        db.execute("PRAGMA user_version = 99")
        assert home.live().code == 2
        db.execute(f"PRAGMA user_version = {known}")
    home.configure(PAIR.replace("[accounts.a]\n", '[accounts.a]\ncurrency = "EUR"\n'))
    life = home.live()
    assert life.code == 2
    assert "change it back, or begin a new one with --fresh" in life.log
    home.configure(PAIR)
    _goes_on_as_if_nothing_had_been(home, undisturbed)


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_books_that_are_lost_halt_the_account_and_what_the_venue_has_is_booked(how: str, place: Path) -> None:
    home = _interrupted(place)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{home.books}{suffix}").unlink(missing_ok=True)
    if how == "emptied":
        home.books.touch()
    life = home.live()
    assert life.code == 4, life.log
    for account in "ab":
        execution = home.execution(account)
        assert execution["latch"] == "halted"
        assert "which has our mark and is not in our books" in execution["latch_reason"]
        assert home.entries_after(account, 0) == [], "nothing was traded"
    assert "exit code 4" in life.log


def test_an_older_copy_of_the_books_halts_the_account(place: Path) -> None:
    home = Home(place, PAIR)
    kept: list[bytes] = []

    def keep(passed: int) -> None:
        if passed == 2:
            with closing(sqlite3.connect(home.books)) as db, closing(sqlite3.connect(place / "copy.db")) as copy:
                db.backup(copy)
            kept.append((place / "copy.db").read_bytes())

    assert home.live({"a/executor:Decide": keep, "recorder:Commit": fail_at(90)}).code == 70
    _fold(home.books)
    home.books.write_bytes(kept[0])
    life = home.live()
    assert life.code == 4, life.log
    assert home.execution("a")["latch"] == "halted"
    assert "which has our mark and is not in our books" in home.execution("a")["latch_reason"]
    assert [text for text in home.wrong("a", ended=False) if "our books do not" not in text] == []


def test_a_ledger_that_is_lost_halts_the_account_and_the_other_one_trades_on(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = _interrupted(place)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{home.ledger('a')}{suffix}").unlink(missing_ok=True)
    known = len(home.ours("a").journal)
    life = home.live()
    assert life.code == 4
    assert home.execution("a")["latch"] == "halted"
    assert "record_shrank: the venue's record ends before our cursor" in home.execution("a")["latch_reason"]
    assert home.entries_after("a", known) == []
    assert home.wrong("b") == []
    assert told_differently({"b": undisturbed["b"]}, home) == []


# --- data -----------------------------------------------------------------------------------------------------------------------


def _from_file(name: str) -> str:
    feed = f'\n[feeds.m]\nkind = "file"\npath = "{{folder}}/{name}"\ninstrument = "EUR_USD"\n'
    return configs.head() + feed + configs.account("a") + configs.strategy("ema", "a")


def _rows(count: int) -> str:
    """A market that goes up and down, one row a second."""
    rows = ["time,bid,ask"]
    for i in range(count):
        pips = 10 * (i % 40 if i % 80 < 40 else 40 - i % 40) + i % 7
        rows.append(
            f"2024-01-03T13:{i // 60 % 60:02d}:{i % 60:02d}Z,{1.1 + pips / 1e5:.5f},{1.1 + pips / 1e5 + 6e-5:.5f}"
        )
    return "\n".join(rows) + "\n"


NO_DATA: dict[str, tuple[bytes | None, int, str]] = {
    "missing": (None, 2, "does not exist: a feed's path is a file, a folder, or a pattern"),
    "no columns": (b"a,b,c\nx,y,z\n", 2, "no column 'time' in the header, which has 'a', 'b', 'c'"),
    "binary": (b"\x00\x01\xff", 2, "is a binary file, not rows of text"),
    "empty": (b"", 0, "a: its feed had not one tick, so nothing was traded"),
    "header only": (b"time,bid,ask\n", 0, "a: its feed had not one tick, so nothing was traded"),
}


@pytest.mark.parametrize("what", list(NO_DATA))
def test_a_feed_without_data_says_so(what: str, place: Path) -> None:
    content, code, said = NO_DATA[what]
    home = Home(place, _from_file("ticks.csv"))
    if content is not None:
        (place / "ticks.csv").write_bytes(content)
    life = home.live()
    assert life.code == code
    assert said in life.log


def test_a_row_that_is_refused_in_the_middle_ends_the_run_and_names_it(place: Path) -> None:
    refusing = '[feeds.m.bad_rows]\ncrossed = "fail"\n'
    trader = configs.strategy("floor", "a", "floor", configs.FLOOR)
    toml = _from_file("*.csv").replace(configs.strategy("ema", "a"), trader)
    home = Home(place, toml.replace("[accounts.a]", f"{refusing}[accounts.a]"))
    head, *rows = _rows(1_500).splitlines()
    when, bid, ask = rows[1_200].split(",")
    rows[1_200] = f"{when},{ask},{bid}"
    (place / "first.csv").write_text("\n".join([head, *rows[:1_000]]) + "\n")
    (place / "second.csv").write_text("\n".join([head, *rows[1_000:]]) + "\n")
    life = home.live()
    assert life.code == 2
    assert "second.csv, line 202: crossed: bid" in life.log
    assert "category=validation word=halt" in life.log
    assert home.records("a", "decision_taken"), "what was read before it is traded on"
    standing = read_status(Place(home.state, home.config))
    assert "ended with exit code 2" in standing["problem"], "who asks later hears it"
    assert "second.csv, line 202: crossed" in standing["problem"]
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_data_that_changed_under_an_unfinished_run_is_refused_and_the_old_data_goes_on(place: Path) -> None:
    home = Home(place, _from_file("ticks.csv"))
    ticks = place / "ticks.csv"
    ticks.write_text(_rows(300))
    well = Home(place / "well", _from_file("ticks.csv"))
    (place / "well" / "ticks.csv").write_text(_rows(300))
    assert well.live().code == 0
    assert home.live({"recorder:Commit": fail_at(20)}).code == 70
    ticks.write_text(_rows(299))
    life = home.live()
    assert life.code == 2
    assert "its data or options are not those that execution" in life.log
    assert "put the old data back to go on, or run with --fresh to begin anew" in life.log
    code, wrong = _checked(home)
    assert code == 2
    assert "account a: accounts.a.feed: its data or options are not those that execution" in wrong
    ticks.unlink()
    assert home.live().code == 2
    ticks.write_text(_rows(300))
    assert _checked(home) == (0, "")
    assert home.live().code == 0
    assert home.wrong("a") == []
    assert told_differently({"a": well.story("a")}, home) == []


@pytest.mark.parametrize("live_first", [False, True])
def test_a_feed_that_is_made_live_or_no_longer_is_under_an_unfinished_run_is_refused(
    live_first: bool, place: Path
) -> None:
    market = configs.market(10_000 if live_first else 300).replace("interval_ms = 500", "interval_ms = 2")
    replayed = configs.head() + market + configs.account("a") + configs.strategy("ema", "a")
    live = replayed.replace("[feeds.m]", "[feeds.m]\nlive = true")
    before, after = (live, replayed) if live_first else (replayed, live)
    home = Home(place, before)
    if live_first:
        with home.start() as daemon:
            daemon.until(lambda: " opened " in daemon.log, "it did not trade")
            daemon.kill()
    else:
        assert home.live({"recorder:Commit": fail_at(20)}).code == 70
    home.configure(after)
    code, wrong = _checked(home)
    assert code == 2
    assert "accounts.a.feed: its data or options are not those" in wrong
    assert ("(a live feed, now fingerprint" if live_first else "now a live feed)") in wrong
    life = home.live()
    assert life.code == 2
    assert "accounts.a.feed: its data or options are not those" in life.log
    if not live_first:
        home.configure(before)
        assert home.live().code == 0
        assert home.wrong("a") == []


def _checked(home: Home) -> tuple[int, str]:
    """What `check` says is wrong, and its exit code; it has changed nothing."""
    before = {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()}
    findings = check(home.config, {})
    after = {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()}
    assert {path: text for path, text in after.items() if path.suffix != ".db-shm"} == {
        path: text for path, text in before.items() if path.suffix != ".db-shm"
    }
    return exit_code(findings), "\n".join(f"{found.subject}: {found.text}" for found in findings if not found.ok)


def test_a_fresh_start_goes_on_with_changed_data(place: Path) -> None:
    home = Home(place, _from_file("ticks.csv"))
    (place / "ticks.csv").write_text(_rows(300))
    assert home.live({"recorder:Commit": fail_at(20)}).code == 70
    (place / "ticks.csv").write_text(_rows(299))
    assert home.live(fresh=True).code == 0
    assert [(row["status"], row["close_reason"]) for row in home.ours("a").executions] == [
        ("closed", "started fresh"),
        ("closed", "the feed has ended"),
    ]
    assert home.unverified() == []


# --- the configuration changes under open trades --------------------------------------------------------------------------------

BAD = str(Path(strategies.__file__).resolve())
MODES = ("venue", "monitor")


def _two(mode: str, kind: str | None, more: str = "") -> str:
    hedging = "hedging = true" if mode == "venue" else ""
    toml = configs.head() + configs.market(120) + configs.account("a", exits=mode, more=hedging)
    toml += configs.strategy("good", "a")
    return toml if kind is None else toml + configs.strategy("bad", "a", kind, f'what = "nothing"{more}')


def _with_an_open_trade(place: Path, mode: str, kind: str) -> Home:
    home = _interrupted(place, _two(mode, kind), at=12)
    assert [row["status"] for row in home.ours("a").trades if row["strategy"] == "bad"] == ["OPEN", "PENDING"]
    return home


def _exits_only(home: Home) -> None:
    """Its trade was closed by its own exits, its entry is cancelled, and the other strategy traded on."""
    mine = [row for row in home.ours("a").trades if row["strategy"] == "bad"]
    assert [row["status"] for row in mine] == ["CLOSED", "FAILED"]
    assert mine[0]["exit_reason"] in ("stop_loss", "take_profit")
    assert [o for o in home.working("a", "entry") if o["strategy"] == "bad"] == []
    assert len([row for row in home.ours("a").trades if row["strategy"] == "good"]) > 3
    assert [text for text in home.wrong("a") if "strategy bad is" not in text] + home.unverified() == []


@pytest.mark.parametrize("mode", MODES)
def test_a_strategy_that_was_taken_out_leaves_its_exits(mode: str, place: Path) -> None:
    home = _with_an_open_trade(place, mode, f"{BAD}:Troubled")
    home.configure(_two(mode, None))
    assert home.live().code == 0
    assert [row["status"] for row in home.ours("a").strategies if row["strategy"] == "bad"] == ["stopped"]
    _exits_only(home)


CHANGES = {
    "another version": (
        "    State = TroubleState\n",
        "    State = TroubleState\n    state_version = 2\n",
        "has version 1, the code has 2",
    ),
    "another field": ("    fills: int = 0\n", "    fills: str = ''\n", "does not fit its State"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", list(CHANGES))
def test_a_strategy_whose_state_no_longer_decodes_leaves_its_exits(change: str, mode: str, place: Path) -> None:
    old, new, said = CHANGES[change]
    file = place / "mine.py"
    source = Path(BAD).read_text()
    file.write_text(source)
    home = _with_an_open_trade(place, mode, f"{file}:Troubled")
    assert source.count(old) == 1
    file.write_text(source.replace(old, new))
    life = home.live()
    assert life.code == 0, life.log
    row = next(row for row in home.ours("a").strategies if row["strategy"] == "bad")
    assert (row["status"], said in row["status_reason"]) == ("failed", True)
    _exits_only(home)


@pytest.mark.parametrize("mode", MODES)
def test_a_strategy_whose_parameters_changed_goes_on_with_the_new_ones(mode: str, place: Path) -> None:
    home = _with_an_open_trade(place, mode, f"{BAD}:Troubled")
    home.configure(_two(mode, f"{BAD}:Troubled", ", pips = 9"))
    assert home.live().code == 0
    row = next(row for row in home.ours("a").strategies if row["strategy"] == "bad")
    assert row["status"] == "active"
    assert '"pips":"9"' in row["parameters"].replace(" ", "")
    assert home.wrong("a") + home.unverified() == []


@pytest.mark.parametrize("what", ["gone", "broken", "without the class", "cannot be made"])
def test_a_strategys_file_that_cannot_be_used_is_refused_before_anything_is_touched(what: str, place: Path) -> None:
    file = place / "mine.py"
    file.write_text(Path(BAD).read_text())
    home = _with_an_open_trade(place, "monitor", f"{file}:Troubled")
    before = home.ours("a")
    match what:
        case "gone":
            file.unlink()
        case "broken":
            file.write_text("def broken(:\n")
        case "without the class":
            file.write_text("nothing = 1\n")
        case _:
            old, new = (
                "    State = TroubleState\n",
                "    def __init__(self, params):\n        self.x = params.nothing\n",
            )
            file.write_text(file.read_text().replace(old, old + new))
    life = home.live()
    assert life.code == 2
    assert ("strategies.bad: " if what == "cannot be made" else "strategies.bad.kind: ") in life.log
    assert home.ours("a") == before


@pytest.mark.parametrize("fresh", [False, True])
def test_an_account_that_was_taken_out_with_open_trades_is_asked_for(
    fresh: bool, place: Path, undisturbed: dict[str, Story]
) -> None:
    """Before anything is begun anew, too: a start that is refused has destroyed nothing."""
    home = _interrupted(place)
    assert home.open_trades("b") > 0
    alone = configs.head() + configs.market(160) + configs.account("a") + configs.strategy("ema", "a")
    home.configure(alone)
    life = home.live(fresh=fresh)
    assert life.code == 2
    assert "accounts.b: it is no longer in the configuration, and its books have" in life.log
    code, wrong = _checked(home)
    assert code == 2
    assert "account b: accounts.b: it is no longer in the configuration, and its books have" in wrong
    home.configure(PAIR)
    _goes_on_as_if_nothing_had_been(home, undisturbed)
    home.configure(alone)
    assert home.live().code == 0, "its run is over: it may go"


def test_folders_of_the_state_directory_that_somebody_removes_are_made_again(place: Path) -> None:
    home = Home(
        place,
        configs.head() + configs.market(20_000, speed="200") + configs.account("a") + configs.strategy("ema", "a"),
    )
    with home.start() as daemon:
        daemon.until_trading()
        for folder in ("commands", "results", "latches"):
            shutil.rmtree(home.state / folder)
        daemon.until(lambda: "is made again" in daemon.log, "it was not said")
        assert home.command("pause") == (True, "a is paused: no new entries, exits go on")
        assert home.command("kill")[0]
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log
    assert home.wrong("a", ended=False) + home.unverified() == []


# --- clocks ---------------------------------------------------------------------------------------------------------------------


LIVE_MARKET = """
[feeds.m]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 11
live = true
interval_ms = 5
volatility = "0.4"
"""


def _stepped(place: Path, step_s: int, until: Callable[[Home], bool]) -> Home:
    """The books of a daemon whose clock was stepped after two seconds, and that then went on until this held."""
    home = Home(place, configs.head(0.2) + LIVE_MARKET + configs.account("a") + configs.strategy("ema", "a"))
    command = [sys.executable, "-m", "tests.scenarios.support_clock", str(home.config), str(step_s), "2"]
    log = place / "log"
    with log.open("w") as said, subprocess.Popen(command, stderr=said) as process:
        try:
            _until(lambda: home.books.exists() and until(home))
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, log.read_text()
    reasons = {row["status_reason"].partition(":")[0] for row in home.ours("a").orders if row["status"] == "denied"}
    assert reasons <= {"price_stale"}
    assert home.wrong("a", ended=False) + home.unverified() == []
    return home


def test_a_wall_clock_that_is_set_forward_is_followed_by_the_ticks_and_it_trades_on(place: Path) -> None:
    later_ns = time.time_ns() + 3_500 * 10**9
    _stepped(place, 3_600, lambda home: sum(1 for fill in home.ours("a").fills if fill["ts_ns"] > later_ns) > 3)


def test_a_wall_clock_that_is_set_back_stops_new_entries_and_loses_nothing(place: Path) -> None:
    home = _stepped(place, -3_600, lambda home: home.denied("a") > 3)
    sequence = len(home.ours("a").journal)
    with home.start() as again:
        again.until(lambda: home.entries_after("a", sequence) != [], "it does not trade again")
        again.send(signal.SIGTERM)
        assert again.end() == 0
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_a_clock_that_is_behind_the_books_at_a_start_is_told(place: Path) -> None:
    """What waits for a time does so in silence, and for as long as the clock was ahead."""
    home = Home(place, configs.head(0.2) + LIVE_MARKET + configs.account("a") + configs.strategy("ema", "a"))
    with home.start_by_a_clock(3_600, place) as ahead:
        ahead.until(lambda: " opened " in ahead.log, "it does not trade")
        ahead.send(signal.SIGTERM)
        assert ahead.end() == 0
        assert "the clock is" not in ahead.log
    with home.start() as again:
        again.until(lambda: "s behind the last record of the books: it was ahead then" in again.log, "it was not said")
        again.send(signal.SIGTERM)
        assert again.end() == 0
    assert home.wrong("a", ended=False) + home.unverified() == []


def _until(condition: Callable[[], bool], limit_s: float = 40.0) -> None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        try:
            if condition():
                return
        except sqlite3.OperationalError:
            pass  # its tables are being made
        time.sleep(0.1)
    raise AssertionError(f"not within {limit_s} s")
