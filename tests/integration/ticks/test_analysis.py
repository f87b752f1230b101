"""What a stream holds is analysed as a file is: each run asks the server by itself."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from tests.integration.cli_daemon import call
from tests.integration.ticks.support import STREAM, write
from tests.unit.feeds.markets import Market, ticks_of
from tradekeel.errors import ExitCode


def test_a_stream_is_analysed(redis_url: str, tmp_path: Path) -> None:
    anyio.run(write, Market(ticks_of(1_500)), redis_url)
    config, password, url = tmp_path / "stream.toml", tmp_path / "password", urlsplit(redis_url)
    password.write_text(url.password or "")
    password.chmod(0o600)
    config.write_text(f"""
[daemon]
name = "stream"
state_dir = "state"

[redis]
url = "redis://{url.hostname}:{url.port}{url.path}"
password = {{ file = "{password}" }}

[feeds.shared]
kind = "redis"
stream = "{STREAM}"
instruments = ["EUR_USD", "USD_JPY"]
start = "oldest"

[accounts.paper]
venue = "paper"
feed = "shared"

[strategies.trend]
kind = "ema_cross"
account = "paper"
instruments = ["EUR_USD"]
params = {{ fast = 5, slow = 20, warm_up = 100 }}
""")
    done = call("analyze", config, "--cuts", "1", "--json")
    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    (analysis,) = json.loads(done.stdout)
    assert (analysis["ticks"], analysis["clean"]) == (1_500, True)
    assert analysis["decisions"]["trend"] > 10
    assert len(analysis["look_ahead"]) == 2
