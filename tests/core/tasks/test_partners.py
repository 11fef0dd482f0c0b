"""A partner's customer begins a task: two balances, one event, both charged once."""

import pytest

from core.ledger.money import NANO
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime import ids
from tests.core.tasks.conftest import Studio

pytestmark = pytest.mark.timeout(60)


async def open_pair(studio: Studio, partner_usd: int) -> tuple[bytes, bytes]:
    """A partner in USD at 50 %, its customer in lira at 30 % on top, who is the caller from now on."""
    house = studio.house
    partner, customer, key = ids.mint(), ids.mint(), ids.mint()
    events = [
        pb.AccountOpened(account_id=partner, kind=pb.PARTNER, currency=pb.USD, markup_bps=5_000),
        pb.AccountOpened(
            account_id=customer, kind=pb.PARTNER_CUSTOMER, currency=pb.TRY, markup_bps=3_000, parent_id=partner
        ),
    ]
    root = house.core.replica
    for opened in events:
        await root.append(partner, pb.Event(account_opened=opened))
    if partner_usd:
        credit = pb.CreditAdded(account_id=partner, amount_nano=partner_usd * NANO, reference="p")
        await root.append(partner, pb.Event(credit_added=credit))
    credit = pb.CreditAdded(account_id=customer, amount_nano=50 * NANO, reference="c")
    await root.append(partner, pb.Event(credit_added=credit))
    issued = pb.KeyIssued(key_id=key, account_id=customer, key_hash=key.ljust(32))
    await root.append(partner, pb.Event(key_issued=issued))
    house.account_id, house.key_id = customer, key
    return partner, customer


async def test_both_legs_are_held_and_charged(studio: Studio) -> None:
    """0.04 USD: the partner pays 0.06 USD, its customer 0.06 × 1.3 × 40 = 3.12 TL."""
    partner, customer = await open_pair(studio, 10)
    received = await studio.generate()
    assert received.body["cost"]["amount"] == 3.12
    accounts = studio.house.core.replica.state.accounts
    assert (accounts[partner].held_nano, accounts[customer].held_nano) == (60_000_000, 3_120_000_000)
    studio.kie.plan = studio.kie.done()
    await studio.ends(received.request_id)
    assert (accounts[partner].charges_nano, accounts[customer].charges_nano) == (60_000_000, 3_120_000_000)
    assert (accounts[partner].held_nano, accounts[customer].held_nano) == (0, 0)


async def test_the_providers_own_figure_lowers_both_legs(studio: Studio) -> None:
    """A model whose price only the provider knows: held at its bound, charged at its figure."""
    partner, customer = await open_pair(studio, 10)
    received = await studio.generate("bytedance/seedream-v4-text-to-image", max_images=6)
    assert received.ended, received.code
    held = received.body["cost"]["amount"]
    studio.kie.plan = studio.kie.done(creditsConsumed=5)
    shown = await studio.ends(received.request_id)
    accounts = studio.house.core.replica.state.accounts
    assert accounts[partner].charges_nano == 37_500_000  # 5 credits, 0.025 USD, at 50 %
    assert accounts[customer].charges_nano == 1_950_000_000
    assert shown["cost"]["amount"] == 1.95 < held


async def test_a_partner_without_balance_begins_nothing(studio: Studio) -> None:
    await open_pair(studio, 0)
    received = await studio.generate()
    assert received.code == "insufficient_balance_partner"
    assert studio.kie.creates == []
