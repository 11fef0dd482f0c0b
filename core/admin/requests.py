"""Why a request was charged what it was charged."""

import orjson

from core.admin.answers import answers
from core.admin.desk import Desk, Subject
from core.admin.fields import identity
from core.explain import explain
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1.work_pb2 import Ask
from runtime import ids


class Requests(Subject):
    """What operators ask about requests."""

    @answers
    async def ShowRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        return pb.RequestStory(json=await story_of(self.desk, request.request_id, prices=False))

    @answers
    async def ExplainRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        story = orjson.loads(await story_of(self.desk, request.request_id, prices=True))
        return pb.RequestStory(json=orjson.dumps(explain(story)))


async def story_of(desk: Desk, request_id: str, prices: bool) -> bytes:
    """All that the ledger says of a request, as JSON; with the `prices` that it was charged by."""
    wanted = identity("request_id", ids.REQUEST, request_id)
    ask = Ask(request_id=wanted, min_position=desk.replica.state.position, prices=prices)
    return (await desk.ask_projections("request", ask, ("request", request_id))).json
