"""`tradekeel optimize`: a configuration's ranges, a study wherever it is kept, and as many processes at it as there are cores.

::

    preparing   from the configuration to a task: everything checked, nothing opened
    stores      where studies are kept: a SQLite file, PostgreSQL, Redis
    identity    which process somebody is, and whether another one lives
    working     a process of its own, which runs trials
    conducting  the windows one after the other, and the processes
    results     what came of it, for people and for programs
    writing     a configuration with the parameters that were found
"""
