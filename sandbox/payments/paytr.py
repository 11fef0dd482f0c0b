"""PayTR's side: token, status, listing, refund, and the notification's words."""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs, urlencode

from sandbox.payments.book import Book, Order, kurus_of, lira
from sandbox.payments.control import PaymentFaults
from sandbox.payments.iyzico import give_back

MERCHANT_ID = "100000"
MERCHANT_KEY = "sandbox-key"
MERCHANT_SALT = "sandbox-salt"
TOKEN = "/odeme/api/get-token"
STATUS = "/odeme/durum-sorgu"
REFUND = "/odeme/iade"
LISTING = "/rapor/islem-dokumu"
PAGE = "/odeme/guvenli/"
PATHS = (TOKEN, STATUS, REFUND, LISTING)
_SIGNED = {
    TOKEN: (
        "merchant_id",
        "user_ip",
        "merchant_oid",
        "email",
        "payment_amount",
        "user_basket",
        "no_installment",
        "max_installment",
        "currency",
        "test_mode",
    ),
    STATUS: ("merchant_id", "merchant_oid"),
    REFUND: ("merchant_id", "merchant_oid", "return_amount"),
    LISTING: ("merchant_id", "start_date", "end_date"),
}


def sign(message: str) -> str:
    """Base64 HMAC-SHA256 under the sandbox's merchant key."""
    return base64.b64encode(hmac.digest(MERCHANT_KEY.encode(), message.encode(), hashlib.sha256)).decode()


def refused(number: str, message: str) -> dict[str, Any]:
    """A failure."""
    return {"status": "error", "err_no": number, "err_msg": message}


class PayTRSide:
    """Answers calls about the book's orders."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def answer(self, path: str, body: bytes, faults: PaymentFaults) -> dict[str, Any]:
        """One call; its token is checked first."""
        fields = {name: values[-1] for name, values in parse_qs(body.decode(), True).items()}
        signed = "".join(fields.get(name, "") for name in _SIGNED[path]) + MERCHANT_SALT
        if fields.get("merchant_id") != MERCHANT_ID or not hmac.compare_digest(
            sign(signed), fields.get("paytr_token", "")
        ):
            return {"status": "failed", "reason": "paytr_token"} if path == TOKEN else refused("002", "paytr_token")
        try:
            if path == TOKEN:
                return self._token(fields)
            if path == STATUS:
                return self._status(fields, faults)
            return self._refund(fields) if path == REFUND else self._listing(fields)
        except (ValueError, KeyError) as error:
            return refused("001", f"invalid request: {type(error).__name__}")

    def _token(self, fields: dict[str, str]) -> dict[str, Any]:
        for name in ("user_name", "user_address", "user_phone", "merchant_ok_url", "merchant_fail_url"):
            if not fields.get(name):
                return {"status": "failed", "reason": name}
        if not fields["merchant_oid"].isalnum() or len(fields["merchant_oid"]) > 64:
            return {"status": "failed", "reason": "merchant_oid"}
        order = self._book.add(
            "paytr",
            fields["merchant_oid"],
            int(fields["payment_amount"]),
            fields["currency"],
            fields["merchant_ok_url"],
            fields["merchant_fail_url"],
        )
        return {"status": "success", "token": order.token}

    def _status(self, fields: dict[str, str], faults: PaymentFaults) -> dict[str, Any]:
        order = self._book.by_order(fields["merchant_oid"])
        if order is None or order.provider != "paytr" or order.state != "paid":
            return refused("004", "merchant_oid ile basarili odeme bulunamadi")
        return {
            "status": "success",
            "payment_amount": lira(order.kurus),
            "payment_total": lira(order.kurus + faults.amount_off_kurus),
            "currency": faults.currency or order.currency,
            "returns": [{"return_amount": lira(back.kurus)} for back in order.returns],
        }

    def _refund(self, fields: dict[str, str]) -> dict[str, Any]:
        order = self._book.by_order(fields["merchant_oid"])
        kurus = kurus_of(fields["return_amount"])
        if order is None or order.state != "paid" or not 0 < kurus <= order.kurus - order.returned_kurus:
            return refused("009", "iade edilemez")
        give_back(order, kurus, "refund")
        return {"status": "success", "merchant_oid": order.order, "return_amount": fields["return_amount"]}

    def _listing(self, fields: dict[str, str]) -> dict[str, Any]:
        moved = self._book.movements("paytr", fields["start_date"][:10])
        if not moved:
            return {"status": "failed", "err_msg": "islem yok"}
        rows = {
            str(number): {
                "islem_tipi": "S" if back is None else "I",
                "islem_tutari": lira(order.kurus if back is None else back.kurus),
                "para_birimi": order.currency,
                "siparis_no": order.order,
            }
            for number, (order, back) in enumerate(moved)
        }
        return {"status": "success", **rows}


def notification(order: Order, faults: PaymentFaults, forged: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of what is posted when an order ended."""
    status = "success" if order.state == "paid" else "failed"
    total = str(order.kurus + faults.amount_off_kurus)
    number = "0" * 32 if faults.other_order else order.order
    fields = {
        "merchant_oid": number,
        "status": status,
        "total_amount": total,
        "hash": sign(number + MERCHANT_SALT + status + total + ("x" if forged else "")),
        "payment_type": "card",
        "payment_amount": str(order.kurus),
        "currency": order.currency,
        "test_mode": "0",
    }
    if status == "failed":
        fields |= {"failed_reason_code": "6", "failed_reason_msg": order.reason}
    return {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()
