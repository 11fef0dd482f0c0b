"""A caller sends a prompt and perhaps an image; what the provider gets must be what it demands."""

import base64
from typing import Any

import pytest

from core.media.catalogue import load
from core.media.prepare import Prepared, Reference, prepare, provider_request
from core.media.schema import MediaModel
from runtime.errors import Refusal
from tests.core.media.images import AUDIO_URL, GIF, JPEG, URL, VIDEO_URL, WEBP, data_uri, png
from tests.core.media.obvious import PROMPT, obvious_request

CATALOGUE = load()
CALLABLE = CATALOGUE.callable_models()


def prepared(model_id: str, **request: Any) -> Prepared:
    return prepare(CATALOGUE.find(model_id), {"model": model_id, **request})


def sent(model_id: str, **request: Any) -> dict[str, Any]:
    return dict(prepared(model_id, **request).input)


@pytest.mark.parametrize("model", CALLABLE, ids=lambda model: model.id)
def test_every_model_takes_the_obvious(model: MediaModel) -> None:
    """Nobody reads 150 schemas: with a prompt, and a source where the model is about one, it must work."""
    request = prepare(model, obvious_request(model))
    references = {each.field: "id-at-the-provider" for each in request.references}
    whole = request.filled(references=references)
    for field in model.fields.values():
        assert not field.required or field.name in whole, f"{field.name} is missing"
    assert not set(whole) - set(model.fields) - set(model.fixed)
    body = provider_request(model, whole, "https://gateway.example.com/cb")
    assert body["callBackUrl" if model.callback != "none" else next(iter(body))]


@pytest.mark.parametrize(
    ("model_id", "field"),
    [
        ("qwen/image-to-image", "image_url"),
        ("seedream/4.5-edit", "image_urls"),
        ("flux-2/pro-image-to-image", "input_urls"),
        ("google/nano-banana-2", "image_input"),
        ("recraft/remove-background", "image"),
        ("runway", "imageUrl"),
        ("veo3", "imageUrls"),
        ("flux-kontext-pro", "inputImage"),
        ("gpt4o-image", "filesUrl"),
        ("bytedance/seedance-2", "first_frame_url"),
        ("ideogram/character", "reference_image_urls"),
        ("happyhorse/reference-to-video", "reference_image"),
    ],
)
def test_the_one_image_url_goes_where_the_model_wants_it(model_id: str, field: str) -> None:
    value = sent(model_id, prompt=PROMPT, image_url=URL)[field]
    assert value == ([URL] if CATALOGUE.find(model_id).fields[field].is_list else URL)


def test_a_list_of_images_is_spread_over_first_and_last_frame() -> None:
    whole = sent("bytedance/seedance-2", prompt=PROMPT, image_url=[URL, URL + "?2"])
    assert (whole["first_frame_url"], whole["last_frame_url"]) == (URL, URL + "?2")


def test_the_prompt_is_the_text_of_what_is_spoken() -> None:
    whole = sent("elevenlabs/text-to-speech-multilingual-v2", prompt="Merhaba")
    assert whole == {"text": "Merhaba", "voice": "Rachel"}
    whole = sent("elevenlabs/v3-text-to-dialogue", prompt="Merhaba", voice="Brian")
    assert whole == {"dialogue": [{"text": "Merhaba", "voice": "Brian"}]}
    whole = sent("elevenlabs/text-to-dialogue-v3", dialogue=[{"text": "A"}, {"text": "B", "voice": "Will"}])
    assert [turn["voice"] for turn in whole["dialogue"]] == ["Rachel", "Will"]


def test_the_services_music_parameters_are_sunos() -> None:
    whole = sent(
        "suno-v4", prompt=PROMPT, custom_mode=True, style="pop", title="Kedi", vocal_gender="female", instrumental=False
    )
    assert whole["vocalGender"] == "f"
    assert (whole["customMode"], whole["instrumental"], whole["model"]) == (True, False, "V4")
    assert sent("ai-music-api/generate", prompt=PROMPT, model_version="V5")["model"] == "V5"


def test_durations_are_strings_or_numbers_as_the_provider_has_it() -> None:
    assert sent("kling-2.6/text-to-video", prompt=PROMPT, duration=10)["duration"] == "10"
    assert sent("runway", prompt=PROMPT, duration="10")["duration"] == 10
    assert sent("bytedance/seedance-2", prompt=PROMPT, duration=7.0)["duration"] == 7
    assert sent("elevenlabs/sound-effect-v2", prompt="gök gürültüsü", duration=8)["duration_seconds"] == 8


def test_an_aspect_ratio_is_a_size_where_the_model_has_sizes() -> None:
    assert sent("ideogram/v3-text-to-image", prompt=PROMPT, aspect_ratio="16:9")["image_size"] == "landscape_16_9"
    assert sent("qwen2/text-to-image", prompt=PROMPT, aspect_ratio="16:9")["image_size"] == "16:9"
    assert sent("runway", prompt=PROMPT, aspect_ratio="16:9")["aspectRatio"] == "16:9"
    assert sent("gpt4o-image", prompt=PROMPT, aspect_ratio="3:2")["size"] == "3:2"


def test_required_parameters_and_what_the_price_hangs_on_are_filled_in() -> None:
    """The three that the service's documents name: seedream, gpt-image and flux-2."""
    assert sent("seedream/4.5-text-to-image", prompt="x") == {"aspect_ratio": "1:1", "quality": "basic", "prompt": "x"}
    assert sent("gpt-image/1.5-text-to-image", prompt="x") == {
        "aspect_ratio": "1:1",
        "quality": "medium",
        "prompt": "x",
    }
    assert sent("flux-2/pro-text-to-image", prompt="x") == {"aspect_ratio": "1:1", "resolution": "1K", "prompt": "x"}
    assert sent("google/nano-banana-2", prompt="x")["resolution"] == "1K"


def test_unknown_parameters_pass_and_the_gateways_own_do_not() -> None:
    whole = sent("z-image", prompt="x", watermark_text="kedi", callback_url="https://me.example.com", seed=None)
    assert whole == {"aspect_ratio": "1:1", "prompt": "x", "watermark_text": "kedi"}


@pytest.mark.parametrize(
    ("data", "content_type"),
    [(png(), "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
def test_an_embedded_image_has_to_be_hosted(data: bytes, content_type: str) -> None:
    """Its type is read from its content: callers often write image/png for all of them."""
    request = prepared("seedream/4.5-edit", prompt="x", image_url=[URL, data_uri(data)])
    (image,) = request.embedded
    assert (image.field, image.index, image.content_type, image.data) == ("image_urls", 1, content_type, data)
    assert request.filled(["https://gateway.example.com/f/1"])["image_urls"] == [URL, "https://gateway.example.com/f/1"]
    assert base64.b64encode(data).decode() not in repr(request)
    single = prepared("qwen/image-to-image", prompt="x", image_url=data_uri(data))
    assert single.filled(["https://g.example.com/2"])["image_url"] == "https://g.example.com/2"


def test_an_earlier_task_is_referred_to_and_resolved_later() -> None:
    request = prepared("ai-music-api/convert-to-wav-format", task_id="vtask_9")
    assert request.references == (Reference("taskId", "task", "vtask_9"), Reference("audioId", "song", None))
    assert request.filled(references={"taskId": "t", "audioId": "a"}) == {"taskId": "t", "audioId": "a"}


def test_one_id_may_be_a_model_with_a_fixed_input() -> None:
    assert sent("google/nano-banana-2-4k", prompt="x")["resolution"] == "4K"
    with pytest.raises(Refusal) as refusal:
        sent("google/nano-banana-2-1k", prompt="x", resolution="4K")
    assert "resolution: is always 1K" in refusal.value.detail


def test_bodies_are_of_the_familys_shape() -> None:
    model = CATALOGUE.find("google/nano-banana-pro-2k")
    body = provider_request(model, prepare(model, {"prompt": "x"}).filled(), "https://g.example.com/cb")
    assert body == {
        "model": "nano-banana-pro",
        "input": {"prompt": "x", "resolution": "2K"},
        "callBackUrl": "https://g.example.com/cb",
    }
    model = CATALOGUE.find("veo3")
    assert provider_request(model, prepare(model, {"prompt": "x"}).filled()) == {
        "prompt": "x",
        "resolution": "720p",
        "model": "veo3",
    }


def test_video_and_audio_urls_find_their_field() -> None:
    whole = sent("infinitalk/from-audio", prompt="x", image_url=URL, audio_url=AUDIO_URL)
    assert (whole["image_url"], whole["audio_url"]) == (URL, AUDIO_URL)
    assert sent("wan/2-6-video-to-video", prompt="x", video_url=VIDEO_URL)["video_urls"] == [VIDEO_URL]
    assert sent("ai-music-api/upload-and-cover-audio", prompt="x", audio_url=AUDIO_URL)["uploadUrl"] == AUDIO_URL
