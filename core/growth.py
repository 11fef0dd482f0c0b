"""A hold that grows with a streamed answer: it begins with a part of the output and is extended ahead of it."""

import asyncio
from typing import TYPE_CHECKING

from bus.errors import BusError
from core.admission import Purse, affordable_output, grown

if TYPE_CHECKING:
    from core.answering import Order
    from core.chat import ChatCall

AHEAD = 0.5
"""Share of the held output after which more is asked for: an extension takes milliseconds, half a hold seconds."""


class Growth:
    """Extends a call's hold while its answer comes. One extension is under way at a time, and the answer goes on."""

    def __init__(self, call: "ChatCall", order: "Order") -> None:
        self._call = call
        self._order = order
        self._hold = order.hold
        self._extending: asyncio.Task[None] | None = None
        self._refused = False

    def is_short(self, output_tokens: int) -> bool:
        """Whether so much output of all choices is no longer held for. Asks for more ahead of that."""
        hold = self._hold
        if hold.held_output >= hold.output_tokens:
            return False
        per_choice = output_tokens // self._order.terms.choices
        if per_choice >= hold.held_output * AHEAD and self._extending is None and not self._refused:
            self._start()
        return per_choice >= hold.held_output

    async def catch_up(self, output_tokens: int) -> bool:
        """Wait until so much output is held for; False when the free balance does not cover it: the answer ends."""
        while self.is_short(output_tokens):
            if self._extending is None:
                self._start()  # refused a while ago; other calls may have ended since
            assert self._extending is not None
            await asyncio.wait((self._extending,))
            if self._refused:
                return not self.is_short(output_tokens)
        return True

    async def finished(self) -> None:
        """The answer has ended: an extension on its way is waited for, so that the settlement follows it."""
        if self._extending is not None:
            await asyncio.wait((self._extending,))

    def _start(self) -> None:
        self._extending = asyncio.create_task(self._extend())

    async def _extend(self) -> None:
        order, before = self._order, self._hold
        try:
            room = affordable_output(order.entry, order.terms, order.tariff, Purse.of(self._call.account))
            held_output = min(before.output_tokens, 2 * before.held_output, before.held_output + room)
            after = grown(order.entry, order.demand, order.terms, order.tariff, before, held_output)
            self._refused = held_output <= before.held_output or not await self._call.extend_hold(before, after)
            if not self._refused:
                self._hold = after
        except BusError:
            self._refused = True
        finally:
            self._extending = None
