"""The FX market's clock: sessions, the weekend, the trading day and the nightly rollover, with real daylight saving.

Sessions are the office hours of four cities, in their own local time (the usual table of brokers; there is no exchange
that decides them)::

    SYDNEY   08:00-17:00  Australia/Sydney
    TOKYO    09:00-18:00  Asia/Tokyo
    LONDON   08:00-17:00  Europe/London
    NY       08:00-17:00  America/New_York
    OVERLAP  while LONDON and NY are both open

The market is closed from Friday 17:00 to Sunday 17:00 New York time (the interbank convention), and then no session is
open either. Holidays are not modelled. Daylight saving comes from the IANA time zone database (``zoneinfo``, package ``tzdata``),
so the weeks in which Europe and America change on different Sundays come out right.

The trading day rolls at 17:00 New York time, and a position held over that moment pays or earns one night of financing;
over Wednesday's roll three, because spot settles two business days later and the weekend then lies in between. Pairs that
settle in one day, such as USD/CAD, have theirs on Thursday: which weekday it is, the instrument says
(:attr:`~tradekeel.domain.instruments.Instrument.triple_weekday`).

All functions are pure functions of UTC nanoseconds. Each UTC day's boundaries are computed once and kept.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S

DAY_NS = 86_400 * NS_PER_S

NEW_YORK = ZoneInfo("America/New_York")
ROLL = time(17)
SATURDAY, SUNDAY = 5, 6
WEDNESDAY, THURSDAY, FRIDAY = 2, 3, 4
_EPOCH = date(1970, 1, 1)

TRADING_DAYS_A_YEAR = 252
"""By convention, of markets that rest at the weekend."""

EVERY_DAY_A_YEAR = 365
"""Of markets that never close."""


class Session(StrEnum):
    """The trading sessions."""

    SYDNEY = "SYDNEY"
    TOKYO = "TOKYO"
    LONDON = "LONDON"
    NY = "NY"
    OVERLAP = "OVERLAP"


OFFICE_HOURS: dict[Session, tuple[ZoneInfo, time, time]] = {
    Session.SYDNEY: (ZoneInfo("Australia/Sydney"), time(8), time(17)),
    Session.TOKYO: (ZoneInfo("Asia/Tokyo"), time(9), time(18)),
    Session.LONDON: (ZoneInfo("Europe/London"), time(8), time(17)),
    Session.NY: (NEW_YORK, time(8), time(17)),
}
PRIMARY = (Session.OVERLAP, Session.LONDON, Session.NY, Session.TOKYO, Session.SYDNEY)
"""Where several sessions are open, the first of these is the primary one: the deepest market first."""

NO_SESSIONS: frozenset[Session] = frozenset()


class _Day(Struct, frozen=True):
    """One UTC day cut where something opens or closes: from ``cuts_ns[i]`` on, the i-th of each list holds."""

    cuts_ns: tuple[int, ...]
    sessions: tuple[frozenset[Session], ...]
    primary: tuple[Session | None, ...]
    open: tuple[bool, ...]


class Rollover(Struct, frozen=True):
    """One 17:00 in New York at which open positions pay or earn financing. ``weekday`` counts Monday as 0."""

    ts_ns: int
    weekday: int

    def nights(self, triple_weekday: int = WEDNESDAY) -> int:
        """How many nights of it, for an instrument whose weekend is financed on ``triple_weekday``."""
        return 3 if self.weekday == triple_weekday else 1


def session_at(ts_ns: int) -> Session | None:
    """The primary session, or None where no office is open."""
    day = _day(ts_ns // DAY_NS)
    return day.primary[bisect_right(day.cuts_ns, ts_ns) - 1]


def sessions_at(ts_ns: int) -> frozenset[Session]:
    """Every session that is open; OVERLAP comes together with LONDON and NY."""
    day = _day(ts_ns // DAY_NS)
    return day.sessions[bisect_right(day.cuts_ns, ts_ns) - 1]


def market_open(ts_ns: int) -> bool:
    """Whether the FX market trades: always but from Friday 17:00 to Sunday 17:00 in New York."""
    day = _day(ts_ns // DAY_NS)
    return day.open[bisect_right(day.cuts_ns, ts_ns) - 1]


def next_change_ns(ts_ns: int) -> int:
    """The first moment after ``ts_ns`` at which the answers above may differ; at most a day ahead."""
    day_number = ts_ns // DAY_NS
    cuts = _day(day_number).cuts_ns
    index = bisect_right(cuts, ts_ns)
    return cuts[index] if index < len(cuts) else (day_number + 1) * DAY_NS


def trading_day(ts_ns: int) -> date:
    """The FX trading day: it begins at 17:00 New York time of the day before its date.

    The closed weekend gets the dates of Saturday and Sunday; markets that never close have those days.
    """
    return (_wall(ts_ns) + timedelta(hours=24 - ROLL.hour)).date()


def trading_day_start_ns(day: date) -> int:
    """The moment at which the trading day ``day`` begins."""
    return _instant_ns(day - timedelta(days=1), ROLL, NEW_YORK)


def weekend_of(ts_ns: int) -> tuple[int, int]:
    """Close and open, in nanoseconds, of the first weekend that ends after ``ts_ns``."""
    wall = _wall(ts_ns)
    sunday = wall.date() + timedelta(days=(SUNDAY - wall.weekday()) % 7)
    opens_ns = _instant_ns(sunday, ROLL, NEW_YORK)
    if opens_ns <= ts_ns:
        sunday += timedelta(days=7)
        opens_ns = _instant_ns(sunday, ROLL, NEW_YORK)
    return _instant_ns(sunday - timedelta(days=2), ROLL, NEW_YORK), opens_ns


def closed_ns_between(start_ns: int, end_ns: int) -> int:
    """How much of ``[start_ns, end_ns)`` falls on weekends."""
    closed_ns, at_ns = 0, start_ns
    while at_ns < end_ns:
        closes_ns, opens_ns = weekend_of(at_ns)
        closed_ns += max(0, min(opens_ns, end_ns) - max(closes_ns, at_ns))
        at_ns = opens_ns
    return closed_ns


def next_rollover(ts_ns: int) -> Rollover:
    """The first rollover after ``ts_ns`` (not at it)."""
    day = _wall(ts_ns).date()
    while True:
        if day.weekday() not in (SATURDAY, SUNDAY):
            roll_ns = _instant_ns(day, ROLL, NEW_YORK)
            if roll_ns > ts_ns:
                return Rollover(roll_ns, day.weekday())
        day += timedelta(days=1)


def rollovers_between(start_ns: int, end_ns: int) -> tuple[Rollover, ...]:
    """Every rollover after ``start_ns`` up to and including ``end_ns``: a position that is opened at the very moment of a
    roll does not pay for it, and consecutive calls miss none and count none twice.
    """
    found = []
    roll = next_rollover(start_ns)
    while roll.ts_ns <= end_ns:
        found.append(roll)
        roll = next_rollover(roll.ts_ns)
    return tuple(found)


def _wall(ts_ns: int) -> datetime:
    """The wall clock in New York, to the second, without its zone."""
    return datetime.fromtimestamp(ts_ns // NS_PER_S, NEW_YORK).replace(tzinfo=None)


def _instant_ns(day: date, at: time, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, at, zone).astimezone(UTC).timestamp()) * NS_PER_S


@lru_cache(maxsize=2_048)
def _day(number: int) -> _Day:
    """The UTC day that is ``number`` days after 1970-01-01."""
    start_ns, end_ns = number * DAY_NS, (number + 1) * DAY_NS
    spans: list[tuple[Session, int, int]] = []
    for offset in (-1, 0, 1):  # an office day of Sydney or New York touches two UTC days
        day = _EPOCH + timedelta(days=number + offset)
        for session, (zone, opens, closes) in OFFICE_HOURS.items():
            spans.append((session, _instant_ns(day, opens, zone), _instant_ns(day, closes, zone)))
    closed = [weekend_of(start_ns), weekend_of(end_ns)]
    edges = {edge for _, opens, closes in spans for edge in (opens, closes)} | {e for pair in closed for e in pair}
    cuts = (start_ns, *sorted(edge for edge in edges if start_ns < edge < end_ns))
    is_open = tuple(not any(closes <= cut < opens for closes, opens in closed) for cut in cuts)
    found = tuple(_sessions(cut, spans) if trades else NO_SESSIONS for cut, trades in zip(cuts, is_open, strict=True))
    primary = tuple(next((s for s in PRIMARY if s in sessions), None) for sessions in found)
    return _Day(cuts, found, primary, is_open)


def _sessions(ts_ns: int, spans: list[tuple[Session, int, int]]) -> frozenset[Session]:
    found = {session for session, opens, closes in spans if opens <= ts_ns < closes}
    if Session.LONDON in found and Session.NY in found:
        found.add(Session.OVERLAP)
    return frozenset(found)
