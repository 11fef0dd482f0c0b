"""What the simulated models say: a function of the model and the request, the same every time.

An answer is made of pieces, and one piece is one output token: a word of plain text, or four characters of JSON.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson

from sandbox import images, schemas
from sandbox.catalogue import Model
from sandbox.prompt import BadCall, Prompt

LENGTH_LEAST = 16
LENGTH_SPREAD = 17
JSON_PIECE = 4
PICTURE_TOKENS = 1290
CHOICES_MAX = 16
STOPS_MAX = 16

_VOCABULARY = (
    " bir bu ve için ile olarak daha çok kadar gibi sonra önce her şey zaman gün yol su ışık deniz dağ kuş ağaç kitap"
    " the answer of this question is clear and short because water flows where the ground allows it while light"
    " takes one straight path through still air; günün ilk saatinde şehir sessizdir, sokaklar boş, pencereler kapalı"
    " numbers add up when each of them is written once and read twice; ölçmeden bilinmez, saymadan bulunmaz"
)
_WORDS = tuple(" " + word for word in _VOCABULARY.split())
_COUNT = len(_WORDS)
_CACHED_WORDS = 64
_PLAIN = b'{"role":"assistant","content":%b,"refusal":null}'
_PLAIN_OPENROUTER = b'{"role":"assistant","content":%b,"refusal":null,"reasoning":null}'
_SPECIAL = frozenset(
    ("include_reasoning", "modalities", "n", "reasoning", "reasoning_effort", "response_format", "stop", "tools")
)
_REASONING_TOKENS = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 48, "max": 64}


class Choice:
    """One answer out of `n`. `tool` is (id, name); its arguments are then the pieces."""

    __slots__ = ("finish", "images", "index", "pieces", "reasoning", "shown", "tool")

    def __init__(self, index: int) -> None:
        self.index = index
        self.reasoning: Sequence[str] = ()
        self.shown = True
        self.pieces: Sequence[str] = ()
        self.tool: tuple[str, str] | None = None
        self.images: list[str] = []
        self.finish = "stop"


def _words(seed: int, count: int) -> tuple[str, ...]:
    return _run(seed % _COUNT, count) if count <= _CACHED_WORDS else _spoken(seed % _COUNT, count)


def _spoken(start: int, count: int) -> tuple[str, ...]:
    turns = -(-(start + count) // _COUNT)
    pieces = (_WORDS * turns)[start : start + count]
    return (pieces[0][1:], *pieces[1:]) if pieces else pieces


_run = lru_cache(maxsize=4_096)(_spoken)


def _cut_json(value: Any) -> list[str]:
    text = orjson.dumps(value).decode()
    return [text[at : at + JSON_PIECE] for at in range(0, len(text), JSON_PIECE)]


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadCall(400, f"{name}: a whole number from 1 is needed", name)
    return value


def limit(body: dict[str, Any], model: Model) -> int:
    """Most output tokens of one choice: what the client asks for, at most what the model can.

    Raises BadCall when what it asks for is not a whole number from 1.
    """
    most = model.max_completion_tokens
    for name in ("max_completion_tokens", "max_tokens"):
        if name in body:
            most = min(most, _whole(body, name) or most)
    return most


def _stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop")
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > STOPS_MAX or not all(isinstance(each, str) for each in stops):
        raise BadCall(400, "stop: a string or a short list of strings is needed", "stop")
    return [each for each in stops if each]


def _tool(body: dict[str, Any], model: Model, prompt: Prompt) -> dict[str, Any] | None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools or choice == "none" or prompt.last_role != "user":
        return None
    if not model.calls_tools:
        raise BadCall(404, "No endpoints found that support tool use")
    listed = tools if isinstance(tools, list) else []
    described = [each.get("function") for each in listed if isinstance(each, dict)]
    functions = [each for each in described if isinstance(each, dict) and isinstance(each.get("name"), str)]
    if not functions:
        raise BadCall(400, "tools: a list of functions with a name is needed", "tools")
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        functions = [each for each in functions if each["name"] == wanted]
        if not functions:
            raise BadCall(400, "tool_choice: no such tool", "tool_choice")
    return functions[0]


def _format(body: dict[str, Any]) -> Any:
    """The instance that `response_format` asks for, or None for plain text."""
    wanted = body.get("response_format")
    wanted = wanted if isinstance(wanted, dict) else {}
    kind = wanted.get("type")
    if kind == "json_object":
        return {"cevap": "örnek", "sayı": 1}
    if kind != "json_schema":
        return None
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise BadCall(400, "response_format: json_schema.schema is needed", "response_format")
    return schemas.instance(schema)


def _reasoning(body: dict[str, Any], model: Model) -> tuple[int, bool]:
    """Reasoning tokens that the client asks for, and whether it wants to see them."""
    asked = body.get("reasoning")
    asked = asked if isinstance(asked, dict) else {}
    effort = asked.get("effort") or body.get("reasoning_effort")
    wanted = body.get("include_reasoning") is True or asked.get("enabled") is True
    if not model.reasons or not (effort or wanted or asked.get("max_tokens")):
        return 0, True
    tokens = _REASONING_TOKENS.get(str(effort or "medium"), _REASONING_TOKENS["medium"])
    cap = asked.get("max_tokens")
    return (min(tokens, cap) if isinstance(cap, int) else tokens), asked.get("exclude") is not True


def _stopped(pieces: Sequence[str], stops: list[str]) -> list[str] | None:
    """The pieces up to the first stop sequence, or None when there is none in them."""
    text = "".join(pieces)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return None
    left, kept = min(found), []
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept


def compose(body: dict[str, Any], model: Model, prompt: Prompt, ignore_limit: bool) -> list[Choice]:
    """All choices of an answer.

    Raises BadCall when the request asks for what the protocol does not know.
    """
    if body.keys().isdisjoint(_SPECIAL):
        return [_plain(body, model, prompt, ignore_limit)]
    count = _whole(body, "n") or 1
    if count > CHOICES_MAX:
        raise BadCall(400, f"n: at most {CHOICES_MAX}", "n")
    most = limit(body, model)
    most = model.max_completion_tokens if ignore_limit else most
    stops = _stops(body)
    tool = _tool(body, model, prompt)
    made = None if tool else _format(body)
    thought, shown = _reasoning(body, model)
    seed = model.seed ^ prompt.seed
    choices = []
    for index in range(count):
        choice = Choice(index)
        choice.shown = shown
        _fill(choice, seed + index, prompt.length, tool, made)
        choice.reasoning = _words(seed + index + 7, thought) if thought else choice.reasoning
        if model.makes_images and "image" in (body.get("modalities") or ()):
            choice.images = [images.data_url(seed + index)]
        _limit(choice, stops, most)
        choices.append(choice)
    return choices


def _plain(body: dict[str, Any], model: Model, prompt: Prompt, ignore_limit: bool) -> Choice:
    most = limit(body, model)
    most = model.max_completion_tokens if ignore_limit else most
    seed = model.seed ^ prompt.seed
    wanted = prompt.length or LENGTH_LEAST + seed % LENGTH_SPREAD
    choice = Choice(0)
    choice.pieces = _words(seed, min(wanted, most))
    choice.finish = "length" if wanted > most else "stop"
    return choice


def _fill(choice: Choice, seed: int, length: int, tool: dict[str, Any] | None, made: Any) -> None:
    if tool is not None:
        choice.tool = (f"call_{seed:08x}{choice.index:04x}", tool["name"])
        choice.pieces = _cut_json(schemas.instance(tool.get("parameters") or {"type": "object"}))
        choice.finish = "tool_calls"
    elif made is not None:
        choice.pieces = _cut_json(made)
    else:
        choice.pieces = _words(seed, length or LENGTH_LEAST + seed % LENGTH_SPREAD)


def _limit(choice: Choice, stops: list[str], most: int) -> None:
    if stops and choice.tool is None:
        stopped = _stopped(choice.pieces, stops)
        choice.pieces = choice.pieces if stopped is None else stopped
    room = most - PICTURE_TOKENS * len(choice.images)
    if room < 0:
        choice.images, room = [], most
    if len(choice.reasoning) + len(choice.pieces) > room:
        choice.reasoning = choice.reasoning[:room]
        choice.pieces = choice.pieces[: room - len(choice.reasoning)]
        choice.finish = "length"


def message(choice: Choice, openrouter: bool) -> bytes:
    """The choice's message as JSON, as a whole answer has it."""
    text = "".join(choice.pieces)
    if choice.tool is None and not choice.reasoning and not choice.images:
        return (_PLAIN_OPENROUTER if openrouter else _PLAIN) % orjson.dumps(text)
    return orjson.dumps(_message(choice, text, openrouter))


def _message(choice: Choice, text: str, openrouter: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": text if choice.tool is None else None, "refusal": None}
    if choice.tool is not None:
        identity, name = choice.tool
        function = {"name": name, "arguments": text}
        said["tool_calls"] = [{"index": 0, "id": identity, "type": "function", "function": function}]
    if not openrouter:
        return said
    said["reasoning"] = None
    if choice.reasoning and choice.shown:
        thought = "".join(choice.reasoning)
        said["reasoning"] = thought
        said["reasoning_details"] = [{"type": "reasoning.text", "text": thought, "format": "unknown", "index": 0}]
    if choice.images:
        said["images"] = [_picture(url, index) for index, url in enumerate(choice.images)]
    return said


def _picture(url: str, index: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


TEXT, REASONING, IMAGE = range(3)


def deltas(choice: Choice, openrouter: bool) -> Iterator[tuple[int, int, dict[str, Any] | str]]:
    """(kind of token, tokens, delta) in the order they are streamed; a bare string is a delta of content."""
    if choice.reasoning:
        seen = choice.shown and openrouter
        for piece in choice.reasoning:
            yield REASONING, 1, {"role": "assistant", "content": "", "reasoning": piece} if seen else {}
    if choice.tool is None:
        for piece in choice.pieces:
            yield TEXT, 1, piece
    else:
        identity, name = choice.tool
        function = {"name": name, "arguments": ""}
        yield TEXT, 0, {"tool_calls": [{"index": 0, "id": identity, "type": "function", "function": function}]}
        for piece in choice.pieces:
            yield TEXT, 1, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
    for index, url in enumerate(choice.images):
        yield IMAGE, PICTURE_TOKENS, {"images": [_picture(url, index)]} if openrouter else {}


def tokens(choices: list[Choice]) -> tuple[int, int, int]:
    """Output tokens of a whole answer: text, reasoning, image."""
    text = reasoning = pictures = 0
    for choice in choices:
        text += len(choice.pieces)
        reasoning += len(choice.reasoning)
        pictures += len(choice.images)
    return text, reasoning, pictures * PICTURE_TOKENS
