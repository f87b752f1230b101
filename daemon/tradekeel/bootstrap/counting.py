"""How many of something there are, in words: for the command line, which reaches nothing below this."""

from tradekeel.domain.counting import counted

__all__ = ["counted"]
