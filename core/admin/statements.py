"""Statements of accounts. The projections make them, as they fold the log apart from what serves calls."""

import asyncio
from collections.abc import AsyncIterator

from core.admin.answers import Context, Rejected
from core.admin.desk import Subject
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1.work_pb2 import Ask, StatementPart, StatementQuestion

LOOK_EVERY_S = 0.5


class Statements(Subject):
    """What operators ask about an account's months."""

    async def GetStatement(self, request: pb.GetStatementRequest, context: Context) -> AsyncIterator[pb.StatementChunk]:
        """Progress while it is being made, then the file."""
        try:
            account = await self.desk.account(request.account_id)
            question = StatementQuestion(month=request.month, pdf=request.pdf)
            size = 0
            while not question.digest or question.offset < size:
                part = await self._part(account.account_id, question, request.account_id)
                yield pb.StatementChunk(done=part.done, total=part.total, size=part.size, content=part.content)
                if not part.digest:
                    await asyncio.sleep(LOOK_EVERY_S)
                question.digest, size = part.digest, part.size
                question.offset += len(part.content)
        except Rejected as rejected:
            await context.abort(rejected.code, rejected.message)

    async def _part(self, account_id: bytes, question: StatementQuestion, named: str) -> StatementPart:
        ask = Ask(account_id=account_id, statement=question, min_position=self.desk.replica.state.position)
        return (await self.desk.ask_projections("statement", ask, ("account", named))).statement
