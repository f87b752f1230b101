"""The sockets of the house: what venues, feeds, stores, caches and the log must offer, and nothing about how they do it."""

from tradekeel.ports.cache import Cache, KeyPage
from tradekeel.ports.feed import BuildsBars, FedByAnother, Feed, FeedInfo, TellsLastBars, last_bars_of, waits_of
from tradekeel.ports.log import Say
from tradekeel.ports.publication import Author, Board, Event, JournalSource, OpenTrades, Publication, Run
from tradekeel.ports.registry import ChangeKind, Service, ServiceChange, ServiceRegistry
from tradekeel.ports.venue import LastCheck, TickMatcher, Venue, VenueCapabilities

__all__ = [
    "Author",
    "Board",
    "BuildsBars",
    "Cache",
    "ChangeKind",
    "Event",
    "FedByAnother",
    "Feed",
    "FeedInfo",
    "JournalSource",
    "KeyPage",
    "LastCheck",
    "OpenTrades",
    "Publication",
    "Run",
    "Say",
    "Service",
    "ServiceChange",
    "ServiceRegistry",
    "TellsLastBars",
    "TickMatcher",
    "Venue",
    "VenueCapabilities",
    "last_bars_of",
    "waits_of",
]
