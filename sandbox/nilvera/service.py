"""Nilvera's HTTP face: who is registered, sending, status. Invoices stay in memory.

A sent invoice is `waiting` when it is first asked about and `succeed` afterwards, unless the control says `error`.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from sandbox.control import Control
from sandbox.protocol import Connection, Request

API_KEY = "sandbox-nilvera-key"
CHECK = "/general/GlobalCompany/Check/TaxNumber/"
REGISTERED = {"1234567808": "urn:mail:defaultpk@onysoft.example", "3297552117": "urn:mail:defaultpk@ornek.example"}
INVOICES_MAX = 10_000
_SEND = {"/einvoice/Send/Xml": "einvoice", "/earchive/Send/Xml": "earchive"}
_STATUS = re.compile(r"/(einvoice/Sale|earchive/Invoices)/([0-9a-f-]{36})/Status")
_FIELDS = {name: re.compile(rf"<cbc:{name}>([^<]+)</cbc:{name}>") for name in ("UUID", "ID", "ProfileID")}


@dataclass(slots=True)
class Kept:
    """One invoice."""

    kind: str
    number: str
    alias: str
    xml: str
    asked: int = 0


class Nilvera:
    """Serves everything under `/general`, `/einvoice` and `/earchive`."""

    prefixes = (b"/general/", b"/einvoice/", b"/earchive/")

    def __init__(self, control: Control) -> None:
        self._control = control
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def listing(self) -> bytes:
        """`GET /journal?kind=invoices`."""
        rows = [
            {"ettn": ettn, "kind": kept.kind, "number": kept.number, "alias": kept.alias, "xml": kept.xml}
            for ettn, kept in self._kept.items()
        ]
        return orjson.dumps({"data": rows})

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer one call."""
        draws, faults = self._control.payment_draws, self._control.payments
        path = unquote(request.path.decode("latin-1"))
        if request.authorization != f"Bearer {API_KEY}".encode():
            connection.answer(401, b"{}")
        elif draws.hit("integrator_error", faults.integrator_error_rate):
            connection.answer(500, b"{}")
        elif path in _SEND and request.method == b"POST":
            status, answer = self._send(_SEND[path], request)
            if draws.hit("integrator_lose_answer", faults.integrator_lose_answer_rate):
                connection.answer_part(b" " * 100, 10)
            else:
                connection.answer(status, orjson.dumps(answer))
        elif path.startswith(CHECK):
            connection.answer(200, orjson.dumps(_aliases(path.removeprefix(CHECK))))
        elif match := _STATUS.fullmatch(path):
            connection.answer(*self._status(match[1].partition("/")[0], match[2]))
        else:
            connection.answer(404, b"{}")

    def _send(self, kind: str, request: Request) -> tuple[int, dict[str, Any]]:
        text = request.body.decode("utf-8", "replace")
        found = {name: pattern.search(text) for name, pattern in _FIELDS.items()}
        if not all(found.values()):
            return 400, _errors(3001, "XML okunamadı")
        ettn, number, profile = (match[1] for match in found.values() if match)
        if (profile == "EARSIVFATURA") != (kind == "earchive"):
            return 400, _errors(3003, "Senaryo uygun değil")
        if ettn in self._kept or any(each.number == number for each in self._kept.values()):
            return 409, _errors(3005, "Bu numara veya ETTN daha önce gönderilmiş")
        alias = unquote(request.query.decode("latin-1").removeprefix("Alias="))
        xml = text[text.index("<?xml") : text.rindex(">") + 1] if "<?xml" in text else ""
        self._kept[ettn] = Kept(kind, number, alias, xml)
        if len(self._kept) > INVOICES_MAX:
            self._kept.popitem(last=False)
        return 200, {"UUID": ettn, "InvoiceNumber": number}

    def _status(self, kind: str, ettn: str) -> tuple[int, bytes]:
        kept = self._kept.get(ettn)
        if kept is None or kept.kind != kind:
            return 404, b"{}"
        kept.asked += 1
        code = "waiting" if kept.asked == 1 else "error" if self._control.payments.integrator_rejects else "succeed"
        status = {"Code": code, "Description": "Reddedildi" if code == "error" else "", "DetailDescription": ""}
        return 200, orjson.dumps({"InvoiceStatus": status})


def _aliases(tax_id: str) -> list[dict[str, str]]:
    alias = REGISTERED.get(tax_id)
    return [{"Name": alias, "Type": "PK", "Title": "Sandbox"}] if alias else []


def _errors(code: int, text: str) -> dict[str, Any]:
    return {"Errors": [{"Code": code, "Description": text}]}
