"""Which executions there are to publish: those of our accounts, as the books know them and the recorder tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from tradekeel.actors.publisher.patience import read
from tradekeel.ports.publication import JournalSource, Run

RUNS_MAX = 50
"""How many executions of an account are looked at, at first."""

LEARN_AGAIN_S = 1.0
"""How soon the books are asked again about an execution that they do not know yet: they may be on a server that is away."""


class Runs:
    """See the module."""

    def __init__(self, source: JournalSource, accounts: Sequence[str]) -> None:
        self._source = source
        self._accounts = tuple(accounts)
        self.of: dict[str, list[Run]] = {}  # by account, the newest first
        self.reached: dict[str, int] = {}  # how far the journal is known to go, by execution
        self._known: dict[str, Run] = {}
        self.due_s = -inf  # when the books may be asked about what they do not know yet

    def grew(self, reached: Mapping[str, int]) -> None:
        """The journals have grown."""
        for execution, sequence in reached.items():
            self.reached[execution] = max(sequence, self.reached.get(execution, 0))

    async def look(self, now_s: float) -> None:
        """Find out what is not known yet. Raises BooksFailed."""
        if not self.of:
            for run in await read(self._source.runs(self._accounts, RUNS_MAX)):
                self._enter(run)
            self.of = {account: self.of.get(account, []) for account in self._accounts}
        unknown = [execution for execution in self.reached if execution not in self._known]
        if unknown and now_s >= self.due_s:
            for execution in unknown:
                found = await read(self._source.run(execution))
                if found is not None:
                    self._enter(found)
            self.due_s = now_s + LEARN_AGAIN_S  # only now: whom the books do not answer has failed until they do

    def ask_at_once(self) -> None:
        """There is no later time to ask about what was not known a moment ago."""
        self.due_s = -inf

    @property
    def are_missing(self) -> bool:
        """Whether the books do not know everything yet that was told of."""
        return not self.of or any(execution not in self._known for execution in self.reached)

    def archived(self, execution: str) -> int:
        """Records up to this one are in the books no more."""
        return self._known[execution].archived

    def newest(self, account: str) -> Run | None:
        """The execution that the account goes on with, or had last."""
        return next(iter(self.of.get(account, ())), None)

    def _enter(self, run: Run) -> None:
        row = run.row
        self._known[row.execution] = run
        self.reached[row.execution] = max(run.last, self.reached.get(row.execution, 0))
        runs = [one for one in self.of.get(row.account, []) if one.row.execution != row.execution]
        self.of[row.account] = sorted([*runs, run], key=lambda one: one.row.number, reverse=True)
