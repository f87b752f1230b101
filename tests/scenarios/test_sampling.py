"""One tick in so many is journaled, each once, through whatever happens to the daemon on its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, fail_at

EVERY, TICKS = 40, 300
SAMPLED = [21, 42, 103, 124, 185, 206, 267, 288]  # one in each forty, each at another place of its forty


def _sampled(home: Home, account: str = "a") -> list[int]:
    return [record["position"] for record in home.records(account, "tick_sampled")]


def test_one_tick_in_so_many_is_journaled_as_the_feed_gave_it(place: Path) -> None:
    home = Home(place, configs.pair(TICKS))
    assert home.live().code == 0
    assert _sampled(home, "a") == _sampled(home, "b") == SAMPLED
    first = home.records("a", "tick_sampled")[0]
    assert first["instrument"] == "EUR_USD"
    assert 0 < float(first["bid"]) < float(first["ask"])
    stamps = [record["stamp"] for record in home.records("a", "tick_sampled")]
    assert stamps == sorted(stamps)
    assert all(stamp // 2 >= position for stamp, position in zip(stamps, _sampled(home), strict=True))
    assert home.wrong("a", "b") == []
    assert home.unverified() == []


@pytest.mark.parametrize("cut_every_s", [0.02, 3_600])
@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("feed.after_cut", 1),  # they are in the journal, and the cut says so
        ("feed.before_cut", 1),  # they are in the journal, and the feed comes to them again
        ("feed.before_cut", 2),
        ("a/feed:JournalReached", 5),
        ("a/strategist/ema:Confirm", 3),
        ("executor.close.before", 1),
    ],
)
def test_after_a_failure_none_is_missing_and_none_is_there_twice(
    point: str, count: int, cut_every_s: float, place: Path
) -> None:
    home = Home(place, configs.pair(TICKS, cut_every_s=cut_every_s))
    home.live_to_the_end({point: fail_at(count)})
    assert _sampled(home, "a") == _sampled(home, "b") == SAMPLED
    assert home.wrong("a", "b") == []
    assert home.unverified() == []


def test_without_a_word_about_it_one_in_a_thousand_and_with_zero_none(place: Path) -> None:
    seldom = configs.strategy("ema", "a", params="fast = 300, slow = 1500")  # what it trades is no matter
    toml = configs.head() + configs.market(2_100) + configs.account("a") + seldom
    line = f"sample_ticks_every = {EVERY}\n"
    assert line in toml
    for name, change, expected in (("default", "", [381, 1_762]), ("none", "sample_ticks_every = 0\n", [])):
        home = Home(place / name, toml.replace(line, change))
        assert home.live().code == 0
        assert _sampled(home) == expected
