"""The public API in OpenAPI 3.1, from the definitions that the edge works by: parameters, errors, kinds of media."""

from functools import cache
from typing import Any

import orjson

from runtime.errors import CATALOGUE, SHOWN_AS
from runtime.parameters import (
    CHAT_RULES,
    MEDIA_KINDS,
    MESSAGE_ROLES,
    MODEL_CHARACTERS_MAX,
    USAGE_DAYS_MAX,
    USAGE_GROUPS,
)

VERSION = "1.0.0"
Node = dict[str, Any]

_AMOUNT = {"type": "number", "description": "In the account's currency, exact to nine places."}
_CURRENCY = {"type": "string", "enum": ["TRY", "USD"]}
_COUNT = {"type": "integer", "minimum": 0}


def _object(properties: Node, required: list[str] | None = None, more: bool = True) -> Node:
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": more}


def _ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}


def _answer(text: str, schema: Node) -> Node:
    return {"description": text, "headers": _headers(), "content": _json(schema)}


def _headers() -> Node:
    names = ("x-request-id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(*statuses: int) -> Node:
    return {str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in statuses}


_EVERY = (401, 403, 500, 503)
_CALL = (400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 504)


def _operation(name: str, summary: str, answers: Node, **more: Any) -> Node:
    return {"operationId": name, "summary": summary, "responses": answers, **more}


def _path_parameter(name: str, text: str) -> Node:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _chat() -> Node:
    answers = {
        "200": {
            "description": "The answer, or with `stream: true` its chunks as server-sent events.",
            "headers": _headers(),
            "content": {
                **_json(_ref("ChatCompletion")),
                "text/event-stream": {"schema": {"type": "string", "description": "`data: {chunk}` lines, `[DONE]`"}},
            },
        },
        **_refusals(*_CALL),
    }
    body = {"required": True, "content": _json(_ref("ChatRequest"))}
    return {"post": _operation("createChatCompletion", "Chat", answers, requestBody=body, tags=["chat"])}


def _generate(kind: str) -> Node:
    answers = {"202": _answer("The task was begun.", _ref("Task")), **_refusals(*_CALL)}
    body = {"required": True, "content": _json(_ref("MediaRequest"))}
    return {"post": _operation(f"generate_{kind}", f"Begin a task ({kind})", answers, requestBody=body, tags=["media"])}


def _status(kind: str) -> Node:
    answers = {"200": _answer("The task as it stands.", _ref("Task")), **_refusals(404, *_EVERY)}
    parameters = [_path_parameter("task_id", "`vtask_…`; any kind reads any task of the account")]
    return {
        "get": _operation(f"status_{kind}", f"Look at a task ({kind})", answers, parameters=parameters, tags=["media"])
    }


def _lookups() -> Node:
    def get(name: str, summary: str, text: str, schema: Node, *statuses: int, parameters: Any = ()) -> Node:
        answers = {"200": _answer(text, schema), **_refusals(*sorted({*statuses, *_EVERY}))}
        return {"get": _operation(name, summary, answers, parameters=list(parameters), tags=["account"])}

    days = [
        {"name": name, "in": "query", "schema": {"type": "string", "format": "date"}, "description": text}
        for name, text in (("from", f"at most {USAGE_DAYS_MAX} days before `to`"), ("to", "today where it is missing"))
    ]
    group = {"name": "group_by", "in": "query", "schema": {"enum": list(USAGE_GROUPS), "default": USAGE_GROUPS[0]}}
    models = _object({"object": {"const": "list"}, "data": {"type": "array", "items": _ref("Model")}})
    model = [_path_parameter("model", "its `/` raw or as `%2F`")]
    request = [_path_parameter("request_id", "`req_…`, the `id` of an answer")]
    return {
        "/models": get("listModels", "Models and own prices", "All that the key may call.", models),
        "/models/{model}": get("showModel", "One model", "The model.", _ref("Model"), 404, parameters=model),
        "/balance": get("showBalance", "Balance", "What the account has.", _ref("Balance")),
        "/usage": get("showUsage", "Usage", "Totals of the account.", _ref("Usage"), 400, parameters=[*days, group]),
        "/requests/{request_id}": get(
            "showRequest", "Why was I charged", "The call's story.", _ref("Story"), 404, parameters=request
        ),
    }


def _schemas() -> Node:
    text = {"type": "string"}
    message = _object(
        {
            "role": {"enum": list(MESSAGE_ROLES)},
            "content": {"oneOf": [text, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
        },
        ["role"],
    )
    model_id = {"type": "string", "minLength": 1, "maxLength": MODEL_CHARACTERS_MAX}
    rules = {name: rule.schema for name, rule in CHAT_RULES.items()}
    messages = {"type": "array", "minItems": 1, "items": message}
    cost = _object({"amount": _AMOUNT, "currency": _CURRENCY})
    usage = _object({"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT})
    choices = {"type": "array", "items": {"type": "object"}}
    failure = _object(
        {"code": {"enum": sorted({error.code for error in CATALOGUE.values()} - SHOWN_AS.keys())}, "message": text},
        more=False,
    )
    maybe = {"type": ["string", "null"]}
    task = {
        "success": {"type": "boolean"},
        "task_id": text,
        "status": {"enum": ["pending", "processing", "completed", "failed"]},
        "model": text,
        "type": {"enum": list(MEDIA_KINDS)},
        "progress": {"type": ["integer", "null"]},
        "urls": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "url": maybe,
        "text": maybe,
        "error": {"oneOf": [failure, {"type": "null"}]},
        "cost": cost,
        "status_url": {"type": "string", "format": "uri"},
    }
    image = {"oneOf": [text, {"type": "array", "items": text}], "description": "address, data URL, or a list of these"}
    media = {"model": model_id, "prompt": text, "image_url": image, "callback_url": {"type": "string", "format": "uri"}}
    money = {name: _AMOUNT for name in ("balance", "held", "available")}
    story = {"request_id": text, "status": text, "model": text, "currency": _CURRENCY, "attempts": choices}
    price = _object({"currency": _CURRENCY})
    return {
        "ChatRequest": _object({"model": model_id, "messages": messages, **rules}, ["model", "messages"]),
        "ChatCompletion": _object(
            {
                "id": text,
                "object": text,
                "created": _COUNT,
                "model": text,
                "choices": choices,
                "usage": usage,
                "cost": cost,
            }
        ),
        "MediaRequest": _object(media, ["model"]),
        "Task": _object(task, ["success", "task_id", "status", "model", "cost"]),
        "Model": _object({"id": text, "object": {"const": "model"}, "type": text, "pricing": price}),
        "Balance": _object({**money, "currency": _CURRENCY}),
        "Usage": _object(
            {"object": {"const": "usage"}, "from": text, "to": text, "data": choices, "total": {"type": "object"}}
        ),
        "Story": _object(story, ["request_id", "status", "attempts"]),
        "Error": _object({"success": {"const": False}, "error": failure}, more=False),
    }


def _responses() -> Node:
    found: Node = {}
    for status in sorted({error.status for error in CATALOGUE.values()} - {200}):
        codes = [error for error in CATALOGUE.values() if error.status == status]
        text = "; ".join(
            f"`{SHOWN_AS.get(error.code, error.code)}`: {error.english.replace('{detail}', '…')}" for error in codes
        )
        found[f"Refused{status}"] = {"description": text, "headers": _headers(), "content": _json(_ref("Error"))}
    return found


@cache
def document(api_url: str) -> Node:
    """The whole description, for the API at `api_url`."""
    media: Node = {}
    for kind in MEDIA_KINDS:
        media[f"/{kind}/generate"] = _generate(kind)
        media[f"/{kind}/status/{{task_id}}"] = _status(kind)
    integer, text = {"schema": {"type": "integer"}}, {"schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Onysoft API",
            "version": VERSION,
            "summary": "One OpenAI-compatible API in front of many providers, prepaid.",
        },
        "servers": [{"url": api_url or "/v1"}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in ("chat", "media", "account")],
        "paths": {"/chat/completions": _chat(), **media, **_lookups()},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`sk-ony-…`"}},
            "headers": {
                "x-request-id": {"description": "names the call", **text},
                "X-RateLimit-Limit": {"description": "calls a minute", **integer},
                "X-RateLimit-Remaining": {"description": "what is left of them", **integer},
                "X-RateLimit-Reset": {"description": "Unix seconds", **integer},
            },
            "responses": _responses(),
            "schemas": _schemas(),
        },
    }


def describe(api_url: str) -> bytes:
    """The description as JSON."""
    return orjson.dumps(document(api_url), option=orjson.OPT_INDENT_2)
