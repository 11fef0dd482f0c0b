"""OpenAI's chat protocol over HTTP, which OpenRouter and most providers speak: whole and streamed answers."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self

import orjson

from core.providers import failures
from core.providers.exchange import Reply
from core.providers.http import HttpClient
from core.providers.port import Chunk, Completion, FailureKind, ProviderFailure, Usage
from core.providers.sse import EventParser, EventTooLarge

READ_BACK_S = 30.0
"""Time for a request that is not a customer's call: a list of models, a generation's record."""
END_S = 2.0
"""Time for the last bytes of a stream whose end mark was read; then its connection is not reused."""
GENERATION_ID_MAX = 128

_NOTHING: dict[str, Any] = {}

ReadUsage = Callable[[Mapping[str, Any]], Usage]


class ChatProtocol:
    """Speaks the protocol at one base URL.

    `read_usage` reads the usage object. `end_marked`: a stream without `[DONE]` is broken; otherwise one that gave a
    finish reason may just end.
    """

    def __init__(self, client: HttpClient, read_usage: ReadUsage, end_marked: bool) -> None:
        self.client = client
        self.read_usage = read_usage
        self.end_marked = end_marked

    async def complete(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Completion:
        """See core.providers.port.Provider."""
        reply = await self.client.fetch("POST", "/chat/completions", body, headers, deadline_s)
        generation_id = header_id(reply)
        content = reply.body()
        if reply.status != 200:
            raise failures.of_answer(reply.status, reply.headers, content, generation_id, time.time())
        answer = parsed_object(content, generation_id)
        generation_id = generation_id or body_id(answer)
        usage = usage_of(answer, self.read_usage)
        _inspect(answer, generation_id, usage, begun=False)
        if not isinstance(answer.get("choices"), list):
            raise ProviderFailure(
                FailureKind.PROTOCOL, "no_choices", began=True, status=200, generation_id=generation_id, usage=usage
            )
        return Completion(answer, usage, generation_id)

    def stream(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> "ChatStream":
        """See core.providers.port.Provider."""
        return ChatStream(self, body, headers, deadline_s)

    async def read_back(self, path: str) -> dict[str, Any]:
        """The JSON object at a path. Raises ProviderFailure, with the status that the provider gave."""
        reply = await self.client.fetch("GET", path, b"", {}, READ_BACK_S)
        content = reply.body()
        if reply.status != 200:
            raise failures.of_answer(reply.status, reply.headers, content, "", time.time())
        return parsed_object(content, "")


class ChatStream:
    """One streamed answer; see core.providers.port.AnswerStream."""

    __slots__ = (
        "_body",
        "_chunks",
        "_deadline_s",
        "_events",
        "_finished",
        "_headers",
        "_over",
        "_parser",
        "_protocol",
        "_reply",
        "generation_id",
    )

    def __init__(self, protocol: ChatProtocol, body: bytes, headers: Mapping[str, str], deadline_s: float) -> None:
        self.generation_id = ""
        self._protocol = protocol
        self._body = body
        self._headers = headers
        self._deadline_s = deadline_s
        self._reply: Reply | None = None
        self._parser = EventParser()
        self._events: deque[bytes] = deque()
        self._chunks = 0
        self._finished = False
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            while not self._events:
                if self._over:
                    raise StopAsyncIteration
                reply = self._reply
                if reply is None:
                    await self._open()
                else:
                    self._feed(await reply.piece())
            event = self._events.popleft()
            if event[:6] != b"[DONE]":
                return self._chunk(event)
        except ProviderFailure as failure:
            failure.generation_id = failure.generation_id or self.generation_id
            await self.aclose()
            raise
        self._end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the socket, unless the answer was read to its end."""
        self._over = True
        self._events.clear()
        if self._reply is not None:
            self._reply.close()

    def _end(self) -> None:
        """The end mark was read; what may follow it is of no interest."""
        self._over = True
        self._events.clear()
        if self._reply is not None and not self._reply.complete:
            self._reply.finish_alone(END_S)

    def _feed(self, piece: bytes) -> None:
        """Take what arrived; nothing is the end of the body."""
        try:
            self._events.extend(self._parser.feed(piece or b"\n\n"))
        except EventTooLarge:
            raise ProviderFailure(FailureKind.PROTOCOL, "event_too_large", began=True, status=200) from None
        if not piece and not self._events:
            self._over = True
            if self._protocol.end_marked or not self._finished:
                raise ProviderFailure(FailureKind.BROKEN, "no_end_mark", began=True, status=200)

    async def _open(self) -> None:
        """Send the request and read the headers; an answer that is no stream tells why in its body."""
        reply = await self._protocol.client.open(
            "POST", "/chat/completions", self._body, self._headers, self._deadline_s
        )
        self._reply = reply
        self._body = b""
        self.generation_id = header_id(reply)
        if reply.status == 200 and reply.headers.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
            return
        content = bytearray()
        while piece := await reply.piece():
            content += piece
            if len(content) > failures.ERROR_BYTES_MAX:
                reply.close()
                break
        if reply.status != 200:
            raise failures.of_answer(reply.status, reply.headers, bytes(content), self.generation_id, time.time())
        answer = parsed_object(bytes(content), self.generation_id)
        _inspect(answer, self.generation_id, usage_of(answer, self._protocol.read_usage), begun=False)
        raise ProviderFailure(FailureKind.PROTOCOL, "not_a_stream", began=True, status=200)

    def _chunk(self, event: bytes) -> Chunk:
        body = parsed_object(event, self.generation_id)
        if not self.generation_id:
            self.generation_id = body_id(body)
        usage = usage_of(body, self._protocol.read_usage)
        if _inspect(body, self.generation_id, usage, begun=self._chunks > 0):
            self._finished = True
        self._chunks += 1
        return Chunk(body, usage)


def _inspect(body: Mapping[str, Any], generation_id: str, usage: Usage | None, begun: bool) -> bool:
    """Does a choice name its finish reason? Raises the failure that a body of status 200 tells, or is: choices are
    objects, and what they hold is an object, so that nobody who reads on need ask.
    """
    error = failures.error_object(body) if "error" in body else None
    if error is not None:
        raise failures.of_error(error, generation_id, usage, begun)
    finished = False
    choices = body.get("choices")
    if choices and type(choices) is not list:
        raise _not_the_protocol(generation_id)
    for choice in choices or ():
        if type(choice) is not dict or type(choice.get("delta") or choice.get("message") or _NOTHING) is not dict:
            raise _not_the_protocol(generation_id)
        reason = choice.get("finish_reason")
        if reason is not None:
            finished = True
            if reason == "error":
                raise ProviderFailure(
                    FailureKind.BROKEN,
                    "finish_reason",
                    began=True,
                    status=200,
                    generation_id=generation_id,
                    usage=usage,
                )
    return finished


def usage_of(body: Mapping[str, Any], read_usage: ReadUsage) -> Usage | None:
    """Usage, where the body has some."""
    usage = body.get("usage")
    return read_usage(usage) if usage and type(usage) is dict else None


def parsed_object(content: bytes, generation_id: str) -> dict[str, Any]:
    """The JSON object of an answer of status 200. Raises ProviderFailure when it is none."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if type(body) is not dict:
        raise _not_the_protocol(generation_id)
    return body


def _not_the_protocol(generation_id: str) -> ProviderFailure:
    return ProviderFailure(FailureKind.PROTOCOL, "not_json", began=True, status=200, generation_id=generation_id)


def header_id(reply: Reply) -> str:
    """The generation's id in the answer's headers."""
    return reply.headers.get(b"x-generation-id", b"").decode("latin-1")[:GENERATION_ID_MAX]


def body_id(body: Mapping[str, Any]) -> str:
    """The generation's id in the answer's body."""
    found = body.get("id")
    return found[:GENERATION_ID_MAX] if isinstance(found, str) else ""
