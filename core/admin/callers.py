"""Who makes a call of the admin service, and what they may do there.

The console says it in metadata, for the person (or job of its own) in whose name it calls. Whoever brings the admin
token and none of it - the CLI, a script - is an operator, who may do everything.
"""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum, unique

from core.admin.fields import invalid
from core.ledger.accounts import Account
from runtime import ids

ACTOR_METADATA = "x-onysoft-actor"
ACCESS_METADATA = "x-onysoft-access"
REACH_METADATA = "x-onysoft-reach"
ACTOR_DEFAULT = "operator"
ACTOR_CHARACTERS_MAX = 100
REACH_ENTRIES_MAX = 1_000
EVERYWHERE = "*"
BELOW = "/*"
KEYS = "/keys"


@unique
class Access(StrEnum):
    """What a caller may do within reach, and what a call needs."""

    READ = "read"
    WRITE = "write"  # what customers and partners do; reading too
    CREDIT = "credit"  # payments into accounts and back, and nothing else
    ADMINISTER = "administer"  # everything


GRANTS: Mapping[Access, frozenset[Access]] = {
    Access.READ: frozenset({Access.READ}),
    Access.WRITE: frozenset({Access.READ, Access.WRITE}),
    Access.CREDIT: frozenset({Access.CREDIT}),
    Access.ADMINISTER: frozenset(Access),
}


@unique
class Near(IntEnum):
    """How an account is within reach: the more, the more may be done to it."""

    NOT = 0
    MEMBER = 1  # by itself, to look at it and to change its keys
    OWN = 2  # by itself
    TOP = 3  # with everything below it
    UNDER = 4  # as a part of what is below another


_MARKS = {"": Near.OWN, BELOW: Near.TOP, KEYS: Near.MEMBER}
"""What may follow an account's id, and how the account is then within reach."""


@dataclass(frozen=True, slots=True)
class Caller:
    """In whose name a call is made. Without `access` it is an operator."""

    actor: str = ACTOR_DEFAULT
    access: Access | None = None
    everywhere: bool = True
    reach: Mapping[bytes, Near] = field(default_factory=dict)

    def may(self, needed: Access) -> bool:
        """Does the access cover what a call needs?"""
        return self.access is None or needed in GRANTS[self.access]

    def near(self, account: Account) -> Near:
        """How the account is within reach; everything is below whoever reaches everything."""
        if self.everywhere or any(self.reach.get(each.account_id) is Near.TOP for each in account.lineage[1:]):
            return Near.UNDER
        return self.reach.get(account.account_id, Near.NOT)

    def reaches(self, account: Account | None) -> bool:
        """May the caller know of this account?"""
        return self.everywhere or (account is not None and self.near(account) is not Near.NOT)


OPERATOR = Caller()
caller_now: ContextVar[Caller] = ContextVar("caller_now", default=OPERATOR)
"""Who makes the call that is being served; the actor stands on every event that it appends."""


def caller_of(metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
    """The caller that a call's metadata names. Raises Rejected where it is malformed or says only a part."""
    given: dict[str, str] = {}
    for name, value in metadata:
        if name in (ACTOR_METADATA, ACCESS_METADATA, REACH_METADATA):
            if name in given:
                invalid(f"{name} is given twice")
            given[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    actor = given.get(ACTOR_METADATA, "")
    if len(actor) > ACTOR_CHARACTERS_MAX or not actor.isprintable():
        invalid(f"{ACTOR_METADATA} must have at most {ACTOR_CHARACTERS_MAX} printable characters")
    if ACCESS_METADATA not in given and REACH_METADATA not in given:
        return Caller(actor or ACTOR_DEFAULT)
    if not actor or ACCESS_METADATA not in given or REACH_METADATA not in given:
        invalid(f"{ACTOR_METADATA}, {ACCESS_METADATA} and {REACH_METADATA} belong together")
    return _restricted(actor, given[ACCESS_METADATA], given[REACH_METADATA])


def _restricted(actor: str, access: str, reach: str) -> Caller:
    if access not in GRANTS:
        invalid(f"{ACCESS_METADATA} must be one of {', '.join(GRANTS)}")
    if reach == EVERYWHERE:
        return Caller(actor, Access(access))
    if access == Access.ADMINISTER:
        invalid(f"{REACH_METADATA} must be {EVERYWHERE} for whoever administers")
    entries = reach.split(",") if reach else []
    if len(entries) > REACH_ENTRIES_MAX:
        invalid(f"{REACH_METADATA} must have at most {REACH_ENTRIES_MAX} accounts")
    found: dict[bytes, Near] = {}
    for entry in entries:
        text, slash, mark = entry.partition("/")
        try:
            account_id, near = ids.parse(ids.ACCOUNT, text), _MARKS[slash + mark]
        except (ValueError, KeyError):
            invalid(f"{REACH_METADATA} must be {EVERYWHERE}, or ids of accounts such as acc_…,acc_…{BELOW}")
        found[account_id] = max(near, found.get(account_id, Near.NOT))
    return Caller(actor, Access(access), False, found)
