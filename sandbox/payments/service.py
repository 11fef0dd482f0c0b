"""Both providers' HTTP face: which path does what, and what is done wrong on purpose on the way."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from sandbox.control import Control
from sandbox.kie import outgoing
from sandbox.payments import iyzico, page, paytr
from sandbox.payments.book import CARDS, Book, Order
from sandbox.payments.iyzico import IyzicoSide, give_back
from sandbox.payments.paytr import PayTRSide
from sandbox.protocol import Connection, Request

OWN = "/sandbox/payments/"
_PREFIXES = (*iyzico.PATHS, *paytr.PATHS, iyzico.PAGE, paytr.PAGE, OWN)
_HTML = b"text/html; charset=utf-8"
WEBHOOK_TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 10_000
HELD_MAX = 1_000


class Payments:
    """Serves the providers' paths. `base_url` is the sandbox's own."""

    prefixes = tuple(prefix.encode() for prefix in _PREFIXES)

    def __init__(self, control: Control, base_url: str) -> None:
        self._control = control
        self._book = Book()
        self._iyzico = IyzicoSide(self._book, base_url)
        self._paytr = PayTRSide(self._book)
        self._running: set[asyncio.Task[None]] = set()
        self._held: deque[Order] = deque()

    def stop(self) -> None:
        """Send nothing more."""
        for running in self._running:
            running.cancel()

    def listing(self) -> bytes:
        """`GET /journal?kind=payments`."""
        return orjson.dumps({"data": self._book.listing()})

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer one call."""
        path = request.path.decode("latin-1")
        draws, faults = self._control.payment_draws, self._control.payments
        if path.startswith(OWN):
            connection.answer(*self._operator(path.removeprefix(OWN), request.body))
        elif path.startswith((iyzico.PAGE, paytr.PAGE)):
            self._page(path, request, connection)
        elif draws.hit("http_error", faults.http_error_rate):
            connection.answer(500, b"the sandbox was asked to fail", b"text/plain")
        else:
            body = orjson.dumps(self._api(path, request))
            if draws.hit("lose_answer", faults.lose_answer_rate):
                connection.answer_part(body, len(body) // 2)
            else:
                connection.answer(200, body)

    def _api(self, path: str, request: Request) -> dict[str, Any]:
        if path in paytr.PATHS:
            return self._paytr.answer(path, request.body, self._control.payments)
        if not iyzico.is_authorized(request.authorization, path, request.body):
            return iyzico.refused("1000", "Geçersiz imza")
        query = {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1"), True).items()}
        return self._iyzico.answer(path, query, request.body, self._control.payments)

    def _page(self, path: str, request: Request, connection: Connection) -> None:
        provider, prefix = ("iyzico", iyzico.PAGE) if path.startswith(iyzico.PAGE) else ("paytr", paytr.PAGE)
        order = self._book.by_token(provider, path.removeprefix(prefix))
        if order is None:
            connection.answer(404, b"no such payment", b"text/plain")
        elif request.method != b"POST":
            connection.answer(200, page.ask(order), _HTML)
        else:
            fields = {name: values[-1] for name, values in parse_qs(request.body.decode("latin-1")).items()}
            connection.answer(200, self._pay(order, fields), _HTML)

    def _pay(self, order: Order, fields: dict[str, str]) -> bytes:
        """A declined card may be followed by a good one; a paid order is not paid again."""
        draws, faults = self._control.payment_draws, self._control.payments
        card = fields.get("card", "").replace(" ", "")
        if card not in CARDS:
            return page.ask(order, "Only the sandbox's cards are taken: " + ", ".join(CARDS))
        if order.state != "paid":
            declined = "Do not honour" if draws.hit("decline", faults.decline_rate) else CARDS[card]
            order.state, order.reason = ("declined", declined) if declined else ("paid", "")
            order.paid_at = time.time()
            self._notify(order)
        closed = bool(fields.get("close")) or draws.hit("close_tab", faults.close_tab_rate)
        return page.done(order, closed)

    def _notify(self, order: Order) -> None:
        draws, faults = self._control.payment_draws, self._control.payments
        if draws.hit("webhook_lost", faults.webhook_lost_rate):
            return
        if faults.webhook_reorder and len(self._held) < HELD_MAX and not self._held:
            self._held.append(order)
            return
        waiting = [order, *self._held]
        self._held.clear()
        for each in waiting:
            for _ in range(1 + faults.webhook_duplicates):
                self._start(self._deliver(each, draws.hit("bad_signature", faults.webhook_bad_signature_rate)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _deliver(self, order: Order, forged: bool) -> None:
        faults = self._control.payments
        await asyncio.sleep(faults.webhook_delay_ms / 1000)
        for _ in range(1 + faults.webhook_retries):
            if order.provider == "iyzico":
                headers, body = iyzico.webhook(order, forged)
            else:
                headers, body = paytr.notification(order, faults, forged)
            try:
                status, answer = await outgoing.call(
                    "POST", self._hook_url(order), headers, body, WEBHOOK_TIMEOUT_S, ANSWER_BYTES_MAX
                )
            except outgoing.Unreachable:
                status, answer = 0, b""
            if status // 100 == 2 and (order.provider == "iyzico" or answer.strip() == b"OK"):
                order.webhooks += 1
                return
            await asyncio.sleep(faults.webhook_retry_ms / 1000)

    def _hook_url(self, order: Order) -> str:
        faults = self._control.payments
        told = faults.iyzico_webhook_url if order.provider == "iyzico" else faults.paytr_notify_url
        back = urlsplit(order.return_url)
        return told or f"{back.scheme}://{back.netloc}/payments/webhooks/{order.provider}"

    def _operator(self, action: str, body: bytes) -> tuple[int, bytes]:
        """`pay`, `return` and `notify`, for tests and demonstrations: `{"order": …}` and what is to happen."""
        try:
            wanted = orjson.loads(body or b"{}")
            order = self._book.by_order(str(wanted["order"]))
        except (ValueError, KeyError, TypeError):
            return 400, b'{"error":"an object with an order is needed"}'
        if order is None:
            return 404, b'{"error":"no such order"}'
        if action == "pay":
            self._pay(order, {"card": str(wanted.get("card", next(iter(CARDS))))})
        elif action == "return" and order.state == "paid":
            give_back(order, int(wanted.get("kurus", order.kurus)), str(wanted.get("kind", "refund")))
        elif action == "notify":
            self._start(self._deliver(order, bool(wanted.get("forged"))))
        else:
            return 400, b'{"error":"pay, return (of what was paid) or notify"}'
        return 200, orjson.dumps(order.shown())
