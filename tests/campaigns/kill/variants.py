"""What is run and killed: configurations that between them take every way through an order's life.

Orders are lost on the way (``drop_rate``) only where the order of arrival cannot matter, on a hedging account with a deep
market: which ones are lost hangs on their random ids, so elsewhere no two runs would be the same, killed or not.

Every variant is short (a second or two) and ends by itself. Checkpoints are cut all the time in some and never in
others, so that recovery starts from a cut a moment ago, from an old one, and from the first record.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve()
BUSY = HERE.parent.parent / "busy.py"
GAMBLING = HERE.parent.parent / "gambling.py"
REAL_DAY = Path("oanda/tick/eurusd/20140508_quote.zip")


@dataclass(frozen=True)
class Variant:
    """One configuration; ``toml`` has the state directory and the folder of recorded data still open."""

    name: str
    about: str
    toml: str
    accounts: tuple[str, ...]
    needs_data: bool = False
    steered: bool = False  # whether a person gives commands all the time
    same_story: bool = True  # whether it gets the same ticks again after a restart, and so must make the same trades

    @property
    def codes(self) -> tuple[int, ...]:
        """How a run may end by itself; with 5 where somebody may have halted it."""
        return (0, 5) if self.steered else (0,)

    def config(self, state_dir: Path, data_dir: Path | None, storage: str = "") -> str:
        """The configuration file's text; ``storage`` are lines that say where the books are."""
        values = {
            "{state_dir}": str(state_dir),
            "{busy}": f"{BUSY}:Busy",
            "{gambling}": f"{GAMBLING}:Gambling",
            "{data}": str(data_dir or ""),
        }
        text = self.toml.replace("[storage]\n", f"[storage]\n{storage}")
        for mark, value in values.items():
            text = text.replace(mark, value)
        return text


def _head(cut_every_s: float, snapshot_s: float = 0) -> str:
    return f"""
[daemon]
name = "campaign"
state_dir = "{{state_dir}}"
stall_limit_s = 120
[storage]
checkpoint_every_s = {cut_every_s}
snapshot_schedule = {snapshot_s}
sample_ticks_every = 50
"""


def _market(name: str, seed: int, ticks: int, more: str = "", instruments: str = '["EUR_USD"]') -> str:
    return f"""
[feeds.{name}]
kind = "synthetic"
instruments = {instruments}
seed = {seed}
start = "2024-01-03T13:00:00Z"
ticks = {ticks}
interval_ms = 500
volatility = "0.4"
spread_pips = "0.6"
{more}
"""


_TREND = Variant(
    "trend",
    "one strategy, more orders wanted than a minute may have, exits kept by the venue, a cut all the time",
    _head(0.05)
    + _market("m", 11, 3_000)
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
sync_schedule = 0
[accounts.a.risk]
orders_per_minute = 3
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 8
slow = 34
stop_loss_pips = 3
take_profit_pips = 5
trailing_pips = 2
""",
    ("a",),
)

_LAYERS = Variant(
    "layers",
    "layers against a thin market: partial fills, latency, commission, no cut until the end",
    _head(600)
    + _market("m", 12, 3_000, 'size = "700"')
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
sync_schedule = 0
[accounts.a.paper]
latency_ms = 400
latency_jitter_ms = 700
slippage = { model = "random", pips = "0.3" }
commission = { model = "per_million", taker = "30", minimum = "0.01" }
[strategies.floor]
kind = "floor"
account = "a"
instruments = ["EUR_USD"]
[strategies.floor.params]
retracement_pips = 2
take_profit_pips = 3
floor_stop_pips = 12
retry_delay_s = 5
""",
    ("a",),
)

_SHARED = Variant(
    "shared",
    "two strategies on one netted instrument, exits kept by the monitor, a venue that loses answers",
    _head(0.3, snapshot_s=0.2)
    + _market("m", 13, 2_000)
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
share_instruments = true
exits = "monitor"
sync_schedule = 0.2
[accounts.a.paper]
latency_ms = 600
slippage = { model = "random", pips = "0.2" }
commission = { model = "per_million", taker = "30" }
timeout_rate = "0.15"
[strategies.floor]
kind = "floor"
account = "a"
instruments = ["EUR_USD"]
[strategies.floor.params]
retracement_pips = 2
take_profit_pips = 3
floor_stop_pips = 15
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 10
slow = 50
stop_loss_pips = 3
take_profit_pips = 5
trailing_pips = 2
""",
    ("a",),
)

_HEDGED = Variant(
    "hedged",
    "everything there is on a hedging account, exits at the venue, thin market, lost answers",
    _head(0.1)
    + _market("m", 14, 1_500, 'size = "1500"')
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
hedging = true
sync_schedule = 0
[accounts.a.paper]
latency_ms = 300
slippage = { model = "spread", share = "0.5" }
commission = { model = "per_lot", taker = "3", maker = "1" }
timeout_rate = "0.1"
reject_rate = "0.05"
[strategies.busy]
kind = "{busy}"
account = "a"
instruments = ["EUR_USD"]
[strategies.busy.params]
seed = 3
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 10
slow = 50
stop_loss_pips = 3
take_profit_pips = 5
""",
    ("a",),
)

_NETTED = Variant(
    "netted",
    "everything there is on a netting account, exits kept by the monitor, two instruments, bars and loss limits",
    _head(600, snapshot_s=0.3)
    + _market("m", 15, 1_600, "", '["EUR_USD", "USD_JPY"]')
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
share_instruments = true
exits = "monitor"
sync_schedule = 0
[accounts.a.paper]
latency_ms = 200
latency_jitter_ms = 300
slippage = { model = "fixed", pips = "0.1" }
commission = { model = "percent", taker = "0.002" }
reject_rate = "0.05"
timeout_rate = "0.1"
[accounts.a.risk]
position_max = 60000
daily_loss_max = 5000
orders_per_minute = 100
[strategies.busy]
kind = "{busy}"
account = "a"
instruments = ["EUR_USD", "USD_JPY"]
[strategies.busy.params]
seed = 4
[strategies.bars]
kind = "ema_cross"
account = "a"
instruments = ["USD_JPY"]
[strategies.bars.params]
timeframe = "5s"
fast = 3
slow = 9
stop_loss_pips = 4
take_profit_pips = 6
""",
    ("a",),
)

_TWO = Variant(
    "two",
    "two accounts with feeds of their own, one of which ends long before the other",
    _head(0.15)
    + _market("m", 16, 1_200)
    + _market("n", 17, 2_400, "", '["EUR_USD", "USD_JPY"]')
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
sync_schedule = 0
[accounts.a.paper]
timeout_rate = "0.2"
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 8
slow = 34
stop_loss_pips = 3
take_profit_pips = 5
[accounts.b]
venue = "paper"
feed = "n"
leverage = 30
hedging = true
sync_schedule = 0
[accounts.b.paper]
latency_ms = 700
drop_rate = "0.1"
[strategies.floor]
kind = "floor"
account = "b"
instruments = ["EUR_USD"]
[strategies.floor.params]
retracement_pips = 2
take_profit_pips = 3
floor_stop_pips = 12
[strategies.yen]
kind = "ema_cross"
account = "b"
instruments = ["USD_JPY"]
[strategies.yen.params]
fast = 8
slow = 34
trailing_pips = 3
""",
    ("a", "b"),
)

_REAL = Variant(
    "real",
    "minutes of recorded EUR/USD ticks through layers and averages, exits at the venue",
    _head(0.2)
    + """
[feeds.m]
kind = "file"
path = "{data}/oanda/tick/eurusd/20140508_quote.zip"
instrument = "EUR_USD"
format = "quote"
start = "2014-05-08T12:29:00Z"
end = "2014-05-08T12:34:00Z"
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
hedging = true
sync_schedule = 0
[accounts.a.paper]
latency_ms = 100
slippage = { model = "random", pips = "0.2" }
commission = { model = "per_million", taker = "30" }
[strategies.floor]
kind = "floor"
account = "a"
instruments = ["EUR_USD"]
[strategies.floor.params]
retracement_pips = 2
take_profit_pips = 3
floor_stop_pips = 15
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 10
slow = 60
stop_loss_pips = 4
take_profit_pips = 6
trailing_pips = 3
""",
    ("a",),
    needs_data=True,
)

_ANSWERING = Variant(
    "answering",
    "two gamblers on a hedging account and one on a netting one, who answer whatever becomes of their orders",
    _head(1.0)
    + _market("m", 21, 250, 'size = "2500"')
    + "".join(
        f"""
[accounts.{name}]
venue = "paper"
feed = "m"
leverage = 30
hedging = {hedging}
sync_schedule = 0
[accounts.{name}.paper]
reject_rate = "0.05"
commission = {{ model = "per_million", taker = "30", minimum = "0.01" }}
"""
        for name, hedging in (("a", "true"), ("b", "false"))
    )
    + "".join(
        f"""
[strategies.gambler-{seed}]
kind = "{{gambling}}"
account = "{account}"
instruments = ["EUR_USD"]
params = {{ seed = {seed}, one_in = 4, answers = true }}
"""
        for account, seed in (("a", 31), ("a", 32), ("b", 33))
    ),
    ("a", "b"),
)

_TURNING = Variant(
    "turning",
    "one order that turns what is held, in a thin market: behind exits at the venue, beside others on a netted instrument",
    _head(0.3)
    + _market("m", 23, 1_500, 'size = "900"')
    + _market("n", 24, 300, 'size = "2500"')
    + """
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
sync_schedule = 0
[accounts.a.paper]
latency_ms = 300
slippage = { model = "random", pips = "0.2" }
commission = { model = "per_million", taker = "30", minimum = "0.01" }
timeout_rate = "0.1"
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
[strategies.ema.params]
fast = 5
slow = 20
one_order = true
stop_loss_pips = 3
take_profit_pips = 5
trailing_pips = 2
[accounts.b]
venue = "paper"
feed = "n"
leverage = 30
share_instruments = true
exits = "monitor"
sync_schedule = 0
[accounts.b.paper]
reject_rate = "0.05"
commission = { model = "per_million", taker = "30", minimum = "0.01" }
"""
    + "".join(
        f"""
[strategies.gambler-{seed}]
kind = "{{gambling}}"
account = "b"
instruments = ["EUR_USD"]
params = {{ seed = {seed}, one_in = 3, answers = true, turns = true }}
"""
        for seed in (41, 42)
    ),
    ("a", "b"),
)

_LIVE = Variant(
    "live",
    "everything there is on a feed that does not wait: what a kill misses is gone, the books are whole all the same",
    _head(0.2, snapshot_s=0.3)
    + """
[feeds.m]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 18
live = true
ticks = 300
interval_ms = 10
volatility = "3"
spread_pips = "0.6"
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
hedging = true
sync_schedule = 0.3
[accounts.a.paper]
latency_ms = 30
timeout_rate = "0.1"
drop_rate = "0.1"
[strategies.busy]
kind = "{busy}"
account = "a"
instruments = ["EUR_USD"]
[strategies.busy.params]
seed = 5
every = 5
""",
    ("a",),
    same_story=False,
)

_STEERED = Variant(
    "steered",
    "three accounts that a person pauses, flattens, kills, releases and reloads all the time, with limits that trip",
    _head(0.2, snapshot_s=0.3)
    + _market("m", 19, 800, 'speed = "250"')
    + """
[feeds.n]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 20
live = true
ticks = 160
interval_ms = 10
volatility = "3"
spread_pips = "0.6"
"""
    + "".join(
        f"""
[accounts.{name}]
venue = "paper"
feed = "{feed}"
leverage = 30
hedging = {hedging}
sync_schedule = 0.3
[accounts.{name}.paper]
latency_ms = 30
timeout_rate = "0.1"
[accounts.{name}.risk]
daily_loss_max = 40
orders_per_minute = 100
[strategies.busy-{name}]
kind = "{{busy}}"
account = "{name}"
instruments = ["EUR_USD"]
[strategies.busy-{name}.params]
seed = {seed}
every = 5
"""
        for name, feed, hedging, seed in (("a", "m", "true", 6), ("b", "m", "false", 7), ("c", "n", "true", 8))
    ),
    ("a", "b", "c"),
    steered=True,
    same_story=False,
)

VARIANTS = {
    v.name: v for v in (_TREND, _LAYERS, _SHARED, _HEDGED, _NETTED, _TWO, _REAL, _ANSWERING, _TURNING, _LIVE, _STEERED)
}
