"""A strategy that notes when it saw its first tick, and does nothing else. The daemon loads it from this file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from tradekeel.strategies.base import Strategy


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters, no state."""


class Witness(Strategy[Nothing, Nothing]):
    """See the module. It writes a file, as no strategy should: it is part of the measurement."""

    kind = "witness"
    Params = Nothing
    State = Nothing
    noted = False

    def on_tick(self, tick, state, context):
        if not Witness.noted:
            Witness.noted = True
            note = Path(os.environ["TRADEKEEL_BENCH_NOTES"]).with_suffix(".first")
            note.write_text(f"{time.monotonic_ns()} {time.process_time_ns()}")
        return state, ()
