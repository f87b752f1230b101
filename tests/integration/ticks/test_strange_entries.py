"""Somebody else in our keys: what no Tradekeel has written is not traded, nor written over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
import pytest

from tests.integration.ticks.support import ABOUT, KEY, STREAM, client, feed_of, settings_of, sharing, until, write
from tests.servers.valkey import ValkeyServer
from tests.unit.feeds.markets import START_NS, Market, Read, read_all, read_on, ticks_of
from tests.unit.feeds.streams import HEAD
from tradekeel.errors import DataError, StoreRefused
from tradekeel.ports.ticks import StreamGone, Writing
from tradekeel.storage.redis.ticks import RedisTicks

GOOD = {"i": "EUR_USD", "t": str(START_NS + 10**12), "b": "1.1", "a": "1.2", "n": "1"}
WRITING = Writing(run="run", writer="run", ticks_max=1_000_000, ended=False)


@pytest.mark.parametrize(
    "entry",
    [
        {"price": "1.1"},
        GOOD | {"t": "yesterday"},
        GOOD | {"b": "1,1"},
        GOOD | {"b": "NaN"},
        GOOD | {"b": "0"},
        GOOD | {"b": "-1.1"},
        GOOD | {"a": "Infinity"},
        GOOD | {"n": "first"},
        GOOD | {"n": "0"},
        GOOD | {"B": "-1"},
        GOOD | {"A": "NaN"},
        GOOD | {"A": "much"},
        GOOD | {"l": "5"},
        dict(reversed(GOOD.items())),
    ],
)
async def test_an_entry_that_is_no_tick_ends_the_reader_with_its_id_and_what_to_do(
    redis_url: str, entry: Mapping[str, str]
) -> None:
    await write(Market(ticks_of(10)), redis_url)
    with client(redis_url) as other:
        other.xadd(KEY, dict(entry), id="11-0")
    with pytest.raises(DataError) as raised:
        await read_all(feed_of(redis_url))
    said = str(raised.value)
    assert "feed reader: the tick stream 'market' on Redis at" in said
    assert "has an entry that no Tradekeel has written" in said
    assert f"Look with XREVRANGE {KEY} + -, and delete the stream" in said


async def test_an_instrument_that_the_stream_does_not_have_ends_the_reader(redis_url: str) -> None:
    await write(Market(ticks_of(10)), redis_url)
    with client(redis_url) as other:
        other.xadd(KEY, GOOD | {"i": "BTC_USDT"}, id="11-0")
    with pytest.raises(DataError, match="has ticks of BTC_USDT behind 0, and says that it has only"):
        await read_all(feed_of(redis_url))


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_writer_says_so_where_a_strange_entry_bars_its_way_and_goes_on_when_it_is_gone(
    redis_url: str, deleted: bool
) -> None:
    ticks = ticks_of(300)
    with client(redis_url) as other:
        async with sharing(Market(ticks), redis_url) as share:
            await share.conduct(0, 100)
            await share.until_brought()
            strange = other.xadd(
                KEY, {"price": "1.1"}
            )  # with an id that is the time: no number of ours comes behind it
            if deleted:
                other.xdel(KEY, strange)
            await share.conduct_on(100, 100)
            await until(lambda: bool(share.ear.alerts))
            assert "has an entry that no Tradekeel has written" in share.ear.alerts[0]
            assert ("it is deleted, and its id is above ours" if deleted else strange) in share.ear.alerts[0]
            other.delete(KEY, ABOUT)
            await share.until_brought()
            await share.conduct_on(None, 200)
        assert len(share.ear.alerts) == 2
    read = await read_all(feed_of(redis_url), 100)
    assert read.ticks == ticks[100:]
    assert read.gaps == []


async def test_what_another_program_took_from_about_is_said(redis_url: str) -> None:
    await write(Market(ticks_of(10)), redis_url)
    ours = RedisTicks(settings_of(redis_url), STREAM)
    missing = (
        r"is none of this Tradekeel's: trading:ticks:market:about is missing, or says something else\. Delete both keys"
    )
    with client(redis_url) as other:
        other.hdel(ABOUT, "last")
        with pytest.raises(StoreRefused, match=missing):
            ours.look()
        for call in (ours.read("run", 0, 10), ours.read_back("run", 5, 10), ours.append(WRITING, [], {})):
            with pytest.raises(StoreRefused, match=missing):
                await call
        assert (await ours.begin(HEAD, "data", "me")).is_new, "who writes begins it anew"
        begun = await ours.begin(HEAD, "data", "me")
        assert not begun.is_new
        other.hset(ABOUT, "counts", "many")
        with pytest.raises(StoreRefused, match=missing):
            await ours.begin(HEAD, "data", "me")
        other.hset(ABOUT, "format", "2")
        with pytest.raises(StoreRefused, match=missing):
            ours.look()
        other.delete(ABOUT)
        other.xadd(KEY, GOOD, id="500-0")
        with pytest.raises(StoreRefused, match=missing):
            ours.look()
        with pytest.raises(StoreRefused, match=missing):
            await ours.read("run", 0, 10)
        with pytest.raises(StoreRefused, match=missing):
            await ours.begin(HEAD, "data", "me")
        with pytest.raises(StreamGone):
            await ours.append(WRITING, [], {})
    await ours.close()


@pytest.mark.parametrize("key", [KEY, ABOUT])
async def test_a_key_of_another_type_is_refused_and_stays(redis_url: str, key: str) -> None:
    ours, said = RedisTicks(settings_of(redis_url), STREAM), r"another kind.*look with TYPE, and delete or move it"
    with client(redis_url) as other:
        if key == KEY:
            await write(Market(ticks_of(10)), redis_url)
            other.delete(KEY)
        other.rpush(key, "somebody's")
        for call in (ours.read("run", 0, 10), ours.read_back("run", 5, 10)):
            with pytest.raises(StoreRefused, match=said):
                await call
        if key == ABOUT:
            with pytest.raises(StoreRefused, match=said):
                ours.look()
            with pytest.raises(StoreRefused, match=said):
                await ours.begin(HEAD, "data", "me")
        else:
            async with sharing(Market(ticks_of(20)), redis_url) as share:
                await share.conduct()
                await until(lambda: bool(share.ear.alerts))
            assert "look with TYPE, and delete or move it" in share.ear.alerts[0]
        assert other.lrange(key, 0, -1) == ["somebody's"]
    await ours.close()


async def test_a_user_without_our_keys_is_refused_with_the_page_that_says_what_it_needs(
    own_redis: Callable[..., ValkeyServer],
) -> None:
    server = own_redis()
    with client(server.url()) as admin:
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">secret-word", "~other:*", "+@all")
    narrow = server.url(user="narrow", password="secret-word")
    async with sharing(Market(ticks_of(10)), narrow) as share:
        await share.conduct()
        await until(lambda: bool(share.ear.alerts))
    assert "a right is missing. docs/redis.md says which the user needs" in share.ear.alerts[0]
    with pytest.raises(DataError, match="a right is missing"):
        feed_of(narrow)


async def test_a_reader_waits_for_the_rights_that_it_had_and_misses_nothing(
    own_redis: Callable[..., ValkeyServer],
) -> None:
    """A server that was started again without its users, say, until somebody has loaded them."""
    server, said, read = own_redis(), list[str](), Read()
    user = ("ACL", "SETUSER", "reader", "on", ">secret-word", "~trading:*", "+@all")
    with client(server.url()) as admin:
        admin.execute_command(*user)
        await write(Market(ticks_of(50)), server.url())
        feed = feed_of(server.url(user="reader", password="secret-word"), said=said)
        await feed.open(0)
        async with anyio.create_task_group() as tasks:
            admin.execute_command("ACL", "DELUSER", "reader")
            tasks.start_soon(read_on, feed, read)
            await until(lambda: any("it does not take this user and password" in line for line in said))
            assert read.ticks == []
            admin.execute_command(*user)
        await feed.close()
    assert (read.ticks, read.gaps) == (ticks_of(50), [])
    assert all(line.startswith("feed reader waits: ") for line in said[:-1])
    assert said[-1].endswith(" is back")
