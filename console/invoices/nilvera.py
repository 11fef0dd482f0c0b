"""Nilvera's REST: who is registered, sending as XML, status."""

import json
import secrets
from typing import Any
from urllib.parse import quote, urlencode

from console.invoices.document import ARCHIVE
from console.invoices.integrator import IntegratorFailed, Letter, Refused, Standing
from console.invoices.tables import REASON_CHARACTERS_MAX, State
from console.outgoing import Answer, Unreachable, call

_STATES = {"succeed": State.ACCEPTED, "error": State.REJECTED}


class Nilvera:
    """Speaks to one base URL with one key."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._url = base_url
        self._key = api_key

    def mailbox(self, tax_id: str) -> str:
        """The first inbox (PK) of the taxpayer."""
        answer = self._call("GET", f"/general/GlobalCompany/Check/TaxNumber/{quote(tax_id)}?globalUserType=Invoice")
        if answer.status == 404:
            return ""
        aliases = _json(answer)
        boxes = [str(each.get("Name", "")) for each in aliases if each.get("Type", "PK") == "PK"] if aliases else []
        return boxes[0] if boxes else ""

    def send(self, letter: Letter) -> None:
        """Multipart, as one file. A refusal of what is there already is no refusal."""
        archive = letter.profile == ARCHIVE
        path = "/earchive/Send/Xml" if archive else f"/einvoice/Send/Xml?{urlencode({'Alias': letter.alias})}"
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{letter.number}.xml"\r\n'
            "Content-Type: application/xml\r\n\r\n"
        )
        body = head.encode() + letter.xml + f"\r\n--{boundary}--\r\n".encode()
        answer = self._call("POST", path, body, f"multipart/form-data; boundary={boundary}")
        if answer.status == 200:
            return
        if not 400 <= answer.status < 500 or answer.status in (401, 403, 408, 429):
            raise IntegratorFailed(f"nilvera: {answer.status}")
        if self.standing(letter).state == State.ISSUED:
            raise Refused(_why(answer))

    def standing(self, letter: Letter) -> Standing:
        """`Status` of the one kind or the other."""
        kind = "earchive/Invoices" if letter.profile == ARCHIVE else "einvoice/Sale"
        answer = self._call("GET", f"/{kind}/{letter.ettn}/Status")
        if answer.status == 404:
            return Standing(State.ISSUED)
        shown = _json(answer)
        status = shown.get("InvoiceStatus") or {}
        code = str(status.get("Code") or shown.get("StatusCode") or "")
        reason = " ".join(str(status.get(name) or "") for name in ("Description", "DetailDescription")).strip()
        return Standing(_STATES.get(code, State.SENT), reason[:REASON_CHARACTERS_MAX] if code == "error" else "")

    def _call(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> Answer:
        headers = {"authorization": f"Bearer {self._key}", "content-type": content_type, "accept": "application/json"}
        try:
            return call(method, self._url, path, headers, body)
        except Unreachable as error:
            raise IntegratorFailed(f"nilvera: {error}") from None


def _json(answer: Answer) -> Any:
    if answer.status != 200:
        raise IntegratorFailed(f"nilvera: {answer.status}")
    try:
        return json.loads(answer.body)
    except ValueError:
        raise IntegratorFailed("nilvera: not JSON") from None


def _why(answer: Answer) -> str:
    try:
        errors = json.loads(answer.body).get("Errors") or []
        text = "; ".join(f"{each.get('Code')} {each.get('Description')}" for each in errors)
    except (ValueError, AttributeError):
        text = ""
    return (text or f"HTTP {answer.status}")[:REASON_CHARACTERS_MAX]
