"""Every statement that docs/postgresql.md shows for PostgreSQL runs as written, and its table of rights is what is granted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.integration.cli_daemon import SHORT, environment, write_config
from tests.servers.postgres import PostgresServer, connected
from tests.unit.storage import samples as s
from tradekeel.storage.postgres import Postgres, rights
from tradekeel.storage.store import Store

PAGE = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
SECTION = PAGE[: PAGE.index("## When the server is away")]
WORDS = {"read": "SELECT", "add": "INSERT", "change": "UPDATE", "delete": "DELETE"}


def statements(marker: str) -> list[str]:
    [block] = [text for text in re.findall(r"^```sql\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL) if marker in text]
    return [line.strip() for line in block.split(";") if line.strip()]


def test_the_questions_can_be_asked(postgres_url):
    desk = s.Desk()
    with Store.open(Postgres(postgres_url), now_ns=s.START_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    asked = statements("positions")
    assert len(asked) == 3
    with connected(postgres_url) as db:
        assert all(db.execute(question.encode()).fetchall() for question in asked)


def test_an_owner_and_a_daemon_are_set_up_as_shown(own_postgres):
    server: PostgresServer = own_postgres()
    with connected(server.admin_url) as admin:
        for statement in statements("CREATE ROLE"):
            admin.execute(statement.encode())
    there = make_url(server.admin_url).set(database="trading_books")
    owner = there.set(username="trading_owner", password="of the owner").render_as_string(hide_password=False)
    daemon = there.set(username="trading_daemon", password="of the daemon").render_as_string(hide_password=False)
    with Store.open(Postgres(owner), now_ns=s.START_NS) as store:
        assert store.notes == ()
    with Store.open(Postgres(daemon), now_ns=s.START_NS, migrate=False) as store:
        store.commit([s.Desk().opening()])


def test_the_owners_tools_are_run_as_shown(own_postgres, tmp_path):
    server: PostgresServer = own_postgres()
    with connected(server.admin_url) as admin:
        for statement in statements("CREATE ROLE"):
            admin.execute(statement.encode())
    there = make_url(server.admin_url)
    config = write_config(tmp_path, feed=SHORT)
    url = f"postgresql://trading_daemon@{there.host}:{there.port}/trading_books"
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("of the daemon")
    there_and_who = f'[storage]\nurl = "{url}"\npassword = {{ file = "{tmp_path}/password" }}'
    config.write_text(config.read_text().replace("[storage]", there_and_who))
    config.rename(tmp_path / "market.toml")
    [script] = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    script = script.replace("HOST:PORT", f"{there.host}:{there.port}")
    script = script.replace("tradekeel db", f"{sys.executable} -m tradekeel db")

    def run(lines: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", lines],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    without = "\n".join(line for line in script.splitlines() if "PASSWORD" not in line)
    refused = run(without)  # the daemon's password is not the owner's
    assert refused.returncode != 0
    assert "does not let us in" in refused.stderr
    assert "cannot be reached" not in refused.stderr
    done = run(script)
    assert done.returncode == 0, done.stderr
    made = there.set(database="trading_books").render_as_string(hide_password=False)
    with Store.open(Postgres(made), now_ns=s.START_NS) as store:
        assert store.migrations == ()


def test_the_rights_are_those_that_are_granted():
    told: dict[str, set[str]] = {}
    for names, words in re.findall(r"^\| (`.*`) \| ((?:read|add|change|delete|, )+) \|$", SECTION, re.MULTILINE):
        told |= {name: {WORDS[word] for word in words.split(", ")} for name in re.findall(r"`(\w+)`", names)}
    assert told == {name: set(given.split(", ")) for name, given in rights.TABLE_RIGHTS.items()}


def test_every_setting_is_one_of_the_server(postgres_url):
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| .* \| .* \|$", SECTION[SECTION.index("## Settings") :], re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    known = [f"tcp_keepalives{name}" if name.startswith("_") else name for name in names]
    assert len(known) > 12
    with connected(postgres_url) as db:
        for name in known:
            db.execute(f"SHOW {name}".encode())
