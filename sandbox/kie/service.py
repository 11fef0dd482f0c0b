"""KieAI's HTTP face: which path does what, envelopes, and what is done wrong on purpose on the way."""

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from sandbox.chat import authorized
from sandbox.control import Control
from sandbox.failures import BAD_GATEWAY_PAGE
from sandbox.generation import unix_ms
from sandbox.kie import media, outgoing, specs, uploads
from sandbox.kie.callbacks import Caller
from sandbox.kie.create import AT_ONCE, Creation
from sandbox.kie.listing import Listing
from sandbox.kie.notation import BadInput, Spec
from sandbox.kie.records import Teller, lyrics
from sandbox.kie.tasks import Task, Tasks
from sandbox.kie.uploads import Uploads
from sandbox.kie.webhooks import Webhooks
from sandbox.protocol import Connection, Request

API = "/kie"
FILES = "/kie-files"
DOWNLOAD_LINK_MS = 20 * 60_000
RECORD_KEPT_MS = 14 * 24 * 3_600_000
SOURCE_TIMEOUT_S = 10.0
SOURCE_BYTES_MAX = 12_000_000

_RECORDS: dict[str, tuple[str, ...]] = {
    "/jobs/recordInfo": ("market",),
    "/veo/record-info": ("veo",),
    "/runway/record-detail": ("runway",),
    "/aleph/record-info": ("aleph",),
    "/gpt4o-image/record-info": ("gpt4o",),
    "/flux/kontext/record-info": ("flux",),
    "/generate/record-info": ("music",),
    "/lyrics/record-info": ("lyrics",),
    "/wav/record-info": ("wav",),
    "/vocal-removal/record-info": ("vocal",),
    "/mp4/record-info": ("mp4",),
    "/midi/record-info": ("midi",),
    "/suno/cover/record-info": ("cover",),
    "/voice/record-info": ("voice",),
    "/mj/record-info": ("midjourney",),
}
_UPLOADS = ("/api/file-base64-upload", "/api/file-stream-upload", "/api/file-url-upload")
_RESULT = re.compile(r"r/([0-9a-z_]+)/(\d{1,2})\.(png|mp4|mp3|wav)")
_LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost)(:\d+)?/")
_MAKERS: dict[str, tuple[Callable[[int], bytes], bytes]] = {
    "png": (media.png, b"image/png"),
    "mp4": (media.mp4, b"video/mp4"),
    "mp3": (media.mp3, b"audio/mpeg"),
    "wav": (media.wav, b"audio/wav"),
}


def envelope(code: int, message: str, data: Any = None) -> bytes:
    """`{"code", "msg", "data"}`"""
    return orjson.dumps({"code": code, "msg": message, "data": data})


class Kie:
    """Serves everything under `/kie` and `/kie-files`. `base_url` is the sandbox's own."""

    def __init__(self, control: Control, tasks_path: str, base_url: str) -> None:
        self._control = control
        self._files_url = base_url + FILES
        self._draws = control.kie_draws
        self.tasks = Tasks(tasks_path)
        self._teller = Teller(self._files_url)
        self._creation = Creation(self.tasks, control)
        self._webhooks = Webhooks(self.tasks, Caller(self._teller), control)
        self._uploads = Uploads()
        self._listing = Listing()
        self._running: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Take up the callbacks of tasks that an earlier process left."""
        for task in self.tasks.all():
            self._webhooks.follow(task)

    def stop(self) -> None:
        """Send nothing more, and give the file back."""
        self._webhooks.stop()
        for running in self._running:
            running.cancel()
        self.tasks.close()

    def journal(self, kind: str, since_id: str, limit: int) -> bytes:
        """`GET /journal?kind=tasks|credits`."""
        if kind == "credits":
            credits = self._control.kie.credits
            charged = self.tasks.charged
            return orjson.dumps({"bought": str(credits), "planned": f"{charged:f}", "left": f"{credits - charged:f}"})
        return self.tasks.listing(unix_ms(), since_id, limit)

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer one call, now or later."""
        path = unquote(request.path.decode("latin-1"))
        if path.startswith(FILES + "/") and request.method == b"GET":
            self._serve_file(path.removeprefix(FILES + "/"), request, connection)
            return
        path = path.removeprefix(FILES).removeprefix(API)
        kind = self._kind(request, path)
        if self._spoiled(kind, connection):
            return
        try:
            if not authorized(request.authorization, self._control.pace.require_key):
                raise BadInput(401, "You do not have access permissions")
            code = self._draws.pick(f"code.{kind}", self._control.kie.code_rates.get(kind, {}))
            if code:
                raise BadInput(code, "The sandbox was asked to fail")
            self._route(kind, path, request, connection)
        except BadInput as refusal:
            self._refuse(connection, refusal)

    def _kind(self, request: Request, path: str) -> str:
        if path in _UPLOADS:
            return "upload"
        short = path.removeprefix("/api/v1")
        if request.method == b"POST" and (short == "/jobs/createTask" or short in specs.endpoints()):
            return "create"
        if short in _RECORDS or short in ("/veo/get-1080p-video", "/veo/get-4k-video"):
            return "query"
        if short.endswith("/download-url"):
            return "download_url"
        if short == "/chat/credit":
            return "credit"
        return "models" if short == "/models" or short.startswith("/models/") else ""

    def _spoiled(self, kind: str, connection: Connection) -> bool:
        """Was the answer spoiled before the request was looked at?"""
        faults = self._control.kie
        if self._draws.hit(f"drop.{kind}", faults.drop_rates.get(kind, 0.0)):
            connection.drop()
            return True
        status = self._draws.pick(f"http.{kind}", faults.http_error_rates.get(kind, {}))
        if status:
            connection.answer(status, BAD_GATEWAY_PAGE, b"text/html")
        return bool(status)

    def _route(self, kind: str, path: str, request: Request, connection: Connection) -> None:
        query = {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1")).items()}
        short = path.removeprefix("/api/v1")
        match kind:
            case "create":
                self._create(short, request, connection)
            case "query":
                self._later(kind, connection, self._record(short, request, query))
            case "upload":
                self._upload(path, request, connection)
            case "download_url":
                self._later(kind, connection, self._download_url(request))
            case "credit":
                left = self._control.kie.credits - self.tasks.charged
                self._later(kind, connection, envelope(200, "success", float(left)))
            case "models":
                self._later(kind, connection, self._listed(short, query))
            case _:
                raise BadInput(404, "Not found")

    def _later(self, kind: str, connection: Connection, body: bytes) -> None:
        """Answer, after the asked delay, or lose the answer."""
        faults = self._control.kie
        lost = self._draws.hit(f"lose.{kind}", faults.lose_answer_rates.get(kind, 0.0))
        end = connection.drop if lost else lambda: connection.answer(200, body)
        if not faults.answer_delay_ms:
            end()
            return
        timer = asyncio.get_running_loop().call_later(faults.answer_delay_ms / 1_000, end)
        connection.on_gone = timer.cancel

    def _refuse(self, connection: Connection, refusal: BadInput) -> None:
        """Failures come with HTTP 200, but for the platform's own 429, unless `http_errors` is on."""
        as_status = refusal.code == 429 or self._control.kie.http_errors
        connection.answer(refusal.code if as_status else 200, envelope(refusal.code, refusal.message))

    # Create

    def _create(self, path: str, request: Request, connection: Connection) -> None:
        body = _json(request.body)
        self._creation.pace()
        spec, given = self._creation.judged(path, body)
        sources = self._sources(spec, given)
        if sources:
            self._spawn(self._create_from(sources, spec, given, body, request, connection))
        else:
            self._make(spec, given, body, request, connection)

    def _sources(self, spec: Spec, given: dict[str, Any]) -> list[str]:
        """Source files that can be looked at: the sandbox opens loopback addresses only."""
        if not self._control.kie.fetch_sources:
            return []
        found = []
        for field in spec.fields.values():
            value = given.get(field.name)
            if field.is_url and field.name != "callBackUrl" and value:
                found += value if isinstance(value, list) else [value]
        return [url for url in found if _LOOPBACK.match(url)]

    async def _create_from(
        self,
        sources: list[str],
        spec: Spec,
        given: dict[str, Any],
        body: dict[str, Any],
        request: Request,
        connection: Connection,
    ) -> None:
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = True

        connection.on_gone = leave
        try:
            for url in sources:
                await self._look_at(url)
            if not gone:
                connection.on_gone = None
                self._make(spec, given, body, request, connection)
        except BadInput as refusal:
            if not gone:
                self._refuse(connection, refusal)

    async def _look_at(self, url: str) -> None:
        if url.startswith(self._files_url + "/"):
            path = url.removeprefix(self._files_url + "/")
            if self._uploads.get(path) is not None or self._result(path) is not None:
                return
            raise BadInput(451, "Failed to fetch the file")
        try:
            status, data = await outgoing.call("GET", url, {}, b"", SOURCE_TIMEOUT_S, SOURCE_BYTES_MAX)
        except outgoing.Unreachable:
            raise BadInput(451, "Failed to fetch the file") from None
        if status != 200 or uploads.mime_type(data) == "application/octet-stream":
            raise BadInput(451, "Failed to fetch the file")

    def _make(
        self, spec: Spec, given: dict[str, Any], body: dict[str, Any], request: Request, connection: Connection
    ) -> None:
        try:
            self._creation.pace()
            credits = self._creation.price(spec, given)
        except BadInput as refusal:
            self._refuse(connection, refusal)
            return
        task = self._creation.make(spec, given, body, credits, request.traceparent.decode("latin-1")[:128])
        if spec.shape in AT_ONCE:
            data = _at_once(task)
        else:
            self._webhooks.follow(task)
            data = {"taskId": task.id}
        self._later("create", connection, envelope(200, "success", data))

    # Query

    def _record(self, path: str, request: Request, query: dict[str, str]) -> bytes:
        if path == "/veo/get-4k-video":
            return self._more_pixels(_json(request.body).get("taskId", ""), path[1:], "120")
        if path == "/veo/get-1080p-video":
            return self._more_pixels(query.get("taskId", ""), path[1:], "5")
        if request.method != b"GET":
            raise BadInput(404, "Not found")
        task, now_ms = self._known(query.get("taskId", ""), _RECORDS[path]), unix_ms()
        faults = self._control.kie
        return envelope(200, "success", self._teller.record(task, now_ms, faults.omit_credits, faults.old_gpt4o_status))

    def _known(self, task_id: str, shapes: tuple[str, ...]) -> Task:
        if not task_id:
            raise BadInput(422, "taskId is required")
        task, now_ms = self.tasks.get(task_id), unix_ms()
        if task is None or task.shape not in shapes or task.outcome == "forgotten":
            raise BadInput(422, "record is null")
        age_ms = now_ms - task.created_ms
        if age_ms < self._control.kie.invisible_ms or age_ms > RECORD_KEPT_MS:
            raise BadInput(422, "record is null")
        return task

    def _more_pixels(self, task_id: str, name: str, credits: str) -> bytes:
        parent = self._known(task_id, ("veo",))
        if parent.status(unix_ms()) != "completed":
            raise BadInput(422, "The video is not completed")
        task = self._creation.sub_task(parent, name, credits)
        if task.status(unix_ms()) == "running":
            raise BadInput(422, "The video is being processed, please try again later")
        url = self._teller.url(task, 0)
        data = {"resultUrl": url} if "1080p" in name else {"taskId": parent.id, "resultUrls": [url], "imageUrls": []}
        return envelope(200, "success", data)

    def _download_url(self, request: Request) -> bytes:
        url = _json(request.body).get("url")
        path = url.partition("?")[0].removeprefix(self._files_url + "/") if isinstance(url, str) else ""
        task = self._result(path)
        if task is None or not isinstance(url, str):
            raise BadInput(422, "Only files that were generated here are supported")
        link = f"{url.partition('?')[0]}?until={int(unix_ms()) + DOWNLOAD_LINK_MS}"
        return envelope(200, "success", link)

    def _listed(self, path: str, query: dict[str, str]) -> bytes:
        return envelope(200, "success", self._listing.answer(path.removeprefix("/models"), query))

    # Files

    def _upload(self, path: str, request: Request, connection: Connection) -> None:
        if path.endswith("file-url-upload"):
            self._spawn(self._upload_url(_json(request.body), connection))
            return
        if path.endswith("file-base64-upload"):
            body = _json(request.body)
            data, folder, name = uploads.from_base64(body), body.get("uploadPath"), body.get("fileName")
        else:
            fields, data, own_name = uploads.from_multipart(request.content_type, request.body)
            folder, name = fields.get("uploadPath"), fields.get("fileName") or own_name
        self._uploaded(data, folder, name, connection)

    async def _upload_url(self, body: dict[str, Any], connection: Connection) -> None:
        try:
            url = str(body.get("fileUrl") or "")
            if not _LOOPBACK.match(url):
                raise BadInput(451, "Failed to fetch the file")
            status, data = await outgoing.call("GET", url, {}, b"", 30.0, uploads.FILE_BYTES_MAX)
            if status != 200:
                raise BadInput(451, "Failed to fetch the file")
            self._uploaded(data, body.get("uploadPath"), body.get("fileName") or url.rpartition("/")[2], connection)
        except outgoing.Unreachable:
            self._refuse(connection, BadInput(451, "Failed to fetch the file"))
        except BadInput as refusal:
            self._refuse(connection, refusal)

    def _uploaded(self, data: bytes, folder: Any, name: Any, connection: Connection) -> None:
        kept = self._uploads.keep(data, folder, name, self._files_url)
        whole = {"success": True, "code": 200, "msg": "File uploaded successfully", "data": kept}
        self._later("upload", connection, orjson.dumps(whole))

    def _result(self, path: str) -> Task | None:
        """The task whose result is at the path, if it is there already."""
        match = _RESULT.fullmatch(path)
        task = self.tasks.get(match.group(1)) if match else None
        if task is None or task.outcome not in ("success", "callback_exception"):
            return None
        early = task.shape == "music"
        return task if early or task.status(unix_ms()) == "completed" else None

    def _serve_file(self, path: str, request: Request, connection: Connection) -> None:
        if self._spoiled("files", connection):
            return
        upload = self._uploads.get(path)
        if upload is not None:
            connection.answer(200, upload.data, upload.mime.encode())
            return
        task, now_ms = self._result(path), unix_ms()
        until = re.fullmatch(rb"until=(\d{1,15})", request.query)
        alive_ms = self._control.kie.result_ttl_s * 1_000
        if task is None or task.dead or now_ms > task.finish_ms + alive_ms or (until and now_ms > int(until.group(1))):
            connection.answer(404, b"Not Found", b"text/plain")
            return
        name, _, extension = path.rpartition("/")[2].partition(".")
        maker, content_type = _MAKERS[extension]
        data = maker(task.seed(int(name)))
        if task.truncated:
            connection.answer_part(data, len(data) // 2)
        else:
            connection.answer(200, data, content_type)

    def _spawn(self, coroutine: Any) -> None:
        running = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(running)
        running.add_done_callback(self._running.discard)


def _json(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadInput(400, "The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise BadInput(400, "The body is not a JSON object")
    return body


def _at_once(task: Task) -> dict[str, Any]:
    if task.shape == "persona":
        return {"personaId": task.id, "name": task.body["name"], "description": task.body["description"]}
    if task.shape == "timestamps":
        word = {"word": "La", "success": True, "startS": 0.5, "endS": 0.9, "palign": 0}
        return {"alignedWords": [word], "waveformData": [0, 1, 0.5], "hootCer": 0.2, "isStreamed": False}
    return {
        "taskId": task.id,
        "result": lyrics(task)[0]["title"],
        "successFlag": 1,
        "creditsConsumed": float(task.charged),
    }
