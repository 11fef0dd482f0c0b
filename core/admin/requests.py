"""Why a request was charged what it was charged."""

import orjson

from core.admin.answers import answers
from core.admin.desk import Subject
from core.admin.fields import identity
from core.explain import explain
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1.work_pb2 import Ask
from runtime import ids


class Requests(Subject):
    """What operators ask about requests."""

    @answers
    async def ShowRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        return pb.RequestStory(json=await self._story(request, prices=False))

    @answers
    async def ExplainRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        story = orjson.loads(await self._story(request, prices=True))
        return pb.RequestStory(json=orjson.dumps(explain(story)))

    async def _story(self, request: pb.RequestRef, prices: bool) -> bytes:
        request_id = identity("request_id", ids.REQUEST, request.request_id)
        ask = Ask(request_id=request_id, min_position=self.desk.replica.state.position, prices=prices)
        return await self.desk.ask_projections("request", ask, f"request {request.request_id}")
