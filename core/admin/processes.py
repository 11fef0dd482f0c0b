"""Who runs, and how full the streams are."""

import time
from typing import Any

import orjson

from bus import jetstream
from bus.errors import ApiRefused, BusError
from bus.presence import SILENT_S
from bus.streams import DIRECTORY, LEDGER, MEDIA, SNAPSHOTS, TASKS, USAGE
from core.admin.answers import answers
from core.admin.desk import Subject
from proto.onysoft.v1 import admin_pb2 as pb

STREAMS = (LEDGER, USAGE, DIRECTORY, SNAPSHOTS, TASKS, MEDIA)


class Processes(Subject):
    """What operators ask about the machine."""

    @answers
    async def ListProcesses(self, request: pb.ListProcessesRequest) -> pb.ProcessList:
        now_ms = time.time_ns() // 1_000_000
        processes = [_process(ago_s, about, now_ms) for ago_s, about in self.desk.presences.all()]
        processes.sort(key=lambda each: (each.kind, each.name, each.host, each.ops_port))
        return pb.ProcessList(processes=processes, streams=[await self._stream(name) for name in STREAMS])

    async def _stream(self, name: str) -> pb.StreamState:
        try:
            state = await jetstream.stream_state(self.desk.connection, name)
        except (ApiRefused, BusError) as error:
            return pb.StreamState(name=name, problem=str(error) or type(error).__name__)
        return pb.StreamState(
            name=name,
            messages=state["messages"],
            bytes=state["bytes"],
            first_position=state["first_seq"],
            last_position=state["last_seq"],
        )


def _process(ago_s: float, about: dict[str, Any], now_ms: int) -> pb.Process:
    facts = about.get("facts") or {}
    return pb.Process(
        name=str(about["name"]),
        kind=str(about["kind"]),
        host=str(about["host"]),
        ops_port=int(about["ops_port"]),
        started_ms=int(about["started_ms"]),
        heard_ms=now_ms - int(ago_s * 1000),
        silent=ago_s > SILENT_S,
        not_ready=str(facts.get("not_ready") or ""),
        position=int(facts.get("position") or 0),
        facts_json=orjson.dumps(facts),
    )
