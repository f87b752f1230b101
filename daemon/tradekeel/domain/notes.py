"""Notes: what a strategy or a script attaches to what it does, as JSON values."""

from __future__ import annotations

import math
from typing import Any


def without_nan(value: Any) -> Any:
    """The same with text for each number that JSON has no word for: NaN and the infinities."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {name: without_nan(part) for name, part in value.items()}
        case list() | tuple():
            return [without_nan(part) for part in value]
    return value
