"""Tradekeel: a trading daemon that can be killed at any moment.

No order is lost, none is sent twice, and the books balance to the last cent. The package's parts and what each may
import stand in `docs/architecture.md`; the contract that keeps them so stands in `pyproject.toml`.
"""

__version__ = "0.1.0"
