"""The error page, row by row: how each refusal comes about, and what a client then sees.

A program decides by status, code, headers and the SDK's class what to do next; a person by the message, in their
language. Each row is provoked on a running gateway, over plain HTTP in both languages and through the SDK.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import openai
import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.errors import CATALOGUE
from tests.clients.conftest import Control
from tests.clients.test_plain_http import COMMON, ask
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

MODEL = "openai/gpt-4o-mini"
FAULTY = "mistralai/mistral-nemo"
FREE = "meta-llama/llama-3.3-70b-instruct:free"
CHAT = "/chat/completions"
HELLO = [{"role": "user", "content": "[[tokens=12]] Merhaba"}]
FIXED = {"model": FIXED_PRICE_MODEL, "messages": HELLO}
SLOW_TOKENS_PER_S = 4
TRIES_MAX = 8
GRACE_MS = 4_000

ELSEWHERE = {
    "internal_error": "a defect, which no client can provoke: tests/edge/test_relay.py",
    "request_timeout": "a request that stays half sent: tests/edge/test_http.py",
    "generation_failed": "not a response: it stands in a task's status",
    "generation_expired": "not a response: it stands in a task's status",
}
"""Codes that cannot be provoked here, and where they are."""


class Provoked(NamedTuple):
    """A request that is refused every time that it is sent."""

    api_key: str
    body: Any = FIXED
    path: str = CHAT
    method: str = "POST"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class Stage:
    """The gateway, and what a row must undo when it is over."""

    def __init__(self, gateway: Gateway, control: Control, undo: ExitStack) -> None:
        self.gateway = gateway
        self.control = control
        self.undo = undo

    def open(self, lira: str = "5.00", **limits: int) -> Customer:
        return self.gateway.open_account(lira, **limits)

    def account(self, kind: int, parent: str = "", credit: str = "") -> str:
        """An account of any kind, at no markup and without limits; its id."""
        request = admin.OpenAccountRequest(
            kind=ledger.AccountKind.ValueType(kind),
            name="t",
            parent_id=parent,
            markup_bps=0,
            requests_per_minute=0,
            requests_per_day=0,
        )
        account_id: str = self.gateway.admin("OpenAccount", request).account_id
        if credit:
            self.gateway.credit(account_id, credit, "first")
        return account_id

    def key(self, account_id: str, **policy: Any) -> admin.IssuedKey:
        request = admin.IssueKeyRequest(account_id=account_id, name="t", policy=ledger.KeyPolicy(**policy))
        issued: admin.IssuedKey = self.gateway.admin("IssueKey", request)
        return issued

    def ask(self, method: str, request: Any) -> Any:
        return self.gateway.admin(method, request)

    def used_up(self, owner_of: Callable[[Customer], str], model: str = MODEL, **limits: int) -> Provoked:
        """A customer whose limit one call has used up."""
        customer = self.open()
        self.ask("SetLimits", admin.SetLimitsRequest(owner_id=owner_of(customer), pattern="*", **limits))  # type: ignore[arg-type]
        body = {"model": model, "messages": HELLO}
        assert self.send(Provoked(customer.api_key, body))[0] == 200
        return Provoked(customer.api_key, body)

    def while_running(self, api_key: str) -> Provoked:
        """A request beside a running call of the same key, which holds what both would need."""
        self.control(tokens_per_second=SLOW_TOKENS_PER_S)
        stop = threading.Event()
        running = threading.Event()

        def stream() -> None:
            client = openai.OpenAI(base_url=self.gateway.base_urls[0], api_key=api_key, max_retries=0, timeout=30)
            asked: Any = {"model": FIXED_PRICE_MODEL, "messages": [{"role": "user", "content": "[[tokens=200]] a"}]}
            with client.chat.completions.create(stream=True, **asked) as chunks:
                for _ in chunks:
                    running.set()
                    if stop.is_set():
                        return

        thread = threading.Thread(target=stream)
        thread.start()
        self.undo.callback(thread.join, 30)
        self.undo.callback(stop.set)
        assert running.wait(20), "the call that holds the balance did not begin"
        return Provoked(api_key)

    def send(self, provoked: Provoked, language: str = "") -> tuple[int, dict[str, str], Any]:
        headers = {"accept-language": language} if language else {}
        headers |= {"authorization": f"Bearer {provoked.api_key}", **provoked.headers}
        return ask(self.gateway, provoked.method, provoked.path, headers, provoked.body)


Provoke = Callable[[Stage], Provoked]


def wrong_parameter(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, {**FIXED, "temperature": 3})


def unknown_key(stage: Stage) -> Provoked:
    return Provoked("sk-ony-" + "0" * 48)


def revoked_key(stage: Stage) -> Provoked:
    customer = stage.open()
    stage.ask("RevokeKey", admin.KeyRef(key_id=customer.key_id))
    return Provoked(customer.api_key)


def expired_key(stage: Stage) -> Provoked:
    customer = stage.open()
    expires_ms = int(time.time() * 1000) + 700
    issued = stage.key(customer.account_id, expires_ms=expires_ms)
    wait_until(lambda: time.time() * 1000 > expires_ms, 10, "the key's expiry")
    return Provoked(issued.api_key)


def replaced_secret(stage: Stage) -> Provoked:
    customer = stage.open()
    assert stage.send(Provoked(customer.api_key))[0] == 200
    rotated = stage.ask("RotateKey", admin.RotateKeyRequest(key_id=customer.key_id))
    assert stage.send(Provoked(rotated.api_key))[0] == 200
    return Provoked(customer.api_key)


def secret_past_its_grace(stage: Stage) -> Provoked:
    """It works as long as its grace lasts, so that its owner can bring the new one to every server."""
    customer = stage.open()
    stage.ask("RotateKey", admin.RotateKeyRequest(key_id=customer.key_id, grace_ms=GRACE_MS))
    assert stage.send(Provoked(customer.api_key))[0] == 200
    page = Provoked(customer.api_key, None, "/balance", "GET")
    wait_until(lambda: stage.send(page)[0] != 200, 20, "the end of the grace")
    return Provoked(customer.api_key)


def no_balance(stage: Stage) -> Provoked:
    return Provoked(stage.open("0").api_key)


def held_balance(stage: Stage) -> Provoked:
    return stage.while_running(stage.open("0.15").api_key)


def partner_without_balance(stage: Stage) -> Provoked:
    customer = stage.account(ledger.PARTNER_CUSTOMER, stage.account(ledger.PARTNER), credit="5.00")
    return Provoked(stage.key(customer).api_key)


def held_partner(stage: Stage) -> Provoked:
    partner = stage.account(ledger.PARTNER, credit="0.003")
    customer = stage.account(ledger.PARTNER_CUSTOMER, partner, credit="5.00")
    return stage.while_running(stage.key(customer).api_key)


def suspended_account(stage: Stage) -> Provoked:
    customer = stage.open()
    stage.ask("SuspendAccount", admin.AccountRef(account_id=customer.account_id))
    return Provoked(customer.api_key)


def suspended_organisation(stage: Stage) -> Provoked:
    organisation = stage.account(ledger.ORGANISATION)
    project = stage.account(ledger.PROJECT, organisation, credit="5.00")
    stage.ask("SuspendAccount", admin.AccountRef(account_id=organisation))
    return Provoked(stage.key(project).api_key)


def suspended_partner(stage: Stage) -> Provoked:
    partner = stage.account(ledger.PARTNER, credit="5.00")
    customer = stage.account(ledger.PARTNER_CUSTOMER, partner, credit="5.00")
    stage.ask("SuspendAccount", admin.AccountRef(account_id=partner))
    return Provoked(stage.key(customer).api_key)


def blocked_for_account(stage: Stage) -> Provoked:
    customer = stage.open()
    stage.ask("BlockModel", admin.PatternRef(owner_id=customer.account_id, pattern="sandbox/*"))
    return Provoked(customer.api_key)


def blocked_by_partner(stage: Stage) -> Provoked:
    partner = stage.account(ledger.PARTNER, credit="5.00")
    customer = stage.account(ledger.PARTNER_CUSTOMER, partner, credit="5.00")
    stage.ask("BlockModel", admin.PatternRef(owner_id=partner, pattern=FIXED_PRICE_MODEL))
    return Provoked(stage.key(customer).api_key)


def blocked_for_key(stage: Stage) -> Provoked:
    customer = stage.open()
    stage.ask("BlockModel", admin.PatternRef(owner_id=customer.key_id, pattern="*"))
    return Provoked(customer.api_key)


def not_allowed_to_key(stage: Stage) -> Provoked:
    return Provoked(stage.key(stage.open().account_id, allowed_models=["google/*"]).api_key)


def suspended_key(stage: Stage) -> Provoked:
    customer = stage.open()
    stage.ask("SuspendKey", admin.KeyRef(key_id=customer.key_id))
    return Provoked(customer.api_key)


def other_address(stage: Stage) -> Provoked:
    return Provoked(stage.key(stage.open().account_id, allowed_ips=["192.0.2.0/24", "2001:db8::/32"]).api_key)


def claimed_address(stage: Stage) -> Provoked:
    """The header comes from the client itself: no proxy is trusted here."""
    issued = stage.key(stage.open().account_id, allowed_ips=["192.0.2.0/24"])
    return Provoked(issued.api_key, headers={"x-forwarded-for": "192.0.2.1"})


def unknown_model(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, {**FIXED, "model": "no/such"})


def unpriced_model(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, {**FIXED, "model": "sandbox/unpriced"})


def unknown_model_page(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, None, "/models/no/such", "GET")


def unknown_path(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, path="/nothing/here")


def another_accounts_request(stage: Stage) -> Provoked:
    _, fields, _ = stage.send(Provoked(stage.open().api_key))
    return Provoked(stage.open().api_key, None, f"/requests/{fields['x-request-id']}", "GET")


def other_method(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, None, method="GET")


def large_body(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, {**FIXED, "user": "x" * 10_000_000})


def large_headers(stage: Stage) -> Provoked:
    return Provoked(stage.open().api_key, headers={"x-much": "x" * 40_000})


def provider_refuses(stage: Stage) -> Provoked:
    return _failing(stage, error_rates={"422": 1})


def provider_fails(stage: Stage) -> Provoked:
    return _failing(stage, error_rates={"500": 1})


def provider_wants_money(stage: Stage) -> Provoked:
    return _failing(stage, error_rates={"402": 1})


def provider_is_silent(stage: Stage) -> Provoked:
    return _failing(stage, stall_after_tokens=0)


def _failing(stage: Stage, **faults: Any) -> Provoked:
    """Good calls first, so that the circuit to the provider stays closed."""
    customer = stage.open()
    body = {"model": FAULTY, "messages": HELLO}
    for _ in range(TRIES_MAX):
        assert stage.send(Provoked(customer.api_key, body))[0] == 200
    stage.control(only_models=[FAULTY], **faults)
    return Provoked(customer.api_key, body)


def minute_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.account_id, requests_per_minute=1)


def keys_minute_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.key_id, requests_per_minute=1)


def day_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.account_id, requests_per_day=1)


def models_day_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.key_id, daily_requests=1)


def days_tokens_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.key_id, daily_tokens=1)


def months_tokens_used_up(stage: Stage) -> Provoked:
    return stage.used_up(lambda customer: customer.account_id, monthly_tokens=1)


def free_calls_used_up(stage: Stage) -> Provoked:
    customer = stage.open("0")
    provoked = Provoked(customer.api_key, {"model": FREE, "messages": HELLO})
    assert [stage.send(provoked)[0] for _ in range(5)] == [200] * 5
    return provoked


class Row(NamedTuple):
    """One way to a refusal, and the refusal. `stops`: the SDK must not repeat it; `waits`: it says how long to wait."""

    provoke: Provoke
    code: str
    status: int
    error: type[openai.APIStatusError]
    says: str
    in_english: str
    waits: bool = False
    stops: bool = False


BALANCE = "Yetersiz bakiye. Lütfen bakiye yükleyin.", "Insufficient balance. Please top up."
KEY = "API anahtarı geçersiz veya devre dışı.", "The API key is invalid or deactivated."
SUSPENDED = "Proje askıya alınmış.", "The project is suspended."
BLOCKED = "Bu model engellenmiş.", "This model is blocked."
DENIED = "Erişim reddedildi.", "Access denied."
NO_MODEL = "Model bulunamadı.", "The model was not found."
NOTHING = "Bulunamadı.", "Not found."
BUSY = "Hizmet şu anda kullanılamıyor. Lütfen yeniden deneyin.", "The service is unavailable. Please try again."
MINUTE = "Dakikalık istek sınırı aşıldı.", "The limit of requests per minute is exceeded."
DAY = "Günlük istek sınırı aşıldı.", "The limit of requests per day is exceeded."

ROWS = (
    Row(wrong_parameter, "invalid_request", 400, openai.BadRequestError, "Geçersiz istek: ", "Invalid request: "),
    Row(unknown_key, "invalid_api_key", 401, openai.AuthenticationError, *KEY),
    Row(revoked_key, "invalid_api_key", 401, openai.AuthenticationError, *KEY),
    Row(expired_key, "invalid_api_key", 401, openai.AuthenticationError, *KEY),
    Row(replaced_secret, "invalid_api_key", 401, openai.AuthenticationError, *KEY),
    Row(secret_past_its_grace, "invalid_api_key", 401, openai.AuthenticationError, *KEY),
    Row(no_balance, "insufficient_balance", 402, openai.APIStatusError, *BALANCE),
    Row(
        held_balance,
        "insufficient_balance",
        402,
        openai.APIStatusError,
        "Yetersiz bakiye: bakiyenin bir kısmı süren çağrılar için ayrıldı.",
        "Insufficient balance: part of it is held by running calls.",
        waits=True,
    ),
    Row(
        partner_without_balance,
        "insufficient_balance",
        402,
        openai.APIStatusError,
        "Yetersiz bakiye: iş ortağının bakiyesi bu çağrıyı karşılamıyor.",
        "Insufficient balance: the partner's balance does not cover this call.",
    ),
    Row(
        held_partner,
        "insufficient_balance",
        402,
        openai.APIStatusError,
        "Yetersiz bakiye: iş ortağının bakiyesinin bir kısmı süren çağrılar için ayrıldı.",
        "Insufficient balance: part of the partner's balance is held by running calls.",
        waits=True,
    ),
    Row(suspended_account, "project_suspended", 403, openai.PermissionDeniedError, *SUSPENDED),
    Row(suspended_organisation, "project_suspended", 403, openai.PermissionDeniedError, *SUSPENDED),
    Row(suspended_partner, "project_suspended", 403, openai.PermissionDeniedError, *SUSPENDED),
    Row(blocked_for_account, "model_blocked", 403, openai.PermissionDeniedError, *BLOCKED),
    Row(blocked_by_partner, "model_blocked", 403, openai.PermissionDeniedError, *BLOCKED),
    Row(blocked_for_key, "model_blocked", 403, openai.PermissionDeniedError, *BLOCKED),
    Row(not_allowed_to_key, "model_blocked", 403, openai.PermissionDeniedError, *BLOCKED),
    Row(suspended_key, "access_denied", 403, openai.PermissionDeniedError, *DENIED),
    Row(other_address, "access_denied", 403, openai.PermissionDeniedError, *DENIED),
    Row(claimed_address, "access_denied", 403, openai.PermissionDeniedError, *DENIED),
    Row(unknown_model, "model_not_found", 404, openai.NotFoundError, *NO_MODEL),
    Row(unpriced_model, "model_not_found", 404, openai.NotFoundError, *NO_MODEL),
    Row(unknown_model_page, "model_not_found", 404, openai.NotFoundError, *NO_MODEL),
    Row(unknown_path, "not_found", 404, openai.NotFoundError, *NOTHING),
    Row(another_accounts_request, "not_found", 404, openai.NotFoundError, *NOTHING),
    Row(
        other_method,
        "method_not_allowed",
        405,
        openai.APIStatusError,
        "Bu adres bu yöntemi desteklemiyor.",
        "This address does not take that method.",
    ),
    Row(
        large_body,
        "payload_too_large",
        413,
        openai.APIStatusError,
        "İstek çok büyük (en fazla 10 MB).",
        "The request is too large (10 MB at most).",
    ),
    Row(
        provider_refuses,
        "model_not_supported",
        422,
        openai.UnprocessableEntityError,
        "Sağlayıcı bu modeli veya girdiyi desteklemiyor.",
        "The provider does not support this model or input.",
    ),
    Row(minute_used_up, "rate_limit_exceeded", 429, openai.RateLimitError, *MINUTE, waits=True),
    Row(keys_minute_used_up, "rate_limit_exceeded", 429, openai.RateLimitError, *MINUTE, waits=True),
    Row(day_used_up, "daily_request_limit_exceeded", 429, openai.RateLimitError, *DAY, stops=True),
    Row(models_day_used_up, "daily_request_limit_exceeded", 429, openai.RateLimitError, *DAY, stops=True),
    Row(
        days_tokens_used_up,
        "daily_token_limit_exceeded",
        429,
        openai.RateLimitError,
        "Günlük token sınırı aşıldı.",
        "The limit of tokens per day is exceeded.",
        stops=True,
    ),
    Row(
        months_tokens_used_up,
        "monthly_token_limit_exceeded",
        429,
        openai.RateLimitError,
        "Aylık token sınırı aşıldı.",
        "The limit of tokens per month is exceeded.",
        stops=True,
    ),
    Row(
        free_calls_used_up,
        "free_model_rate_limit",
        429,
        openai.RateLimitError,
        "Ücretsiz modeller için 24 saatlik istek sınırı aşıldı.",
        "The limit of requests to free models in 24 hours is exceeded.",
        stops=True,
    ),
    Row(
        large_headers,
        "headers_too_large",
        431,
        openai.APIStatusError,
        "İstek başlıkları çok büyük.",
        "The request's headers are too large.",
    ),
    Row(
        provider_fails,
        "provider_error",
        502,
        openai.InternalServerError,
        "Sağlayıcı hata verdi. Lütfen yeniden deneyin.",
        "The provider failed. Please try again.",
    ),
    Row(provider_wants_money, "service_unavailable", 503, openai.InternalServerError, *BUSY, waits=True),
    Row(
        provider_is_silent,
        "provider_timeout",
        504,
        openai.InternalServerError,
        "Sağlayıcı zamanında yanıt vermedi.",
        "The provider did not answer in time.",
    ),
)


@pytest.fixture
def stage(gateway: Gateway, control: Control) -> Iterator[Stage]:
    with ExitStack() as undo:
        yield Stage(gateway, control, undo)


def refused(stage: Stage, provoked: Provoked, language: str = "") -> tuple[int, dict[str, str], Any]:
    """Sent until it is refused: a minute or a day may turn between two calls."""
    for _ in range(TRIES_MAX):
        answer = stage.send(provoked, language)
        if answer[0] != 200:
            return answer
    raise AssertionError("it was served, again and again")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.provoke.__name__)
def test_a_row_of_the_error_page(stage: Stage, row: Row) -> None:
    """A program would repeat what cannot succeed, or give up what would; a person would not know why."""
    provoked = row.provoke(stage)
    for language, message in (("", row.says), ("en-US,en;q=0.9,tr;q=0.5", row.in_english)):
        status, fields, said = refused(stage, provoked, language)
        assert (status, said["error"]["code"]) == (row.status, row.code)
        assert said.keys() == {"success", "error"}
        assert said["success"] is False
        assert said["error"].keys() == {"code", "message"}
        assert said["error"]["message"].startswith(message)
        _check_headers(fields, row)
    error = _with_sdk(stage, provoked)
    assert type(error) is row.error
    assert (error.status_code, error.code) == (row.status, row.code)
    if row.code == "invalid_request":
        assert "temperature" in error.message


def _check_headers(fields: dict[str, str], row: Row) -> None:
    assert fields["content-type"].startswith("application/json")
    assert all(name in fields for name in COMMON)
    assert ("retry-after" in fields) is row.waits
    if row.waits:
        assert 1 <= int(fields["retry-after"]) <= 60
    assert (fields.get("x-should-retry") == "false") is row.stops
    if row.stops and row.code != "free_model_rate_limit":
        assert int(fields["x-ratelimit-reset"]) > time.time()


def _with_sdk(stage: Stage, provoked: Provoked) -> openai.APIStatusError:
    client = openai.OpenAI(base_url=stage.gateway.base_urls[1], api_key=provoked.api_key, max_retries=0, timeout=30)
    for _ in range(TRIES_MAX):
        try:
            options: Any = {"headers": provoked.headers}
            if provoked.method == "GET":
                client.get(provoked.path, cast_to=object, options=options)
            else:
                client.post(provoked.path, cast_to=object, body=provoked.body, options=options)
        except openai.APIStatusError as error:
            return error
    raise AssertionError("it was served, again and again")


def test_every_code_of_the_catalogue_has_its_row() -> None:
    """A refusal that nobody has tried is a refusal that nobody can rely on."""
    messages = {(row.code, row.in_english) for row in ROWS}
    for code, error in CATALOGUE.items():
        shown = "insufficient_balance" if code.startswith("insufficient_balance") else code
        known = any(shown == each and error.english.startswith(text) for each, text in messages)
        assert known is not (code in ELSEWHERE), code
