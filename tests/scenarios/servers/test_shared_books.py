"""Several daemons keep their books in one database, each its own accounts: none sees, or stumbles over, those of the others."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.scenarios.support import Home
from tests.scenarios.support_configs import EMA, account, head, market, strategy
from tests.servers.postgres import without_password
from tradekeel.bootstrap import schemas
from tradekeel.bootstrap.audit import audit
from tradekeel.bootstrap.place import Place, place_of
from tradekeel.bootstrap.reading import Query, read_rows
from tradekeel.bootstrap.standing import read_status
from tradekeel.bootstrap.transferring import archive
from tradekeel.errors import AlreadyRunning
from tradekeel.storage.postgres.lease import try_lock
from tradekeel.storage.store import Store


@pytest.fixture
def homes(tmp_path: Path, postgres_url: str) -> dict[str, Home]:
    """Two daemons, each with an account of its own, on one server; the feed of the second one's is not over when it stops."""
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text(urlsplit(postgres_url).password or "")
    on_server = f'[storage]\nurl = "{without_password(postgres_url)}"\npassword = {{ file = "{secret}" }}'
    return {
        name: Home(
            tmp_path / name,
            (
                head(more='on_feed_end = "stop"').replace('"scenario"', f'"{name}"')
                + market()
                + account(f"paper-{name}")
                + strategy("ema", f"paper-{name}", params=EMA)
            ).replace("[storage]", on_server),
        )
        for name in ("one", "two")
    }


def place(home: Home) -> Place:
    return place_of(home.config, {})


def test_each_of_two_daemons_on_one_database_knows_its_own_accounts_only(homes: dict[str, Home]) -> None:
    for home in homes.values():
        life = home.live()
        assert life.code == 0, life.log
    for name, home in homes.items():
        [row] = read_status(place(home))["accounts"]
        assert row["account"] == f"paper-{name}"
        assert row["trades_closed"] > 0
        trades = read_rows(place(home), "trades", Query(limit=None))
        assert {trade["account"] for trade in trades} == {f"paper-{name}"}
        assert {run["account"] for run in read_rows(place(home), "executions", Query())} == {f"paper-{name}"}
        everybody = read_rows(place(home), "executions", Query(account="paper-two"))
        assert [run["account"] for run in everybody] == ["paper-two"]  # who asks for another's account by name sees it
        checked = audit(place(home), lambda *_: None)
        assert checked.ok, checked.lines()
        assert [comparison.account for comparison in checked.comparisons] == [f"paper-{name}"]


def test_an_account_stays_its_daemons_own_when_a_tool_was_the_last_to_write_for_it(homes: dict[str, Home]) -> None:
    for home in homes.values():
        assert home.live().code == 0
    one = place(homes["one"])
    archive(one, "2200-01-01", None, {}, lambda *_: None)  # all that is in the database, the other daemon's too
    for name, other in (("one", "two"), ("two", "one")):
        checked = audit(place(homes[name]), lambda *_: None)
        assert checked.ok, checked.lines()
        assert [comparison.account for comparison in checked.comparisons] == [f"paper-{name}"]
        assert any(f"paper-{other}: not compared" in why and f"daemon {other}" in why for why in checked.left_out)
    with closing(one.books().connect()) as db:
        db.execute("DELETE FROM leases")
    archive(one, "2200-01-01", None, {}, lambda *_: None)
    checked = audit(one, lambda *_: None)  # nobody has ever held them, as after an import: they are nobody else's
    assert "paper-one" in [comparison.account for comparison in checked.comparisons]


def test_the_schema_is_not_changed_beside_a_daemon_of_another_machine(homes: dict[str, Home]) -> None:
    one = place(homes["one"])
    Store.open(one.where, now_ns=1).close()
    one.statedir.create()
    with closing(one.books().connect()) as elsewhere:
        assert try_lock(elsewhere, "two")
        with pytest.raises(AlreadyRunning, match="1 daemons write there"):
            schemas.downgrade(one, "0003", lambda text: None)
        with closing(one.books().connect()) as db:
            db.execute(
                "UPDATE alembic_version SET version_num = '0003'"
            )  # as an earlier version of the program left it
        with pytest.raises(AlreadyRunning, match="1 daemons write there"):
            schemas.upgrade(one, lambda text: None)


def test_what_another_daemon_holds_open_is_no_reason_to_refuse_a_start(homes: dict[str, Home]) -> None:
    with homes["one"].start({}) as process:
        process.until_passed("executor.after_commit", 20)
        process.kill()  # with trades that nobody but its own daemon can watch
    life = homes["two"].live()
    assert life.code == 0, life.log
    again = homes["one"].live()
    assert again.code == 0, again.log
    assert [row["account"] for row in read_status(place(homes["one"]))["accounts"]] == ["paper-one"]
