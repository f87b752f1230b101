"""What was acknowledged and is not on the books' server yet, as whoever reads the books is told of it."""

from __future__ import annotations

from typing import Any

from tradekeel.bootstrap.place import Place
from tradekeel.errors import StoreCorrupt, StoreTooNew
from tradekeel.storage.spoolfiles import Waiting, waiting_in


def waiting_at(place: Place) -> dict[str, Any]:
    """How many batches and bytes wait on this disk, as JSON values, with a sentence; ``said`` is empty where nothing does."""
    spool = place.statedir.spool
    brings = "the daemon brings" if place.pid is not None else "the next start brings"
    try:
        found = waiting_in(spool)
    except (StoreCorrupt, StoreTooNew) as error:
        return {"batches": None, "bytes": None, "said": f"{error}"}
    return {"batches": found.batches, "bytes": found.bytes, "said": _said(found, str(spool), brings)}


def _said(found: Waiting, where: str, brings: str) -> str:
    if not found.batches:
        return ""
    return (
        f"{found.batches:,} acknowledged batches ({found.bytes:,} bytes) wait in {where} for the books' server: what is shown is "
        f"without them, and {brings} them there"
    )
