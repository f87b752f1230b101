"""The command line, ``tradekeel``: what people and service managers type.

This module is the first of ours that a process imports, and it imports nothing: `tradekeel run` takes over its signals
before anything heavy is loaded, so that a stop is never lost and never fatal in the wrong place.
"""

import os
import sys


def entry() -> None:
    """What the installed command runs. It leaves by the shortest way: nothing that is worth keeping is in memory any more."""
    code = main()
    if sys.argv[1:2] == ["run"]:
        from tradekeel.bootstrap.early import leave

        leave(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> int:
    """The exit code for the command line's words."""
    words = sys.argv[1:]
    if words[:1] == ["run"]:
        from tradekeel.bootstrap.early import install_signals

        signals = install_signals()
        from tradekeel.cli.running import run_quickly

        code = run_quickly(words[1:], signals)
        if code is not None:
            return code
    else:
        import signal

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `tradekeel trades | head` ends without a word
    try:
        from tradekeel.cli.app import dispatch

        return dispatch(words)
    except KeyboardInterrupt:  # while it is still being loaded
        sys.stderr.write("tradekeel: interrupted\n")
        return 130
