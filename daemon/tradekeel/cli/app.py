"""The commands and where each of them is; a command's module is imported when it is called (or asked about)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, CycloptsPanel, Group, UnusedCliTokensError

from tradekeel import __version__
from tradekeel.cli.common import guarded
from tradekeel.errors import ExitCode, InputError

ABOUT = """Tradekeel: a trading daemon that can be killed at any moment.

No order is lost, none is sent twice, and the books balance to the last cent.
"""

EXIT_CODES = (
    "Exit codes: 0 done; 1 what was compared differs, or decisions change (analyze); 2 bad usage or configuration, no such "
    "daemon, or no trial with a figure (optimize); 3 venue unreachable (check); 4 books do not match; 5 halted by risk; 6 "
    "another daemon has the state directory or an account; 7 a backtest or a study was interrupted, and the same command goes on "
    "with it; 70 a bug of ours, the disk failed, or a server does not answer or let us in; 130 interrupted."
)

RUN = Group("Run", sort_key=1)
LOOK = Group("Look", sort_key=2)
STEER = Group("Steer a running daemon", sort_key=3)
KEEP = Group("Keep", sort_key=4)

_COMMANDS: tuple[tuple[Group, str, str, str], ...] = (
    (RUN, "run", "running:run", "Run a daemon until it is stopped or its feeds end."),
    (RUN, "backtest", "backtesting:backtest", "Trade a configuration on its recorded market, as fast as it goes."),
    (
        RUN,
        "analyze",
        "analysing:analyze",
        "Find decisions that change where they should not: look-ahead, warm-up, state.",
    ),
    (RUN, "optimize", "optimising:optimize", "Look for better parameters, and try them out of sample."),
    (RUN, "check", "keeping:check", "Find everything that would stop a daemon from starting."),
    (RUN, "new-strategy", "making:new_strategy", "Write a strategy of your own, with a test and a configuration."),
    (RUN, "strategies", "making:strategies", "List the kinds of strategies with their parameters and defaults."),
    (LOOK, "status", "status:status", "How a daemon stands."),
    (LOOK, "services", "fleet:services", "The daemons that list themselves on a Redis server."),
    (LOOK, "trades", "reading:trades", "Round trips: entry, exit, why, and what they brought."),
    (LOOK, "orders", "reading:orders", "Orders and what became of them."),
    (LOOK, "fills", "reading:fills", "Executions that the venue reported."),
    (LOOK, "positions", "reading:positions", "What is held."),
    (LOOK, "signals", "reading:signals", "What strategies wanted, before any risk check."),
    (LOOK, "events", "reading:events", "What strategies said about their decisions, or the journal itself."),
    (LOOK, "backtests", "backtesting:backtests", "The backtests that were run, and how each stands."),
    (LOOK, "report", "reporting:report", "What an execution came to, in figures and charts."),
    (LOOK, "compare", "reporting:compare", "Line up two executions trade by trade."),
    (LOOK, "executions", "reading:executions", "The runs of each account."),
    (LOOK, "snapshots", "reading:snapshots", "Figures of each account at a time."),
    (LOOK, "parameters", "reading:parameters", "Parameters that were changed."),
    (STEER, "pause", "steering:pause", "Take no new entries; exits go on."),
    (STEER, "resume", "steering:resume", "Take entries again."),
    (STEER, "reload", "steering:reload", "Read the configuration again and apply what can change live."),
    (STEER, "stop", "steering:stop", "Stop in order."),
    (STEER, "flatten", "steering:flatten", "Cancel orders, close positions, then pause."),
    (STEER, "kill", "steering:kill", "Halt: nothing is sent until a person releases it."),
    (STEER, "release", "steering:release", "End a halt or a reduce-only state."),
    (STEER, "resolve", "steering:resolve", "Say what became of an UNKNOWN order."),
    (KEEP, "verify", "keeping:verify", "Prove that the books agree with themselves and with the venue's."),
)

_DATABASE: tuple[tuple[str, str, str], ...] = (
    ("verify", "keeping:verify", "Prove that the books agree with themselves and with the venue's."),
    ("backup", "keeping:backup", "Copy the books beside a running daemon."),
    ("restore", "database:restore", "Put a copy in the place of the books."),
    ("export", "transfer:export", "Write the books into files for other programs."),
    ("import", "transfer:import_", "Read an export into empty books."),
    ("archive", "transfer:archive", "Move old journal and finished rows into compressed files, or read one."),
    ("wipe", "database:wipe", "Delete all trades and what else follows from the journal, after a backup."),
    ("stats", "database:stats", "How much there is in the books."),
    ("upgrade", "schema:upgrade", "Bring the schema up to date, after a backup."),
    ("downgrade", "schema:downgrade", "Take the schema back to an earlier revision, after a backup."),
    ("current", "schema:current", "At which revision the schema is, and what is missing."),
    ("history", "schema:history", "Which revisions were applied, and when."),
)

_DATA: tuple[tuple[str, str, str], ...] = (
    ("info", "data:info", "What there is: instruments, times, ticks, spreads, files."),
    ("check", "data:check", "What is odd about it: gaps, crossed quotes, disorder, spikes, and more."),
    ("convert", "data:convert", "Write it into a Parquet file."),
)


def make_app() -> App:
    """The application with all its commands."""
    app = App(
        name="tradekeel",
        help=ABOUT,
        help_epilogue=EXIT_CODES,
        version=__version__,
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # what an interrupt says is told by whoever calls us
    )
    for group, name, where, about in _COMMANDS:
        app.command(f"tradekeel.cli.{where}", name=name, group=group, help=about)
    database = App(name="db", help="The database: copies of it, what is in it, and its schema.", group=KEEP)
    for name, where, about in _DATABASE:
        database.command(f"tradekeel.cli.{where}", name=name, help=about)
    app.command(database)
    data = App(name="data", help="Market data: what is in files or a feed, and whether it is sound.", group=LOOK)
    for name, where, about in _DATA:
        data.command(f"tradekeel.cli.{where}", name=name, help=about)
    app.command(data)
    systemd = App(name="systemd", help="Tradekeel as a service.", group=KEEP)
    systemd.command("tradekeel.cli.making:unit", name="unit", help="Print the unit.")
    systemd.command(
        "tradekeel.cli.making:install", name="install", help="Check a configuration and install it as a service."
    )
    app.command(systemd)
    return app


def dispatch(words: Sequence[str]) -> int:
    """Run one command; the exit code."""
    return guarded(lambda: _call(words))


def _call(words: Sequence[str]) -> int:
    app = make_app()
    try:
        result = app(list(words), exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        raise InputError(_too_many(error)) from None
    except CycloptsError as error:
        app.error_console.print(CycloptsPanel(error))
        return ExitCode.BAD_USAGE
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else ExitCode.BAD_USAGE
    sys.stdout.flush()
    return result if isinstance(result, int) else ExitCode.DONE


def _too_many(error: UnusedCliTokensError) -> str:
    """What to say of words that a command has no use for; a shell makes several of one pattern."""
    stray = [str(token) for token in error.unused_tokens or ()]
    command = " ".join(("tradekeel", *(error.command_chain or ())))
    what = "name one copy" if command.endswith("db restore") else f"see {command} --help"
    return f"{command} has no use for {' '.join(stray)}: {what}"
