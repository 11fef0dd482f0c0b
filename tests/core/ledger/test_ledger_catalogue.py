"""The catalogue in the ledger: versions of models, activation, aliases."""

import pytest

from core.ledger import rules_v2
from core.ledger.outcome import Code
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.tree_log import alias_removed, alias_set, model_activated, model_deactivated, model_set, tree


def test_a_model_is_set_whole_and_each_version_replaces_the_one_before() -> None:
    """A call would be charged at a price of which half is old."""
    log = tree()
    assert log.codes(model_set("a/b", b"1"), model_set("a/b", b"1"), model_set("a/b", b"2")) == [
        Code.APPLIED,
        Code.EXISTS,
        Code.APPLIED,
    ]
    model = log.state.models["a/b"]
    assert (model.set.price, model.active) == (b"2", True)


def test_a_new_version_leaves_a_model_off_that_was_off() -> None:
    """A repricing would switch a model on that a person had switched off."""
    log = tree()
    log.append(model_set("a", b"1"))
    assert log.codes(
        model_deactivated("a"),
        model_deactivated("a"),
        model_set("a", b"2"),
    ) == [Code.APPLIED, Code.EXISTS, Code.APPLIED]
    assert not log.state.models["a"].active
    assert log.codes(model_activated("a"), model_activated("a")) == [Code.APPLIED, Code.EXISTS]
    assert log.state.models["a"].active
    assert log.codes(model_activated("b"), model_deactivated("b")) == [Code.NOT_FOUND] * 2


@pytest.mark.parametrize(
    "bad",
    [
        pb.ModelSet(model_id="", kind="chat", price=b"1", price_version=b"v"),
        pb.ModelSet(model_id="m" * 201, kind="chat", price=b"1", price_version=b"v"),
        pb.ModelSet(model_id="a*", kind="chat", price=b"1", price_version=b"v"),
        pb.ModelSet(model_id="a", kind="", price=b"1", price_version=b"v"),
        pb.ModelSet(model_id="a", kind="chat", price=b"", price_version=b"v"),
        pb.ModelSet(model_id="a", kind="chat", price=b"1", price_version=b""),
        pb.ModelSet(model_id="alias", kind="chat", price=b"1", price_version=b"v"),
    ],
    ids=["no id", "long id", "pattern", "no kind", "no price", "no version", "an alias"],
)
def test_models_that_make_no_sense_have_no_effect(bad: pb.ModelSet) -> None:
    """A model without a price could be called."""
    log = tree()
    log.append(model_set("m"), alias_set("alias", "m"))
    assert log.code(pb.Event(model_set=bad)) is Code.INVALID
    assert log.state.models.keys() == {"m"}


def test_an_alias_leads_to_one_model_and_is_never_a_models_id() -> None:
    """A call would be charged as another model."""
    log = tree()
    log.append(model_set("a"), model_set("b"))
    assert log.codes(
        alias_set("x", "a"),
        alias_set("x", "a"),
        alias_set("x", "b"),
        alias_set("a", "b"),
        alias_set("", "a"),
        alias_set("x" * 201, "a"),
        alias_set("x" * 200, "a"),
        alias_set("y", "nobody"),
        alias_set("y", "x"),
    ) == [
        Code.APPLIED,
        Code.EXISTS,
        Code.APPLIED,
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.APPLIED,
        Code.NOT_FOUND,
        Code.NOT_FOUND,
    ]
    assert log.state.aliases == {"x": "b", "x" * 200: "a"}
    assert log.codes(alias_removed("x"), alias_removed("x"), model_set("x")) == [
        Code.APPLIED,
        Code.NOT_FOUND,
        Code.APPLIED,
    ]


def test_every_change_is_noticed_by_those_who_watch_the_catalogue() -> None:
    """A core would go on with the old price."""
    log = tree()
    for event, changes in (
        (model_set("a"), True),
        (model_set("a"), False),
        (model_set("a", b"2"), True),
        (model_deactivated("a"), True),
        (model_deactivated("a"), False),
        (model_activated("a"), True),
        (alias_set("x", "a"), True),
        (alias_set("x", "a"), False),
        (alias_removed("x"), True),
        (alias_removed("x"), False),
    ):
        before = log.state.models_version
        log.append(event)
        assert (log.state.models_version > before) == changes, event


def test_the_catalogue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state would grow without bound, or a full catalogue could not be repriced."""
    monkeypatch.setattr(rules_v2, "MODELS_MAX", 3)
    log = tree()
    assert log.codes(*(model_set(f"m{n}") for n in range(4))) == [Code.APPLIED] * 3 + [Code.INVALID]
    assert log.codes(*(alias_set(f"a{n}", "m0") for n in range(4))) == [Code.APPLIED] * 3 + [Code.INVALID]
    assert log.codes(model_set("m0", b"2"), alias_set("a0", "m1")) == [Code.APPLIED] * 2


def test_a_model_that_is_kept_is_a_copy() -> None:
    """A later change of the message would change the catalogue."""
    log = tree()
    log.append(model_set("a", b"1"))
    first = log.state.models["a"].set
    log.append(model_set("a", b"2"))
    assert first.price == b"1"
