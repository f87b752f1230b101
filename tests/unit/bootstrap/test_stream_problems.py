"""Feeds that are shared through Redis, or read from it: what is wrong in the file is said before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.plan import read_plan
from tradekeel.errors import ConfigError

ACCOUNTS = """
[accounts.one]
venue = "paper"
feed = "market"
[strategies.trend]
kind = "ema_cross"
account = "one"
instruments = ["EUR_USD"]
"""
SHARES = '[feeds.market]\nkind = "synthetic"\ninstruments = ["EUR_USD"]\nticks = 10\nshare = true\n'
FROM_DATABASE = '[feeds.market]\nkind = "sql"\ninstrument = "EUR_USD"\ntable = "t"\n'
PASSWORD = 'password = { env = "P" }\n'
READS = '[feeds.market]\nkind = "redis"\nstream = "other"\ninstruments = ["EUR_USD"]\n'
REDIS = '[redis]\nurl = "redis://127.0.0.1:6379/0"\n'
OWN = 'redis = { url = "redis://127.0.0.1:6380/0", username = "u", password = { env = "P" } }\n'
SECOND = (
    '[feeds.second]\nkind = "synthetic"\ninstruments = ["EUR_USD"]\nticks = 10\nshare = true\nshare_as = "market"\n'
    '[accounts.two]\nvenue = "paper"\nfeed = "second"\n'
)


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "demo.toml"
    path.write_text(text, encoding="utf-8")
    try:
        read_plan(path, {"P": "a-long-password"}, fetch_secrets=False)
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    "text",
    [
        FROM_DATABASE + 'url = "postgresql://u@host/db"\n' + PASSWORD,
        REDIS + SHARES,
        REDIS + READS,
        SHARES + OWN,
        READS + OWN,
        REDIS + READS + "share = true\n",
    ],
)
def test_what_is_right_has_no_problem(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text + ACCOUNTS) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHARES, "feeds.market.share: sharing a feed takes a Redis server; give redis.url, or feeds.market.redis.url"),
        (READS, "feeds.market.kind: such a feed takes a Redis server; give redis.url, or feeds.market.redis.url"),
        (REDIS + READS + 'start = "later"\n', 'feeds.market.start: found "later"'),
        (REDIS + READS.replace("EUR_USD", "EURUSD"), 'feeds.market.instruments: "EURUSD" is not known'),
        (
            REDIS + SHARES + 'share_as = "A B"\n',
            'feeds.market.share_as: found "A B" (a string), allowed: the name of a stream',
        ),
        (REDIS + READS + 'share = true\nshare_as = "other"\n', 'it would be shared as "other", from which it is read'),
        (SHARES + OWN + PASSWORD, 'feeds.market.password: only a feed of kind "sql" has a server'),
        (FROM_DATABASE + 'url = "sqlite:///none.db"\n', "feeds.market.url: there is no file"),
        (FROM_DATABASE + 'url = "postgresql://u:secret@host/db"\n', "feeds.market.url: a password stands in the url"),
        (REDIS + SHARES + SECOND, 'feeds.second.share_as: feeds.market is shared as "market" already'),
        (SHARES + 'redis = { url = "redis://u:p@host/0" }\n', "feeds.market.redis.url: a password stands in it"),
        (SHARES + 'redis = { url = "redis://host/0", username = "u" }\n', "username is given without password"),
        (REDIS + SHARES + "share_ticks_max = 5\n", "feeds.market.share_ticks_max: found 5"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, text + ACCOUNTS)
    assert any(said in problem for problem in found), found


def test_a_server_of_ones_own_keeps_two_names_apart(tmp_path: Path) -> None:
    second = SECOND.replace("share_as", OWN + "share_as")
    assert problems(tmp_path, REDIS + SHARES + second + ACCOUNTS) == []
