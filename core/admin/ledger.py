"""The ledger itself: where it stands, what is in it, whether it is whole."""

from collections import Counter
from collections.abc import AsyncIterator

import grpc

from bus.errors import BusError
from core import audit
from core.admin.answers import Context, answers
from core.admin.desk import Subject
from core.ledger.outcome import FoldStopped
from proto.onysoft.v1 import admin_pb2 as pb

TAIL_EVENTS_MAX = 100_000


class Ledger(Subject):
    """What operators ask about the ledger."""

    @answers
    async def GetStatus(self, request: pb.GetStatusRequest) -> pb.Status:
        await self.desk.fresh()
        state = self.desk.replica.state
        return pb.Status(
            core=self.desk.core,
            position=state.position,
            chain_hash=state.chain_hash,
            time_ms=state.time_ms,
            partitions=self.desk.replica.partitions,
            rules_version=state.rules_version,
            open_requests=sum(not request.expired for request in state.requests.values()),
            accounts=len(state.accounts),
            models=len(self.desk.catalogue.entries),
            state_digest=state.digest(),
            catalogue=self._catalogue(),
        )

    def _catalogue(self) -> pb.CatalogueSync:
        sync = self.desk.sync
        waiting = Counter[str]()
        for (provider, _), count in sync.waiting.items():
            waiting[provider] += count
        providers = [
            pb.SyncedProvider(name=name, waiting=waiting[name], unsold=sync.unsold[name]) for name in sync.providers
        ]
        providers += [pb.SyncedProvider(name=name, compared_only=True) for name in sync.compared]
        return pb.CatalogueSync(
            providers=providers,
            every_s=self.desk.catalogue_refresh_s,
            automatic=sync.automatic,
            bound_bps=sync.bound_bps,
        )

    async def TailLedger(self, request: pb.TailLedgerRequest, context: Context) -> AsyncIterator[pb.LedgerEntry]:
        """With a limit: events that are there now, from `from_position` on (0: the newest). Without: for ever."""
        if request.limit > TAIL_EVENTS_MAX:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"limit must be at most {TAIL_EVENTS_MAX}")
        connection, archive = self.desk.connection, self.desk.archive
        fold_most = request.fold_most if request.HasField("fold_most") else None
        if not request.limit:
            entries = audit.follow(connection, request.from_position, archive)
        elif request.from_position:
            entries = audit.entries_from(connection, request.from_position, request.limit, archive, fold_most)
        else:
            entries = audit.newest_entries(connection, request.limit, archive, fold_most)
        try:
            async for entry in entries:
                yield entry
        except audit.ReaderTooSlow:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "more came than was read")
        except FoldStopped as error:
            await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
        except (BusError, TimeoutError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Context) -> AsyncIterator[pb.VerifyProgress]:
        """Progress while it runs; the last message has `done` and the verdict."""
        try:
            async for progress in audit.verify(self.desk.connection, self.desk.archive):
                yield progress
        except (BusError, TimeoutError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
