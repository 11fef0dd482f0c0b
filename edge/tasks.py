"""Media tasks at the edge: their status from memory, public files, providers' callbacks."""

import base64
import binascii
import hmac
import time
from typing import Any
from urllib.parse import parse_qs

import orjson

from bus.connection import Connection
from bus.errors import BusError
from bus.tasks import Stored, TaskMirror
from edge.auth import Identity
from edge.call import Call
from edge.errors import error_of
from edge.ranges import Unsatisfiable, part_of
from files.kinds import CONTENT_TYPES
from files.names import is_name, marked_request
from files.store import FileStore, NoSuchFile, StoreFailed, read_whole
from proto.onysoft.v1 import task_pb2
from runtime import ids
from runtime.errors import Refusal
from runtime.parameters import MEDIA_KINDS
from runtime.settings import Settings

KINDS = frozenset(MEDIA_KINDS)

TEXT_BYTES_MAX = 4 * 1024 * 1024
CALLBACK_AGE_S = 300
"""How old, or how far ahead of our clock, a signed callback may be."""

_TAKEN = b'{"success":true}'
_CACHE = b"public, max-age=86400, immutable"


class TaskPages:
    """What an edge answers about tasks without asking a core."""

    def __init__(self, connection: Connection, mirror: TaskMirror, store: FileStore, settings: Settings) -> None:
        self.callbacks = 0
        self._connection = connection
        self._mirror = mirror
        self._store = store
        self._pepper = settings.key_pepper.get_secret_value().encode()
        self._webhook_key = settings.kie_webhook_key.get_secret_value().encode()

    # Status

    async def show(self, call: Call, identity: Identity, task_id: str) -> None:
        """The task, for any key of its account. Raises Refusal `not_found`, for others' tasks as well."""
        try:
            request_id = ids.parse(ids.TASK, task_id)
        except ValueError:
            raise Refusal("not_found") from None
        try:
            stored = await self._mirror.find(request_id)
        except BusError:
            raise Refusal("service_unavailable", retry_after_s=2) from None
        if stored is None or stored.record.account_id != identity.account_id:
            raise Refusal("not_found")
        call.model = stored.record.model
        await call.respond(200, await self._shown(call, stored), call.fields(None))

    async def _shown(self, call: Call, stored: Stored) -> bytes:
        record = stored.record
        texts = [file.name for file in record.files if file.text and file.name]
        if record.status == task_pb2.TASK_FAILED:
            shown = orjson.loads(record.shown)
            shown["error"] = error_of(record.code, "", call.language)
        elif texts and record.status == task_pb2.TASK_COMPLETED:
            shown = orjson.loads(record.shown)
            shown["text"] = await self._text(texts[0])
        else:
            return record.shown
        return orjson.dumps(shown)

    async def _text(self, name: str) -> str | None:
        """None once it is no longer kept. Raises Refusal when nobody can tell."""
        try:
            return (await read_whole(self._store, name, TEXT_BYTES_MAX)).decode("utf-8", "replace")
        except NoSuchFile:
            return None
        except StoreFailed:
            raise Refusal("service_unavailable", retry_after_s=2) from None

    # Files

    async def send_file(self, call: Call, name: str) -> None:
        """A public file, or the part of it that was asked for. Raises Refusal."""
        try:
            size = await self._store.size(name) if is_name(name) else -1
        except NoSuchFile:
            size = -1
        except StoreFailed:
            raise Refusal("service_unavailable", retry_after_s=2) from None
        if size < 0:
            raise Refusal("not_found")
        etag = b'"%b"' % name.encode()
        fields = [
            (b"accept-ranges", b"bytes"),
            (b"cache-control", _CACHE),
            (b"etag", etag),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", b"default-src 'none'; sandbox"),
            *call.fields(None),
        ]
        headers = call.headers
        if headers.get(b"if-none-match", b"") == etag:
            await call.begin_file(304, fields)
            await call.send_piece(b"", more=False)
            return
        await self._send(call, name, size, _range_of(headers, etag), fields)

    async def _send(self, call: Call, name: str, size: int, wanted: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        try:
            part = part_of(wanted, size)
        except Unsatisfiable:
            unsatisfied = [(b"content-range", b"bytes */%d" % size), (b"content-length", b"0")]
            await call.begin_file(416, fields + unsatisfied)
            await call.send_piece(b"", more=False)
            return
        start, end = part or (0, size)
        ending = name.rpartition(".")[2]
        kind = CONTENT_TYPES.get(ending, CONTENT_TYPES["bin"]).encode()
        head = [(b"content-type", kind), (b"content-length", b"%d" % (end - start)), *fields]
        if ending == "bin":
            head.append((b"content-disposition", b"attachment"))
        if part is not None:
            head.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        await call.begin_file(200 if part is None else 206, head)
        await self._send_pieces(call, name, start, end)

    async def _send_pieces(self, call: Call, name: str, start: int, end: int) -> None:
        """When the store breaks off so does the connection: what was announced cannot be sent."""
        if call.scope["method"] == "HEAD":
            await call.send_piece(b"", more=False)
            return
        left = end - start
        try:
            async for piece in self._store.read(name, start, end):
                if call.scope["connection"].lost:
                    return
                left -= len(piece)
                await call.send_piece(piece, more=left > 0)
        except (NoSuchFile, StoreFailed):
            call.code = "service_unavailable"
            return
        if not start < end:
            await call.send_piece(b"", more=False)

    # Callbacks

    def marked(self, call: Call) -> bytes:
        """The request that a callback is for. Raises Refusal `access_denied` for one that we did not ask for."""
        query = parse_qs(call.scope["query_string"].decode("latin-1"))
        request_id = marked_request(self._pepper, query.get("task", [""])[0])
        if request_id is None:
            raise Refusal("access_denied")
        return request_id

    async def take_callback(self, call: Call, request_id: bytes, body: bytes) -> None:
        """A provider says that there is news. It is not believed: a core looks again, a little sooner.

        Raises Refusal `access_denied` when callbacks are signed and this one is not, or too old.
        """
        if self._webhook_key:
            self._check_signature(call.headers, body)
        self.callbacks += 1
        self._connection.send("hurry", request_id)
        await call.respond(200, _TAKEN, call.fields(None))

    def _check_signature(self, headers: dict[bytes, bytes], body: bytes) -> None:
        """base64(HMAC-SHA256(key, task id + "." + timestamp)): it does not cover the body, so the body counts for
        nothing but the id."""
        stamp = headers.get(b"x-webhook-timestamp", b"")
        if not stamp.isdigit() or len(stamp) > 12 or abs(time.time() - int(stamp)) > CALLBACK_AGE_S:
            raise Refusal("access_denied")
        expected = hmac.digest(self._webhook_key, _task_id(body).encode() + b"." + stamp, "sha256")
        try:
            given = base64.b64decode(headers.get(b"x-webhook-signature", b""), validate=True)
        except binascii.Error:
            given = b""
        if not hmac.compare_digest(expected, given):
            raise Refusal("access_denied")


def _range_of(headers: dict[bytes, bytes], etag: bytes) -> bytes:
    """The range that counts: none when the client's copy is of another file."""
    condition = headers.get(b"if-range", b"")
    return headers.get(b"range", b"") if condition in (b"", etag) else b""


def _task_id(body: bytes) -> str:
    """The provider's id of the task: its families put it in three places."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal("invalid_request", "JSON") from None
    if not isinstance(parsed, dict):
        raise Refusal("invalid_request", "JSON")
    inner = parsed["data"] if isinstance(parsed.get("data"), dict) else {}
    for found in (inner.get("taskId"), inner.get("task_id"), parsed.get("taskId")):
        if isinstance(found, str):
            return found
    return ""
