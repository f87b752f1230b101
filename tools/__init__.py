"""Checks that `make check` runs on the project itself. Nothing here is part of the daemon."""
