"""What all calls of one core share."""

from collections import Counter
from dataclasses import dataclass, field

from bus.connection import Connection
from bus.frames import Answers
from core.catalogue import Catalogue
from core.ledger.outcome import Code, Outcome
from core.replica import Replica
from core.routing import Router
from runtime.settings import Settings


@dataclass(slots=True)
class Counters:
    """Plain integers, read by /metrics. Label sets are closed: codes of the error catalogue and of the fold."""

    calls: int = 0
    refused_busy: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    settlements: Counter[str] = field(default_factory=Counter)
    charged_nano: int = 0
    shortfall_nano: int = 0
    late_or_lost: int = 0

    def failure(self, code: str) -> None:
        """A call ended with an error."""
        self.failures[code] += 1

    def settlement(self, outcome: Outcome) -> None:
        """A settlement was applied."""
        self.settlements[outcome.code.name] += 1
        self.charged_nano += outcome.charged_nano
        self.shortfall_nano += outcome.shortfall_nano
        if outcome.code is not Code.SETTLED:
            self.late_or_lost += 1


@dataclass(frozen=True, slots=True)
class Resources:
    """`bulk` is the connection for large bodies, so that frames never queue behind an image."""

    settings: Settings
    connection: Connection
    bulk: Connection
    replica: Replica
    catalogue: Catalogue
    answers: Answers
    router: Router
    counters: Counters
