"""What a generation costs, exactly, and how the two faces tell it."""

from functools import lru_cache

from sandbox.catalogue import DISCOUNT_STEPS, UNITS_PER_USD, Model, Prices
from sandbox.prompt import Prompt

BYOK_FEE_DIVISOR = 20
COSTS_REMEMBERED = 4_096

_OPENAI_USAGE = (
    b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":%d},'
    b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0}}'
)
_OPENROUTER_USAGE = (
    b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"cost":%b,"is_byok":%b,'
    b'"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,"audio_tokens":%d,"video_tokens":0},'
    b'"cost_details":{"upstream_inference_cost":%b,"upstream_inference_prompt_cost":%b,'
    b'"upstream_inference_completions_cost":%b},'
    b'"completion_tokens_details":{"reasoning_tokens":%d,"image_tokens":%d,"audio_tokens":0}}'
)


class Usage:
    """Tokens of one generation: the prompt's, and the three kinds of output, which grow."""

    __slots__ = ("image", "prompt", "reasoning", "text")

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.text = 0
        self.reasoning = 0
        self.image = 0

    @property
    def completion(self) -> int:
        """All output tokens."""
        return self.text + self.reasoning + self.image


def _prompt_cost(prompt: Prompt, prices: Prices) -> int:
    if prompt.plain:
        return prompt.tokens * prices.prompt + prices.request
    plain = prompt.tokens - prompt.cached - prompt.write - prompt.write_1h - prompt.audio
    return (
        plain * prices.prompt
        + prompt.cached * prices.input_cache_read
        + prompt.write * prices.input_cache_write
        + prompt.write_1h * (prices.input_cache_write_1h or prices.input_cache_write)
        + prompt.audio * (prices.audio or prices.prompt)
        + prompt.images * prices.image
        + prompt.searches * prices.web_search
        + prices.request
    )


def cost(model: Model, usage: Usage) -> tuple[int, int]:
    """Cost of the prompt and of the output, in units of 10⁻¹⁸ USD.

    Reasoning costs `internal_reasoning` and image tokens `image_output` where the model has such a price, else
    `completion`. Fixed prices belong to the prompt.
    """
    prices = model.prices_at(usage.prompt.tokens) if model.tiers else model.prices
    of_prompt = _prompt_cost(usage.prompt, prices)
    of_output = (
        usage.text * prices.completion
        + usage.reasoning * (prices.internal_reasoning or prices.completion)
        + usage.image * (prices.image_output or prices.completion)
    )
    if model.discount:
        kept = DISCOUNT_STEPS - model.discount
        return of_prompt * kept // DISCOUNT_STEPS, of_output * kept // DISCOUNT_STEPS
    return of_prompt, of_output


def billed(costs: tuple[int, int], byok: bool) -> int:
    """All that a generation costs its payer: with its own key, the provider's price and OpenRouter's fee."""
    total = costs[0] + costs[1]
    return total + total // BYOK_FEE_DIVISOR if byok else total


@lru_cache(COSTS_REMEMBERED)
def usd_text(units: int) -> str:
    """The exact decimal of units of 10⁻¹⁸ USD."""
    whole, rest = divmod(units, UNITS_PER_USD)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".") if rest else str(whole)


def usd_number(units: int) -> float:
    """The JSON number nearest to the exact decimal, as a JavaScript server would print it."""
    return units / UNITS_PER_USD if units else 0


@lru_cache(COSTS_REMEMBERED)
def _usd_json(units: int) -> bytes:
    return b"%a" % usd_number(units)


def openai_usage(usage: Usage) -> bytes:
    """Usage without a cost, as JSON."""
    prompt, completion = usage.prompt, usage.completion
    return _OPENAI_USAGE % (
        prompt.tokens,
        completion,
        prompt.tokens + completion,
        prompt.cached,
        prompt.audio,
        usage.reasoning,
    )


def openrouter_usage(usage: Usage, costs: tuple[int, int], byok: bool, zero_cost: bool) -> bytes:
    """Usage as JSON, with `cost`: the total, or OpenRouter's fee alone where the key is the customer's own (`byok`)."""
    prompt, completion = usage.prompt, usage.completion
    of_prompt, of_output = (0, 0) if zero_cost else costs
    total = of_prompt + of_output
    return _OPENROUTER_USAGE % (
        prompt.tokens,
        completion,
        prompt.tokens + completion,
        _usd_json(total // BYOK_FEE_DIVISOR if byok else total),
        b"true" if byok else b"false",
        prompt.cached,
        prompt.write + prompt.write_1h,
        prompt.audio,
        _usd_json(total) if byok else b"null",
        _usd_json(of_prompt),
        _usd_json(of_output),
        usage.reasoning,
        usage.image,
    )
