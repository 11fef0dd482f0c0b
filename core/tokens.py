"""How many tokens a call had, where its provider does not say: counted with a real tokenizer, or by a stated rule.

The tokenizer is cl100k_base, its vocabulary installed with the package: nothing is fetched, and the vocabulary's hash
is checked. It is loaded at the first count (50 MB, 0.2 s, in a thread of its own) and so never on an edge. It is
OpenAI's; for other families its count is an estimate, and the settlement says so.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import orjson

TOKENIZER = "cl100k_base"
BY_BYTES = "utf8_bytes/4"
BYTES_PER_TOKEN = 4
"""The stated rule: a token for each four bytes, begun ones counted."""

TEXT_BYTES_MAX = 2 * 1024 * 1024
"""A longer text is counted by its bytes."""

COUNT_TIMEOUT_S = 2.0
MESSAGE_TOKENS = 4
"""What a chat template adds for a message."""

IMAGE_TOKENS = 765
"""What an input image counts, where its price has no part for images."""

_OWN_FAMILY = "GPT"


class OwnCount(NamedTuple):
    """Our own count of a call's tokens, and how it was made."""

    prompt_tokens: int
    completion_tokens: int
    counted_by: str


async def count(
    request: Mapping[str, Any], answer: Sequence[str], images: int = 0, answer_tokens_min: int = 0, family: str = ""
) -> OwnCount:
    """The tokens of a chat request and of the texts that came back.

    `images` are counted at IMAGE_TOKENS each. `answer_tokens_min` is what the answer had at least, such as its content
    chunks. `family` is the provider's name for the model's tokenizer family.
    """
    prompt = list(prompt_texts(request))
    overhead = MESSAGE_TOKENS * len(request.get("messages") or ()) + IMAGE_TOKENS * images
    counted = await _tokenized(prompt, answer)
    if counted is None:
        counted, by = (_by_bytes(prompt), _by_bytes(answer)), BY_BYTES
    else:
        by = TOKENIZER if family == _OWN_FAMILY else f"{TOKENIZER} for {family or 'an unknown family'}"
    return OwnCount(overhead + counted[0], max(answer_tokens_min, counted[1]), by)


def prompt_texts(request: Mapping[str, Any]) -> Iterable[str]:
    """Every text of a chat request that a model reads; image data is not text."""
    for message in request.get("messages") or ():
        content = message.get("content")
        if type(content) is str:
            yield content
        elif type(content) is list:
            yield from (part["text"] for part in content if type(part) is dict and type(part.get("text")) is str)
        if message.get("tool_calls"):
            yield orjson.dumps(message["tool_calls"]).decode()
    for field in ("tools", "functions", "response_format"):
        if request.get(field):
            yield orjson.dumps(request[field]).decode()


def answer_texts(message: Mapping[str, Any]) -> Iterable[str]:
    """Every text of one answered message or delta that a model wrote; images are not text."""
    for field in ("content", "reasoning", "refusal"):
        if type(message.get(field)) is str:
            yield message[field]
    if message.get("tool_calls"):
        yield orjson.dumps(message["tool_calls"]).decode()


def _by_bytes(texts: Iterable[str]) -> int:
    return -(-sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // BYTES_PER_TOKEN)


async def _tokenized(prompt: Sequence[str], answer: Sequence[str]) -> tuple[int, int] | None:
    """Tokens of both; None when they are too long, or the one thread that counts is too busy."""
    if sum(map(len, prompt)) + sum(map(len, answer)) > TEXT_BYTES_MAX:
        return None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(COUNT_TIMEOUT_S):
            return await loop.run_in_executor(_thread(), _count_both, prompt, answer)
    except TimeoutError:
        return None


def _count_both(prompt: Sequence[str], answer: Sequence[str]) -> tuple[int, int]:
    # A streamed answer comes in pieces, which are whole only together.
    encoding = _encoding()
    counted = sum(len(encoding.encode_ordinary(text)) for text in prompt)
    return counted, len(encoding.encode_ordinary("".join(answer)))


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")


@cache
def _encoding() -> Any:
    import tiktoken  # here, so that a process which never counts does not carry it

    return tiktoken.get_encoding(f"{TOKENIZER}_offline")
