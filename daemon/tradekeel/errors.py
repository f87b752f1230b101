"""Every error Tradekeel raises on purpose, and what each fault means for the orders.

The tree separates three things that a trader must never confuse: what *we* got wrong, what *the venue refused*,
and what *nobody knows*::

    TradekeelError
    ├── OurError                      our side; nothing was sent because of it
    │   ├── InputError                a value from outside is wrong: reject it, say what, where and what to do
    │   │   ├── ConfigError           the TOML file (all its problems at once)
    │   │   ├── DataError             what a feed or a ledger holds, also where that shows in the middle of a run
    │   │   ├── NotFound              the books have nothing under this id
    │   │   ├── AlreadyExists         the books have something under this id
    │   │   └── DaemonsOwn            a daemon goes on with this execution: from outside only what describes may change
    │   ├── AlreadyRunning            a daemon holds the state directory, or the account
    │   ├── NotReady                  a part of ours cannot take it at this moment; nothing was changed
    │   ├── VersionConflict           somebody else changed it meanwhile; nothing was changed
    │   ├── Unfinished                some of it was done and some was not; the message says what
    │   ├── StoreError                the books on disk, and the servers that keep something for us
    │   │   ├── StoreUnavailable      cannot be opened, read-only, full
    │   │   │   ├── StoreEmpty        there are no books yet where some are to be read
    │   │   │   └── StoreBlocked      no server is away: a person has to do something first, and waiting does not mend it
    │   │   │       ├── StoreHeld     daemons write there, and its schema is to be changed
    │   │   │       └── StoreDenied   it does not let us in, or not do what we must: password, database, rights
    │   │   ├── StoreAway             its server cannot be reached, or does not serve, for now: wait and ask again
    │   │   │   └── StoreTimeout      it did not answer in time, and was asked to stop; nothing was changed
    │   │   ├── StoreCorrupt          a checksum, a gap in the journal, a damaged file
    │   │   ├── StoreTooNew           written by a newer Tradekeel
    │   │   ├── StoreTooOld           an older schema, where nothing may be migrated without being asked to
    │   │   ├── LeaseLost             another daemon has taken over our accounts
    │   │   ├── GroupRefused          a constraint refused one commit group: a bug in its sender
    │   │   ├── StoreUnanswered       a server was asked and did not answer in time: it may have been done
    │   │   └── StoreRefused          a server, or a store in memory, answered no; nothing was changed
    │   │       └── UserRefused       a user, a password or a right is missing
    │   └── Defect                    an invariant of ours does not hold: crash
    │       └── IllegalTransition     a state machine was given an event its state does not allow
    ├── VenueRefused                  the venue answered no; the order does not exist there
    ├── VenueUnreachable              nothing reached the venue, for certain
    └── OutcomeUnknown                it may or may not have reached the venue: look it up, never send again

Every class that is raised has a category. :data:`FAULT_TABLE` says for each category what the part that meets such an
error does with it as a rule, and for each category and action the one failure word for what happens next. Who asks
what an error means asks the table: :func:`action_of` and :func:`failure_word`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, StrEnum
from typing import ClassVar, NamedTuple


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


# --- the tree -----------------------------------------------------------------------------------------------------------


class TradekeelError(Exception):
    """The root of every error that Tradekeel raises on purpose. Classes without a category only group others."""

    category: ClassVar[ErrorCategory]


class OurError(TradekeelError):
    """Our side of the wire; nothing was sent because of it."""


class InputError(OurError):
    """A value from outside is wrong. The message says what was found, where, and what is allowed."""

    category = ErrorCategory.VALIDATION


class ConfigError(InputError):
    """The configuration is wrong; ``problems`` holds every problem found, one sentence each."""

    def __init__(self, problems: list[str], source: str = "") -> None:
        self.problems = problems
        self.source = source
        where = f"{source}: " if source else ""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{where}{count} in the configuration", *(f"  - {p}" for p in problems)]))


class DataError(InputError):
    """A feed's rows, or a file of the paper venue, are not what they should be. Waiting does not mend that, a person does.

    A file is read while it is traded on, so this one also comes out of a running daemon.
    """


class NotFound(InputError):
    """The books have nothing under this id. Nothing was changed."""


class AlreadyExists(InputError):
    """The books have something under this id already. Nothing was changed."""


class DaemonsOwn(InputError):
    """A daemon goes on with this execution when it is started: from outside only what describes may change, not what steers."""


class AlreadyRunning(OurError):
    """A daemon holds the state directory, or the account; two writers would break the journal."""

    category = ErrorCategory.VALIDATION


class NotReady(OurError):
    """A part of ours cannot take it at this moment, which passes. Nothing was changed."""

    category = ErrorCategory.TRANSIENT


class VersionConflict(OurError):
    """Somebody else changed it meanwhile; nothing was changed. Read it again, and decide anew.

    ``expected`` is the version that the caller had seen, ``found`` the one that there is.
    """

    category = ErrorCategory.TRANSIENT

    def __init__(self, what: str, expected: int, found: int) -> None:
        super().__init__(f"{what} has version {found}, and not {expected}: somebody has changed it. Read it again")
        self.expected = expected
        self.found = found


class Unfinished(OurError):
    """Some of it was done and some was not. The message says what, and what becomes of the rest."""

    category = ErrorCategory.TRANSIENT


class StoreError(OurError):
    """What is stored cannot be used as it is."""


class StoreUnavailable(StoreError):
    """The store cannot be opened or written: missing rights, a read-only or full disk, an I/O error."""

    category = ErrorCategory.CRITICAL


class StoreEmpty(StoreUnavailable):
    """There are no books yet where some are to be read: nobody has made them, or whoever was at it was killed."""


class StoreBlocked(StoreUnavailable):
    """Nothing is away there: a person has to do something before the books can be used or copied. Waiting does not mend it.

    There is no room for a copy or an archive, a migration is not the one that was released, somebody does not come to an end.
    """


class StoreHeld(StoreBlocked):
    """Daemons write into the books, here or on other machines, and the schema is to be changed: stop them first."""


class StoreDenied(StoreBlocked):
    """The books' server is there and does not let us in, or not do what we must: a password, a database, a right is missing."""


class StoreAway(StoreError):
    """A server that keeps something for us, the books or what is hot, cannot be reached or does not serve for now.

    Nothing is lost and nothing was changed by it: whoever asked may wait and ask again.
    """

    category = ErrorCategory.TRANSIENT


class StoreTimeout(StoreAway):
    """No answer came within the deadline of a call. Nothing was changed, and nothing is left running."""


class StoreCorrupt(StoreError):
    """The store contradicts itself: a checksum is off, the journal has a gap, or the file is damaged."""

    category = ErrorCategory.CRITICAL


class StoreTooNew(StoreError):
    """The store was written by a newer Tradekeel; an older one must not touch it."""

    category = ErrorCategory.VALIDATION


class StoreTooOld(StoreError):
    """The store has an earlier schema, and whoever opens it may not migrate it: a person runs `tradekeel db upgrade`.

    Its server is not away, and waiting does not mend it.
    """

    category = ErrorCategory.VALIDATION


class LeaseLost(StoreError):
    """Another daemon has taken over our accounts: nothing more may be written or sent here."""

    category = ErrorCategory.CRITICAL


class GroupRefused(StoreError):
    """A constraint refused one commit group. The group was rolled back whole; its sender has a bug and crashes."""

    category = ErrorCategory.CRITICAL


class StoreUnanswered(StoreError):
    """A server was asked, and no answer came in time. What was asked may have been done; it was not asked twice."""

    category = ErrorCategory.TRANSIENT


class StoreRefused(StoreError):
    """What keeps something for us answered no: a right that is missing, a value of another kind, no room. Nothing was changed.

    Waiting does not mend that, a person does.
    """

    category = ErrorCategory.VALIDATION


class UserRefused(StoreRefused):
    """The server is there and does not let us in, or not do what we must: a user, a password, a right is missing."""


class Defect(OurError):
    """An invariant of ours does not hold. Never handled: the part crashes and restarts from disk."""

    category = ErrorCategory.CRITICAL


class IllegalTransition(Defect):
    """A state machine was given an event that its state does not allow; nothing was changed."""

    def __init__(self, machine: str, state: Enum, event: Enum) -> None:
        super().__init__(f"{machine}: {event.name} is not allowed in state {state.name}")
        self.state = state
        self.event = event


class VenueRefused(TradekeelError):
    """The venue answered no: the order does not exist there. ``code`` is the venue's own word."""

    category = ErrorCategory.BUSINESS_LOGIC

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class VenueUnreachable(TradekeelError):
    """Nothing reached the venue, for certain (the connection was never made, or the last check refused)."""

    category = ErrorCategory.TRANSIENT


class OutcomeUnknown(TradekeelError):
    """A request left and no answer came. It may have been executed; only a lookup can tell."""

    category = ErrorCategory.TRANSIENT


# --- what they mean -----------------------------------------------------------------------------------------------------


class FaultRule(NamedTuple):
    """One category's row of the table."""

    usual: ErrorAction  # of a part that has no reason to do anything else
    words: Mapping[ErrorAction, FailureWord]


FAULT_TABLE: dict[ErrorCategory, FaultRule] = {
    # A bad value harms nobody once it is refused; where it must be used all the same, the part stops or is left out.
    ErrorCategory.VALIDATION: FaultRule(
        ErrorAction.REJECT,
        {
            ErrorAction.REJECT: FailureWord.DEGRADE,
            ErrorAction.RETRY: FailureWord.DEGRADE,  # the same value would fail the same way: a retry is a rejection
            ErrorAction.FAIL: FailureWord.HALT,
            ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
        },
    ),
    # The world may be better in a moment; while it is not, no new exposure is taken.
    ErrorCategory.TRANSIENT: FaultRule(
        ErrorAction.RETRY,
        {
            ErrorAction.REJECT: FailureWord.DEGRADE,
            ErrorAction.RETRY: FailureWord.RETRY,
            ErrorAction.FAIL: FailureWord.REDUCE_ONLY,
            ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
        },
    ),
    # An invariant or the disk: memory can no longer be trusted, what is durable can.
    ErrorCategory.CRITICAL: FaultRule(
        ErrorAction.FAIL,
        {
            ErrorAction.REJECT: FailureWord.HALT,
            ErrorAction.RETRY: FailureWord.CRASH,  # a critical error is never tried again in place
            ErrorAction.FAIL: FailureWord.CRASH,
            ErrorAction.RECORD_AND_CONTINUE: FailureWord.HALT,
        },
    ),
    # The rules of trading said no (a limit, margin, a closed market): the decision is refused, the rest goes on.
    ErrorCategory.BUSINESS_LOGIC: FaultRule(
        ErrorAction.REJECT,
        {
            ErrorAction.REJECT: FailureWord.DEGRADE,
            ErrorAction.RETRY: FailureWord.REDUCE_ONLY,  # an order is never retried: hold exposure and let it decide anew
            ErrorAction.FAIL: FailureWord.REDUCE_ONLY,
            ErrorAction.RECORD_AND_CONTINUE: FailureWord.DEGRADE,
        },
    ),
}


def category_of(error: BaseException) -> ErrorCategory:
    """The category of an error; what nobody raised on purpose is a defect, and as critical as one."""
    return error.category if isinstance(error, TradekeelError) else ErrorCategory.CRITICAL


def action_of(error: BaseException) -> ErrorAction:
    """What the part that meets this error does with it as a rule."""
    return FAULT_TABLE[category_of(error)].usual


def failure_word(error: BaseException, action: ErrorAction | None = None) -> FailureWord:
    """What happens next where this error is met with an action (the usual one)."""
    rule = FAULT_TABLE[category_of(error)]
    return rule.words[rule.usual if action is None else action]


# --- what they say ------------------------------------------------------------------------------------------------------

TEXT_MAX = 2_000
"""Characters of what an exception says that are kept."""


def text_of(error: BaseException) -> str:
    """What an exception says, as a text that can be stored and shown; empty where it cannot be had.

    An exception may be of a user's own code: then its words may be of any length, hold halves of characters, or raise.
    """
    try:
        text = str.encode(str(error), "utf-8", "backslashreplace").decode()
    except BaseException:  # noqa: BLE001  # whatever it is that it raises: there is nothing to be had of it
        return ""
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


def named(error: BaseException) -> str:
    """The type of an exception, and what it says."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class ExitCode(IntEnum):
    """What the process tells whoever started it (documented in the operating guide)."""

    DONE = 0
    DIFFERENT = 1  # `tradekeel compare`, `tradekeel analyze`, as of diff(1)
    BAD_USAGE = 2
    VENUE_UNREACHABLE = 3
    BOOKS_DO_NOT_MATCH = 4
    HALTED_BY_RISK = 5
    ALREADY_RUNNING = 6
    INTERRUPTED = 7
    DEFECT = 70
