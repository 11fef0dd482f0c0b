"""Exchange rates: set by hand, confirmed after a jump, shown."""

import time

import grpc

from core.admin.answers import Rejected, answers
from core.admin.desk import Subject
from core.admin.fields import amount, invalid
from core.fx.watch import PAIR, age_s
from core.ledger.money import to_text
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger

MANUAL = "manual"


class Rates(Subject):
    """What operators do to exchange rates."""

    @answers
    async def SetFxRate(self, request: pb.SetFxRateRequest) -> pb.FxRate:
        _require_usd(request.base)
        rate_nano = amount("rate", request.rate)
        return await self._set(ledger.FxRateSet(base=PAIR[0], quote=PAIR[1], rate_nano=rate_nano, source=MANUAL))

    @answers
    async def ConfirmFxRate(self, request: pb.ConfirmFxRateRequest) -> pb.FxRate:
        _require_usd(request.base)
        await self.desk.fresh()
        known = self.desk.replica.state.rates.get(PAIR)
        if known is None or known.proposed is None:
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, "no rate waits to be confirmed")
        waits = known.proposed
        if request.rate and amount("rate", request.rate) != waits.rate_nano:
            message = f"another rate waits by now: {to_text(waits.rate_nano)}"
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, message)
        return await self._set(
            ledger.FxRateSet(
                base=waits.base,
                quote=waits.quote,
                rate_nano=waits.rate_nano,
                source=waits.source,
                reference=waits.reference,
            )
        )

    @answers
    async def ListFxRates(self, request: pb.ListFxRatesRequest) -> pb.FxRateList:
        await self.desk.fresh()
        found = pb.FxRateList()
        state = self.desk.replica.state
        if PAIR in state.fx_rates:
            found.rates.append(self._current())
        known = state.rates.get(PAIR)
        if known is not None and known.proposed is not None:
            found.proposed.append(self._shown(known.proposed))
        return found

    async def _set(self, event: ledger.FxRateSet) -> pb.FxRate:
        await self.desk.append(b"fx", ledger.Event(fx_rate_set=event), already=True)
        return self._current()

    def _current(self) -> pb.FxRate:
        """The rate that holds now."""
        state = self.desk.replica.state
        known = state.rates.get(PAIR)
        shown = self._shown(known.event if known is not None else ledger.FxRateSet(base=PAIR[0], quote=PAIR[1]))
        shown.rate = to_text(state.fx_rates[PAIR])
        shown.set_ms = known.set_ms if known is not None else 0
        age = age_s(state, time.time())
        shown.stale = age is not None and age > self.desk.fx_stale_s
        return shown

    def _shown(self, fact: ledger.FxRateSet | ledger.FxRateProposed) -> pb.FxRate:
        return pb.FxRate(
            base=ledger.Currency.Name(fact.base),
            quote=ledger.Currency.Name(fact.quote),
            rate=to_text(fact.rate_nano),
            position=self.desk.replica.state.position,
            source=fact.source,
            reference=fact.reference,
        )


def _require_usd(base: int) -> None:
    if base != ledger.USD:
        invalid("base must be USD")
