"""A plain JSON request for tests, off the loop."""

import asyncio
import json
import urllib.request
from typing import Any


async def request_json(method: str, url: str, body: Any = None) -> Any:
    """Send and parse JSON. Raises urllib's errors for a status of 400 and above."""
    return await asyncio.to_thread(_request, method, url, body)


def _request(method: str, url: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read()
    return json.loads(text) if text else None
