"""The chat call that every run sends, to us, to peers and to the sandbox itself."""

import json
from dataclasses import dataclass
from typing import Any

MODEL = "openai/gpt-4o-mini"
_PROMPT = (
    "You are given a customer's message. Say in one sentence what they want, and in one word whether they are angry. "
    "The message: I ordered a blue kettle on Monday and a red one came today. Please send the right one, and tell me "
    "whether I have to pay for the return. I need it before the weekend."
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where calls go: URL, headers, and the model's name there."""

    url: str
    headers: tuple[tuple[str, str], ...]
    model: str = MODEL

    def body(self, **fields: Any) -> bytes:
        """A request of about 500 bytes, `fields` added; the answer has some 24 tokens."""
        messages = [{"role": "user", "content": _PROMPT}]
        return json.dumps({"model": self.model, "messages": messages, "max_tokens": 64, **fields}).encode()


def long_answer(tokens: int) -> dict[str, Any]:
    """Fields for a streamed answer of so many tokens; the sandbox reads the number from the message."""
    message = {"role": "user", "content": f"Tell me a long story. [[tokens={tokens}]]"}
    return {"stream": True, "max_tokens": tokens + 1, "messages": [message]}


def target(url: str, key: str, model: str = MODEL, **headers: str) -> Target:
    """A target with a bearer key."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    own = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), *named]
    return Target(url + "/chat/completions", tuple(own), model)
