"""Keys under rules version 2: expiry, allowed models, rotation with grace, suspension, last use."""

import pytest

from core.ledger.outcome import Code
from core.ledger.rules_v2 import ALLOWED_MAX, GRACE_MS_MAX
from tests.model.ledger_log import Log, account_suspended, credit_added, key_issued, key_revoked, name, replay
from tests.model.tree_log import (
    blocked,
    call,
    issued,
    key_changed,
    key_resumed,
    key_suspended,
    paid,
    policy,
    rotated,
    secret_hash,
    tree,
)


def with_policy(**fields: object) -> Log:
    """The tree, and a key `k` of `ann` with a policy."""
    log = tree()
    log.append(issued("k", "ann", policy(**fields)))  # type: ignore[arg-type]
    return log


def test_a_key_is_refused_from_the_millisecond_it_expires() -> None:
    """A key that was given for a day would work for longer."""
    log = tree()
    log.append(issued("k", "ann", policy(expires_ms=log.now_ms + 1000)))
    log.now_ms += 999
    assert log.code(call(1, key="k")) is Code.ADMITTED
    log.now_ms += 1
    assert log.code(call(2, key="k")) is Code.KEY_REFUSED
    assert log.code(paid(1)) is Code.SETTLED
    log.append(key_changed("k", policy(expires_ms=log.now_ms + 1)))
    assert log.code(call(3, key="k")) is Code.ADMITTED
    log.append(key_changed("k", policy()))
    log.later(10**10)
    assert log.code(call(4, key="k")) is Code.ADMITTED


def test_a_key_calls_only_the_models_it_may() -> None:
    """A key for one cheap model would call any."""
    log = with_policy(models=("google/*", "openai/gpt-4o"))
    admitted, refused = Code.ADMITTED, Code.KEY_MODEL_REFUSED
    models = {"google/a": admitted, "google/": admitted, "google": refused, "openai/gpt-4o": admitted}
    models |= {"openai/gpt-4o-mini": refused, "x": refused, "": refused}
    assert {model: log.code(call(n, key="k", model=model)) for n, model in enumerate(models)} == models
    log.append(key_changed("k", policy(models=("*",))))
    assert log.code(call(10, key="k", model="x")) is admitted
    log.append(key_changed("k", policy(models=("y",))))
    assert log.code(call(11, key="k", model="x")) is refused
    log.append(key_changed("k", policy()))
    assert log.code(call(12, key="k", model="x")) is admitted


def test_a_policy_is_replaced_as_a_whole() -> None:
    """An operator who takes an address away would leave it open."""
    log = with_policy(expires_ms=9**15, models=("a", "b*"), ips=("10.0.0.0/8", "::1"))
    key = log.state.keys[name("k")]
    assert (key.expires_ms, key.allowed_models, key.allowed_ips) == (9**15, ("a", "b*"), ("10.0.0.0/8", "::1"))
    log.append(key_changed("k", policy(models=("c",))))
    assert (key.expires_ms, key.allowed_models, key.allowed_ips) == (0, ("c",), ())


@pytest.mark.parametrize(
    "bad",
    [
        policy(models=("",)),
        policy(models=("a*b",)),
        policy(models=("*a",)),
        policy(models=("**",)),
        policy(models=("m" * 201,)),
        policy(models=tuple(f"m{n}" for n in range(ALLOWED_MAX + 1))),
        policy(ips=("",)),
        policy(ips=("i" * 201,)),
        policy(ips=tuple(f"10.0.0.{n}" for n in range(ALLOWED_MAX + 1))),
    ],
)
def test_policies_that_make_no_sense_have_no_effect(bad: object) -> None:
    """A key would be open to everything, or the state would grow without bound."""
    log = tree()
    assert log.codes(issued("k", "ann", bad), key_changed("key-ann", bad)) == [Code.INVALID] * 2  # type: ignore[arg-type]
    assert name("k") not in log.state.keys
    assert log.state.keys[name("key-ann")].allowed_models == ()


def test_policies_as_large_as_allowed_count() -> None:
    """The hundredth model would be refused."""
    log = tree()
    models = tuple(f"m{n}" for n in range(ALLOWED_MAX - 1))
    ips = tuple(f"10.0.0.{n}" for n in range(ALLOWED_MAX - 1))
    its = policy(models=(*models, "m" * 200), ips=(*ips, "i" * 200))
    assert log.codes(issued("k", "ann", its), key_changed("key-pro", its)) == [Code.APPLIED] * 2


def test_keys_are_issued_once_and_to_accounts_that_are_there() -> None:
    """Two customers would have one key."""
    log = tree()
    assert log.codes(
        key_issued("k", "nobody"), key_issued("key-ann", "pro"), key_issued("k", "ann", name("key-ann").rjust(32, b"#"))
    ) == [Code.NOT_FOUND, Code.EXISTS, Code.EXISTS]
    assert log.code(key_issued("ann", "ann")) is Code.EXISTS  # an account's id: limits could mean either
    assert log.code(key_changed("nobody", policy())) is Code.NOT_FOUND


def test_the_old_secret_works_until_its_grace_is_over() -> None:
    """A rotation would break every client at once, or leave the old secret open for ever."""
    log = tree()
    assert log.code(rotated("key-ann", "new", grace_ms=1000)) is Code.APPLIED
    assert log.codes(call(1, secret=0), call(2, secret=1), call(3, secret=2)) == [
        Code.ADMITTED,
        Code.ADMITTED,
        Code.KEY_REFUSED,
    ]
    log.now_ms += 999
    assert log.code(call(4, secret=0)) is Code.ADMITTED
    log.now_ms += 1
    assert log.codes(call(5, secret=0), call(6, secret=1)) == [Code.KEY_REFUSED, Code.ADMITTED]


def test_a_second_rotation_ends_the_first_secret_at_once() -> None:
    """A secret that leaked would live through two graces."""
    log = tree()
    log.append(rotated("key-ann", "s1", grace_ms=10_000), rotated("key-ann", "s2", grace_ms=10_000))
    assert log.codes(call(1, secret=0), call(2, secret=1), call(3, secret=2)) == [
        Code.KEY_REFUSED,
        Code.ADMITTED,
        Code.ADMITTED,
    ]
    state = log.state
    assert name("key-ann").rjust(32, b"#") not in state.keys_by_hash
    assert state.keys_by_hash[secret_hash("s1")] is state.keys_by_hash[secret_hash("s2")] is state.keys[name("key-ann")]


def test_a_rotation_without_grace_ends_the_old_secret_at_once() -> None:
    """A leaked key would still be admitted after it was replaced."""
    log = tree()
    log.append(rotated("key-ann", "new"))
    assert log.codes(call(1, secret=0), call(2, secret=1)) == [Code.KEY_REFUSED, Code.ADMITTED]


def test_rotations_that_make_no_sense_have_no_effect() -> None:
    """Two keys would share a secret, a revoked key would come back, or a grace would outlast every replica."""
    log = tree()
    log.append(rotated("key-pro", "taken", 5), key_revoked("key-pri"))
    short = rotated("key-ann", "x")
    short.key_rotated.key_hash = b"short"
    own = rotated("key-ann", "x")
    own.key_rotated.key_hash = name("key-ann").rjust(32, b"#")
    assert log.codes(
        rotated("nobody", "x"),
        rotated("key-ann", "taken"),
        own,
        short,
        rotated("key-pri", "x"),
        rotated("key-ann", "x", GRACE_MS_MAX + 1),
        rotated("key-ann", "x", 2**64 - 1),
    ) == [Code.NOT_FOUND, Code.EXISTS, Code.EXISTS, Code.INVALID, Code.INVALID, Code.INVALID, Code.INVALID]
    assert (log.state.keys[name("key-ann")].secret, log.code(call(1))) == (0, Code.ADMITTED)
    assert log.code(rotated("key-ann", "x", GRACE_MS_MAX)) is Code.APPLIED
    log.state.digest()


def test_a_rotated_key_keeps_its_policy_and_use() -> None:
    """A rotation would reset limits or open every model."""
    log = with_policy(models=("m",))
    log.append(call(1, key="k"), rotated("k", "new"))
    key = log.state.keys[name("k")]
    assert (key.allowed_models, key.uses["m"].day_requests) == (("m",), 1)


def test_a_suspended_key_is_refused_until_it_is_resumed() -> None:
    """An operator could not stop a key without revoking it for good."""
    log = tree()
    assert log.codes(
        key_resumed("key-pro"),
        key_suspended("key-pro"),
        key_suspended("key-pro"),
        call(1, key="key-pro"),
        call(2, key="key2-pro"),
        key_resumed("key-pro"),
        call(3, key="key-pro"),
        key_suspended("nobody"),
        key_resumed("nobody"),
    ) == [
        Code.EXISTS,
        Code.APPLIED,
        Code.EXISTS,
        Code.KEY_SUSPENDED,
        Code.ADMITTED,
        Code.APPLIED,
        Code.ADMITTED,
        Code.NOT_FOUND,
        Code.NOT_FOUND,
    ]


def test_a_running_call_ends_although_its_key_was_taken_away() -> None:
    """An answer that was given would not be paid for."""
    log = tree()
    log.append(call(1, 10), call(2, 10), key_suspended("key-ann"), key_revoked("key-ann"))
    assert log.codes(paid(1, 10), call(3), call(2, 10, attempt=2)) == [
        Code.SETTLED,
        Code.KEY_REFUSED,
        Code.KEY_REFUSED,
    ]


def test_refusals_are_asked_for_in_their_order() -> None:
    """A client would be told a reason that is not the first it must mend."""
    log = tree()
    log.append(issued("k", "ann", policy(models=("a",))), blocked("ann", "*"), account_suspended("ann"))
    log.append(key_suspended("k"))
    assert log.code(call(1, 10**18, key="k", secret=5)) is Code.KEY_REFUSED
    assert log.code(call(1, 10**18, key="k")) is Code.KEY_SUSPENDED
    log.append(key_resumed("k"))
    assert log.code(call(1, 10**18, key="k")) is Code.SUSPENDED


def test_the_last_use_of_a_key_is_the_last_admitted_call() -> None:
    """An unused key would look used, or a used one unused."""
    log = tree()
    key = log.state.keys[name("key-ann")]
    log.append(call(1, 10**18))
    assert key.last_used_ms == 0
    log.append(call(2))
    used_ms = log.now_ms
    log.now_ms += 5000
    log.append(call(3, 10**18), paid(2))
    assert key.last_used_ms == used_ms
    log.append(call(4))
    assert key.last_used_ms == log.now_ms


def test_every_change_of_a_key_is_in_the_digest() -> None:
    """Replicas that disagree about a key would not notice."""
    log = tree()
    seen = {log.state.digest()}
    events = (
        key_changed("key-ann", policy(expires_ms=10**15)),
        key_changed("key-ann", policy(models=("a",))),
        key_changed("key-ann", policy(ips=("a",))),
        rotated("key-ann", "x", 10),
        key_suspended("key-ann"),
        key_resumed("key-ann"),
        key_revoked("key-ann"),
        credit_added(1, "more"),
    )
    for event in events:
        before = log.state.position, log.state.time_ms
        log.append(event)
        log.state.position, log.state.time_ms = before  # of the digest nothing but the key may make the difference
        seen.add(log.state.digest())
        log.state.position += 1
    assert len(seen) == len(events) + 1
    assert log.state.digest() == replay(log.messages).digest()
