"""`tradekeel status`: how a daemon stands, whether it runs or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tradekeel.bootstrap.counting import counted
from tradekeel.cli.common import Json, State, Target, place, write_json
from tradekeel.cli.render import Column, Row, cash, console, moment, money, price, print_table, text, trimmed
from tradekeel.errors import ExitCode

LATCH_STYLES = {"halted": "bold red", "reduce_only": "bold yellow", "paused": "bold yellow", "open": "green"}
STRATEGY_STYLES = {"active": "green", "paused": "bold yellow", "draft": "dim"}


def status(target: Target = None, /, *, state: State = None, json: Json = False) -> int:
    """How a daemon stands: accounts, positions, strategies, feeds, actors, alerts. Works when it is down, too."""
    from tradekeel.bootstrap.standing import read_status

    said = read_status(place(target, state))
    if json:
        write_json(said)
        return _code(said)
    said = with_each_complaint_once(said)
    out = console()
    out.print(headline(said))
    if said["doing"]:
        out.print(Text(said["doing"], style="yellow"))
    if said["problem"]:
        out.print(Text(said["problem"], style="red"))
    if said["emptied_at_start"]:
        out.print(
            Text("the books are in memory: they are not kept, and the next start empties them", style="bold yellow")
        )
    if said["waiting"]["said"] and said["store"] is None:  # which a daemon that trades says better
        out.print(Text(said["waiting"]["said"], style="yellow"))
    for words in store_lines(said["store"]):
        out.print(words)
    for words in redis_lines(said["redis"]):
        out.print(words)
    for account in said["accounts"]:
        print_account(out, account)
    for account in said["reported"]:
        out.print(reported_lines(account))
    print_feeds(out, said["feeds"])
    print_actors(out, said["actors"], said["dead_letters"])
    for alert in said["alerts"]:
        out.print(Text(f"alert: {alert}", style="red"))
    return _code(said)


_COMPLAINT = re.compile(r"\((?P<doing>[^():]*): (?P<said>[^\n]*?)\)\. Is the server running, and the address right\?")
"""How a server that cannot be reached is told of: what was tried, and what the driver said."""


def with_each_complaint_once(said: dict[str, Any]) -> dict[str, Any]:
    """What the driver said of a server that is away stands in several places; where it has stood before, that is enough."""
    told = set[str]()

    def shorter(found: re.Match[str]) -> str:
        if found["said"] not in told:
            told.add(found["said"])
            return found[0]
        return f"({found['doing']}: see above)"

    def once(value: Any) -> Any:
        match value:
            case str():
                return _COMPLAINT.sub(shorter, value)
            case list() | tuple():
                return [once(each) for each in value]
            case dict():
                return {key: once(each) for key, each in value.items()}
        return value

    # In the order in which they are printed.
    printed = ("doing", "problem", "store", "redis", "accounts", "reported", "feeds", "alerts")
    return {**said, **{key: once(said[key]) for key in printed}}


def _code(said: Row) -> ExitCode:
    return ExitCode.BOOKS_DO_NOT_MATCH if said["damaged"] else ExitCode.DONE


def headline(said: Row) -> Text:
    """The daemon in one line."""
    line = Text(said["name"], style="bold")
    line.append(": ", style="")
    line.append(*_process(said))
    if said["config"]:
        line.append(f" · {said['config']}", style="dim")
    line.append(f" · {said['state_dir']}", style="dim")
    if said["latch_files"]:
        line.append(f"\nlatch files: {', '.join(said['latch_files'])} (tradekeel release)", style="bold red")
    if said["releases_waiting"]:
        line.append(f"\nreleased at the next start: {', '.join(said['releases_waiting'])}", style="yellow")
    return line


def _process(said: Row) -> tuple[str, str]:
    if not said["running"]:
        return ("not running", "yellow")
    who = f"process {said['pid']}" if said["pid"] else "a process"
    if said["stale"]:
        age = "never" if said["status_age_s"] is None else f"{said['status_age_s']:g} s ago"
        return (f"{who} runs, but last spoke {age}", "bold red")
    if said["stopping"]:
        return (f"{who} is stopping", "yellow")
    if not said["ready"]:
        return (f"{who} is starting", "yellow")
    return (f"{who} runs", "green") if said["healthy"] else (f"{who} runs, and an actor makes no progress", "bold red")


def store_lines(store: Row | None) -> Iterator[Text]:
    """What is unusual about the books of a running daemon."""
    if store is None:
        return
    if store.get("memory_since_ns") is not None:
        yield Text(
            "the books' server was away at the start: what is shown is in memory. The server's books are as they were before; "
            "stop and start again to go on with them",
            "bold red",
        )
    if store["mode"] != "direct":
        waiting = f"{counted(store['batches_waiting'], 'batch waits', 'batches wait')} for it ({store['bytes_waiting']:,} bytes)"
        then = store["on_failure"].replace("_", "-")
        yield Text(f"the books' server is {store['mode']}: {store['reason']}", style="bold red")
        yield Text(f"  {waiting}; the circuit breaker is {store['breaker']}, and trading goes by {then}", style="red")
    if not store["promise_holds"]:
        yield Text(
            f"the books are not kept ({store['books']}): a kill loses them, the promise does not hold", "bold red"
        )


def redis_lines(redis: Row | None) -> Iterator[Text]:
    """How it is with the server for outside readers, where there is one."""
    if redis is None:
        return
    events = (
        f"{counted(redis['events_published'], 'event')} published, {counted(redis['events_waiting'], 'waits', 'wait')}"
    )
    match redis["state"]:
        case "degraded":
            yield Text(redis["trouble"], "bold yellow")
            yield Text(f"  {events}; {counted(redis['failures'], 'question')} failed", style="yellow")
        case "down":
            yield Text("nothing is published any more: the publisher has failed too often, see the log", "bold yellow")
        case "connecting":
            yield Text(f"{redis['where'] or 'Redis'}: connecting", style="yellow")
        case _:
            yield Text(f"{redis['where']}: {events}", style="dim")


def print_account(out: Console, account: Row) -> None:
    """One account: its state and figures, positions, strategies."""
    from tradekeel.bootstrap.summary import refusals

    line = Text(f"\n{account['account']} #{account['number']}", style="bold")
    line.append_text(standing(account))
    out.print(line)
    out.print(figures(account))
    refused = refusals(account["denied"], account["rejections"])
    if refused:
        out.print(Text(f"  {refused}", style="yellow"))
    for order in account["unknown_orders"]:
        out.print(
            Text(f"  order {order} is UNKNOWN: looked up until the venue tells (or: tradekeel resolve)", "yellow")
        )
    for position in account["positions"]:
        out.print(position_line(position))
    for strategy in account["strategies"]:
        out.print(strategy_line(strategy))


def reported_lines(account: Row) -> Text:
    """An account as the daemon itself says, where the books cannot be read."""
    line = Text(f"\n{account['account']}", style="bold")
    line.append(f" {account['state']}", style=LATCH_STYLES.get(account["state"], ""))
    line.append(" (as the daemon says: its books cannot be read now)", style="dim")
    if account["latch"] not in (None, "open"):
        line.append(f"\n  {account['latch']}: {account['latch_reason']}", style=LATCH_STYLES.get(account["latch"], ""))
    if account["balance"] is None:
        return line
    line.append(f"\n  balance {account['balance']}")
    if account["equity"] is not None:
        line.append(f" · equity {account['equity']}")
    line.append(f" · {counted(account['trades'], 'trade')} open, {counted(account['orders'], 'order')} at work")
    for instrument, net in account["positions"].items():
        line.append(f"\n  {instrument} {net}")
    return line


def standing(account: Row) -> Text:
    """How an account stands, and what holds it back: each thing once."""
    line, state, latch = Text(), account["state"], account["latch"]
    if state != latch:
        line.append(f" {state}", style=LATCH_STYLES.get(state, ""))
    if latch != "open":
        words = f"{latch}: {account['latch_reason']} (tradekeel release)"
        line.append(f"{' ·' if line else ''} {words}", style=LATCH_STYLES.get(latch, ""))
    if account["paused"] and state != "paused":
        line.append(" · paused", style=LATCH_STYLES["paused"])
    return line


def figures(account: Row) -> Text:
    """Balance, trades and profit of an account."""
    line = Text(f"  balance {cash('balance')(account)} {account['currency']}")
    if account["equity"] is not None:
        line.append(f" · equity {cash('equity')(account)}")
    if account["equity_time"] is not None:
        line.append(f" as of {moment(account['equity_time'])}")
    line.append(f"\n  began with {cash('opening_balance')(account)} · ")
    if account["wiped"] is not None:
        line.append(money("wiped")(account))
        return line.append(" until its trades were deleted (tradekeel db wipe)")
    line.append("pnl ")
    line.append(money("pnl")(account))
    line.append(f" (fees {cash('fees')(account)}, financing {cash('financing')(account)})")
    for words in beside_the_trades(account):
        line.append(f" · {words}")
    line.append(f"\n  {counted(account['trades_open'], 'trade')} open, {account['trades_closed']} closed")
    if account["win_rate"] is not None:
        line.append(f" ({float(account['win_rate']):.0%} won)")
    return line


def beside_the_trades(account: Row) -> Iterator[str]:
    """What lies between the profit of the trades and the change of the balance; nothing, as a rule."""
    netting, other = (str(cash(name)(account)) for name in ("attribution", "other"))
    if netting.strip("-0."):
        yield f"netting booked {'' if netting.startswith('-') else '+'}{netting} differently"
    if other.strip("-0."):
        yield f"deposits and charges of no trade {'' if other.startswith('-') else '+'}{other}"


def position_line(position: Row) -> Text:
    """One position."""
    line = Text(f"  {position['side']} {trimmed(position['quantity'])} {position['instrument']}")
    line.append(f" at {price('average_price', 'instrument')(position)}")
    if position["unrealised"] is not None:
        line.append(f", {price('mark', 'instrument')(position)} as of {moment(position['mark_time'])}: ")
        line.append(money("unrealised", "unrealised_currency")(position))
        line.append(f" {position['unrealised_currency']}")
    return line


def strategy_line(strategy: Row) -> Text:
    """One strategy and whether it trades."""
    line = Text(f"  strategy {strategy['strategy']} ({strategy['kind']}): ")
    line.append(strategy["status"], style=STRATEGY_STYLES.get(strategy["status"], "bold red"))
    if strategy["status_reason"]:
        line.append(f", {strategy['status_reason']}")
    line.append(f", {counted(strategy['decisions'], 'decision')}", style="dim")
    return line


def print_feeds(out: Console, feeds: Mapping[str, Any]) -> None:
    """How far each feed is, and what was wrong with its rows."""
    for account, feed in feeds.items():
        out.print(feed_line(account, feed))


def feed_line(account: str, feed: Row) -> Text:
    """One feed."""
    from tradekeel.bootstrap.summary import bad_row_words

    line = Text(f"\nfeed of {account}: tick {feed['position']:,}")
    if feed["total"]:
        line.append(f" of {feed['total']:,}")
    if feed["share"] is not None:
        line.append(f" ({feed['share']:.0%})")
    if feed.get("ticks_per_s") is not None and not feed.get("ended"):
        line.append(f", {rate(feed)} ticks/s")
    if feed.get("ts_ns"):
        line.append(f", at {moment(feed['time'])}")
    if feed.get("ended"):
        line.append(", ended")
    if feed.get("silent_s"):
        line.append(f"\n  no tick has come for {feed['silent_s']:,} s", style="bold yellow")
    if feed.get("waits"):
        line.append(f"\n  it waits: {feed['waits']}", style="bold yellow")
    if "shared" in feed["quality"]:
        line.append("\n  " + ", ".join(shared_words(feed["quality"])))
    bad = bad_row_words(feed["quality"])
    if bad:
        line.append(f"\n  bad rows: {bad}", style="yellow")
    return line


def shared_words(quality: Mapping[str, int]) -> Iterator[str]:
    """What became of the ticks of a feed that is shared."""
    yield f"{quality['shared']:,} ticks shared"
    for count, words in ((quality.get("share_waiting", 0), "wait"), (quality.get("share_missed", 0), "left out")):
        if count:
            yield f"{count:,} {words}"


def rate(feed: Row) -> str:
    """Ticks a second, as of the last seconds; of few a digit more."""
    ticks_per_s = feed["ticks_per_s"]
    return f"{ticks_per_s:.1f}" if 0 < ticks_per_s < 10 else f"{ticks_per_s:,.0f}"


def print_actors(out: Console, actors: Mapping[str, Row], dead_letters: int) -> None:
    """Each actor's mail, work and restarts."""
    if not actors:
        return
    out.print()
    print_table([{"actor": name} | dict(figures) for name, figures in actors.items()], ACTOR_COLUMNS, "", out)
    if dead_letters:
        out.print(Text(f"{counted(dead_letters, 'dead letter')}", style="yellow"))


def _latency(row: Row) -> str:
    return f"{row['latency_p50_us']:,} / {row['latency_p99_us']:,}"


ACTOR_COLUMNS = (
    Column("actor", text("actor")),
    Column("state", text("state")),
    Column("mail", text("mail"), right=True),
    Column("most", text("mail_max"), 3, right=True),
    Column("handled", lambda row: f"{row['handled']:,}", 1, right=True),
    Column("replaced", text("replaced"), 5, right=True),
    Column("restarts", text("restarts"), right=True),
    Column("µs p50 / p99", _latency, 2, right=True),
)
