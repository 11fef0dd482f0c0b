"""Models and rates in the administration: nothing is approved that was not seen, and what is wrong says so."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from openai import OpenAI, OpenAIError

from console.people.tables import Standing
from console.services import Services
from proto.onysoft.v1 import admin_pb2 as admin
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import Gateway, wait_until

MODEL = "openai/gpt-4o-mini"
NEW = "acme/brand-new-1"
OTHER = "acme/brand-new-2"
LISTED = {"context_length": 8000, "pricing": {"prompt": "0.000001", "completion": "0.000002"}}
WAIT_S = 30.0


@pytest.fixture
def root(services: Services) -> Browser:
    """An administrator, signed in with the second factor."""
    add_person(services, "root@example.com", Standing.ADMINISTRATOR)
    return Browser(services).enter(services, "root@example.com")


@pytest.fixture
def support(services: Services) -> Browser:
    """Somebody who looks."""
    add_person(services, "sue@example.com", Standing.SUPPORT)
    return Browser(services).enter(services, "sue@example.com")


@pytest.fixture
def listed(gateway: Gateway) -> Iterator[Gateway]:
    """A provider that lists a model more, and another at twice its price."""
    gateway.control(models={NEW: LISTED, "deepseek/deepseek-chat": {"pricing": {"prompt": "0.1"}}})
    yield gateway
    gateway.control()


def _expected(page: str) -> str:
    found = re.search(r'name="expected" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


def test_a_new_model_is_approved_as_it_was_seen_and_can_be_called(root: Browser, listed: Gateway) -> None:
    page = root.get("/admin/sync")
    assert NEW in page
    assert "deepseek/deepseek-chat" in page
    assert "waits" in page
    page = root.get("/admin/sync?new=1")
    root.post("/admin/sync", provider="openrouter", new="1", expected=_expected(page))
    customer = listed.open_account("1.00")
    client = OpenAI(base_url=listed.base_urls[0], api_key=customer.api_key, max_retries=0)

    def answers() -> bool:
        try:
            client.chat.completions.create(model=NEW, messages=[{"role": "user", "content": "hi"}])
        except OpenAIError:
            return False
        return True

    wait_until(answers, WAIT_S, "the new model")
    wait_until(lambda: NEW in root.get("/admin/sync"), WAIT_S, "the history")
    history = root.get(f"/admin/catalogue/model?id={NEW}")
    assert "0.000001" in history
    assert "Every version" in history


def test_another_difference_than_the_one_that_was_seen_is_not_applied(root: Browser, gateway: Gateway) -> None:
    gateway.control(models={OTHER: LISTED})
    try:
        seen = _expected(root.get("/admin/sync?new=1"))
        gateway.control(models={OTHER: {**LISTED, "pricing": {"prompt": "0.9", "completion": "0.9"}}})
        page = root.post("/admin/sync", 409, provider="openrouter", new="1", expected=seen)
        assert "not the one that you saw" in page
        assert "0.9" in page
        known = [each.id for each in gateway.admin("ListModels", admin.ListModelsRequest(inactive=True)).models]
        assert OTHER not in known
        assert "Look at the difference first" in root.post("/admin/sync", 400, provider="openrouter", new="1")
    finally:
        gateway.control()


def test_a_provider_whose_prices_are_data_of_the_release_is_only_compared(root: Browser) -> None:
    page = root.get("/admin/sync?provider=kie")
    assert "compared and never applied" in page
    assert 'name="expected"' not in page


def test_support_looks_and_applies_nothing(support: Browser, listed: Gateway) -> None:
    page = support.get("/admin/sync?new=1")
    assert 'name="expected"' not in page
    assert "Put on sale" not in support.get(f"/admin/catalogue/model?id={MODEL}")
    support.post("/admin/catalogue/deactivate", 404, id=MODEL)
    support.post("/admin/rates", 404, rate="50")


def test_the_catalogue_is_searched_and_paged(root: Browser) -> None:
    first = root.get("/admin/catalogue")
    assert "page=1" in first
    assert MODEL not in root.get("/admin/catalogue?search=claude")
    assert MODEL in root.get("/admin/catalogue?search=4o-mini&kind=chat&state=on")
    assert "No model is like that" in root.get("/admin/catalogue?search=nothing-is-called-so")


def test_a_model_is_withdrawn_named_and_given_defaults(root: Browser, gateway: Gateway) -> None:
    root.post("/admin/catalogue/deactivate", id=MODEL)
    assert "taken out of sale" in root.get(f"/admin/catalogue/model?id={MODEL}")
    assert MODEL in root.get("/admin/catalogue?state=off&search=4o-mini")
    root.post("/admin/catalogue/activate", id=MODEL)
    root.post("/admin/catalogue/alias", id=MODEL, alias="quick-one")
    root.post("/admin/catalogue/defaults", id=MODEL, defaults='{"temperature": 0.5}')
    root.post("/admin/catalogue/route", id=MODEL, provider="fallback", upstream_id=MODEL, order="3", weight="2")
    page = root.get(f"/admin/catalogue/model?id={MODEL}")
    assert "quick-one" in page
    assert "fallback" in page
    assert '{"temperature": 0.5}' in unescape(page)
    root.post("/admin/catalogue/route/remove", id=MODEL, provider="fallback", upstream_id=MODEL)
    root.post("/admin/catalogue/alias/remove", id=MODEL, alias="quick-one")
    root.post("/admin/catalogue/defaults", id=MODEL, defaults="{}")
    page = root.get(f"/admin/catalogue/model?id={MODEL}")
    assert "quick-one" not in page
    assert "fallback" not in page


@pytest.mark.parametrize(
    ("what", "fields", "told"),
    [
        ("defaults", {"defaults": '{"temperature": 9}'}, "temperature must be a number from 0 to 2"),
        ("defaults", {"defaults": "not json"}, "defaults must be JSON"),
        ("alias", {"alias": MODEL}, "must not be a model"),
        ("route", {"provider": "x", "upstream_id": "y", "order": "-1"}, "whole numbers"),
        ("route", {"provider": "x", "upstream_id": "y", "price": '{"prompt": "-1"}'}, "price cannot be charged"),
        ("route/remove", {"provider": "nobody"}, "no such route"),
    ],
)
def test_what_is_wrong_stands_beside_what_was_typed(
    root: Browser, what: str, fields: dict[str, str], told: str
) -> None:
    page = unescape(root.post(f"/admin/catalogue/{what}", 400, id=MODEL, **fields))
    assert told in page
    for value in fields.values():
        assert value in page


@pytest.mark.parametrize("text", ["²", "٣", "-1", "1e3", "9" * 30])
def test_numbers_that_are_none_are_no_error_of_ours(root: Browser, text: str) -> None:
    """`isdigit` takes what `int` does not."""
    for path in ("/admin/catalogue?page=", "/admin/sync?done=", "/admin/ledger/follow?after=", "/models?first="):
        assert root.http.get(f"{path}{text}").status_code < 500, path
    assert root.http.get(f"/admin/ledger?position={text}").status_code in (200, 400)
    root.post("/admin/catalogue/route", 400, id=MODEL, provider="x", upstream_id="y", order=text)


def test_a_model_of_every_kind_of_price_is_shown(root: Browser, gateway: Gateway) -> None:
    """A chat's price is an object of amounts, a media model's a list of conditions."""
    models = gateway.admin("ListModels", admin.ListModelsRequest(inactive=True)).models
    for kind in {each.kind for each in models}:
        model = next(each for each in models if each.kind == kind)
        assert model.price_version.hex() in root.get(f"/admin/catalogue/model?id={model.id}")


def test_an_unknown_model_is_not_found(root: Browser) -> None:
    root.get("/admin/catalogue/model?id=no/such-model", 404)


def test_a_rate_is_set_by_hand_and_nothing_is_confirmed_that_does_not_wait(root: Browser, gateway: Gateway) -> None:
    before = gateway.admin("ListFxRates", admin.ListFxRatesRequest()).rates[0].rate
    try:
        root.post("/admin/rates", rate="41,75")
        assert "41.75 TRY" in root.get("/admin/rates")
        assert "rate must" in root.post("/admin/rates", 400, rate="-3")
        assert "no rate waits" in root.post("/admin/rates/confirm", 400, seen="99")
        assert "Look at the rate" in root.post("/admin/rates/confirm", 400)
        wait_until(lambda: "manual" in root.get("/admin/rates").split("History")[-1], WAIT_S, "the history")
    finally:
        root.post("/admin/rates", rate=before)
