"""Every error Tradekeel raises on purpose, and what each fault means for the orders.

The tree separates three things that a trader must never confuse: what *we* got wrong, what *the venue refused*,
and what *nobody knows*::

    TradekeelError
    ├── OurError                      our side; nothing was sent because of it
    │   ├── InputError                a value from outside is wrong: reject it, say what, where and what to do
    │   │   └── ConfigError           the TOML file (all its problems at once)
    │   ├── AlreadyRunning            another daemon holds the state directory
    │   ├── StoreError                the books on disk
    │   │   ├── StoreUnavailable      cannot be opened, read-only, full
    │   │   ├── StoreCorrupt          a checksum, a gap in the journal, a damaged file
    │   │   ├── StoreTooNew           written by a newer Tradekeel
    │   │   └── GroupRefused          a constraint refused one commit group: a bug in its sender
    │   ├── BooksDoNotMatch           our books and the venue's differ
    │   └── Defect                    an invariant of ours does not hold: crash
    │       └── IllegalTransition     a state machine was given an event its state does not allow
    ├── VenueRefused                  the venue answered no; the order does not exist there
    ├── VenueUnreachable              nothing reached the venue, for certain
    └── OutcomeUnknown                it may or may not have reached the venue: look it up, never send again

Failure words are the vocabulary of code, logs and docs for what happens next; :data:`FAULT_TABLE` maps every error
category and action onto exactly one of them.
"""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum


class TradekeelError(Exception):
    """The root of every error that Tradekeel raises on purpose."""


class OurError(TradekeelError):
    """Our side of the wire; nothing was sent because of it."""


class InputError(OurError):
    """A value from outside is wrong. The message says what was found, where, and what is allowed."""


class ConfigError(InputError):
    """The configuration is wrong; ``problems`` holds every problem found, one sentence each."""

    def __init__(self, problems: list[str], source: str = "") -> None:
        self.problems = problems
        self.source = source
        where = f"{source}: " if source else ""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{where}{count} in the configuration", *(f"  - {p}" for p in problems)]))


class AlreadyRunning(OurError):
    """Another daemon holds the state directory; two writers would break the journal."""


class StoreError(OurError):
    """The books on disk cannot be used as they are."""


class StoreUnavailable(StoreError):
    """The store cannot be opened or written: missing rights, a read-only or full disk, an I/O error."""


class StoreCorrupt(StoreError):
    """The store contradicts itself: a checksum is off, the journal has a gap, or the file is damaged."""


class StoreTooNew(StoreError):
    """The store was written by a newer Tradekeel; an older one must not touch it."""


class GroupRefused(StoreError):
    """A constraint refused one commit group. The group was rolled back whole; its sender has a bug and crashes."""


class BooksDoNotMatch(OurError):
    """Our books and the venue's differ in a way that no pending event explains."""


class Defect(OurError):
    """An invariant of ours does not hold. Never handled: the part crashes and restarts from disk."""


class IllegalTransition(Defect):
    """A state machine was given an event that its state does not allow; nothing was changed."""

    def __init__(self, machine: str, state: Enum, event: Enum) -> None:
        super().__init__(f"{machine}: {event.name} is not allowed in state {state.name}")
        self.state = state
        self.event = event


class VenueRefused(TradekeelError):
    """The venue answered no: the order does not exist there. ``code`` is the venue's own word."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class VenueUnreachable(TradekeelError):
    """Nothing reached the venue, for certain (the connection was never made, or the last check refused)."""


class OutcomeUnknown(TradekeelError):
    """A request left and no answer came. It may have been executed; only a lookup can tell."""


class FailureWord(StrEnum):
    """What happens next. The five words of the recovery guide, with exactly these meanings."""

    RETRY = "retry"  # transient, with back-off; never for an order
    DEGRADE = "degrade"  # go on without an optional part, loudly
    REDUCE_ONLY = "reduce-only"  # no new exposure, exits go on
    HALT = "halt"  # no orders until a person says so; the daemon keeps running
    CRASH = "crash"  # restart from disk


class ErrorCategory(StrEnum):
    """What kind of thing went wrong."""

    VALIDATION = "validation"
    TRANSIENT = "transient"
    CRITICAL = "critical"
    BUSINESS_LOGIC = "business_logic"


class ErrorAction(StrEnum):
    """What the part that met the error does with the piece of work in its hands."""

    REJECT = "reject"
    RETRY = "retry"
    FAIL = "fail"
    RECORD_AND_CONTINUE = "record_and_continue"


FAULT_TABLE: dict[ErrorCategory, dict[ErrorAction, FailureWord]] = {
    # A bad value harms nobody once it is refused; where it must be used all the same, the part stops or is left out.
    ErrorCategory.VALIDATION: {
        ErrorAction.REJECT: FailureWord.DEGRADE,
        ErrorAction.RETRY: FailureWord.DEGRADE,  # the same value would fail the same way: a retry is a rejection
        ErrorAction.FAIL: FailureWord.HALT,
        ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
    },
    # The world may be better in a moment; while it is not, no new exposure is taken.
    ErrorCategory.TRANSIENT: {
        ErrorAction.REJECT: FailureWord.DEGRADE,
        ErrorAction.RETRY: FailureWord.RETRY,
        ErrorAction.FAIL: FailureWord.REDUCE_ONLY,
        ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
    },
    # An invariant or the disk: memory can no longer be trusted, what is durable can.
    ErrorCategory.CRITICAL: {
        ErrorAction.REJECT: FailureWord.HALT,
        ErrorAction.RETRY: FailureWord.CRASH,  # a critical error is never tried again in place
        ErrorAction.FAIL: FailureWord.CRASH,
        ErrorAction.RECORD_AND_CONTINUE: FailureWord.HALT,
    },
    # The rules of trading said no (a limit, margin, a closed market): the decision is refused, the rest goes on.
    ErrorCategory.BUSINESS_LOGIC: {
        ErrorAction.REJECT: FailureWord.DEGRADE,
        ErrorAction.RETRY: FailureWord.REDUCE_ONLY,  # an order is never retried: hold exposure and let it decide anew
        ErrorAction.FAIL: FailureWord.REDUCE_ONLY,
        ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
    },
}


def failure_word(category: ErrorCategory, action: ErrorAction) -> FailureWord:
    """The failure word for an error category met with an action; every combination has exactly one."""
    return FAULT_TABLE[category][action]


class ExitCode(IntEnum):
    """What the process tells whoever started it (documented in the operating guide)."""

    DONE = 0
    BAD_USAGE = 2
    VENUE_UNREACHABLE = 3
    BOOKS_DO_NOT_MATCH = 4
    HALTED_BY_RISK = 5
    ALREADY_RUNNING = 6
    DEFECT = 70
