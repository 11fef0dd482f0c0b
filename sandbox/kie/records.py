"""How a task is told to who asks: each family in words of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from sandbox.kie.tasks import Task

FAIL_MESSAGE = "The generation failed. Please try again."
TEXT_SHARE, FIRST_SHARE = 0.2, 0.6

_SENSITIVE, _EXCEPTION = "SENSITIVE_WORD_ERROR", "CALLBACK_EXCEPTION"
_STEMS = ("backingVocals", "drums", "bass", "guitar", "piano", "keyboard", "percussion", "strings", "synth", "fx")


class Teller:
    """Tells tasks; `base` is where the results' files are served."""

    def __init__(self, base: str) -> None:
        self._base = base

    def url(self, task: Task, index: int, extension: str = "") -> str:
        """Where a result is."""
        return f"{self._base}/r/{task.id}/{index}.{extension or task.extension}"

    def urls(self, task: Task) -> list[str]:
        """Where all results are."""
        return [self.url(task, index) for index in range(task.results)]

    def record(self, task: Task, now_ms: float, omit_credits: bool = False, old_status: bool = False) -> dict[str, Any]:
        """The `data` of the family's record endpoint."""
        if task.shape == "market":
            return self._market(task, now_ms, omit_credits)
        if task.shape == "gpt4o":
            return self._gpt4o(task, now_ms, old_status)
        tell: dict[str, Callable[[Task, float], dict[str, Any]]] = {
            "veo": self._veo,
            "runway": self._runway,
            "aleph": self._aleph,
            "flux": self._flux,
            "music": self._music,
            "lyrics": self._lyrics,
            "midi": self._midi,
            "cover": self._cover,
        }
        return tell.get(task.shape, self._converted)(task, now_ms)

    def _market(self, task: Task, now_ms: float, omit_credits: bool) -> dict[str, Any]:
        status = task.status(now_ms)
        share = task.share(now_ms)
        pending = "waiting" if share < 0.1 else "queuing" if share < 0.3 else "generating"
        result = ""
        if status == "completed":
            found = {"resultObject": _text_result(task)} if task.result == "text" else {"resultUrls": self.urls(task)}
            result = orjson.dumps(found).decode()
        whole: dict[str, Any] = {
            "taskId": task.id,
            "model": task.model,
            "state": {"completed": "success", "failed": "fail"}.get(status, pending),
            "param": orjson.dumps(task.body or task.shown_input).decode(),
            "resultJson": result,
            "failCode": str(task.fail_code) if status == "failed" else "",
            "failMsg": FAIL_MESSAGE if status == "failed" else None,
            "costTime": int(task.takes_ms) if status != "running" else 0,
            "completeTime": int(task.finish_ms) if status != "running" else None,
            "createTime": int(task.created_ms),
            "updateTime": int(min(now_ms, task.finish_ms)),
        }
        if not omit_credits:
            whole["creditsConsumed"] = float(task.charged) if status != "running" else 0
        return whole

    def _flagged(self, task: Task, now_ms: float, response: dict[str, Any] | None) -> dict[str, Any]:
        """The shape that Veo, Flux Kontext, 4o and Aleph share."""
        status = task.status(now_ms)
        flag = {"running": 0, "completed": 1}.get(status, 2 if task.fail_code == 400 else 3)
        return {
            "taskId": task.id,
            "paramJson": orjson.dumps(task.body or task.shown_input).decode(),
            "completeTime": int(task.finish_ms) if status != "running" else None,
            "response": {"taskId": task.id, **response} if response and status == "completed" else None,
            "successFlag": flag,
            "errorCode": task.fail_code if status == "failed" else None,
            "errorMessage": FAIL_MESSAGE if status == "failed" else "",
            "createTime": int(task.created_ms),
        }

    def _veo(self, task: Task, now_ms: float) -> dict[str, Any]:
        response = {"resultUrls": self.urls(task), "originUrls": [], "resolution": self._resolution(task)}
        return {**self._flagged(task, now_ms, response), "fallbackFlag": False}

    def _resolution(self, task: Task) -> str:
        return str(task.shown_input.get("resolution", "720p"))

    def _flux(self, task: Task, now_ms: float) -> dict[str, Any]:
        return self._flagged(task, now_ms, {"originImageUrl": None, "resultImageUrl": self.url(task, 0)})

    def _gpt4o(self, task: Task, now_ms: float, old_status: bool) -> dict[str, Any]:
        whole = self._flagged(task, now_ms, {"resultUrls": self.urls(task)})
        failed = "CREATE_TASK_FAILED" if task.fail_code == 400 else "GENERATE_FAILED"
        whole["status"] = {"running": "GENERATING", "completed": "SUCCESS"}.get(task.status(now_ms), failed)
        whole["progress"] = f"{task.share(now_ms):.2f}"
        if old_status:
            del whole["successFlag"]
        return whole

    def _aleph(self, task: Task, now_ms: float) -> dict[str, Any]:
        response = {"resultVideoUrl": self.url(task, 0), "resultImageUrl": self.url(task, 1, "png")}
        whole = self._flagged(task, now_ms, response)
        for name in ("completeTime", "createTime"):
            if whole[name] is not None:
                whole[name] = datetime.fromtimestamp(whole[name] / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return whole

    def _runway(self, task: Task, now_ms: float) -> dict[str, Any]:
        status, share = task.status(now_ms), task.share(now_ms)
        pending = "wait" if share < 0.1 else "queueing" if share < 0.3 else "generating"
        video = {"videoId": task.song_ids()[0], "taskId": task.id, "videoUrl": self.url(task, 0)}
        return {
            "taskId": task.id,
            "parentTaskId": task.reference,
            "generateParam": task.body or task.shown_input,
            "state": {"completed": "success", "failed": "fail"}.get(status, pending),
            "generateTime": int(min(now_ms, task.finish_ms)),
            "videoInfo": {**video, "imageUrl": self.url(task, 1, "png")} if status == "completed" else None,
            "expireFlag": 0,
            "failCode": task.fail_code if status == "failed" else 0,
            "failMsg": FAIL_MESSAGE if status == "failed" else "",
        }

    # Suno

    def music_status(self, task: Task, now_ms: float) -> str:
        """The status of a song's task."""
        status, share = task.status(now_ms), task.share(now_ms)
        if status == "running":
            return "PENDING" if share < TEXT_SHARE else "TEXT_SUCCESS" if share < FIRST_SHARE else "FIRST_SUCCESS"
        if status == "completed":
            return _EXCEPTION if task.outcome == "callback_exception" else "SUCCESS"
        failures = {400: _SENSITIVE, 413: "CREATE_TASK_FAILED"}
        return failures.get(task.fail_code, "GENERATE_AUDIO_FAILED")

    def songs(self, task: Task, finished: int, snake_case: bool) -> list[dict[str, Any]]:
        """What was made so far; the first `finished` songs have their audio."""
        found = []
        for index, song_id in enumerate(task.song_ids()):
            done = index < finished
            song = {
                "id": song_id,
                "audioUrl": self.url(task, index) if done else "",
                "streamAudioUrl": self.url(task, index) + "?stream=1",
                "imageUrl": self.url(task, index, "png"),
                "prompt": str(task.body.get("prompt", "")),
                "modelName": f"chirp-{task.shown_input.get('model', 'V4')}".lower(),
                "title": str(task.body.get("title", "Untitled")),
                "tags": str(task.body.get("style", "pop")),
                "createTime": int(task.created_ms),
                "duration": 5.0 if done else None,
            }
            found.append({_SNAKE.get(name, name): value for name, value in song.items()} if snake_case else song)
        return found

    def _music(self, task: Task, now_ms: float) -> dict[str, Any]:
        status = self.music_status(task, now_ms)
        finished = {"FIRST_SUCCESS": 1, "SUCCESS": task.results, _EXCEPTION: task.results}.get(status, 0)
        told = status in ("TEXT_SUCCESS", "FIRST_SUCCESS", "SUCCESS", _EXCEPTION)
        songs = {"taskId": task.id, "sunoData": self.songs(task, finished, snake_case=False)}
        failed = task.status(now_ms) == "failed"
        return {
            "taskId": task.id,
            "parentMusicId": task.reference,
            "param": orjson.dumps(task.body or task.shown_input).decode(),
            "response": songs if told else None,
            "status": status,
            "type": task.model.rpartition("/")[2].upper().replace("-", "_"),
            "operationType": task.model.rpartition("/")[2],
            "errorCode": task.fail_code if failed else None,
            "errorMessage": FAIL_MESSAGE if failed else None,
            "createTime": int(task.created_ms),
        }

    def _lyrics(self, task: Task, now_ms: float) -> dict[str, Any]:
        status = self.music_status(task, now_ms)
        status = "PENDING" if task.status(now_ms) == "running" else status.replace("AUDIO", "LYRICS")
        failed = task.status(now_ms) == "failed"
        return {
            "taskId": task.id,
            "param": orjson.dumps(task.body or task.shown_input).decode(),
            "response": {"taskId": task.id, "data": lyrics(task)} if status in ("SUCCESS", _EXCEPTION) else None,
            "status": status,
            "type": "LYRICS",
            "errorCode": task.fail_code if failed else None,
            "errorMessage": FAIL_MESSAGE if failed else None,
        }

    def converted_result(self, task: Task) -> dict[str, Any]:
        """Of WAV, music video and vocal separation."""
        if task.shape == "wav":
            return {"audioWavUrl": self.url(task, 0)}
        if task.shape == "mp4":
            return {"videoUrl": self.url(task, 0)}
        separated = task.results == 2
        stems = {f"{name}Url": None if separated else self.url(task, 2 + at) for at, name in enumerate(_STEMS)}
        return {
            "id": None,
            "originUrl": None,
            "originData": None,
            "instrumentalUrl": self.url(task, 1) if separated else None,
            "vocalUrl": self.url(task, 0),
            **stems,
        }

    def _converted(self, task: Task, now_ms: float) -> dict[str, Any]:
        status = task.status(now_ms)
        kind = {"wav": "WAV", "mp4": "MP4"}.get(task.shape, "AUDIO")
        failed = "CREATE_TASK_FAILED" if task.fail_code == 413 else f"GENERATE_{kind}_FAILED"
        completed = _EXCEPTION if task.outcome == "callback_exception" else "SUCCESS"
        return {
            "taskId": task.id,
            "musicId": task.reference,
            "callbackUrl": task.callback_url,
            "musicIndex": 0,
            "completeTime": int(task.finish_ms) if status != "running" else None,
            "response": self.converted_result(task) if status == "completed" else None,
            "successFlag": {"running": "PENDING", "completed": completed}.get(status, failed),
            "createTime": int(task.created_ms),
            "errorCode": task.fail_code if status == "failed" else None,
            "errorMessage": FAIL_MESSAGE if status == "failed" else None,
        }

    def _midi(self, task: Task, now_ms: float) -> dict[str, Any]:
        whole = self._flagged(task, now_ms, None)
        del whole["response"], whole["paramJson"]
        done = task.status(now_ms) == "completed"
        return {**whole, "recordTaskId": -1, "audioId": task.reference, "midiData": midi() if done else None}

    def _cover(self, task: Task, now_ms: float) -> dict[str, Any]:
        whole = self._flagged(task, now_ms, {"images": self.urls(task)})
        return {**whole, "parentTaskId": task.reference, "callbackUrl": task.callback_url}


_SNAKE = {
    "audioUrl": "audio_url",
    "streamAudioUrl": "stream_audio_url",
    "imageUrl": "image_url",
    "modelName": "model_name",
}


def lyrics(task: Task) -> list[dict[str, Any]]:
    """Two texts."""
    return [
        {
            "text": f"[Verse]\nA song of the sandbox, number {task.seed(index) % 1_000}\n[Chorus]\nLa la la",
            "title": f"Song {index + 1}",
            "status": "complete",
            "errorMessage": "",
        }
        for index in range(2)
    ]


def midi() -> dict[str, Any]:
    """A few notes."""
    notes = [{"pitch": 60 + step, "start": step * 0.5, "end": step * 0.5 + 0.4, "velocity": 1} for step in range(4)]
    return {"state": "complete", "instruments": [{"name": "Piano", "notes": notes}]}


def _text_result(task: Task) -> dict[str, Any]:
    return {"language_code": "tr", "text": f"Sandbox konuşuyor, {task.seed(0) % 1_000}.", "words": []}
