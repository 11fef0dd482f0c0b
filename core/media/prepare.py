"""From a caller's parameters to the provider's input: mapped, filled in, checked, before anything is held."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.media import values
from core.media.refusals import refused
from core.media.schema import REFERENCE_TYPES, Field, MediaModel, holds, shown_values
from core.media.sources import Embedded, check_url, decoded_image

UNKNOWN_PARAMETERS_MAX = 32
PARAMETER_NAME_MAX = 64
SOURCE_PARAMETERS = ("image_url", "image_urls", "video_url", "audio_url")

OWN_PARAMETERS = frozenset(("model", "callback_url"))
"""Parameters of the gateway's own, which no provider sees."""

_NEVER_PASSED = frozenset(("callBackUrl", "callbackUrl", "call_back_url", "taskType"))
_COSTLY = frozenset(
    {
        "n",
        "num_images",
        "max_images",
        "number_of_images",
        "nVariants",
        "n_variants",
        "duration",
        "duration_seconds",
        "n_frames",
        "num_frames",
        "batch_size",
        "num_outputs",
        "output_resolution",
        "resolution",
        "quality",
        "image_resolution",
        "mode",
    }
)
"""What would change the provider's cost unseen, where the model's schema has no such parameter."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "aspect_ratio": ("aspectRatio", "ratio", "image_size", "size"),
    "duration": ("duration_seconds",),
    "duration_seconds": ("duration",),
    "negative_prompt": ("negativeTags",),
    "audio_url": ("uploadUrl",),
    "model_version": ("model",),
}
_SIZES = {
    "1:1": "square_hd",
    "4:3": "landscape_4_3",
    "3:4": "portrait_4_3",
    "16:9": "landscape_16_9",
    "9:16": "portrait_16_9",
    "3:2": "landscape_3_2",
    "2:3": "portrait_3_2",
    "21:9": "landscape_21_9",
}
_GENDERS = {"female": "f", "male": "m"}
_SNAKE = re.compile(r"_([a-z])")


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that names what an earlier task made.

    `kind` is `task` or `song`; `value` is what the caller wrote: the gateway's own task id, or a song's id, or None
    where the first song of the referred task is meant.
    """

    field: str
    kind: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that fits its model. `input` lacks embedded images and references until `filled`."""

    input: Mapping[str, Any]
    embedded: tuple[Embedded, ...] = ()
    references: tuple[Reference, ...] = ()

    def filled(self, urls: Sequence[str] = (), references: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The provider's input with `urls` for the embedded images, in order, and provider ids by referring field."""
        if len(urls) != len(self.embedded):
            raise ValueError("there is one URL for each embedded image")
        whole = {name: list(value) if isinstance(value, list) else value for name, value in self.input.items()}
        for image, url in zip(self.embedded, urls, strict=True):
            if image.index is None:
                whole[image.field] = url
            else:
                whole[image.field][image.index] = url
        return whole | dict(references or {})


def prepare(model: MediaModel, request: Mapping[str, Any]) -> Prepared:
    """What the provider is to be asked, for a caller's JSON object.

    Raises Refusal: invalid_request with a text that names the caller's parameter and what is allowed, or
    payload_too_large for an image over 10 MB.
    """
    return _Preparation(model).run(request)


def provider_request(model: MediaModel, whole_input: Mapping[str, Any], callback_url: str = "") -> dict[str, Any]:
    """The body of the create call (`POST model.endpoint`) for an input that `filled` gave."""
    body: dict[str, Any]
    if model.family == "market":
        body = {"model": model.provider_model, "input": dict(whole_input)}
    else:
        body = dict(whole_input)
    if callback_url and model.callback != "none":
        body["callBackUrl"] = callback_url
    return body


class _Preparation:
    def __init__(self, model: MediaModel) -> None:
        self._model = model
        self._given: dict[str, tuple[str, Any]] = {}
        self._unknown: dict[str, Any] = {}
        self._embedded: list[Embedded] = []
        self._names: dict[str, str] = {}
        self._voice: Any = values.DEFAULT_VOICE

    def run(self, request: Mapping[str, Any]) -> Prepared:
        for name, value in request.items():
            if value is not None and value != "" and name not in OWN_PARAMETERS:
                self._take(name, value)
        read = self._fill({name: self._read(name, shown, value) for name, (shown, value) in self._given.items()})
        self._check_rules(read)
        references = self._references(read)
        whole = {name: read[name] for name in self._model.fields if name in read}
        whole |= {name: value for name, value in self._model.fixed.items() if name not in whole}
        return Prepared(whole | self._unknown, tuple(self._embedded), references)

    # Whose parameter is it?

    def _take(self, name: str, value: Any) -> None:
        if name in _NEVER_PASSED:
            raise refused(name[:PARAMETER_NAME_MAX], "is not a parameter; callback_url is")
        field = self._field_for(name)
        if name in ("image_url", "image_urls") and self._model.images and (field == "" or name == "image_url"):
            self._spread_images(name, value)
        elif field:
            self._put(field, name, self._translated(field, name, value))
        elif name in SOURCE_PARAMETERS:
            raise refused(name, "this model takes no source {kind}", kind=name.partition("_")[0])
        elif name in ("prompt", "text") and not self._model.text:
            return
        elif name == "voice" and "dialogue" in self._model.fields:
            self._voice = value
        elif name in _COSTLY:
            raise refused(name, "this model has no such parameter")
        else:
            self._pass_on(name, value)

    def _field_for(self, name: str) -> str:
        fields, model = self._model.fields, self._model
        if name in ("prompt", "text") and model.text and name not in fields:
            return model.text
        if name in fields:
            return name
        for other in _SYNONYMS.get(name, ()):
            if other in fields:
                return other
        camel = _SNAKE.sub(lambda match: match.group(1).upper(), name)
        if camel in fields:
            return camel
        if name in ("video_url", "audio_url"):
            return model.first_field(name.partition("_")[0])
        return ""

    def _put(self, field: str, shown: str, value: Any) -> None:
        if field in self._given:
            raise refused(shown, "is given twice; {other} is the same parameter", other=self._given[field][0])
        self._given[field] = (shown, value)
        self._names[field] = shown

    def _spread_images(self, shown: str, value: Any) -> None:
        fields = self._model.images
        if self._model.fields[fields[0]].is_list:
            self._put(fields[0], shown, value)
            return
        images = value if isinstance(value, list) else [value]
        if not images:
            return
        if len(images) > len(fields):
            raise refused(shown, "this model takes at most {most} image(s) here", most=len(fields))
        for field, image in zip(fields, images, strict=False):
            self._put(field, shown, image)

    def _translated(self, field: str, shown: str, value: Any) -> Any:
        if field == "image_size" and shown == "aspect_ratio" and isinstance(value, str):
            return value if value in self._model.fields[field].enum else _SIZES.get(value, value)
        if field == "vocalGender" and isinstance(value, str):
            return _GENDERS.get(value, value)
        return value

    def _pass_on(self, name: str, value: Any) -> None:
        if len(name) > PARAMETER_NAME_MAX or len(self._unknown) >= UNKNOWN_PARAMETERS_MAX:
            phrase = "at most {most} unknown ones with short names are passed on"
            raise refused("parameters", phrase, most=UNKNOWN_PARAMETERS_MAX)
        self._unknown[name] = value

    # What is it worth?

    def _read(self, name: str, shown: str, value: Any) -> Any:
        field = self._model.fields[name]
        if name == "dialogue":
            return values.dialogue(field, shown, value, self._voice)
        if not field.source:
            return values.read(field, shown, value)
        items = value if isinstance(value, list) else [value]
        if not field.is_list and len(items) != 1:
            raise refused(shown, "must be one URL, not a list")
        values.check_count(field, shown, len(items))
        urls = [self._source(field, shown, item, index) for index, item in enumerate(items)]
        return urls if field.is_list else urls[0]

    def _source(self, field: Field, shown: str, value: Any, index: int) -> str:
        if not isinstance(value, str) or not value:
            raise refused(shown, "must be a URL, or a list of URLs")
        if value[:5].lower() != "data:":
            check_url(shown, value)
            return value
        if field.source != "image":
            raise refused(shown, "{kind} must be a public http(s) URL", kind=field.source)
        content_type, data = decoded_image(shown, value)
        self._embedded.append(Embedded(field.name, index if field.is_list else None, content_type, data))
        return ""

    def _fill(self, read: dict[str, Any]) -> dict[str, Any]:
        model = self._model
        priced = model.price.fields if model.price else frozenset()
        for name, value in model.fixed.items():
            if name in read and read[name] != value:
                raise refused(self._shown(name), "is always {value} with this model", value=value)
        read |= model.fixed
        for field in model.fields.values():
            if field.name in read or not (field.required or field.name in priced):
                continue
            if field.default is not None:
                default = field.default
                read[field.name] = values.read(field, field.name, default) if field.type == "voice" else default
            elif field.required and field.type != "song":
                raise refused(self._shown(field.name), "is required")
        return read

    # Does it fit together?

    def _check_rules(self, read: Mapping[str, Any]) -> None:
        effective = self._model.effective(read)
        for names in self._model.any_of:
            if not any(read.get(name) or self._is_embedded(name) for name in names):
                shown = list(dict.fromkeys(self._shown(name) for name in names))
                phrase = "one of them is required" if len(shown) > 1 else "is required"
                raise refused(" / ".join(shown), phrase)
        for rule in self._model.rules:
            if not holds(rule.when, effective):
                continue
            because = " and ".join(f"{self._shown(name)} {shown_values([value])}" for name, value in rule.when.items())
            for name in rule.required:
                if read.get(name) in (None, ""):
                    raise refused(self._shown(name), "is required with {because}", because=because)
            value = read.get(rule.field)
            if rule.enum and value is not None and value not in rule.enum:
                phrase, allowed = "must be one of {allowed} with {because}", shown_values(rule.enum)
                raise refused(self._shown(rule.field), phrase, allowed=allowed, because=because)
            if rule.max_length is not None and isinstance(value, str) and len(value) > rule.max_length:
                phrase = "has at most {most} characters with {because}"
                raise refused(self._shown(rule.field), phrase, most=rule.max_length, because=because)

    def _is_embedded(self, name: str) -> bool:
        return any(image.field == name for image in self._embedded)

    def _references(self, read: dict[str, Any]) -> tuple[Reference, ...]:
        found = []
        for field in self._model.fields.values():
            if field.type in REFERENCE_TYPES and (field.name in read or field.required):
                found.append(Reference(field.name, field.type, read.pop(field.name, None)))
        return tuple(found)

    def _shown(self, name: str) -> str:
        """The parameter as the caller knows it."""
        if name in self._names:
            return self._names[name]
        if name == self._model.text:
            return "prompt"
        if name in self._model.images:
            return "image_url"
        if name == self._model.first_field("video") or name == self._model.first_field("audio"):
            return f"{self._model.fields[name].source}_url"
        if name == "model":
            return "model_version"
        return name if name.islower() else re.sub(r"([A-Z])", lambda match: "_" + match.group(1).lower(), name)
