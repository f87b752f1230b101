"""What daemons have shared through a stream, as data for a backtest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from tests.integration.cli_daemon import call
from tests.integration.ticks.support import KEY, STREAM, client, settings_of, write
from tests.unit.feeds.markets import Market, ticks_of
from tradekeel.backtest import RedisTickDataSource
from tradekeel.domain.bars import BarSet
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.errors import DataError, InputError
from tradekeel.runtime.loop import Stepper
from tradekeel.storage.redis.ticks import RedisTicks

FRAMES = {"EUR_USD": ("5s", "7t")}


@contextmanager
def source(url: str, **more: Any) -> Iterator[RedisTickDataSource]:
    steps = Stepper()
    try:
        data = RedisTickDataSource(RedisTicks(settings_of(url), STREAM), steps, **more)
    except DataError:
        steps.close()
        raise
    with closing(data):
        yield data


def shared(url: str, ticks: list[Tick]) -> None:
    anyio.run(write, Market(ticks), url)


def plain(ticks: list[Tick]) -> list[tuple[str, int, str, str]]:
    return [(tick.instrument, tick.ts_ns, str(tick.bid), str(tick.ask)) for tick in ticks]


def test_all_that_a_stream_holds_is_the_data_with_its_bars(redis_url: str) -> None:
    ticks = ticks_of(2_500)
    shared(redis_url, ticks)

    with source(redis_url, timeframes=FRAMES, window_ticks=300) as data:
        read: list[Tick] = []
        bars: list[Bar] = []
        for window in data.windows():
            read += window.ticks
            bars += [bar for built in window.bars.values() for bar in built]
        progress, fingerprint = data.progress(), data.info.fingerprint

    assert read == ticks
    assert bars == [bar for built in BarSet(FRAMES).fill(ticks).values() for bar in built]
    assert progress == 1
    with source(redis_url) as again:
        assert again.info.fingerprint == fingerprint


@pytest.mark.parametrize("after", [1, 299, 300, 1_234])
def test_it_goes_on_behind_any_position_with_the_same_bars(redis_url: str, after: int) -> None:
    shared(redis_url, ticks_of(1_500))
    with source(redis_url, timeframes=FRAMES, window_ticks=100) as data:
        whole = list(data.windows())
        rest = list(data.windows(after))
    bars = [
        bar
        for window in whole
        for at, built in window.bars.items()
        if window.ticks[min(at, len(window.ticks) - 1)].position > after
        for bar in built
    ]
    assert [tick for w in rest for tick in w.ticks] == [tick for w in whole for tick in w.ticks][after:]
    assert [bar for w in rest for built in w.bars.values() for bar in built] == bars


def test_what_is_missing_is_counted_and_positions_go_on(redis_url: str) -> None:
    ticks = ticks_of(50)
    shared(redis_url, ticks)
    with client(redis_url) as admin:
        admin.xdel(KEY, "11-0", "12-0", "31-0")
    with source(redis_url) as data:
        read = [tick for window in data.windows() for tick in window.ticks]
        quality = data.quality()
    assert [tick.position for tick in read] == list(range(1, 48))
    assert plain(read) == plain([tick for tick in ticks if tick.position not in (11, 12, 31)])
    assert quality == {"rows": 47, "ticks": 47, "gaps": 2}


def test_no_stream_and_one_that_has_become_another_are_said(redis_url: str) -> None:
    with pytest.raises(DataError, match="start the daemon that shares it"), source(redis_url):
        pass
    shared(redis_url, ticks_of(500))
    with source(redis_url, window_ticks=100) as data:
        windows = data.windows()
        next(windows)
        with client(redis_url) as admin:
            admin.flushall()
        with pytest.raises(DataError, match="is another one by now"):
            list(windows)


def test_a_source_that_was_closed_says_so(redis_url: str) -> None:
    shared(redis_url, ticks_of(50))
    with source(redis_url) as data:
        data.close()
        with pytest.raises(InputError, match="this source was closed, make another one"):
            list(data.windows())


CONFIG = """
[redis]
url = "{url}"
{password}
[feeds.f]
kind = "redis"
stream = "{stream}"
instruments = [{instruments}]
[accounts.a]
venue = "paper"
feed = "f"
[accounts.a.paper]
conversion_rates = {{ USD_JPY = 150 }}
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = [{instruments}]
"""


def config_of(redis_url: str, folder: Path, *instruments: str) -> Path:
    """A configuration whose only feed is the stream."""
    parts = urlsplit(redis_url)
    secret = folder / "password"
    secret.write_text(parts.password or "")
    secret.chmod(0o600)
    config = folder / "config.toml"
    config.write_text(
        CONFIG.format(
            instruments=", ".join(f'"{symbol}"' for symbol in instruments),
            url=f"redis://{parts.hostname}:{parts.port}{parts.path}",
            stream=STREAM,
            password='password = { file = "password" }' if parts.password else "",
        )
    )
    return config


def test_a_stream_with_other_instruments_than_the_table_says_is_refused(redis_url: str, tmp_path: Path) -> None:
    shared(redis_url, [tick for tick in ticks_of(500) if tick.instrument == "EUR_USD"])
    config = config_of(redis_url, tmp_path, "USD_JPY")
    for words in (("backtest", config), ("data", "info", config)):
        done = call(*words)
        assert done.returncode == 2, done.stderr
        assert "and the feed's table says USD_JPY: write what it has into instruments" in done.stderr


def test_what_a_stream_holds_is_examined_and_converted_as_a_backtest_reads_it(redis_url: str, tmp_path: Path) -> None:
    ticks = ticks_of(300)
    shared(redis_url, ticks)
    config = config_of(redis_url, tmp_path, *dict.fromkeys(tick.instrument for tick in ticks))
    with source(redis_url) as data:
        fingerprint = data.info.fingerprint

    found = json.loads(call("data", "info", config, "--json").stdout)
    assert (found["data"], found["kind"], found["ticks"]) == ("feed f", "redis", 300)
    assert found["fingerprint"] == fingerprint
    assert sum(one["ticks"] for one in found["instruments"]) == 300

    done = call("data", "convert", config, tmp_path / "stream.parquet")
    assert done.returncode == 0, done.stderr
    again = json.loads(call("data", "info", tmp_path / "stream.parquet", "--json").stdout)
    assert [(one["first_ns"], one["last_ns"], one["ticks"]) for one in sorted_(again)] == [
        (one["first_ns"], one["last_ns"], one["ticks"]) for one in sorted_(found)
    ]

    with client(redis_url) as admin:
        admin.xdel(KEY, "11-0", "12-0", "31-0")
    checked = call("data", "check", config, "--strict")
    assert checked.returncode == 2
    assert "in 2 places the stream is without ticks that its writer had" in checked.stdout


def test_examining_a_stream_that_nobody_has_begun_says_so(redis_url: str, tmp_path: Path) -> None:
    done = call("data", "info", config_of(redis_url, tmp_path, "EUR_USD"))
    assert done.returncode == 2, done.stderr
    assert "start the daemon that shares it" in done.stderr


def sorted_(found: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(found["instruments"], key=lambda one: str(one["instrument"]))
