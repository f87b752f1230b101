"""A paper venue for tests: its ledger in a folder of the test, its worker inline, its kill points told to whoever listens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.domain.matching_desk import EUR, NS, START_S, D, request
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.venues.paper import PaperLedger, PaperVenue

ACCOUNT = PaperAccount(account="paper-1", currency="USD", deposit=D(10_000))


class Killed(BaseException):
    """The process is gone: nothing after this point of the code has happened."""


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """A worker that works at once."""
    return function(*args)


def allow() -> None:
    """A last check that lets everything pass."""


def paper(
    path: Path,
    *,
    account: PaperAccount = ACCOUNT,
    point: Callable[[str], None] | None = None,
    run: Callable[..., Any] = inline,
    **settings: Any,
) -> PaperVenue:
    """A venue on the ledger at ``path``."""
    return PaperVenue(path, account, CATALOGUE, PaperSettings(**settings), run=run, point=point, opened_ns=START_S * NS)


def ticks(*quotes: str, first: int = 1, symbol: str = EUR) -> TickWindow:
    """Ticks a second apart; each quote is "bid/ask"."""
    made = []
    for number, quote in enumerate(quotes):
        bid, ask = quote.split("/")
        position = first + number
        made.append(Tick(symbol, (START_S + position) * NS, D(bid), D(ask), position))
    return TickWindow(tuple(made))


def read(path: Path, copy: Path, account: PaperAccount = ACCOUNT) -> Any:
    """What the file says to somebody who opens it after a kill at this moment: a copy is opened, the file stays as it is."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, copy.with_name(copy.name + suffix))
        else:
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    copy.with_name(copy.name + "-shm").unlink(missing_ok=True)
    ledger = PaperLedger(copy, account)
    try:
        return ledger.open()
    finally:
        ledger.close()


__all__ = ["ACCOUNT", "Killed", "allow", "inline", "paper", "read", "request", "ticks"]
