"""What people do in a simulated month: administrators and partners, a little every day, each act with its actor."""

import random
from collections.abc import Iterator

from cli.simulation.market import OFFERS, Buyer, Market
from core.ledger.money import NANO, ceil_div
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb

ADMINISTRATORS = ("5f1c0b7e4d2a49b8a6c3e9d01f7b8a21", "0c9e6f3d8b174a5e92d4c7a1b0e8f356")
"""Ids as the console gives them to people."""

LIMITS_A_DAY = 4
MOVES_A_DAY = 3


class Desk:
    """Acts of one day, by the account whose root they concern. What is suspended today is resumed tomorrow."""

    def __init__(self, market: Market, rng: random.Random) -> None:
        self._buyers = market.buyers
        self._customers = [buyer for buyer in market.buyers if buyer.parent is not None]
        self._rng = rng
        self._tomorrow: list[tuple[Buyer, pb.Event]] = []
        self._number = 0

    def day(self, state: State, rate_nano: int) -> Iterator[tuple[Buyer, pb.Event]]:
        """Today's, one after the other."""
        yield from self._tomorrow
        self._tomorrow = list(self._resumptions())
        for buyer, resumed in self._tomorrow:
            yield buyer, _undone(resumed)
        for _ in range(LIMITS_A_DAY):
            yield self._limit()
        yield self._block()
        yield self._credit()
        for buyer in self._some(self._customers, MOVES_A_DAY):
            yield from self._moved(buyer, state, rate_nano)
            yield self._markup(buyer)
        for buyer in self._some([each for each in self._buyers if len(each.key_ids) > 2], 1):
            yield buyer, self._by(pb.Event(key_revoked=pb.KeyRevoked(key_id=buyer.key_ids.pop())))

    def _some(self, buyers: list[Buyer], count: int) -> list[Buyer]:
        return self._rng.sample(buyers, min(count, len(buyers)))

    def _by(self, event: pb.Event) -> pb.Event:
        event.actor = self._rng.choice(ADMINISTRATORS)
        return event

    def _resumptions(self) -> Iterator[tuple[Buyer, pb.Event]]:
        first, second = self._rng.choices(self._buyers, k=2)
        yield first, self._by(pb.Event(account_resumed=pb.AccountResumed(account_id=first.account_id)))
        yield second, self._by(pb.Event(key_resumed=pb.KeyResumed(key_id=second.key_ids[0])))

    def _limit(self) -> tuple[Buyer, pb.Event]:
        buyer = self._rng.choice(self._buyers)
        owner_id = self._rng.choice((buyer.account_id, buyer.key_ids[0]))
        limit = pb.LimitSet(owner_id=owner_id, pattern=self._rng.choice(("*", "openai/*", "google/*")))
        match self._rng.randrange(3):
            case 0:
                limit.daily_requests = self._rng.choice((50, 200, 1_000))
            case 1:
                limit.daily_tokens = self._rng.choice((100_000, 1_000_000))
            case _:
                limit.monthly_tokens = self._rng.choice((2_000_000, 20_000_000))
        return buyer, self._by(pb.Event(limit_set=limit))

    def _block(self) -> tuple[Buyer, pb.Event]:
        buyer, offer = self._rng.choice(self._buyers), self._rng.choice(OFFERS)
        blocked = pb.ModelBlocked(owner_id=buyer.account_id, pattern=offer.model)
        return buyer, self._by(pb.Event(model_blocked=blocked))

    def _credit(self) -> tuple[Buyer, pb.Event]:
        buyer = self._rng.choice(self._buyers)
        self._number += 1
        credit = pb.CreditAdded(account_id=buyer.account_id, amount_nano=self._rng.choice((10, 25, 50)) * NANO)
        credit.reference, credit.reason = f"manual-{self._number}", "goodwill after an outage"
        return buyer, self._by(pb.Event(credit_added=credit))

    def _markup(self, buyer: Buyer) -> tuple[Buyer, pb.Event]:
        """The one that it has, set again: charges of the month follow from what the account was opened with."""
        markup = pb.MarkupSet(account_id=buyer.account_id, pattern="*", markup_bps=buyer.markup_bps)
        return buyer, self._by(pb.Event(markup_set=markup))

    def _moved(self, buyer: Buyer, state: State, rate_nano: int) -> Iterator[tuple[Buyer, pb.Event]]:
        """From the partner to one of its customers, in whole units, when the partner can spare it."""
        parent = buyer.parent
        assert parent is not None
        amount_nano = 5 * NANO
        if state.accounts[parent.account_id].available_nano < 4 * amount_nano:
            return
        self._number += 1
        moved = pb.CreditMoved(from_account_id=parent.account_id, to_account_id=buyer.account_id)
        moved.amount_nano, moved.reference = amount_nano, f"move-{self._number}"
        same = parent.currency == buyer.currency
        moved.to_amount_nano = amount_nano if same else ceil_div(amount_nano * rate_nano, NANO)
        yield buyer, self._by(pb.Event(credit_moved=moved))


def _undone(resumed: pb.Event) -> pb.Event:
    """The suspension that a resumption ends."""
    event = pb.Event(actor=resumed.actor)
    if resumed.HasField("account_resumed"):
        event.account_suspended.account_id = resumed.account_resumed.account_id
    else:
        event.key_suspended.key_id = resumed.key_resumed.key_id
    return event
