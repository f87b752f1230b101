"""A process that commits until it dies: run by the tests of kills and full disks.

    python -m tests.unit.storage.committer PATH [POINT:PASS] [BYTES_MAX]

Prints the last acknowledged journal number after each commit. At the given pass of a point it kills itself; with
BYTES_MAX no file may grow beyond that, and the store's complaint is printed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

from tests.unit.storage import samples as s
from tradekeel.errors import StoreUnavailable
from tradekeel.storage.store import Store, Written

GROUPS = 6


def main() -> None:
    path, kill_at, bytes_max = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    passed: Counter[str] = Counter()

    def point(name: str) -> None:
        passed[name] += 1
        if f"{name}:{passed[name]}" == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    desk = s.Desk()
    store = Store.open(path, now_ns=s.START_NS, point=point)
    store.commit([desk.opening()])
    if bytes_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    while True:
        groups = []
        for _ in range(GROUPS // 2):
            groups += [desk.decision(), desk.filled(desk.orders)]
        try:
            written = store.commit(groups)[-1]
        except StoreUnavailable as error:
            print(f"failed: {error}", flush=True)
            break
        assert isinstance(written, Written)
        print(written.last, flush=True)
    try:
        store.commit([s.group(s.noted())])
    except StoreUnavailable:
        print("refused", flush=True)


if __name__ == "__main__":
    main()
