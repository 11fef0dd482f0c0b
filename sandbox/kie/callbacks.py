"""What a webhook says, in each family's words, and how it is signed."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from sandbox.kie.records import FAIL_MESSAGE, FIRST_SHARE, TEXT_SHARE, Teller, lyrics, midi
from sandbox.kie.tasks import Task


@dataclass(frozen=True, slots=True)
class Stage:
    """One callback of a task: its name, and when it is due, as a share of the task's time."""

    name: str
    share: float


_END = (Stage("complete", 1.0),)
_SONG = (Stage("text", TEXT_SHARE), Stage("first", FIRST_SHARE), Stage("complete", 1.0))


def stages(task: Task) -> tuple[Stage, ...]:
    """The callbacks of a task. One that hangs or is forgotten has none at its end."""
    if task.outcome in ("hang", "forgotten"):
        return ()
    if task.outcome == "fail":
        return (Stage("error", 1.0),)
    return _SONG if task.shape == "music" else _END


def signature(key: str, task_id: str, timestamp_s: int) -> str:
    """base64(HMAC-SHA256(key, taskId + "." + timestamp)); it does not cover the body."""
    digest = hmac.digest(key.encode(), f"{task_id}.{timestamp_s}".encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


class Caller:
    """Writes callbacks."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    def body(self, task: Task, stage: str, omit_credits: bool = False) -> dict[str, Any]:
        """The JSON object that is posted."""
        if task.shape == "market":
            record = self._teller.record(task, task.finish_ms, omit_credits)
            return _envelope(task, stage, record)
        if task.shape == "music":
            return self._music(task, stage)
        if stage == "error":
            whole = _envelope(task, stage, {"taskId": task.id, "task_id": task.id, "info": None})
            return {**whole, "taskId": task.id} if task.shape == "aleph" else whole
        return self._ended(task)

    def _music(self, task: Task, stage: str) -> dict[str, Any]:
        finished = {"text": 0, "first": 1, "complete": task.results}.get(stage, 0)
        songs = None if stage == "error" else self._teller.songs(task, finished, snake_case=True)
        return _envelope(task, stage, {"callbackType": stage, "task_id": task.id, "data": songs})

    def _ended(self, task: Task) -> dict[str, Any]:
        teller = self._teller
        match task.shape:
            case "veo":
                record = teller.record(task, task.finish_ms)
                info = {name: record["response"][name] for name in ("resultUrls", "originUrls", "resolution")}
                return _envelope(task, "complete", {"taskId": task.id, "info": info, "fallbackFlag": False})
            case "flux":
                info = {"originImageUrl": None, "resultImageUrl": teller.url(task, 0)}
                return _envelope(task, "complete", {"taskId": task.id, "info": info})
            case "gpt4o":
                return _envelope(task, "complete", {"taskId": task.id, "info": {"result_urls": teller.urls(task)}})
            case "aleph":
                data = {"result_video_url": teller.url(task, 0), "result_image_url": teller.url(task, 1, "png")}
                return {**_envelope(task, "complete", data), "taskId": task.id}
            case "runway":
                video = {"video_id": task.song_ids()[0], "video_url": teller.url(task, 0)}
                data = {"task_id": task.id, **video, "image_url": teller.url(task, 1, "png")}
                return _envelope(task, "complete", data)
        return _envelope(task, "complete", {"task_id": task.id, **self._converted(task)})

    def _converted(self, task: Task) -> dict[str, Any]:
        teller = self._teller
        match task.shape:
            case "lyrics":
                return {"callbackType": "complete", "data": lyrics(task)}
            case "wav":
                return {"audioWavUrl": teller.url(task, 0)}
            case "mp4":
                return {"video_url": teller.url(task, 0)}
            case "midi":
                return midi()
            case "cover":
                return {"taskId": task.id, "images": teller.urls(task)}
            case "vocal":
                result = teller.converted_result(task)
                return {"vocal_removal_info": {_snake(name): value for name, value in result.items()}}
        return {}


def _snake(name: str) -> str:
    return "".join("_" + char.lower() if char.isupper() else char for char in name)


def _envelope(task: Task, stage: str, data: dict[str, Any]) -> dict[str, Any]:
    if stage == "error":
        return {"code": task.fail_code, "msg": FAIL_MESSAGE, "data": data}
    return {"code": 200, "msg": "success" if task.shape == "market" else "All generated successfully.", "data": data}
