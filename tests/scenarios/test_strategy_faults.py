"""A strategy that misbehaves: it is given up where it must be, the others trade on, and its open trades keep their exits.

The good strategy beside it must trade as if it were alone. The bad one has opened a trade with a stop and a target before
its trouble begins, and left an entry at the venue: the trade is closed by one of the two, the entry is cancelled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.workplace import workplace
from tests.scenarios import support_configs as configs
from tests.scenarios import support_strategies as strategies
from tests.scenarios.support import Home, Life, caught_signals, fail_at, send_at
from tests.scenarios.support_strategies import MARK

BAD = f"{Path(strategies.__file__).resolve()}:Troubled"
MODES = ("venue", "monitor")
TICKS = 120
AT = 20

FIELDS = (
    "side",
    "status",
    "quantity",
    "entry_time_ns",
    "entry_price",
    "exit_time_ns",
    "exit_price",
    "exit_reason",
    "gross_pnl",
)

Deal = tuple[str, ...]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory, with the file that remembers what has happened once."""
    with workplace() as work:
        monkeypatch.setenv(MARK, str(work / "mark"))
        yield work


@pytest.fixture(scope="module")
def alone() -> Iterator[dict[str, list[Deal]]]:
    """What the good strategy does when it is alone, by who keeps the exits."""
    with workplace() as work:
        found = {}
        for mode in MODES:
            home = Home(work / mode, _config(mode, None))
            assert home.live().code == 0
            found[mode] = _deals(home, "good")
            assert len(found[mode]) > 3
        yield found


def _config(mode: str, what: str | None, at: int = AT, ticks: int = TICKS, speed: str = "max", pips: int = 4) -> str:
    hedging = "hedging = true" if mode == "venue" else ""
    toml = configs.head() + configs.market(ticks, speed=speed) + configs.account("a", exits=mode, more=hedging)
    toml += configs.strategy("good", "a")
    if what is not None:
        toml += configs.strategy("bad", "a", BAD, f'what = "{what}", at = {at}, pips = "{pips}"')
    return toml


def _deals(home: Home, strategy: str) -> list[Deal]:
    return [tuple(str(row[name]) for name in FIELDS) for row in home.ours("a").trades if row["strategy"] == strategy]


def _status(home: Home, strategy: str = "bad") -> tuple[str, str]:
    row = next(row for row in home.ours("a").strategies if row["strategy"] == strategy)
    return row["status"], row["status_reason"]


def _exit_reason(home: Home) -> str:
    """How the bad strategy's first trade ended."""
    return str(next(row for row in home.ours("a").trades if row["strategy"] == "bad")["exit_reason"])


def _unsound(home: Home) -> list[str]:
    """What is wrong with the books, that a strategy failed aside."""
    return [text for text in home.wrong("a") if "strategy bad is failed" not in text] + home.unverified()


def _resting(home: Home) -> list[str]:
    return [
        order["status"]
        for order in home.ours("a").orders
        if order["strategy"] == "bad" and order["purpose"] == "entry" and order["type"] == "limit"
    ]


# --- given up -------------------------------------------------------------------------------------------------------------

GIVEN_UP = {
    "throw_always": "it threw twice at tick 20: Trouble: at tick 20",
    "throw_in_start": "it threw twice at tick 0: Trouble: in on_start",
    "throw_in_fill": "Trouble: in on_fill",
    "throw_in_order": "Trouble: in on_order",
    "throw_in_timer": "it threw twice at tick 21: Trouble: in on_timer",
    "throw_in_bar": "Trouble: in on_bar",
    "throw_in_stop": f"it threw twice at tick {TICKS}: Trouble: in on_stop",
    "throw_here_and_there": "it threw 20 times, the last time at tick 39",
    "throw_halves": r"it threw twice at tick 20: Trouble: half of a character: \ud800",
    "throw_at_length": "it threw twice at tick 20: Trouble: xxx",
    "throw_unspeakable": "it threw twice at tick 20: UnspeakableTrouble",
    "exit": "it raised SystemExit",
    "interrupt": "it raised KeyboardInterrupt",
    "cancelled": "it raised CancelledError",
    "recurse": "RecursionError",
    "none": "TypeError",
    "garbage": "a value that cannot be written down",
    "ballast": "its state takes 100",
    "ballast_quietly": "its state takes 100",
    "odd_state": "Encoding objects of type object is unsupported",
    "mistyped_state": "Expected `int`, got `str` - at `$.fills`",
    "loose_state": "odd is Decimal('",
    "answer_for_ever": "it took 1000 decisions at tick 20",
}
"""What it does, and the reason that is written down."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", list(GIVEN_UP))
def test_a_strategy_that_cannot_go_on_is_given_up_and_the_others_trade_as_if_they_were_alone(
    what: str, mode: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    home = Home(place, _config(mode, what))
    life = home.live()
    assert life.code == 0, life.log
    status, reason = _status(home)
    assert status == "failed"
    assert GIVEN_UP[what] in reason
    assert "strategy bad has failed" in life.log, "a person is told"
    ended = life.log[life.log.rindex("trades closed") :]
    assert "strategy bad has failed, its trades keep their exits: " in ended, "the summary names it"
    assert "exit code 0 all the same" in ended
    assert _deals(home, "good") == alone[mode]
    assert _unsound(home) == []
    if what not in ("throw_in_start", "throw_in_order"):  # that was before its first entry was filled
        assert _exit_reason(home) in ("stop_loss", "take_profit")
    assert home.working("a", "entry") == []


NONSENSE = {
    "negative": "quantity = Decimal('-1')",
    "zero": "quantity = Decimal('0')",
    "nan": "quantity = Decimal('NaN')",
    "infinite": "quantity = Decimal('Infinity')",
    "float": "quantity = 1000.0",
    "none_quantity": "Expected `decimal`, got `None`",
    "text_side": "Invalid enum value 'sideways'",
    "unknown_instrument": "'XXX_YYY', which is not among its instruments: EUR_USD",
    "odd_metadata": "cannot be written down",
    "odd_tags": "cannot be written down",
    "huge": "quantity = Decimal('1.0",
    "huge_metadata": "metadata of 2000008 bytes, at most 16384 are allowed",
    "odd_reason": "the exit reason 'because'",
    "exit_negative": "quantity = Decimal('-5')",
    "timer_float": "Expected `int`, got `float`",
    "odd_event": "cannot be written down",
    "nameless_event": "emits an event without a type",
    "late_exit": "exit_at_ns = 18446744073709551615",
    "late_expiry": "expire_at_ns = 9223372036854775808",
}
"""Requests that no gate could decide about, and what is said of them."""


@pytest.mark.parametrize("what", list(NONSENSE))
def test_a_strategy_that_asks_for_nonsense_is_given_up_at_once_and_told_what_was_wrong(
    what: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    home = Home(place, _config("monitor", what))
    assert home.live().code == 0
    status, reason = _status(home)
    assert status == "failed"
    assert NONSENSE[what] in reason
    assert _deals(home, "good") == alone["monitor"]
    assert _unsound(home) == []


HARMLESS = (
    "nan_metadata",
    "tiny",
    "off_the_grid",
    "limit_without_price",
    "stop_beyond",
    "exit_unknown",
    "cancel_unknown",
    "move_unknown",
    "timer_in_the_past",
    "impure",
    "three_digits",
    "thousand",
)
"""What the gate, the venue or nobody minds: refused or done, and the strategy goes on."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", HARMLESS)
def test_what_can_be_refused_is_refused_and_the_strategy_goes_on(
    what: str, mode: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    home = Home(place, _config(mode, what))
    assert home.live().code == 0
    assert _status(home)[0] == "active"
    assert _deals(home, "good") == alone[mode]
    assert _unsound(home) == []


# --- once only ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_strategy_that_throws_once_goes_on_with_nothing_lost_and_nothing_doubled(
    mode: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    well = Home(place / "well", _config(mode, "nothing"))
    assert well.live().code == 0
    home = Home(place / "once", _config(mode, "throw_once"))
    life = home.live()
    assert life.code == 0
    assert life.log.count("a/strategist/bad failed (Trouble: only this once, at tick 20): it is restarted") == 1
    assert _status(home) == ("active", "")
    assert _deals(home, "bad") == _deals(well, "bad")
    assert _deals(home, "good") == alone[mode]
    assert home.wrong("a") == []


# --- for good -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_strategy_stays_failed_after_a_restart_and_its_trade_keeps_its_exits(
    mode: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    home = Home(place, _config(mode, "throw_always", at=8, speed="300"))
    with caught_signals() as inbox:
        stopped = home.live({"a/executor:FailStrategy": send_at(1, signal.SIGTERM)}, signals=inbox)
    assert stopped.code == 0
    assert home.execution("a")["status"] == "running"
    assert _status(home)[0] == "failed"
    assert _exit_reason(home) == "None", "its trade is open"
    assert _resting(home) == ["canceled"], "its entry is not"
    crashed = home.live({"recorder:Commit": fail_at(4)})
    assert crashed.code == 70
    assert home.live().code == 0
    assert _status(home)[0] == "failed"
    assert _exit_reason(home) in ("stop_loss", "take_profit")
    assert _deals(home, "good") == alone[mode]
    assert _unsound(home) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_was_being_written_down_is_found_again_after_a_crash(
    mode: str, place: Path, alone: dict[str, list[Deal]]
) -> None:
    home = Home(place, _config(mode, "throw_always"))
    lives = home.live_to_the_end({"a/executor:FailStrategy": fail_at(1)})
    assert [life.code for life in lives] == [0], "the account restarts by itself"
    assert _status(home)[0] == "failed"
    assert _deals(home, "good") == alone[mode]
    assert _unsound(home) == []


def test_a_strategy_that_fails_at_every_start_of_the_process_is_given_up_too(place: Path) -> None:
    home = Home(place, _config("monitor", "throw_in_restart", ticks=TICKS))
    with caught_signals() as inbox:
        home.live({"a/executor:Decide": send_at(3, signal.SIGTERM)}, signals=inbox)
    assert _status(home)[0] == "active"
    assert home.live().code == 0
    assert _status(home)[0] == "failed"
    assert _unsound(home) == []


# --- hanging --------------------------------------------------------------------------------------------------------------


def test_a_strategy_that_hangs_ends_the_process_and_the_next_one_goes_on(
    place: Path, alone: dict[str, list[Deal]]
) -> None:
    well = Home(place / "well", _config("monitor", "nothing"))
    assert well.live().code == 0
    home = Home(place / "hangs", _config("monitor", "hang_once").replace("stall_limit_s = 60", "stall_limit_s = 1"))
    with home.start({MARK: os.environ[MARK]}) as daemon:
        assert daemon.end() == 70
        assert "the event loop has not turned for" in daemon.log
        assert "_do_hang_once" in daemon.log, "it says where it hung"
    assert home.wrong("a", ended=False) == []
    life: Life = home.live()
    assert life.code == 0
    assert _deals(home, "bad") == _deals(well, "bad")
    assert _deals(home, "good") == alone["monitor"]
    assert home.wrong("a") == []
