"""The publisher: events, open trades and the list of daemons, on a server for outside readers.

:mod:`shell` is the actor and its one task; :mod:`streams`, :mod:`boards` and :mod:`membership` are what it publishes, from the
:mod:`runs` that there are; :mod:`patience` is how long it leaves alone what fails.
"""

from tradekeel.actors.publisher.shell import Outlet, Publisher, PublisherSettings

__all__ = ["Outlet", "Publisher", "PublisherSettings"]
