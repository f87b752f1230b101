"""Every statement that docs/postgresql.md shows for PostgreSQL runs as written, and its table of rights is what is granted."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import make_url

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
