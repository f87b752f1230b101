"""Reload: read the file again, compare, and put in force what can change while trading goes on.

All or nothing. If anything is wrong with the file, or if a single value differs that needs a restart, nothing is changed
and the answer says what it was. What can change is applied by building the parts that it concerns anew from the new plan:
they recover from the disk as they would after a crash, so there is no second way of changing a running part, and the one
there is is exercised.
Each change is a row of ``parameter_history``, durable before it takes effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loguru import logger
from msgspec import Struct

from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.config import Change, diff
from tradekeel.domain.protocol import AccountStatus, Describe, Note, StopFeed
from tradekeel.domain.records import ParameterChange, ParameterChanged
from tradekeel.errors import InputError
from tradekeel.runtime.actor import Lane
from tradekeel.runtime.errors import ActorError
from tradekeel.runtime.system import ActorSystem

if TYPE_CHECKING:
    from tradekeel.bootstrap.wiring import Builder

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
    (r"accounts\.(?P<account>[^.]+)\.(parameter_mode|send_within_s)", ACCOUNT),
    (r"strategies\.(?P<strategy>[^.]+)\.params\..+", ACCOUNT),
)
"""What can change live, by path, and whose business it is. Everything else needs a restart."""


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
    if old.instruments != new.instruments and not any(path.startswith("instruments") for path in refused):
        refused.append("instruments")
    if old.config.state_dir != new.config.state_dir:
        refused.append("daemon.state_dir")
    if refused:
        raise InputError(f"these need a restart: {_listed(list(dict.fromkeys(refused)))}. Nothing was changed")
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


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN_MAX} more" if len(words) > SHOWN_MAX else ""
    return ", ".join(words[:SHOWN_MAX]) + more


class Reloader:
    """Reads and applies. ``applied`` hears of each plan that was put in force (the log has settings of its own)."""

    builder: Builder  # set once there is one: it needs this object, too

    def __init__(
        self, environ: Mapping[str, str], system: ActorSystem, applied: Callable[[Plan], object] | None
    ) -> None:
        self._environ = environ
        self._system = system
        self._applied = applied

    async def reload(self) -> str:
        """Read the file again and put it in force; what was changed, in a sentence. Raises InputError, and then nothing was."""
        old = self.builder.plan
        new = read_plan(old.config.source, self._environ)
        steps = steps_of(old, new)
        if not steps:
            return "nothing has changed"
        await self._write_history(steps)
        self.builder.plan = new
        if self._applied is not None:
            self._applied(new)
        if self.builder.control is not None:
            self.builder.control.settings = self.builder.control_settings()
        root = self._system.supervisor("root")
        for name in self._to_restart(steps):
            logger.info("{} takes over its new settings", name)
            if name != SCHEDULER:  # which keeps nothing
                await self._save(name)
            await root.restart_child(name)
        return "; ".join(map(str, steps[:SHOWN_MAX])) + (
            f" and {len(steps) - SHOWN_MAX} more" if len(steps) > SHOWN_MAX else ""
        )

    async def _save(self, account: str) -> None:
        """Everybody is saved where he stands: with new settings nothing is decided about the past."""
        within_s = self.builder.plan.config.daemon.stop_timeout_s
        try:
            await self._system.ref(f"{account}/feed").ask(StopFeed("reload", "keep"), timeout_s=within_s)
        except ActorError as error:
            logger.warning("{} could not be saved before it is started again: {}", account, error)

    def _to_restart(self, steps: Sequence[Step]) -> list[str]:
        concerned = {
            account.config.name
            for account in self.builder.plan.accounts
            for step in steps
            if step.scope == ACCOUNTS or (step.scope == ACCOUNT and step.account == account.config.name)
        }
        names = [a.config.name for a in self.builder.plan.accounts if a.config.name in concerned]
        return ([SCHEDULER] if any(step.scope == SCHEDULER for step in steps) else []) + names

    async def _write_history(self, steps: Sequence[Step]) -> None:
        """Before anything takes effect: a process that dies in between starts from the new file anyway."""
        for account in self.builder.plan.accounts:
            name = account.config.name
            mine = [step for step in steps if step.account in (None, name)]
            executor = self._system.ref(f"{name}/executor")
            if not mine:
                continue
            try:
                status = await executor.ask(Describe(), timeout_s=ASK_TIMEOUT_S, lane=Lane.CONTROL)
            except ActorError as error:
                raise InputError(
                    f"account {name} cannot take it now ({error}); nothing was changed, try again"
                ) from error
            assert isinstance(status, AccountStatus)
            if status.execution is None:
                raise InputError(f"account {name} is still starting; nothing was changed, try again")
            for step in mine:
                await executor.send(Note(self._record(step, name, status.execution, account.config.parameter_mode)))

    def _now_ns(self, account: str) -> int:
        """The account's time: of its last tick where ticks are replayed, because its journal knows no other."""
        pace = None if self.builder.control is None else self.builder.control.pace.get(account)
        if self.builder.replayable(account):
            return 0 if pace is None or pace.progress is None else pace.progress.ts_ns
        return self._system.clock.now_ns()

    def _record(self, step: Step, account: str, execution: str, parameter_mode: str | None) -> ParameterChanged:
        now_ns = self._now_ns(account)
        change = ParameterChange(
            execution=execution,
            ts_ns=now_ns,
            strategy=step.strategy,
            name=step.change.path,
            old=None if step.change.old is None else shown(step.change.old),
            new=None if step.change.new is None else shown(step.change.new),
            parameter_mode=parameter_mode,
            reason="reload",
            changed_by="manual",
        )
        return ParameterChanged(ts_ns=now_ns, change=change)
