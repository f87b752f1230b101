"""'It never arrived' is proved, or left to a person; never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.make import NOON_NS, SECOND_NS
from tradekeel.domain.evidence import (
    EvidenceRules,
    Look,
    NotFoundEvidence,
    Proof,
    Verdict,
    can_prove,
    look,
    next_look_ns,
)

CURSOR = EvidenceRules.of("cursor", request_timeout_s=10, lag_margin_s=2)
EXPIRY = EvidenceRules.of("expiry", request_timeout_s=10, lag_margin_s=2)
NONE = EvidenceRules.of("none", request_timeout_s=10, lag_margin_s=2)
PAPER = EvidenceRules.of("cursor", request_timeout_s=10, lag_margin_s=2, matches_ticks=True)
SETTLED_NS = NOON_NS + 12 * SECOND_NS
START = NotFoundEvidence(client_order_id="tk1", left_by_ns=NOON_NS)


def after(rules: EvidenceRules, *looks: Look, start: NotFoundEvidence = START) -> Verdict:
    evidence = start
    for one in looks:
        evidence = look(evidence, one, rules)
    return evidence.verdict


def missed(at_ns: int, *, complete: bool = True, request_over: bool = True) -> Look:
    return Look(asked_ns=at_ns, found=False, complete=complete, request_over=request_over)


class TestACursor:
    def test_proves_with_two_looks_after_the_request_can_be_under_way(self):
        assert after(CURSOR, missed(SETTLED_NS)) is Verdict.SEARCHING
        assert after(CURSOR, missed(SETTLED_NS), missed(SETTLED_NS + 2 * SECOND_NS)) is Verdict.PROVED

    def test_does_not_count_a_look_that_came_too_early(self):
        early = [missed(SETTLED_NS - n) for n in (5, 3, 1)]
        assert after(CURSOR, *early, missed(SETTLED_NS)) is Verdict.SEARCHING

    def test_does_not_count_the_second_look_before_the_lag_has_passed(self):
        looks = [missed(SETTLED_NS), missed(SETTLED_NS + 2 * SECOND_NS - 1)]
        assert after(CURSOR, *looks) is Verdict.SEARCHING

    def test_forgets_what_it_counted_when_the_record_had_a_gap(self):
        gap = missed(SETTLED_NS + 1, complete=False)
        later = SETTLED_NS + 60 * SECOND_NS
        assert after(CURSOR, missed(SETTLED_NS), gap, missed(later)) is Verdict.SEARCHING
        looks = [missed(SETTLED_NS), gap, missed(later), missed(later + 2 * SECOND_NS)]
        assert after(CURSOR, *looks) is Verdict.PROVED

    def test_does_not_count_while_our_own_request_may_still_write(self):
        looks = [missed(SETTLED_NS + n * 10 * SECOND_NS, request_over=False) for n in range(5)]
        assert after(CURSOR, *looks) is Verdict.SEARCHING

    def test_says_when_a_look_counts_next(self):
        assert next_look_ns(START, CURSOR) == SETTLED_NS
        once = look(START, missed(SETTLED_NS + 5), CURSOR)
        assert next_look_ns(once, CURSOR) == SETTLED_NS + 5 + 2 * SECOND_NS


class TestAVenueThatIsDrivenByOurTicks:
    def test_proves_with_one_look_once_the_request_is_over(self):
        assert after(PAPER, missed(NOON_NS, request_over=False)) is Verdict.SEARCHING
        assert after(PAPER, missed(NOON_NS)) is Verdict.PROVED


class TestAnExpiry:
    sent = structs.replace(START, expires_ns=NOON_NS + 60 * SECOND_NS)

    def test_proves_after_the_moment_that_the_venue_enforces(self):
        first = NOON_NS + 62 * SECOND_NS
        assert after(EXPIRY, missed(SETTLED_NS), missed(first - 1), missed(first), start=self.sent) is Verdict.SEARCHING
        looks = [missed(first), missed(first + 2 * SECOND_NS)]
        assert after(EXPIRY, *looks, start=self.sent) is Verdict.PROVED

    def test_proves_nothing_if_none_was_sent_along(self):
        assert not can_prove(START, EXPIRY)
        looks = [missed(SETTLED_NS), missed(SETTLED_NS + 2 * SECOND_NS)]
        assert after(EXPIRY, *looks) is Verdict.NEEDS_PERSON


class TestNoProof:
    def test_is_left_to_a_person_however_often_one_looks(self):
        looks = [missed(SETTLED_NS + n * 60 * SECOND_NS) for n in range(20)]
        assert after(NONE, *looks) is Verdict.NEEDS_PERSON

    def test_is_still_looked_up_and_may_be_found(self):
        looks = [missed(SETTLED_NS), missed(SETTLED_NS + 2 * SECOND_NS), Look(asked_ns=SETTLED_NS, found=True)]
        assert after(NONE, *looks) is Verdict.FOUND


looks = st.builds(
    Look,
    asked_ns=st.integers(NOON_NS - SECOND_NS, NOON_NS + 100 * SECOND_NS),
    found=st.sampled_from([False] * 9 + [True]),
    complete=st.sampled_from([True] * 5 + [False]),
    request_over=st.sampled_from([True] * 5 + [False]),
)
rule_sets = st.sampled_from([CURSOR, EXPIRY, NONE, PAPER])


class TestAnySequenceOfLooks:
    @given(st.lists(looks, max_size=20), rule_sets, st.sampled_from([None, NOON_NS + 5 * SECOND_NS]))
    def test_found_is_final_and_beats_any_proof(self, sequence, rules, expires_ns):
        evidence = structs.replace(START, expires_ns=expires_ns)
        found = False
        for one in sequence:
            evidence = look(evidence, one, rules)
            found = found or one.found
            assert (evidence.verdict is Verdict.FOUND) == found

    @given(st.lists(looks, max_size=20), rule_sets, st.sampled_from([None, NOON_NS + 5 * SECOND_NS]))
    def test_a_proof_rests_on_looks_that_could_have_seen_it(self, sequence, rules, expires_ns):
        evidence = structs.replace(START, expires_ns=expires_ns)
        for number, one in enumerate(sequence):
            evidence = look(evidence, one, rules)
            if evidence.verdict is not Verdict.PROVED:
                continue
            assert rules.proof is Proof.CURSOR or (rules.proof is Proof.EXPIRY and expires_ns is not None)
            settled = START.left_by_ns + rules.timeout_ns if rules.proof is Proof.CURSOR else expires_ns
            good = [
                x
                for x in sequence[: number + 1]
                if x.complete and x.request_over and x.asked_ns >= settled + rules.lag_ns
            ]
            assert len(good) >= rules.looks_needed
            assert max(x.asked_ns for x in good) - min(x.asked_ns for x in good) >= (
                rules.lag_ns if rules.looks_needed > 1 else 0
            )
            break

    @given(st.lists(looks.filter(lambda x: not x.found), max_size=30))
    def test_nothing_is_ever_proved_without_a_proof(self, sequence):
        assert after(NONE, *sequence) is not Verdict.PROVED


@pytest.mark.parametrize("verdict", [Verdict.PROVED, Verdict.NEEDS_PERSON, Verdict.FOUND])
def test_a_miss_changes_nothing_once_there_is_a_verdict(verdict):
    settled = structs.replace(START, verdict=verdict)
    assert look(settled, missed(SETTLED_NS), CURSOR) == settled
    assert look(settled, missed(SETTLED_NS, complete=False), CURSOR) == settled
