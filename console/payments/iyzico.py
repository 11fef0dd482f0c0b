"""iyzico's hosted checkout, by its own client package.

The package prints, shares headers between threads and has no time limit, so each call gets its own headers and wire,
and signatures are checked here.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from http.client import HTTPException, HTTPResponse
from typing import Any

import iyzipay

from console.outgoing import Unreachable, Wire, read
from console.payments.money import from_text, to_text
from console.payments.port import (
    Begun,
    Finding,
    Forged,
    Known,
    Mention,
    Notice,
    Order,
    ProviderFailed,
    Standing,
)

SIGNATURE_HEADER = "x-iyz-signature-v3"
PAGES_MAX = 200
_SETTLED = 1  # fraudStatus: 1 accepted, 0 under review, -1 refused
_STANDINGS = {"SUCCESS": Standing.PAID, "FAILURE": Standing.FAILED}
_CREDENTIALS_WRONG = frozenset({"1000", "1001", "1002"})


class Iyzico:
    """Speaks to one base URL with one merchant's keys."""

    name = "iyzico"

    def __init__(self, base_url: str, api_key: str, secret_key: str) -> None:
        self._url = base_url
        self._api_key = api_key
        self._secret = secret_key.encode()

    def begin(self, order: Order) -> Begun:
        """`checkoutform/initialize`."""
        answer = self._post(iyzipay.CheckoutFormInitialize(), "create", _checkout(order))
        if answer.get("status") != "success":
            raise ProviderFailed(f"iyzico: {answer.get('errorCode')}")
        token, page = str(answer.get("token", "")), str(answer.get("paymentPageUrl", ""))
        self._check((order.payment_id, token), answer)
        if not page:
            raise ProviderFailed("iyzico: no page")
        return Begun(token, page)

    def look(self, known: Known) -> Finding:
        """`checkoutform/auth/detail`. A token whose page was not filled in yet is a failure there, and pending here."""
        body = {"locale": "tr", "conversationId": known.payment_id, "token": known.token}
        answer = self._post(iyzipay.CheckoutForm(), "retrieve", body)
        standing = _STANDINGS.get(str(answer.get("paymentStatus")))
        if standing is None:
            if str(answer.get("errorCode")) in _CREDENTIALS_WRONG:
                raise ProviderFailed(f"iyzico: {answer['errorCode']}")
            return Finding(known.payment_id, Standing.PENDING)
        if standing is Standing.FAILED:
            return Finding(known.payment_id, standing, reason=str(answer.get("errorMessage", ""))[:200])
        signed = ("paymentStatus", "paymentId", "currency", "basketId", "conversationId", "paidPrice", "price", "token")
        self._check([_plain(answer.get(name, "")) for name in signed], answer)
        if answer.get("token") != known.token:
            raise ProviderFailed("iyzico: another token")
        if answer.get("fraudStatus", _SETTLED) != _SETTLED:
            refused = answer["fraudStatus"] == -1
            return Finding(known.payment_id, Standing.FAILED if refused else Standing.PENDING, reason="fraud check")
        return Finding(
            str(answer["basketId"]),
            standing,
            _kurus(answer["paidPrice"]),
            str(answer["currency"]),
            str(answer["paymentId"]),
        )

    def returned_kurus(self, known: Known) -> int:
        """From the reporting service: refunds of every item, and cancellations."""
        payments = self._details(known)
        items = [item for payment in payments for item in payment.get("itemTransactions") or ()]
        refunds = [refund for item in items for refund in item.get("refunds") or ()]
        cancels = [cancel for payment in payments for cancel in payment.get("cancels") or ()]
        done = [each for each in (*refunds, *cancels) if str(each.get("refundStatus", 1)) == "1"]
        return sum(_kurus(each["refundPrice"]) for each in done)

    def _details(self, known: Known) -> list[dict[str, Any]]:
        request = {"paymentId": known.provider_payment_id, "paymentConversationId": known.payment_id}
        answer = self._ask(iyzipay.RetrievePaymentDetails(), request)
        return list(answer.get("payments") or ())

    def mentions(self, day: date) -> list[Mention]:
        """The reporting service's list of a day, page by page."""
        found: list[Mention] = []
        for page in range(1, PAGES_MAX + 1):
            answer = self._ask(iyzipay.RetrieveTransactions(), {"transactionDate": day.isoformat(), "page": page})
            for row in answer.get("transactions") or ():
                returned = row["transactionType"] != "PAYMENT"
                found.append(Mention(str(row.get("conversationId") or ""), returned, str(row.get("paymentId") or "")))
            if page >= int(answer.get("totalPageCount") or 1):
                return found
        raise ProviderFailed("iyzico: too many pages")

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """Signature V3 covers event, payment, token, order and status, but no amount: the provider is asked."""
        try:
            event = json.loads(body)
            fields = [str(event[name]) for name in ("iyziEventType", "iyziPaymentId", "token")]
            order, status = str(event["paymentConversationId"]), str(event["status"])
        except (ValueError, KeyError, TypeError):
            raise Forged("not an event") from None
        message = self._secret.decode() + "".join((*fields, order, status))
        expected = hmac.digest(self._secret, message.encode(), hashlib.sha256).hex()
        if not hmac.compare_digest(expected.encode(), headers.get(SIGNATURE_HEADER, "").encode()):
            raise Forged("signature")
        return Notice(order)

    def refund(self, known: Known, kurus: int) -> None:
        """`/v2/payment/refund`, by payment."""
        body = {
            "locale": "tr",
            "conversationId": known.payment_id,
            "paymentId": known.provider_payment_id,
            "price": to_text(kurus),
            "currency": "TRY",
        }
        answer = self._post(iyzipay.Payment(), "refund", body)
        if answer.get("status") != "success":
            raise ProviderFailed(f"iyzico: {answer.get('errorCode')}")

    def _post(self, resource: Any, method: str, body: dict[str, Any]) -> dict[str, Any]:
        wire = Wire(self._url)
        resource.httplib, resource.header = wire, dict(resource.header)
        try:
            return _json(getattr(resource, method)(body, self._options(wire)))
        except (OSError, HTTPException, Unreachable) as error:
            raise ProviderFailed(f"iyzico: {type(error).__name__}") from None
        finally:
            wire.close()

    def _ask(self, resource: Any, query: dict[str, Any]) -> dict[str, Any]:
        answer = self._post(resource, "retrieve", query)
        if answer.get("status") != "success":
            raise ProviderFailed(f"iyzico: {answer.get('errorCode')}")
        return answer

    def _options(self, wire: Wire) -> dict[str, str]:
        return {"api_key": self._api_key, "secret_key": self._secret.decode(), "base_url": wire.host}

    def _check(self, values: Sequence[str], answer: Mapping[str, Any]) -> None:
        expected = hmac.digest(self._secret, ":".join(values).encode(), hashlib.sha256).hex()
        if not hmac.compare_digest(expected.encode(), str(answer.get("signature", "")).encode()):
            raise ProviderFailed("iyzico: the answer's signature is wrong")


def _json(response: HTTPResponse) -> dict[str, Any]:
    try:
        answer = json.loads(read(response).body, parse_float=Decimal)
    except ValueError:
        raise ProviderFailed("iyzico: not JSON") from None
    if not isinstance(answer, dict):
        raise ProviderFailed("iyzico: not an object")
    return answer


def _kurus(value: object) -> int:
    try:
        return from_text(str(value))
    except ValueError:
        raise ProviderFailed("iyzico: an amount is not one") from None


def _plain(value: object) -> str:
    """A number without trailing zeros, as signatures have it."""
    if not isinstance(value, Decimal):
        return str(value)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _checkout(order: Order) -> dict[str, Any]:
    buyer = order.buyer
    price = to_text(order.gross_kurus)
    address = {
        "contactName": f"{buyer.name} {buyer.surname}",
        "city": buyer.city,
        "country": buyer.country,
        "address": buyer.address,
    }
    return {
        "locale": order.language,
        "conversationId": order.payment_id,
        "price": price,
        "paidPrice": price,
        "currency": order.currency,
        "basketId": order.payment_id,
        "paymentGroup": "PRODUCT",
        "callbackUrl": order.return_url,
        "enabledInstallments": [1],
        "buyer": {
            "id": buyer.id,
            "name": buyer.name,
            "surname": buyer.surname,
            "gsmNumber": buyer.phone,
            "email": buyer.email,
            "identityNumber": buyer.identity_number,
            "registrationAddress": buyer.address,
            "ip": buyer.network_address,
            "city": buyer.city,
            "country": buyer.country,
        },
        "billingAddress": address,
        "shippingAddress": address,
        "basketItems": [
            {
                "id": "credit",
                "name": order.description,
                "category1": "API",
                "itemType": "VIRTUAL",
                "price": price,
            }
        ],
    }
