"""The books of a backtest: a file like a daemon's, written in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tradekeel.domain.entries import Entry
from tradekeel.domain.records import Group
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint
from tradekeel.storage.store import Store, Written

ROWS_MAX = 50_000
"""Entries that are kept in memory before they go to the disk: so much of a journal is one group at the most."""


class FileBooks:
    """One execution's journal, tables and states in a file: a :class:`~tradekeel.backtest.run.Keeper`.

    Nothing is durable between two cuts, so that the journal of a run that was killed ends at one.
    """

    def __init__(self, path: Path, execution: str, owners: Sequence[str], *, now_ns: int) -> None:
        self._store = Store.open(path, now_ns=now_ns)
        self._execution = execution
        self._owners = (ACCOUNT_OWNER, *owners)
        self._waiting: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep these for the next cut."""
        self._waiting.extend(entries)

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        """Make all of it durable."""
        entries, self._waiting = self._waiting, []
        group = Group(
            execution=self._execution,
            records=tuple(entry.record for entry in entries),
            rows=tuple(row for entry in entries for row in entry.rows),
            checkpoints=tuple(saved),
        )
        (result,) = self._store.commit([group])
        if not isinstance(result, Written):
            raise result

    def last_cut(self) -> Sequence[Checkpoint]:
        """The states of the last cut; what came behind it is forgotten."""
        self._waiting.clear()
        states = []
        for owner in self._owners:
            saved = self._store.load_checkpoints(self._execution, owner).saved
            if not saved:
                return ()
            states.append(saved[0].checkpoint)
        return states

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
