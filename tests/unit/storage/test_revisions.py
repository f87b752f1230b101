"""What a revision does has a checksum; how it is written down has none. Copies before migrations have names and need room."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tradekeel.errors import StoreUnavailable
from tradekeel.storage.backups import SPARE_BYTES, Copies
from tradekeel.storage.migrating import VERSIONS
from tradekeel.storage.revisions import checksum_of, checksums_in

REVISION = '''"""Trades get a colour"""

from alembic import op

revision = "0007"


def upgrade() -> None:
    """Paint them."""
    op.execute("UPDATE trades SET colour = 'blue' WHERE colour IS NULL")
'''

THE_SAME = [
    REVISION.replace('"""Trades get a colour"""', '"""Colours, for trades"""'),
    REVISION.replace('    """Paint them."""\n', ""),
    REVISION.replace("    op", "    # in blue\n    op"),
    REVISION.replace("\n\n\n", "\n"),
    REVISION.replace('"UPDATE trades SET colour', '"UPDATE trades "\n        "SET colour'),
    REVISION.replace('"0007"', "'0007'"),
    REVISION.replace("\n", "\r\n"),
]

ANOTHER = [
    REVISION.replace("blue", "Blue"),
    REVISION.replace("op.execute", "op.run"),
    REVISION.replace(" -> None", ""),
    REVISION.replace('"0007"', '"0008"'),
    REVISION + "\nthing = 1\n",
    REVISION.replace("blue", "blue\\n"),
]


@pytest.mark.parametrize("source", THE_SAME)
def test_what_is_only_written_otherwise_has_the_same_checksum(source):
    assert source != REVISION
    assert checksum_of(source) == checksum_of(REVISION)


@pytest.mark.parametrize("source", ANOTHER)
def test_what_does_something_else_has_another_checksum(source):
    assert checksum_of(source) != checksum_of(REVISION)


def test_a_checksum_is_the_same_in_every_version_of_python():
    """This one was computed with 3.11, 3.12 and 3.13."""
    source = (
        "revision = '1'\nx = f'{revision!r:>4}' 'y'\n"
        "def f(*a: int, b=1.5, **c) -> None:\n    return (not a, b'z', -1, None)\n"
    )
    assert checksum_of(source) == "9c30a55e7c86c06384312d99b9b7329c7032ac9e7e8f43841cb5be8c531852a0"


def test_the_revisions_of_a_folder_go_by_their_numbers(tmp_path):
    (tmp_path / "r0007_colour.py").write_text(REVISION)
    assert checksums_in(tmp_path) == {"0007": checksum_of(REVISION)}
    (tmp_path / "r0008_none.py").write_text("x = 1")
    with pytest.raises(ValueError, match=r"r0008_none\.py does not say which revision it is"):
        checksums_in(tmp_path)


def test_a_copy_that_could_not_be_finished_is_not_begun(tmp_path):
    copies = Copies(tmp_path / "not" / "there" / "yet", "books", ".db")
    copies.refuse_without_room(1)
    with pytest.raises(StoreUnavailable, match="make room there"):
        copies.refuse_without_room(10**18 - SPARE_BYTES)
    assert list(tmp_path.iterdir()) == []


def test_threads_may_look_at_the_revisions_at_the_same_time() -> None:
    """The collector runs code of others in the middle of a parse, and with it comes another thread's turn."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()

    def others_code(_phase: str, _info: object) -> None:
        for _number in range(20):
            pass

    gc.callbacks.append(others_code)
    gc.set_threshold(100)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: checksums_in(VERSIONS), range(6)))
    finally:
        sys.setswitchinterval(interval_s)
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(others_code)
    assert all(each == found[0] for each in found)
