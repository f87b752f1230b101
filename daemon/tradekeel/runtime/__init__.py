"""Supervised actors on asyncio, through anyio. No word of the product's own business appears here.

===============  ===========================================================================================
module           what for
===============  ===========================================================================================
``clock``        time, deadlines, ids and randomness, all injected
``loop``         the event loop: entering and leaving it, watching that it turns, threads for blocking calls
``mailbox``      bounded lanes with named overflow policies, read in batches
``reply``        the answer to one request
``reference``    the address of an actor: a name, good over restarts
``deadletters``  mail for nobody, counted
``actor``        one owner of some state, one message at a time
``restart``      the rules of restarting: data and pure functions
``cell``         one incarnation of one child, as its supervisor sees it
``childspec``    how to start, restart and stop one child, as data
``supervisor``   starts, restarts and stops children; fails when that does not help
``fault``        what a supervisor reports
``system``       names, figures, and the tree as a whole
``watchdog``     who makes no progress
``metrics``      the figures of each actor
``notify``       what a service tells systemd about itself
``collector``    when Python looks for garbage in cycles
``faults``       named points at which a test harness kills or fails the process
``errors``       what can go wrong between actors
===============  ===========================================================================================
"""
