"""A streamed answer: which events, when, and what goes wrong in the middle.

Pacing is one timer for each stream, in the event loop's own heap; a token is never a task. A client that does not
read stops its own stream and nothing else.
"""

import asyncio
from collections.abc import Iterator

import orjson

from sandbox import answers, failures
from sandbox.answers import IMAGE, REASONING, TEXT, Choice
from sandbox.generation import Generation, unix_ms
from sandbox.protocol import Connection

BURST_EVENTS = 256
COMMENT_EVERY_S = 0.5
EARLY_S = 0.001

_COMMENT = b": OPENROUTER PROCESSING\n\n"
_DONE = b"data: [DONE]\n\n"
_IN_THE_MIDDLE = ("error_after_tokens", "drop_after_tokens", "stall_after_tokens")

Event = tuple[int, int, bytes]


def _fault_of(generation: Generation) -> tuple[int, str]:
    """The first fault in the answer's course: after how many tokens (-1: none), and its name."""
    faults = generation.faults
    planned = [(at, name) for name in _IN_THE_MIDDLE if (at := getattr(faults, name)) is not None]
    if faults.wrong_content:
        planned.append((1, faults.wrong_content))
    return min(planned) if planned else (-1, "")


class Stream:
    """One stream, from its headers to its end. `start` may answer at once and be done."""

    __slots__ = (
        "_close",
        "_connection",
        "_due_s",
        "_events",
        "_fault",
        "_fault_at",
        "_generation",
        "_interval_s",
        "_loop",
        "_open",
        "_silent",
        "_stalled",
        "_timer",
    )

    def __init__(self, generation: Generation, connection: Connection) -> None:
        self._generation = generation
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        rate = generation.pace.tokens_per_second
        self._interval_s = 1 / rate if rate else 0.0
        self._silent = not (generation.openrouter and generation.pace.comments)
        self._fault_at, self._fault = _fault_of(generation)
        self._stalled = False
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due_s = 0.0
        self._open, self._close = self._envelope()
        self._events = self._all_events()

    def _envelope(self) -> tuple[bytes, bytes]:
        generation = self._generation
        fields: dict[str, object] = {
            "id": generation.id,
            "object": "chat.completion.chunk",
            "created": generation.created,
            "model": generation.model.id,
        }
        if generation.openrouter:
            fields["provider"] = generation.model.provider
        else:
            fields["system_fingerprint"] = None
        told_later = not generation.openrouter and generation.include_usage
        return b"data: " + orjson.dumps(fields)[:-1], b'],"usage":null}\n\n' if told_later else b"]}\n\n"

    # what is said

    def _chunk(self, choice: bytes) -> bytes:
        if self._generation.pace.stamp:
            return b'%b,"sandbox_ms":%.3f,"choices":[%b%b' % (self._open, unix_ms(), choice, self._close)
        return b'%b,"choices":[%b%b' % (self._open, choice, self._close)

    def _all_events(self) -> Iterator[Event]:
        for choice in self._generation.choices:
            yield from self._choice_events(choice)

    def _choice_events(self, choice: Choice) -> Iterator[Event]:
        openrouter = self._generation.openrouter
        before = b'{"index":%d,"delta":' % choice.index
        native = b',"native_finish_reason":%b' if openrouter else b"%b"
        going = b',"finish_reason":null' + native % (b"null" if openrouter else b"") + b',"logprobs":null}'
        content = before + (b'{"role":"assistant","content":' if openrouter else b'{"content":')
        yield TEXT, 0, before + b'{"role":"assistant","content":""}' + going
        for kind, tokens, delta in answers.deltas(choice, openrouter):
            if isinstance(delta, str):
                yield kind, tokens, content + orjson.dumps(delta) + b"}" + going
            else:
                yield kind, tokens, before + orjson.dumps(delta) + going
        finish = orjson.dumps(choice.finish)
        last = b'{"role":"assistant","content":""}' if openrouter else b"{}"
        ended = b',"finish_reason":' + finish + native % (finish if openrouter else b"") + b',"logprobs":null}'
        yield TEXT, 0, before + last + ended

    def _tail(self) -> bytes:
        generation = self._generation
        if generation.faults.missing_usage or not generation.include_usage:
            return _DONE
        empty = b""
        if generation.faults.usage_in_last_delta:
            empty = b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"logprobs":null}'
        return b'%b,"choices":[%b],"usage":%b}\n\n%b' % (self._open, empty, generation.told_usage(), _DONE)

    # when it is said

    def start(self, recorded: bool) -> None:
        """Begin; `recorded`: the journal knows of the generation already."""
        generation = self._generation
        if self._fault in ("html", "empty"):
            self._start_wrong()
            return
        extra = b"x-generation-id: %b\r\n" % generation.id.encode() if generation.openrouter else b""
        first = b"" if self._silent else _COMMENT
        first_token_s = generation.pace.first_token_ms / 1000
        if not first_token_s and not self._interval_s and not self._fault:
            tokens = sum(answers.tokens(generation.choices))
            if tokens < BURST_EVENTS:
                self._all_at_once(first, extra)
                return
        if not recorded:
            generation.record("running")
        self._connection.on_gone = self._gone
        self._connection.on_writable = self._writable
        self._connection.begin(first, extra)
        self._due_s = self._loop.time() + first_token_s
        self._wait()

    def _all_at_once(self, first: bytes, extra: bytes) -> None:
        parts = [first]
        parts += [self._chunk(data) for _, _, data in self._events]
        self._generation.produce_all()
        parts.append(self._tail())
        self._generation.record("completed")
        self._connection.begin(b"".join(parts), extra)
        self._connection.end()

    def _start_wrong(self) -> None:
        self._generation.produce_all()
        self._generation.record("failed", self._fault)
        if self._fault == "html":
            self._connection.answer(200, failures.BAD_GATEWAY_PAGE, b"text/html")
        else:
            self._connection.begin(b"")
            self._connection.end()

    def _wait(self) -> None:
        left_s = self._due_s - self._loop.time()
        if left_s > COMMENT_EVERY_S and not self._silent:
            self._timer = self._loop.call_later(COMMENT_EVERY_S, self._comment)
        elif left_s > 0:
            self._timer = self._loop.call_later(left_s, self._step)
        else:
            self._timer = self._loop.call_soon(self._step)

    def _comment(self) -> None:
        self._timer = None
        if not self._connection.paused:
            self._connection.send(_COMMENT)
        self._wait()

    def _writable(self) -> None:
        if self._timer is None and not self._stalled:
            self._due_s = max(self._due_s, self._loop.time())
            self._wait()

    def _step(self) -> None:
        self._timer = None
        if self._connection.paused:
            return
        parts: list[bytes] = []
        if self._take(parts):
            self._connection.send(b"".join(parts))
            if not self._connection.paused:
                self._wait()

    def _take(self, parts: list[bytes]) -> bool:
        """Gather what is due; False when the stream has ended or stalled, and all has been sent."""
        generation = self._generation
        late_s = self._loop.time() + EARLY_S
        for _ in range(BURST_EVENTS):
            if 0 <= self._fault_at <= generation.usage.completion:
                self._fail(parts)
                return False
            event = next(self._events, None)
            if event is None:
                parts.append(self._tail())
                generation.record("completed")
                self._connection.end(b"".join(parts))
                return False
            kind, tokens, data = event
            parts.append(self._chunk(data))
            if tokens:
                self._count(kind, tokens)
                self._due_s += self._interval_s
                if self._interval_s and self._due_s > late_s:
                    return True
        return True

    def _count(self, kind: int, tokens: int) -> None:
        usage = self._generation.usage
        if kind == TEXT:
            usage.text += tokens
        elif kind == REASONING:
            usage.reasoning += tokens
        elif kind == IMAGE:
            usage.image += tokens

    # what goes wrong

    def _fail(self, parts: list[bytes]) -> None:
        if self._fault == "stall_after_tokens":
            self._stalled = True
            self._connection.send(b"".join(parts))
            return
        self._generation.record("failed", self._fault)
        if self._fault == "drop_after_tokens":
            self._connection.send(b"".join(parts))
            self._connection.drop()
            return
        if self._fault == "error_after_tokens":
            parts.append(self._error_event())
        elif self._fault == "not_json":
            parts.append(b"data: upstream connect error or disconnect/reset before headers\n\n")
        else:
            parts.append(self._chunk(b'{"index":0,"delta":{"content":"')[: len(self._open) + 40])
        self._connection.end(b"".join(parts))

    def _error_event(self) -> bytes:
        generation = self._generation
        choice = b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"error"}'
        error = b'{"code":"server_error","message":"Provider disconnected unexpectedly"}'
        known = generation.openrouter and not generation.faults.missing_usage
        usage = b',"usage":' + generation.told_usage() if known else b""
        return b'%b,"choices":[%b],"error":%b%b}\n\n' % (self._open, choice, error, usage)

    def _gone(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._generation.record("aborted")
