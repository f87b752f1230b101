"""Where orders go. One folder or module a venue, each behind :class:`tradekeel.ports.Venue`."""
