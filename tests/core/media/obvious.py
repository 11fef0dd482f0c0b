"""What a person who read only a model's name would send: the least that makes sense."""

from typing import Any

from core.media.schema import MediaModel
from tests.core.media.images import AUDIO_URL, URL, VIDEO_URL

PROMPT = "Güneşli bir günde yürüyen kedi"

SPECIAL: dict[str, dict[str, Any]] = {
    "ideogram/v3-edit": {"mask_url": URL},
    "ideogram/character-edit": {"mask_url": URL, "reference_image_urls": [URL]},
    "ideogram/character-remix": {"reference_image_urls": [URL]},
    "pixverse-v6/transition": {"image_url": [URL, URL]},
    "pixverse-v6/reference-to-video": {"image_references": [{"image_url": URL}]},
    "ai-music-api/mashup": {"audio_url": None, "uploadUrlList": [AUDIO_URL, AUDIO_URL]},
    "ai-music-api/replace-section": {"tags": "pop", "infillStartS": 1.5, "infillEndS": 9.5},
    "wan/2-7-image-to-video": {"video_url": None},
    "wan/2-7-r2v": {"video_url": None},
    "minimax-h3/reference-to-video": {"video_url": None},
}


def obvious_request(model: MediaModel, task_id: str = "vtask_1") -> dict[str, Any]:
    """A prompt, and the source media or the earlier task without which the model makes no sense."""
    request: dict[str, Any] = {"model": model.id}
    if model.text:
        request["prompt"] = PROMPT
    needed = {name for names in model.any_of for name in names} | {
        field.name for field in model.fields.values() if field.required
    }
    urls = {"image": URL, "video": VIDEO_URL, "audio": AUDIO_URL}
    for name in needed & set(model.fields):
        field = model.fields[name]
        if field.source:
            request[f"{field.source}_url"] = urls[field.source]
        elif field.type == "task" and field.required:
            request["task_id"] = task_id
    request |= SPECIAL.get(model.id, {})
    return {name: value for name, value in request.items() if value is not None}
