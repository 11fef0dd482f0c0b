"""Our own count of tokens. It is what a customer pays where the provider says nothing."""

import subprocess
import sys
from typing import Any

import pytest

from core import tokens
from core.tokens import BY_BYTES, IMAGE_TOKENS, MESSAGE_TOKENS, count

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "tiktoken is great!"}]}


async def test_known_texts_have_their_known_counts() -> None:
    """A wrong vocabulary would charge every estimate wrongly, and nobody would see it."""
    found = await count(REQUEST, ["antidisestablish", "mentarianism"], family="GPT")
    assert found == (MESSAGE_TOKENS + 6, 6, "cl100k_base")


async def test_the_settlement_can_say_that_the_tokenizer_is_another_familys() -> None:
    """An estimate would pass for an exact count."""
    assert (await count(REQUEST, [], family="Claude")).counted_by == "cl100k_base for Claude"


async def test_all_that_a_model_reads_is_counted_and_image_data_is_not() -> None:
    """Tools are a large part of many prompts; a picture's base64 would cost a fortune."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    request = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}, picture]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "look"}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "look at something"}}],
    }
    plain = await count({"messages": request["messages"][:1]}, [])
    assert plain.prompt_tokens == MESSAGE_TOKENS + 1
    whole = await count(request, [], images=1)
    assert IMAGE_TOKENS + 30 < whole.prompt_tokens < IMAGE_TOKENS + 80


async def test_an_answer_has_at_least_as_many_tokens_as_content_chunks() -> None:
    assert (await count(REQUEST, ["a"], answer_tokens_min=7)).completion_tokens == 7


async def test_what_is_too_long_is_counted_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting would hold up the answer, or all of them."""
    monkeypatch.setattr(tokens, "TEXT_BYTES_MAX", 10)
    assert await count(REQUEST, ["ğğğ"]) == (MESSAGE_TOKENS + 5, 2, BY_BYTES)


async def test_a_busy_counter_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "COUNT_TIMEOUT_S", 0.0)
    assert (await count(REQUEST, ["a"])).counted_by == BY_BYTES


def test_no_process_carries_the_tokenizer_before_it_counts() -> None:
    """Fifty megabytes for each edge and each core that never needs them."""
    check = "import sys, core.main, edge.main; sys.exit('tiktoken' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
