"""What everything about media tasks in one core works with."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from bus.connection import Connection
from bus.errors import Overloaded
from core.ledger.outcome import Outcome
from core.media.pricing import Quote
from core.pricing import ATTO, Tariff, atto_to_text
from core.providers.fetch import MayReach
from core.providers.tasks import TaskProvider
from core.replica import Replica
from core.resources import Counters
from core.tasks.copying import Copier
from core.tasks.pace import CreatePace
from files.store import FileStore
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime.errors import CATALOGUE
from runtime.settings import Settings

OVERLOAD_PAUSE_S = 0.05


@dataclass(slots=True)
class TaskCounters:
    """Plain integers, read by /metrics. Label sets are closed."""

    created: int = 0
    create_failures: int = 0
    lost_creates: int = 0
    """Creates of which nobody knows whether the provider made a task: the house's loss, if it did."""
    looks: int = 0
    looks_failed: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    defects: int = 0


@dataclass(frozen=True, slots=True)
class TaskDesk:
    """`pepper` names files, marks callbacks and makes webhooks' secrets; `calls` counts settlements with chat's."""

    settings: Settings
    connection: Connection
    replica: Replica
    providers: Mapping[str, TaskProvider]
    paces: Mapping[str, CreatePace]
    store: FileStore
    copier: Copier
    may_reach: MayReach
    pepper: bytes
    calls: Counters
    counters: TaskCounters = field(default_factory=TaskCounters)

    @property
    def public_url(self) -> str:
        """Where clients and providers reach the edges."""
        return self.settings.public_url

    def now_ms(self) -> int:
        """Unix milliseconds by this core's clock. What money depends on is decided by the ledger's own."""
        return time.time_ns() // 1_000_000

    def root_of(self, account_id: bytes) -> bytes:
        """The billing root, in whose partition the account's events lie."""
        account = self.replica.state.accounts.get(account_id)
        return account_id if account is None else account.root_id

    async def append(self, account_id: bytes, event: ledger.Event) -> Outcome:
        """Append until it is taken; what the fold made of it."""
        while True:
            try:
                future = self.replica.append(self.root_of(account_id), event)
            except Overloaded:
                await asyncio.sleep(OVERLOAD_PAUSE_S)
            else:
                applied = await future
                outcome: Outcome = applied.outcome
                return outcome

    def submitted(self, record: TaskRecord) -> ledger.Event:
        """The ledger's event that the provider has the task. Its lease is what is left until it is given up."""
        left_ms = max(1_000, record.deadline_ms - self.now_ms())
        return ledger.Event(
            task_submitted=ledger.TaskSubmitted(
                request_id=record.request_id,
                attempt=record.attempt,
                provider=record.provider,
                provider_task_id=record.provider_task_id,
                lease_ms=left_ms,
            )
        )

    def settlement(self, record: TaskRecord, credits: str | None) -> ledger.Event:
        """What a success appends: the quoted cost, or the provider's own figure where that is the price.

        The quote is what was held, so it is also the most that is asked for.
        """
        event = ledger.Event(request_settled=record.settlement)
        settled = event.request_settled
        settled.generation_id = record.provider_task_id
        if record.by_credits:
            quoted_atto = int(Fraction(settled.provider_cost_usd) * ATTO)
            quote = Quote(quoted_atto, False, {}, settled.price_version)
            price(settled, tariff_of(settled), min(quoted_atto, quote.settled_atto(credits)))
            if credits is not None:
                settled.basis = ledger.PROVIDER_COST
        return event

    def count_settlement(self, outcome: Outcome) -> None:
        """For /metrics."""
        self.calls.settlement(outcome)

    def message_of(self, code: str) -> str:
        """An error's words where nobody has said which language is wanted."""
        return CATALOGUE[code].turkish.replace("{detail}", "")


def price(settled: ledger.RequestSettled, tariff: Tariff, cost_atto: int) -> None:
    """Put a provider cost, and what its legs charge for it, into a settlement."""
    settled.provider_cost_usd = atto_to_text(cost_atto)
    settled.charge_nano = tariff.charge_nano(cost_atto)
    settled.fx_rate_nano = tariff.fx_rate_nano
    settled.markup_bps = tariff.markup_bps
    if tariff.parent_fx_rate_nano:
        settled.parent_charge_nano = tariff.parent_charge_nano(cost_atto)
        settled.parent_fx_rate_nano = tariff.parent_fx_rate_nano
        settled.parent_markup_bps = tariff.parent_markup_bps


def tariff_of(settled: ledger.RequestSettled) -> Tariff:
    """The tariff that a settlement names."""
    return Tariff(settled.markup_bps, settled.fx_rate_nano, settled.parent_markup_bps, settled.parent_fx_rate_nano)
