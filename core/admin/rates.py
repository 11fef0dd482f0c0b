"""Exchange rates: set by hand."""

from core.admin.answers import answers
from core.admin.desk import Subject
from core.admin.fields import amount, invalid
from core.ledger.money import to_text
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger


class Rates(Subject):
    """What operators do to exchange rates."""

    @answers
    async def SetFxRate(self, request: pb.SetFxRateRequest) -> pb.FxRate:
        if request.base != ledger.USD:
            invalid("base must be USD")
        rate_nano = amount("rate", request.rate)
        event = ledger.FxRateSet(base=ledger.USD, quote=ledger.TRY, rate_nano=rate_nano)
        await self.desk.append(b"fx", ledger.Event(fx_rate_set=event))
        return pb.FxRate(base="USD", quote="TRY", rate=to_text(rate_nano), position=self.desk.replica.state.position)
