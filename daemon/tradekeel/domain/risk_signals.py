"""The signal filter: how sure and how rewarding a signal must be, by trading session and parameter mode.

The table has defaults, overrides per session, overrides per parameter mode, and overrides per session within a mode. For
each of the two figures the most specific entry that sets it wins, in this order: mode and session, mode, session,
default. A figure that no entry sets is not asked for. Where one is asked for and the signal does not carry it, the
entry is denied.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from tradekeel.domain.money import ONE, WORKING, ZERO, Rounding, divide
from tradekeel.domain.orders import Side
from tradekeel.domain.sessions import Session

SESSION_NAMES = frozenset(session.value for session in Session)
RISK_REWARD_MOST = Decimal(1000)
RISK_REWARD_STEP = Decimal("0.000001")


class SignalRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signal must reach; None leaves the figure to the next less specific rule."""

    confidence_threshold: Annotated[Decimal, Meta(extra={"ge": 0, "le": ONE})] | None = None
    """Least confidence, 0 to 1."""
    min_risk_reward: Annotated[Decimal, Meta(extra={"ge": 0, "le": RISK_REWARD_MOST})] | None = None
    """Least distance to the target over distance to the stop, both from the entry price."""

    def __post_init__(self) -> None:
        _check("confidence_threshold", self.confidence_threshold, ONE)
        _check("min_risk_reward", self.min_risk_reward, RISK_REWARD_MOST)


class ModeRule(SignalRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule of one parameter mode, with its own overrides per session."""

    sessions: dict[str, SignalRule] = {}

    def __post_init__(self) -> None:
        SignalRule.__post_init__(self)
        _check_sessions(self.sessions)


class SignalFilter(SignalRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole table. Its own two figures are the defaults."""

    sessions: dict[str, SignalRule] = {}
    modes: dict[str, ModeRule] = {}

    def __post_init__(self) -> None:
        SignalRule.__post_init__(self)
        _check_sessions(self.sessions)

    def rule(self, session: str | None, mode: str | None) -> SignalRule:
        """What holds in ``session`` (None: no session is open) under parameter ``mode``."""
        of_mode = self.modes.get(mode) if mode is not None else None
        rules = (
            of_mode.sessions.get(session) if of_mode is not None and session is not None else None,
            of_mode,
            self.sessions.get(session) if session is not None else None,
            self,
        )
        known = [rule for rule in rules if rule is not None]
        return SignalRule(
            confidence_threshold=_first([rule.confidence_threshold for rule in known]),
            min_risk_reward=_first([rule.min_risk_reward for rule in known]),
        )

    @property
    def asks_anything(self) -> bool:
        """Whether any rule of the table asks for a figure."""
        every: list[SignalRule] = [self, *self.sessions.values(), *self.modes.values()]
        for mode in self.modes.values():
            every.extend(mode.sessions.values())
        return any(r.confidence_threshold is not None or r.min_risk_reward is not None for r in every)


def risk_reward(side: Side, entry: Decimal | None, stop: Decimal | None, target: Decimal | None) -> Decimal | None:
    """Distance to the target over distance to the stop, both from the entry. None unless each lies on its own side.

    Rounded down to a millionth, so that a signal never passes by its rounding.
    """
    if entry is None or stop is None or target is None:
        return None
    # By hand in the wide context: these are a strategy's own figures, which may be further apart than the ledger has digits.
    risk, reward = WORKING.subtract(entry, stop), WORKING.subtract(target, entry)
    if side is Side.SELL:
        risk, reward = risk.copy_negate(), reward.copy_negate()
    if risk <= ZERO or reward <= ZERO:
        return None
    return divide(reward, risk, RISK_REWARD_STEP, Rounding.SHARE)


def _first(values: list[Decimal | None]) -> Decimal | None:
    return next((value for value in values if value is not None), None)


def _check(name: str, value: Decimal | None, most: Decimal) -> None:
    if value is not None and not (value.is_finite() and ZERO <= value <= most):
        raise ValueError(f"{name} must be from 0 to {most}, found {value}")


def _check_sessions(sessions: dict[str, SignalRule]) -> None:
    unknown = sorted(set(sessions) - SESSION_NAMES)
    if unknown:
        raise ValueError(f"unknown session {', '.join(unknown)}: choose from {', '.join(sorted(SESSION_NAMES))}")
