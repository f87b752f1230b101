"""The books on disk: tables, the journal's store, its verification, and the reading side.

``tables`` says what is stored, ``rows`` maps the domain's rows onto it, ``schema`` keeps the file at the right
version, ``store`` is the one writer, ``verify`` proves that tables and journal agree, ``queries`` reads without
disturbing anyone. Books on a server that may be away are ``standin``, with ``breaker``, and ``spool`` or ``memoryspool``.
``repositories`` are for scripts and other programs, and ``tradestore`` is the smallest of them, which can be had from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradekeel.storage.tradestore import get_trade_store, reset_trade_store

__all__ = ["get_trade_store", "reset_trade_store"]


def __getattr__(name: str) -> Any:
    """What scripts want, imported when they do: the daemon's start has no need for it."""
    if name in __all__:
        from tradekeel.storage import tradestore

        return getattr(tradestore, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
