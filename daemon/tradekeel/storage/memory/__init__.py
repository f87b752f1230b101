"""Stores in memory: for tests, for trying things out, and for when nothing else is there. They forget everything at the end."""
