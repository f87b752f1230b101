"""The guides name every limit, every denial and every finding, and say of them what the code says."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from tradekeel.config.decode import decode
from tradekeel.domain.reconcile import POLICY, FindingKind
from tradekeel.domain.risk import DenialCode, RiskLimits
from tradekeel.errors import FAULT_TABLE, ErrorAction, ErrorCategory, FailureWord

DOCS = Path(__file__).parents[3] / "docs"
RISK = (DOCS / "risk.md").read_text(encoding="utf-8")
RECOVERY = (DOCS / "recovery.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("limit", RiskLimits.__struct_fields__)
def test_every_limit_is_explained(limit):
    assert re.search(rf"^\| .*`{limit}`", RISK, re.MULTILINE)


@pytest.mark.parametrize("code", DenialCode)
def test_every_denial_is_named(code):
    assert f"`{code}`" in RISK


def test_the_defaults_are_those_of_the_code():
    assert f"`price_age_max_s` ({RiskLimits().price_age_max_s})" in RISK
    assert f"`rate_age_max_s` ({RiskLimits().rate_age_max_s})" in RISK
    assert f"`on_trip` (`{RiskLimits().on_trip}`)" in RISK


def test_the_example_can_be_read():
    example = tomllib.loads(RISK.split("```toml\n")[1].split("```")[0], parse_float=Decimal)
    problems: list[str] = []
    limits = decode(example["accounts"]["main"]["risk"], RiskLimits, "accounts.main.risk", problems)
    assert problems == []
    assert limits is not None
    rule = limits.signal_filter.rule("TOKYO", "conservative")
    assert (rule.confidence_threshold, rule.min_risk_reward) == (Decimal("0.7"), Decimal(2))


@pytest.mark.parametrize("kind", FindingKind)
def test_every_finding_has_the_word_of_the_policy(kind):
    row = re.search(rf"^\| `{kind}` \|.*\| (\S+) \|$", RECOVERY, re.MULTILINE)
    assert row is not None
    assert row[1] == POLICY[kind].word


@pytest.mark.parametrize("word", FailureWord)
def test_every_failure_word_is_explained(word):
    assert re.search(rf"^\| \*\*{word}\*\* \|", RECOVERY, re.MULTILINE)


@pytest.mark.parametrize("category", ErrorCategory)
def test_every_category_and_action_has_the_word_of_the_table(category):
    name = category.value.replace("_", " ")
    row = re.search(rf"^\| \*\*{name}\*\*:[^|]*\|(.*)\|$", RECOVERY, re.MULTILINE)
    assert row is not None
    words = [cell.strip() for cell in row[1].split("|")]
    assert words == [FAULT_TABLE[category].words[action].value for action in ErrorAction]
