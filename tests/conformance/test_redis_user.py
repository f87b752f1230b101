"""The user that the documentation tells people to make can do no harm.

That it can do what Tradekeel does is shown by the suite, which runs as this user, too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.backends import Adapter, RedisBackend
from tests.conformance.documented import ADAPTER, acl_line
from tests.servers.valkey import ValkeyServer
from tradekeel.errors import StoreRefused
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.server import RedisServer

pytestmark = pytest.mark.redis

GUIDE = Path(__file__).parents[2] / "docs" / "redis.md"

DANGEROUS = [
    "FLUSHALL", "FLUSHDB", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "KEYS *",
    "KEYS trading:*", "SHUTDOWN", "DEBUG SLEEP 0", "MONITOR", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF NO ONE",
    "ACL LIST", "ACL WHOAMI", "ACL SETUSER trading-adapter +@all", "CLIENT KILL ID 1", "CLIENT LIST",
    "CLIENT PAUSE 1", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION FLUSH", "FUNCTION LOAD x", "MODULE LIST", "SWAPDB 0 1",
    "MIGRATE 127.0.0.1 1 trading:a 0 1", "LATENCY RESET", "SLOWLOG GET", "SORT trading:a", "FAILOVER", "CLUSTER INFO",
    "PSYNC ? -1", "RESTORE trading:b 0 x",
]  # fmt: skip
ELSEWHERE = [
    "GET other:key", "SET other:key x", "SET trading x", "DEL other:key", "UNLINK other:key", "EXPIRE other:key 1",
    "INCRBY other:key 1", "MGET trading:a other:key", "MSET trading:a 1 other:key 2", "COPY other:key trading:a",
    "COPY trading:a other:key", "RENAME trading:a other:key", "XADD other:stream * a b",
    "XREAD COUNT 1 STREAMS other:stream 0", "TYPE other:key", "EXISTS other:key", "PUBLISH other:channel x",
    "SUBSCRIBE other:channel", "GETDEL other:key", "HSET other:hash a b",
]  # fmt: skip


USED = [
    "XADD trading:s * a b", "XREAD COUNT 1 STREAMS trading:s 0", "XTRIM trading:s MAXLEN 1", "HSET trading:h a b",
    "ZADD trading:z 1 a", "PUBLISH trading:events x", "SCAN 0 MATCH trading:*", "CLIENT SETNAME tradekeel",
]  # fmt: skip


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[RedisServer]:
    """The server as its administrator, with somebody else's key on it."""
    async with RedisServer.open(RedisSettings(url=redis_url)) as server:
        await server.ask("somebody's key", "SET", "other:key", "precious")
        await server.ask("ours", "SET", "trading:a", "1")
        yield server


@pytest.fixture
async def adapter(admin: RedisServer, redis_url: str) -> AsyncIterator[RedisServer]:
    """The same as the documented user."""
    async with Adapter(redis_url, "a-secret-of-the-tests") as made, RedisServer.open(made.settings) as server:
        yield server


@pytest.mark.parametrize("command", DANGEROUS)
async def test_what_empties_configures_or_stops_a_server_is_refused(adapter: RedisServer, admin: RedisServer, command):
    with pytest.raises(StoreRefused, match="a right is missing"):
        await adapter.ask("trying it", *command.split())
    assert await admin.ask("looking", "GET", "other:key") == b"precious"


@pytest.mark.parametrize("command", ELSEWHERE)
async def test_keys_and_channels_of_others_are_refused(adapter: RedisServer, admin: RedisServer, command):
    with pytest.raises(StoreRefused, match="a right is missing"):
        await adapter.ask("trying it", *command.split())
    assert await admin.ask("looking", "GET", "other:key") == b"precious"
    assert await admin.ask("looking", "DBSIZE") == 2


@pytest.mark.parametrize(
    "call", ["'GET', 'other:key'", "'SET', 'other:key', 'x'", "'FLUSHALL'", "'KEYS', '*'", "'CONFIG', 'GET', '*'"]
)
async def test_a_script_may_do_no_more_than_its_user(adapter: RedisServer, admin: RedisServer, call):
    with pytest.raises(StoreRefused):
        await adapter.run("trying it", f"return redis.call({call})", [])
    assert await admin.ask("looking", "GET", "other:key") == b"precious"


async def test_what_the_user_is_for_is_allowed(adapter: RedisServer):
    await adapter.ping()
    assert await adapter.version() != "unknown"
    for command in USED:
        await adapter.ask("using it", *command.split())


async def test_making_the_user_again_leaves_nothing_of_what_it_was(adapter: RedisServer, admin: RedisServer):
    await admin.ask("giving it everything", "ACL", "SETUSER", ADAPTER, "+@all", "~*", ">another")
    before = await _rules(admin)
    await admin.ask("making it again", *acl_line(GUIDE, "a-secret-of-the-tests").split())
    assert await _rules(admin) != before
    with pytest.raises(StoreRefused, match="a right is missing"):
        await adapter.ask("trying it", "FLUSHALL")


async def _rules(admin: RedisServer) -> bytes:
    lines: list[bytes] = await admin.ask("reading the rules", "ACL", "LIST")
    return next(line for line in lines if ADAPTER.encode() in line)


async def test_the_line_works_in_a_file_of_the_server_too(own_redis):
    rules = acl_line(GUIDE, "a-secret").removeprefix("ACL SETUSER ")
    server: ValkeyServer = own_redis(users=[rules])
    settings = RedisSettings(url=server.url(), username=ADAPTER, password="a-secret")
    async with RedisBackend(settings) as backend:
        assert await backend.cache().increment("n") == 1
        with pytest.raises(StoreRefused):
            await backend.server.ask("trying it", "FLUSHALL")


async def test_the_guides_example_runs_as_the_guides_user(redis_url, capsys):
    guide = GUIDE.read_text(encoding="utf-8")
    [example] = [code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "RedisCache" in code]
    body, run = example.split("anyio.run(main)")
    assert run.strip() == ""
    async with Adapter(redis_url, "a-secret-of-the-tests"):
        names: dict[str, object] = {"URL": redis_url, "PASSWORD": "a-secret-of-the-tests"}
        exec(compile(body, str(GUIDE), "exec"), names)
        await names["main"]()  # type: ignore[operator]  # the example's own
    assert capsys.readouterr().out.splitlines() == [
        "{'bid': Decimal('1.10'), 'ask': Decimal('1.1002')} True",
        "1 [b'EUR_USD']",
    ]
