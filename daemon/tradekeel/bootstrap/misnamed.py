"""Files that are named after another instrument than the one whose quotes they are said to be.

Prices do not always show it: each of USD/JPY's is a whole number of EUR/USD's steps, too.
"""

from __future__ import annotations

from pathlib import PurePath

from tradekeel.bootstrap.plan import AccountPlan, Plan
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.feeds.file import FileFeedSettings
from tradekeel.feeds.typed import bare_symbol

MAY_HOLD_SEVERAL = ("parquet", "binance")
"""Formats whose rows say themselves which instrument they are of."""


def misnamed(plan: Plan, account: AccountPlan) -> tuple[str, ...]:
    """A sentence for each path of the account's feed that names another instrument of the catalogue, and not its own.

    An instrument that is not in the catalogue may be called anything by its files.
    """
    feed = plan.config.feeds[account.config.feed]
    settings = feed.settings
    if not isinstance(settings, FileFeedSettings) or settings.format in MAY_HOLD_SEVERAL:
        return ()
    said = []
    for symbol, path in settings.paths.items():
        others = _named_in(path)
        if symbol in CATALOGUE and others and symbol not in others:
            names = " and ".join(others)
            said.append(
                f"feed {feed.name}: {path} is named after {names}, and is read as {symbol}: is it the right file?"
            )
    return tuple(said)


def _named_in(path: str) -> list[str]:
    """The instruments of the catalogue that the path's own name or that of one of its folders has in it."""
    parts = [bare_symbol(part) for part in PurePath(path).parts]
    return [symbol for symbol in CATALOGUE if any(bare_symbol(symbol) in part for part in parts)]
