"""How a venue matches orders against ticks: the pure core of the paper venue and of the backtest.

::

    terms      the settings, and the account's terms
    rules      what is refused, and the venue's words for it
    working    an order as the venue holds it; what touches it
    triggers   orders sorted by the prices that touch them
    registry   the open orders, found in every way needed
    costs      slippage, latency, commission, financing;   chance: draws by hash
    rates      conversion into account currency;   margin: what positions tie up and are worth
    account    sums, positions, quotes, and the gap-free record
    floor      what one tick does to the orders
    lookahead  which ticks do nothing;   windows: ticks summed up, so that many are passed at once
    matcher    all of it behind one class;   state: what is saved of it
    misbehaviour   requests that get lost on purpose

The rules themselves are told in docs/paper.md.
"""

from tradekeel.domain.matching.account import by_age
from tradekeel.domain.matching.matcher import Matcher, describe
from tradekeel.domain.matching.misbehaviour import Misbehaviour
from tradekeel.domain.matching.rules import Ending, Refusal
from tradekeel.domain.matching.state import Changes, MatcherState, Standing
from tradekeel.domain.matching.terms import Commission, FinancingRate, PaperAccount, PaperSettings, Slippage
from tradekeel.domain.matching.working import OrderState, WorkingOrder

__all__ = [
    "Changes",
    "Commission",
    "Ending",
    "FinancingRate",
    "Matcher",
    "MatcherState",
    "Misbehaviour",
    "OrderState",
    "PaperAccount",
    "PaperSettings",
    "Refusal",
    "Slippage",
    "Standing",
    "WorkingOrder",
    "by_age",
    "describe",
]
