"""Who buys what in a simulated month: models with prices, accounts with habits. Everything comes from one seed."""

import random
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import orjson

from core.ledger.money import NANO, to_text
from core.pricing import canonical_price, price_version
from proto.onysoft.v1 import ledger_pb2 as pb

NANO_PER_MILLION = 1_000
"""1 USD for a million tokens is 1,000 nano-USD for one."""

CREDITS_PER_USD = 200
"""The media provider's unit of account."""


@dataclass(frozen=True)
class Offer:
    """A model: chat at nano-USD for a token of prompt and completion, media at nano-USD for a piece.

    A token read from the provider's cache costs a tenth. `thinks`: a part of what it writes is reasoning.
    """

    model: str
    kind: str
    provider: str
    prompt_nano: int
    completion_nano: int
    piece_nano: int
    share: float
    thinks: bool = False

    @property
    def is_media(self) -> bool:
        """Whether it is a task that is followed to its end."""
        return self.kind != "chat"

    @property
    def cached_nano(self) -> int:
        """For a token of the prompt that comes from the cache."""
        return self.prompt_nano // 10

    @cached_property
    def price(self) -> bytes:
        """Canonical JSON of its price, USD."""
        if self.is_media:
            return canonical_price({"request": to_text(self.piece_nano)})
        rates = {"prompt": self.prompt_nano, "input_cache_read": self.cached_nano, "completion": self.completion_nano}
        return canonical_price({name: to_text(nano) for name, nano in rates.items()})

    @cached_property
    def price_version(self) -> bytes:
        """Of that price."""
        return price_version(self.price)

    @cached_property
    def quantities(self) -> str:
        """What a piece of media was charged by."""
        credits = to_text(self.piece_nano * CREDITS_PER_USD)
        return orjson.dumps({"count": 1, "credits": credits, "unit": self.kind}, option=orjson.OPT_SORT_KEYS).decode()

    def event(self) -> pb.Event:
        """Its entry in the catalogue."""
        entry = pb.ModelSet(
            model_id=self.model,
            kind=self.kind,
            name=self.model.rpartition("/")[2],
            created=1_750_000_000,
            context_length=0 if self.is_media else 128_000,
            output_tokens_max=0 if self.is_media else 16_384,
            price=self.price,
            price_version=self.price_version,
        )
        entry.routes.add(provider=self.provider, upstream_id=self.model)
        return pb.Event(model_set=entry)


def _chat(model: str, prompt: float, completion: float, share: float, thinks: bool = False) -> Offer:
    """USD for a million tokens."""
    nano = (round(prompt * NANO_PER_MILLION), round(completion * NANO_PER_MILLION))
    return Offer(model, "chat", "openrouter", *nano, 0, share, thinks)


def _media(model: str, kind: str, usd: str, share: float) -> Offer:
    units, _, places = usd.partition(".")
    return Offer(model, kind, "kieai", 0, 0, int(units) * NANO + int(places.ljust(9, "0")), share)


OFFERS = (
    _chat("openai/gpt-4o-mini", 0.15, 0.60, 30),
    _chat("openai/gpt-4o", 2.50, 10.00, 7),
    _chat("anthropic/claude-sonnet-4.5", 3.00, 15.00, 9),
    _chat("anthropic/claude-haiku-4.5", 1.00, 5.00, 8),
    _chat("google/gemini-2.5-flash", 0.30, 2.50, 14),
    _chat("google/gemini-2.5-pro", 1.25, 10.00, 4, thinks=True),
    _chat("deepseek/deepseek-chat-v3.1", 0.20, 0.80, 9),
    _chat("meta-llama/llama-3.3-70b-instruct", 0.13, 0.40, 5),
    _chat("qwen/qwen3-235b-a22b", 0.20, 0.60, 4, thinks=True),
    _chat("mistralai/mistral-small-3.2", 0.06, 0.18, 3),
    _chat("openai/gpt-oss-20b:free", 0, 0, 1, thinks=True),
    _media("kie/nano-banana", "image", "0.02", 2.5),
    _media("kie/flux-kontext", "image", "0.025", 1),
    _media("kie/veo3-fast", "video", "0.40", 0.3),
    _media("kie/suno-v5", "music", "0.06", 0.4),
    _media("kie/elevenlabs-tts", "voice", "0.03", 0.8),
)


@dataclass(slots=True)
class Buyer:
    """An account that calls. Markups in basis points; `parent` is a partner that pays its own leg."""

    account_id: bytes
    key_ids: list[bytes]
    root_id: bytes
    currency: int
    markup_bps: int
    top_up_nano: int
    pays: float
    models: list[Offer]
    model_shares: list[float]
    parent: "Buyer | None" = None
    payments: int = 0


@dataclass(slots=True)
class Market:
    """Everybody, the events that opened them, and how likely each is to call next."""

    buyers: list[Buyer] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    openings: list[tuple[bytes, list[pb.Event]]] = field(default_factory=list)

    @property
    def cumulative(self) -> list[float]:
        """For `random.choices`."""
        return list(accumulate(self.shares))


KINDS = (("user", 0.62), ("project", 0.14), ("partner", 0.24))


def open_market(rng: random.Random, accounts: int) -> Market:
    """About `accounts` accounts: single users, organisations with projects, partners with customers."""
    market = Market()
    opened = 0
    while opened < accounts:
        kind = rng.choices([name for name, _ in KINDS], [share for _, share in KINDS])[0]
        left = accounts - opened
        if kind == "project" and left > 3:
            opened += _organisation(rng, market, rng.randint(1, min(4, left - 1)))
        elif kind == "partner" and left > 6:
            opened += _partner(rng, market, min(left - 1, 3 + int(rng.paretovariate(1.2) * 3), 200))
        else:
            market.openings.append(_open(rng, market, pb.USER, b"", b""))
            opened += 1
    return market


def _organisation(rng: random.Random, market: Market, projects: int) -> int:
    root = rng.randbytes(12)
    opened = pb.AccountOpened(account_id=root, kind=pb.ORGANISATION, currency=pb.TRY, markup_bps=5_000)
    events = [pb.Event(account_opened=opened)]
    for _ in range(projects):
        events += _open(rng, market, pb.PROJECT, root, root)[1]
    market.openings.append((root, events))
    return projects + 1


def _partner(rng: random.Random, market: Market, customers: int) -> int:
    """A partner buys at its markup, and its customers at their own on top."""
    root, events = _open(rng, market, pb.PARTNER, b"", b"", currency=rng.choice((pb.TRY, pb.USD)), share=0.2)
    partner = market.buyers[-1]
    partner.top_up_nano *= 200 if partner.currency == pb.TRY else 5
    partner.pays = 0.98
    for _ in range(customers):
        events += _open(rng, market, pb.PARTNER_CUSTOMER, root, root)[1]
        market.buyers[-1].parent = partner
    market.openings.append((root, events))
    return customers + 1


def _open(
    rng: random.Random,
    market: Market,
    kind: pb.AccountKind.ValueType,
    parent_id: bytes,
    root_id: bytes,
    currency: pb.Currency.ValueType = pb.TRY,
    share: float = 1.0,
) -> tuple[bytes, list[pb.Event]]:
    account_id = rng.randbytes(12)
    markup_bps = rng.choice((2_500, 3_500, 5_000, 5_000)) if kind != pb.PARTNER else rng.choice((1_000, 1_500))
    opened = pb.AccountOpened(
        account_id=account_id, kind=kind, currency=currency, markup_bps=markup_bps, parent_id=parent_id
    )
    opened.requests_per_minute = rng.choice((0, 0, 60, 600))
    keys = [rng.randbytes(12) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    events = [pb.Event(account_opened=opened)]
    for key_id in keys:
        events.append(
            pb.Event(key_issued=pb.KeyIssued(key_id=key_id, account_id=account_id, key_hash=rng.randbytes(32)))
        )
    models = rng.choices(OFFERS, [offer.share for offer in OFFERS], k=rng.randint(1, 4))
    buyer = Buyer(
        account_id=account_id,
        key_ids=keys,
        root_id=root_id or account_id,
        currency=currency,
        markup_bps=markup_bps,
        top_up_nano=rng.choice((50, 100, 100, 250, 500, 1_000)) * NANO,
        pays=0.97 if rng.random() < 0.93 else 0.2,
        models=models,
        model_shares=list(accumulate(1 / (rank + 1) for rank in range(len(models)))),
    )
    market.buyers.append(buyer)
    market.shares.append(share * min(rng.paretovariate(0.9), 400.0))
    return account_id, events
