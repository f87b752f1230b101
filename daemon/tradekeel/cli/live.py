"""What a person sees of a running daemon: the log as it comes, and below it how things stand, four times a second.

Drawing happens in a thread of its own, because a terminal can be stopped (Ctrl-S) and a daemon with open positions must not
stop with it. Log lines wait here until they are drawn, within bounds; what is too much is counted and said.
"""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tradekeel.cli.render import Column, Row, amount, cash, in_currency, make_table, money, print_table, text, trimmed
from tradekeel.cli.status import ACTOR_COLUMNS, LATCH_STYLES, rate, redis_lines, store_lines

if TYPE_CHECKING:
    from tradekeel.bootstrap.summary import Summary

LINES_WAITING_MAX = 1_000
BAR_WIDTH = 30
EQUITY_DIGITS_MIN = 4
ALERTS_SHOWN_MAX = 3
AROUND_ACTORS = 3
"""Lines: the head of their table, and one below the picture for the cursor."""

STARTING = "starting"


class WaitingLines(io.TextIOBase):
    """The log's stream while the view is shown. It never blocks."""

    brief = True
    """Time, level and text are shown; the fields behind them, ids for the most part, are in the log file and in JSON."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._lost = 0
        self._direct = False

    def isatty(self) -> bool:
        """It ends on a terminal."""
        return True

    def write(self, line: str) -> int:
        """Keep a line until somebody draws it."""
        if self._direct:
            return sys.stderr.write(line)
        if len(self._lines) < LINES_WAITING_MAX:
            self._lines.append(line)
        else:
            self._lost += 1
        return len(line)

    def take(self) -> Iterator[str]:
        """What waits, oldest first."""
        while self._lines:
            yield self._lines.popleft().rstrip("\n")
        if self._lost:
            lost, self._lost = self._lost, 0
            yield f"({lost} lines of the log were not shown: the terminal was slower than they came)"

    def go_direct(self) -> None:
        """Nobody draws any more: lines go to the terminal at once."""
        self._direct = True


class LiveView:
    """See the module."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(highlight=False)
        self._waiting = WaitingLines()
        self._live: Live | None = None
        self._turn = threading.Lock()  # the thread that draws may be at it still when another one ends the view

    @property
    def log(self) -> Any:
        """Where the log goes meanwhile."""
        return self._waiting

    def open(self, name: str) -> None:
        """Begin to draw."""
        with self._turn:
            self._live = Live(
                Text(f"{name}: starting", style="dim"),
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            self._console.show_cursor(True)  # a process that ends at once, as it may, must leave a usable terminal

    def show(self, status: Mapping[str, Any]) -> None:
        """Draw the log that has come, and how things stand."""
        with self._turn:
            self._write_log()
            if self._live is not None:
                self._live.update(picture(status, self._console.width, self._console.height), refresh=True)

    def close(self) -> None:
        """The last picture stays above what follows."""
        with self._turn:
            self._write_log()
            self._end()
            self._waiting.go_direct()

    def finish(self, summary: Summary) -> None:
        """What the run came to."""
        with self._turn:
            self._write_log()
            self._console.print()
            rows = [account_row(account, summary) for account in summary.accounts]
            print_table(rows, SUMMARY_COLUMNS, "No account was started.", self._console)
            for line in summary_lines(summary):
                self._console.print(line)

    def give_up(self) -> None:
        """The picture is not drawn any more: the log goes on as it would without it."""
        with self._turn:
            with suppress(Exception):  # what could not be drawn may be past clearing up, too
                self._end()
            self._waiting.go_direct()
            with suppress(OSError):  # there is no terminal any more
                for line in self._waiting.take():
                    self._waiting.write(line + "\n")

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _write_log(self) -> None:
        for line in self._waiting.take():
            self._console.print(Text.from_ansi(line))  # lines break between words: a number stays whole


# --- the picture ----------------------------------------------------------------------------------------------------------


def picture(status: Mapping[str, Any], width: int, height: int | None = None) -> RenderableType:
    """How things stand, what is wrong before the actors, of which only as many are shown as a terminal has lines for.

    Of a start that has no accounts yet only what it is at.
    """
    if "accounts" not in status:
        return Group(Text(), _headline(status), Text(status["doing"], style="yellow"))
    unanswered = "stopping" if status["stopping"] else None if status["ready"] else STARTING
    accounts = [account_live_row(name, account, unanswered) for name, account in status["accounts"].items()]
    parts: list[RenderableType] = [Text(), _headline(status)]
    parts.extend(feed_bar(name, feed) for name, feed in status["feeds"].items())
    parts.append(make_table(accounts, LIVE_COLUMNS, width))
    parts.extend(store_lines(status["store"]))
    parts.extend(redis_lines(status["redis"]))
    parts.extend(Text(f"alert: {alert}", style="red") for alert in status["alerts"][-ALERTS_SHOWN_MAX:])
    actors = [{"actor": name} | dict(figures) for name, figures in status["actors"].items()]
    shown = len(actors) if height is None else height - _height(parts, width) - AROUND_ACTORS
    if len(actors) > shown:
        left_out = f"{len(actors) - max(0, shown - 1)} actors more: tradekeel status"
        actors = actors[: max(0, shown - 1)]
    else:
        left_out = ""
    if actors:
        parts.append(make_table(actors, ACTOR_COLUMNS, width))
    if left_out:
        parts.append(Text(left_out, style="dim"))
    return Group(*parts)


def _height(parts: Sequence[RenderableType], width: int) -> int:
    """How many lines they take."""
    console = Console(width=width, file=io.StringIO())
    return len(console.render_lines(Group(*parts)))


def _headline(status: Mapping[str, Any]) -> Text:
    line = Text(status["name"], style="bold")
    what = "stopping" if status.get("stopping") else "running" if status["ready"] else "starting"
    line.append(f" {what}", style="green" if what == "running" else "yellow")
    line.append("  Ctrl-C stops in order", style="dim")
    return line


def feed_bar(account: str, feed: Row) -> RenderableType:
    """How far a feed is: a bar where its length is known."""
    from tradekeel.bootstrap.summary import bad_rows

    line = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(f"feed of {account}")]
    if feed["share"] is not None:
        cells.append(ProgressBar(total=1.0, completed=feed["share"], width=BAR_WIDTH))
        cells.append(Text(f"{feed['share']:.0%}"))
    cells.append(Text(f"tick {feed['position']:,}"))
    if feed.get("ticks_per_s") is not None:
        cells.append(Text(f"{rate(feed)}/s"))
    if feed.get("silent_s"):
        cells.append(Text(f"no tick for {feed['silent_s']:,} s", style="bold yellow"))
    if feed.get("waits"):
        cells.append(Text("it waits", style="bold yellow"))
    bad = sum(bad_rows(feed["quality"]).values())
    if bad:
        cells.append(Text(f"{bad:,} bad rows", style="yellow"))
    line.add_row(*cells)
    return line


def account_live_row(name: str, account: Row, unanswered: str | None = None) -> Row:
    """An account as it says it is; of one that does not answer only that, or ``unanswered`` while the daemon starts or stops."""
    latch = account.get("latch", "open")
    answered = "balance" in account
    state = str(account["state"]) if answered or unanswered is None else unanswered
    known = answered and state != STARTING  # what it holds is not, before its books are read
    state += "".join(
        f", {more}"
        for more, holds in ((latch, latch != "open"), ("paused", account.get("paused")))
        if holds and state != more
    )
    held = ", ".join(
        f"{symbol} {trimmed(units)}" for symbol, units in account.get("positions", {}).items() if units != "0"
    )
    return {
        "account": name,
        "state": Text(state, style=LATCH_STYLES.get(latch, "") if latch != "open" else ""),
        "balance": account.get("balance") if known else None,
        "equity": account.get("equity") if known else None,
        "trades": account.get("trades"),
        "orders": account.get("orders"),
        "unknown": len(account.get("unknown", ())) or None,
        "held": held or ("flat" if known else ""),
        "strategies": _strategies(account.get("strategies", {})),
    }


def _strategies(states: Mapping[str, str]) -> str:
    return ", ".join(name if state == "active" else f"{name} {state}" for name, state in states.items())


def _equity(row: Row) -> str:
    """In the digits that the balance is booked in; four at least, as those of a dollar."""
    if row["equity"] is None:
        return ""
    digits = max(EQUITY_DIGITS_MIN, len(str(row["balance"]).partition(".")[2]))
    return trimmed(f"{Decimal(row['equity']):.{digits}f}")


LIVE_COLUMNS = (
    Column("account", text("account")),
    Column("state", lambda row: row["state"], folds=True),
    Column("balance", amount("balance"), right=True),
    Column("equity", _equity, 3, right=True),
    Column("trades", text("trades"), 5, right=True),
    Column("orders", text("orders"), 6, right=True),
    Column("unknown", text("unknown"), 7, right=True),
    Column("holds", text("held"), 1, folds=True),
    Column("strategies", text("strategies"), 2, folds=True),
)


# --- the summary ----------------------------------------------------------------------------------------------------------


def account_row(account: Any, summary: Summary) -> Row:
    """One account's result as a row."""
    return {
        "account": f"{account.account} #{account.number}",
        "closed": account.trades_closed,
        "won": "" if account.win_rate is None else f"{account.win_rate:.1%}",
        "open": account.trades_open,
        "opening": f"{account.opening_balance:f}",
        "pnl": f"{account.pnl:f}",
        "fees": f"{account.fees:f}",
        "balance": f"{account.balance:f}",
        "currency": account.currency,
    }


SUMMARY_COLUMNS = (
    Column("account", text("account")),
    Column("closed", text("closed"), right=True),
    Column("won", text("won"), right=True),
    Column("open", text("open"), 1, right=True),
    Column("began with", cash("opening"), 4, right=True),
    Column("pnl", money("pnl"), right=True),
    Column("fees", cash("fees"), 2, right=True),
    Column("balance", cash("balance"), right=True),
    Column("", text("currency"), 3),
)


def _signed(value: Decimal, currency: str) -> str:
    shown = in_currency(f"{value:f}", currency) or ""
    return shown if shown.startswith("-") else f"+{shown}"


def summary_lines(summary: Summary) -> Sequence[Text]:
    """What does not fit a table: netting, feeds, bad rows, halts, duration."""
    from tradekeel.bootstrap.summary import bad_row_words, failures, refusals

    lines: list[Text] = []
    for account in summary.accounts:
        lines.extend(Text(f"{account.account}: {sentence}", style="bold red") for sentence in failures(account))
        refused = refusals(account.denied, account.rejections)
        if refused:
            lines.append(Text(f"{account.account}: {refused}", style="yellow"))
        if account.attribution:
            shown = _signed(account.attribution, account.currency)
            lines.append(
                Text(f"{account.account}: netting booked {shown} {account.currency} differently from the trades")
            )
        if account.other:
            shown = _signed(account.other, account.currency)
            lines.append(Text(f"{account.account}: deposits and charges of no trade {shown} {account.currency}"))
        if account.latch != "open":
            style = LATCH_STYLES.get(account.latch, "")
            lines.append(Text(f"{account.account} is {account.latch}: {account.latch_reason}", style=style))
    for feed in summary.feeds:
        rate = "" if feed.ticks_per_s is None else f", {feed.ticks_per_s:,.0f} ticks/s"
        lines.append(Text(f"feed of {feed.account}: {feed.position:,} ticks{rate}"))
        bad = bad_row_words(feed.quality)
        lines.append(Text(f"  bad rows: {bad or 'none'}", style="yellow" if bad else ""))
    lines.append(Text(f"{summary.duration_s:.1f} s", style="dim"))
    return lines
