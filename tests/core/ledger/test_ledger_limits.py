"""Limits by model: which pattern governs, whose calls count, what is held, and that nothing used is ever reset."""

import pytest

from core.ledger.limits import describe
from core.ledger.outcome import Code
from core.ledger.owners import LIMITS_MAX, Gauge
from core.ledger.state import State
from tests.model.ledger_log import LEASE_MS, TRY, Log, name, released, replay
from tests.model.tree_log import USD, call, grown, limited, paid, tree, unlimited

OK = Code.ADMITTED
REFUSED_BY = {
    "requests_per_minute": Code.MINUTE_LIMIT,
    "requests_per_day": Code.DAY_LIMIT,
    "daily_requests": Code.DAILY_REQUESTS,
    "daily_tokens": Code.DAILY_TOKENS,
    "monthly_tokens": Code.MONTHLY_TOKENS,
}
OF_TOKENS = ("daily_tokens", "monthly_tokens")
OF_REQUESTS = ("requests_per_minute", "requests_per_day", "daily_requests")


def used_tokens(log: Log, request: str, tokens: int, key: str = "key-ann", model: str = "m") -> None:
    """A whole call of so many tokens."""
    codes = log.codes(call(request, tokens=tokens, key=key, model=model), paid(request, tokens=(tokens - 1, 1)))
    assert codes == [OK, Code.SETTLED]


def gauges(state: State) -> dict[object, tuple[int, int]]:
    """What each limit says is used now and held: derived, so that no digest has it."""

    def both(gauge: Gauge) -> tuple[int, int]:
        return gauge.used_now(state.windows), gauge.held

    owners = {**state.accounts, **state.keys}
    return {(i, g.kind, g.pattern): both(g) for i, owner in owners.items() for g in owner.gauges()}


@pytest.mark.parametrize("field", OF_REQUESTS)
@pytest.mark.parametrize("pattern", ["m", "m*", "*"])
@pytest.mark.parametrize("owner", ["key-ann", "ann"])
def test_exactly_so_many_calls_are_admitted(owner: str, pattern: str, field: str) -> None:
    """A customer would get one call too many or too few."""
    log = tree()
    log.append(limited(owner, pattern, **{field: 3}))
    assert log.codes(*(call(n) for n in range(5))) == [OK] * 3 + [REFUSED_BY[field]] * 2


@pytest.mark.parametrize("field", OF_TOKENS)
@pytest.mark.parametrize("pattern", ["m", "m*", "*"])
@pytest.mark.parametrize("owner", ["key-ann", "ann"])
def test_the_call_that_crosses_a_token_limit_is_the_last(owner: str, pattern: str, field: str) -> None:
    """A customer would be stopped before the limit, or could pass it more than once."""
    log = tree()
    log.append(limited(owner, pattern, **{field: 100}))
    used_tokens(log, "a", 99)
    used_tokens(log, "b", 500)
    assert log.code(call("c")) is REFUSED_BY[field]


@pytest.mark.parametrize("field", OF_TOKENS)
def test_a_token_limit_that_is_exactly_reached_refuses(field: str) -> None:
    """The call after the last token would run."""
    log = tree()
    log.append(limited("ann", **{field: 100}))
    used_tokens(log, "a", 100)
    assert log.code(call("b")) is REFUSED_BY[field]


@pytest.mark.parametrize("field", OF_TOKENS)
def test_what_running_calls_hold_counts_as_used(field: str) -> None:
    """A hundred calls at once would all pass a limit that one of them reaches."""
    log = tree()
    log.append(limited("key-ann", "m*", **{field: 100}))
    assert log.codes(call(1, tokens=99), call(2, tokens=1), call(3, tokens=1)) == [OK, OK, REFUSED_BY[field]]
    assert log.codes(released(2), call(4, tokens=50), call(5)) == [Code.RELEASED, OK, REFUSED_BY[field]]
    assert log.codes(paid(4, tokens=(1, 0)), call(6), call(7)) == [Code.SETTLED, REFUSED_BY[field], REFUSED_BY[field]]
    log.append(released(1))
    assert log.codes(call(8, tokens=98), call(9)) == [OK, OK]
    log.later(LEASE_MS)  # all that is open expires
    assert log.codes(call(10, tokens=99), call(11)) == [OK, REFUSED_BY[field]]
    assert log.codes(call(10, tokens=9, attempt=2), call(12)) == [OK, OK]  # the superseded attempt holds no more


def test_an_expired_calls_tokens_count_when_it_is_settled_late() -> None:
    """A slow provider would be used past the limit."""
    log = tree()
    log.append(limited("ann", daily_tokens=100), call(1, tokens=10))
    log.later(LEASE_MS)
    assert log.codes(call(2), paid(1, tokens=(90, 10)), call(3)) == [OK, Code.SETTLED_LATE, Code.DAILY_TOKENS]


def test_a_growing_hold_stops_where_others_have_reached_the_limit() -> None:
    """Calls that begin small would together pass a token limit by far more than the one call that crossed it."""
    log = tree()
    log.append(limited("ann", daily_tokens=100), *(call(n, tokens=5) for n in range(10)))
    assert log.code(grown(0, tokens=60)) is Code.EXTENDED  # 110 in all: this one crossed
    assert log.codes(grown(1, tokens=1), grown(2, tokens=1)) == [Code.EXTENSION_REFUSED] * 2
    assert log.code(grown(0, tokens=900)) is Code.EXTENDED  # the others hold 45
    assert log.code(grown(1)) is Code.EXTENDED  # only its lease
    assert log.state.requests[name(1)].hold_tokens == 5
    log.append(paid(0, tokens=(10, 0)))
    assert log.codes(grown(1, tokens=60), grown(2, tokens=1)) == [Code.EXTENDED, Code.EXTENSION_REFUSED]


@pytest.mark.parametrize(("owner", "pattern"), [("key-cem", "m"), ("cem", "m*"), ("pia", "*"), ("pam", "m")])
def test_a_growing_hold_meets_the_limits_of_all_above(owner: str, pattern: str) -> None:
    """A partner's limit would be passed through its customers."""
    log = tree()
    log.append(limited(owner, pattern, monthly_tokens=10), call(1, tokens=5, key="key-cem"))
    log.append(call(2, tokens=5, key="key-cem"))
    assert log.codes(grown(1, tokens=5), grown(2, tokens=1)) == [Code.EXTENDED, Code.EXTENSION_REFUSED]
    assert log.state.requests[name(2)].hold_tokens == 5


def test_a_refused_call_uses_nothing() -> None:
    """A client that tries in a loop would lock itself out."""
    log = tree()
    log.append(limited("ann", "m", requests_per_minute=2, daily_requests=2, daily_tokens=9))
    assert set(log.codes(*(call(f"x{n}", 10**18, tokens=50) for n in range(5)))) == {Code.INSUFFICIENT}
    assert log.codes(call(1), call(2), call(3)) == [OK, OK, Code.MINUTE_LIMIT]
    assert gauges(log.state) == {(name("ann"), kind, "m"): (used, 0) for kind, used in ((3, 2), (5, 2), (6, 0))}


def test_a_further_attempt_is_neither_counted_nor_refused() -> None:
    """A core's death would use up a limit twice."""
    log = tree()
    log.append(limited("ann", requests_per_minute=1, daily_requests=1), limited("key-ann", daily_tokens=10))
    assert log.codes(call(1, tokens=10), call(1, tokens=10, attempt=2), call(2)) == [OK, OK, Code.MINUTE_LIMIT]
    assert log.state.keys[name("key-ann")].uses["m"].day_requests == 1


def test_a_further_attempt_of_an_unknown_request_is_counted() -> None:
    """A limit would be passed by numbering attempts from two."""
    log = tree()
    log.append(limited("ann", daily_requests=1))
    assert log.codes(call(1, attempt=2), call(2, attempt=2)) == [OK, Code.DAILY_REQUESTS]


@pytest.mark.parametrize("field", REFUSED_BY)
def test_the_most_specific_pattern_governs_and_its_use_counts_there_alone(field: str) -> None:
    """A model with a limit of its own would use up the limit of all others, or be bound by it."""
    log = tree()
    log.append(limited("ann", "g*", **{field: 2}), limited("ann", "g/*", **{field: 3}))
    log.append(limited("ann", "g/a", **{field: 4}))
    refused = REFUSED_BY[field]

    def codes(model: str) -> list[Code]:
        found = []
        for n in range(5):
            found.append(log.code(call(f"{model}{n}", tokens=1, model=model)))
            if found[-1] is OK:
                log.append(paid(f"{model}{n}", tokens=(1, 0)))
        return found

    assert codes("g/a") == [OK] * 4 + [refused]
    assert codes("g/b") == [OK] * 3 + [refused] * 2
    assert codes("gem") == [OK] * 2 + [refused] * 3
    assert codes("g/bb") == [refused] * 5  # with g/b under `g/*`
    assert codes("open") == [OK] * 5


def test_each_field_has_its_own_most_specific_pattern() -> None:
    """A pattern that says nothing about tokens would take a model out of every token limit."""
    log = tree()
    log.append(limited("ann", "*", daily_tokens=10), limited("ann", "g/*", monthly_tokens=20))
    log.append(limited("ann", "g/a", daily_requests=5))
    used_tokens(log, "a", 10, model="g/a")
    assert log.code(call(1, model="g/a")) is Code.DAILY_TOKENS
    assert log.code(call(2, model="x")) is Code.DAILY_TOKENS
    log.append(limited("ann", "g/a", daily_tokens=100))
    used_tokens(log, "b", 10, model="g/a")
    assert log.code(call(3, model="g/a")) is Code.MONTHLY_TOKENS
    assert log.code(call(4, model="x")) is OK


@pytest.mark.parametrize("field", ["requests_per_minute", "requests_per_day"])
def test_limits_of_requests_under_the_star_bound_all_calls(field: str) -> None:
    """A model with a limit of its own would not count against the account's sixty a minute."""
    log = tree()
    log.append(
        limited("ann", "*", **{field: 3}), limited("ann", "g/*", **{field: 10}), limited("ann", "x", **{field: 1})
    )
    calls = [call(1, model="g/a"), call(2, model="x"), call(3, model="x"), call(4, model="y"), call(5, model="g/b")]
    assert log.codes(*calls) == [OK, OK, REFUSED_BY[field], OK, REFUSED_BY[field]]


@pytest.mark.parametrize("field", ["daily_requests", *OF_TOKENS])
def test_other_limits_under_the_star_bound_what_nothing_else_governs(field: str) -> None:
    """A model with its own limit would be stopped by the rest."""
    log = tree()
    log.append(limited("ann", "*", **{field: 1}), limited("ann", "g/*", **{field: 1}))
    for n, model in enumerate(("g/a", "x")):
        used_tokens(log, f"{n}", 1, model=model)
    assert log.codes(call(5, model="g/b"), call(6, model="y")) == [REFUSED_BY[field]] * 2
    log.append(unlimited("ann", "*"))
    assert log.codes(call(7, model="g/b"), call(8, model="y")) == [REFUSED_BY[field], OK]


@pytest.mark.parametrize("field", REFUSED_BY)
@pytest.mark.parametrize(
    ("owner", "bound"),
    [
        ("pam", {"key-pia", "key-cem", "key-can"}),
        ("pia", {"key-pia", "key-cem"}),
        ("cem", {"key-cem"}),
        ("org", {"key-pro", "key2-pro", "key-pri"}),
        ("pro", {"key-pro", "key2-pro"}),
        ("key-pro", {"key-pro"}),
        ("ann", {"key-ann"}),
    ],
)
@pytest.mark.parametrize("pattern", ["m", "*"])
def test_a_limit_counts_all_calls_below_and_no_other(owner: str, bound: set[str], field: str, pattern: str) -> None:
    """A partner would pass its limit through its customers, or a neighbour would use it up."""
    log = tree()
    log.append(limited(owner, pattern, **{field: 5}))
    keys = ("key-pia", "key-cem", "key-can", "key-pro", "key2-pro", "key-pri", "key-ann")
    for key in set(keys) - bound:
        for n in range(6):
            used_tokens(log, f"{key}{n}"[-12:], 1, key)
    each = sorted(bound)
    for n in range(5):
        used_tokens(log, f"{n}", 1, each[n % len(each)])
    refused = {key for key in keys if log.code(call(f"x{key}", key=key)) is REFUSED_BY[field]}
    assert refused == bound


def test_the_first_limit_in_the_order_of_kinds_is_named() -> None:
    """A client would be told to wait a minute for what lasts a month, or the other way round."""
    log = tree()
    used_tokens(log, "a", 1)
    order = list(REFUSED_BY)
    for n, field in enumerate(reversed(order)):
        log.append(limited("key-ann" if n % 2 else "ann", "m" if n < 3 else "*", **{field: 1}))
        assert log.code(call(f"x{n}")) is REFUSED_BY[field]
    for n, field in enumerate(order[:-1]):
        log.append(*(limited(owner, pattern, **{field: 0}) for owner in ("ann", "key-ann") for pattern in ("m", "*")))
        assert log.code(call(f"y{n}")) is REFUSED_BY[order[n + 1]]


def test_every_limit_is_asked_before_money() -> None:
    """A client would be told to top up when only waiting helps."""
    log = tree()
    log.append(limited("ann", "m", monthly_tokens=1))
    used_tokens(log, "a", 1)
    assert log.code(call(1, 10**18)) is Code.MONTHLY_TOKENS


@pytest.mark.parametrize("field", REFUSED_BY)
@pytest.mark.parametrize("pattern", ["m", "*"])
def test_a_limit_finds_what_was_used_before_it_was_set(field: str, pattern: str) -> None:
    """A new limit would begin at nothing: a customer would get it twice."""
    log = tree()
    for n in range(3):
        used_tokens(log, f"{n}", 1, "key-cem")
    for owner in ("key-cem", "cem", "pia", "pam"):
        log.append(limited(owner, pattern, **{field: 4}))
    used_tokens(log, "last", 1, "key-cem")
    assert log.code(call("x", key="key-cem")) is REFUSED_BY[field]


@pytest.mark.parametrize("field", REFUSED_BY)
@pytest.mark.parametrize("pattern", ["m", "m*", "*"])
def test_changing_clearing_and_setting_again_never_resets_use(field: str, pattern: str) -> None:
    """A customer would get a second day by having its limit changed."""
    log = tree()
    log.append(limited("ann", pattern, **{field: 3}))
    for n in range(3):
        used_tokens(log, f"a{n}", 1)
    refused = REFUSED_BY[field]
    assert log.codes(call(1), limited("ann", pattern, **{field: 4}), call(2), paid(2, tokens=(1, 0)), call(3)) == [
        refused,
        Code.APPLIED,
        OK,
        Code.SETTLED,
        refused,
    ]
    assert log.codes(limited("ann", pattern, **{field: 0}), call(4), paid(4, tokens=(1, 0))) == [
        Code.APPLIED,
        OK,
        Code.SETTLED,
    ]
    assert log.codes(limited("ann", pattern, **{field: 5}), call(5)) == [Code.APPLIED, refused]
    assert log.codes(unlimited("ann", pattern), call(6), paid(6, tokens=(1, 0))) == [Code.APPLIED, OK, Code.SETTLED]
    assert log.codes(limited("ann", pattern, **{field: 6}), call(7)) == [Code.APPLIED, refused]
    assert log.codes(limited("ann", pattern, **{field: 7}), call(8)) == [Code.APPLIED, OK]


def test_a_more_specific_limit_takes_its_models_use_along_and_gives_it_back() -> None:
    """What a model has used would be forgotten, or be counted under two limits."""
    log = tree()
    log.append(limited("ann", "*", daily_tokens=100), call("open", tokens=7, model="g/a"))
    used_tokens(log, "a", 30, model="g/a")
    used_tokens(log, "b", 50, model="x")
    assert list(gauges(log.state).values()) == [(80, 7)]
    log.append(limited("ann", "g/*", daily_tokens=30))
    assert sorted(gauges(log.state).values()) == [(30, 7), (50, 0)]
    assert log.code(call(1, model="g/b")) is Code.DAILY_TOKENS
    log.append(unlimited("ann", "g/*"))
    assert list(gauges(log.state).values()) == [(80, 7)]


def test_fields_that_are_absent_stay_and_zero_removes() -> None:
    """Changing one limit would remove another."""
    log = tree()
    log.append(limited("ann", "m", daily_requests=5, daily_tokens=6), limited("ann", "*", requests_per_minute=7))
    log.append(limited("ann", "m", daily_requests=8), limited("ann", "*", requests_per_day=9))
    owner = log.state.accounts[name("ann")]
    assert {(kind.value, pattern): most for (kind, pattern), most in owner.limits.items()} == {(5, "m"): 8, (6, "m"): 6}
    assert (owner.requests_per_minute, owner.requests_per_day) == (7, 9)
    log.append(limited("ann", "m", daily_tokens=0), limited("ann", "*", requests_per_minute=0))
    assert {(kind.value, pattern) for kind, pattern in owner.limits} == {(5, "m")}
    assert (owner.requests_per_minute, owner.requests_per_day) == (0, 9)
    log.append(unlimited("ann", "*"))
    assert (len(owner.limits), owner.requests_per_day) == (1, 0)
    log.append(unlimited("ann", "m"))
    assert owner.limits == {}


def test_limits_that_make_no_sense_have_no_effect() -> None:
    """A typing error would limit everything, or nothing."""
    log = tree()
    assert log.codes(
        limited("nobody", "m", daily_requests=1),
        limited("ann", "", daily_requests=1),
        limited("ann", "a*b", daily_requests=1),
        limited("ann", "m" * 201, daily_requests=1),
        limited("ann", "m"),
        unlimited("nobody", "m"),
        unlimited("ann", "a*b"),
        unlimited("ann", "m"),
        limited("ann", "m" * 199 + "*", daily_requests=1),
    ) == [
        Code.NOT_FOUND,
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.NOT_FOUND,
        Code.INVALID,
        Code.APPLIED,
        Code.APPLIED,
    ]


def test_limits_are_bounded_in_number_and_may_be_changed_when_full() -> None:
    """The state would grow without bound, or a limit could not be changed any more."""
    log = tree()
    many = [limited("ann", f"m{n}", daily_requests=1, daily_tokens=1) for n in range(LIMITS_MAX // 2)]
    assert set(log.codes(*many)) == {Code.APPLIED}
    assert log.codes(
        limited("ann", "one more", daily_requests=1),
        limited("ann", "m0", monthly_tokens=1),
        limited("ann", "m0", daily_tokens=9, monthly_tokens=0),
        limited("ann", "*", requests_per_minute=1, requests_per_day=1),
        unlimited("ann", "m1"),
        limited("ann", "one more", daily_requests=1, daily_tokens=1),
        limited("ann", "and more", daily_requests=1),
    ) == [
        Code.INVALID,
        Code.INVALID,
        Code.APPLIED,
        Code.APPLIED,
        Code.APPLIED,
        Code.APPLIED,
        Code.INVALID,
    ]


def test_the_tightest_limit_per_minute_is_shown() -> None:
    """A client that paces itself by the headers would run into a limit that they do not show."""
    log = tree()
    log.append(limited("pam", requests_per_minute=50), limited("key-cem", "g/*", requests_per_minute=4))

    def shown(request: str, model: str) -> tuple[int, int]:
        outcome = log.append(call(request, key="key-cem", model=model))[0]
        return outcome.limit, outcome.remaining

    assert shown("a", "x") == (50, 49)
    assert shown("b", "g/a") == (4, 3)
    assert shown("c", "x") == (50, 47)
    log.append(limited("cem", requests_per_minute=5))
    assert shown("d", "x") == (5, 1)
    assert shown("e", "g/a") == (5, 0)
    assert shown("f", "g/a") == (5, 0)
    settled = log.append(paid("b"))[0]
    assert (settled.limit, settled.remaining) == (5, 0)
    log.append(limited("cem", requests_per_minute=3))
    assert log.append(paid("d"))[0].remaining == 0
    refused = log.append(call("x", key="nobody", account="cem"))[0]
    assert (refused.code, refused.limit, refused.remaining) == (Code.KEY_REFUSED, 3, 0)


def test_without_limits_none_is_shown() -> None:
    """A client would pace itself by a limit of nothing."""
    log = tree()
    outcome = log.append(call(1))[0]
    assert (outcome.limit, outcome.remaining, outcome.reset_s) == (0, 0, log.now_ms // 60_000 * 60 + 60)


def test_gauges_after_a_restore_equal_those_of_a_replay() -> None:
    """A restarted core would count from nothing, and disagree with its peers."""
    log = tree()
    log.append(
        limited("key-cem", "g/*", requests_per_minute=9, daily_tokens=99),
        limited("pia", "*", monthly_tokens=500, daily_requests=50),
        limited("pam", "g/a", requests_per_day=70, daily_tokens=98),
    )
    for n, model in enumerate(("g/a", "g/b", "x")):
        log.append(call(n, TRY, USD, tokens=10, key="key-cem", model=model), call(f"o{n}", tokens=3, key="key-cem"))
        log.append(paid(n, tokens=(4, n)), grown(f"o{n}", tokens=2))
        log.later(40_000)
    before = gauges(log.state)
    assert len(before) == 6
    assert any(held for _, held in before.values())
    assert gauges(State.from_snapshot(log.state.to_snapshot())) == before == gauges(replay(log.messages))


def test_what_people_read_is_what_verdicts_count() -> None:
    """An operator would see a limit as free that refuses."""
    log = tree()
    log.append(limited("ann", "m", daily_requests=3, daily_tokens=50), limited("ann", requests_per_minute=4))
    log.append(call(1, tokens=20), call(2, tokens=5), paid(1, tokens=(8, 2)))
    rows = {(row.pattern, row.kind): row[2:6] for row in describe(log.state, name("ann"), 0)}
    assert rows == {
        ("*", "requests_per_minute"): (4, 2, 0, 2),
        ("m", "daily_requests"): (3, 2, 0, 1),
        ("m", "daily_tokens"): (50, 10, 5, 35),
        ("*", "free_model_requests"): (5, 0, 0, 5),
    }
