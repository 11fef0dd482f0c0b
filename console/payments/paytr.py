"""PayTR's hosted page: token, notification, status, listing, refund."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlencode

from console.outgoing import Unreachable, call
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

MINUTES_TO_PAY = 30
_NO_SUCH_PAYMENT = "004"
_CURRENCIES = {"TL": "TRY", "TRY": "TRY"}
_FORM = {"content-type": "application/x-www-form-urlencoded"}


class PayTR:
    """Speaks to one base URL with one merchant's id, key and salt."""

    name = "paytr"

    def __init__(self, base_url: str, merchant_id: str, merchant_key: str, merchant_salt: str) -> None:
        self._url = base_url
        self._merchant = merchant_id
        self._key = merchant_key.encode()
        self._salt = merchant_salt

    def begin(self, order: Order) -> Begun:
        """`get-token`; the page belongs in the browser, on its own or in a frame."""
        buyer = order.buyer
        basket = json.dumps([[order.description, to_text(order.gross_kurus), 1]], ensure_ascii=False)
        fields = {
            "merchant_id": self._merchant,
            "user_ip": buyer.network_address,
            "merchant_oid": order.payment_id,
            "email": buyer.email,
            "payment_amount": str(order.gross_kurus),
            "user_basket": base64.b64encode(basket.encode()).decode(),
            "no_installment": "1",
            "max_installment": "0",
            "currency": "TL",
            "test_mode": "0",
        }
        signed = "".join(list(fields.values()))
        rest = {
            "paytr_token": self._sign(signed + self._salt),
            "user_name": f"{buyer.name} {buyer.surname}",
            "user_address": buyer.address,
            "user_phone": buyer.phone,
            "merchant_ok_url": order.return_url,
            "merchant_fail_url": order.return_url,
            "timeout_limit": str(MINUTES_TO_PAY),
            "lang": order.language,
        }
        answer = self._post("/odeme/api/get-token", {**fields, **rest})
        if answer.get("status") != "success" or not answer.get("token"):
            raise ProviderFailed("paytr: no token")
        token = str(answer["token"])
        return Begun(token, f"{self._url.rstrip('/')}/odeme/guvenli/{token}")

    def look(self, known: Known) -> Finding:
        """`durum-sorgu`: knows payments that succeeded; of the others it says that there are none."""
        answer = self._status(known)
        if answer is None:
            return Finding(known.payment_id, Standing.PENDING)
        currency = str(answer.get("currency", ""))
        paid = _kurus(answer.get("payment_total", ""))
        return Finding(known.payment_id, Standing.PAID, paid, _CURRENCIES.get(currency, currency), known.payment_id)

    def _status(self, known: Known) -> dict[str, Any] | None:
        signed = self._sign(self._merchant + known.payment_id + self._salt)
        fields = {"merchant_id": self._merchant, "merchant_oid": known.payment_id, "paytr_token": signed}
        answer = self._post("/odeme/durum-sorgu", fields)
        if answer.get("status") == "success":
            return answer
        if str(answer.get("err_no")) == _NO_SUCH_PAYMENT:
            return None
        raise ProviderFailed(f"paytr: {answer.get('err_no')}")

    def returned_kurus(self, known: Known) -> int:
        """All returns that the status lists."""
        returns = (self._status(known) or {}).get("returns") or []
        if isinstance(returns, str):
            returns = json.loads(returns)
        return sum(_kurus(each["return_amount"]) for each in returns)

    def mentions(self, day: date) -> list[Mention]:
        """`islem-dokumu` of one day: sales (S) and returns (I)."""
        start, end = f"{day.isoformat()} 00:00:00", f"{day.isoformat()} 23:59:59"
        fields = {"merchant_id": self._merchant, "start_date": start, "end_date": end}
        signed = self._sign(self._merchant + start + end + self._salt)
        answer = self._post("/rapor/islem-dokumu", {**fields, "paytr_token": signed})
        if answer.get("status") == "failed":  # no movement on that day
            return []
        if answer.get("status") != "success":
            raise ProviderFailed(f"paytr: {answer.get('err_no')}")
        rows = [row for row in answer.values() if isinstance(row, dict) and "siparis_no" in row]
        return [Mention(str(row["siparis_no"]), row["islem_tipi"] != "S") for row in rows]

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """The hash covers order, status and amount; the currency it does not, so a success is looked up."""
        fields = {name: values[-1] for name, values in parse_qs(body.decode("latin-1"), True).items()}
        try:
            order, status, total = fields["merchant_oid"], fields["status"], fields["total_amount"]
            given = fields["hash"]
        except KeyError:
            raise Forged("not a notification") from None
        if not hmac.compare_digest(self._sign(order + self._salt + status + total).encode(), given.encode()):
            raise Forged("hash")
        if status == "success":
            return Notice(order)
        reason = fields.get("failed_reason_code", "")[:200]
        return Notice(order, Finding(order, Standing.FAILED, reason=reason))

    def refund(self, known: Known, kurus: int) -> None:
        """`iade`."""
        amount = to_text(kurus)
        signed = self._sign(self._merchant + known.payment_id + amount + self._salt)
        fields = {"merchant_id": self._merchant, "merchant_oid": known.payment_id, "return_amount": amount}
        answer = self._post("/odeme/iade", {**fields, "paytr_token": signed})
        if answer.get("status") != "success":
            raise ProviderFailed(f"paytr: {answer.get('err_no')}")

    def _sign(self, message: str) -> str:
        return base64.b64encode(hmac.digest(self._key, message.encode(), hashlib.sha256)).decode()

    def _post(self, path: str, fields: dict[str, str]) -> dict[str, Any]:
        try:
            answer = json.loads(call("POST", self._url, path, _FORM, urlencode(fields).encode()).body)
        except Unreachable as error:
            raise ProviderFailed(f"paytr: {error}") from None
        except ValueError:
            raise ProviderFailed("paytr: not JSON") from None
        if not isinstance(answer, dict):
            raise ProviderFailed("paytr: not an object")
        return answer


def _kurus(value: object) -> int:
    try:
        return from_text(str(value))
    except ValueError:
        raise ProviderFailed("paytr: an amount is not one") from None
