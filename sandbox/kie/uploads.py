"""The file upload API, and what it keeps: in memory, for three days or until there is no room."""

import base64
import binascii
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.generation import unix_ms
from sandbox.kie.notation import BadInput

BYTES_MAX = 256 * 1024 * 1024
FILE_BYTES_MAX = 30 * 1024 * 1024
KEPT_MS = 3 * 24 * 3_600_000

_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
}
_DISPOSITION = re.compile(rb'name="([^"]*)"(?:; ?filename="([^"]*)")?', re.IGNORECASE)


def mime_type(data: bytes) -> str:
    """By the content."""
    if data[:4] == b"RIFF":
        return "image/webp" if data[8:12] == b"WEBP" else "audio/wav"
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return next((kind for magic, kind in _TYPES.items() if data.startswith(magic)), "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Upload:
    """A kept file."""

    data: bytes
    mime: str
    uploaded_ms: float


class Uploads:
    """Files by the path at which they are served."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, Upload] = OrderedDict()
        self._bytes = 0

    def get(self, path: str) -> Upload | None:
        """The file, unless its time is over."""
        found = self._files.get(path)
        return found if found is not None and unix_ms() < found.uploaded_ms + KEPT_MS else None

    def keep(self, data: bytes, folder: Any, name: Any, base: str) -> dict[str, Any]:
        """The answer's `data` for a file that came. Raises BadInput."""
        if not isinstance(folder, str) or not folder:
            raise BadInput(400, "uploadPath is required")
        if not data or len(data) > FILE_BYTES_MAX:
            raise BadInput(400, "The file is empty or too large")
        mime = mime_type(data)
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name if isinstance(name, str) and name else "file")[:100]
        path = f"u/{secrets.token_hex(8)}/{plain}"
        self._files[path] = Upload(data, mime, unix_ms())
        self._bytes += len(data)
        while self._bytes > BYTES_MAX:
            _, oldest = self._files.popitem(last=False)
            self._bytes -= len(oldest.data)
        return {
            "fileName": plain,
            "filePath": f"{folder.strip('/')}/{plain}",
            "downloadUrl": f"{base}/{path}",
            "fileSize": len(data),
            "mimeType": mime,
            "uploadedAt": datetime.fromtimestamp(unix_ms() / 1_000, UTC).isoformat(),
        }


def from_base64(body: Any) -> bytes:
    """The bytes of `base64Data`: raw base64, or a data URL. Raises BadInput."""
    text = body.get("base64Data") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text:
        raise BadInput(400, "base64Data is required")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(400, "base64Data is not valid base64") from None


def from_multipart(content_type: bytes, body: bytes) -> tuple[dict[str, str], bytes, str]:
    """Text fields, the file and its name, of a form. Raises BadInput."""
    match = re.search(rb'boundary="?([^";]+)"?', content_type)
    if match is None:
        raise BadInput(400, "multipart/form-data is needed")
    fields: dict[str, str] = {}
    data, name = b"", ""
    for part in body.split(b"--" + match.group(1))[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found = _DISPOSITION.search(head)
        if found is None:
            continue
        content = content.removesuffix(b"\r\n")
        if found.group(1) == b"file":
            data, name = content, (found.group(2) or b"file").decode("utf-8", "replace")
        else:
            fields[found.group(1).decode("utf-8", "replace")] = content.decode("utf-8", "replace")
    return fields, data, name
