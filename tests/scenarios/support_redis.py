"""What outside readers find on a Redis server beside a daemon, and how it differs from the books."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import redis

from tests.scenarios.support import Home
from tests.servers.valkey import ValkeyServer

FIELDS = (
    "status",
    "version",
    "symbol",
    "side",
    "strategy",
    "updated_ns",
    "stop_loss",
    "quantity",
    "open_cost",
    "best_price",
)
"""Of a trade, those that are compared as they stand in the table."""


def with_redis(port: int, toml: str, *, deadline_s: float = 0.5, variable: str = "REDIS_PASSWORD") -> str:
    return f"""{toml}
[redis]
url = "redis://127.0.0.1:{port}/0"
password = {{ env = "{variable}" }}
deadline_s = {deadline_s}
beat_every_s = 0.2
"""


class Outside:
    """An outside reader, with a plain client."""

    def __init__(self, server: ValkeyServer) -> None:
        self.client: Any = redis.Redis.from_url(
            server.url(), decode_responses=True
        )  # its answers are typed for bytes, too

    def events(self, execution: str) -> list[tuple[str, dict[str, str]]]:
        return list(self.client.xrange(f"trading:events:{execution}"))

    def board(self, account: str) -> dict[str, str]:
        return dict(self.client.hgetall(f"trading:open_trades:{account}"))

    def services(self) -> dict[str, str]:
        """The status of each daemon by its id."""
        keys = self.client.keys("trading:services:main:one:*")
        return {key.rpartition(":")[2]: str(self.client.hget(key, "status")) for key in keys}


def wrong_events(home: Home, account: str, outside: Outside) -> list[str]:
    """How the stream of the account's newest execution differs from its journal."""
    journal = home.ours(account).journal
    execution = home.execution(account)["execution"]
    rows = [row for row in journal if row["execution"] == execution]
    events = outside.events(execution)
    found = []
    if [entry for entry, _ in events] != [f"{row['sequence']}-0" for row in rows]:
        found.append(f"{account}: {len(events)} events of {len(rows)} records")
    for (entry, said), row in zip(events, rows, strict=False):
        expected = {"type": row["type"], "ts_ns": str(row["ts_ns"]), "correlation_id": row["correlation_id"]}
        if {name: said[name] for name in expected} != expected:
            found.append(f"{account} {entry}: {said}, not {expected}")
        if json.loads(said["record"]) != _as_json(msgspec.msgpack.decode(row["payload"])):
            found.append(f"{account} {entry}: another record")
    return found[:5]


def _as_json(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _as_json(item) for name, item in value.items()}
        case list():
            return [_as_json(item) for item in value]
    return value


def wrong_board(home: Home, account: str, outside: Outside) -> list[str]:
    """How the account's board differs from the open trades of its books, which nobody changes any more."""
    execution = home.execution(account)
    shown = outside.board(account)
    if not shown:
        return [f"{account}: nothing is shown"]
    trades = {name: json.loads(text) for name, text in shown.items() if not name.startswith("#")}
    is_open = execution["status"] == "running"
    rows = {
        row["trade_id"]: row
        for row in home.rows("trades")
        if is_open and row["execution"] == execution["execution"] and row["status"] in ("PENDING", "OPEN", "CLOSING")
    }
    last = home.ours(account).journal[-1]["sequence"]
    found = [] if trades.keys() == rows.keys() else [f"{account}: {sorted(trades)} are shown, not {sorted(rows)}"]
    if (shown["#execution"], shown["#sequence"], shown["#trades"]) != (
        execution["execution"],
        str(last),
        str(len(rows)),
    ):
        found.append(f"{account}: as of {shown['#sequence']} of {shown['#execution']}, not {last}")
    for trade_id in trades.keys() & rows.keys():
        trade, row = trades[trade_id], rows[trade_id]
        found += [
            f"{trade_id}.{name}: {trade[name]!r}, not {row[name]!r}" for name in FIELDS if trade[name] != row[name]
        ]
    return found
