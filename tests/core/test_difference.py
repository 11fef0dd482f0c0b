"""What a synchronisation would do to the catalogue. What it gets wrong is sold at a wrong price, or not at all."""

from dataclasses import dataclass
from typing import Any

import pytest

from core.difference import UNLISTED_GONE, Approval, Difference, Kind, described, difference
from core.listing import read_listing
from proto.onysoft.v1.ledger_pb2 import ModelRoute, ModelSet

MANUAL = Approval(bound_bps=2_000)


@dataclass
class Known:
    """A catalogue entry in place of the fold's."""

    set: ModelSet
    active: bool = True


def raw(model_id: str, prompt: str = "0.000001", **fields: Any) -> dict[str, Any]:
    pricing = {"prompt": prompt, "completion": "0.000002"}
    return {"id": model_id, "name": model_id, "context_length": 1000, "pricing": pricing} | fields


def catalogue(*listed: dict[str, Any]) -> dict[str, Known]:
    return {model_id: Known(model) for model_id, model in read_listing("home", listed).models.items()}


def compare(known: dict[str, Known], *listed: dict[str, Any], approval: Approval = MANUAL) -> Difference:
    return difference(known, [], read_listing("home", listed), approval, further=[])


def kinds(found: Difference) -> dict[str, Kind]:
    return {change.model.model_id: change.kind for change in found.changes}


def test_the_same_list_changes_nothing() -> None:
    """Each reading would write the whole catalogue to the log again."""
    found = compare(catalogue(raw("a/b"), raw("a/c")), raw("a/b"), raw("a/c"))
    assert (found.changes, found.unchanged) == ((), 2)


def test_the_first_list_is_taken_as_it_is() -> None:
    """A fresh gateway would sell nothing until a person had approved 300 models."""
    assert not compare({}, raw("a/b")).waiting


def test_a_new_model_waits_for_approval() -> None:
    """A provider could put anything at any price into the shop."""
    known = catalogue(raw("a/b"))
    assert [change.model.model_id for change in compare(known, raw("a/b"), raw("a/c")).waiting] == ["a/c"]
    approved = compare(known, raw("a/b"), raw("a/c"), approval=Approval(new=True))
    assert [change.model.model_id for change in approved.due] == ["a/c"]


@pytest.mark.parametrize(
    ("prompt", "waits"),
    [("0.0000012", False), ("0.00000121", True), ("0.0000008", False), ("0.00000079", True), ("0", True)],
)
def test_a_repricing_waits_beyond_the_bound_either_way(prompt: str, waits: bool) -> None:
    """A misplaced point would multiply every customer's bill, or leave every hold too small."""
    (change,) = compare(catalogue(raw("a/b")), raw("a/b", prompt)).changes
    assert (change.kind, change.waits) == (Kind.REPRICED, waits)


def test_from_nothing_to_something_waits_whatever_the_bound() -> None:
    """A free model would begin to cost."""
    (change,) = compare(catalogue(raw("a/b", "0")), raw("a/b", "0.1"), approval=Approval(bound_bps=10**9)).changes
    assert change.waits


def test_by_how_much_is_said_for_each_part() -> None:
    before = raw("a/b", pricing={"prompt": "0.000001", "completion": "0.000002"})
    overrides = [{"min_prompt_tokens": 1000, "prompt": "0.000003"}]
    after = raw("a/b", pricing={"prompt": "0.000001", "completion": "0.0000025", "overrides": overrides})
    (change,) = described(compare(catalogue(before), after))["repriced"]
    assert change["changes"] == [
        {"part": "completion", "from": "0.000002", "to": "0.0000025", "by": "0.0000005", "percent": "25.00"},
        {
            "part": "prompt from 1000 tokens",
            "from": "0.000001",
            "to": "0.000003",
            "by": "0.000002",
            "percent": "200.00",
        },
    ]


def test_a_discount_is_a_repricing() -> None:
    """It changes what every call costs, although each price stands as it was."""
    after = raw("a/b")
    after["pricing"]["discount"] = 0.1
    (change,) = compare(catalogue(raw("a/b")), after).changes
    assert [(part.part, part.change_bps) for part in change.parts] == [("completion", -1000), ("prompt", -1000)]


def test_a_model_without_a_whole_price_is_named_with_the_reason_and_taken_out() -> None:
    """It would be called at a cost that nobody can bound."""
    known = catalogue(raw("a/b"), raw("a/c"))
    found = compare(known, raw("a/b", "-1"), raw("a/c"), raw("a/d", pricing={"prompt": "1"}), raw("a/e", pricing=None))
    assert kinds(found) == {"a/b": Kind.GONE}
    assert found.due[0].model.unlisted == "the price for prompt varies from call to call"
    assert {entry["id"]: entry["reason"] for entry in described(found)["unpriced"]} == {
        "a/b": "the price for prompt varies from call to call",
        "a/d": "no price for completion",
        "a/e": "no price",
    }


def test_gone_and_back_keeps_what_the_operator_has_set() -> None:
    """A provider's outage would wipe out defaults and routes, and each return would wait for a person."""
    known = catalogue(raw("a/b"), raw("a/c"))
    known["a/b"].set.defaults = b'{"temperature":0}'
    known["a/b"].set.routes.append(ModelRoute(provider="second", upstream_id="b", order=1))
    (gone,) = compare(known, raw("a/c")).due
    assert (gone.kind, gone.model.unlisted) == (Kind.GONE, UNLISTED_GONE)
    before, known["a/b"] = known["a/b"].set, Known(gone.model)
    assert not compare(known, raw("a/c")).changes
    (back,) = compare(known, raw("a/b"), raw("a/c")).due
    assert (back.kind, back.model) == (Kind.BACK, before)


def test_a_list_that_has_lost_most_models_is_not_believed() -> None:
    """A provider's bad minute would close the shop."""
    known = catalogue(*(raw(f"a/{number}") for number in range(30)))
    assert len(compare(known, *(raw(f"a/{number}") for number in range(10))).waiting) == 20
    assert not compare(known, *(raw(f"a/{number}") for number in range(20))).waiting
    assert not compare(known, approval=Approval(gone=True)).waiting


def test_other_fields_change_without_a_repricing() -> None:
    (change,) = compare(catalogue(raw("a/b")), raw("a/b", context_length=2000)).changes
    assert (change.kind, change.waits, change.fields) == (Kind.CHANGED, False, ("context_length", "output_tokens_max"))


def test_a_further_provider_adds_routes_once_and_leaves_the_operators_alone() -> None:
    """A route that was removed on purpose would come back with every reading."""
    known = catalogue(raw("a/b"), raw("a/c"))
    second = read_listing("second", [{"id": "a/b"}, {"id": "x/y"}])
    found = difference(known, [], second, MANUAL)
    assert kinds(found) == {"a/b": Kind.ROUTED}
    known["a/b"].set.CopyFrom(found.due[0].model)
    assert [(route.provider, route.order) for route in known["a/b"].set.routes] == [("home", 0), ("second", 1)]
    assert not difference(known, [], read_listing("second", [{"id": "a/b"}, {"id": "a/c"}]), MANUAL).changes
    (gone,) = difference(known, [], read_listing("second", [{"id": "a/c"}]), MANUAL).due
    assert [route.provider for route in gone.model.routes] == ["home"]


def test_a_new_model_has_a_route_for_each_provider_that_lists_it() -> None:
    """Failover would be missing for what came last."""
    listing = read_listing("home", [raw("a/b")])
    (change,) = difference({}, [], listing, MANUAL, further=[read_listing("second", [{"id": "a/b"}])]).changes
    assert [(route.provider, route.order) for route in change.model.routes] == [("home", 0), ("second", 1)]


def test_models_of_other_homes_are_not_gone() -> None:
    """Reading one provider's list would take every other provider's models out of sale."""
    known = catalogue(raw("a/b"))
    known["kie/video"] = Known(
        ModelSet(model_id="kie/video", kind="video", routes=[ModelRoute(provider="kie", upstream_id="v")])
    )
    assert not compare(known, raw("a/b")).changes


def test_an_alias_is_not_overwritten() -> None:
    listing = read_listing("home", [raw("a/b"), raw("fast")])
    found = difference(catalogue(raw("a/b")), ["fast"], listing, Approval(new=True), further=[])
    assert not found.changes
    assert found.unsold == {"fast": "its id is an alias here"}


@pytest.mark.parametrize(
    "model",
    [{}, {"id": 5}, {"id": ""}, {"id": "a b"}, {"id": "x" * 300}, {"id": "a\n"}, {"id": "a/*"}],
)
def test_what_has_no_usable_id_is_left_out(model: dict[str, Any]) -> None:
    assert not read_listing("home", [model]).ids


def test_what_chat_cannot_put_out_is_not_sold() -> None:
    architecture = {"output_modalities": ["embeddings"]}
    listing = read_listing("home", [raw("a/b", architecture=architecture)])
    assert listing.unsold == {"a/b": "chat has no use for its output: embeddings"}
