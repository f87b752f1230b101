"""The books on disk: tables, the journal's store, its verification, and the reading side.

``tables`` says what is stored, ``rows`` maps the domain's rows onto it, ``schema`` keeps the file at the right
version, ``store`` is the one writer, ``verify`` proves that tables and journal agree, ``queries`` reads without
disturbing anyone. Books on a server that may be away are ``standin``, with ``breaker``, and ``spool`` or ``memoryspool``.
"""
