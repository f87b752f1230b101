"""The shells: each receives messages, steps its core, and performs what the core asks for. None imports another."""
