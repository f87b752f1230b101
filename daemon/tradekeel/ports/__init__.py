"""The sockets of the house: what venues, feeds, stores, caches and the log must offer, and nothing about how they do it."""

from tradekeel.ports.feed import Feed, FeedInfo
from tradekeel.ports.log import Say
from tradekeel.ports.venue import LastCheck, TickMatcher, Venue, VenueCapabilities

__all__ = ["Feed", "FeedInfo", "LastCheck", "Say", "TickMatcher", "Venue", "VenueCapabilities"]
