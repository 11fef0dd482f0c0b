"""One generation: what was asked, what was produced so far, what the journal says of it."""

import itertools
import os
import time

from sandbox import answers, pricing
from sandbox.answers import Choice
from sandbox.catalogue import Model
from sandbox.control import Faults, Pace
from sandbox.journal import Journal
from sandbox.pricing import Usage
from sandbox.prompt import Prompt

_RUN = os.urandom(4).hex()
_numbers = itertools.count(1)
_NO_COST = (0, 0)
_TRUE, _FALSE = b"true", b"false"
_ENTRY = (
    b'{"id":"%b","model":%b,"provider":%b,"status":"%b","fault":%b,"byok":%b,"streamed":%b,"aborted":%b,"finish_reason":%b,'
    b'"prompt_tokens":%d,"completion_tokens":%d,"cached_tokens":%d,"reasoning_tokens":%d,"cost_usd":"%b",'
    b'"started_at":%.3f,"finished_at":%b,"traceparent":%b}\n'
)


def unix_ms() -> float:
    """Now, in unix milliseconds."""
    return time.time() * 1000


class Generation:
    """A call that was accepted. Counters grow as tokens are produced; the journal bills what they say."""

    __slots__ = (
        "_costs",
        "_journal",
        "choices",
        "created",
        "faults",
        "id",
        "include_usage",
        "model",
        "openrouter",
        "pace",
        "started_ms",
        "streamed",
        "traceparent",
        "usage",
    )

    def __init__(
        self, journal: Journal, model: Model, prompt: Prompt, choices: list[Choice], faults: Faults, pace: Pace
    ) -> None:
        self._journal = journal
        self.model = model
        self.usage = Usage(prompt)
        self.choices = choices
        self.faults = faults
        self.pace = pace
        self.started_ms = unix_ms()
        self.created = int(self.started_ms / 1000)
        self.id = f"gen-{self.created}-{_RUN}{next(_numbers):012x}"
        self.openrouter = True
        self.streamed = False
        self.include_usage = True
        self.traceparent = b"null"
        self._costs: tuple[int, tuple[int, int]] = (-1, _NO_COST)

    def produce_all(self) -> None:
        """Count the whole answer as produced."""
        usage = self.usage
        usage.text, usage.reasoning, usage.image = answers.tokens(self.choices)

    def produce_share(self, share: float) -> None:
        """Count that part of the answer (0 to 1) as produced."""
        self.produce_all()
        usage = self.usage
        usage.text, usage.reasoning = int(usage.text * share), int(usage.reasoning * share)
        usage.image = usage.image if share >= 1 else 0

    def costs(self) -> tuple[int, int]:
        """What was produced so far costs, prompt and output, in units of 10⁻¹⁸ USD."""
        produced = self.usage.completion
        if self._costs[0] != produced:
            self._costs = (produced, pricing.cost(self.model, self.usage))
        return self._costs[1]

    def told_usage(self) -> bytes:
        """Usage as the client is told it, as JSON."""
        if not self.openrouter:
            return pricing.openai_usage(self.usage)
        return pricing.openrouter_usage(self.usage, self.costs(), self.faults.byok, self.faults.zero_cost)

    def record(self, status: str, fault: str | None = None, free: bool = False) -> None:
        """Write the generation's state; must be done before the bytes that tell of it are sent."""
        running = status == "running"
        usage = self.usage
        byok = self.faults.byok and self.openrouter
        total = 0 if free else pricing.billed(self.costs(), byok)
        line = _ENTRY % (
            self.id.encode(),
            self.model.id_json,
            self.model.provider_json,
            status.encode(),
            b'"%b"' % fault.encode() if fault else b"null",
            _TRUE if byok else _FALSE,
            _TRUE if self.streamed else _FALSE,
            _TRUE if status == "aborted" else _FALSE,
            b'"%b"' % self.choices[0].finish.encode() if status == "completed" else b"null",
            usage.prompt.tokens,
            usage.completion,
            usage.prompt.cached,
            usage.reasoning,
            pricing.usd_text(total).encode(),
            self.started_ms,
            b"null" if running else b"%.3f" % unix_ms(),
            self.traceparent,
        )
        self._journal.write(self.id, line, running, total)

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        choices = [self._choice(choice) for choice in self.choices]
        return b'{"id":"%b","object":"chat.completion","created":%d,"model":%b,%b"choices":[%b]%b}' % (
            self.id.encode(),
            self.created,
            self.model.id_json,
            b'"provider":%b,' % self.model.provider_json if self.openrouter else b"",
            choices[0] if len(choices) == 1 else b",".join(choices),
            b"" if self.faults.missing_usage else b',"usage":' + self.told_usage(),
        )

    def _choice(self, choice: Choice) -> bytes:
        finish = choice.finish.encode()
        return b'{"index":%d,"finish_reason":"%b",%b"logprobs":null,"message":%b}' % (
            choice.index,
            finish,
            b'"native_finish_reason":"%b",' % finish if self.openrouter else b"",
            answers.message(choice, self.openrouter),
        )
