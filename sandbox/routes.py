"""Which path does what. Chat calls go to `chat`; the rest is small and answered here."""

from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from sandbox import bulletin
from sandbox import catalogue as models
from sandbox.catalogue import Model
from sandbox.chat import Chat, authorized, refuse
from sandbox.control import Control
from sandbox.generation import unix_ms
from sandbox.journal import Journal, usage_record
from sandbox.kie.service import API, FILES, Kie
from sandbox.nilvera.service import Nilvera
from sandbox.payments.service import Payments
from sandbox.pricing import usd_number
from sandbox.prompt import BadCall
from sandbox.protocol import Connection, Request
from sandbox.readers import BadControl

OPENROUTER = "/api/v1"
OPENAI = "/openai/v1"
CREDITS_USD = 10_000
_OPENROUTER_CHAT = b"/api/v1/chat/completions"
_OPENAI_CHAT = b"/openai/v1/chat/completions"
_KIE = (f"{API}/".encode(), f"{FILES}/".encode())


class Routes:
    """Serves every request of the sandbox."""

    def __init__(self, control: Control, journal: Journal, kie: Kie, payments: Payments, nilvera: Nilvera) -> None:
        self._catalogue = control.models
        self._control = control
        self._journal = journal
        self._bulletin = bulletin.Bulletin()
        self._kie = kie
        self._payments = payments
        self._nilvera = nilvera
        self._chat = Chat(control.models, control, journal)

    def __call__(self, request: Request, connection: Connection) -> None:
        if request.method == b"POST":
            if request.path == _OPENROUTER_CHAT:
                self._chat.serve(request, connection, openrouter=True)
                return
            if request.path == _OPENAI_CHAT:
                self._chat.serve(request, connection, openrouter=False)
                return
        if request.path.startswith(_KIE):
            self._kie.serve(request, connection)
            return
        if request.path.startswith(self._payments.prefixes):
            self._payments.serve(request, connection)
            return
        if request.path.startswith(self._nilvera.prefixes):
            self._nilvera.serve(request, connection)
            return
        self._rare(request, connection)

    def _rare(self, request: Request, connection: Connection) -> None:
        path = unquote(request.path.decode("latin-1"))
        query = {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1")).items()}
        openrouter = not path.startswith(OPENAI)
        if path == bulletin.PATH:
            connection.answer(200, self._bulletin.xml(), bulletin.CONTENT_TYPE)
            return
        try:
            body = self._operator(request, path, query)
            if body is None:
                body = self._read(request, path, query)
        except BadCall as refusal:
            refuse(connection, openrouter, refusal)
        else:
            connection.answer(200, body)

    def _operator(self, request: Request, path: str, query: dict[str, str]) -> bytes | None:
        match request.method, path:
            case b"GET", "/healthz":
                return b'{"status":"ok"}'
            case b"GET", "/control":
                return orjson.dumps(self._control.shown())
            case b"PUT", "/control":
                return self._put_control(request.body)
            case b"PUT", "/bulletin":
                return self._put_bulletin(request.body)
            case b"GET", "/journal" if query.get("kind") == "payments":
                return self._payments.listing()
            case b"GET", "/journal" if query.get("kind") == "invoices":
                return self._nilvera.listing()
            case b"GET", "/journal" if query.get("kind") in ("tasks", "credits"):
                return self._kie.journal(query["kind"], query.get("since_id", ""), _whole(query, "limit"))
            case b"GET", "/journal":
                return self._journal.listing(query.get("since_id", ""), _whole(query, "limit"))
            case b"DELETE", "/journal" if query.get("kind") == "tasks":
                self._kie.tasks.clear()
                return b"{}"
            case b"DELETE", "/journal":
                self._journal.clear()
                return b"{}"
        return None

    def _put_bulletin(self, data: bytes) -> bytes:
        try:
            self._bulletin.put(orjson.loads(data or b"{}"))
        except ValueError as refusal:
            raise BadCall(400, f"bulletin: {refusal}") from None
        return orjson.dumps(self._bulletin.shown)

    def _put_control(self, data: bytes) -> bytes:
        try:
            self._control.put(orjson.loads(data or b"{}"))
        except orjson.JSONDecodeError:
            raise BadCall(400, "control: the body is not valid JSON") from None
        except BadControl as refusal:
            raise BadCall(400, str(refusal)) from None
        return orjson.dumps(self._control.shown())

    def _read(self, request: Request, path: str, query: dict[str, str]) -> bytes:
        if request.method != b"GET":
            raise BadCall(405 if path.startswith((OPENROUTER, OPENAI)) else 404, "Not found")
        match path:
            case "/api/v1/models":
                return orjson.dumps(self._models(query))
            case "/openai/v1/models":
                listed = [models.openai_model(each) for each in self._catalogue.values()]
                return orjson.dumps({"object": "list", "data": listed})
            case "/api/v1/generation":
                self._authorize(request)
                return orjson.dumps({"data": self._generation(query.get("id", ""))})
            case "/api/v1/credits":
                self._authorize(request)
                used = usd_number(self._journal.billed_units)
                return orjson.dumps({"data": {"total_credits": CREDITS_USD, "total_usage": used}})
            case "/api/v1/key":
                self._authorize(request)
                return orjson.dumps({"data": self._key()})
        if path.startswith(OPENROUTER + "/models/") and path.endswith("/endpoints"):
            return orjson.dumps({"data": models.openrouter_endpoints(self._named(path[15:-10]))})
        if path.startswith(OPENAI + "/models/"):
            return orjson.dumps(models.openai_model(self._named(path[18:])))
        raise BadCall(404, "Not found")

    def _authorize(self, request: Request) -> None:
        if not authorized(request.authorization, self._control.pace.require_key):
            raise BadCall(401, "No auth credentials found", code="invalid_api_key")

    def _named(self, name: str) -> Model:
        model = self._catalogue.get(name)
        if model is None:
            raise BadCall(404, f"Model not found: {name}", "model", "model_not_found")
        return model

    def _models(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = set(query.get("output_modalities", "text").split(","))
        found = [
            models.openrouter_model(each)
            for each in self._catalogue.values()
            if "all" in wanted or wanted.intersection(each.row["output"])
        ]
        total = len(found)
        if "offset" in query or "limit" in query:
            offset = _whole(query, "offset")
            found = found[offset : offset + (_whole(query, "limit") or 500)]
        return {"data": found, "total_count": total, "links": {"next": None}}

    def _generation(self, identity: str) -> dict[str, Any]:
        line = self._journal.entry(identity)
        if line is not None:
            entry = orjson.loads(line)
            finished = entry["finished_at"]
            if finished is not None and unix_ms() - finished >= self._control.pace.generation_404_ms:
                return usage_record(line)
        raise BadCall(404, f"Generation {identity} not found")

    def _key(self) -> dict[str, Any]:
        used = usd_number(self._journal.billed_units)
        return {
            "label": "sandbox",
            "limit": None,
            "limit_remaining": None,
            "limit_reset": None,
            "usage": used,
            "usage_daily": used,
            "usage_weekly": used,
            "usage_monthly": used,
            "byok_usage": 0,
            "is_free_tier": False,
            "is_management_key": False,
            "rate_limit": {"requests": -1, "interval": "10s", "note": "deprecated"},
            "expires_at": None,
            "free_model_daily_requests": {"limit": 1000, "used": 0, "remaining": 1000},
        }


def _whole(query: dict[str, str], name: str) -> int:
    value = query.get(name, "0")
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadCall(400, f"{name}: a whole number from 0 is needed", name)
    return int(value)
