"""Does the catalogue still agree with what the provider lists? Its list has ids, kinds of task and prices in prose."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from core.media.catalogue import MediaCatalogue
from core.media.schema import MediaModel

_CREDITS = re.compile(r"(\d+(?:\.\d+)?)")
_PER_TOKEN = re.compile(r"\b1?M (?:input |output )?tokens|million tokens", re.IGNORECASE)

_LISTED_AS: Mapping[str, str] = {
    "veo-3-1": "veo3-lite",
    "veo/extend": "veo3-lite/extend",
    "runway/extend-ai-video": "runway/extend",
    "4o-image-api": "gpt4o-image",
    "flux1-kontext": "flux-kontext-pro",
    "grok-imagine-image-2-0/segment-edit": "grok-imagine-image-2-0/image-edit",
}
"""Models that the provider's list calls otherwise than its API does."""

_NOT_SOLD = frozenset(
    {
        "veo/get-1080p-video",
        "veo/get-4k-video",
        "gemini-omni-character",
        "gemini-omni-audio",
        "ai-music-api/check-voice",
        "ai-music-api/validation-phrase",
        "ai-music-api/regenerate-phrase",
        "ai-music-api/create-voice",
        "ai-music-api/suno-recovery-audio",
    }
)
"""Helpers of other models, which are no products of their own here."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Credits of ours that the provider's text about the model does not mention."""

    model: str
    credits: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`unknown`: listed, and not in the catalogue; `unlisted`: callable here, and listed no more; `doubts`: prices."""

    unknown: tuple[str, ...]
    unlisted: tuple[str, ...]
    doubts: tuple[Doubt, ...]

    @property
    def agrees(self) -> bool:
        """Is there no difference?"""
        return not (self.unknown or self.unlisted or self.doubts)


def compare(catalogue: MediaCatalogue, listed: Sequence[Mapping[str, Any]]) -> Comparison:
    """The differences between the catalogue and the provider's `GET /api/v1/models` (its `data.models`).

    Models that are priced by tokens are chat models, and no matter of this catalogue.
    """
    unknown: list[str] = []
    doubts: list[Doubt] = []
    seen: set[str] = set()
    for row in listed:
        name, text = str(row.get("model") or row.get("slug") or ""), str(row.get("pricingDesc") or "")
        model = catalogue.get(_LISTED_AS.get(name, name))
        if model is None:
            if name not in _NOT_SOLD and not _PER_TOKEN.search(text):
                unknown.append(name)
            continue
        seen.add(model.id)
        doubtful = _missing_credits(model, text) if text and model.callable else ()
        if doubtful:
            doubts.append(Doubt(name, doubtful, text))
    return Comparison(tuple(sorted(unknown)), tuple(_unlisted(catalogue, seen)), tuple(doubts))


def _unlisted(catalogue: MediaCatalogue, seen: set[str]) -> Iterable[str]:
    """Variants of one provider model share its endpoint and schema, so one listing speaks for all."""
    shared = {_upstream(catalogue.models[name]) for name in seen}
    return sorted(model.id for model in catalogue.callable_models() if _upstream(model) not in shared)


def _upstream(model: MediaModel) -> tuple[str, str]:
    return model.endpoint, model.provider_model


def _missing_credits(model: MediaModel, text: str) -> tuple[str, ...]:
    if model.price is None or model.price.assumed:
        return ()
    mentioned = {Fraction(number) for number in _CREDITS.findall(text)}
    ours = {row.credits for row in model.price.rows} | {extra.credits for extra in model.price.extras}
    free = {Fraction(0)} if "free" in text.lower() else set()
    return tuple(str(float(credits)) for credits in sorted(ours - mentioned - free))
