"""What a media task is held and charged for: exact amounts from the provider's price list, never a guess."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.media.catalogue import BadCatalogue, load, parse
from core.media.prepare import prepare
from core.media.pricing import CREDIT_ATTO, Quote, price_list, quote
from core.media.schema import MediaModel
from core.pricing import ATTO, Tariff
from runtime.errors import Refusal
from tests.core.media.images import AUDIO_URL, URL, VIDEO_URL
from tests.core.media.obvious import obvious_request

CATALOGUE = load()


def cost(model_id: str, **request: Any) -> Quote:
    model = CATALOGUE.find(model_id)
    return quote(model, prepare(model, {"prompt": "x", **request} if model.text else request))


def usd(amount: str) -> int:
    return int(Decimal(amount) * ATTO)


@pytest.mark.parametrize(
    ("model_id", "request_", "price"),
    [
        # the service's own list
        ("seedream/5-lite-text-to-image", {}, "0.0275"),
        ("seedream/4.5-text-to-image", {}, "0.0325"),
        ("seedream/4.5-edit", {"image_url": URL}, "0.0325"),
        ("google/imagen4-fast", {}, "0.02"),
        ("google/imagen4", {}, "0.04"),
        ("google/imagen4-ultra", {}, "0.06"),
        ("google/nano-banana-2-1k", {}, "0.04"),
        ("google/nano-banana-pro-2k", {}, "0.09"),
        ("google/nano-banana-edit", {"image_url": URL}, "0.02"),
        ("flux-2/pro-text-to-image", {}, "0.025"),
        ("flux-2/flex-text-to-image", {}, "0.07"),
        ("elevenlabs/text-to-speech-multilingual-v2", {"prompt": "x" * 1000}, "0.06"),
        ("elevenlabs/text-to-speech-turbo-2-5", {"prompt": "ğ" * 500}, "0.015"),
        ("elevenlabs/v3-text-to-dialogue", {"prompt": "x" * 1000}, "0.07"),
        # conditions
        ("google/nano-banana-2", {"resolution": "4K"}, "0.09"),
        ("flux-2/flex-text-to-image", {"resolution": "2K"}, "0.12"),
        ("bytedance/seedream-v4-text-to-image", {"max_images": 3}, "0.075"),
        ("seedream/5-pro-image-to-image", {"image_url": [URL] * 4, "quality": "high"}, "0.0775"),
        ("qwen3/pro-image-to-image", {"image_url": [URL, URL]}, "0.037"),
        ("ideogram/character", {"image_url": URL, "num_images": 4, "rendering_speed": "QUALITY"}, "0.48"),
        ("grok-imagine/text-to-image", {"enable_pro": True}, "0.025"),
        ("kling-2.6/text-to-video", {"duration": 10, "sound": True}, "1.1"),
        ("kling-3.0/video", {"duration": 15, "mode": "pro", "sound": True}, "2.025"),
        ("wan/2-5-text-to-video", {"duration": 10, "resolution": "1080p"}, "1"),
        ("wan/2-6-text-to-video", {"duration": 15, "resolution": "720p"}, "1.0475"),
        ("bytedance/seedance-1.5-pro", {"duration": 4, "generate_audio": True, "resolution": "480p"}, "0.07"),
        ("bytedance/seedance-2", {"duration": 5, "resolution": "720p"}, "1.025"),
        ("bytedance/seedance-2", {"reference_video_urls": [VIDEO_URL], "resolution": "720p"}, "2.5"),
        ("hailuo/2-3-image-to-video-pro", {"image_url": URL, "resolution": "1080P"}, "0.4"),
        ("wan/2-2-a14b-speech-to-video-turbo", {"image_url": URL, "audio_url": AUDIO_URL}, "0.3"),
        ("gemini-omni-video", {"duration": 10, "resolution": "4k"}, "1.05"),
        ("gemini-omni-video", {"video_list": [{}]}, "0.84"),
        ("minimax-h3/reference-to-video", {"image_url": [URL] * 7}, "0.43"),
        ("veo3", {}, "1.25"),
        ("veo3-lite", {"resolution": "1080p"}, "0.175"),
        ("veo3-fast/extend", {"task_id": "vtask_1"}, "0.3"),
        ("runway", {"duration": 10}, "0.15"),
        ("suno-v5", {}, "0.06"),
        ("ai-music-api/separate-vocals", {"task_id": "v", "type": "split_stem"}, "0.25"),
        ("ai-music-api/cover-generate", {"task_id": "v"}, "0"),
        ("gpt4o-image", {}, "0.03"),
        ("flux-kontext-max", {}, "0.05"),
        # bounds
        ("infinitalk/from-audio", {"image_url": URL, "audio_url": AUDIO_URL}, "0.225"),
        ("topaz/image-upscale", {"image_url": URL, "upscale_factor": 4}, "0.2"),
        ("elevenlabs/sound-effect-v2", {}, "0.0264"),
    ],
)
def test_prices(model_id: str, request_: dict[str, Any], price: str) -> None:
    assert cost(model_id, **request_).cost_atto == usd(price)


@pytest.mark.parametrize("model", CATALOGUE.callable_models(), ids=lambda model: model.id)
def test_every_model_that_can_be_called_has_a_price_that_can_be_computed_again(model: MediaModel) -> None:
    quoted = quote(model, prepare(model, obvious_request(model)))
    assert quoted.cost_atto > 0 or (model.price and model.price.free)
    assert quoted.cost_atto == int(Decimal(quoted.units["credits"]) * CREDIT_ATTO)
    assert len(quoted.price_version) == 8
    assert all(isinstance(value, str) for value in quoted.units.values())


def test_a_settlement_can_be_recomputed_from_its_units() -> None:
    quoted = cost("kling-3.0/video", duration=4, mode="std", sound=False)
    assert quoted.units == {"mode": "std", "sound": "false", "unit": "second", "count": "4", "credits": "56"}


def test_an_exact_price_is_settled_as_it_was_quoted_and_a_bound_by_the_providers_figure() -> None:
    exact = cost("google/imagen4")
    assert exact.exact
    assert exact.settled_atto("99") == exact.cost_atto
    bound = cost("infinitalk/from-audio", image_url=URL, audio_url=AUDIO_URL)
    assert not bound.exact
    assert bound.settled_atto("12.5") == usd("0.0625")
    assert bound.settled_atto(7.5) == usd("0.0375")
    for nonsense in (None, "NaN", "-1", "x", "1e999999", True, "Infinity"):
        assert bound.settled_atto(nonsense) == bound.cost_atto  # type: ignore[arg-type]


def test_a_combination_that_is_not_sold_is_refused() -> None:
    model = CATALOGUE.find("runway")
    prepared = prepare(model, {"prompt": "x"})
    odd = replace(prepared, input={**prepared.input, "duration": 10, "quality": "1080p"})
    with pytest.raises(Refusal) as refusal:
        quote(model, odd)
    assert "duration / quality" in refusal.value.detail


def test_an_account_sees_its_own_prices() -> None:
    rows = price_list(CATALOGUE.find("google/nano-banana-2"), Tariff(5_000, 40_000_000_000))
    assert rows[0] == {"unit": "image", "price": "2.4", "when": {"resolution": "1K"}}
    assert price_list(CATALOGUE.find("google/nano-banana-2-4k"), Tariff(0, 10**9)) == [
        {"unit": "image", "price": "0.09", "when": {}}
    ]
    assert price_list(CATALOGUE.find("veo3"), Tariff(0, 10**9))[0] == {
        "unit": "clip",
        "price": "1.25",
        "when": {"resolution": "720p"},
    }


def one(**row: Any) -> dict[str, Any]:
    whole = {"id": "m", "kind": "image", "input": {"prompt": {"type": "string", "required": True}}, **row}
    return {"model": [whole]}


PRICE = {"unit": "image", "credits": "1"}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({}, "there is no price"),
        ({"price": PRICE, "imgaes": []}, "unknown keys"),
        ({"price": {"unit": "hug", "credits": "1"}}, "no such unit"),
        ({"price": {"unit": "image", "credits": "-1"}}, "negative"),
        ({"price": {"unit": "image", "credits": "x"}}, "Invalid literal"),
        ({"price": {**PRICE, "count": "n"}}, "no field is called"),
        ({"price": {**PRICE, "count": "prompt"}}, "has no bounds"),
        ({"price": {"unit": "image", "rows": [{"when": {"size": "1K"}, "credits": "1"}]}}, "no field is called"),
        ({"price": PRICE, "input": {"prompt": {"type": "poem"}}}, "no such type"),
        ({"price": PRICE, "images": ["image_url"]}, "no field is called"),
        ({"price": {**PRICE, "count": "n"}, "input": {"n": {"type": "integer", "min": 1, "max": 4}}}, "may be missing"),
    ],
)
def test_data_that_would_misprice_is_found_at_start(row: dict[str, Any], text: str) -> None:
    with pytest.raises(BadCatalogue, match=text):
        parse([one(**row)])


def test_two_models_cannot_have_one_name() -> None:
    with pytest.raises(BadCatalogue, match="two models"):
        parse([one(price=PRICE, aliases=["m"])])
