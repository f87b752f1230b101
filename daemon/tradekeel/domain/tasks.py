"""Tasks: what somebody asked to be run, and each time that it was run. Job control, and no part of the books."""

from __future__ import annotations

from enum import StrEnum

PROGRESS_MAX = 100
"""Percent: progress counts from 0 to this."""


class TaskType(StrEnum):
    """What a task runs."""

    LIVE = "live"
    PAPER = "paper"
    BACKTEST = "backtest"
    OPTIMISE = "optimise"


class TaskStatus(StrEnum):
    """How far one execution of a task is."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"
