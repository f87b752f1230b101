"""docs/feeds.md: its two examples of sharing, run as they stand but for the server's address."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT
from tests.integration.ticks.support import client
from tests.scenarios.support import Home
from tests.scenarios.support_configs import account, head, strategy
from tests.servers.valkey import ValkeyServer

TEXT = (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8")


def example(holding: str) -> str:
    """The one example that holds this line."""
    texts: list[str] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [text for text in texts if holding in text]
    return found


def test_the_examples_share_and_read(tmp_path: Path, own_redis: Callable[..., ValkeyServer]) -> None:
    server = own_redis()
    with client(server.url()) as admin:
        admin.config_set("requirepass", "")
    address = f"{server.host}:{server.port.number}"
    homes = []
    for name, feed, toml in (
        ("writer", "market", example("share = true")),
        ("reader", "shared", example('kind = "redis"')),
    ):
        own = toml.replace("127.0.0.1:6379", address).replace("[redis]\n", "[redis]\nregister = false\n")
        homes.append(Home(tmp_path / name, head() + own + account("a", feed=feed) + strategy("ema", "a")))
        life = homes[-1].live()
        assert life.code == 0, life.log
    writes, reads = homes
    assert writes.trades("a")
    assert writes.trades("a") == reads.trades("a")
