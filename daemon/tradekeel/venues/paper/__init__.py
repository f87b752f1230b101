"""The paper venue: a venue in its own right, with a ledger of its own that survives a kill of the daemon as an exchange would.

:class:`PaperVenue` is the venue, :class:`PaperSettings` how it behaves (a ``[accounts.NAME.paper]`` table),
:class:`PaperAccount` whose money it is. The rules are told in docs/paper.md; the matching itself is
:mod:`tradekeel.domain.matching`.
"""

from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.venues.paper.ledger import Opened, PaperLedger, read_ledger, read_opened
from tradekeel.venues.paper.venue import PaperVenue

__all__ = ["Opened", "PaperAccount", "PaperLedger", "PaperSettings", "PaperVenue", "read_ledger", "read_opened"]
