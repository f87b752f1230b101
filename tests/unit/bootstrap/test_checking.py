"""`check` finds what would stop a daemon, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.unit.bootstrap.test_reload import CONFIG
from tradekeel.bootstrap.checking import Finding, check, exit_code
from tradekeel.bootstrap.checks import outlook
from tradekeel.bootstrap.plan import read_plan
from tradekeel.errors import ConfigError, ExitCode
from tradekeel.runtime.loop import BlockingWorker
from tradekeel.statedir import StateDir
from tradekeel.storage import migrating
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.venues.paper import PaperLedger, PaperVenue


def look(folder: Path, text: str = CONFIG) -> tuple[list[Finding], ExitCode]:
    path = folder / "config.toml"
    path.write_text(text)
    findings = check(path, {})
    return findings, exit_code(findings)


def wrong(findings: list[Finding]) -> list[str]:
    return [f"{finding.subject}: {finding.text}" for finding in findings if not finding.ok]


def test_everything_right_and_nothing_made(tmp_path: Path) -> None:
    findings, code = look(tmp_path)
    assert (wrong(findings), code) == ([], ExitCode.DONE)
    assert [finding.subject for finding in findings] == [
        "configuration",
        "state directory",
        "books",
        "feed market",
        "account one",
        "account two",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_who_is_only_a_draft_is_said(tmp_path: Path) -> None:
    findings, code = look(tmp_path, CONFIG.replace('account = "two"', 'account = "two"\nenabled = false'))
    assert code is ExitCode.DONE
    assert findings[0].text.endswith("one (trend), two (floor: draft)")


def test_books_that_are_not_kept_are_a_warning_and_not_well(tmp_path: Path) -> None:
    findings, code = look(tmp_path, CONFIG.replace("[storage]\n", "[storage]\nenabled = false\n"))
    [books] = [finding for finding in findings if finding.subject == "books"]
    assert (books.warning, code) == (True, ExitCode.DONE)
    assert books.text == "in memory (storage.enabled = false): nothing is kept, and each start begins with nothing"


@pytest.mark.parametrize(("policy", "is_wrong"), [("upgrade", False), ("refuse", True)])
def test_books_with_an_earlier_schema_are_told_of_and_stop_a_daemon_that_may_not_migrate(
    tmp_path: Path, policy: str, is_wrong: bool
) -> None:
    config = CONFIG.replace("[storage]\n", f'[storage]\nmigrations = "{policy}"\n')
    look(tmp_path, config)
    books = read_plan(tmp_path / "config.toml", {}).config.state_dir / "books.db"
    books.parent.mkdir(parents=True, exist_ok=True)
    Store.open(books, now_ns=1).close()
    migrating.downgrade(books, "0001", 2, backup=False)
    findings, _ = look(tmp_path, config)
    [found] = [finding for finding in findings if finding.subject == "books"]
    assert found.ok is not is_wrong
    assert "schema 0001" in found.text
    assert ("db upgrade" in found.text) is is_wrong


def test_every_problem_of_the_configuration_at_once(tmp_path: Path) -> None:
    findings, code = look(tmp_path, CONFIG.replace("slow = 20", "slwo = 20").replace("ticks = 10", "ticks = 0"))
    assert code is ExitCode.BAD_USAGE
    assert len(wrong(findings)) == 2


@pytest.mark.parametrize("line", ["61 * * * *", "0 0 30 2 *", "* * * * 9", "*/0 * * * *", "a b c d e"])
def test_schedules_that_mean_nothing_are_problems_like_others(tmp_path: Path, line: str) -> None:
    text = (
        CONFIG.replace("sync_schedule = 60", f'sync_schedule = "{line}"')
        .replace("snapshot_schedule = 60", f'snapshot_schedule = "{line}"')
        .replace("checkpoint_every_s = 5", 'checkpoint_every_s = "often"')
        .replace("leverage = 30", "leverage = 0")
    )
    findings, code = look(tmp_path, text)
    assert code is ExitCode.BAD_USAGE
    assert [found.removeprefix("configuration: ").partition(":")[0] for found in wrong(findings)] == [
        "storage.checkpoint_every_s",
        "accounts.one.leverage",
        "storage.snapshot_schedule",
        "accounts.one.sync_schedule",
    ]
    assert f"'{line}' is no schedule" in wrong(findings)[-1]


def test_a_feed_without_its_files(tmp_path: Path) -> None:
    feed = 'kind = "file"\npath = "none/*.csv"\ninstruments = { EUR_USD = "none/*.csv", USD_JPY = "none.csv" }'
    text = CONFIG.replace('kind = "synthetic"\ninstruments = ["EUR_USD", "USD_JPY"]\nticks = 10', feed)
    findings, code = look(tmp_path, text)
    assert code is ExitCode.BAD_USAGE
    assert wrong(findings)


def test_books_that_are_none(tmp_path: Path) -> None:
    state = tmp_path / "var" / "config"
    state.mkdir(parents=True)
    (state / "books.db").write_bytes(b"this is no database at all, not even nearly" * 100)
    findings, code = look(tmp_path)
    assert code is ExitCode.BOOKS_DO_NOT_MATCH
    assert wrong(findings)[0].startswith("books: ")


async def opened(folder: Path, text: str) -> None:
    """The paper accounts as a first run opens them, without its trades."""
    path = folder / "config.toml"
    path.write_text(text)
    plan = read_plan(path, {})
    statedir = StateDir(plan.config.state_dir)
    statedir.create()
    async with BlockingWorker("paper venue") as worker:
        for account in plan.accounts:
            ledger = statedir.paper_ledger(account.config.account_at_venue)
            venue = PaperVenue(ledger, account.paper, plan.instruments, account.settings, run=worker.call)
            await venue.connect()
            await venue.close()


def test_a_balance_that_has_no_effect_is_warned_about_with_both_values(tmp_path: Path) -> None:
    anyio.run(opened, tmp_path, CONFIG)
    findings, code = look(tmp_path, CONFIG.replace("leverage = 30", "leverage = 30\nbalance = 5000"))
    assert (wrong(findings), code) == ([], ExitCode.DONE)
    [warning] = [finding for finding in findings if finding.warning]
    assert warning.subject == "account one"
    assert "accounts.one.balance: 5000 has no effect" in warning.text
    assert "opened with 100000" in warning.text
    assert "--fresh" in warning.text
    assert not [
        finding for finding in look(tmp_path, CONFIG.replace("leverage = 30", "balance = 1e5"))[0] if finding.warning
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("left", ["just made", "opened", "killed"])
def test_a_ledger_is_read_and_nothing_else(tmp_path: Path, left: str) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    plan = read_plan(tmp_path / "config.toml", {})
    statedir = StateDir(plan.config.state_dir)
    statedir.create()
    if left == "opened":
        anyio.run(opened, tmp_path, CONFIG)
    account = plan.accounts[0]
    path = statedir.paper_ledger("one")
    ledger = PaperLedger(path, account.paper)
    if left != "opened":
        assert ledger.open() is None
    copies = {file: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}
    ledger.close()
    if left == "killed":
        assert len(copies) == 3
        for file, copy in copies.items():
            file.write_bytes(copy)
    before = content(tmp_path)
    findings, code = look(tmp_path)
    assert (wrong(findings), code) == ([], ExitCode.DONE)
    assert [f.text for f in findings if f.subject == "account one"] == ["venue paper; balance 100000 USD"]
    after = content(tmp_path)
    shared = {name for name in before if name.endswith("-shm")}  # locks and readers' marks, nothing of the ledger
    assert {name: after[name] for name in after if name not in shared} == {
        name: before[name] for name in before if name not in shared
    }


def test_books_are_read_and_nothing_else(tmp_path: Path, empty_books: Path) -> None:
    state = tmp_path / "var" / "config"
    state.mkdir(parents=True)
    (state / "books.db").write_bytes(empty_books.read_bytes())
    (tmp_path / "config.toml").write_text(CONFIG)
    before = content(tmp_path)
    findings, _ = look(tmp_path)
    assert wrong(findings) == []
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            'currency = "EUR"',
            "accounts.one.currency: it is EUR here, and the paper account that goes on was opened with USD",
        ),
        (
            "hedging = true",
            "accounts.one.hedging: it is true here, and the paper account that goes on was opened with false",
        ),
    ],
)
def test_what_a_paper_account_cannot_change_is_refused_before_anything_is_started(
    tmp_path: Path, changed: str, problem: str
) -> None:
    anyio.run(opened, tmp_path, CONFIG)
    text = CONFIG.replace("leverage = 30", changed)
    findings, code = look(tmp_path, text)
    assert code is ExitCode.BAD_USAGE
    assert wrong(findings)[0].startswith(f"account one: {problem}")
    assert "--fresh" in wrong(findings)[0]
    plan = read_plan(tmp_path / "config.toml", {})
    statedir = StateDir(plan.config.state_dir)
    with pytest.raises(ConfigError, match=problem):
        outlook(plan.accounts, statedir, Sqlite(statedir.books), {}).refuse("config.toml")


def test_books_of_a_newer_version_end_it_as_they_end_a_run(tmp_path: Path, empty_books: Path) -> None:
    state = tmp_path / "var" / "config"
    state.mkdir(parents=True)
    (state / "books.db").write_bytes(empty_books.read_bytes())
    with closing(sqlite3.connect(state / "books.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    findings, code = look(tmp_path)
    assert code is ExitCode.BAD_USAGE
    assert "newer Tradekeel" in wrong(findings)[0]


def test_a_file_where_the_state_should_be(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    findings, code = look(tmp_path)
    assert code is ExitCode.BAD_USAGE
    assert "not a folder" in wrong(findings)[0]


def worst(*codes: ExitCode) -> ExitCode:
    return exit_code([Finding("x", False, "", code) for code in codes])


def test_the_worst_decides() -> None:
    assert worst() is ExitCode.DONE
    assert worst(ExitCode.VENUE_UNREACHABLE) is ExitCode.VENUE_UNREACHABLE
    assert worst(ExitCode.VENUE_UNREACHABLE, ExitCode.BOOKS_DO_NOT_MATCH) is ExitCode.BOOKS_DO_NOT_MATCH
    assert worst(ExitCode.BOOKS_DO_NOT_MATCH, ExitCode.BAD_USAGE) is ExitCode.BAD_USAGE
