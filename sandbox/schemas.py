"""An instance of a JSON schema: the smallest that is valid, built the same way each time.

`pattern`, `not`, `if` and `dependentSchemas` are not understood; a schema that needs them may get an instance that
does not fit.
"""

from typing import Any

DEPTH_MAX = 32
ITEMS_MAX = 64

_FORMATS = {
    "date": "2025-01-15",
    "date-time": "2025-01-15T10:30:00Z",
    "time": "10:30:00Z",
    "email": "ayse@example.com",
    "uri": "https://example.com/",
    "uuid": "7f6a1c52-3b84-4d0e-9a51-2c8e6f0b9d13",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}


def instance(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value that `schema` accepts; `root` is where its `$ref`s point into."""
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return None
    root = schema if root is None else root
    if "$ref" in schema:
        return instance(_resolve(schema["$ref"], root), root, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return instance(schema[choice][0], root, depth + 1)
    if schema.get("allOf"):
        return instance(_merged(schema, root), root, depth + 1)
    return _of_kind(_kind(schema), schema, root, depth)


def _of_kind(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            count = min(max(int(schema.get("minItems", 1)), 0), ITEMS_MAX)
            fixed = [instance(each, root, depth + 1) for each in schema.get("prefixItems", ())]
            items = schema.get("items", {"type": "string"})
            return fixed + [instance(items, root, depth + 1) for _ in range(count - len(fixed))]
        case "integer" | "number":
            return _number(schema, kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema)


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _resolve(reference: Any, root: Any) -> Any:
    found = root
    for name in str(reference).removeprefix("#").strip("/").split("/"):
        if name:
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
    return found


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    properties = dict(merged.get("properties", {}))
    required = list(merged.get("required", ()))
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(part, dict):
            properties |= part.get("properties", {})
            required += part.get("required", ())
            merged = {**part, **merged}
    if properties:
        merged["properties"] = properties
        merged["required"] = required
    return merged


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required")
    names = list(properties) if required is None or depth == 0 else [name for name in properties if name in required]
    built = {name: instance(properties[name], root, depth + 1) for name in names}
    for name in required or ():
        built.setdefault(name, "değer")
    return built


def _number(schema: dict[str, Any], whole: bool) -> int | float:
    least = schema.get("minimum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + (1 if whole else 0.5)
    most = schema.get("maximum")
    if most is None and "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - (1 if whole else 0.5)
    value = 1 if least is None else least
    if most is not None and value > most:
        value = most
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(-(-value // 1)) if whole else value


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(schema.get("format", ""), "örnek")
    least = int(schema.get("minLength", 0))
    text = text * -(-least // len(text)) if len(text) < least else text
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text
