"""The daemon without its command line: started by a campaign as a process of its own, killed, and started again.

    python tests/campaigns/child.py CONFIG

It does what `tradekeel run` does, signal handlers first, and leaves out what is for people to look at, so that a
restart costs what a restart costs.
"""

from __future__ import annotations

import signal
import sys

from tradekeel.runtime.signals import SignalInbox

if __name__ == "__main__":
    inbox = SignalInbox([signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGURG])
    inbox.install()

    import os
    from pathlib import Path

    from tradekeel.bootstrap.daemon import run_daemon
    from tradekeel.bootstrap.plan import read_plan

    sys.exit(int(run_daemon(read_plan(Path(sys.argv[1]), os.environ), inbox, os.environ)))
