"""The unit under a real systemd: what an operator does and what can happen to the daemon, on a machine of its own.

Opt-in: `make systemd-test`, as root, with TRADEKEEL_SYSTEMD_BOX set to the script that makes the machine (docs/campaigns.md).
It is kept between runs in TRADEKEEL_SYSTEMD_ROOT, /var/tmp/tradekeel-systemd-box by default; the first run takes a minute.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.systemd_box import TRADEKEEL, Box, live_config
from tradekeel.errors import ExitCode
from tradekeel.systemd_unit import render

SCRIPT = os.environ.get("TRADEKEEL_SYSTEMD_BOX", "")
ROOT = os.environ.get("TRADEKEEL_SYSTEMD_ROOT", "/var/tmp/tradekeel-systemd-box")
DYNAMIC_UIDS = range(61184, 65520)
SECRET = "a-token-that-nobody-may-see"

pytestmark = [
    pytest.mark.skipif(not SCRIPT, reason="set TRADEKEEL_SYSTEMD_BOX to try the unit under a real systemd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a machine with a real systemd needs root"),
]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    box = Box(Path(SCRIPT), Path(ROOT))
    box.create()
    yield box
    box.stop()


@pytest.fixture
def name(box: Box, request: pytest.FixtureRequest) -> Iterator[str]:
    """A daemon of the test's own on the machine, gone afterwards with all that it had."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:31].strip("-")
    forget(box, name)
    yield name
    box.run("systemctl", "stop", f"tradekeel@{name}", ok=False)
    forget(box, name)


def forget(box: Box, name: str) -> None:
    for path in (
        f"/etc/tradekeel/{name}.toml",
        f"/etc/tradekeel/{name}.toml.previous",
        f"/etc/tradekeel/credentials/{name}",
        f"/etc/systemd/system/tradekeel@{name}.service.d",
        f"/var/lib/private/tradekeel/{name}",
        f"/var/lib/tradekeel/{name}",
    ):
        box.run("rm", "-rf", path)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "reset-failed", f"tradekeel@{name}", ok=False)


def started(box: Box, name: str, config: str) -> dict[str, str]:
    box.install(name, config)
    result = box.attempt("systemctl", "start", f"tradekeel@{name}")
    assert result.returncode == 0, "\n".join(box.journal(name)[-30:])
    return dict(box.show(name))


def config_of(name: str) -> str:
    return f"/etc/tradekeel/{name}.toml"


def orders(box: Box, name: str) -> list[dict[str, object]]:
    found = json.loads(box.run(TRADEKEEL, "orders", config_of(name), "--json"))
    assert isinstance(found, list)
    return found


def until_it_has_ordered(box: Box, name: str) -> None:
    box.until(name, lambda state: bool(orders(box, name)))


def test_install_puts_the_unit_and_the_file_in_place_and_systemd_finds_it_safe(box: Box, name: str) -> None:
    said = box.install(name, live_config(name))
    assert f"systemctl enable --now tradekeel@{name}" in said
    unit = (box.root / "etc/systemd/system/tradekeel@.service").read_text(encoding="utf-8")
    assert unit == render(Path(TRADEKEEL))
    report = box.run("systemd-analyze", "security", "--no-pager", f"tradekeel@{name}.service")
    assert float(report.rpartition("service:")[2].split()[0]) <= 1.5
    assert box.attempt("systemd-analyze", "verify", f"tradekeel@{name}.service").stderr == ""


def test_install_refuses_a_file_that_is_wrong(box: Box, name: str) -> None:
    box.write(f"/root/{name}.toml", live_config(name).replace("synthetic", "synthetc"))
    result = box.attempt(TRADEKEEL, "systemd", "install", f"/root/{name}.toml")
    assert result.returncode == ExitCode.BAD_USAGE
    assert 'did you mean "synthetic"?' in result.stdout + result.stderr
    assert not (box.root / f"etc/tradekeel/{name}.toml").exists()


def test_ready_comes_after_the_first_reconciliation(box: Box, name: str) -> None:
    state = started(box, name, live_config(name))
    assert (state["ActiveState"], state["SubState"]) == ("active", "running")
    assert state["StatusText"]
    lines = box.journal(name)
    reconciled = next(index for index, line in enumerate(lines) if "reconciled" in line.lower())
    ready = next(index for index, line in enumerate(lines) if line.startswith("Started "))
    assert reconciled < ready


def test_it_trades_as_a_user_of_its_own_with_its_state_where_systemd_put_it(box: Box, name: str) -> None:
    state = started(box, name, live_config(name))
    status = (box.root / "proc").exists() and box.run("cat", f"/proc/{state['MainPID']}/status")
    uid = int(re.search(r"^Uid:\s+(\d+)", str(status), re.MULTILINE)[1])  # type: ignore[index]  # the kernel writes it
    assert uid in DYNAMIC_UIDS
    until_it_has_ordered(box, name)
    folder = box.run("stat", "--dereference", "--format=%u %a", f"/var/lib/tradekeel/{name}").split()
    assert folder == [str(uid), "700"]
    assert box.run("find", f"/var/lib/tradekeel/{name}/", "-not", "-user", str(uid)) == ""


def test_a_person_reaches_it_through_the_same_file(box: Box, name: str) -> None:
    started(box, name, live_config(name))
    box.run(TRADEKEEL, "pause", config_of(name))
    status = json.loads(box.run(TRADEKEEL, "status", config_of(name), "--json"))
    assert "paused" in json.dumps(status)
    box.run(TRADEKEEL, "resume", config_of(name))


def test_reload_applies_a_good_file_and_leaves_the_daemon_alone_with_a_bad_one(box: Box, name: str) -> None:
    before = started(box, name, live_config(name))
    box.write(config_of(name), live_config(name, max_layers=4))
    box.run("systemctl", "reload", f"tradekeel@{name}")
    box.until_said(name, "max_layers")
    box.write(config_of(name), live_config(name, max_layers=4).replace("synthetic", "synthetc"))
    box.run("systemctl", "reload", f"tradekeel@{name}", ok=False)
    box.until_said(name, 'did you mean "synthetic"?')
    after = box.until(name, lambda state: state["ActiveState"] == "active")
    assert after["MainPID"] == before["MainPID"]
    assert after["NRestarts"] == "0"


def test_killed_it_comes_back_and_the_books_hold(box: Box, name: str) -> None:
    before = started(box, name, live_config(name))
    until_it_has_ordered(box, name)
    ordered = {str(order["client_order_id"]) for order in orders(box, name)}
    box.run("kill", "-KILL", before["MainPID"])
    after = box.until(
        name, lambda state: state["ActiveState"] == "active" and state["MainPID"] not in {"0", before["MainPID"]}
    )
    assert after["NRestarts"] == "1"
    ids = [str(order["client_order_id"]) for order in orders(box, name)]
    assert ordered <= set(ids)
    assert len(ids) == len(set(ids))
    box.run("systemctl", "stop", f"tradekeel@{name}")
    box.run(TRADEKEEL, "verify", config_of(name))


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_started_again(box: Box, name: str) -> None:
    box.drop_in(name, "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    before = started(box, name, live_config(name))
    box.run("kill", "-STOP", before["MainPID"])
    after = box.until(
        name, lambda state: state["ActiveState"] == "active" and state["MainPID"] not in {"0", before["MainPID"]}
    )
    assert after["NRestarts"] == "1"
    assert any("Watchdog timeout" in line for line in box.journal(name))


def test_stop_is_quick_and_clean(box: Box, name: str) -> None:
    started(box, name, live_config(name))
    until_it_has_ordered(box, name)
    box.run("systemctl", "stop", f"tradekeel@{name}")
    # systemd forgets a unit that has ended well: what it was is in the journal only.
    said = box.journal(name)
    assert said[-1].startswith("Stopped ")
    assert said[-2].endswith("Deactivated successfully.")
    assert box.seconds_between(name, "Stopping ", "Stopped ") < 5
    box.run(TRADEKEEL, "verify", config_of(name))


def test_a_feed_that_ends_lets_it_end_and_stay_down(box: Box, name: str) -> None:
    config = live_config(name).replace("live = true", 'duration = "10m"')
    started(box, name, config)
    box.until_said(name, "Deactivated successfully.")
    said = box.journal(name)
    assert any("the feed of paper has ended" in line for line in said)
    assert sum(line.startswith("Starting ") for line in said) == 1
    assert box.show(name)["ActiveState"] == "inactive"


def test_a_credential_reaches_it_and_nobody_else(box: Box, name: str) -> None:
    box.write(f"/etc/tradekeel/credentials/{name}/token", SECRET + "\n", mode=0o600)
    state = started(box, name, live_config(name, account='token = { credential = "token" }'))
    assert state["ActiveState"] == "active"
    handed_over = f"/run/credentials/tradekeel@{name}.service/tradekeel_token"
    # Mode 0400, and root's but for the one entry that lets the daemon's user in.
    assert box.run("cat", handed_over).strip() == SECRET
    assert (
        box.attempt("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "cat", handed_over).returncode != 0
    )
    assert SECRET not in "\n".join(box.journal(name))
    assert SECRET not in box.run(TRADEKEEL, "status", config_of(name), "--json")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (live_config("exit").replace("max_layers", "max_lawyers"), 'did you mean "max_layers"?'),
        (
            live_config("exit", account='token = { credential = "nobody" }'),
            'systemd handed over no credential "nobody"',
        ),
    ],
    ids=["typo", "credential"],
)
def test_a_wrong_configuration_is_not_tried_again(box: Box, name: str, config: str, said: str) -> None:
    box.install(name, live_config(name))
    box.write(config_of(name), config)
    assert box.attempt("systemctl", "start", f"tradekeel@{name}").returncode != 0
    state = box.show(name)
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", "2", "0")
    assert any(said in line for line in box.journal(name))


def test_a_second_daemon_on_the_same_state_is_refused_and_not_tried_again(box: Box, name: str) -> None:
    twin = f"{name[:25]}-twin"
    forget(box, twin)
    shared = "[Service]\nUser=tradekeel-shared\n"
    box.drop_in(name, shared)
    before = started(box, name, live_config(name))
    box.drop_in(twin, f"{shared}StateDirectory=\nStateDirectory=tradekeel/{name}\n")
    box.install(twin, live_config(twin))
    assert box.attempt("systemctl", "start", f"tradekeel@{twin}").returncode != 0
    state = box.show(twin)
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", "6", "0")
    assert box.show(name)["MainPID"] == before["MainPID"]
    forget(box, twin)


def test_each_of_the_three_exit_codes_prevents_a_restart(box: Box, name: str) -> None:
    box.install(name, live_config(name))
    assert box.show(name)["RestartPreventExitStatus"].split() == ["2", "4", "6"]
