"""The catalogue as calls see it: what the ledger's events make callable, at which upper bound, and what not."""

from typing import Any

import pytest

from core.catalogue import Catalogue
from core.ledger.records import Model
from core.ledger.state import State
from core.listing import read_listing
from core.pricing import ATTO
from proto.onysoft.v1.ledger_pb2 import ModelRoute, ModelSet
from runtime.errors import Refusal

RAW = {"id": "a/b", "name": "B", "context_length": 1000, "pricing": {"prompt": "0.001", "completion": "0.002"}}


class Provider:
    """Stands for one that is set up."""

    def __init__(self, name: str) -> None:
        self.name = name


def version(**fields: Any) -> ModelSet:
    model = read_listing("home", [RAW]).models["a/b"]
    for name, value in fields.items():
        if name == "routes":
            model.routes.extend(value)
        else:
            setattr(model, name, value)
    return model


def put(state: State, model: ModelSet) -> Model:
    state.models[model.model_id] = made = Model(model)
    state.models_version += 1
    return made


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def catalogue(state: State) -> Catalogue:
    return Catalogue(lambda: state, [Provider("home"), Provider("second")])  # type: ignore[list-item]


def refusal(catalogue: Catalogue, model_id: str) -> str:
    with pytest.raises(Refusal) as caught:
        catalogue.find(model_id)
    return caught.value.error.code


def test_a_core_without_a_catalogue_does_not_deny_models(state: State, catalogue: Catalogue) -> None:
    """After a first start a customer would be told that its model does not exist, and stop asking."""
    assert refusal(catalogue, "a/b") == "service_unavailable"
    put(state, version())
    assert catalogue.find("a/b").id == "a/b"
    assert refusal(catalogue, "no/such") == "model_not_found"


def test_a_model_is_found_by_its_aliases(state: State, catalogue: Catalogue) -> None:
    put(state, version())
    state.aliases["fast"] = "a/b"
    state.models_version += 1
    assert catalogue.find("fast").id == "a/b"


def test_what_was_taken_out_of_sale_is_not_found(state: State, catalogue: Catalogue) -> None:
    """A model that the operator has withdrawn would be called, by its own name or another."""
    put(state, version(model_id="a/c"))
    withdrawn = put(state, version())
    state.aliases["fast"] = "a/b"
    withdrawn.active = False
    state.models_version += 1
    assert refusal(catalogue, "a/b") == refusal(catalogue, "fast") == "model_not_found"


@pytest.mark.parametrize(
    "model",
    [
        version(unlisted="no price"),
        version(kind="video"),
        version(price=b'{"prompt":"0.1"}'),
        version(price=b"{"),
        ModelSet(model_id="a/b", kind="chat", price=b'{"prompt":"0","completion":"0"}'),
        version(price=b'{"prompt":"-1","completion":"-1"}'),
    ],
)
def test_what_cannot_be_called_is_in_no_list(state: State, catalogue: Catalogue, model: ModelSet) -> None:
    """A call without a whole price or a provider would cost the house what it costs."""
    put(state, version(model_id="a/c"))
    put(state, model)
    assert set(catalogue.entries) == {"a/c"}


def test_a_hold_covers_the_dearest_route(state: State, catalogue: Catalogue) -> None:
    """Failover to a dearer provider would cost more than was held: the house pays the rest."""
    dear = ModelRoute(provider="second", upstream_id="b", order=1, price=b'{"completion":"0.005","prompt":"0.0001"}')
    put(state, version(routes=[dear]))
    entry = catalogue.find("a/b")
    assert (entry.price.upper.prompt, entry.price.upper.completion) == (ATTO // 1000, 5 * ATTO // 1000)
    assert entry.price.rates.completion == 2 * ATTO // 1000
    home, second = entry.routes
    assert entry.price_of(home) is entry.price
    assert entry.price_of(second).rates.completion == 5 * ATTO // 1000


def test_routes_whose_provider_is_not_set_up_are_left_out(state: State, catalogue: Catalogue) -> None:
    put(state, version(routes=[ModelRoute(provider="elsewhere", upstream_id="b")]))
    assert [route.provider.name for route in catalogue.find("a/b").routes] == ["home"]


def test_an_entry_changes_with_the_ledger_and_with_nothing_else(state: State, catalogue: Catalogue) -> None:
    """Calls would go on at an old price, or each would build the whole catalogue anew."""
    model = put(state, version())
    other = put(state, version(model_id="a/c"))
    before = dict(catalogue.entries)
    assert catalogue.entries["a/b"] is before["a/b"]
    model.set = version(price=b'{"completion":"1","prompt":"1"}')
    state.models_version += 1
    assert catalogue.find("a/b").price.rates.prompt == ATTO
    assert catalogue.find("a/c") is before["a/c"]
    assert other.set.model_id == "a/c"
