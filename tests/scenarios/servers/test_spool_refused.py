"""What waits in the spool and cannot be brought: nothing is traded, nothing is touched, and a person has a way out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from tests.campaigns.kill.books import read_theirs
from tests.scenarios.support import Home
from tests.scenarios.support_servers import Away, Quick, paced, spooled, until_away
from tests.servers.postgres import PostgresServer
from tests.unit.storage import samples as s
from tradekeel.statedir import StateDir
from tradekeel.storage.promised import NumberedBatch, encode_groups, promise
from tradekeel.storage.spool import Spool
from tradekeel.storage.spoolfiles import END, entry_head


def held(log: str, account: str) -> int:
    """How many trades of an account are open, by the log."""
    lines = [line for line in log.splitlines() if f"account={account} " in line]
    return sum(" opened " in line for line in lines) - sum(" closed " in line for line in lines)


def sent(home: Home, account: str) -> set[str]:
    """The orders that the venue has."""
    return {order["client_order_id"] for order in read_theirs(home.ledger(account)).orders}


@pytest.fixture
def away(place: Path, own_postgres: Callable[..., PostgresServer]) -> Away:
    """A daemon that was killed while batches waited, and its server back."""
    server = own_postgres()
    home = Home(place / "home", paced(900), Quick(server.admin_url, {"on_store_failure": '"reduce_only"'}))
    waits = Away(home, server, str(home.at.place))
    with home.start() as process:
        process.until_trading("b")
        process.until_passed("executor.decide.before", 10)
        # Of b we keep the exits ourselves, so what it holds is left by orders that are sent then, and stand in the spool alone.
        process.until(lambda: held(process.log, "b") > 0, "it holds nothing")
        server.kill()
        known = sent(home, "b")
        until_away(process)
        process.until(lambda: sent(home, "b") > known, "nothing is sent while the server is away")
        process.kill()
    server.start()
    return waits


def refused(home: Home, code: int) -> str:
    """A start that goes no further; what it said."""
    with home.start() as process:
        assert process.end() == code, process.log
        assert "executor.recover.loaded" not in process.passed()
        return process.log


def goes_on_without_it(away: Away) -> None:
    """The way out: the spool is put aside, and the venue tells what was in it."""
    spool = away.home.state / "spool"
    spool.rename(away.home.state / "spool-aside")
    with away.home.start() as process:
        assert process.end() == 4, process.log
    assert "halted" in {away.home.execution(account)["latch"] for account in away.accounts}
    assert away.home.unverified() == []


def test_what_was_acknowledged_and_is_refused_ends_every_start_until_the_spool_is_put_aside(away: Away) -> None:
    """No part of ours writes such a group; it stands for a bug that does, while the server is away."""
    folder = StateDir(away.home.state).spool
    known = max(row["batch"] for row in away.home.rows("leases"))  # the first that waits may be there, unacknowledged
    waiting = [batch for batch in Spool.open(folder).pending() if batch.number > known]
    first = waiting[0].groups[0]
    lost = s.order(999, first.group.execution, account="a", trade_id="nowhere", signal_id=None)
    refused_one = promise(s.group(rows=(lost,), run=first.group.execution), first.first)
    shutil.rmtree(folder)
    spool = Spool.open(folder)
    spool.append([NumberedBatch(waiting[0].number, (refused_one,))])
    spool.append([NumberedBatch(batch.number + 1, batch.groups) for batch in waiting])
    spool.close()
    for _ in range(2):
        said = refused(away.home, 70)
        assert f"the server refuses a group of batch {waiting[0].number} " in said
        assert "Nothing was changed: keep what waits as it is, and please report this" in said
        assert next(Spool.open(folder).pending()).number == waiting[0].number
    goes_on_without_it(away)


def test_a_batch_in_the_spool_that_is_not_what_was_written_is_refused_and_named(away: Away) -> None:
    path = spooled(away.home)[-1]
    content = bytearray(path.read_bytes())
    whole = bytes(content)
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    said = refused(away.home, 4)
    assert re.search(rf"{path.name}: batch \d+ at byte \d+ is damaged", said)
    assert path.read_bytes() == content
    path.write_bytes(whole)
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


def test_a_last_batch_that_a_power_cut_tore_is_cut_off_by_hand_and_the_rest_is_brought(away: Away) -> None:
    """A later page was written before an earlier one, and nobody was answered: only whoever saw the machine go knows that."""
    path = spooled(away.home)[-1]
    content = path.read_bytes()
    spool = Spool.open(path.parent)
    waiting = list(spool.pending())
    torn = NumberedBatch(waiting[-1].number + 1, waiting[-1].groups)
    spool.close()
    payload = encode_groups(torn.groups)
    entry = entry_head(len(payload), torn.number, crc32(payload)) + bytes(20) + payload[20:] + END
    path.write_bytes(content + entry)
    said = refused(away.home, 4)
    [at] = re.findall(rf"{path.name}: batch {torn.number} at byte (\d+) is damaged", said)
    assert int(at) == len(content)
    with path.open("r+b") as file:
        file.truncate(int(at))
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()
