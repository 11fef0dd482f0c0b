"""The provider adds models and moves prices; the operator must be told before customers are."""

from typing import Any

from core.media.catalogue import load
from core.media.compare import compare

CATALOGUE = load()


def listed() -> list[dict[str, Any]]:
    """A provider's list that agrees with the catalogue."""
    rows = {}
    for model in CATALOGUE.callable_models():
        assert model.price is not None
        credits = sorted({row.credits for row in model.price.rows} | {extra.credits for extra in model.price.extras})
        text = " / ".join(f"{float(each):g} credits" for each in credits) if any(credits) else "It is free."
        rows.setdefault((model.endpoint, model.provider_model), {"model": model.id, "pricingDesc": text})
    return list(rows.values())


def test_nothing_to_report_when_they_agree() -> None:
    assert compare(CATALOGUE, listed()).agrees


def test_a_new_model_a_lost_one_and_a_moved_price() -> None:
    rows = listed()
    lost = next(row for row in rows if row["model"] == "z-image")
    rows.remove(lost)
    moved = next(row for row in rows if row["model"] == "google/imagen4")
    moved["pricingDesc"] = "Imagen 4 costs 9 credits per image ($0.045)."
    rows += [
        {"model": "wan/3-0-video", "pricingDesc": "8 credits/s"},
        {"model": "gpt-6-sol", "pricingDesc": "Input 120 credits / 1M tokens"},
        {"model": "veo/get-4k-video", "pricingDesc": "120 credits"},
        {"slug": "gemini-omni-audio", "pricingDesc": None},
    ]
    found = compare(CATALOGUE, rows)
    assert not found.agrees
    assert found.unknown == ("wan/3-0-video",)
    assert found.unlisted == ("z-image",)
    assert [(doubt.model, doubt.credits) for doubt in found.doubts] == [("google/imagen4", ("8.0",))]
    assert "9 credits" in found.doubts[0].text


def test_the_providers_own_names_are_known() -> None:
    rows = [{"model": "4o-image-api", "pricingDesc": "6 credits"}, {"model": "nano-banana-2", "pricingDesc": "8 12 18"}]
    found = compare(CATALOGUE, rows)
    assert (found.unknown, found.doubts) == ((), ())
    assert "gpt4o-image" not in found.unlisted
    assert "google/nano-banana-2-1k" not in found.unlisted
