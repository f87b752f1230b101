"""Old journal and finished rows, moved out of the books into compressed files.

``segments`` decides what of a piece of a journal is finished, ``file`` is the format, ``moving`` does it; ``proving`` and
``reading`` read the files.
"""
