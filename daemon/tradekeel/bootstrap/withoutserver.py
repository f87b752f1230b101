"""Books in memory, in the place of a server that was away at the start."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from loguru import logger

from tradekeel.errors import StoreError
from tradekeel.runtime.loop import Aside
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.store import Store

LOOK_EVERY_S = 2.0


class BooksWithoutServer(AccountBooks):
    """The store in memory; now and then it is looked whether the server is back, and that is said once.

    What is in memory is never brought there: it begins where nothing was, and the server's books do not. A person decides when
    the daemon goes back to them.
    """

    def __init__(self, store: Store, strategies: Mapping[str, tuple[str, ...]], server: Backend) -> None:
        super().__init__(store, strategies)
        self._server = server
        self._aside = Aside("books' server")  # one that is away may keep a connection waiting: nobody waits for that
        self._is_back = False

    @property
    def tend_every_s(self) -> float | None:
        """How often :meth:`tend` wants to be called."""
        return LOOK_EVERY_S

    def tend(self) -> bool:
        """Look after the server."""
        if self._is_back:
            return False
        try:
            self._is_back = self._aside.look_in(self._look) or False
        except StoreError:
            return False  # as it was said at the start
        if self._is_back:
            logger.warning(
                "the server is back: stop and start again to go on with its books ({}). What has happened since the start is "
                "in memory alone, and is not brought there",
                self._server.described,
            )
        return False

    def _look(self) -> bool:
        """True, or StoreError where the server does not answer or does not let us in."""
        try:
            with closing(self._server.look()) as db:
                db.execute("SELECT 1").fetchall()
        except self._server.errors as error:
            raise self._server.in_our_words(error, "looking whether it is back") from error
        return True
