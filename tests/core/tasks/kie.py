"""A provider of media tasks that does exactly what a test tells it to. What behaves like KieAI is the sandbox."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

PNG = b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(60)


@dataclass
class FakeKie:
    """`states` answers for each task id, `plan` for tasks without a state of their own."""

    url: str = ""
    creates: list[dict[str, Any]] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=lambda: {"state": "generating"})
    create_code: int = 200
    create_codes: list[int] = field(default_factory=list)
    create_hang: asyncio.Event | None = None
    drop_creates: bool = False
    file_status: int = 200
    fetched: int = 0
    uploads: list[dict[str, Any]] = field(default_factory=list)
    hooks: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hook_status: int = 200
    hook_hang: asyncio.Event | None = None
    listed: list[dict[str, Any]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/api/v1/jobs/createTask", self._create)
        app.router.add_post("/api/v1/generate", self._create)
        app.router.add_post("/api/v1/style/generate", self._at_once)
        app.router.add_get("/api/v1/jobs/recordInfo", self._look)
        app.router.add_get("/api/v1/generate/record-info", self._look)
        app.router.add_post("/api/file-base64-upload", self._upload)
        app.router.add_get("/api/v1/models", self._models)
        app.router.add_get("/result/{name}", self._result)
        app.router.add_post("/hook", self._hook)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def done(self, *names: str, **more: Any) -> dict[str, Any]:
        """A record of a task that has succeeded."""
        urls = [f"{self.url}/result/{name}" for name in names or ("a.png",)]
        return {"state": "success", "resultJson": orjson.dumps({"resultUrls": urls}).decode(), **more}

    async def _create(self, request: web.Request) -> web.StreamResponse:
        self.creates.append(await request.json())
        task_id = f"task_{len(self.creates)}"
        if self.create_hang is not None:
            await self.create_hang.wait()
        if self.drop_creates:
            assert request.transport is not None
            request.transport.abort()
        code = self.create_codes.pop(0) if self.create_codes else self.create_code
        data = {"taskId": task_id} if code == 200 else None
        return web.json_response({"code": code, "msg": "m", "data": data})

    async def _at_once(self, request: web.Request) -> web.Response:
        self.creates.append(await request.json())
        return web.json_response({"code": 200, "msg": "m", "data": {"result": "dreamy, slow"}})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"code": 200, "msg": "m", "data": {"models": self.listed}})

    async def _look(self, request: web.Request) -> web.Response:
        task_id = request.query["taskId"]
        self.looks.append(task_id)
        record = self.states.get(task_id, self.plan)
        if "code" in record:
            return web.json_response({"code": record["code"], "msg": "m", "data": None})
        return web.json_response({"code": 200, "msg": "m", "data": {"taskId": task_id, **record}})

    async def _upload(self, request: web.Request) -> web.Response:
        self.uploads.append(await request.json())
        address = f"https://files.example.com/{len(self.uploads)}.png"
        return web.json_response({"success": True, "code": 200, "msg": "m", "data": {"downloadUrl": address}})

    async def _result(self, request: web.Request) -> web.Response:
        self.fetched += 1
        content = PNG if request.match_info["name"].endswith("png") else b"ID3" + bytes(2_000_000)
        return web.Response(status=self.file_status, body=content, content_type="text/html")

    async def _hook(self, request: web.Request) -> web.Response:
        self.hooks.append((dict(request.headers), await request.read()))
        if self.hook_hang is not None:
            await self.hook_hang.wait()
        return web.Response(status=self.hook_status)
