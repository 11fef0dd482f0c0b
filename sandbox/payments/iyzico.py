"""iyzico's side: initialize, detail, reporting, refund, and the webhook's words."""

import base64
import hashlib
import hmac
import time
from typing import Any

import orjson

from sandbox.payments.book import Book, Order, Return, kurus_of, lira
from sandbox.payments.control import PaymentFaults

API_KEY = "sandbox-api-key"
SECRET_KEY = "sandbox-secret-key"
INITIALIZE = "/payment/iyzipos/checkoutform/initialize/ecom"
DETAIL = "/payment/iyzipos/checkoutform/auth/ecom/detail"
REFUND = "/v2/payment/refund"
DETAILS = "/v2/reporting/payment/details"
TRANSACTIONS = "/v2/reporting/payment/transactions"
PAGE = "/iyzico/pay/"
PATHS = (INITIALIZE, DETAIL, REFUND, DETAILS, TRANSACTIONS)
ROWS_A_PAGE = 100
_BUYER = ("id", "name", "surname", "email", "identityNumber", "ip", "registrationAddress", "city", "country")


def digest(message: str) -> str:
    """Hex HMAC-SHA256 under the sandbox's secret."""
    return hmac.digest(SECRET_KEY.encode(), message.encode(), hashlib.sha256).hex()


def is_authorized(header: bytes, path: str, body: bytes) -> bool:
    """`IYZWSv2 base64(apiKey:…&randomKey:…&signature:HMAC(random + path + body))`"""
    kind, _, encoded = header.partition(b" ")
    if kind != b"IYZWSv2":
        return False
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return False
    parts = {name: value for name, _, value in (part.partition(":") for part in text.split("&"))}
    expected = digest(parts.get("randomKey", "") + path + (body.decode() if body else "null"))
    return parts.get("apiKey") == API_KEY and hmac.compare_digest(expected, parts.get("signature", ""))


def refused(code: str, message: str) -> dict[str, Any]:
    """A failure."""
    return {"status": "failure", "errorCode": code, "errorMessage": message, "locale": "tr"}


class IyzicoSide:
    """Answers calls about the book's orders. `base_url` is the sandbox's own."""

    def __init__(self, book: Book, base_url: str) -> None:
        self._book = book
        self._base_url = base_url

    def answer(self, path: str, query: dict[str, str], body: bytes, faults: PaymentFaults) -> dict[str, Any]:
        """One call that was authorized."""
        try:
            fields = orjson.loads(body) if body and body != b"null" else {}
            if path == INITIALIZE:
                return self._initialize(fields)
            if path == DETAIL:
                return self._detail(fields, faults)
            if path == REFUND:
                return self._refund(fields)
            return self._details(query) if path == DETAILS else self._transactions(query)
        except (ValueError, KeyError, TypeError) as error:
            return refused("11", f"invalid request: {type(error).__name__}")

    def _initialize(self, fields: dict[str, Any]) -> dict[str, Any]:
        items = sum(kurus_of(item["price"]) for item in fields["basketItems"])
        if items != kurus_of(fields["price"]):
            return refused("5026", "the items' prices must sum to price")
        for name in (
            "id",
            "name",
            "surname",
            "email",
            "identityNumber",
            "ip",
            "registrationAddress",
            "city",
            "country",
        ):
            if not fields["buyer"][name]:
                return refused("5000", f"buyer.{name} is missing")
        order = self._book.add(
            "iyzico",
            fields["basketId"],
            kurus_of(fields["paidPrice"]),
            fields["currency"],
            fields["callbackUrl"],
            fields["callbackUrl"],
        )
        page = f"{self._base_url}{PAGE}{order.token}"
        return {
            "status": "success",
            "locale": fields.get("locale", "tr"),
            "conversationId": fields["conversationId"],
            "token": order.token,
            "tokenExpireTime": 1800,
            "checkoutFormContent": f'<script src="{page}"></script>',
            "paymentPageUrl": page,
            "signature": digest(f"{fields['conversationId']}:{order.token}"),
        }

    def _detail(self, fields: dict[str, Any], faults: PaymentFaults) -> dict[str, Any]:
        order = self._book.by_token("iyzico", fields["token"])
        if order is None:
            return refused("5115", "token not found")
        if order.state == "open":
            return refused("5123", "the payment was not made yet")
        if order.state == "declined":
            return {**refused("10051", order.reason), "paymentStatus": "FAILURE", "token": order.token}
        price = lira(order.kurus + faults.amount_off_kurus)
        basket = "0" * 32 if faults.other_order else order.order
        shown = {
            "paymentStatus": "SUCCESS",
            "paymentId": order.payment_id,
            "currency": faults.currency or order.currency,
            "basketId": basket,
            "conversationId": fields.get("conversationId") or order.order,
            "paidPrice": price,
            "price": price,
            "token": order.token,
        }
        signature = digest(":".join(shown.values()))
        numbers = {"paidPrice": float(price), "price": float(price)}
        return {"status": "success", "locale": "tr", "fraudStatus": 1, **shown, **numbers, "signature": signature}

    def _refund(self, fields: dict[str, Any]) -> dict[str, Any]:
        order = self._book.by_payment(str(fields["paymentId"]))
        kurus = kurus_of(fields["price"])
        if order is None or order.state != "paid":
            return refused("5093", "payment not found")
        if kurus <= 0 or kurus > order.kurus - order.returned_kurus:
            return refused("5092", "more than what is left")
        give_back(order, kurus, "refund")
        return {"status": "success", "paymentId": order.payment_id, "price": float(fields["price"]), "currency": "TRY"}

    def _details(self, query: dict[str, str]) -> dict[str, Any]:
        payment_id, order_number = query.get("paymentId"), query.get("paymentConversationId", "")
        order = self._book.by_payment(payment_id) if payment_id else self._book.by_order(order_number)
        if order is None or order.state != "paid":
            return {"status": "success", "payments": []}
        refunds = [
            {"refundTxId": f"{order.payment_id}{number}", "refundPrice": float(lira(back.kurus)), "refundStatus": 1}
            for number, back in enumerate(order.returns)
        ]
        payment = {
            "paymentId": int(order.payment_id),
            "paymentStatus": 1,
            "currency": order.currency,
            "paidPrice": float(lira(order.kurus)),
            "paymentConversationId": order.order,
            "itemTransactions": [{"paymentTransactionId": int(order.payment_id), "refunds": refunds}],
            "cancels": [],
        }
        return {"status": "success", "payments": [payment]}

    def _transactions(self, query: dict[str, str]) -> dict[str, Any]:
        moved = self._book.movements("iyzico", query["transactionDate"])
        page = int(query.get("page", "1"))
        rows = moved[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]
        return {
            "status": "success",
            "currentPage": page,
            "totalPageCount": -(-len(moved) // ROWS_A_PAGE) or 1,
            "transactions": [self._row(order, back) for order, back in rows],
        }

    def _row(self, order: Order, back: Return | None) -> dict[str, Any]:
        return {
            "transactionType": "PAYMENT" if back is None else "REFUND",
            "transactionId": int(order.payment_id),
            "paymentId": int(order.payment_id),
            "conversationId": None if back is not None and back.kind != "refund" else order.order,
            "price": float(lira(order.kurus if back is None else back.kurus)),
            "transactionCurrency": order.currency,
            "transactionStatus": 1,
        }


def give_back(order: Order, kurus: int, kind: str) -> None:
    """Money goes back to the card."""
    order.returns.append(Return(kurus, kind, time.time()))


def webhook(order: Order, forged: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the event about an order's end."""
    status = "SUCCESS" if order.state == "paid" else "FAILURE"
    event = {
        "paymentConversationId": order.order,
        "merchantId": 1,
        "token": order.token,
        "status": status,
        "iyziReferenceCode": order.token[:16],
        "iyziEventType": "CHECKOUT_FORM_AUTH",
        "iyziPaymentId": int(order.payment_id),
    }
    message = f"{SECRET_KEY}CHECKOUT_FORM_AUTH{order.payment_id}{order.token}{order.order}{status}"
    signature = digest("forged" + message if forged else message)
    return {"content-type": "application/json", "x-iyz-signature-v3": signature}, orjson.dumps(event)
