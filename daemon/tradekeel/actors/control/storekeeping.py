"""What becomes of trading while the books' server is away (`storage.on_store_failure`)."""

from __future__ import annotations

from collections.abc import Iterable

from tradekeel.actors.control.steering import Steering
from tradekeel.domain.counting import counted
from tradekeel.domain.protocol import AccountReady, Command, HoldEntries, StoreStands

AWAY = "the books' server is away"
_WORDS = {
    "halt": "all accounts are halted until a person releases them; what happens is kept in the spool here",
    "reduce_only": "no new exposure until it is back, exits go on; what happens is kept in the spool here",
    "memory": "trading goes on and is kept in memory only: until it is back, a kill loses what has happened",
}


class Storekeeping(Steering):
    """Listens to the recorder."""

    def _store_stands(self, store: StoreStands) -> None:
        before, self._store = self._store, store
        was_direct = before is None or before.is_direct
        if store.is_direct:
            if not was_direct:
                self._is_past("store")
                self._say("INFO", "the books' server is back: nothing waits for it, and the books are written directly")
                self._hold_entries("")
        elif was_direct:
            text = f"the books' server is away: {store.reason}; {_WORDS[self.settings.on_store_failure]}"
            self._keep_alert("store", text)
            self._say("ERROR", text)
            self._restrain(self._accounts)
        elif before is not None and before.mode != store.mode:
            self._say(
                "INFO",
                f"the books' server: {store.mode}; {counted(store.batches, 'batch waits', 'batches wait')} for it",
            )

    def _account_ready(self, ready: AccountReady) -> None:
        """One that comes (back) meanwhile must hear of it, too. That it is halted is in its journal, once it was told."""
        is_new = ready.account not in self._ready
        super()._account_ready(ready)
        if self.store_is_away and (is_new or self.settings.on_store_failure != "halt"):
            self._restrain([ready.account])

    def _restrain(self, accounts: Iterable[str]) -> None:
        match self.settings.on_store_failure:
            case "halt":
                self._steer(Command.KILL, AWAY, by="store", accounts=accounts)
            case "reduce_only":
                self._hold_entries(AWAY, accounts)

    def _hold_entries(self, reason: str, accounts: Iterable[str] | None = None) -> None:
        for name in self._accounts if accounts is None else accounts:
            executor = self._accounts[name].executor
            if executor.alive:
                executor.control(HoldEntries(reason))
