"""What the documentation tells people to type, read out of it."""

from __future__ import annotations

import re
from pathlib import Path

ADAPTER = "trading-adapter"
STAND_IN = ">PASSWORD"


def acl_line(guide: Path, password: str) -> str:
    """The command that makes the user, as the guide writes it, with a password of ours in the place of the guide's."""
    lines: list[str] = re.findall(rf"^ACL SETUSER {ADAPTER} .*$", guide.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 1, f"the guide makes the user {len(lines)} times"
    assert lines[0].count(STAND_IN) == 1
    return lines[0].replace(STAND_IN, f">{password}")
