"""Where a call is, and why it may be stopped."""

from enum import Enum


class Phase(Enum):
    """It decides what an interruption means."""

    VERDICT = 1  # not admitted yet
    PROVIDER = 2
    ENDING = 3  # no longer to be interrupted


class Interrupted(Enum):
    """Why a call was stopped from outside."""

    CLIENT_LEFT = 1
    VERDICT_LATE = 2
    LEASE_OVER = 3
    SUPERSEDED = 4
    STOPPING = 5
