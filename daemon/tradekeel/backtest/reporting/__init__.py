"""Reports of an execution, live, on paper or of a backtest: what is in one, its tables, its charts, and the page of them.

``model`` says what a report has, ``curves`` what is computed for it, ``tables`` shows figures as text, ``charts`` draws, ``page``
makes one file of all that, and ``comparing`` lines up two executions.
"""
