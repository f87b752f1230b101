"""Reload: read the file again, compare, and put in force what can change while trading goes on.

All or nothing. If anything is wrong with the file, if a single value differs that needs a restart, or if an account that
it concerns cannot take it at this moment, nothing is changed and the answer says what it was. What can change is applied
by building the parts that it concerns anew from the new plan: they recover from the disk as they would after a crash, so
there is no second way of changing a running part, and the one there is is exercised. The code in a strategy's file is a
value like any other, told by the digest of the file.
Each change is a row of ``parameter_history``, durable before it takes effect. What is interrupted behind that point is in
force for whoever starts from then on, and the answer says who has not taken it over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from loguru import logger
from msgspec import Struct

from tradekeel.actors.control import Control, ControlSettings
from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.config import AccountConfig, Change, diff
from tradekeel.config.words import join_path
from tradekeel.domain.protocol import AccountStatus, ChangeParameters, Describe, StopFeed
from tradekeel.domain.rows import ParameterChange
from tradekeel.errors import InputError, NotReady, Unfinished
from tradekeel.runtime.actor import ActorRef, Lane
from tradekeel.runtime.errors import ActorError
from tradekeel.runtime.loop import Worker
from tradekeel.runtime.reference import ask_each
from tradekeel.runtime.system import ActorSystem

ASK_TIMEOUT_S = 10.0
SHOWN_MAX = 12

PROCESS = "process"  # taken over by whoever owns it, nobody is built anew
CONTROL = "control"
SCHEDULER = "scheduler"
ACCOUNTS = "accounts"  # every account is built anew
ACCOUNT = "account"  # the one that the value belongs to

_APPLICABLE: tuple[tuple[str, str], ...] = (
    (r"logging\.(level|format)", PROCESS),
    (r"daemon\.(on_stop|stop_timeout_s)", CONTROL),
    (r"storage\.snapshot_schedule", SCHEDULER),
    (r"storage\.(checkpoint_every_s|sample_ticks_every)", ACCOUNTS),
    (r"accounts\.(?P<account>[^.]+)\.sync_schedule", SCHEDULER),
    (r"accounts\.(?P<account>[^.]+)\.risk\..+", ACCOUNT),
    (r"accounts\.(?P<account>[^.]+)\.(parameter_mode|days_a_year|send_within_s)", ACCOUNT),
    (r"strategies\.(?P<strategy>[^.]+)\.params\..+", ACCOUNT),
)
"""What can change live, by path, and whose business it is. Everything else needs a restart."""


_FOR_A_NEW_LEDGER = r"accounts\.[^.]+\.(balance|currency|hedging)"
"""What an account's ledger is opened with, once."""


class Step(Struct, frozen=True):
    """One change and whom it concerns."""

    change: Change
    scope: str
    account: str | None = None  # None: every account's history tells of it
    strategy: str | None = None

    def __str__(self) -> str:
        return f"{self.change.path}: {shown(self.change.old)} -> {shown(self.change.new)}"


def shown(value: Any) -> str:
    """A value as the history tells it; a secret by its reference."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def steps_of(old: Plan, new: Plan) -> list[Step]:
    """What to do to get from one plan to the other; InputError naming every value that cannot change live."""
    steps: list[Step] = []
    refused: list[str] = []
    for change in diff(old.config, new.config):
        step = _step(change, new)
        if step is None:
            refused.append(change.path)
        else:
            steps.append(step)
    steps.extend(_changed_code(old, new))
    if old.instruments != new.instruments and not any(path.startswith("instruments") for path in refused):
        refused.append("instruments")
    if old.config.state_dir != new.config.state_dir:
        refused.append("daemon.state_dir")
    if refused:
        anew = [path for path in refused if re.fullmatch(_FOR_A_NEW_LEDGER, path)]
        later = [path for path in dict.fromkeys(refused) if path not in anew]
        said = [f"these need a restart: {_listed(later)}"] if later else []
        said += [f"these need a new beginning (run --fresh): {_listed(anew)}"] if anew else []
        raise InputError(f"{'; '.join(said)}. Nothing was changed")
    return steps


def _step(change: Change, new: Plan) -> Step | None:
    for pattern, scope in _APPLICABLE:
        match = re.fullmatch(pattern, change.path)
        if match is None:
            continue
        names = match.groupdict()
        strategy = names.get("strategy")
        account = names.get("account")
        if strategy is not None:
            known = new.config.strategies.get(strategy)
            account = None if known is None else known.account
            if account is None:
                return None
        return Step(change, scope, account, strategy)
    return None


def _changed_code(old: Plan, new: Plan) -> list[Step]:
    """Strategies whose files have another content. A kind that changes is a value of the file's, and needs a restart."""
    before = {one.config.name: one for account in old.accounts for one in account.strategies}
    return [
        Step(
            Change(f"{join_path('strategies', one.config.name)}.code", was.code, one.code),
            ACCOUNT,
            account.config.name,
            one.config.name,
        )
        for account in new.accounts
        for one in account.strategies
        if (was := before.get(one.config.name)) is not None and was.code != one.code
    ]


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN_MAX} more" if len(words) > SHOWN_MAX else ""
    return ", ".join(words[:SHOWN_MAX]) + more


class Built(Protocol):
    """Who holds the plan in force and what is built from it."""

    plan: Plan
    control: Control | None

    @property
    def reader(self) -> Worker:
        """Who reads the file: what it names is opened, and the code of strategies runs, for as long as that takes."""

    def control_settings(self) -> ControlSettings:
        """What the plan in force says about control."""


class Reloader:
    """Reads and applies. ``applied`` hears of each plan that was put in force (the log has settings of its own)."""

    builder: Built  # set once there is one: it needs this object, too

    def __init__(
        self, environ: Mapping[str, str], system: ActorSystem, applied: Callable[[Plan], object] | None
    ) -> None:
        self._environ = environ
        self._system = system
        self._applied = applied

    async def reload(self) -> str:
        """Read the file again and put it in force; what was changed, in a sentence.

        One at a time: control sees to it. Raises NotReady or another error of ours where nothing was changed, and Unfinished
        where something was.
        """
        old = self.builder.plan
        new = await self.builder.reader.call(read_plan, old.config.source, self._environ)
        steps = steps_of(old, new)
        if not steps:
            return "nothing has changed"
        histories = await self._histories(steps)
        await self._write(histories)
        # Behind the history nothing is refused any more: what goes wrong from here on leaves the new plan in force.
        self._take_over(new)
        without_log = self._log_as(old, new)
        await self._rebuild(steps)
        return _told(steps) + without_log

    # --- the history -----------------------------------------------------------------------------------------------------

    async def _histories(self, steps: Sequence[Step]) -> dict[str, ChangeParameters]:
        """What each account's history has to tell. Nothing is written before all of them can take it."""
        if self._control.is_stopping:
            raise InputError("the daemon is stopping")
        if self._control.is_starting:
            raise NotReady("the daemon is still starting")
        if self._control.store_is_away and any(step.scope in (ACCOUNT, ACCOUNTS) for step in steps):
            raise InputError(
                "the books' server is away, and an account that is built anew would stand still until it is back; reload then"
            )
        histories: dict[str, ChangeParameters] = {}
        for account in self._accounts():
            mine = [step for step in steps if step.account in (None, account.name)]
            if mine:
                await self._require_ready(account.name)
                histories[account.name] = ChangeParameters(
                    tuple(_history_row(step, account.parameter_mode) for step in mine)
                )
        return histories

    def _accounts(self) -> list[AccountConfig]:
        """Those that still trade: one whose feed has ended does nothing any more that a setting could change."""
        every = [account.config for account in self.builder.plan.accounts]
        return [account for account in every if account.name not in self._control.ended]

    async def _require_ready(self, account: str) -> None:
        try:
            status = await self._executor(account).ask(Describe(), timeout_s=ASK_TIMEOUT_S, lane=Lane.CONTROL)
        except ActorError as error:
            raise NotReady(f"account {account} cannot take it now ({error})") from error
        assert isinstance(status, AccountStatus)
        if status.execution is None or not status.ts_ns:  # without a tick it knows no time to date the change with
            raise NotReady(f"account {account} is still starting")

    async def _write(self, histories: Mapping[str, ChangeParameters]) -> None:
        """Durable before anything takes effect: a process that dies in between starts from the new file anyway."""
        asks = [(self._executor(account), history) for account, history in histories.items()]
        try:
            await ask_each(asks, timeout_s=ASK_TIMEOUT_S)
        except ActorError as error:
            raise Unfinished(
                f"the old configuration stays in force, but parameter_history may tell of the new one "
                f"({', '.join(histories)}): {error}. Try again"
            ) from error

    # --- putting it in force ---------------------------------------------------------------------------------------------

    def _take_over(self, new: Plan) -> None:
        """From here on whoever starts, starts with the new plan."""
        self.builder.plan = new
        self._control.settings = self.builder.control_settings()

    def _log_as(self, old: Plan, new: Plan) -> str:
        """Log as the new plan says, where it says otherwise or knows other secrets; what of that could not be, for the answer.

        The log is for looking at: trading goes on without its file (degrade).
        """
        before, now = old.config, new.config
        if self._applied is None or (before.logging, before.vault.values()) == (now.logging, now.vault.values()):
            return ""
        try:
            self._applied(new)
        except InputError as error:
            logger.warning("the log goes on without its file until the next start: {}", error)
            return f"; but the log goes on without its file until the next start: {error}"
        return ""

    async def _rebuild(self, steps: Sequence[Step]) -> None:
        """Start those again whom it concerns. One that does not come back does not keep the others from it."""
        without = dict.fromkeys(self._to_restart(steps), "the daemon is stopping")
        try:
            for name in list(without):
                if self._control.is_stopping:
                    break
                try:
                    await self._restart(name)
                except ActorError as error:
                    without[name] = str(error)
                else:
                    del without[name]
        except BaseException:  # the process ends: let nobody believe that all was done, or nothing
            logger.error("reload not finished: {}", _unfinished(steps, without))
            raise
        if without:
            raise Unfinished(_unfinished(steps, without))

    def _to_restart(self, steps: Sequence[Step]) -> list[str]:
        scopes = {step.scope for step in steps}
        concerned = {step.account for step in steps if step.scope == ACCOUNT}
        accounts = [a.name for a in self._accounts() if ACCOUNTS in scopes or a.name in concerned]
        return ([SCHEDULER] if SCHEDULER in scopes else []) + accounts

    async def _restart(self, name: str) -> None:
        logger.info("{} takes over its new settings", name)
        root = self._system.supervisor("root")
        if name == SCHEDULER:  # which keeps nothing
            await root.restart_child(name)
            return
        self._control.rebuilding = name
        try:
            await self._save(name)
            await root.restart_child(name)
        finally:
            self._control.rebuilding = None

    async def _save(self, account: str) -> None:
        """Everybody is saved where he stands: with new settings nothing is decided about the past."""
        within_s = self.builder.plan.config.daemon.stop_timeout_s
        try:
            await self._system.ref(f"{account}/feed").ask(StopFeed("reload", "keep"), timeout_s=within_s)
        except ActorError as error:
            logger.warning("{} could not be saved before it is started again: {}", account, error)

    @property
    def _control(self) -> Control:
        assert self.builder.control is not None, "who asks for a reload is control"
        return self.builder.control

    def _executor(self, account: str) -> ActorRef:
        return self._system.ref(f"{account}/executor")


def _told(steps: Sequence[Step]) -> str:
    more = f" and {len(steps) - SHOWN_MAX} more" if len(steps) > SHOWN_MAX else ""
    return "; ".join(map(str, steps[:SHOWN_MAX])) + more


def _unfinished(steps: Sequence[Step], without: Mapping[str, str]) -> str:
    who = "; ".join(f"{name} has not taken it over ({why})" for name, why in without.items())
    return f"in force is {_told(steps)}; {who}, and does when it starts again"


def _history_row(step: Step, parameter_mode: str | None) -> ParameterChange:
    """The executor knows its execution and the time."""
    return ParameterChange(
        execution="",
        ts_ns=0,
        strategy=step.strategy,
        name=step.change.path,
        old=None if step.change.old is None else shown(step.change.old),
        new=None if step.change.new is None else shown(step.change.new),
        parameter_mode=parameter_mode,
        reason="reload",
        changed_by="manual",
    )
