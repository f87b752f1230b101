"""What a Redis server keeps for us: what is hot, never what must not be lost.

``client`` makes clients, ``server`` asks with deadlines and never twice, ``words`` says its refusals in ours; ``cache`` and
``registry`` are ports on it, and so are ``ticks``, which daemons share; ``once`` asks where there is no event loop. Everything is
below ``trading:``. Nothing here imports redis-py before a client is made.
"""
