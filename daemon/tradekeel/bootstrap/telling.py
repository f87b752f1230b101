"""The log as the actors see it: they know no library, only that somebody writes down what they say."""

from __future__ import annotations

from loguru import logger


def say(level: str, text: str, **fields: str) -> None:
    """One line; ``fields`` are shown behind it. Braces in the text mean nothing."""
    logger.bind(**fields).opt(depth=1).log(level, "{}", text)  # the line is its caller's
