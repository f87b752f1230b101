"""The backtests that were run, as a person tells them apart: when, of which file, over which stretch, and what they came to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.backtests import Listed, listed
from tradekeel.bootstrap.values import plain_row
from tradekeel.domain.book import Book
from tradekeel.domain.recovery import decode_account_state
from tradekeel.domain.rows import ACCOUNT_OWNER, ExecutionRow, Mode
from tradekeel.errors import StoreError
from tradekeel.storage.archives import newest_archive
from tradekeel.storage.backend import Connection
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of


class CameTo(Struct, frozen=True, kw_only=True):
    """What there is of an execution up to its last saved state; nothing of one of which nothing was saved."""

    first_ns: int | None = None  # of its data, a warm-up included
    last_ns: int | None = None
    currency: str = ""
    end_balance: str | None = None
    trades: int | None = None  # that are closed


def overview(root: Path) -> list[dict[str, Any]]:
    """All executions below a folder, as JSON has them, those that began last at the end."""
    every = sorted(listed(root), key=lambda each: (each.started_ns or 0, each.task, each.number))
    return [_row(each, came_to(each.folder) if each.name else CameTo()) for each in every]


def came_to(folder: Path) -> CameTo:
    """What an execution has come to, from its last saved state alone, however long it ran."""
    try:
        with one_moment(folder / "books.db") as db:
            return next(_came_to(db), CameTo())
    except (StoreError, msgspec.MsgspecError, ValueError):  # whoever asks for its report is told what is wrong
        return CameTo()


def _came_to(db: Connection) -> Iterator[CameTo]:
    mapping = mapping_of(ExecutionRow)
    for values in db.execute(mapping.select_sql).fetchall():
        run = mapping.decode(values)
        if run.mode is not Mode.BACKTEST:
            continue
        saved = db.execute(
            "SELECT ts_ns, state FROM checkpoints WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT 1",
            (run.execution, ACCOUNT_OWNER),
        ).fetchone()
        if saved is None:
            continue
        closed = db.execute(
            "SELECT count(*) FROM trades WHERE execution = ? AND status = 'CLOSED'", (run.execution,)
        ).fetchone()
        archive = newest_archive(db, "the books", run.execution)  # whose trades are no rows any more
        moved = 0 if archive is None else archive.figures.closed
        balance = Book.load(decode_account_state(bytes(saved[1])).book).money.balance
        yield CameTo(
            first_ns=run.started_ns,
            last_ns=saved[0],
            currency=run.currency,
            end_balance=f"{balance:f}",
            trades=moved + int(closed[0]),
        )


def _row(each: Listed, came: CameTo) -> dict[str, Any]:
    row = plain_row(each)
    row["progress_percent"] = row.pop("progress")
    del row["has_execution"]
    row["state"] = str(row.pop("folder"))
    return row | plain_row(came)
