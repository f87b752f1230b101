"""The tools of `tradekeel db` as a person uses them: real daemons, real kills, real terminals."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.cli_daemon import LONG, SHORT, Daemon, call, read_json, start, write_config
from tradekeel.errors import ExitCode


def test_backup_damage_restore(tmp_path: Path) -> None:
    """The drill: a copy beside the daemon, a disk that eats the books, the copy put back, and the venue brings the rest."""
    config = write_config(tmp_path, feed=LONG)
    books = tmp_path / "state" / "books.db"
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > 3, "nothing was filled")
        assert call("db", "backup", config, tmp_path / "copy.db").returncode == 0
        saved = len(read_json("fills", config, "-n", "0"))
        refused = call("db", "restore", config, tmp_path / "copy.db")
        assert refused.returncode == ExitCode.ALREADY_RUNNING
        assert str(daemon.process.pid) in refused.stderr
        daemon.until(lambda: len(read_json("fills", config, "-n", "0")) > saved + 2, "nothing more was filled")
        daemon.process.kill()
        daemon.process.wait()
    with books.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 65_536)
    books.with_name("books.db-wal").unlink()
    assert call("verify", config).returncode == ExitCode.BOOKS_DO_NOT_MATCH

    restored = start("db", "restore", config, tmp_path / "copy.db")
    assert restored.returncode == 0, restored.stderr
    assert "start the daemon" in restored.stdout
    assert len(read_json("fills", config, "-n", "0")) == saved
    [kept] = [path for path in (tmp_path / "state" / "backups").iterdir() if path.name.startswith("replaced-")]
    assert (kept / "books.db").exists()
    with Daemon(config) as daemon:
        daemon.until_trading()
        daemon.until(
            lambda: len(read_json("fills", config, "-n", "0")) > saved + 2, "the venue's record was not booked"
        )
        # Orders that the copy does not know: a person looks at them before anything new is traded.
        daemon.until(lambda: read_json("status", config)["accounts"][0]["latch"] == "halted", "it was not halted")
        assert call("release", config).returncode == 0
        daemon.until(lambda: read_json("status", config)["accounts"][0]["latch"] == "open", "it was not released")
        assert call("stop", config).returncode == 0
        daemon.wait()
    verdict = call("db", "verify", config)
    assert verdict.returncode == 0, verdict.stderr


def test_a_daemon_puts_right_what_a_killed_restore_has_left(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    books, old = tmp_path / "state" / "books.db", tmp_path / "state" / "restoring" / "old"
    old.mkdir(parents=True)
    (old / "books.db").hardlink_to(books)
    (old / "books.db-wal").write_bytes(b"")
    done = start("run", config)
    assert done.returncode == 0
    assert "from before it" in done.stderr
    assert read_json("verify", config)["ok"]


def test_a_damaged_copy_is_refused_by_name(tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    assert start("run", config).returncode == 0
    copy = tmp_path / "copy.db"
    assert call("db", "backup", config, copy).returncode == 0
    shutil.copy(copy, tmp_path / "whole.db")
    with closing(sqlite3.connect(copy)) as db:
        db.execute("UPDATE trades SET stop_loss = '1.0' WHERE rowid = (SELECT min(rowid) FROM trades)")
        db.commit()
    refused = call("db", "restore", config, copy)
    assert refused.returncode == ExitCode.BOOKS_DO_NOT_MATCH
    assert "stop_loss is 1.0" in refused.stderr
    assert call("db", "restore", tmp_path / "whole.db", "--state", tmp_path / "state", "--json").returncode == 0
    assert call("db", "restore", config).returncode == ExitCode.BAD_USAGE
