"""What every test shares: the event loop, seeds, profiles, recorded data, and the folders that name a test's kind.

Three profiles decide how long the rounds are: `dev` (`make test`), `ci` (`make check`) and `campaign`
(`make campaign`), set with TRADEKEEL_PROFILE. In the first two a test's seed is a hash of its name, so that a run
repeats itself; a campaign draws a new one each time. TRADEKEEL_SEED overrides both, and a failing test shows the
seed it had.
"""

from __future__ import annotations

import decimal
import gc
import hashlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import cradle
from tests.servers import fixtures
from tests.servers.fixtures import (  # noqa: F401 - pytest finds them here
    own_postgres,
    own_redis,
    postgres_admin,
    postgres_books,
    postgres_server,
    postgres_url,
    proxy_before,
    redis_server,
    redis_url,
    servers_folder,
)
from tests.tracing import traced_as_needed, untraced
from tools.minder import minded

ROOT = Path(__file__).parent.parent
PROFILES = ("dev", "ci", "campaign")
PROFILE = os.environ.get("TRADEKEEL_PROFILE", "dev")
GARBAGE_LOOKED_FOR_EVERY = 20_000
"""Objects that were made and are there still."""

KIND_OF_FOLDER = {
    "unit": "unit",
    "integration": "integration",
    "acceptance": "integration",
    "conformance": "integration",
    "scenarios": "scenario",
    "simulation": "scenario",
}

# Deadlines are wall-clock time, and a busy machine is no bug: none.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("dev", max_examples=40, derandomize=True, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("campaign", max_examples=2_000, **_COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile; a name that does not exist stops the run."""
    if PROFILE not in PROFILES:
        raise pytest.UsageError(f"TRADEKEEL_PROFILE={PROFILE!r}: choose one of {', '.join(PROFILES)}")
    cradle.is_wanted = PROFILE != "campaign"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what goes on behind it, and what we start inherits it: an interrupted daemon would run for ever.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile(PROFILE)


def pytest_report_header() -> str:
    """Say at the top what this run was made of."""
    seed = os.environ.get("TRADEKEEL_SEED", "of each test's name" if PROFILE != "campaign" else "new for each test")
    return f"tradekeel: profile {PROFILE}, loop {os.environ.get('TRADEKEEL_LOOP', 'uvloop')}, seed {seed}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder, and those that read recorded data or need a server."""
    for item in items:
        try:
            folder = item.path.relative_to(ROOT / "tests").parts[0]
        except ValueError:
            continue
        if folder in KIND_OF_FOLDER:
            item.add_marker(KIND_OF_FOLDER[folder])
        used = set(getattr(item, "fixturenames", ()))
        if "data_dir" in used:
            item.add_marker("needs_data")
        for marker in fixtures.markers_of(used):
            item.add_marker(marker)


def pytest_collection_finish() -> None:
    """What is there by now stays to the end: to look through it for garbage, again and again, took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_LOOKED_FOR_EVERY, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """See tests/tracing.py."""
    with traced_as_needed(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """See tests/tracing.py."""
    with untraced():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """See tests/tracing.py."""
    with untraced():
        return (yield)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Coroutines run on what the daemon runs on: uvloop. TRADEKEEL_LOOP=asyncio takes the plain loop."""
    loop = os.environ.get("TRADEKEEL_LOOP", "uvloop")
    if loop not in {"uvloop", "asyncio"}:
        raise pytest.UsageError(f"TRADEKEEL_LOOP={loop!r}: choose uvloop or asyncio")
    return "asyncio", {"use_uvloop": loop == "uvloop"}


@pytest.fixture(scope="session", autouse=True)
def _nothing_outlives_us() -> Iterator[None]:
    """What tests start ends with this run, even with a killed one."""
    with minded():
        yield


@pytest.fixture(autouse=True)
def _decimal_context_untouched() -> Iterator[None]:
    """The decimal context belongs to the thread: a test, or code under test, that changes it must put it back."""
    before = decimal.getcontext().copy()
    yield
    after = decimal.getcontext()
    if _rules(after) != _rules(before):
        decimal.setcontext(before)
        pytest.fail(f"the thread's decimal context was changed and left so: {before} became {after}")


def _rules(context: decimal.Context) -> tuple[Any, ...]:
    # Flags are left out: they only say what happened, and every inexact display sets one.
    traps = tuple(sorted(signal.__name__ for signal, on in context.traps.items() if on))
    return context.prec, context.rounding, context.Emin, context.Emax, context.clamp, traps


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The number this test draws its chances from: printed, and repeated with TRADEKEEL_SEED."""
    given = os.environ.get("TRADEKEEL_SEED")
    if given is not None:
        value = int(given)
    elif PROFILE == "campaign":
        value = secrets.randbelow(2**32)
    else:
        value = int.from_bytes(hashlib.blake2b(request.node.nodeid.encode(), digest_size=4).digest())
    print(f"seed: TRADEKEEL_SEED={value}")
    return value


@pytest.fixture(scope="session")
def profile() -> str:
    """The profile's name, for tests that choose their rounds by it."""
    return PROFILE


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded market data: TRADEKEEL_DATA, or ../shared/data beside the repository."""
    given = os.environ.get("TRADEKEEL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if given:
            pytest.fail(f"TRADEKEEL_DATA={given} is not a folder")
        pytest.skip(f"no recorded market data at {folder}: set TRADEKEEL_DATA to the folder that holds it")
    return folder.resolve()
