"""Patterns with the rules of Redis, byte by byte, as a regular expression.

The rules are those of ``stringmatchlen`` in Redis's util.c, with what it makes of odd patterns: a set that is not closed goes
to the end, a backslash at the end is one, a range written backwards is turned round.
"""

from __future__ import annotations

import re
from functools import lru_cache

_STAR, _ANY, _OPEN, _CLOSE, _NOT, _ESCAPE, _TO = b"*?[]^\\-"


@lru_cache(maxsize=256)
def compiled(pattern: bytes) -> re.Pattern[bytes]:
    """The pattern as an expression to ``fullmatch`` keys with. It takes no more than key times pattern steps."""
    runs: list[list[bytes]] = [[]]  # what stands between stars
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            if runs[-1] or len(runs) == 1:
                runs.append([])
        elif byte == _ANY:
            runs[-1].append(b".")
        elif byte == _OPEN:
            one, at = _set(pattern, at)
            runs[-1].append(one)
        else:
            if byte == _ESCAPE and at < len(pattern):
                byte = pattern[at]
                at += 1
            runs[-1].append(re.escape(bytes([byte])))
    return re.compile(_joined([b"".join(run) for run in runs]), re.DOTALL)


def _joined(runs: list[bytes]) -> bytes:
    first, *others = runs
    if not others:
        return first
    *middle, last = others
    # The first place where a middle part fits is as good as any later one, so it is never given up again.
    return first + b"".join(b"(?>.*?" + run + b")" for run in middle) + b".*" + last


def _set(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The set whose bracket stands before ``at``, and where the pattern goes on behind it."""
    excluded = pattern[at : at + 1] == bytes([_NOT])
    at += excluded
    members: set[int] = set()
    while at < len(pattern):
        byte = pattern[at]
        if byte == _ESCAPE and at + 1 < len(pattern):
            at += 1
            members.add(pattern[at])
        elif byte == _CLOSE:
            at += 1
            break
        elif at + 2 < len(pattern) and pattern[at + 1] == _TO:
            low, high = sorted((byte, pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 2
        else:
            members.add(byte)
        at += 1
    if not members:
        return (b"." if excluded else b"(?!)"), at
    listed = b"".join(b"\\x%02x" % member for member in sorted(members))
    return b"[" + (b"^" if excluded else b"") + listed + b"]", at


def escaped(text: bytes) -> bytes:
    """A pattern that only this text matches."""
    return re.sub(rb"([*?\[\]^\\-])", rb"\\\1", text)
