"""Daemons that share a feed through a real Redis: what the reader trades is what it would have traded on the feed itself."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_daemon import call
from tests.integration.ticks.support import client
from tests.scenarios.support import Home, Story, told_differently
from tests.scenarios.support_configs import EMA, FLOOR, account, head, market, strategy
from tests.servers.valkey import DURABLE, ValkeyServer
from tradekeel.runtime.faults import KILL_AT

TICKS = 400
ROUNDS = {"dev": 3, "ci": 5, "campaign": 60}
WORST_MOMENTS = (
    "executor.after_commit:4",
    "paper.place.after_commit:3",
    "paper.match.after_commit:2",
    "feed.before_cut:2",
    "feed.after_cut:3",
    "executor.close.before:1",
)
SHARER_MOMENTS = (
    "sharer.begun:1",
    "sharer.writing:2",
    "sharer.written:1",
    "sharer.written:3",
    "executor.after_commit:6",
)
BARS = "entry_bars = 5, exit_bars = 3, atr_bars = 3, stop_atr = 2, timeframe = '5s'"
TICK_BARS = "entry_bars = 4, exit_bars = 2, atr_bars = 2, stop_atr = 2, timeframe = '7t'"


def redis_at(url: str) -> str:
    """The section for a server whose password stands in the environment, as that of the tests does."""
    who, _, where = url.removeprefix("redis://").rpartition("@")
    assert who.startswith(":")
    return (
        f'[redis]\nurl = "redis://{where}"\npassword = {{ env = "REDIS_PASSWORD" }}\ndeadline_s = 1\nregister = false\n'
    )


def environ(url: str) -> dict[str, str]:
    """Where the password is."""
    return {"REDIS_PASSWORD": url.removeprefix("redis://:").partition("@")[0]}


def traders(name: str, feed: str, tick_bars: str = TICK_BARS) -> str:
    """An account of three strategies: by ticks, by bars of time, and by bars of ticks."""
    return (
        account(name, exits="monitor", feed=feed)
        + strategy(f"{name}-ema", name, params=EMA)
        + strategy(f"{name}-bars", name, "donchian", BARS)
        + strategy(f"{name}-tick-bars", name, "donchian", tick_bars)
        + strategy(f"{name}-floor", name, "floor", FLOOR)
    )


def writer(folder: Path, url: str, more: str = "share = true", *, ticks: int = TICKS, speed: str = "max") -> Home:
    """A daemon that trades a made-up market, and shares it."""
    return Home(folder / "writer", head() + redis_at(url) + market(ticks, speed=speed, more=more) + traders("a", "m"))


def reader(
    folder: Path,
    url: str,
    more: str = 'start = "oldest"',
    name: str = "reader",
    risk: str = "",
    tick_bars: str = TICK_BARS,
) -> Home:
    """A daemon that trades the same from the stream."""
    feed = f'[feeds.s]\nkind = "redis"\nstream = "m"\ninstruments = ["EUR_USD"]\nblock_s = 0.5\n{more}\n'
    return Home(folder / name, head() + redis_at(url) + feed + traders("a", "s", tick_bars) + risk)


def lived(home: Home, url: str) -> Story:
    """A whole life that ends by itself."""
    life = home.live(environ=environ(url))
    assert life.code == 0, life.log
    return home.story("a")


def is_sound(home: Home) -> bool:
    """Whether nothing is wrong with the books."""
    assert home.wrong("a") == []
    assert home.unverified() == []
    return True


# --- the pair ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["writer", "reader"])
def test_a_reader_trades_what_the_writer_trades_whoever_comes_first(tmp_path: Path, redis_url: str, first: str) -> None:
    writes, reads = writer(tmp_path, redis_url), reader(tmp_path, redis_url)
    homes = [writes, reads] if first == "writer" else [reads, writes]
    with homes[0].start(environ(redis_url)) as one:
        if first == "reader":
            one.until(lambda: "waiting: feed s: there is not the tick stream 'm'" in one.log, "it does not wait")
        with homes[1].start(environ(redis_url)) as other:
            assert (one.end(), other.end()) == (0, 0), one.log + other.log
    assert len(writes.trades("a")) > 10
    assert told_differently({"a": writes.story("a")}, reads) == []
    assert is_sound(writes)
    assert is_sound(reads)
    assert writes.status["feeds"]["a"]["quality"]["shared"] == TICKS


def test_sharing_changes_nothing_for_the_writer(tmp_path: Path, redis_url: str) -> None:
    alone = Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m"))
    assert told_differently({"a": lived(alone, redis_url)}, alone) == []
    shares = writer(tmp_path, redis_url)
    lived(shares, redis_url)
    assert told_differently({"a": alone.story("a")}, shares) == []


# --- killed --------------------------------------------------------------------------------------------------------------


def test_a_reader_that_is_killed_and_resumes_trades_what_it_would_have_traded(
    tmp_path: Path, redis_url: str, seed: int, profile: str
) -> None:
    direct = lived(writer(tmp_path, redis_url), redis_url)
    chance = random.Random(seed)
    for number, moment in enumerate([*WORST_MOMENTS, *[""] * ROUNDS[profile]]):
        home = reader(tmp_path, redis_url, name=f"reader-{number}")
        with home.start(environ(redis_url) | ({KILL_AT: moment} if moment else {})) as process:
            if moment:
                assert process.end() == -9, f"{moment}: {process.log}"
            else:
                process.until_trading()
                process.wait_s(chance.random() * 0.5)
                process.kill()
        lived(home, redis_url)
        assert told_differently({"a": direct}, home) == [], moment
        assert is_sound(home)


def test_a_writer_that_is_killed_and_resumes_shares_the_same_sequence_to_a_reader_that_is_there_all_the_time(
    tmp_path: Path, redis_url: str
) -> None:
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), redis_url)
    deaths = 0
    for moment in SHARER_MOMENTS:
        with client(redis_url) as admin:
            admin.flushall()
        folder = tmp_path / moment.replace(":", "-")
        writes, reads = writer(folder, redis_url), reader(folder, redis_url)
        with reads.start(environ(redis_url)) as process:
            with writes.start(environ(redis_url) | {KILL_AT: moment}) as first:
                died = first.end() == -9
            if died:  # else its few hundred ticks went out in fewer batches than that
                lived(writes, redis_url)
            assert process.end() == 0, process.log
        deaths += died
        for home in (writes, reads):
            assert told_differently({"a": alone}, home) == [], moment
            assert is_sound(home)
    assert deaths >= 3


def test_both_are_killed_again_and_again_and_the_reader_trades_what_one_trades_that_has_the_market_itself(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer], seed: int, profile: str
) -> None:
    url, chance = own_redis().url(), random.Random(seed)
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), url)
    homes = [writer(tmp_path, url, speed="40"), reader(tmp_path, url)]  # some five seconds, and the starts
    deaths = [0, 0]
    with ExitStack() as stack:
        lives = [stack.enter_context(home.start(environ(url))) for home in homes]
        for life in lives:
            life.until_trading()
        for _ in range(2 * ROUNDS[profile]):
            lives[0].wait_s(chance.random() * 0.8)
            victims = chance.choice([[0], [1], [0, 1]])
            for who in victims:
                lives[who].kill()
            for who in victims:
                if lives[who].end() == -9:  # one that was done is not begun again
                    deaths[who] += 1
                    lives[who] = stack.enter_context(homes[who].start(environ(url)))
        assert [life.end() for life in lives] == [0, 0], "\n".join(life.log for life in lives)
    print(f"deaths of the writer and the reader: {deaths}")
    assert sum(deaths) >= ROUNDS[profile]
    with client(url) as look:
        entries = [entry for entry, _ in look.xrange("trading:ticks:m")]
    assert entries == [*(f"{position}-0" for position in range(1, TICKS + 1)), f"{TICKS}-1"]
    for home in homes:
        assert told_differently({"a": alone}, home) == []
        assert is_sound(home)


def test_a_redis_that_is_killed_and_paused_under_both_changes_nothing_that_is_traded(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer], seed: int, profile: str
) -> None:
    server = own_redis(settings=DURABLE)
    url, chance = server.url(), random.Random(seed)
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), url)
    writes, reads = writer(tmp_path, url, speed="80"), reader(tmp_path, url)  # some three seconds
    with writes.start(environ(url)) as one, reads.start(environ(url)) as other:
        one.until_trading()
        other.until_trading()
        for _ in range(ROUNDS[profile]):
            one.wait_s(chance.random() * 0.3)
            if chance.random() < 0.5:
                server.kill()
                one.wait_s(chance.random() * 0.3)
                server.start()
            else:
                server.pause()
                one.wait_s(chance.random() * 1.5)
                server.resume()
        assert (one.end(), other.end()) == (0, 0), one.log + other.log
        assert " failed (" not in one.log + other.log, "nobody had to be started again"
    for home in (writes, reads):
        assert told_differently({"a": alone}, home) == []
        assert is_sound(home)


def test_a_redis_that_loses_the_stream_is_given_the_rest_and_nobody_ends_of_it(
    tmp_path: Path, redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), redis_url)
    writes, reads = writer(tmp_path, redis_url, speed="80"), reader(tmp_path, redis_url)
    with writes.start(environ(redis_url)) as one, reads.start(environ(redis_url)) as other, client(redis_url) as admin:
        one.until_trading()
        other.until_trading()
        for _ in range(3):
            one.wait_s(chance.random() * 0.5)
            admin.flushall()
        assert (one.end(), other.end()) == (0, 0), one.log + other.log
    assert told_differently({"a": alone}, writes) == []
    assert is_sound(writes)
    assert is_sound(reads)
    assert reads.story("a")["trades"]


def test_a_writer_whose_redis_is_away_for_good_trades_on_and_ends(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer]
) -> None:
    server = own_redis()
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), server.url())
    server.kill()
    home = writer(tmp_path, server.url())
    life = home.live(environ=environ(server.url()))
    assert life.code == 0
    assert life.log.count("ticks are not shared for now, and trading goes on") == 1
    assert told_differently({"a": alone}, home) == []


# --- where it begins, and gaps ---------------------------------------------------------------------------------------------


def test_one_that_began_in_the_middle_and_was_killed_begins_there_again(tmp_path: Path, redis_url: str) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    whole = lived(reader(tmp_path, redis_url, "start = 150", name="whole"), redis_url)
    assert whole["trades"]
    for moment in ("feed.after_cut:1", "executor.after_commit:3", "feed.before_cut:2"):
        home = reader(tmp_path, redis_url, "start = 150", name=f"killed-{moment.replace(':', '-')}")
        with home.start(environ(redis_url) | {KILL_AT: moment}) as process:
            assert process.end() == -9, process.log
        lived(home, redis_url)
        assert told_differently({"a": whole}, home) == [], moment


def test_a_gap_is_told_and_books_stay_sound_also_when_it_is_met_on_the_way_back(tmp_path: Path, redis_url: str) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    with client(redis_url) as admin:
        admin.xdel("trading:ticks:m", *[f"{position}-0" for position in range(201, 241)])
    home = reader(tmp_path, redis_url, name="gap")
    life = home.live(environ=environ(redis_url))
    assert life.code == 0, life.log
    assert "ticks 201 to 240 of its feed are missing: strategies have been told" in life.log
    assert home.status["feeds"]["a"]["quality"]["gaps"] == 1
    assert is_sound(home)
    for number in range(3):
        again = reader(tmp_path, redis_url, name=f"killed-{number}")
        with again.start(environ(redis_url) | {KILL_AT: f"feed.before_cut:{3 + 2 * number}"}) as process:
            process.end()
        life = again.live(environ=environ(redis_url))
        assert life.code == 0, life.log
        assert is_sound(again)


def test_a_reader_that_is_killed_behind_a_gap_does_not_meet_it_again_and_trades_what_it_would_have_traded(
    tmp_path: Path, redis_url: str
) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    with client(redis_url) as admin:
        entries = []
        for entry, said in admin.xrange("trading:ticks:m"):
            position = int(entry.partition("-")[0])
            if position > 240 and "n" in said:
                said["n"] = str(position - 240)  # a writer that leaves out ticks counts anew behind them
            if not 201 <= position <= 240:
                entries.append((entry, said))

        def put(part: list[Any]) -> None:
            for entry, said in part:
                admin.xadd("trading:ticks:m", said, id=entry)

        admin.delete("trading:ticks:m")
        put(entries)
        # Of a recording the last ticks that are there wait for the next one where bars of ticks are built: here are none.
        whole = lived(reader(tmp_path, redis_url, name="whole", tick_bars=BARS), redis_url)
        assert whole["trades"]
        for count in (201, 230):
            admin.delete("trading:ticks:m")
            put(entries[:count])
            home = reader(tmp_path, redis_url, name=f"killed-{count}", tick_bars=BARS)
            last = int(entries[count - 1][0].partition("-")[0])
            with home.start(environ(redis_url)) as process:
                process.until(partial(has_come_to, home, last), "it does not get there")
                process.kill()
            put(entries[count:])
            life = home.live(environ=environ(redis_url))
            assert life.code == 0, life.log
            assert "are missing" not in life.log
            assert told_differently({"a": whole}, home) == [], count


def has_come_to(home: Home, position: int) -> bool:
    """Whether the account is at this tick, by its status."""
    feeds = home.status.get("feeds", {})
    return "a" in feeds and int(feeds["a"]["position"]) >= position


def test_what_was_trimmed_while_a_reader_was_away_is_a_gap(tmp_path: Path, redis_url: str) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    home = reader(tmp_path, redis_url)
    with home.start(environ(redis_url) | {KILL_AT: "feed.after_cut:2"}) as process:
        assert process.end() == -9, process.log
    with client(redis_url) as admin:
        admin.xtrim("trading:ticks:m", minid="300-0", approximate=False)
    life = home.live(environ=environ(redis_url))
    assert life.code == 0, life.log
    assert "to 299 of its feed are missing" in life.log
    assert is_sound(home)


# --- live, and late --------------------------------------------------------------------------------------------------------


def test_what_a_reader_decides_late_on_a_live_market_is_denied_as_stale(tmp_path: Path, redis_url: str) -> None:
    live = (
        market(10_000, speed="1", more="share = true\nlive = true")
        .replace("ticks = 10000", "")
        .replace("interval_ms = 500", "interval_ms = 10")
    )
    writes = Home(tmp_path / "writer", head() + redis_at(redis_url) + live + traders("a", "m"))
    risk = "[accounts.a.risk]\nprice_age_max_s = 1\n"
    reads = reader(tmp_path, redis_url, risk=risk)
    with writes.start(environ(redis_url)) as one:
        with reads.start(environ(redis_url)) as other:
            other.until_trading()
            other.until(lambda: reads.last_sequence("a", "decision_taken") > 0, "it decides nothing")
            other.kill()
        assert not denied_as_stale(reads)
        one.wait_s(5)
        with reads.start(environ(redis_url)) as other:
            other.until_trading()
            other.until(lambda: denied_as_stale(reads), "nothing is denied")
    assert reads.unverified() == []


def denied_as_stale(home: Home) -> bool:
    """Whether an entry was denied because its price was old."""
    decisions = home.records("a", "decision_taken")
    orders = [order for decision in decisions for order in decision["orders"]]
    return any("s away from now, allowed are" in order.get("status_reason", "") for order in orders)


# --- words -----------------------------------------------------------------------------------------------------------------


def test_a_reader_whose_stream_was_replaced_ends_and_says_so(tmp_path: Path, redis_url: str) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    home = reader(tmp_path, redis_url)
    with home.start(environ(redis_url) | {KILL_AT: "feed.after_cut:2"}) as process:
        assert process.end() == -9
    with client(redis_url) as admin:
        admin.flushall()
    lived(writer(tmp_path / "other", redis_url, ticks=300), redis_url)
    life = home.live(environ=environ(redis_url))
    assert life.code == 2
    assert "its data or options are not those that execution" in life.log


def test_a_reader_whose_stream_holds_something_else_ends_and_says_what_to_do(tmp_path: Path, redis_url: str) -> None:
    lived(writer(tmp_path, redis_url), redis_url)
    with client(redis_url) as somebody:
        somebody.xadd("trading:ticks:m", {"price": "1.1"})
    home = reader(tmp_path, redis_url)
    life = home.live(environ=environ(redis_url))
    assert life.code == 2, life.log
    assert "the tick stream 'm' on Redis at" in life.log
    assert "has an entry that no Tradekeel has written" in life.log
    assert "delete the stream" in life.log
    assert home.unverified() == []


def test_a_reader_that_waits_for_its_server_stops_at_once(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer]
) -> None:
    server = own_redis(settings=DURABLE)
    lived(writer(tmp_path, server.url()), server.url())
    home = reader(tmp_path, server.url())
    with home.start(environ(server.url()) | {KILL_AT: "feed.after_cut:2"}) as process:
        assert process.end() == -9, process.log
    server.kill()
    with home.start(environ(server.url())) as process:
        process.until(lambda: "waiting: feed s:" in process.log, "it does not wait")
        process.send(signal.SIGTERM)
        assert process.end() == 0, process.log
    server.start()
    lived(home, server.url())
    assert is_sound(home)


def test_a_reader_whose_server_freezes_stops_in_time_and_goes_on_later(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer]
) -> None:
    server = own_redis(settings=DURABLE)
    alone = lived(Home(tmp_path / "alone", head() + market(TICKS) + traders("a", "m")), server.url())
    lived(writer(tmp_path, server.url()), server.url())
    home = reader(tmp_path, server.url())
    with home.start(environ(server.url())) as process:
        process.until_passed("feed.open")
        server.pause()
        process.send(signal.SIGTERM)
        assert process.end() == 0, process.log
    server.resume()
    lived(home, server.url())
    assert told_differently({"a": alone}, home) == []


def test_check_looks_at_the_stream_and_says_what_is_missing(
    tmp_path: Path, own_redis: Callable[..., ValkeyServer]
) -> None:
    server = own_redis()
    secret = reader(tmp_path / "secret", server.url())
    assert (
        "not looked at, because the password of its server is the daemon's to read"
        in call("check", secret.config).stdout
    )
    with client(server.url()) as admin:
        admin.config_set("requirepass", "")  # a check reads no secrets
    url = f"redis://{server.host}:{server.port.number}/0"
    feed = '[feeds.s]\nkind = "redis"\nstream = "m"\ninstruments = ["EUR_USD"]\nstart = "oldest"\n'
    home = Home(tmp_path / "r", head() + f'[redis]\nurl = "{url}"\n' + feed + traders("a", "s"))
    said = call("check", home.config)
    assert "there is not the tick stream 'm' on Redis at" in said.stdout
    assert said.returncode != 0
    shares = Home(
        tmp_path / "w", head() + f'[redis]\nurl = "{url}"\n' + market(50, more="share = true") + traders("a", "m")
    )
    assert shares.live().code == 0
    said = call("check", home.config)
    assert "redis; the first tick is EUR_USD" in said.stdout
    assert said.returncode == 0, said.stdout
    server.kill()
    said = call("check", home.config)
    assert "cannot be reached" in said.stdout
    assert said.returncode != 0
