"""What a call's messages hold: how many tokens, what is cached, how long an answer is asked for.

The rule for tokens: 4 for each message, and one for each 4 UTF-8 bytes, begun ones counted, of each text in it.
"""

import re
import zlib
from typing import Any

import orjson

from sandbox.catalogue import Model

MESSAGE_TOKENS = 4
BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 765
IMAGE_LOW_TOKENS = 85
AUDIO_TOKENS = 64
FILE_TOKENS = 256
CACHED_FROM_TOKENS = 1024
CACHED_STEP_TOKENS = 128

_LENGTH = re.compile(r"\[\[tokens=(\d{1,7})\]\]")
_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function"))


class BadCall(Exception):
    """A request that is refused before any generation."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class Prompt:
    """Counts of a call's input. `seed` depends on the messages alone; `length` 0: the client named none."""

    __slots__ = ("audio", "cached", "images", "last_role", "length", "searches", "seed", "tokens", "write", "write_1h")

    def __init__(self) -> None:
        self.tokens = 0
        self.cached = 0
        self.write = 0
        self.write_1h = 0
        self.images = 0
        self.audio = 0
        self.searches = 0
        self.seed = 0
        self.length = 0
        self.last_role = ""

    @property
    def plain(self) -> bool:
        """Whether every token costs the same."""
        return not (self.cached or self.write or self.write_1h or self.images or self.audio or self.searches)


def text_tokens(text: str) -> int:
    """One token for each 4 UTF-8 bytes, begun ones counted."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def read(body: dict[str, Any], model: Model) -> Prompt:
    """Count a request's messages and tools.

    Raises BadCall when the messages are not what the protocol says.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadCall(400, 'Input required: specify "messages"', "messages")
    prompt = Prompt()
    for message in messages:
        _message(message, prompt, model)
    if prompt.tokens >= CACHED_FROM_TOKENS:
        _cache(messages, prompt, model)
    tools = body.get("tools")
    if tools:
        prompt.tokens += text_tokens(orjson.dumps(tools).decode())
    if model.prices.web_search and _searches(body):
        prompt.searches = 1
    return prompt


def _message(message: Any, prompt: Prompt, model: Model) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise BadCall(400, "messages: a message with a known role is needed", "messages")
    prompt.last_role = role
    prompt.tokens += MESSAGE_TOKENS
    content = message.get("content")
    if isinstance(content, str):
        _text(content, prompt)
    elif isinstance(content, list):
        for part in content:
            _part(part, prompt, model)
    elif content is not None or role not in ("assistant", "tool", "function"):
        raise BadCall(400, "messages: content must be a string or a list of parts", "messages")
    if "tool_calls" in message:
        _text(orjson.dumps(message["tool_calls"]).decode(), prompt)


def _text(text: str, prompt: Prompt) -> None:
    data = text.encode("utf-8", "surrogatepass")
    prompt.tokens += -(-len(data) // BYTES_PER_TOKEN)
    prompt.seed = zlib.crc32(data, prompt.seed)
    if "[[" in text:
        wanted = _LENGTH.search(text)
        if wanted is not None:
            prompt.length = int(wanted.group(1))


def _part(part: Any, prompt: Prompt, model: Model) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    before = prompt.tokens
    if kind == "text" and isinstance(part.get("text"), str):
        _text(part["text"], prompt)
    elif kind == "image_url" and isinstance(part.get("image_url"), dict):
        _image(part["image_url"], prompt, model)
    elif kind == "input_audio":
        prompt.tokens += AUDIO_TOKENS
        prompt.audio += AUDIO_TOKENS
    elif kind == "file":
        prompt.tokens += FILE_TOKENS
    else:
        raise BadCall(400, "messages: a content part of a known type is needed", "messages")
    mark = part.get("cache_control")
    if isinstance(mark, dict) and model.prices.input_cache_write:
        if mark.get("ttl") == "1h":
            prompt.write_1h += prompt.tokens - before
        else:
            prompt.write += prompt.tokens - before


def _image(image: dict[str, Any], prompt: Prompt, model: Model) -> None:
    if "image" not in model.row["input"]:
        raise BadCall(404, "No endpoints found that support image input")
    url = image.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:")):
        raise BadCall(400, "messages: image_url.url must be an http(s) or data URL", "messages")
    prompt.seed = zlib.crc32(url.encode("utf-8", "surrogatepass"), prompt.seed)
    prompt.images += 1
    if not model.prices.image:
        prompt.tokens += IMAGE_LOW_TOKENS if image.get("detail") == "low" else IMAGE_TOKENS


def _cache(messages: list[Any], prompt: Prompt, model: Model) -> None:
    """A long first message of the system's is always found in the cache, in steps, on models that have one."""
    if not model.prices.input_cache_read or prompt.write or prompt.write_1h:
        return
    first = messages[0]
    if first["role"] in ("system", "developer") and isinstance(first.get("content"), str):
        tokens = text_tokens(first["content"])
        prompt.cached = tokens - tokens % CACHED_STEP_TOKENS if tokens >= CACHED_FROM_TOKENS else 0


def _searches(body: dict[str, Any]) -> bool:
    plugins = body.get("plugins")
    if isinstance(plugins, list) and any(isinstance(each, dict) and each.get("id") == "web" for each in plugins):
        return True
    return bool(body.get("web_search_options"))
