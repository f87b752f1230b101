"""How many of something there are, in words: for the command line, which reaches nothing below this."""

from tradekeel.domain.counting import counted, each_counted

__all__ = ["counted", "each_counted"]
