"""The catalogue's errors as clients see them: `{"success": false, "error": {"code", "message"}}`, in two languages."""

from functools import lru_cache

import orjson

from runtime.errors import CATALOGUE, SHOWN_AS, in_language

TURKISH = "tr"
ENGLISH = "en"

_ACCEPT_LANGUAGE_CHARACTERS_MAX = 200


def language_of(accept_language: bytes) -> str:
    """ENGLISH when the header prefers it to Turkish, else TURKISH; `*` prefers nothing."""
    if not accept_language or len(accept_language) > _ACCEPT_LANGUAGE_CHARACTERS_MAX:
        return TURKISH
    return _language_of(accept_language)


@lru_cache(maxsize=512)
def _language_of(accept_language: bytes) -> str:
    quality = {TURKISH: 0.0, ENGLISH: 0.0}
    for part in accept_language.decode("latin-1").lower().split(","):
        tag, _, parameters = part.strip().partition(";")
        language = tag.strip().partition("-")[0]
        if language in quality:
            quality[language] = max(quality[language], _quality(parameters))
    return ENGLISH if quality[ENGLISH] > quality[TURKISH] else TURKISH


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    value = value.strip()
    whole, _, fraction = value.partition(".")
    if whole not in ("0", "1") or not (fraction == "" or fraction.isdecimal()):
        return 0.0
    return min(float(value), 1.0)


def shown_code(code: str) -> str:
    """The code that clients see: some codes differ only in their message."""
    return SHOWN_AS.get(code, code)


def error_of(code: str, detail: str, language: str) -> dict[str, str]:
    """The `error` object of a response or of a stream's last event."""
    row = CATALOGUE[code]
    text = row.english if language == ENGLISH else row.turkish
    return {"code": shown_code(code), "message": text.replace("{detail}", in_language(detail, language == ENGLISH))}


def body_of(code: str, detail: str, language: str) -> bytes:
    """The body of an error response."""
    if detail:
        return orjson.dumps({"success": False, "error": error_of(code, detail, language)})
    return _plain_body(code, language)


@lru_cache(maxsize=256)
def _plain_body(code: str, language: str) -> bytes:
    return orjson.dumps({"success": False, "error": error_of(code, "", language)})


def event_of(code: str, detail: str, language: str) -> bytes:
    """The event that ends a stream with an error."""
    return b"data: " + orjson.dumps({"error": error_of(code, detail, language)}) + b"\n\n"
