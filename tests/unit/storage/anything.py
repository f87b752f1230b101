"""Anything that a field may hold, and any row: for properties that must hold of all of them."""

from __future__ import annotations

import types
from decimal import Decimal
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from tradekeel.domain.trades import Trade
from tradekeel.storage.rows import mappings

# Far beyond any account: 30 digits on either side of the point, every exponent in between, and negative zero.
amounts = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=Decimal("-1e30"), max_value=Decimal("1e30")
) | st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(map(int, str(digits))), exponent)),
    st.integers(0, 1),
    st.integers(0, 10**30),
    st.integers(-30, 30),
)
# Everything but lone surrogates, which are no characters.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
times = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value a field of this type may have."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return st.one_of(*(values_of(part) for part in get_args(hint)))
    if origin is tuple:
        return st.lists(texts, max_size=4).map(tuple)
    if origin is dict:
        return st.dictionaries(texts, json_values, max_size=4)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        Decimal: amounts,
        str: texts,
        int: times,
        bool: st.booleans(),
        bytes: st.binary(max_size=40),
        type(None): st.none(),
    }
    return plain[hint]


def rows_of(row_type: Any) -> st.SearchStrategy[Any]:
    """Any row of a type. A trade's quantities stay such that its averages can be computed."""
    fields = {name: values_of(hint) for name, hint in get_type_hints(row_type).items()}
    if row_type is Trade:
        sizes = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10**9), places=2)
        names = (
            "entered_quantity",
            "exited_quantity",
            "entry_value",
            "exit_value",
            "gross_pnl",
            "entry_fee",
            "exit_fee",
        )
        fields |= dict.fromkeys((*names, "financing", "initial_stop_loss", "take_profit"), sizes)
    return st.builds(row_type, **fields)


any_row = st.sampled_from(list(mappings())).flatmap(rows_of)
