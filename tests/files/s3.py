"""A bucket that speaks as much of S3 as files need: whole and multipart puts, ranges, heads, lists, deletes."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from aiohttp import web

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass
class Bucket:
    """Objects by key, with their content type."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    url: str = ""
    signed: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{bucket}", self._bucket)
        app.router.add_route("*", "/{bucket}/{key:.*}", self._object)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _bucket(self, request: web.Request) -> web.Response:
        if request.method == "POST":  # several deletes at once
            body = (await request.text()).split("<Key>")[1:]
            keys = [each.partition("</Key>")[0] for each in body]
            for key in keys:
                self.objects.pop(key, None)
            done = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            return web.Response(
                text=f"<DeleteResult {_NAMESPACE}>{done}</DeleteResult>", content_type="application/xml"
            )
        prefix = request.query.get("prefix", "")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{now}</LastModified><Size>{len(content)}</Size>"
            f"<ETag>x</ETag></Contents>"
            for key, (content, _) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        head = f"<Name>b</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>"
        return _xml(f"<ListBucketResult {_NAMESPACE}>{head}{rows}</ListBucketResult>")

    async def _object(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if not key:
            return await self._bucket(request)
        self.signed += "AWS4-HMAC-SHA256" in request.headers.get("authorization", "")
        if request.method in ("PUT", "POST"):
            return await self._take(request, key)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        if key not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        content, kind = self.objects[key]
        headers = {"ETag": '"x"', "Last-Modified": "Wed, 25 Nov 2026 00:00:00 GMT", "Content-Type": kind}
        wanted = request.headers.get("range", "")
        if not wanted:
            return web.Response(body=content, headers=headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return web.Response(status=206, body=content[start : end + 1], headers=headers)

    async def _take(self, request: web.Request, key: str) -> web.Response:
        body = await request.read()
        upload = request.query.get("uploadId", "")
        if "uploads" in request.query:
            self.parts[key] = {}
            name = "InitiateMultipartUploadResult"
            return _xml(f"<{name} {_NAMESPACE}><UploadId>{key}</UploadId></{name}>")
        if upload and "partNumber" in request.query:
            self.parts[key][int(request.query["partNumber"])] = body
            return web.Response(headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        if upload:
            parts = self.parts.pop(key)
            self.objects[key] = (b"".join(parts[number] for number in sorted(parts)), "")
            name = "CompleteMultipartUploadResult"
            return _xml(f"<{name} {_NAMESPACE}><ETag>x</ETag></{name}>")
        self.objects[key] = (body, request.headers.get("content-type", ""))
        return web.Response(headers={"ETag": '"x"'})


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")
