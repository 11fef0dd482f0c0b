"""Limits, blocks and rates as operators set and see them."""

from typing import Any

import pytest

from core.fx.watch import PAIR
from core.ledger.money import NANO
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.admin.conftest import UNKNOWN_ACCOUNT, Operator

CALL = {"attempt": 1, "hold_nano": 0, "lease_ms": 60_000}


async def owners(operator: Operator) -> tuple[str, str]:
    """A user's account without limits, and its key."""
    account = await operator.open(requests_per_minute=0, requests_per_day=0)
    request = admin.IssueKeyRequest(account_id=account.account_id, name="k")
    return account.account_id, (await operator.call("IssueKey", request)).key_id


async def call(operator: Operator, account_id: str, key_id: str, model: str, tokens: int, number: int) -> None:
    """One running call."""
    opened = ledger.RequestOpened(
        request_id=number.to_bytes(12, "big"),
        account_id=bytes.fromhex(account_id[4:]),
        key_id=bytes.fromhex(key_id[4:]),
        model=model,
        hold_tokens=tokens,
        **CALL,
    )
    await operator.replica.append(bytes.fromhex(account_id[4:]), ledger.Event(request_opened=opened))


def shown(found: admin.LimitList) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    return {(row.pattern, row.kind): (row.most, row.used, row.held, row.left) for row in found.limits}


@pytest.mark.parametrize("of_key", [False, True])
async def test_limits_are_set_shown_and_cleared(operator: Operator, of_key: bool) -> None:
    """An operator who cannot see what is used sets the wrong limit."""
    account_id, key_id = await owners(operator)
    owner = key_id if of_key else account_id
    await call(operator, account_id, key_id, "google/a", 30, 1)
    request = admin.SetLimitsRequest(owner_id=owner, pattern="google/*", daily_requests=10, daily_tokens=100)
    rows = shown(await operator.call("SetLimits", request))
    assert rows["google/*", "daily_requests"] == (10, 1, 0, 9), "what was used before the limit counts"
    assert rows["google/*", "daily_tokens"] == (100, 0, 30, 70)
    rows = shown(await operator.call("SetLimits", admin.SetLimitsRequest(owner_id=owner, requests_per_minute=5)))
    assert rows["*", "requests_per_minute"] == (5, 1, 0, 4)
    assert rows["google/*", "daily_tokens"] == (100, 0, 30, 70), "naming one limit leaves the others"
    await call(operator, account_id, key_id, "google/b", 20, 2)
    found = await operator.call("ListLimits", admin.OwnerRef(owner_id=owner))
    assert shown(found)["google/*", "daily_tokens"] == (100, 0, 50, 50)
    now_ms = operator.replica.state.time_ms
    assert all(row.resets_ms > now_ms for row in found.limits if row.kind != "free_model_requests")
    assert ("*", "free_model_requests") in shown(found) or of_key
    removed = admin.SetLimitsRequest(owner_id=owner, pattern="google/*", daily_tokens=0)
    assert ("google/*", "daily_tokens") not in shown(await operator.call("SetLimits", removed))
    rows = shown(await operator.call("ClearLimits", admin.PatternRef(owner_id=owner, pattern="google/*")))
    assert ("google/*", "daily_requests") not in rows
    assert ("*", "requests_per_minute") in rows


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (admin.SetLimitsRequest(owner_id=UNKNOWN_ACCOUNT), "invalid_argument", "daily_tokens"),
        (admin.SetLimitsRequest(owner_id=UNKNOWN_ACCOUNT, daily_tokens=1), "not_found", UNKNOWN_ACCOUNT),
        (admin.SetLimitsRequest(owner_id="key_" + "0" * 24, daily_tokens=1), "not_found", "key_"),
        (admin.SetLimitsRequest(owner_id="usr_1", daily_tokens=1), "invalid_argument", "owner_id"),
    ],
)
async def test_a_mistake_is_refused_by_name(operator: Operator, request_: Any, code: str, field: str) -> None:
    failure = await operator.refused("SetLimits", request_)
    assert failure.code == code
    assert field in failure.message


async def test_a_wrong_pattern_is_refused(operator: Operator) -> None:
    """A limit under a pattern that matches nothing would limit nothing."""
    account_id, _ = await owners(operator)
    request = admin.SetLimitsRequest(owner_id=account_id, pattern="*/gpt", daily_tokens=1)
    assert (await operator.refused("SetLimits", request)).message.startswith("pattern ")


async def test_models_are_blocked_and_unblocked(operator: Operator) -> None:
    """A partner could not keep its customers from a model."""
    for owner in await owners(operator):
        reference = admin.PatternRef(owner_id=owner, pattern="google/*")
        for _ in range(2):
            assert list((await operator.call("BlockModel", reference)).patterns) == ["google/*"]
        listed = await operator.call("ListLimits", admin.OwnerRef(owner_id=owner))
        assert list(listed.blocked_models) == ["google/*"]
        for _ in range(2):
            assert list((await operator.call("UnblockModel", reference)).patterns) == []


async def test_a_rate_that_waits_is_confirmed_by_a_person(operator: Operator) -> None:
    """After a real jump every call would go on at yesterday's price."""
    assert (await operator.refused("ConfirmFxRate", admin.ConfirmFxRateRequest(base=ledger.USD))).code == (
        "failed_precondition"
    )
    assert not (await operator.call("ListFxRates", admin.ListFxRatesRequest())).rates
    await operator.call("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate="40.00"))
    proposed = ledger.FxRateProposed(
        base=PAIR[0], quote=PAIR[1], rate_nano=60 * NANO, source="tcmb", reference="2026-08-14"
    )
    await operator.replica.append(b"fx", ledger.Event(fx_rate_proposed=proposed))
    found = await operator.call("ListFxRates", admin.ListFxRatesRequest())
    assert (found.rates[0].rate, found.rates[0].source, found.rates[0].stale) == ("40.00", "manual", False)
    assert (found.proposed[0].rate, found.proposed[0].reference) == ("60.00", "2026-08-14")
    unseen = await operator.refused("ConfirmFxRate", admin.ConfirmFxRateRequest(base=ledger.USD, rate="59.00"))
    assert "60.00" in unseen.message, "nobody confirms what they have not seen"
    confirmed = await operator.call("ConfirmFxRate", admin.ConfirmFxRateRequest(base=ledger.USD, rate="60.00"))
    assert (confirmed.rate, confirmed.source, confirmed.reference) == ("60.00", "tcmb", "2026-08-14")
    found = await operator.call("ListFxRates", admin.ListFxRatesRequest())
    assert (found.rates[0].rate, len(found.proposed)) == ("60.00", 0)


async def test_a_rate_set_by_hand_twice_counts_twice(operator: Operator) -> None:
    """A second correction on one day would be taken for a repetition of the first."""
    for rate in ("40.00", "41.00", "40.00"):
        shown_rate = await operator.call("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate=rate))
        assert shown_rate.rate == rate
        assert operator.replica.state.fx_rates[PAIR] == int(rate[:2]) * NANO
