"""Bad inputs are refused before anything is held, with a text that says which parameter, and what it may be."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from core.media import refusals
from core.media.catalogue import load
from core.media.prepare import prepare
from core.media.pricing import quote
from runtime.errors import Refusal, in_language
from tests.core.media.images import URL, data_uri, png

CATALOGUE = load()
T2I = "seedream/4.5-text-to-image"
I2I = "seedream/4.5-edit"
TTS = "elevenlabs/text-to-speech-multilingual-v2"
SECRET = "gizli-istem"

BAD: list[tuple[str, dict[str, Any], str]] = [
    # parameters
    (T2I, {}, "prompt: is required"),
    (T2I, {"prompt": ""}, "prompt: is required"),
    (T2I, {"prompt": 5}, "prompt: must be a string"),
    (T2I, {"prompt": ["x"]}, "prompt: must be a string"),
    (T2I, {"prompt": "x" * 3001}, "prompt: has at most 3000 characters"),
    (T2I, {"aspect_ratio": "5:7"}, "aspect_ratio: must be one of 1:1, 4:3"),
    (T2I, {"aspect_ratio": {}}, "aspect_ratio: must be one of"),
    (T2I, {"quality": "best"}, "quality: must be one of basic, high"),
    (T2I, {"n": 4}, "n: this model has no such parameter"),
    (T2I, {"num_images": 4}, "num_images: this model has no such parameter"),
    (T2I, {"resolution": "4K"}, "resolution: this model has no such parameter"),
    (T2I, {"callBackUrl": "https://evil.example.com"}, "callBackUrl: is not a parameter"),
    (T2I, {f"x{number}": 1 for number in range(40)}, "at most 32 unknown ones"),
    (T2I, {"x" * 65: 1}, "at most 32 unknown ones with short names"),
    (T2I, {"image_url": URL}, "image_url: this model takes no source image"),
    (T2I, {"video_url": URL}, "video_url: this model takes no source video"),
    (T2I, {"nsfw_checker": "maybe"}, "nsfw_checker: must be true or false"),
    ("z-image", {"prompt": "x" * 1001}, "prompt: has at most 1000 characters"),
    ("google/imagen4-fast", {"seed": 1.5}, "seed: must be a whole number"),
    ("google/imagen4-fast", {"seed": "x"}, "seed: must be a number"),
    ("bytedance/seedream-v4-text-to-image", {"max_images": 7}, "max_images: must be from 1 to 6"),
    ("bytedance/seedream-v4-text-to-image", {"max_images": 0}, "max_images: must be from 1 to 6"),
    ("bytedance/seedance-2", {"duration": -5}, "duration: must be from 4 to 15"),
    ("bytedance/seedance-2", {"duration": 10**9}, "duration: must be from 4 to 15"),
    ("bytedance/seedance-2", {"duration": float("nan")}, "duration: must be a number"),
    ("bytedance/seedance-2", {"duration": True}, "duration: must be a number"),
    ("kling-2.6/text-to-video", {"duration": 7}, "duration: must be one of 5, 10"),
    ("kling-2.6/text-to-video", {"sound": 1}, "sound: must be true or false"),
    ("veo3", {"duration": 5}, "duration: must be one of 4, 6, 8"),
    ("veo3", {"generationType": "REFERENCE_2_VIDEO"}, "must be one of TEXT_2_VIDEO"),
    ("veo3", {"image_url": [URL] * 4}, "image_url: at most 3 item(s)"),
    ("runway", {"duration": 10, "quality": "1080p"}, "duration: must be one of 5 with quality 1080p"),
    ("hailuo/2-3-image-to-video-pro", {"image_url": URL, "resolution": "1080P", "duration": 10}, "must be one of 6"),
    ("google/nano-banana-2-1k", {"resolution": "2K"}, "resolution: is always 1K"),
    ("google/nano-banana-2", {"image_url": [URL] * 15}, "image_url: at most 14 item(s)"),
    # speech and music
    (TTS, {"voice": "rachel"}, "voice: must be one of Rachel"),
    (TTS, {"voice": "RACHEL"}, "voice: must be one of Rachel"),
    (TTS, {"voice": 5}, "voice: must be one of Rachel"),
    (TTS, {"prompt": "x" * 5001}, "prompt: has at most 5000 characters"),
    (TTS, {"speed": 2}, "speed: must be from 0.7 to 1.2"),
    (TTS, {"text": "y"}, "is given twice"),
    ("elevenlabs/v3-text-to-dialogue", {"prompt": "x", "voice": "Nobody"}, "voice: must be one of"),
    ("elevenlabs/v3-text-to-dialogue", {"prompt": None, "dialogue": []}, "dialogue: must be a list of 1 to 200"),
    (
        "elevenlabs/v3-text-to-dialogue",
        {"prompt": None, "dialogue": [{"voice": "Will"}]},
        "must be an object with a text",
    ),
    ("elevenlabs/v3-text-to-dialogue", {"prompt": "x" * 5001}, "at most 5000 characters in all"),
    ("elevenlabs/text-to-dialogue-v3", {"stability": 0.3}, "stability: must be one of"),
    ("elevenlabs/sound-effect-v2", {"duration_seconds": 23}, "duration_seconds: must be from 0.5 to 22"),
    ("elevenlabs/audio-isolation", {}, "audio_url: is required"),
    ("suno-v4", {"prompt": "x" * 501}, "prompt: has at most 500 characters"),
    ("suno-v4", {"custom_mode": True, "style": "pop"}, "title: is required with custom_mode true"),
    ("suno-v4", {"custom_mode": True, "style": "x" * 201, "title": "t"}, "style: has at most 200 characters"),
    ("suno-v4", {"custom_mode": True, "style": "pop", "title": "t" * 81}, "title: has at most 80 characters"),
    ("suno-v4", {"vocal_gender": "robot"}, "vocal_gender: must be one of m, f"),
    ("suno-v4", {"model_version": "V5"}, "model_version: is always V4"),
    ("ai-music-api/mashup", {"uploadUrlList": [URL]}, "uploadUrlList: at least 2 item(s)"),
    ("ai-music-api/convert-to-wav-format", {}, "task_id: is required"),
    # sources that are missing, or are no image
    (I2I, {}, "image_url: is required"),
    (I2I, {"image_url": []}, "image_url: at least 1 item(s)"),
    (I2I, {"image_url": [URL] * 15}, "image_url: at most 14 item(s)"),
    (I2I, {"image_url": 5}, "image_url: must be a URL"),
    (I2I, {"image_url": [URL, None]}, "image_url: must be a URL"),
    (I2I, {"image_url": {"url": URL}}, "image_url: must be a URL"),
    (I2I, {"image_url": data_uri(b"just some text in a file called kedi.png")}, "no PNG, JPEG, WebP or GIF"),
    (I2I, {"image_url": data_uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")}, "no PNG, JPEG"),
    (I2I, {"image_url": data_uri(b"\x89PNG\r\n\x1a\n" + b"x" * 60)}, "no PNG, JPEG"),
    (I2I, {"image_url": "data:image/png;base64,@@@@"}, "is not valid base64"),
    (I2I, {"image_url": "data:image/png;base64,iVBORw0KGgo"}, "is not valid base64"),
    (I2I, {"image_url": "data:image/png;base64,"}, "the image is empty"),
    (I2I, {"image_url": "data:image/png,plain"}, "must be of the form data:image/png;base64,"),
    (I2I, {"image_url": "data:"}, "must be of the form"),
    ("ideogram/v3-edit", {"image_url": URL}, "mask_url: is required"),
    ("qwen/image-to-image", {"image_url": [URL, URL]}, "image_url: this model takes at most 1 image(s)"),
    ("infinitalk/from-audio", {"image_url": URL, "audio_url": data_uri(png())}, "audio must be a public http(s) URL"),
    ("grok-imagine/image-to-video", {}, "image_url / task_id: one of them is required"),
    # URLs that mean something inside a network only
    *[
        (I2I, {"image_url": url}, "image_url: ")
        for url in (
            "http://169.254.169.254/latest/meta-data/",
            "http://localhost/x.png",
            "http://LOCALHOST:8080/x.png",
            "http://127.0.0.1/x.png",
            "http://127.1/x.png",
            "http://2130706433/x.png",
            "http://0x7f000001/x.png",
            "http://0x7f.0.0.1/x.png",
            "http://017700000001/x.png",
            "http://0177.0.0.1/x.png",
            "http://10.0.0.5/x.png",
            "http://172.16.3.4/x.png",
            "http://192.168.1.1/x.png",
            "http://100.64.0.1/x.png",
            "http://0.0.0.0/x.png",
            "http://224.0.0.1/x.png",
            "http://255.255.255.255/x.png",
            "http://１２７.0.0.1/x.png",
            "http://127。0。0。1/x.png",
            "http://[::1]/x.png",
            "http://[::]/x.png",
            "http://[::ffff:127.0.0.1]/x.png",
            "http://[::ffff:a9fe:a9fe]/x.png",
            "http://[::127.0.0.1]/x.png",
            "http://[64:ff9b::a9fe:a9fe]/x.png",
            "http://[2002:7f00:1::]/x.png",
            "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/x.png",
            "http://[fe80::1]/x.png",
            "http://[fe80::1%25eth0]/x.png",
            "http://[fc00::1]/x.png",
            "http://[fec0::1]/x.png",
            "http://printer/x.png",
            "http://nas.local/x.png",
            "http://metadata.google.internal/x.png",
            "http://127.0.0.1.nip.io/x.png",
            "http://user:pass@example.com/x.png",
            "http://example.com\\@127.0.0.1/x.png",
            "http://exa mple.com/x.png",
            "http://example.com/a\r\nHost: x",
            "http:///x.png",
            "http://example.com:0/x.png",
            "http://example.com:99999/x.png",
            "http://1.2.3.4.5/x.png",
            "http://%31%32%37.0.0.1/x.png",
            "ftp://example.com/x.png",
            "file:///etc/passwd",
            "gopher://example.com/1",
            "javascript:alert(1)",
            "//example.com/x.png",
            "example.com/x.png",
            "x",
            "https://example.com/" + "x" * 5000,
        )
    ],
]


@pytest.mark.parametrize(("model_id", "request_", "text"), BAD, ids=[f"{n}-{row[0]}" for n, row in enumerate(BAD)])
def test_a_bad_input_is_refused_with_a_clear_text(model_id: str, request_: dict[str, Any], text: str) -> None:
    model = CATALOGUE.find(model_id)
    whole = {"prompt": SECRET, **request_} if (model.text and request_ != {}) or model_id == I2I else dict(request_)
    with pytest.raises(Refusal) as refusal:
        quote(model, prepare(model, whole))
    assert refusal.value.error.code == "invalid_request"
    turkish, english = (in_language(refusal.value.detail, english=each) for each in (False, True))
    assert text in english
    assert english.partition(": ")[0] == turkish.partition(": ")[0]
    assert turkish != english, "a customer who reads Turkish gets an English text"
    assert SECRET not in refusal.value.detail
    assert len(english) < 600


def phrases_in_use() -> set[str]:
    """Every text that is given to `refused`, from the source."""
    found = set()
    for path in Path(refusals.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "refused":
                found.add(ast.unparse(node.args[1]))
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).lstrip("(").startswith("phrase"):
                found |= {repr(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    return {ast.literal_eval(text) for text in found if text.startswith(("'", '"'))}


def test_every_phrase_has_its_turkish() -> None:
    unused = {phrase for phrase in phrases_in_use() if isinstance(phrase, str) and phrase not in refusals._TURKISH}
    assert not unused
    for english, turkish in refusals._TURKISH.items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", turkish)), english


def test_there_are_enough_of_them() -> None:
    assert len(BAD) > 100


def test_an_image_over_ten_megabytes_is_too_large() -> None:
    model = CATALOGUE.find(I2I)
    with pytest.raises(Refusal) as refusal:
        prepare(model, {"prompt": "x", "image_url": data_uri(png(11_000_000))})
    assert refusal.value.error.code == "payload_too_large"
    assert prepare(model, {"prompt": "x", "image_url": data_uri(png(10_000_000))}).embedded


@pytest.mark.parametrize(
    "model_id", ["sora-2", "wan/2-6-flash-image-to-video", "kling-3.0-omni/image-to-video", "nobody"]
)
def test_what_is_off_or_unpriced_cannot_be_called(model_id: str) -> None:
    with pytest.raises(Refusal) as refusal:
        CATALOGUE.find(model_id)
    assert refusal.value.error.code == "model_not_found"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cat.png",
        "http://example.com:8080/cat.png?x=1&y=%20z#f",
        "https://8.8.8.8/cat.png",
        "https://[2606:4700::1111]/cat.png",
        "https://görsel.example.com.tr/kedi.png",
        "https://cdn-1.example_host.com/x",
        "https://example.com./cat.png",
    ],
)
def test_public_urls_pass(url: str) -> None:
    assert prepare(CATALOGUE.find(I2I), {"prompt": "x", "image_url": url}).input["image_urls"] == [url]
