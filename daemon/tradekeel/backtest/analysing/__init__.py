"""Whether a strategy keeps what it promises: the same data run again in other ways, and every decision that changes.

``portions`` gives the data cut off, replaced, begun later or handed out otherwise; ``asked`` conducts a run over it and keeps
what the strategies asked for; ``comparing`` and ``warmup`` say what differs between two of them.
"""
