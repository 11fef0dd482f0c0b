"""`GET /v1/models`. A customer decides by these prices; a wrong one is a promise that the next charge breaks."""

from typing import Any

import orjson
import pytest

from core.catalogue import Catalogue
from core.ledger.accounts import Account, Key
from core.ledger.records import Model
from core.ledger.state import State
from core.listing import read_listing
from core.media.catalogue import load
from core.price_list import KEPT, PriceLists
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.errors import Refusal

NANO = 10**9
PRICING = {"prompt": "0.001", "completion": "0.002", "image": "0"}
LISTED = [{"id": model_id, "name": model_id, "context_length": 1000, "pricing": PRICING} for model_id in ("a/b", "c/d")]


class Provider:
    """Stands for one that is set up."""

    name = "home"


@pytest.fixture
def state() -> State:
    made = State()
    made.models = {model_id: Model(entry) for model_id, entry in read_listing("home", LISTED).models.items()}
    made.aliases = {"fast": "a/b"}
    made.models_version = 1
    made.fx_rates[pb.USD, pb.TRY] = 40 * NANO
    return made


@pytest.fixture
def lists(state: State) -> PriceLists:
    return PriceLists(Catalogue(lambda: state, [Provider()]), None)  # type: ignore[list-item]


def user(markup_bps: int = 5_000) -> Account:
    return Account(b"account-user", pb.USER, pb.TRY, markup_bps)


def prices(lists: PriceLists, state: State, account: Account, key: Key | None = None) -> dict[str, Any]:
    return {model["id"]: model["pricing"] for model in orjson.loads(lists.every(state, account, key))["data"]}


def test_prices_are_the_callers_after_markup_and_rate(state: State, lists: PriceLists) -> None:
    account = user()
    account.set_markup("c/*", 0)
    own = {"currency": "TRY", "prompt": "0.06", "completion": "0.12"}
    cheaper = {"currency": "TRY", "prompt": "0.04", "completion": "0.08"}
    assert prices(lists, state, account) == {"a/b": own, "c/d": cheaper, "fast": own}


def test_a_partner_pays_in_dollars_and_its_customer_on_top(state: State, lists: PriceLists) -> None:
    """A partner's customer would see its partner's purchase price."""
    partner = Account(b"account-part", pb.PARTNER, pb.USD, 5_000)
    customer = Account(b"account-cust", pb.PARTNER_CUSTOMER, pb.TRY, 3_000)
    customer.adopt(partner)
    assert prices(lists, state, partner)["a/b"] == {"currency": "USD", "prompt": "0.0015", "completion": "0.003"}
    assert prices(lists, state, customer)["a/b"] == {"currency": "TRY", "prompt": "0.078", "completion": "0.156"}


def test_a_list_follows_markup_rate_and_catalogue(state: State, lists: PriceLists) -> None:
    """A kept list would go on promising yesterday's prices."""
    account = user(0)
    assert prices(lists, state, account)["a/b"]["prompt"] == "0.04"
    account.set_markup("*", 10_000)
    assert prices(lists, state, account)["a/b"]["prompt"] == "0.08"
    state.fx_rates[pb.USD, pb.TRY] = 50 * NANO
    assert prices(lists, state, account)["a/b"]["prompt"] == "0.1"
    state.models["a/b"].active = False
    state.models_version += 1
    assert set(prices(lists, state, account)) == {"c/d"}


def test_what_is_blocked_or_not_the_keys_is_left_out(state: State, lists: PriceLists) -> None:
    account = user()
    key = Key(b"key-of-user!", account.account_id, bytes(32))
    key.allowed_models = ("c/*",)
    assert set(prices(lists, state, account, key)) == {"c/d"}
    account.change_blocks("c/d", True)
    assert set(prices(lists, state, account, key)) == set()
    assert set(prices(lists, state, account)) == {"a/b", "fast"}
    with pytest.raises(Refusal):
        lists.one(state, account, key, "a/b")


def test_one_model_is_found_by_id_and_by_alias(state: State, lists: PriceLists) -> None:
    account = user()
    one = orjson.loads(lists.one(state, account, None, "a/b"))
    assert (one["id"], one["object"], "alias_of" in one) == ("a/b", "model", False)
    alias = orjson.loads(lists.one(state, account, None, "fast"))
    assert (alias["id"], alias["alias_of"], alias["pricing"]) == ("fast", "a/b", one["pricing"])
    with pytest.raises(Refusal) as caught:
        lists.one(state, account, None, "no/such")
    assert caught.value.error.code == "model_not_found"


def test_media_models_are_listed_where_they_are_offered(state: State) -> None:
    lists = PriceLists(Catalogue(lambda: state, [Provider()]), load())  # type: ignore[list-item]
    listed = orjson.loads(lists.every(state, user(), None))["data"]
    assert {"chat", "image", "video"} <= {model["type"] for model in listed}
    video = next(model["id"] for model in listed if model["type"] == "video")
    assert orjson.loads(lists.one(state, user(), None, video))["id"] == video


def test_the_kept_lists_are_bounded(state: State, lists: PriceLists) -> None:
    for markup_bps in range(KEPT + 10):
        lists.every(state, user(markup_bps), None)
    assert len(lists._kept) == KEPT
