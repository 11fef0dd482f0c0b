"""Why a request was charged what it was charged."""

import grpc

from bus.errors import NoCore
from core.admin.answers import Rejected, answers
from core.admin.desk import Subject
from core.admin.fields import identity
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1.work_pb2 import Answer, Ask
from runtime import ids

ASK_TIMEOUT_S = 5.0


class Requests(Subject):
    """What operators ask about requests."""

    @answers
    async def ShowRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        request_id = identity("request_id", ids.REQUEST, request.request_id)
        ask = Ask(request_id=request_id, min_position=self.desk.replica.state.position)
        try:
            payload = await self.desk.connection.request("ask.request", ask.SerializeToString(), ASK_TIMEOUT_S)
        except NoCore:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "no projections process is running") from None
        except TimeoutError:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "the projections did not answer in time") from None
        answer = Answer.FromString(payload)
        if answer.code == "not_found":
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no request {request.request_id}")
        if answer.code:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, f"the projections answered {answer.code}")
        return pb.RequestStory(json=answer.json)
