"""Limits and blocks of accounts and keys, for the models of a pattern."""

import time
from typing import Literal

from core.admin.answers import answers
from core.admin.desk import Subject
from core.admin.fields import invalid, pattern
from core.ledger.limits import describe
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger

LimitField = Literal["requests_per_minute", "requests_per_day", "daily_requests", "daily_tokens", "monthly_tokens"]
LIMIT_FIELDS: tuple[LimitField, ...] = (
    "requests_per_minute",
    "requests_per_day",
    "daily_requests",
    "daily_tokens",
    "monthly_tokens",
)


class Limits(Subject):
    """What operators do to limits. Nothing that was used is ever reset."""

    @answers
    async def SetLimits(self, request: pb.SetLimitsRequest) -> pb.LimitList:
        named = [field for field in LIMIT_FIELDS if request.HasField(field)]
        if not named:
            invalid(f"name at least one of {', '.join(LIMIT_FIELDS)}")
        owner_id, root_id = await self.desk.owner(request.owner_id)
        event = ledger.LimitSet(owner_id=owner_id, pattern=pattern("pattern", request.pattern))
        for field in named:
            setattr(event, field, getattr(request, field))
        await self.desk.append(root_id, ledger.Event(limit_set=event), already=True)
        return self._limits(request.owner_id, owner_id)

    @answers
    async def ClearLimits(self, request: pb.PatternRef) -> pb.LimitList:
        owner_id, root_id = await self.desk.owner(request.owner_id)
        event = ledger.LimitCleared(owner_id=owner_id, pattern=pattern("pattern", request.pattern))
        await self.desk.append(root_id, ledger.Event(limit_cleared=event), already=True)
        return self._limits(request.owner_id, owner_id)

    @answers
    async def ListLimits(self, request: pb.OwnerRef) -> pb.LimitList:
        owner_id, _ = await self.desk.owner(request.owner_id)
        return self._limits(request.owner_id, owner_id)

    @answers
    async def BlockModel(self, request: pb.PatternRef) -> pb.BlockList:
        owner_id, root_id = await self.desk.owner(request.owner_id)
        event = ledger.ModelBlocked(owner_id=owner_id, pattern=pattern("pattern", request.pattern))
        await self.desk.append(root_id, ledger.Event(model_blocked=event), already=True)
        return pb.BlockList(owner_id=request.owner_id, patterns=self.desk.blocks(owner_id))

    @answers
    async def UnblockModel(self, request: pb.PatternRef) -> pb.BlockList:
        owner_id, root_id = await self.desk.owner(request.owner_id)
        event = ledger.ModelUnblocked(owner_id=owner_id, pattern=pattern("pattern", request.pattern))
        await self.desk.append(root_id, ledger.Event(model_unblocked=event), already=True)
        return pb.BlockList(owner_id=request.owner_id, patterns=self.desk.blocks(owner_id))

    def _limits(self, owner: str, owner_id: bytes) -> pb.LimitList:
        rows = describe(self.desk.replica.state, owner_id, time.time_ns() // 1_000_000)
        limits = [pb.Limit(**row._asdict()) for row in rows]
        return pb.LimitList(owner_id=owner, limits=limits, blocked_models=self.desk.blocks(owner_id))
