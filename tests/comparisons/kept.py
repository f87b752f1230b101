"""What quantstats said of each curve, in a file of the repository: by curve, then by figure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from tests.comparisons.rows import Figures

KEPT = Path(__file__).with_name("quantstats.json")


def keep(path: Path, version: str, figures: Mapping[str, Figures]) -> None:
    """Write it. What it left undefined is null."""
    plain = {
        curve: {name: None if math.isnan(value) else value for name, value in found.items()}
        for curve, found in figures.items()
    }
    path.write_text(json.dumps({"quantstats": version, "figures": plain}, indent=1) + "\n", encoding="utf-8")


def kept_version() -> str:
    """The quantstats that said it."""
    return str(json.loads(KEPT.read_text(encoding="utf-8"))["quantstats"])


def kept_figures(curve: str) -> dict[str, float]:
    """Its figures of a curve."""
    found = json.loads(KEPT.read_text(encoding="utf-8"))["figures"][curve]
    return {name: math.nan if value is None else value for name, value in found.items()}
