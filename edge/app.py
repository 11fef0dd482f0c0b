"""The ASGI application: routes, and the one way in which every call ends."""

import asyncio
import time
from typing import Any
from urllib.parse import unquote

from bus.connection import Connection
from bus.directory import DirectoryMirror
from bus.errors import NoCore, RequestTimeout
from bus.frames import ClientGone
from edge.auth import Authenticator, Identity
from edge.call import Call
from edge.cors import Cors
from edge.forwarding import TrustedProxies
from edge.metrics import EdgeMetrics
from edge.relay import Chat, Relay, limit_of_refusal
from edge.responses import limit_of
from edge.tasks import KINDS, TaskPages
from edge.usage import UsageReporter
from edge.validate import parse_chat, parse_generate, parse_usage
from proto.onysoft.v1 import usage_pb2, work_pb2
from runtime import ids
from runtime.addresses import is_within, ranges_of
from runtime.errors import CATALOGUE, Refusal
from runtime.log import log
from runtime.settings import Settings

ASK_TIMEOUT_S = 2.0
ASK_RETRY_S = 0.1
BODIES_BYTES_MAX = 512 * 1024 * 1024  # of all calls together
ACCOUNTED_BYTES = 64 * 1024  # smaller bodies are bounded by the number of calls

_READY = "/readyz"
_CHAT = "/v1/chat/completions"
_MODELS = "/v1/models"
_MODEL = "/v1/models/"
_BALANCE = "/v1/balance"
_USAGE = "/v1/usage"
_REQUEST = "/v1/requests/"
_FILE = "/v1/files/"
_CALLBACK = "/v1/callbacks/kie"


class App:
    """Serves one edge's clients.

    Every call ends here: with a response, or with a client that left; in either case with one usage event.
    """

    def __init__(
        self,
        connection: Connection,
        mirror: DirectoryMirror,
        authenticator: Authenticator,
        relay: Relay,
        usage: UsageReporter,
        metrics: EdgeMetrics,
        pages: TaskPages,
        settings: Settings,
    ) -> None:
        self.in_flight = 0
        self.body_bytes = 0
        self._connection = connection
        self._mirror = mirror
        self._authenticator = authenticator
        self._relay = relay
        self._usage = usage
        self._metrics = metrics
        self._pages = pages
        self._cors = Cors(settings.cors_origins)
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._calls_max = settings.max_calls_in_flight
        self._patience_s = settings.core_patience_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        call = Call(scope, send)
        if scope["path"] == _READY:
            await self._say_ready(call)
            return
        self.in_flight += 1
        try:
            call.cors_fields = self._cors.fields(call.headers)
            await self._serve(call, receive)
        except Refusal as refusal:
            assert not call.begun, "a refusal is a whole response"
            await call.refuse(refusal, limit_of_refusal(refusal))
        except (ClientGone, asyncio.CancelledError):
            call.disconnected = True
        except Exception as error:  # noqa: BLE001 - the last frame of a call: the client gets 500, the operator the places
            log.error("call.failed", request_id=ids.text(ids.REQUEST, call.request_id), exc_info=error)
            call.code = "internal_error"
            if not call.begun:
                await call.refuse(Refusal("internal_error"))
        finally:
            self.in_flight -= 1
            self._report(call)

    async def _say_ready(self, call: Call) -> None:
        """For load balancers, which see this port only: may calls be sent here? Reasons are on the operator's port."""
        ready = self._mirror.is_loaded and self._connection.connected
        body = b'{"ready":true}' if ready else b'{"ready":false}'
        await call.respond(200 if ready else 503, body, call.fields(None))

    def refused_unseen(self, request_id: bytes, code: str) -> None:
        """Report a request that the protocol refused before it was one."""
        status = CATALOGUE[code].status
        self._metrics.add("http", status, code, 0.0, 0.0)
        self._usage.add(
            usage_pb2.UsageEvent(
                request_id=request_id,
                received_ms=time.time_ns() // 1_000_000,
                route="http",
                status=status,
                code=code,
            )
        )

    def _report(self, call: Call) -> None:
        event = call.usage()
        self._usage.add(event)
        self._metrics.add(
            call.route, call.status, call.code, event.first_byte_us / 1_000_000, event.duration_us / 1_000_000
        )

    async def _serve(self, call: Call, receive: Any) -> None:
        path = call.scope["path"].removesuffix("/")
        if path == _CHAT:
            call.route = "chat"
            if call.scope["method"] == "POST":
                await self._chat(call, receive)
            else:
                await self._other_method(call)
        elif path in (_MODELS, _BALANCE, _USAGE) or path.startswith((_MODEL, _REQUEST)):
            call.route = path.split("/", 3)[2]
            if call.scope["method"] in ("GET", "HEAD"):
                await self._look_up(call, path)
            else:
                await self._other_method(call)
        else:
            await self._serve_media(call, receive, path)

    async def _serve_media(self, call: Call, receive: Any, path: str) -> None:
        """Tasks: begin one, look at one, and the files and callbacks that go with them."""
        method = call.scope["method"]
        _, _, kind, rest = [*path.split("/", 3), "", "", ""][:4]
        if kind in KINDS and rest == "generate":
            call.route = "generate"
            served = method == "POST"
        elif kind in KINDS and rest.startswith("status/"):
            call.route = "status"
            served = method in ("GET", "HEAD")
        elif path.startswith(_FILE):
            call.route = "files"
            served = method in ("GET", "HEAD")
        elif path == _CALLBACK:
            call.route = "callbacks"
            served = method == "POST"
        else:
            call.route = "unknown"
            raise Refusal("not_found")
        if not served:
            await self._other_method(call)
        elif call.route == "generate":
            await self._generate(call, receive)
        elif call.route == "status":
            await self._pages.show(call, await self._identify(call), rest.removeprefix("status/"))
        elif call.route == "files":
            await self._pages.send_file(call, path[len(_FILE) :])
        else:
            await self._take_callback(call, receive)

    async def _take_callback(self, call: Call, receive: Any) -> None:
        request_id = self._pages.marked(call)
        body = await self._body(call, receive)
        try:
            await self._pages.take_callback(call, request_id, body)
        finally:
            self._let_go(len(body))

    async def _other_method(self, call: Call) -> None:
        """Answer a browser's preflight. Raises Refusal for everything else."""
        preflight = self._cors.preflight_fields(call.headers) if call.scope["method"] == "OPTIONS" else []
        if not preflight:
            raise Refusal("method_not_allowed")
        call.cors_fields = preflight
        await call.respond(204, b"", call.fields(None))

    async def _identify(self, call: Call) -> Identity:
        identity = await self._authenticator.identify(call.headers.get(b"authorization", b""))
        call.account_id = identity.account_id
        call.key_id = identity.key_id
        if identity.allowed_ips and not self._comes_from(call, identity.allowed_ips):
            raise Refusal("access_denied")
        return identity

    def _comes_from(self, call: Call, allowed_ips: tuple[str, ...]) -> bool:
        """Whether the client's address is in one of the ranges; one that cannot be told is in none."""
        peer = call.scope["connection"].client
        address = self._proxies.client(peer[0] if peer else "", call.scope["headers"])
        return address is not None and is_within(address, ranges_of(allowed_ips))

    async def _chat(self, call: Call, receive: Any) -> None:
        identity, body = await self._admitted(call, receive)
        try:
            model, stream = parse_chat(body)
            self._check_model(model)
            call.model = model
            await self._relay.run(call, Chat(identity, model, stream, body))
        finally:
            self._let_go(len(body))

    async def _generate(self, call: Call, receive: Any) -> None:
        identity, body = await self._admitted(call, receive)
        try:
            model = parse_generate(body)
            self._check_model(model)
            call.model = model
            await self._relay.run(call, Chat(identity, model, False, body, "media"))
        finally:
            self._let_go(len(body))

    async def _admitted(self, call: Call, receive: Any) -> tuple[Identity, bytes]:
        """The caller, and only then the body. `_let_go` of its length follows."""
        if self.in_flight > self._calls_max:
            raise Refusal("service_unavailable", retry_after_s=1)
        identity = await self._identify(call)
        return identity, await self._body(call, receive)

    def _check_model(self, model: str) -> None:
        """Raises Refusal: an edge that has not read the directory yet cannot say that a model does not exist."""
        known = self._mirror.models.get(model)
        if known is None and not (self._mirror.is_loaded and self._mirror.models):
            raise Refusal("service_unavailable", retry_after_s=1)
        if known is None or not known.active:
            raise Refusal("model_not_found")

    async def _body(self, call: Call, receive: Any) -> bytes:
        """The whole body, joined once. `_let_go` of its length follows."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            body = await self._long_body(body, receive)
        elif message["type"] == "http.disconnect":
            raise ClientGone
        else:
            self._keep(len(body))
        call.request_bytes = len(body)
        return body

    async def _long_body(self, first: bytes, receive: Any) -> bytes:
        parts = [first]
        kept = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                parts.append(message["body"])
                kept += len(message["body"])
                self.body_bytes += len(message["body"])
                if self.body_bytes > BODIES_BYTES_MAX:
                    raise Refusal("service_unavailable", retry_after_s=2)
                if not message["more_body"]:
                    break
        finally:
            self.body_bytes -= kept
        body = b"".join(parts)
        self._keep(len(body))
        return body

    def _keep(self, size: int) -> None:
        self.body_bytes += size

    def _let_go(self, size: int) -> None:
        self.body_bytes -= size

    async def _look_up(self, call: Call, path: str) -> None:
        """What a core or a projection knows: models, balance, one request's story."""
        identity = await self._identify(call)
        ask = work_pb2.Ask(account_id=identity.account_id, key_id=identity.key_id, min_position=self._relay.position)
        subject = "ask." + ("request" if call.route == "requests" else call.route)
        if path.startswith(_MODEL):
            ask.model = path[len(_MODEL) :]
        elif path.startswith(_REQUEST):
            try:
                ask.request_id = ids.parse(ids.REQUEST, unquote(path[len(_REQUEST) :]))
            except ValueError:
                raise Refusal("not_found") from None
        elif path == _USAGE:
            ask.usage.CopyFrom(parse_usage(call.scope["query_string"], time.time()))
        answer = await self._ask(subject, ask.SerializeToString(), self._patience(path))
        if answer.code:
            raise Refusal(answer.code if answer.code in CATALOGUE else "internal_error")
        await call.respond(200, answer.json, call.fields(limit_of(answer)))

    def _patience(self, path: str) -> float:
        """Seconds to look for someone who knows. Analytics may well be away, and nothing waits for it."""
        return 0.0 if path == _USAGE else self._patience_s

    async def _ask(self, subject: str, ask: bytes, patience_s: float) -> work_pb2.Answer:
        give_up_at = time.monotonic() + patience_s
        while True:
            try:
                return work_pb2.Answer.FromString(await self._connection.request(subject, ask, ASK_TIMEOUT_S))
            except (NoCore, RequestTimeout):
                if time.monotonic() >= give_up_at:
                    raise Refusal("service_unavailable", retry_after_s=2) from None
            await asyncio.sleep(ASK_RETRY_S)
