"""The ledger, the machine and the reconciliation in the administration."""

import re
import signal

import pytest
from openai import OpenAI

from console.people.tables import Standing
from console.services import Services
from proto.onysoft.v1 import admin_pb2 as admin
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

WAIT_S = 40.0


@pytest.fixture
def support(services: Services) -> Browser:
    """Somebody who looks."""
    add_person(services, "sue@example.com", Standing.SUPPORT)
    return Browser(services).enter(services, "sue@example.com")


def _call(gateway: Gateway, customer: Customer) -> str:
    client = OpenAI(base_url=gateway.base_urls[0], api_key=customer.api_key, max_retries=0)
    messages = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=messages).id  # type: ignore[arg-type]


def _last(gateway: Gateway) -> int:
    return int(gateway.admin("GetStatus", admin.GetStatusRequest()).position)


def test_the_ledger_is_read_around_a_position_and_back_and_forth(support: Browser, gateway: Gateway) -> None:
    customer = gateway.open_account("2.00")
    request_id = _call(gateway, customer)
    newest = support.get("/admin/ledger")
    assert request_id in newest
    assert "call settled" in newest
    page = support.get("/admin/ledger?position=1")
    assert "rules activated" in page
    assert "admitted" in newest
    assert f'href="/admin/ledger?position={_last(gateway)}"' in support.get(f"/admin/ledger?position={_last(gateway)}")
    assert "Type a position" in support.get("/admin/ledger?q=nonsense", 400)
    assert "call settled" in support.get(f"/admin/ledger?position={10**17}"), "beyond the end: the end"


def test_an_account_and_a_key_are_found_with_their_positions(support: Browser, gateway: Gateway) -> None:
    customer = gateway.open_account("2.00")
    request_id = _call(gateway, customer)

    def is_there() -> bool:  # a range's tables are filled one after the other
        page = support.get(f"/admin/ledger?q={customer.account_id}")
        return request_id in page and "₺2.00" in page

    wait_until(is_there, WAIT_S, "the tables")
    page = support.get(f"/admin/ledger?q={customer.account_id}")
    assert "account opened" in page
    assert "-₺0.10" in page or "-₺0.15" in page
    position = re.search(r"/admin/ledger\?position=(\d+)", page)
    assert position
    assert request_id in support.get(f"/admin/ledger?position={position[1]}")
    assert request_id in support.get(f"/admin/ledger?q={customer.key_id}")
    assert "Nothing is known" in support.get("/admin/ledger?q=acc_000000000000000000000000")


def test_a_request_leads_to_its_story(support: Browser, gateway: Gateway) -> None:
    request_id = _call(gateway, gateway.open_account("2.00"))
    assert request_id in support.get(f"/admin/ledger?q={request_id}")


def test_what_happens_while_one_looks_is_shown(support: Browser, gateway: Gateway) -> None:
    before = _last(gateway)
    customer = gateway.open_account("2.00")
    page = support.get(f"/admin/ledger/follow?after={before}")
    assert customer.account_id in page
    after = re.search(r"follow\?after=(\d+)", page)
    assert after
    assert int(after[1]) > before
    assert "Nothing new" in support.get(f"/admin/ledger/follow?after={_last(gateway) + 10**6}")


def test_every_process_and_stream_is_listed_and_one_that_hangs_is_silent(support: Browser, gateway: Gateway) -> None:
    def is_heard() -> bool:
        page = support.get("/admin")
        return all(f"<td>{kind}</td>" in page for kind in ("core", "edge", "projections", "analytics"))

    wait_until(is_heard, WAIT_S, "every kind of process")
    page = support.get("/admin")
    assert "LEDGER" in page
    assert "is silent" not in page
    gateway.signal(["edge-1"], signal.SIGSTOP)
    try:
        wait_until(lambda: "edge-1 on " in support.get("/admin"), WAIT_S, "the alert")
    finally:
        gateway.signal(["edge-1"], signal.SIGCONT)
    wait_until(lambda: "is silent" not in support.get("/admin"), WAIT_S, "the end of it")


def test_runs_of_the_reconciliation_are_shown(support: Browser, gateway: Gateway) -> None:
    assert "onysoft reconcile" in support.get("/admin/reconcile")
