"""Results into our own store: providers' addresses die, and a customer has paid for what they name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from core.providers.exchange import Reply
from core.providers.fetch import MayReach, opened
from core.providers.port import ProviderFailure
from files import kinds, names
from files.store import FileStore, StoreFailed, one_piece
from proto.onysoft.v1.task_pb2 import TaskFile
from runtime.ids import TASK, text
from runtime.log import log

COPY_S = 600.0
"""Longest copy of one result."""


@dataclass(slots=True)
class Copier:
    """Copies results of tasks. `pepper` makes their names."""

    store: FileStore
    pepper: bytes
    may_reach: MayReach
    copied: int = 0
    copied_bytes: int = 0
    failures: int = 0

    async def copy(self, request_id: bytes, files: Sequence[TaskFile], words: str) -> list[TaskFile]:
        """The files, each with its name in the store where copying it has succeeded. `words` is a text result."""
        return list(
            await asyncio.gather(*(self._copy(request_id, index, file, words) for index, file in enumerate(files)))
        )

    async def _copy(self, request_id: bytes, index: int, file: TaskFile, words: str) -> TaskFile:
        if file.name:
            return file
        try:
            if file.text:
                name, size = await self._keep_text(request_id, index, words)
            else:
                name, size = await self._fetch(request_id, index, file.provider_url)
        except (ProviderFailure, StoreFailed) as failure:
            self.failures += 1
            log.warning("task.copy_failed", task_id=text(TASK, request_id), result=index, reason=str(failure)[:100])
            return file
        self.copied += 1
        self.copied_bytes += size
        kept = TaskFile()
        kept.CopyFrom(file)
        kept.name, kept.size_bytes = name, size
        return kept

    async def _keep_text(self, request_id: bytes, index: int, words: str) -> tuple[str, int]:
        name = names.result_name(self.pepper, request_id, index, kinds.TEXT)
        return name, await self.store.put(name, one_piece(words.encode()))

    async def _fetch(self, request_id: bytes, index: int, url: str) -> tuple[str, int]:
        async with opened(url, self.may_reach, COPY_S) as reply:
            head = b""
            while len(head) < kinds.HEAD_BYTES and (piece := await reply.piece()):
                head += piece
            name = names.result_name(self.pepper, request_id, index, kinds.ending_of(head))
            return name, await self.store.put(name, _pieces(head, reply))


async def _pieces(head: bytes, reply: Reply) -> AsyncIterator[bytes]:
    yield head
    while piece := await reply.piece():
        yield piece
