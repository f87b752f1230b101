"""docs/feeds.md says what is so: its examples decode, and it names every option, kind and policy with its default."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import get_args, get_type_hints

import msgspec
import pytest

from tests.conftest import ROOT
from tradekeel.config.model import FeedTable
from tradekeel.feeds import FEEDS
from tradekeel.feeds.market import MarketSettings
from tradekeel.feeds.rows import BadRows, RowKind
from tradekeel.feeds.times import TIME_FORMATS

TEXT = (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_decode(example):
    for table in tomllib.loads(example, parse_float=Decimal)["feeds"].values():
        kind = table.pop("kind", None)
        for key in FeedTable.__struct_fields__:
            table.pop(key, None)  # those of every kind
        if kind is None:  # a part of the file feed that is shown before
            table |= {"path": "ticks", "instrument": "EUR_USD"}
        msgspec.convert(table, FEEDS[kind or "file"].settings)


@pytest.mark.parametrize("settings", [*(kind.settings for kind in FEEDS.values()), MarketSettings, FeedTable])
def test_every_option_is_there(settings):
    for field in msgspec.structs.fields(settings):
        assert re.search(rf"`{field.name}`", TEXT), field.name


def test_every_kind_of_bad_row_has_its_policies_and_its_default():
    allowed = get_type_hints(BadRows)
    defaults = BadRows()
    for kind in RowKind:
        row = re.search(rf"^\| `{kind}` \|.*?\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE)
        assert row is not None, kind
        assert row[1] == getattr(defaults, kind)
        assert tuple(re.findall(r"`(\w+)`", row[2])) == get_args(allowed[kind])


def test_every_time_format_is_there():
    for name in TIME_FORMATS:
        assert f"`{name}`" in TEXT
