"""What the fold made of one event."""

from enum import IntEnum, unique


class FoldStopped(Exception):
    """The log and this fold cannot go on together. A replica that meets it must stop, not skip."""


@unique
class Code(IntEnum):
    """Verdicts and effects. The numbers are stored by projections: never renumber."""

    APPLIED = 1
    DUPLICATE_BATCH = 2  # this writer's batch number was applied before: no effect
    EXISTS = 3  # the id, key hash or reference had counted before: no effect
    INVALID = 4  # the event contradicts itself or the state: no effect
    NOT_FOUND = 5  # names an account or key that is not there: no effect

    ADMITTED = 10
    KEY_REFUSED = 11
    SUSPENDED = 12
    MINUTE_LIMIT = 13
    DAY_LIMIT = 14
    INSUFFICIENT = 15
    HELD = 16  # would be covered if running calls did not hold part of the balance
    ALREADY_ENDED = 17  # the request was settled, or this attempt released
    STALE_ATTEMPT = 18  # this attempt or a later one is open

    EXTENDED = 20
    EXTENSION_REFUSED = 21  # not covered, or other calls have reached a token limit; the hold stays as it was

    SETTLED = 30
    SETTLED_LATE = 31  # after expiry: charged from what was free
    RELEASED = 32
    NOT_OPEN = 33  # an outcome for a request that is not open: no effect; a settlement's cost is the house's loss

    MODEL_BLOCKED = 50
    KEY_MODEL_REFUSED = 51  # the key may not call this model
    FREE_LIMIT = 52
    DAILY_REQUESTS = 53
    DAILY_TOKENS = 54
    MONTHLY_TOKENS = 55
    PARENT_INSUFFICIENT = 56  # the balance of a partner customer's parent
    PARENT_HELD = 57
    KEY_SUSPENDED = 58

    SUBMITTED = 60  # the request goes on as a task

    CHECKED = 40  # a checkpoint that equals this fold
    UNCHECKED = 41  # a checkpoint of a position that this fold no longer remembers


class Outcome:
    """The effect of one event at its position. Amounts in nano-units of the account's currency.

    `limit`, `remaining` and `reset_s` describe the caller's tightest limit of requests per minute after the event
    (limit 0: none); after a refusal by a limit, `reset_s` is when that one turns. `superseded` is the attempt whose
    hold this opening ended, or 0. The parent's amounts are of a partner customer's call, in the parent's currency.
    """

    __slots__ = (
        "available_nano",
        "charged_nano",
        "code",
        "limit",
        "parent_charged_nano",
        "parent_shortfall_nano",
        "remaining",
        "reset_s",
        "shortfall_nano",
        "superseded",
    )

    def __init__(self, code: Code) -> None:
        self.code = code
        self.charged_nano = 0
        self.shortfall_nano = 0
        self.available_nano = 0
        self.limit = 0
        self.remaining = 0
        self.reset_s = 0
        self.superseded = 0
        self.parent_charged_nano = 0
        self.parent_shortfall_nano = 0

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value}" for name in self.__slots__ if name != "code" and (value := getattr(self, name))
        )
        return f"Outcome({self.code.name}{', ' + shown if shown else ''})"
