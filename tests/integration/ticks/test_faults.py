"""A Redis that is paused, killed, emptied, full or cut off while ticks are shared through it: trading is not held up, nothing is
written twice, and nothing is missing that nobody is told of.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.conformance.documented import ADAPTER, acl_line
from tests.conftest import ROOT
from tests.integration.ticks.support import KEY, client, feed_of, sharing, until, write
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import DURABLE, ValkeyServer
from tests.unit.feeds.markets import Market, Read, read_all, read_on, ticks_of
from tradekeel.domain.ticks import Tick
from tradekeel.errors import StoreAway

HASTE_S = 0.3
ROUNDS = {"dev": 6, "ci": 12, "campaign": 100}

OwnRedis = Callable[..., ValkeyServer]


def is_part_of(read: Read, ticks: list[Tick]) -> bool:
    """Whether what was read are these ticks, each in its place, and every gap among them was told."""
    found = [tick.position for tick in read.ticks]
    holes = [at - 1 for before, at in pairwise(found) if at != before + 1]
    return read.ticks == [ticks[at - 1] for at in found] and set(holes) <= set(read.gaps)


# --- whatever happens ----------------------------------------------------------------------------------------------------


async def test_whatever_happens_in_between_the_same_sequence_is_read(
    own_redis: OwnRedis, proxy_before: Callable[[str], TcpProxy], seed: int, profile: str
) -> None:
    """Writer, reader and server are stopped, killed and cut off at random; the server keeps what it was given."""
    chance = random.Random(seed)
    server = own_redis(settings=DURABLE)
    proxy = proxy_before(server.url())
    url, through = server.url(), proxy.url(server.url())
    written_to, read = 0, Read()
    ticks = ticks_of(400 * ROUNDS[profile])
    await write(Market(ticks[:2]), url)  # so that there is something to read from

    async def hurt() -> None:
        match chance.randrange(6):
            case 0:
                server.pause()
                await anyio.sleep(chance.random() * 2 * HASTE_S)
                server.resume()
            case 1:
                server.kill()
                await anyio.sleep(chance.random() * 0.2)
                await to_thread.run_sync(server.start)
            case 2:
                proxy.lose_answer(b"EVAL")
            case 3:
                proxy.lose_request(b"EVAL")
            case 4:
                proxy.cut(reset=chance.random() < 0.5)
            case 5:
                proxy.away()
                await anyio.sleep(chance.random() * 0.2)
                proxy.normal()

    async def write_on() -> None:
        nonlocal written_to
        back_at = max(0, written_to - chance.randrange(0, 100))
        async with sharing(Market(ticks), through, deadline_s=HASTE_S) as share:
            written_to = await share.conduct(back_at, 400 + written_to - back_at)
            await share.until_brought()

    async def read_along(feed) -> None:
        with anyio.move_on_after(1.0):
            await read_on(feed, read)

    for _ in range(ROUNDS[profile]):
        feed = feed_of(url, deadline_s=HASTE_S)
        await feed.open(read.at, read.at)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hurt)
            tasks.start_soon(write_on)
            tasks.start_soon(read_along, feed)
        proxy.normal()
        await feed.close()
    await write(Market(ticks), url)
    feed = feed_of(url)
    await feed.open(read.at, read.at)
    await read_on(feed, read)
    await feed.close()
    assert read.gaps == []
    assert read.ticks == ticks
    with client(url) as look:
        assert look.xlen(KEY) == len(ticks) + 2  # and both ends


@pytest.mark.parametrize("loss", ["answer", "request"])
async def test_a_batch_whose_answer_is_lost_is_written_once(
    own_redis: OwnRedis, proxy_before: Callable[[str], TcpProxy], loss: str
) -> None:
    server = own_redis()
    proxy = proxy_before(server.url())
    ticks = ticks_of(3_000)
    async with sharing(Market(ticks), proxy.url(server.url()), deadline_s=HASTE_S) as share:
        await share.conduct(0, 10)
        await share.until_brought()
        lost = [(proxy.lose_answer if loss == "answer" else proxy.lose_request)(b"XADD") for _ in range(5)]
        await share.conduct_on()
        await share.until_brought()
        assert all(one.happened for one in lost)
    with client(server.url()) as look:
        assert look.xlen(KEY) == 3_001
    read = await read_all(feed_of(server.url()))
    assert (read.ticks, read.gaps) == (ticks, [])


# --- the writer ----------------------------------------------------------------------------------------------------------


async def test_a_live_market_waits_for_no_server_and_what_fits_is_shared_when_it_is_back(own_redis: OwnRedis) -> None:
    server = own_redis()
    async with sharing(
        Market(ticks_of(9_000), live=True), server.url(), deadline_s=HASTE_S, waiting_max=5_000
    ) as share:
        await share.conduct(0, 1_000)
        await share.until_brought()
        server.pause()
        with anyio.fail_after(HASTE_S):  # 8,000 ticks, while one question has not been answered yet
            await share.conduct_on()
        await until(lambda: bool(share.ear.alerts))
        assert share.feed.quality()["share_missed"] == 3_000
        server.resume()
        await share.until_brought()
    assert len(share.ear.alerts) == 2
    assert "ticks are not shared for now, and trading goes on: Redis at" in share.ear.alerts[0]
    assert "takes ticks again; the 3000 that it missed are a gap to its readers" in share.ear.alerts[1]
    read = await read_all(feed_of(server.url()), 1)
    assert read.gaps == [4_000]
    assert is_part_of(read, ticks_of(9_000))


async def test_a_recording_goes_on_without_a_server_that_is_known_to_be_away(own_redis: OwnRedis) -> None:
    server = own_redis()
    async with sharing(Market(ticks_of(5_000)), server.url(), deadline_s=HASTE_S, waiting_max=500) as share:
        server.kill()
        with anyio.fail_after(10):
            await share.conduct()
        await until(lambda: bool(share.ear.alerts))
        assert share.outbox.left_out == 4_500


async def test_a_full_server_is_said_once_and_gets_what_waits_when_it_has_room(own_redis: OwnRedis) -> None:
    server = own_redis()
    ticks = ticks_of(4_000)
    with client(server.url()) as admin:
        async with sharing(Market(ticks), server.url()) as share:
            await share.conduct(0, 1_000)
            await share.until_brought()
            admin.config_set("maxmemory", "1")
            await share.conduct_on()
            await until(lambda: bool(share.ear.alerts))
            assert "it is full (maxmemory)" in share.ear.alerts[0]
            assert (await read_some(server.url(), 1_000)).ticks == ticks[:1_000]  # reading goes on
            admin.config_set("maxmemory", "0")
            await share.until_brought()
    assert len(share.ear.alerts) == 2
    assert (await read_all(feed_of(server.url()))).ticks == ticks


async def read_some(url: str, count: int) -> Read:
    feed, read = feed_of(url), Read()
    await feed.open(0)
    await read_on(feed, read, count)
    await feed.close()
    return read


async def test_a_server_that_has_lost_everything_is_given_the_rest_and_readers_are_told_what_is_gone(
    own_redis: OwnRedis,
) -> None:
    server = own_redis()  # it keeps nothing on its disk
    ticks = ticks_of(3_000)
    async with sharing(Market(ticks), server.url(), deadline_s=HASTE_S) as share:
        await share.conduct(0, 1_000)
        await share.until_brought()
        said: list[str] = []
        feed, read = feed_of(server.url(), said=said, deadline_s=HASTE_S), Read()
        await feed.open(0)
        await read_on(feed, read, 600)
        await feed.open(600, 600)  # it is begun again, and what it had read ahead is gone
        server.kill()
        await to_thread.run_sync(server.start)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, feed, read)
            await until(lambda: bool(said))
            await share.conduct_on()
        await feed.close()
    assert read.ticks == ticks[:600] + ticks[1_000:]
    assert read.gaps == [1_000]
    assert "feed reader waits: " in said[0]
    assert "is back" in said[-1]


async def test_a_stop_waits_only_for_a_server_that_takes_what_waits(own_redis: OwnRedis) -> None:
    server = own_redis()
    with anyio.fail_after(15):
        async with sharing(Market(ticks_of(500)), server.url(), deadline_s=HASTE_S) as share:
            await share.conduct(0, 100)
            await share.until_brought()
            server.pause()
            await share.conduct_on()
    server.resume()
    async with sharing(Market(ticks_of(500)), server.url()) as share:
        await share.conduct(90)
    assert (await read_all(feed_of(server.url()))).ticks == ticks_of(500)


# --- the reader ----------------------------------------------------------------------------------------------------------


async def test_a_reader_waits_for_a_server_that_is_away_and_goes_on_where_it_was(own_redis: OwnRedis) -> None:
    server = own_redis(settings=DURABLE)
    ticks = ticks_of(2_500)
    await write(Market(ticks), server.url())
    said: list[str] = []
    feed, read = feed_of(server.url(), said=said, deadline_s=HASTE_S), Read()
    await feed.open(0)
    await read_on(feed, read, 500)
    server.kill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_on, feed, read)
        await until(lambda: bool(said))
        await anyio.sleep(3 * HASTE_S)
        await to_thread.run_sync(server.start)
    await feed.close()
    assert (read.ticks, read.gaps) == (ticks, [])
    assert len(said) == 2, "that it is away, and that it is back"
    assert feed.quality()["away"] == 1


async def test_a_wait_for_the_next_tick_outlasts_a_server_that_is_restarted(own_redis: OwnRedis) -> None:
    server = own_redis(settings=DURABLE)
    ticks = ticks_of(200)
    async with sharing(Market(ticks), server.url(), deadline_s=HASTE_S) as share:
        await share.conduct(0, 100)
        await share.until_brought()
        feed, read = feed_of(server.url(), block_s=30, deadline_s=HASTE_S), Read()
        await feed.open(0)
        await read_on(feed, read, 100)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, feed, read)
            await anyio.sleep(0.1)  # it waits on the server by now
            server.kill()
            await to_thread.run_sync(server.start)
            with anyio.fail_after(20):
                await share.conduct_on()
        await feed.close()
    assert (read.ticks, read.gaps) == (ticks, [])


async def test_a_wait_that_is_cut_short_loses_nothing(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(600)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 1)
        await share.until_brought()
        feed, read = feed_of(redis_url, timeframes={"EUR_USD": ("7t",)}), Read()
        await feed.open(0)

        async def write_slowly() -> None:
            at = 1
            while at < 600:
                at = await share.conduct_on(5, at)
                await anyio.sleep(0.002)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_slowly)
            while read.at < 600:
                with anyio.move_on_after(chance.random() * 0.01):
                    await read_on(feed, read)
        await feed.close()
    assert (read.ticks, read.gaps) == (ticks, [])


async def test_a_server_that_is_away_at_the_start_is_waited_for_with_patience_only(own_redis: OwnRedis) -> None:
    server = own_redis(settings=DURABLE)
    await write(Market(ticks_of(10)), server.url())
    server.kill()
    with pytest.raises(StoreAway, match="cannot be reached"):
        feed_of(server.url())
    told: list[str] = []

    def wait(for_what: str) -> None:
        told.append(for_what)
        server.start()

    feed = feed_of(server.url(), patience=wait)
    assert feed.info.replayable
    assert len(told) == 1
    assert "cannot be reached" in told[0]


async def test_a_right_that_is_taken_away_is_waited_for_and_said(own_redis: OwnRedis) -> None:
    server, said = own_redis(settings=DURABLE), list[str]()
    await write(Market(ticks_of(2_000)), server.url())
    feed, read = feed_of(server.url(), said=said), Read()
    await feed.open(0)
    await read_on(feed, read, 10)
    with client(server.url()) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-@scripting")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, feed, read)
            await until(lambda: any("a right is missing" in line for line in said))
            admin.execute_command("ACL", "SETUSER", "default", "+@scripting")
    assert (read.ticks, read.gaps) == (ticks_of(2_000), [])
    assert said[-1].endswith(" is back")
    await feed.close()


async def test_the_documented_user_may_share_and_read(own_redis: OwnRedis) -> None:
    server = own_redis()
    with client(server.url()) as admin:
        admin.execute_command(*acl_line(Path(ROOT / "docs" / "redis.md"), "its-password").split())
    url = server.url(user=ADAPTER, password="its-password")
    await write(Market(ticks_of(1_500)), url)
    assert (await read_all(feed_of(url))).ticks == ticks_of(1_500)
