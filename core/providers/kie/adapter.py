"""KieAI as a provider of media tasks."""

import base64
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from core.providers.http import HttpClient, Limits
from core.providers.kie.envelope import NOT_KNOWN, data_of, looked_up
from core.providers.kie.families import READERS, text_of
from core.providers.port import FailureKind, ProviderFailure
from core.providers.tasks import Begun, Progress, TaskState

CREATE_S = 45.0
LOOK_S = 20.0
UPLOAD_S = 60.0
TASK_ID_CHARACTERS_MAX = 200
UPLOAD_FOLDER = "sources"

_ID_NAMES = ("taskId", "task_id")


class KieAI:
    """The API at `base_url`, its upload service at `upload_url`; the sandbox speaks the same."""

    def __init__(
        self,
        base_url: str,
        upload_url: str,
        api_key: str,
        limits: Limits | None = None,
        *,
        name: str = "kie",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        headers = {
            "authorization": f"Bearer {api_key}",
            "content-type": "application/json",
            "user-agent": "onysoft-gateway/1.0",
        }
        self._client = HttpClient(base_url, headers, limits or Limits(), tls)
        self._uploads = HttpClient(upload_url, headers, limits or Limits(), tls)

    async def create(self, path: str, body: Mapping[str, Any], at_once: bool) -> Begun:
        """See core.providers.tasks.TaskProvider."""
        reply = await self._client.fetch("POST", path, orjson.dumps(body), {}, CREATE_S)
        data = data_of(reply.status, reply.body())
        if at_once:
            return Begun("", Progress(TaskState.SUCCEEDED, 100, text=text_of(data)))
        for name in _ID_NAMES:
            found = data.get(name) if isinstance(data, dict) else None
            if isinstance(found, str) and 0 < len(found) <= TASK_ID_CHARACTERS_MAX:
                return Begun(found)
        raise ProviderFailure(FailureKind.PROTOCOL, "no_task_id", began=True, status=reply.status)

    async def look(self, family: str, path: str, task_id: str) -> Progress:
        """See core.providers.tasks.TaskProvider."""
        reply = await self._client.fetch("GET", f"{path}?taskId={quote(task_id, safe='')}", b"", {}, LOOK_S)
        code, record = looked_up(reply.status, reply.body())
        if code in NOT_KNOWN:
            return Progress(TaskState.UNKNOWN)
        if not record:
            return Progress(TaskState.FAILED, reason=f"code_{code}")
        return READERS[family](record)

    async def upload(self, content: bytes, name: str, content_type: str) -> str:
        """See core.providers.tasks.TaskProvider."""
        encoded = base64.b64encode(content).decode("ascii")
        body = {
            "base64Data": f"data:{content_type};base64,{encoded}",
            "uploadPath": UPLOAD_FOLDER,
            "fileName": name,
        }
        reply = await self._uploads.fetch("POST", "/api/file-base64-upload", orjson.dumps(body), {}, UPLOAD_S)
        data = data_of(reply.status, reply.body())
        address = data.get("downloadUrl") if isinstance(data, Mapping) else None
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise ProviderFailure(FailureKind.PROTOCOL, "no_download_url", status=reply.status)
        return address

    async def credits(self) -> Any:
        """What is left on our account there, in the provider's credits. Raises ProviderFailure."""
        reply = await self._client.fetch("GET", "/api/v1/chat/credit", b"", {}, LOOK_S)
        return data_of(reply.status, reply.body())

    async def list_models(self) -> list[dict[str, Any]]:
        """See core.providers.tasks.TaskProvider. Prices are in prose."""
        reply = await self._client.fetch("GET", "/api/v1/models", b"", {}, LOOK_S)
        data = data_of(reply.status, reply.body())
        models = data.get("models") if isinstance(data, dict) else None
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
            raise ProviderFailure(FailureKind.PROTOCOL, "no_models", status=reply.status)
        return models

    async def close(self) -> None:
        """See core.providers.tasks.TaskProvider."""
        await self._client.close()
        await self._uploads.close()
