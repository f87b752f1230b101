"""The log as the actors see it: they know no library, only that somebody writes down what they say. And what is said of them."""

from __future__ import annotations

from typing import Any

from loguru import logger

from tradekeel.ports.log import Level
from tradekeel.runtime.system import ActorSystem


def say(level: Level, text: str, **fields: str) -> None:
    """One line; ``fields`` are shown behind it. Braces in the text mean nothing."""
    logger.bind(**fields).opt(depth=1).log(level, "{}", text)  # the line is its caller's


def actor_figures(system: ActorSystem) -> dict[str, dict[str, Any]]:
    """Each actor's mail, work and restarts, for the status."""
    return {
        name: {
            "state": snap.state.value,
            "mail": snap.mail_depth,
            "mail_max": snap.mail_high_water,
            "handled": snap.handled,
            "replaced": snap.replaced,
            "restarts": snap.restarts,
            "latency_p50_us": round(snap.latency_p50_s * 1e6),
            "latency_p99_us": round(snap.latency_p99_s * 1e6),
        }
        for name, snap in system.snapshot().items()
    }
