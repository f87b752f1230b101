"""The state directory: its layout and lock, files written whole or not at all, and commands to a running daemon."""

from tradekeel.statedir.commands import Command, CommandFiles, CommandResult, Unreadable
from tradekeel.statedir.files import explain, explained, remove_durably, write_atomically
from tradekeel.statedir.layout import A_BACKTEST_IS_ALONE, A_COMMAND_IS_ALONE, SCOPE_ALL, StateDir, refuse_no_data

__all__ = [
    "A_BACKTEST_IS_ALONE",
    "A_COMMAND_IS_ALONE",
    "SCOPE_ALL",
    "Command",
    "CommandFiles",
    "CommandResult",
    "StateDir",
    "Unreadable",
    "explain",
    "explained",
    "refuse_no_data",
    "remove_durably",
    "write_atomically",
]
