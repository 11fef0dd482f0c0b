"""How each of KieAI's families says how a task is. Pure: from a record's JSON to Progress.

The vocabularies differ, and the documents changed some of them: where two are known both are read. What a family says
that is in neither is taken for "still at it", never for an end.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from core.providers.tasks import Progress, TaskState

RESULTS_MAX = 32
URL_CHARACTERS_MAX = 4_096
TEXT_CHARACTERS_MAX = 1_000_000

Record = Mapping[str, Any]
Reader = Callable[[Record], Progress]

_PENDING = frozenset({"wait", "waiting", "queue", "queueing", "queuing", "pending", "0"})
_SUCCESS = frozenset({"success", "1"})
_FAILURE = frozenset(
    {
        "fail",
        "failed",
        "create_task_failed",
        "generate_failed",
        "generate_audio_failed",
        "sensitive_word_error",
        "2",
        "3",
    }
)
_MODERATION = ("sensitive", "policy", "nsfw", "prohibit", "inappropriate")


def market(record: Record) -> Progress:
    """`jobs/recordInfo`: `state`, and a result that is JSON in a string."""
    result = _parsed(record.get("resultJson"))
    urls = _urls(result.get("resultUrls"))
    text = "" if urls else text_of(result.get("resultObject"))
    return _progress(record, record.get("state"), urls, text)


def veo(record: Record) -> Progress:
    """`veo/record-info`: `successFlag`; results below `response`, in callbacks' form below `info`."""
    response = _below(record)
    urls = _urls(response.get("resultUrls")) or _urls(response.get("originUrls")) or _urls(response.get("resultUrl"))
    return _progress(record, record.get("successFlag"), urls)


def runway(record: Record) -> Progress:
    """`runway/record-detail`: `state`; the video below `videoInfo`."""
    info = _object(record.get("videoInfo"))
    urls = _urls(info.get("videoUrl")) or _urls(record.get("video_url"))
    return _progress(record, record.get("state"), urls)


def aleph(record: Record) -> Progress:
    """`aleph/record-info`: `state` or `successFlag`; the video in one of two places."""
    response = _below(record)
    urls = (
        _urls(response.get("resultVideoUrl"))
        or _urls(response.get("resultUrls"))
        or _urls(_object(record.get("videoInfo")).get("videoUrl"))
    )
    return _progress(record, _first(record, "state", "successFlag"), urls)


def suno(record: Record) -> Progress:
    """`generate/record-info` and those of its further operations: `status`, or `successFlag`.

    CALLBACK_EXCEPTION speaks of a webhook and not of the song: with audio it is a success, without it goes on.
    """
    response = _below(record)
    urls, ids = _suno_results(response)
    text = "" if urls else _lyrics(response) or text_of(record.get("midiData"))
    said = _first(record, "status", "successFlag", "state")
    if str(said).upper() == "CALLBACK_EXCEPTION":
        said = "SUCCESS" if urls or text else "PENDING"
    return _progress(record, said, urls, text, ids)


def four_o_image(record: Record) -> Progress:
    """`gpt4o-image/record-info`: `successFlag`, before that `status`; progress as a share of one."""
    response = _below(record)
    urls = _urls(response.get("resultUrls")) or _urls(response.get("result_urls"))
    return _progress(record, _first(record, "status", "successFlag"), urls)


def flux_kontext(record: Record) -> Progress:
    """`flux/kontext/record-info`: `successFlag`; one image."""
    response = _below(record)
    urls = _urls(response.get("resultImageUrl")) or _urls(response.get("resultUrls"))
    return _progress(record, record.get("successFlag"), urls)


def _progress(record: Record, said: Any, urls: tuple[str, ...], text: str = "", ids: tuple[str, ...] = ()) -> Progress:
    """One vocabulary of words and numbers for all. A success without a result is not believed yet."""
    word = str(said).lower() if said is not None else ""
    if word in _FAILURE:
        return Progress(TaskState.FAILED, reason=_reason(record))
    if word in _SUCCESS and (urls or text):
        return Progress(TaskState.SUCCEEDED, 100, urls, text, ids=ids, credits=_credits(record))
    state = TaskState.PENDING if word in _PENDING and not _percent(record) else TaskState.PROCESSING
    return Progress(state, _percent(record))


def _reason(record: Record) -> str:
    """A fixed word for why it failed."""
    told = " ".join(str(record.get(name) or "") for name in ("failMsg", "errorMessage", "status")).lower()
    if any(word in told for word in _MODERATION):
        return "content_policy_violation"
    code = str(record.get("failCode") or record.get("errorCode") or "")
    return f"code_{code}" if code.isdecimal() and len(code) == 3 else "generation_failed"


def _credits(record: Record) -> str | None:
    """What the provider says to have taken, as written; some families do not say."""
    taken = record.get("creditsConsumed")
    return repr(taken) if type(taken) in (int, float) else taken if isinstance(taken, str) else None


def _percent(record: Record) -> int:
    """`progress` is 0–100, or "0.00"–"1.00" (4o image); a success flag in between says nothing."""
    value = record.get("progress")
    try:
        number = float(value) if type(value) in (int, float, str) else 0.0  # type: ignore[arg-type]
    except ValueError:
        return 0
    if type(value) is str and "." in value and number <= 1:
        number *= 100
    return int(min(max(number, 0), 99)) if number == number else 0


def _first(record: Record, *names: str) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _below(record: Record) -> Record:
    """Where results are: `response`, which may be JSON in a string; `info` in callbacks."""
    return _parsed(record.get("response")) or _object(record.get("info"))


def _object(value: Any) -> Record:
    return value if isinstance(value, dict) else {}


def _parsed(value: Any) -> Record:
    if isinstance(value, str) and value:
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return _object(value)


def _urls(value: Any) -> tuple[str, ...]:
    """The http(s) addresses of a string, of a list, or of JSON of a list in a string."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return ()
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(each for each in found if _is_url(each))[:RESULTS_MAX]


def _is_url(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.startswith(("https://", "http://"))
        and len(value) <= URL_CHARACTERS_MAX
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def text_of(value: Any) -> str:
    """A text result: as it is, or the one text in an object, else the object as JSON."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    if not value:
        return ""
    told: str = value if isinstance(value, str) else orjson.dumps(value).decode()
    return told[:TEXT_CHARACTERS_MAX]


_SUNO_AUDIO = ("audioUrl", "audio_url", "sourceAudioUrl")
_SUNO_PREVIEW = ("streamAudioUrl", "stream_audio_url", "sourceStreamAudioUrl", "imageUrl", "image_url")
_ID_CHARACTERS_MAX = 100


def _suno_results(response: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Each song's audio and its id; of the further operations, whatever they made, without previews and covers."""
    songs = next((songs for name in ("sunoData", "data") if (songs := response.get(name))), None)
    if isinstance(songs, list) and songs and isinstance(songs[0], dict):
        found = [(url, _id_of(song)) for song in songs if (url := _audio_of(song))][:RESULTS_MAX]
        return tuple(url for url, _ in found), tuple(name for _, name in found)
    return tuple(dict.fromkeys(_all_urls(response)))[:RESULTS_MAX], ()


def _audio_of(song: Any) -> str:
    values = [song.get(name) for name in _SUNO_AUDIO] if isinstance(song, dict) else []
    return next((str(value) for value in values if _is_url(value)), "")


def _id_of(song: Record) -> str:
    name = song.get("id")
    return name if isinstance(name, str) and len(name) <= _ID_CHARACTERS_MAX else ""


def _all_urls(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    if depth > 4 or name in _SUNO_PREVIEW:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _all_urls(each, key, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _all_urls(each, name, depth + 1)
    elif _is_url(value):
        yield value


def _lyrics(response: Record) -> str:
    """Every finished text of a lyrics task, with an empty line between."""
    rows = next((rows for name in ("lyricsData", "data") if isinstance(rows := response.get(name), list)), [])
    texts = [row["text"] for row in rows if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"]]
    return "\n\n".join(texts)[:TEXT_CHARACTERS_MAX] or text_of(response.get("result") or response.get("text"))


READERS: dict[str, Reader] = {
    "market": market,
    "veo": veo,
    "runway": runway,
    "aleph": aleph,
    "suno": suno,
    "gpt4o_image": four_o_image,
    "flux_kontext": flux_kontext,
}
"""Family → how its records are read."""
