"""`POST /chat/completions` of both faces: from a request to a whole answer, or to a stream."""

import asyncio
from typing import Any

import orjson

from sandbox import answers, failures, prompt
from sandbox.catalogue import Model
from sandbox.control import Control
from sandbox.generation import Generation, unix_ms
from sandbox.journal import Journal
from sandbox.prompt import BadCall
from sandbox.protocol import Connection, Request
from sandbox.stream import Stream

_TRACEPARENT_BYTES_MAX = 128


def authorized(authorization: bytes, required: str) -> bool:
    """Whether the header is a bearer token, and the required one where one is required."""
    if authorization[:7].lower() != b"bearer ":
        return False
    token = authorization[7:].strip()
    return token == required.encode() if required else bool(token)


def refuse(connection: Connection, openrouter: bool, refusal: BadCall, extra: bytes = b"") -> None:
    """Answer with an error in the face's own shape."""
    if openrouter:
        body = failures.openrouter_error(refusal.status, refusal.message)
    else:
        body = failures.openai_error(refusal.status, refusal.message, refusal.param, refusal.code)
    connection.answer(refusal.status, body, extra=extra)


class Chat:
    """Serves chat calls on a catalogue, under a control, into a journal."""

    def __init__(self, catalogue: dict[str, Model], control: Control, journal: Journal) -> None:
        self._catalogue = catalogue
        self._control = control
        self._journal = journal

    def serve(self, request: Request, connection: Connection, openrouter: bool) -> None:
        """Answer one call, now or later."""
        try:
            generation = self._accept(request, openrouter)
        except BadCall as refusal:
            refuse(connection, openrouter, refusal)
            return
        control = self._control
        status = control.failure(generation.faults)
        delay_s = control.delay_s()
        if delay_s:
            _Delayed(generation, connection, status, delay_s)
        elif status:
            _inject(generation, connection, status)
        elif generation.streamed:
            Stream(generation, connection).start(recorded=False)
        else:
            answer_whole(generation, connection, recorded=False)

    def _accept(self, request: Request, openrouter: bool) -> Generation:
        pace = self._control.pace
        if not authorized(request.authorization, pace.require_key):
            missing = not request.authorization
            raise BadCall(401, "No auth credentials found" if missing else "User not found.", code="invalid_api_key")
        body = _body(request.body)
        model = self._model(body, openrouter)
        counted = prompt.read(body, model)
        if counted.tokens > model.context_length:
            text = f"This endpoint's maximum context length is {model.context_length} tokens. However, you requested"
            raise BadCall(400, f"{text} about {counted.tokens} tokens.", "messages", "context_length_exceeded")
        faults = self._control.faults_for(model.id)
        choices = answers.compose(body, model, counted, faults.ignore_max_tokens)
        generation = Generation(self._journal, model, counted, choices, faults, pace)
        generation.openrouter = openrouter
        generation.streamed = body.get("stream") is True
        if not openrouter:
            options = body.get("stream_options")
            generation.include_usage = isinstance(options, dict) and options.get("include_usage") is True
        if request.traceparent and len(request.traceparent) <= _TRACEPARENT_BYTES_MAX:
            generation.traceparent = orjson.dumps(request.traceparent.decode("latin-1"))
        return generation

    def _model(self, body: dict[str, Any], openrouter: bool) -> Model:
        wanted = body.get("model")
        model = self._catalogue.get(wanted) if isinstance(wanted, str) else None
        if model is not None and not model.routes_to:
            return model
        names = [wanted] if wanted is not None else body.get("models") or []
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BadCall(400, "No models provided", "model")
        for name in names:
            model = self._catalogue.get(name)
            if model is not None:
                return self._catalogue[model.routes_to] if model.routes_to else model
        if openrouter:
            raise BadCall(400, f"{names[0]} is not a valid model ID")
        raise BadCall(404, f"The model `{names[0]}` does not exist.", "model", "model_not_found")


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadCall(400, "The request's body is not valid JSON") from None
    if not isinstance(body, dict):
        raise BadCall(400, "The request's body is not a JSON object")
    return body


def _inject(generation: Generation, connection: Connection, status: int) -> None:
    if status < 0:
        connection.drop()
        return
    message = failures.injected_message(status)
    extra = failures.limit_headers(status, generation.faults.retry_after_s)
    if generation.openrouter:
        provider = generation.model.provider if status not in (401, 402, 403) else ""
        connection.answer(status, failures.openrouter_error(status, message, provider), extra=extra)
    else:
        connection.answer(status, failures.openai_error(status, message), extra=extra)


def answer_whole(generation: Generation, connection: Connection, recorded: bool) -> None:
    """Answer a call that is not streamed; `recorded`: the journal knows of the generation already."""
    faults = generation.faults
    if faults.error_in_200:
        generation.record("failed", "error_in_200", free=True)
        connection.answer(200, failures.openrouter_error(502, "Provider returned error", generation.model.provider))
        return
    if faults.stall_after_tokens is not None:
        _stall(generation, connection, faults.stall_after_tokens, recorded)
        return
    extra = b"x-generation-id: %b\r\n" % generation.id.encode() if generation.openrouter else b""
    generation.produce_all()
    body = generation.whole()
    if faults.drop_after_tokens is not None:
        generation.record("failed", "drop_after_tokens")
        connection.answer_part(body, len(body) // 2, extra)
    elif faults.wrong_content:
        generation.record("failed", faults.wrong_content)
        _wrong(connection, body, faults.wrong_content, extra)
    else:
        generation.record("completed")
        connection.answer(200, body, extra=extra)


def _stall(generation: Generation, connection: Connection, after_tokens: int, recorded: bool) -> None:
    total = sum(answers.tokens(generation.choices))
    if not recorded:
        generation.record("running")
    generation.produce_share(min(1.0, after_tokens / total) if total else 1.0)
    connection.on_gone = lambda: generation.record("aborted")


def _wrong(connection: Connection, body: bytes, kind: str, extra: bytes) -> None:
    if kind == "html":
        connection.answer(200, failures.BAD_GATEWAY_PAGE, b"text/html", extra)
    elif kind == "truncated":
        connection.answer(200, body[: len(body) // 2], extra=extra)
    elif kind == "not_json":
        connection.answer(200, b"upstream connect error or disconnect/reset before headers", extra=extra)
    else:
        connection.answer(200, b"", extra=extra)


class _Delayed:
    """A call whose answer begins later; it is aborted when the client leaves first."""

    __slots__ = ("_connection", "_delay_s", "_generation", "_status", "_timer")

    def __init__(self, generation: Generation, connection: Connection, status: int, delay_s: float) -> None:
        self._generation = generation
        self._connection = connection
        self._status = status
        self._delay_s = delay_s
        if not status:
            generation.record("running")
        connection.on_gone = self._gone
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin)

    def _begin(self) -> None:
        generation, connection = self._generation, self._connection
        connection.on_gone = None
        if self._status:
            _inject(generation, connection, self._status)
        elif generation.streamed:
            Stream(generation, connection).start(recorded=True)
        else:
            answer_whole(generation, connection, recorded=True)

    def _gone(self) -> None:
        self._timer.cancel()
        if self._status:
            return
        generation = self._generation
        if not generation.streamed:
            generation.produce_share(min(1.0, (unix_ms() - generation.started_ms) / (self._delay_s * 1000)))
        generation.record("aborted")
