"""Each account's open trades, for outside readers: as of one record of the journal, and not older than a moment."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from random import Random

from tradekeel.actors.publisher.patience import BooksFailed, Patience, read
from tradekeel.actors.publisher.runs import Runs
from tradekeel.errors import StoreRefused
from tradekeel.ports.publication import Author, Board, JournalSource, Publication
from tradekeel.runtime.clock import Clock

SHOW_EVERY_S = 0.5
"""How often a board changes at most …"""

REST = 20
"""… and for how many times as long as that took it is left alone: many open trades take their time."""


FINISH_LOOKS = 2


class AccountBoard:
    """What an account's board shows."""

    def __init__(self, account: str, random: Random) -> None:
        self.account = account
        self.execution = ""
        self.shown: int | None = None  # as of which record; None: all of it is to be put there anew
        self.seen = 0  # how far the journal was known to go then: books on a server that was away may have been behind
        self.versions: Mapping[str, int] = {}
        self.looked_s = -inf  # when it was put or confirmed last
        self.not_before_s = -inf
        self.patience = Patience(random)


class Boards:
    """See the module."""

    name = "open trades"

    def __init__(
        self,
        source: JournalSource,
        publication: Publication,
        runs: Runs,
        clock: Clock,
        *,
        by: Author,
        confirm_every_s: float,
        fresh_s: float,
        random: Random,
    ) -> None:
        """Every ``confirm_every_s`` a board says that it is still right; another's is left alone for ``fresh_s``."""
        self._source, self._publication, self._runs, self._clock = source, publication, runs, clock
        self._by, self._confirm_every_s, self._fresh_s, self._random = by, confirm_every_s, fresh_s, random
        self._boards: dict[str, AccountBoard] = {}

    @property
    def trouble(self) -> Patience | None:
        """That of one that is not shown."""
        return next((b.patience for b in self._boards.values() if b.patience.reason), None)

    @property
    def shown(self) -> int:
        """How many trades are shown, of all accounts."""
        return sum(len(board.versions) for board in self._boards.values())

    def due_s(self) -> float:
        """When there is something to do: -inf for at once."""
        times = [self._due_s(board) for board in self._boards.values()]
        if self._runs.are_missing or len(self._boards) < len(self._runs.of):
            times.append(self._runs.due_s)
        return min(times, default=inf)

    def _due_s(self, board: AccountBoard) -> float:
        if self._runs.newest(board.account) is None:
            return inf
        wanted_s = board.not_before_s if self._has_moved(board) else board.looked_s + self._confirm_every_s
        return max(wanted_s, board.patience.not_before_s)

    def _has_moved(self, board: AccountBoard) -> bool:
        run = self._runs.newest(board.account)
        if run is None:
            return False
        execution = run.row.execution
        return board.shown is None or execution != board.execution or self._runs.reached[execution] > board.seen

    async def finish(self, now_s: float) -> None:
        """Every board as it is at the end. One that the server has lost is found by looking, and put there by looking again."""
        for _ in range(FINISH_LOOKS):
            await self.step(now_s, at_once=True)
            if all(board.shown is not None for board in self._boards.values()):
                return

    async def step(self, now_s: float, *, at_once: bool = False) -> bool:
        """Each board that has to change, once. With ``at_once`` every one, however short a time ago it was looked at."""
        await self._runs.look(now_s)
        for account in self._runs.of:
            board = self._boards.setdefault(account, AccountBoard(account, self._random))
            is_known = self._runs.newest(account) is not None
            if now_s >= self._due_s(board) or (at_once and is_known):
                try:
                    await self._show(board)
                except (StoreRefused, BooksFailed) as error:
                    board.patience.failed(error, now_s)
                else:
                    board.patience.went_well()
        return False

    async def _show(self, board: AccountBoard) -> None:
        run = self._runs.newest(board.account)
        assert run is not None
        if run.row.execution != board.execution:
            board.execution, board.shown, board.versions = run.row.execution, None, {}
        began_s = self._clock.monotonic()
        reached = self._runs.reached[board.execution]
        if board.shown is not None and board.shown >= reached:  # it is only to say that it is still right
            await self._put(board, board.shown, board.versions, {})
        if board.shown is None or board.shown < reached:
            await self._put_news(board)
        board.seen = reached
        board.looked_s = now_s = self._clock.monotonic()
        board.not_before_s = now_s + max(SHOW_EVERY_S, REST * (now_s - began_s))

    async def _put_news(self, board: AccountBoard) -> None:
        known = {} if board.shown is None else board.versions
        found = await read(self._source.open_trades(board.execution, known))
        await self._put(board, found.sequence, found.versions, found.changed)

    async def _put(
        self, board: AccountBoard, sequence: int, versions: Mapping[str, int], changed: Mapping[str, bytes]
    ) -> None:
        """Put it there. Where it is not as we have left it, or nobody answers, the next step puts all of it there anew."""
        since, before = board.shown, board.versions
        board.shown, board.versions = None, {}
        new = Board(
            account=board.account,
            execution=board.execution,
            sequence=sequence,
            put=changed,
            gone=[] if since is None else [trade_id for trade_id in before if trade_id not in versions],
            trades=len(versions),
        )
        if await self._publication.show(new, self._by, since=since, fresh_s=self._fresh_s):
            board.shown, board.versions = sequence, versions
