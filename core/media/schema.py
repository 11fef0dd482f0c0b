"""A media model, as `models/*.toml` describes it: frozen values, and nothing that acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

Kind = Literal["image", "video", "audio", "voice", "music"]
Family = Literal["market", "veo", "runway", "aleph", "suno", "gpt4o_image", "flux_kontext"]
Callback = Literal["required", "optional", "none"]

SOURCE_TYPES = {"image": "image", "images": "image", "video": "video", "videos": "video", "audio": "audio"}
SOURCE_TYPES |= {"audios": "audio"}
"""Types of fields that hold URLs of source media, and what kind of media."""

LIST_TYPES = frozenset(("images", "videos", "audios", "strings", "integers", "objects", "lists"))
REFERENCE_TYPES = frozenset(("task", "song"))
"""Types of fields that name something that an earlier task made, by the provider's id."""

FIELD_TYPES = SOURCE_TYPES.keys() | LIST_TYPES | REFERENCE_TYPES
FIELD_TYPES |= {"string", "integer", "number", "boolean", "voice", "any"}

Conditions = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of the provider's. Lengths in characters; `default` None: the provider states none."""

    name: str
    type: str
    required: bool = False
    default: Any = None
    enum: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    max_length: int | None = None
    min_items: int = 0
    max_items: int | None = None

    @property
    def is_list(self) -> bool:
        """Does it hold several values?"""
        return self.type in LIST_TYPES

    @property
    def source(self) -> str:
        """`image`, `video` or `audio` where it holds source media, else empty."""
        return SOURCE_TYPES.get(self.type, "")


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds when the conditions do: fields that are required, or a narrower enum or length of one field."""

    when: Conditions
    required: tuple[str, ...] = ()
    field: str = ""
    enum: tuple[Any, ...] = ()
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Credits for one unit, under conditions on the input; the first row that fits is the price."""

    when: Conditions
    credits: Fraction


@dataclass(frozen=True, slots=True)
class ExtraPrice:
    """Credits for each source of a list field beyond the first `free` ones."""

    field: str
    free: int
    credits: Fraction


@dataclass(frozen=True, slots=True)
class MediaPrice:
    """What one task costs: a row's credits × the count of its unit, and extras.

    The count is an input field's value (`count`, divided by `count_per` where there is one), or at most `count_max`
    where the request does not say, or `count_fixed`. Each source in `input_field` adds at most `input_each_max` to it.
    `settled_by_provider`: the request gives an upper bound only, and the provider's own figure is the price.
    `assumed` says what of it nobody stated. `canonical` is the JSON that stands for it in the ledger, `version` its
    hash.
    """

    unit: str
    rows: tuple[PriceRow, ...]
    count: str = ""
    count_per: str = ""
    count_max: Fraction | None = None
    count_fixed: Fraction = Fraction(1)
    input_field: str = ""
    input_each_max: Fraction = Fraction(0)
    extras: tuple[ExtraPrice, ...] = ()
    settled_by_provider: bool = False
    assumed: str = ""
    version: bytes = b""
    canonical: bytes = b""

    @property
    def free(self) -> bool:
        """Is every part of it zero? Free is a price."""
        return not any(row.credits for row in self.rows) and not self.extras

    @property
    def fields(self) -> frozenset[str]:
        """The input fields that it depends on."""
        named = {name for row in self.rows for name in row.when} | {self.count, self.count_per}
        return frozenset(named - {""})


@dataclass(frozen=True, slots=True)
class MediaModel:
    """One public model id.

    `id` is canonical: limits, ledger and prices know the model by it; `aliases` are other names of the same. `fixed`
    inputs are the id's own (`-1k` is `resolution: 1K`). `text` is the field of the prompt, `images` the fields of the
    source image: one list, or single ones that a caller's list is spread over. `off` says why it cannot be called.
    `at_once`: the provider's answer to the create call is the result already. `result`: `media`, or `text`.
    """

    id: str
    kind: Kind
    family: Family
    endpoint: str
    query: str
    provider_model: str
    fields: Mapping[str, Field]
    price: MediaPrice | None
    aliases: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    images: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    callback: Callback = "optional"
    at_once: bool = False
    result: Literal["media", "text"] = "media"
    off: str = ""

    @property
    def callable(self) -> bool:
        """Can it be sold: is it on, and priced?"""
        return not self.off and self.price is not None

    def first_field(self, source: str) -> str:
        """The first field that takes sources of that kind, required ones first; empty when there is none."""
        of_kind = [each for each in self.fields.values() if each.source == source]
        return min(of_kind, key=lambda each: not each.required).name if of_kind else ""

    def effective(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The input as the provider will see it: what it leaves out has the provider's default."""
        defaults = {each.name: each.default for each in self.fields.values() if each.default is not None}
        return {**defaults, **self.fixed, **given}


def holds(conditions: Conditions, values: Mapping[str, Any]) -> bool:
    """Do the values fit the conditions? A condition true or false asks whether there is a value that counts."""
    for name, wanted in conditions.items():
        value = values.get(name)
        if isinstance(wanted, bool):
            if bool(value) != wanted:
                return False
        elif value != wanted:
            return False
    return True


def shown_values(values: Sequence[Any]) -> str:
    """Allowed values in an error's text."""
    return ", ".join("true" if value is True else "false" if value is False else str(value) for value in values)
