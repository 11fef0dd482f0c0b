"""What a provider's list would change in the catalogue, and what of it a person has to approve.

Pure: the catalogue's state and a listing go in, a difference comes out. It holds the very events to append.

The catalogue belongs to its operator and prices to their provider: a synchronisation changes what the list says (price,
limits, name, whether the model exists) and keeps what was set here (aliases, defaults, further routes, activation).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

import orjson

from core.listing import Listing
from core.pricing import BPS, UNITS
from proto.onysoft.v1.ledger_pb2 import ModelRoute, ModelSet

GONE_SHARE_MAX = 2
"""A list that lacks more than one in so many of the models that it had is not believed without a person."""

GONE_UNSUSPICIOUS = 10
UNLISTED_GONE = "its provider lists it no longer"

_LISTED_FIELDS = (
    "name",
    "created",
    "context_length",
    "output_tokens_max",
    "output_stated",
    "image_output",
    "reasons_always",
    "tokenizer",
)
"""Fields of a ModelSet that follow the list, beside the price."""


class Kind(StrEnum):
    """What happens to a model. Each model has at most one change."""

    NEW = "new"
    GONE = "gone"
    BACK = "back"  # was gone, and is listed again at a price within the bound
    REPRICED = "repriced"
    CHANGED = "changed"  # anything but the amounts
    ROUTED = "routed"  # a further provider lists it, or no longer


class Model(Protocol):
    """A catalogue entry as the fold knows it."""

    @property
    def set(self) -> ModelSet:
        """Its newest version."""
        ...

    @property
    def active(self) -> bool:
        """Has the operator not taken it out of sale?"""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """What goes without being asked: new models, any repricing, and repricings up to `bound_bps` of each amount."""

    new: bool = False
    repriced: bool = False
    gone: bool = False
    bound_bps: int = 0


@dataclass(frozen=True, slots=True)
class PartChange:
    """One amount of a price, in USD for one unit. `change_bps` None: from nothing."""

    part: str
    before: Decimal
    after: Decimal

    @property
    def change_bps(self) -> Decimal | None:
        """By how much, in basis points of what it was."""
        if not self.before:
            return None
        return ((self.after - self.before) * BPS / self.before).quantize(Decimal(1))


@dataclass(frozen=True, slots=True)
class Change:
    """One model's change, and the version of it that would be appended. It `waits` until a person approves."""

    kind: Kind
    model: ModelSet
    waits: bool = False
    parts: tuple[PartChange, ...] = ()
    fields: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes by model id, and the listed models that cannot be sold, with the reason."""

    provider: str
    listed: int
    changes: tuple[Change, ...]
    unsold: Mapping[str, str] = field(default_factory=dict)
    unchanged: int = 0

    def of(self, kind: Kind) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.kind is kind]

    @property
    def waiting(self) -> list[Change]:
        """What a person has to approve."""
        return [change for change in self.changes if change.waits]

    @property
    def due(self) -> list[Change]:
        """What may be appended now."""
        return [change for change in self.changes if not change.waits]


def difference(
    models: Mapping[str, Model],
    aliases: Iterable[str],
    listing: Listing,
    approval: Approval,
    further: Iterable[Listing] | None = None,
) -> Difference:
    """What `listing` would change.

    `further` are the lists of providers that serve the same models: a new model gets a route for each. Without them
    (None) the provider is itself such a one: its list brings no model, it adds routes to those that are there. Where no
    model has a route of the provider, nothing waits: the first list is taken as it is.
    """
    sells = further is not None
    provider = listing.provider
    first = not any(route.provider == provider for model in models.values() for route in model.set.routes)
    if first:
        approval = Approval(new=True, repriced=True, gone=True, bound_bps=approval.bound_bps)
    taken = set(aliases)
    changes: list[Change] = []
    unsold = dict(listing.unsold) if sells else {}
    for model_id in sorted(listing.ids):
        known = models.get(model_id)
        if known is None:
            listed = listing.models.get(model_id) if sells else None
            if listed is not None and model_id in taken:
                unsold[model_id] = "its id is an alias here"
            elif listed is not None:
                changes.append(Change(Kind.NEW, _with_routes(listed, further or ()), waits=not approval.new))
        else:
            change = _known(known.set, listing, approval, first)
            changes += [change] if change is not None else []
    missing = [_missing(model.set, provider) for model_id, model in models.items() if model_id not in listing.ids]
    changes += _believed([change for change in missing if change is not None], len(listing.ids), approval)
    changed = {change.model.model_id for change in changes}
    unchanged = sum(model_id in models and model_id not in changed for model_id in listing.ids)
    return Difference(provider, len(listing.ids), tuple(changes), unsold, unchanged)


def home(model: ModelSet) -> str:
    """The provider whose list sets the model's price: that of its first route."""
    return model.routes[0].provider if model.routes else ""


def _known(known: ModelSet, listing: Listing, approval: Approval, first: bool) -> Change | None:
    model_id, provider = known.model_id, listing.provider
    if home(known) != provider:
        return _routed(known, provider) if first else None
    listed = listing.models.get(model_id)
    if listed is None:
        reason = listing.unsold[model_id]
        return None if known.unlisted == reason else _unlisted(known, reason)
    after = ModelSet()
    after.CopyFrom(known)
    after.unlisted = ""
    after.price, after.price_version = listed.price, listed.price_version
    for name in _LISTED_FIELDS:
        setattr(after, name, getattr(listed, name))
    if after == known:
        return None
    fields = tuple(name for name in _LISTED_FIELDS if getattr(known, name) != getattr(after, name))
    parts = part_changes(known.price, after.price)
    beyond = any(part.change_bps is None or abs(part.change_bps) > approval.bound_bps for part in parts)
    waits = beyond and not approval.repriced
    if parts:
        return Change(Kind.REPRICED, after, waits, parts, fields)
    if known.unlisted:
        return Change(Kind.BACK, after, fields=fields)
    return Change(Kind.CHANGED, after, fields=fields or ("price",))


def _routed(known: ModelSet, provider: str) -> Change:
    after = ModelSet()
    after.CopyFrom(known)
    _add_route(after, provider)
    return Change(Kind.ROUTED, after, fields=("routes",))


def _with_routes(model: ModelSet, further: Iterable[Listing]) -> ModelSet:
    for listing in further:
        if model.model_id in listing.ids:
            _add_route(model, listing.provider)
    return model


def _add_route(model: ModelSet, provider: str) -> None:
    """A further provider serves where the ones before it do not."""
    order = 1 + max((route.order for route in model.routes), default=0)
    model.routes.append(ModelRoute(provider=provider, upstream_id=model.model_id, order=order))


def _missing(known: ModelSet, provider: str) -> Change | None:
    """A model that the provider's list lacks."""
    if home(known) == provider:
        return None if known.unlisted == UNLISTED_GONE else _unlisted(known, UNLISTED_GONE)
    kept = [route for route in known.routes if route.provider != provider or route.upstream_id != known.model_id]
    if len(kept) == len(known.routes):
        return None
    after = ModelSet()
    after.CopyFrom(known)
    del after.routes[:]
    after.routes.extend(kept)
    return Change(Kind.ROUTED, after, fields=("routes",))


def _unlisted(known: ModelSet, reason: str) -> Change:
    after = ModelSet()
    after.CopyFrom(known)
    after.unlisted = reason
    return Change(Kind.GONE, after, reason=reason)


def _believed(missing: list[Change], listed: int, approval: Approval) -> list[Change]:
    """A list that has lost most of its models at once is more likely broken than true."""
    gone = sum(change.kind is Kind.GONE for change in missing)
    suspicious = gone > GONE_UNSUSPICIOUS and gone * GONE_SHARE_MAX > gone + listed
    if not suspicious or approval.gone:
        return missing
    return [Change(change.kind, change.model, True, change.parts, change.fields, change.reason) for change in missing]


def part_changes(before: bytes, after: bytes) -> tuple[PartChange, ...]:
    """The amounts in which two prices differ. An amount under a condition is compared with what holds without it."""
    was, becomes = _parts(before), _parts(after)
    changes = []
    for part in sorted(was.keys() | becomes.keys()):
        unit = part.partition(" ")[0]
        change = PartChange(
            part, was.get(part, was.get(unit, Decimal(0))), becomes.get(part, becomes.get(unit, Decimal(0)))
        )
        if change.before != change.after:
            changes.append(change)
    return tuple(changes)


def _parts(price: bytes) -> dict[str, Decimal]:
    """Every amount of a price, discount included: `prompt`, `prompt from 200000 tokens`."""
    pricing = orjson.loads(price or b"{}")
    kept = 1 - Decimal(str(pricing.get("discount") or 0))
    parts = {unit: Decimal(str(pricing[unit])) * kept for unit in UNITS if pricing.get(unit) is not None}
    for override in pricing.get("overrides") or ():
        when = _when(override)
        parts |= {f"{unit} {when}": Decimal(str(override[unit])) * kept for unit in UNITS if override.get(unit)}
    return parts


def _when(override: Mapping[str, Any]) -> str:
    words = []
    if override.get("min_prompt_tokens"):
        words.append(f"from {override['min_prompt_tokens']} tokens")
    if "utc_start" in override or "utc_end" in override:
        words.append(f"between {override.get('utc_start', '')} and {override.get('utc_end', '')} UTC")
    return " ".join(words) or "always"


def described(difference: Difference) -> dict[str, Any]:
    """The difference as JSON for people and scripts; amounts are decimal strings in USD for one unit."""
    return {
        "provider": difference.provider,
        "listed": difference.listed,
        "unchanged": difference.unchanged,
        **{kind.value: [_described(change) for change in difference.of(kind)] for kind in Kind},
        "unpriced": [{"id": model_id, "reason": reason} for model_id, reason in sorted(difference.unsold.items())],
        "due": len(difference.due),
        "waiting": len(difference.waiting),
    }


def _described(change: Change) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": change.model.model_id, "name": change.model.name, "waits": change.waits}
    if change.kind is Kind.NEW:
        shown |= {"pricing": orjson.loads(change.model.price), "price_version": change.model.price_version.hex()}
    elif change.kind is Kind.REPRICED:
        shown |= {
            "price_version": change.model.price_version.hex(),
            "changes": [_described_part(part) for part in change.parts],
        }
    if change.reason:
        shown["reason"] = change.reason
    if change.fields:
        shown["fields"] = list(change.fields)
    return shown


def _described_part(part: PartChange) -> dict[str, Any]:
    by = part.change_bps
    return {
        "part": part.part,
        "from": f"{part.before:f}",
        "to": f"{part.after:f}",
        "by": f"{part.after - part.before:f}",
        "percent": None if by is None else f"{by / 100:.2f}",
    }
