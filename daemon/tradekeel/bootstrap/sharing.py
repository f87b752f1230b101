"""Ticks that daemons share through Redis: which server a feed has, and who of ours shares what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tradekeel.actors.sharer import Sharer, SharerSettings, TicksWait
from tradekeel.bootstrap.plan import AccountPlan
from tradekeel.config import Config, FeedConfig
from tradekeel.feeds import Outbox, TappedFeed
from tradekeel.ports import Feed as Source
from tradekeel.ports import FeedInfo
from tradekeel.ports.ticks import SharedTicks
from tradekeel.runtime.actor import ActorRef
from tradekeel.runtime.clock import Clock, new_id
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.ticks import RedisTicks

READS_A_STREAM = "redis"
"""The kind of feed that does."""

CONNECTIONS_MAX = 2


def stream_of(config: Config, feed: FeedConfig) -> Callable[[str], SharedTicks] | None:
    """Makes a stream on the server of a feed; None where it has none. Reveals its password when it is called."""
    if feed.redis is None and not config.redis.url:
        return None
    return lambda name: RedisTicks(_settings(config, feed), name)


def needs_a_secret(config: Config, feed: FeedConfig) -> bool:
    """Whether looking at this feed takes a password."""
    server = feed.redis or config.redis
    return feed.password is not None or (feed.kind == READS_A_STREAM and server.password is not None)


def password_of(feed: FeedConfig) -> Callable[[], str] | None:
    """Reveals the password of a feed's own database; None where it has none."""
    return None if feed.password is None else feed.password.reveal


def _settings(config: Config, feed: FeedConfig) -> RedisSettings:
    server = feed.redis or config.redis
    return RedisSettings(
        url=server.url,
        username=server.username,
        password=None if server.password is None else server.password.reveal(),
        deadline_s=server.deadline_s,
        connections_max=CONNECTIONS_MAX,
        client_name=f"tradekeel-{config.daemon.name}",
    )


class Sharing:
    """What this process shares: an outbox a feed, for as long as the process lives.

    Of several accounts with one feed the first shares it: each conducts it by itself, and of a live market each sees another.
    """

    def __init__(self, config: Config, accounts: Sequence[AccountPlan]) -> None:
        self._config = config
        self._outboxes: dict[str, Outbox] = {}
        self._runs: dict[str, str] = {}
        self._feeds: dict[str, FeedConfig] = {}
        for account in accounts:
            feed = config.feeds[account.config.feed]
            if feed.share and feed not in self._feeds.values():
                self._feeds[account.config.name] = feed

    def shares(self, account: str) -> bool:
        """Whether this account is the one that shares its feed."""
        return account in self._feeds

    def tapped(self, account: str, source: Source, clock: Clock, sharer: ActorRef) -> Source:
        """The account's feed, shared if it is to be."""
        if not self.shares(account):
            return source
        return TappedFeed(source, self._outbox(account, source.info, sharer), clock)

    def sharer(self, account: str, info: FeedInfo, sharer: ActorRef, control: ActorRef) -> Sharer:
        """The actor that brings what waits in the outbox."""
        feed = self._feeds[account]
        run = info.fingerprint or self._runs.setdefault(feed.name, new_id())
        settings = SharerSettings(
            account=account,
            run=run,
            data=info.fingerprint or f"a live market of the kind {feed.kind}",
            ticks_max=feed.share_ticks_max,
        )
        make = stream_of(self._config, feed)
        assert make is not None, "a feed without a server is refused when the file is read"
        return Sharer(settings, self._outbox(account, info, sharer), partial(make, feed.share_as or feed.name), control)

    def _outbox(self, account: str, info: FeedInfo, sharer: ActorRef) -> Outbox:
        feed = self._feeds[account].name
        if feed not in self._outboxes:
            self._outboxes[feed] = Outbox(info, lambda: sharer.latest("ticks", TicksWait()))
        return self._outboxes[feed]
