"""Reloads, one at a time. Whoever asks while one is under way gets the next one, which reads the file as it is then."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tradekeel.actors.control.shell import ASK_TIMEOUT_S, AskedFor, AskedForReload
from tradekeel.actors.control.telling import Telling
from tradekeel.errors import NotReady, TradekeelError, Unfinished

RELOAD_AGAIN_S = 0.1
"""How soon a reload that the accounts could not take is tried again."""


class Reloading(Telling):
    """Has the file read again, and answers for it."""

    def _ask_for_reload(self, command: AskedFor | None) -> None:
        """A command is kept as long as somebody waits for its answer; a signal, which nobody answers, until it is obeyed."""
        until_s = inf if command is None else self.clock.monotonic() + ASK_TIMEOUT_S
        self._reloads.append(AskedForReload(command, until_s))
        if not self._reloading:
            self._reloading = True
            self.spawn(self._reload_in_turn)

    async def _reload_in_turn(self) -> None:
        told = ""
        while self._reloads:
            asking, self._reloads = self._reloads, []
            try:
                answer = await self._reload_now()
            except NotReady as error:
                refused = self._keep(asking)
                self._answer_reloads(refused, False, f"refused, {error}; nothing was changed, try again")
                if self._reloads and str(error) != told:
                    told = str(error)
                    self._say("INFO", f"the reload waits: {told}")
                await self.clock.sleep(RELOAD_AGAIN_S)
            else:
                self._answer_reloads(asking, *answer)
        self._reloading = False

    def _keep(self, asking: Sequence[AskedForReload]) -> list[AskedForReload]:
        """Those that can wait are tried again; returns those that cannot."""
        now_s = self.clock.monotonic()
        self._reloads = [asked for asked in asking if now_s < asked.until_s] + self._reloads
        return [asked for asked in asking if now_s >= asked.until_s]

    def _answer_reloads(self, asking: Sequence[AskedForReload], ok: bool, said: str) -> None:
        for asked in asking:
            if asked.command is not None:
                self._write_answer(asked.command, ok, said)

    async def _reload_now(self) -> tuple[bool, str]:
        """What became of it, in a sentence. Raises NotReady where it can be tried again."""
        if self._told_ready and not self._stopping:
            self._owes_ready = False  # until the reload is over
            self._notify.reloading(int(self.clock.monotonic() * 1_000_000))
        try:
            said = await self._reload()
        except NotReady:
            raise
        except Unfinished as error:
            self._say("ERROR", f"reload not finished: {error}")
            return False, f"not finished: {error}"
        except TradekeelError as error:  # whatever is wrong with the file, the old configuration stays whole
            self._say("ERROR", f"reload refused, the old configuration stays in force: {error}")
            return False, f"refused, the old configuration stays in force: {error}"
        finally:
            if self._told_ready and not self._stopping:
                self._tell_ready()
        self._say("INFO", f"reloaded: {said}")
        return True, said
