"""What the parameters of a chat request may be: said once, for the edge that refuses and for the API's description."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MODEL_CHARACTERS_MAX = 256
N_MAX = 128
MEDIA_KINDS = ("video", "image", "audio", "voice", "music")
"""Names of one and the same: any model on any of them, any task on any of them."""
USAGE_DAYS = 30
USAGE_DAYS_MAX = 400
USAGE_GROUPS = ("day", "model", "key")
MESSAGE_ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """JSON's own types, so that `true` is no number; numbers within bounds, both included."""

    types: tuple[type, ...]
    low: float | None = None
    high: float | None = None

    def check(self) -> Callable[[Any], bool]:
        """Whether a value may stand there."""
        types, low, high = self.types, self.low, self.high
        if low is None and high is None:
            return lambda value: type(value) in types
        least = float("-inf") if low is None else low
        most = float("inf") if high is None else high
        return lambda value: type(value) in types and least <= value <= most

    @property
    def schema(self) -> dict[str, Any]:
        """The same in JSON Schema. null counts as absent."""
        names = ["number" if each is float else _TYPES[each] for each in self.types]
        if "number" in names:
            names = [name for name in names if name != "integer"]
        found: dict[str, Any] = {"type": [*names, "null"]}
        if self.low is not None:
            found["minimum"] = self.low
        if self.high is not None:
            found["maximum"] = self.high
        return found


_NUMBER = (int, float)

CHAT_RULES: dict[str, Rule] = {
    "stream": Rule((bool,)),
    "temperature": Rule(_NUMBER, 0, 2),
    "top_p": Rule(_NUMBER, 0, 1),
    "max_tokens": Rule((int,), 1),
    "max_completion_tokens": Rule((int,), 1),
    "n": Rule((int,), 1, N_MAX),
    "stream_options": Rule((dict,)),
    "stop": Rule((str, list)),
    "seed": Rule((int,)),
    "presence_penalty": Rule(_NUMBER),
    "frequency_penalty": Rule(_NUMBER),
    "logit_bias": Rule((dict,)),
    "logprobs": Rule((bool,)),
    "top_logprobs": Rule((int,)),
    "response_format": Rule((dict,)),
    "tools": Rule((list,)),
    "tool_choice": Rule((str, dict)),
    "parallel_tool_calls": Rule((bool,)),
    "user": Rule((str,)),
    "metadata": Rule((dict,)),
    "modalities": Rule((list,)),
}
