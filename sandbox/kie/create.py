"""From a create request to a task: judged, priced, paced, planned."""

import os
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sandbox.control import Control
from sandbox.generation import unix_ms
from sandbox.kie import specs
from sandbox.kie.notation import BadInput, Spec, judge
from sandbox.kie.prices import price_of
from sandbox.kie.tasks import Outcome, Task, Tasks, new_task_id

AT_ONCE = ("persona", "timestamps", "style")
"""Shapes whose create call answers with the result."""

_SECONDS = {"image": (4, 10), "video": (30, 60), "audio": (3, 8), "text": (2, 6)}
_SONG_SECONDS = (20, 40)
_EXTENSIONS = {"image": "png", "video": "mp4", "audio": "mp3", "text": "txt"}
_RUN = os.urandom(6).hex()


class Creation:
    """Makes tasks under the faults in force."""

    def __init__(self, tasks: Tasks, control: Control) -> None:
        self._tasks = tasks
        self._control = control
        self._draws = control.kie_draws
        self._number = 0
        self._made_ms: deque[float] = deque()

    def judged(self, path: str, body: Any) -> tuple[Spec, dict[str, Any]]:
        """What is asked for, and its input. Raises BadInput."""
        if not isinstance(body, dict):
            raise BadInput(400, "The body is not a JSON object")
        spec: Spec
        given: Any = body
        if path != "/jobs/createTask":
            spec = specs.endpoints()[path]
        else:
            found = specs.market().get(body["model"]) if isinstance(body.get("model"), str) else None
            if found is None:
                raise BadInput(422, "The model name you specified is not supported.")
            spec, given = found, body.get("input")
        judge(spec, given, self._control.kie.refuse_unknown)
        callback = body.get("callBackUrl")
        if callback is not None and (not isinstance(callback, str) or not callback.startswith(("http://", "https://"))):
            raise BadInput(422, "callBackUrl must be an http(s) URL")
        specs.judge_together(spec, given)
        self._judge_references(spec, given)
        return spec, given

    def pace(self) -> None:
        """Raises BadInput 429 when this window's creates are used up; they are rejected, not queued."""
        faults = self._control.kie
        now_ms = unix_ms()
        while self._made_ms and self._made_ms[0] <= now_ms - faults.create_window_s * 1_000:
            self._made_ms.popleft()
        if faults.creates_per_window and len(self._made_ms) >= faults.creates_per_window:
            raise BadInput(429, "Your request frequency is too high, please try again later.")

    def price(self, spec: Spec, given: Mapping[str, Any]) -> Decimal:
        """The task's credits. Raises BadInput 402 when there are not so many left, 422 for what has no price."""
        try:
            credits = price_of(spec).credits({**spec.defaults(), **given})
        except LookupError:
            raise BadInput(422, "This combination of parameters is not supported") from None
        if credits > self._control.kie.credits - self._tasks.charged:
            raise BadInput(402, "Credits insufficient")
        return credits

    def make(self, spec: Spec, given: dict[str, Any], body: dict[str, Any], credits: Decimal, traceparent: str) -> Task:
        """A task with its fate, kept."""
        self._number += 1
        now_ms = unix_ms()
        outcome = self._outcome(spec)
        image_format = str(given.get("output_format") or given.get("outputFormat") or "png")
        task = Task(
            id=new_task_id(self._number, _RUN, spec.family == "market"),
            family=spec.family,
            shape=spec.shape,
            model=spec.name,
            result=spec.result,
            created_ms=now_ms,
            takes_ms=self._takes_ms(spec),
            outcome=outcome,
            credits=f"{credits:f}",
            results=_results(spec, {**spec.defaults(), **given}),
            extension="wav" if spec.shape == "wav" else _EXTENSIONS[spec.result],
            shown_input=shown_input(spec, given) | ({"image_format": image_format} if spec.result == "image" else {}),
            callback_url=str(body.get("callBackUrl") or ""),
            fail_code=self._control.kie.fail_code if outcome == "fail" else 0,
            dead=self._draws.hit("dead_results", self._control.kie.dead_results_rate),
            truncated=self._draws.hit("truncated_results", self._control.kie.truncated_results_rate),
            reference=str(given.get("audioId") or given.get("taskId") or given.get("task_id") or ""),
            traceparent=traceparent,
            body=body,
        )
        self._tasks.add(task)
        self._made_ms.append(now_ms)
        return task

    def sub_task(self, parent: Task, name: str, credits: str) -> Task:
        """A Veo video in another resolution: a task of its own, once for each parent."""
        found = self._tasks.find(lambda task: task.model == name and task.reference == parent.id)
        if found is not None:
            return found
        self._number += 1
        takes_ms = (
            5_000 * self._control.kie.time_scale if self._control.kie.task_ms is None else self._control.kie.task_ms
        )
        task = Task(
            id=new_task_id(self._number, _RUN, market=False),
            family="veo",
            shape="veo",
            model=name,
            result="video",
            created_ms=unix_ms(),
            takes_ms=takes_ms,
            outcome="success",
            credits=credits,
            results=1,
            extension="mp4",
            shown_input={"resolution": "4k" if "4k" in name else "1080p"},
            reference=parent.id,
        )
        self._tasks.add(task)
        return task

    def _judge_references(self, spec: Spec, given: Mapping[str, Any]) -> None:
        name = "taskId" if "taskId" in spec.fields else "task_id"
        task_id = given.get(name)
        if not task_id or name not in spec.fields:
            return
        parent = self._tasks.get(task_id)
        if parent is None or parent.outcome == "forgotten":
            raise BadInput(422, f"{name}: record is null")
        if parent.status(unix_ms()) != "completed":
            raise BadInput(422, f"{name}: the task is not completed")
        audio_id = given.get("audioId")
        if audio_id and audio_id not in parent.song_ids():
            raise BadInput(422, "audioId does not belong to the task")
        if spec.shape == "wav" and self._tasks.find(lambda task: task.shape == "wav" and task.reference == audio_id):
            raise BadInput(409, "WAV record already exists")

    def _outcome(self, spec: Spec) -> Outcome:
        faults, draws = self._control.kie, self._draws
        if faults.only_models and spec.name not in faults.only_models:
            return "success"
        if draws.hit("forget", faults.forget_rate):
            return "forgotten"
        if draws.hit("hang", faults.hang_rate):
            return "hang"
        if draws.hit("fail", faults.fail_rate):
            return "fail"
        exceptional = spec.family == "suno" and draws.hit("callback_exception", faults.callback_exception_rate)
        return "callback_exception" if exceptional else "success"

    def _takes_ms(self, spec: Spec) -> float:
        if spec.shape in AT_ONCE:
            return 0.0
        if self._control.kie.task_ms is not None:
            return float(self._control.kie.task_ms)
        least, most = _SONG_SECONDS if spec.shape == "music" else _SECONDS[spec.result]
        return (least + (most - least) * self._draws.share("takes")) * 1_000 * self._control.kie.time_scale


def _results(spec: Spec, given: Mapping[str, Any]) -> int:
    if spec.shape in ("music", "lyrics", "cover"):
        return 2
    if spec.shape == "vocal":
        return 12 if given["type"] == "split_stem" else 2
    if spec.name == "grok-imagine/text-to-image":
        return 2
    if spec.name == "seedream/5-pro-layer-decomposition":
        return 4
    for name in ("num_images", "max_images", "n"):
        if name in given:
            return int(given[name])
    return 1


def shown_input(spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The input without anything that a person wrote: texts and URLs are only counted."""
    shown: dict[str, Any] = {}
    for name, value in given.items():
        field = spec.fields.get(name)
        if name == "callBackUrl":
            continue
        if isinstance(value, bool | int | float) or (isinstance(value, str) and field and value in field.values):
            shown[name] = value
        elif isinstance(value, str):
            shown[name] = f"({len(value)} characters)"
        else:
            shown[name] = f"({len(value) if isinstance(value, list | dict) else 0} items)"
    return shown
