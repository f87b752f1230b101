"""A kernel's state between two ticks, as bytes: what a run that was killed goes on from, to the same last byte."""

from __future__ import annotations

import msgspec

from tradekeel.backtest.kernel import Kernel
from tradekeel.domain.matching import MatcherState
from tradekeel.domain.recovery import AccountState
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint

STATE_VERSION = 1


class KernelState(AccountState, kw_only=True):
    """The account's part of a cut, as the daemon saves it, and the venue's."""

    venue: MatcherState
    snapshot_due_ns: int


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(KernelState)


def save(kernel: Kernel) -> tuple[Checkpoint, ...]:
    """Everybody's state at one moment: the account's first. To be asked between two windows, where nothing is under way."""
    account = kernel.account
    core, book = account.core, account.book
    position = account.exchange.matcher.position
    state = KernelState(
        book=book.save(),
        monitor=kernel.monitor.save(),
        memories=core.memories,
        rates=core.gate.saved_rates(),
        position=position,
        ts_ns=account.last_ns,
        quotes=core.quotes,
        venue=account.exchange.matcher.state(),
        snapshot_due_ns=kernel.snapshot_due_ns,
    )
    own = Checkpoint(
        execution=book.execution_id,
        owner=ACCOUNT_OWNER,
        position=position,
        inbox=book.sequence,
        ts_ns=account.last_ns,
        version=STATE_VERSION,
        state=_ENCODER.encode(state),
    )
    strategists = (
        Checkpoint(
            execution=book.execution_id,
            owner=strategist.settings.name,
            position=strategist.position,
            inbox=strategist.view.inbox,
            ts_ns=strategist.last_tick_ns,
            version=strategist.state_version,
            state=strategist.save(),
        )
        for strategist in kernel.strategists
    )
    return (own, *strategists)


def decode_state(data: bytes) -> KernelState:
    """The account's part; raises ``msgspec`` errors on anything else."""
    return _DECODER.decode(data)
