"""``python -m tradekeel`` is the command line."""

from tradekeel.cli import entry

entry()
