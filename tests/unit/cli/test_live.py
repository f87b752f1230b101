"""The live view draws what the daemon says of itself, and never holds it up."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from loguru import logger
from rich.console import Console

from tradekeel import logs
from tradekeel.bootstrap.summary import AccountSummary, FeedSummary, Summary
from tradekeel.cli.live import LINES_WAITING_MAX, LiveView, WaitingLines, picture
from tradekeel.cli.status import headline, standing, strategy_line
from tradekeel.config import LoggingConfig

FEED = {
    "position": 1_234,
    "total": 5_000,
    "share": 0.2468,
    "ts_ns": 0,
    "ticks_per_s": 987.6,
    "quality": {"ticks": 1_234, "crossed_dropped": 3},
    "ended": False,
}
ACCOUNT = {
    "account": "paper",
    "state": "reduce_only",
    "paused": True,
    "latch": "reduce_only",
    "balance": "10000.1200",
    "equity": "10010",
    "trades": 2,
    "orders": 3,
    "unknown": ("tk1",),
    "positions": {"EUR_USD": "-1000", "USD_JPY": "0"},
    "strategies": {"trend": "active", "floor": "failed"},
}
ACTOR = {
    "state": "running",
    "mail": 0,
    "mail_max": 3,
    "handled": 1_000,
    "replaced": 0,
    "restarts": 1,
    "latency_p50_us": 64,
    "latency_p99_us": 2_048,
}
STATUS: dict[str, Any] = {
    "name": "demo",
    "ready": True,
    "stopping": False,
    "accounts": {"paper": ACCOUNT, "gone": {"state": "no answer: it is not running"}},
    "feeds": {"paper": FEED},
    "actors": {"recorder": ACTOR},
    "alerts": ["the day's loss"],
    "store": None,
    "redis": None,
}
SUMMARY = Summary(
    accounts=(
        AccountSummary(
            account="paper",
            execution="x",
            number=1,
            status="closed",
            currency="USD",
            orders=9,
            denied={"price_collar": 1_234, "paused": 2},
            rejected=1,
            rejections={"NO_PRICE": 1},
            trades_open=1,
            trades_closed=4,
            trades_won=3,
            win_rate=Decimal("0.75"),
            pnl=Decimal("12.3400"),
            fees=Decimal("0.5"),
            financing=Decimal(0),
            balance=Decimal("10012.34"),
            attribution=Decimal("-0.16"),
            paused=False,
            latch="reduce_only",
            latch_reason="the day's loss",
            latched_by="risk",
            failed={"floor": "it threw twice at tick 20: Trouble"},
        ),
    ),
    feeds=(FeedSummary(account="paper", position=5_000, ticks=5_000, ticks_per_s=900.0, quality=FEED["quality"]),),  # type: ignore[arg-type]  # of a dictionary of everything
    duration_s=5.6,
)


def terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=100, height=50, force_terminal=True, color_system=None), out


def test_the_picture_has_accounts_actors_feeds_and_alerts_and_fits() -> None:
    console, out = terminal()
    console.print(picture(STATUS, 100))
    shown = out.getvalue()
    for word in (
        "demo running",
        "reduce_only, paused",
        "10000.12",
        "EUR_USD -1000",
        "floor failed",
        "1,234",
        "988/s",
        "25%",
    ):
        assert word in shown, word
    assert "3 bad rows" in shown
    assert "recorder" in shown
    assert "alert: the day's loss" in shown
    assert "no answer" in shown
    assert "USD_JPY" not in shown  # flat
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("height", [14, 24, 50])
def test_on_a_small_terminal_what_is_wrong_is_shown_and_the_actors_as_far_as_there_is_room(height: int) -> None:
    actors = {f"actor-{number}": next(iter(STATUS["actors"].values())) for number in range(30)}
    out = io.StringIO()
    console = Console(file=out, width=80, height=height, force_terminal=True, color_system=None)
    console.print(picture(STATUS | {"actors": actors}, 80, height))
    lines = out.getvalue().splitlines()
    assert height == 50 or height - 3 < len(lines) < height
    assert any("alert: the day's loss" in line for line in lines)
    there = sum("actor-" in line for line in lines)
    assert there == 30 if height == 50 else f"{30 - there} actors more: tradekeel status" in lines[-1]


def test_an_account_that_has_not_answered_yet_is_starting_and_not_said_to_be_flat() -> None:
    console, out = terminal()
    accounts = {
        "new": {"state": "no answer: paper/executor: not running"},
        "other": ACCOUNT | {"state": "starting", "positions": {}},
    }
    console.print(picture(STATUS | {"ready": False, "accounts": accounts}, 100))
    shown = out.getvalue()
    assert "no answer" not in shown
    assert "flat" not in shown
    assert shown.count("starting") == 3


def test_the_log_of_the_view_has_text_without_fields_and_no_number_is_broken() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, width=40, force_terminal=True, color_system=None))
    view.open("demo")
    undo = logs.setup(LoggingConfig(), view.log)
    try:
        logger.bind(trade_id="tr1234567890").info("trend closed LONG 1000 EUR_USD at 1.10155")
        view.show(STATUS)
    finally:
        undo()
        view.close()
    assert "tr1234567890" not in out.getvalue()
    assert "1.10155" in out.getvalue()
    assert "EUR_USD" in out.getvalue()


def test_log_lines_wait_until_they_are_drawn_above_the_picture() -> None:
    console, out = terminal()
    view = LiveView(console)
    view.open("demo")
    view.log.write("first line\n")
    assert "first line" not in out.getvalue()
    view.show(STATUS)
    shown = out.getvalue()
    assert shown.index("first line") < shown.rindex("demo running")
    view.close()
    view.finish(SUMMARY)
    ended = out.getvalue()[len(shown) :]
    for word in (
        "75.0%",
        "12.34",
        "10012.34",
        "strategy floor has failed, its trades keep their exits: it threw twice at tick 20: Trouble",
        "1,236 orders denied (price_collar 1,234, paused 2), 1 rejected by the venue (NO_PRICE 1)",
        "netting booked -0.16 USD",
        "reduce_only: the day's loss",
        "900 ticks/s",
    ):
        assert word in ended, word
    assert "3 crossed dropped" in ended
    assert "5.6 s" in ended


def test_lines_that_nobody_draws_are_bounded_and_counted() -> None:
    lines = WaitingLines()
    for number in range(LINES_WAITING_MAX + 7):
        lines.write(f"{number}\n")
    taken = list(lines.take())
    assert taken[:2] == ["0", "1"]
    assert len(taken) == LINES_WAITING_MAX + 1
    assert "7 lines" in taken[-1]
    assert list(lines.take()) == []


def test_when_the_view_is_closed_lines_go_to_the_terminal_at_once(capsys: Any) -> None:
    lines = WaitingLines()
    lines.go_direct()
    lines.write("last words\n")
    assert capsys.readouterr().err == "last words\n"


class Torn(io.StringIO):
    """A terminal that goes away."""

    is_there = True

    def write(self, text: str) -> int:
        if not self.is_there:
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_a_view_that_is_given_up_leaves_the_log_where_it_would_be_without_it(capsys: Any) -> None:
    out = Torn()
    view = LiveView(Console(file=out, width=100, height=50, force_terminal=True, color_system=None))
    view.open("demo")
    out.is_there = False
    view.log.write("before\n")
    with pytest.raises(OSError, match="Input/output"):
        view.show(STATUS)
    view.log.write("in between\n")
    view.give_up()
    view.log.write("after\n")
    assert capsys.readouterr().err.splitlines() == ["in between", "after"]
    view.show(STATUS)  # by a thread that was late: there is nothing left to draw


def said(**changes: Any) -> str:
    status = {
        "name": "demo",
        "running": True,
        "pid": 42,
        "stale": False,
        "status_age_s": 0.5,
        "stopping": False,
        "ready": True,
        "healthy": True,
        "config": None,
        "state_dir": "/state",
        "latch_files": [],
        "releases_waiting": [],
    }
    return str(headline(status | changes))


def test_the_headline_of_a_status_says_the_worst_first() -> None:
    assert "process 42 runs ·" in said()
    assert "not running" in said(running=False)
    assert "last spoke 9 s ago" in said(stale=True, status_age_s=9.0)
    assert "last spoke never" in said(stale=True, status_age_s=None)
    assert "is stopping" in said(stopping=True)
    assert "is starting" in said(ready=False)
    assert "makes no progress" in said(healthy=False)
    assert "latch files: all" in said(latch_files=["all"])
    assert "released at the next start: paper" in said(releases_waiting=["paper"])


def test_a_strategys_status_is_shown_with_its_reason_and_only_trouble_is_red() -> None:
    def line(status: str, reason: str = "") -> tuple[str, str]:
        row = {"strategy": "trend", "kind": "ema_cross", "status": status, "status_reason": reason, "decisions": 3}
        shown = strategy_line(row)
        return shown.plain, str(shown.spans[-2].style)

    assert line("active") == ("  strategy trend (ema_cross): active, 3 decisions", "green")
    assert line("paused", "lunch") == ("  strategy trend (ema_cross): paused, lunch, 3 decisions", "bold yellow")
    assert line("draft")[1] == "dim"
    assert {line(status)[1] for status in ("stopped", "failed")} == {"bold red"}


@pytest.mark.parametrize(
    ("state", "paused", "latch", "words"),
    [
        ("trading", False, "open", " trading"),
        ("paused", True, "open", " paused"),
        ("halted", False, "halted", " halted: panic (tradekeel release)"),
        ("halted", True, "halted", " halted: panic (tradekeel release) · paused"),
        ("reduce_only", False, "reduce_only", " reduce_only: panic (tradekeel release)"),
        ("at rest", False, "halted", " at rest · halted: panic (tradekeel release)"),
        ("not trading: the venue is down", True, "open", " not trading: the venue is down · paused"),
    ],
)
def test_how_an_account_stands_is_said_once_and_never_contradicts_itself(
    state: str, paused: bool, latch: str, words: str
) -> None:
    account = {"state": state, "paused": paused, "latch": latch, "latch_reason": "panic"}
    assert str(standing(account)) == words
