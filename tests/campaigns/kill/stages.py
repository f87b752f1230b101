"""The stages of an order's life, of the books and of recovery, and which kill points stand for each.

A campaign must have killed at every stage; the table it prints has one line for each. Points are named in the code that
passes them (``tradekeel.runtime.faults``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One line of the table."""

    chapter: str
    what: str
    points: tuple[str, ...]


def _stage(chapter: str, what: str, *points: str) -> Stage:
    return Stage(chapter, what, points)


STAGES: tuple[Stage, ...] = (
    _stage("an order", "decided by the strategy, not handed over", "strategist.before_decide"),
    _stage("an order", "handed over, intent not written", "executor.decide.before", "executor.before_commit"),
    _stage("an order", "intent written, not committed", "store.in_transaction", "store.before_commit"),
    _stage("an order", "committed, nobody told", "store.after_commit"),
    _stage("an order", "committed, not released", "executor.after_commit"),
    _stage("an order", "released, not sent", "executor.send.before", "session.place.before"),
    _stage("an order", "on the wire", "session.place.on_the_wire"),
    _stage("an order", "at the venue, not committed there", "paper.place.before_commit"),
    _stage("an order", "committed by the venue, answer not received", "paper.place.after_commit"),
    _stage("an order", "answer received, not booked", "session.place.after"),
    _stage("an order", "answer lost, order in doubt", "executor.lost.before"),
    _stage("an order", "news read, not booked", "executor.news.before_booking"),
    _stage("a fill", "tick on its way to the venue", "session.match.before"),
    _stage("a fill", "matched, not committed by the venue", "paper.match.before_commit"),
    _stage("a fill", "committed by the venue, not told", "paper.match.after_commit"),
    _stage("a fill", "told, not booked", "session.match.after"),
    _stage("an exit", "claimed by the monitor, not written", "executor.exit.before"),
    _stage("an exit", "stop trailed, not written", "executor.trail.before"),
    _stage("an exit", "cancel of what stands in its way, not sent", "session.cancel.before"),
    _stage("an exit", "cancel at the venue, not committed there", "paper.cancel.before_commit"),
    _stage("an exit", "cancel committed by the venue, not told", "paper.cancel.after_commit"),
    _stage("an exit", "cancel answered, not booked", "session.cancel.after"),
    _stage("an exit", "stop at the venue to be moved, not sent", "session.amend.before"),
    _stage("an exit", "stop moved, not committed by the venue", "paper.amend.before_commit"),
    _stage("an exit", "stop moved and committed, not told", "paper.amend.after_commit", "session.amend.after"),
    _stage("a checkpoint", "states gathered, not written", "feed.before_cut"),
    _stage("a checkpoint", "written", "feed.after_cut"),
    _stage("a first start", "venue's ledger being made", "paper.create.before_commit", "paper.create.after_commit"),
    _stage("a first start", "account being opened", "paper.open.before_commit", "paper.open.after_commit"),
    _stage("a first start", "run being begun at the venue", "paper.begin.before_commit", "paper.begin.after_commit"),
    _stage("recovery", "books read", "executor.recover.loaded"),
    _stage("recovery", "venue about to be read", "session.read.before"),
    _stage("recovery", "venue read, its news not booked", "executor.reconcile.read"),
    _stage("recovery", "orders without an answer marked unknown", "executor.reconcile.recovering"),
    _stage("recovery", "compared, not yet ready", "executor.reconcile.after"),
    _stage("recovery", "order in doubt about to be looked up", "executor.lookup.before"),
    _stage("recovery", "order in doubt looked up", "executor.lookup.after"),
    _stage("recovery", "never arrived: about to be renewed", "executor.renew.before"),
    _stage("recovery", "monitor brought back", "monitor.attached"),
    _stage("recovery", "strategy brought back", "strategist.attached"),
    _stage("recovery", "feed going back", "feed.open"),
    _stage("recovery", "feed going over what it has passed before", "feed.rewinding"),
    _stage("recovery", "caught up, what was held back not sent", "feed.arrived"),
    _stage("the end", "feed has ended", "feed.ending"),
    _stage("the end", "working orders ended", "feed.ending.drained"),
    _stage("the end", "execution being closed", "executor.close.before"),
    _stage("the end", "execution closed, process not yet over", "feed.ending.closed"),
)

ONLY_AFTER_RESTART = (
    "executor.recover.loaded",
    "session.read.before",
    "executor.reconcile.read",
    "executor.reconcile.recovering",
    "executor.reconcile.after",
    "executor.lookup.before",
    "executor.lookup.after",
    "executor.renew.before",
    "monitor.attached",
    "strategist.attached",
    "feed.open",
    "feed.rewinding",
    "feed.arrived",
)
"""Points that a second kill aims at, on the way back from the first."""

BEFORE_ARRIVAL = (
    "executor.after_commit",
    "executor.send.before",
    "session.place.before",
    "session.place.on_the_wire",
    "paper.place.before_commit",
)
"""After a kill here the venue never saw the order: recovery must prove that, and decide again."""
