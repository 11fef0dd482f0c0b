"""A ledger with everything that analytics has a table for, made from a seed, and edges' reports on it."""

import os
import random

from bus import jetstream
from bus.connection import Connection
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import usage_pb2

MODELS = ("openai/gpt-test", "google/fast", "kie/video")
PROVIDERS = ("openrouter", "fallback")
NANO = 10**9


class LogMaker:
    """Makes batches of one writer. `ids` are the accounts: users, then a partner, then its customers."""

    def __init__(self, seed: int, users: int = 20) -> None:
        self.random = random.Random(seed)
        self.calls = 0
        self._writer = self.random.randbytes(8)
        self._number = 0
        self._users = [self._id() for _ in range(users)]
        self._partner = self._id()
        self._customers = [self._id() for _ in range(5)]
        self._keys = {account: self._id() for account in (*self._users, *self._customers)}

    def _id(self) -> bytes:
        self.calls_ms = getattr(self, "calls_ms", 1_790_000_000_000) + 1
        return self.calls_ms.to_bytes(6, "big") + self.random.randbytes(6)

    def batch(self, events: list[pb.Event]) -> bytes:
        """The next batch of this writer."""
        self._number += 1
        return pb.LedgerBatch(writer=self._writer, number=self._number, events=events).SerializeToString()

    def opening(self) -> bytes:
        """Rules, a rate, accounts with money and keys, a price, and a few changes that do not apply."""
        events = [
            pb.Event(rules_activated=pb.RulesActivated(version=2)),
            pb.Event(fx_rate_set=pb.FxRateSet(base=pb.USD, quote=pb.TRY, rate_nano=40 * NANO, source="manual")),
            pb.Event(account_opened=pb.AccountOpened(account_id=self._partner, kind=pb.PARTNER, currency=pb.USD)),
        ]
        for account in self._users:
            events.append(
                pb.Event(
                    account_opened=pb.AccountOpened(account_id=account, kind=pb.USER, currency=pb.TRY, markup_bps=5000),
                    actor="op_1",
                )
            )
        for account in self._customers:
            opened = pb.AccountOpened(
                account_id=account,
                kind=pb.PARTNER_CUSTOMER,
                currency=pb.TRY,
                markup_bps=3000,
                parent_id=self._partner,
            )
            events.append(pb.Event(account_opened=opened))
        for account in (*self._users, *self._customers, self._partner):
            credit = pb.CreditAdded(account_id=account, amount_nano=500 * NANO, reference="first")
            events += [pb.Event(credit_added=credit), pb.Event(credit_added=credit)]  # the second one EXISTS
        for account, key in self._keys.items():
            issued = pb.KeyIssued(key_id=key, account_id=account, key_hash=self.random.randbytes(32))
            events.append(pb.Event(key_issued=issued))
        reversed_ = pb.CreditReversed(account_id=self._users[0], amount_nano=900 * NANO, reference="chargeback")
        events.append(pb.Event(credit_reversed=reversed_))
        events.append(
            pb.Event(model_set=pb.ModelSet(model_id=MODELS[0], kind="chat", price=b"{}", price_version=b"\1" * 8))
        )
        return self.batch(events)

    def traffic(self, calls: int) -> list[bytes]:
        """Batches of calls: opened in one, ended in the next; most settled, some released, extended, refused, late."""
        batches = []
        for _ in range(0, calls, 20):
            opened = [self._open() for _ in range(20)]
            batches.append(self.batch([pb.Event(request_opened=each) for each in opened]))
            batches.append(self.batch([event for each in opened for event in self._end(each)]))
        return batches

    def _open(self) -> pb.RequestOpened:
        self.calls += 1
        account = self.random.choice((*self._users, *self._customers))
        return pb.RequestOpened(
            request_id=self._id(),
            attempt=1,
            account_id=account,
            key_id=self._keys[account],
            model=self.random.choice(MODELS),
            hold_nano=self.random.randrange(NANO // 100),
            parent_hold_nano=self.random.randrange(NANO // 1000) if account in self._customers else 0,
            lease_ms=60_000,
            price_version=b"\1" * 8,
        )

    def _end(self, opened: pb.RequestOpened) -> list[pb.Event]:
        dice = self.random.random()
        named = {"request_id": opened.request_id, "attempt": 1}
        if dice < 0.05:
            return [pb.Event(request_released=pb.RequestReleased(**named, reason=pb.PROVIDER_FAILED))]
        events = []
        if dice < 0.10:
            events.append(pb.Event(hold_extended=pb.HoldExtended(**named, add_nano=NANO // 1000, lease_ms=60_000)))
        if dice < 0.12:
            submitted = pb.TaskSubmitted(**named, provider="kie", provider_task_id=f"t{self.calls}", lease_ms=60_000)
            events.append(pb.Event(task_submitted=submitted))
        settled = pb.RequestSettled(
            **named,
            charge_nano=self.random.randrange(NANO // 50),
            parent_charge_nano=self.random.randrange(NANO // 1000) if opened.parent_hold_nano else 0,
            prompt_tokens=self.random.randrange(1000),
            completion_tokens=self.random.randrange(1000),
            provider_cost_usd=f"0.000{self.random.randrange(10**12)}",
            fx_rate_nano=40 * NANO,
            parent_fx_rate_nano=NANO if opened.parent_hold_nano else 0,
            markup_bps=5000,
            price_version=opened.price_version,
            basis=pb.PROVIDER_COST,
            end=pb.COMPLETED,
            provider=self.random.choice(PROVIDERS),
            generation_id=f"gen-{self.random.randrange(10**9)}",
            provider_calls=1,
        )
        events.append(pb.Event(request_settled=settled))
        if dice > 0.97:
            events.append(pb.Event(request_settled=settled))  # once more: NOT_OPEN, a loss
        return events

    def reports(self, calls: int, edge: str = "edge-1") -> list[bytes]:
        """Edges' reports, with one batch in ten twice under the same number."""
        epoch = self.random.randbytes(8)
        batches: list[bytes] = []
        for number in range(1, calls // 50 + 1):
            events = [
                usage_pb2.UsageEvent(
                    request_id=self._id(),
                    received_ms=1_790_000_000_000 + number,
                    account_id=self.random.choice(self._users),
                    model=self.random.choice(MODELS),
                    route="chat",
                    status=self.random.choice((200, 200, 200, 402, 429)),
                    first_byte_us=self.random.randrange(10**6),
                    duration_us=self.random.randrange(10**7),
                )
                for _ in range(50)
            ]
            batch = usage_pb2.UsageBatch(edge=edge, epoch=epoch, number=number, events=events).SerializeToString()
            batches += [batch] * (2 if number % 10 == 0 else 1)
        return batches


async def append_all(connection: Connection, subject: str, batches: list[bytes]) -> None:
    """Append batches in order."""
    for batch in batches:
        await jetstream.append(connection, subject, batch, os.urandom(8).hex())
