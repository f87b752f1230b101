"""A daemon whose wall clock is stepped, as NTP or a person would; a process of its own, because it is a clock for all of it.

    python -m tests.scenarios.support_clock CONFIG STEP_S AFTER

STEP_S seconds are added to UTC, for good, AFTER so many seconds from the start, or from when on there is a file of this name.
Monotonic time does not notice.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tradekeel.bootstrap.early import install_signals
from tradekeel.runtime.clock import SystemClock

NS_PER_S = 1_000_000_000

if __name__ == "__main__":
    signals = install_signals()

    import os

    from tradekeel.bootstrap.launch import RunOptions, launch

    config, step_s, after = sys.argv[1:]
    began_s = time.monotonic()

    def is_stepped() -> bool:
        return os.path.exists(after) if "/" in after else time.monotonic() - began_s > float(after)

    def now_ns(self: SystemClock) -> int:
        return time.time_ns() + (int(float(step_s) * NS_PER_S) if is_stepped() else 0)

    SystemClock.now_ns = now_ns  # type: ignore[method-assign]  # that is what this process is for
    sys.exit(launch(Path(config), RunOptions(), signals, os.environ))
