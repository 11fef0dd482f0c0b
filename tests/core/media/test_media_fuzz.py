"""Whatever JSON comes, a caller gets an answer or a refusal: an exception here would be a 500, a wild price worse."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.media.catalogue import load
from core.media.prepare import prepare
from core.media.pricing import CREDIT_ATTO, quote
from core.media.schema import MediaModel
from runtime.errors import Refusal
from sandbox.kie import specs
from sandbox.kie.notation import BadInput, judge
from tests.core.media.images import URL, data_uri, png
from tests.core.media.obvious import obvious_request

MODELS = load().callable_models()
DEAREST_CREDITS = 6_000
"""More than any task of the catalogue may cost."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([URL, data_uri(png()), "data:,", "http://10.0.0.1/", "5", "1K", "720p", "Rachel", "true", "\x1f"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[MediaModel, dict[str, Any]]:
    model = draw(st.sampled_from(MODELS))
    names = [*model.fields, "prompt", "text", "image_url", "image_urls", "duration", "aspect_ratio", "voice", "odd"]
    changes = draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=4))
    return model, {**(obvious_request(model) if draw(st.booleans()) else {}), **changes}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_any_json_is_answered_or_refused(case: tuple[MediaModel, dict[str, Any]]) -> None:
    model, request = case
    try:
        prepared = prepare(model, request)
        quoted = quote(model, prepared)
    except Refusal:
        return
    assert 0 <= quoted.cost_atto <= DEAREST_CREDITS * CREDIT_ATTO
    if model.family == "market" and not prepared.references:
        whole = prepared.filled([URL] * len(prepared.embedded))
        try:
            judge(specs.market()[model.provider_model], whole, refuse_unknown=False)
        except BadInput as error:
            raise AssertionError(f"{model.id} would be refused by the provider: {error.message}") from error
