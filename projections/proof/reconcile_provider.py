"""The provider's own journal against the ledger: each settlement names one generation, with its cost, and no two the
same. What a provider billed and nobody settled is the house's loss: counted, and no difference."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from projections.proof.reconcile import Report
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import REQUEST, text


class ProviderBook:
    """The journal's entries by generation id. Call `settled` for each settlement, then `finish`.

    `providers` are the names under which settlements mean this journal; positions up to `after` are left out.
    """

    def __init__(
        self, report: Report, entries: Iterable[Mapping[str, Any]], providers: frozenset[str], after: int
    ) -> None:
        self._report = report
        self._entries = {str(entry["id"]): entry for entry in entries}
        self._providers = providers
        self._after = after
        self._named: dict[str, int] = {}

    def settled(self, position: int, settled: pb.RequestSettled, _counted: bool) -> None:
        """One settlement of the log."""
        if position <= self._after or settled.provider not in self._providers:
            return
        name = settled.generation_id
        who = text(REQUEST, settled.request_id)
        if name and name in self._named:
            told = f"{who} names {name}, which position {self._named[name]} has named already"
            self._report.differs(position, "provider", told)
        self._named[name] = position
        entry = self._entries.get(name)
        if entry is None:
            told = f"{who} names {name or 'no generation'}, which the provider does not know"
            self._report.differs(position, "provider", told)
        elif settled.basis == pb.PROVIDER_COST and Decimal(settled.provider_cost_usd) != Decimal(entry["cost_usd"]):
            told = f"{who} settles {settled.provider_cost_usd} USD, the provider billed {entry['cost_usd']} for {name}"
            self._report.differs(position, "provider", told)

    def finish(self) -> None:
        """The log is read: what nobody has named."""
        lost = [entry for name, entry in self._entries.items() if name not in self._named]
        totals = self._report.totals
        totals["provider's generations"] = len(self._entries)
        totals["… settled"] = len(self._entries) - len(lost)
        totals["… never settled, the house's loss"] = len(lost)
