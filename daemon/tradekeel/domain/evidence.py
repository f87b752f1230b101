"""Did an order ever arrive? The evidence, as a state machine.

"It never arrived" is a claim about the past of another computer, and a wrong one buys twice; so it needs proof, and the
venue declares which it offers::

    cursor   its account record is gap-free: what is not in it did not happen. Proved when the record, read without a
             gap, does not have the order at a time when the request can no longer be under way (left by + venue timeout
             + lag margin), and again a lag margin later.
    expiry   it refuses requests older than a moment that was sent along. Proved when it does not know the order after
             that moment + lag margin, and again a lag margin later.
    none     nothing that we see proves it: a person resolves the order.

A venue that is driven by our own ticks keeps its record in step with the request: no timeout, no lag, and one look after the
request's task is over is enough. While our own task may still write, nothing is proved at any venue.

::

    SEARCHING ──look: found──────────────▶ FOUND
        │ ├──look: counts, enough of them▶ PROVED ──look: found──▶ FOUND (the proof was wrong: halt)
        │ └──look: counts, no proof──────▶ NEEDS_PERSON ──look: found──▶ FOUND
        └──look: too early, or with a gap─▶ SEARCHING (a gap forgets what was counted)
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, structs

from tradekeel.domain.times import NS_PER_S

NEVER_ARRIVED = "the venue's record, read without a gap, does not have it"
"""Why an order is taken for one that was not sent."""


class Proof(StrEnum):
    """How a venue can prove that an order never arrived."""

    CURSOR = "cursor"  # its account record is gap-free: what is not in it did not happen
    EXPIRY = "expiry"  # it refuses requests older than a deadline that we send along
    NONE = "none"  # only a person can tell


class Verdict(StrEnum):
    """What the evidence amounts to."""

    SEARCHING = "searching"
    FOUND = "found"
    PROVED = "proved"
    NEEDS_PERSON = "needs_person"


class EvidenceRules(Struct, frozen=True, kw_only=True):
    """What a venue's word is worth. Times in nanoseconds."""

    proof: Proof
    timeout_ns: int
    """How long a request that has left may be under way."""
    lag_ns: int
    """How late the venue's answers may show what has happened."""
    looks_needed: int = 2

    @staticmethod
    def of(proof: str, request_timeout_s: float, lag_margin_s: float, *, matches_ticks: bool = False) -> EvidenceRules:
        """From a venue's capabilities."""
        if matches_ticks:
            return EvidenceRules(proof=Proof(proof), timeout_ns=0, lag_ns=0, looks_needed=1)
        return EvidenceRules(
            proof=Proof(proof),
            timeout_ns=round(request_timeout_s * NS_PER_S),
            lag_ns=round(lag_margin_s * NS_PER_S),
        )


class NotFoundEvidence(Struct, frozen=True, kw_only=True):
    """What is known about one order that nobody has confirmed."""

    client_order_id: str
    left_by_ns: int
    """The latest moment at which the request can have left us: its deadline, or the end of its task if that was earlier."""
    expires_ns: int | None = None
    """The moment after which the venue refuses it, where one was sent along."""
    not_founds: int = 0
    last_counted_ns: int | None = None
    verdict: Verdict = Verdict.SEARCHING


class Look(Struct, frozen=True, kw_only=True):
    """One question to the venue and its answer."""

    asked_ns: int
    """When it was asked: the answer is at least as new."""
    found: bool
    complete: bool = True
    """The answer rests on a record without a gap (cursor), or on a lookup that the venue answered (expiry)."""
    request_over: bool = True
    """Our own task for the request has ended, so nothing more can leave."""


def look(evidence: NotFoundEvidence, seen: Look, rules: EvidenceRules) -> NotFoundEvidence:
    """The evidence after one more look."""
    if evidence.verdict is Verdict.FOUND:
        return evidence
    if seen.found:
        return structs.replace(evidence, verdict=Verdict.FOUND)
    if evidence.verdict is not Verdict.SEARCHING:
        return evidence
    if not seen.complete:
        return structs.replace(evidence, not_founds=0, last_counted_ns=None)
    if not seen.request_over or seen.asked_ns < next_look_ns(evidence, rules):
        return evidence
    count = evidence.not_founds + 1
    verdict = Verdict.SEARCHING
    if count >= rules.looks_needed:
        verdict = Verdict.PROVED if can_prove(evidence, rules) else Verdict.NEEDS_PERSON
    return structs.replace(evidence, not_founds=count, last_counted_ns=seen.asked_ns, verdict=verdict)


def can_prove(evidence: NotFoundEvidence, rules: EvidenceRules) -> bool:
    """Whether looking can prove anything here, or a person has to."""
    if rules.proof is Proof.CURSOR:
        return True
    return rules.proof is Proof.EXPIRY and evidence.expires_ns is not None


def next_look_ns(evidence: NotFoundEvidence, rules: EvidenceRules) -> int:
    """The first moment at which asking (again) counts."""
    if evidence.last_counted_ns is not None:
        return evidence.last_counted_ns + rules.lag_ns
    if rules.proof is Proof.EXPIRY and evidence.expires_ns is not None:
        return evidence.expires_ns + rules.lag_ns
    return evidence.left_by_ns + rules.timeout_ns + rules.lag_ns
