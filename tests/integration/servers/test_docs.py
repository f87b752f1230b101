"""docs/testing.md says what is so: its examples pass, and what it names is there."""

from __future__ import annotations

import re

import pytest

from tests.integration.servers.support import ROOT, Child, Who
from tests.servers import errors, fixtures
from tests.servers.postgres import DATABASE_PREFIX
from tests.servers.proxy import TcpProxy
from tests.servers.server import Server

TEXT = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
OWNERS = {"server": Server, "proxy": TcpProxy}


def test_the_examples_pass(who: Who) -> None:
    test = who.folder / "test_examples.py"
    test.write_text("\n\n".join(EXAMPLES))
    Child(who, "-p", "tests.servers.fixtures", "-c", ROOT / "pyproject.toml", "--rootdir", who.folder, test).succeed()


@pytest.mark.parametrize("owner", OWNERS)
def test_what_servers_and_proxies_can_do_is_there(owner: str) -> None:
    named = set(re.findall(rf"`{owner}\.(\w+)", TEXT))
    assert named
    assert [name for name in named if not hasattr(OWNERS[owner], name)] == []


def test_every_fixture_is_there_and_every_one_named_exists() -> None:
    named = set(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", TEXT.split("## Faults")[0], re.MULTILINE))
    words = {word for row in named for word in re.findall(r"`(\w+)`", row)}
    there = {name for name in dir(fixtures) if "FixtureFunctionDefinition" in type(getattr(fixtures, name)).__name__}
    assert words == there
    assert {name for names in fixtures.MARKED.values() for name in names} <= words


def test_names_of_the_environment_and_of_what_is_made_are_those_of_the_code() -> None:
    for name in (fixtures.POSTGRES_URL, fixtures.REDIS_URL, DATABASE_PREFIX, "BinariesMissing", "ServerNotStarted"):
        assert name in TEXT, name
    assert hasattr(errors, "BinariesMissing")
    assert hasattr(errors, "ServerNotStarted")
