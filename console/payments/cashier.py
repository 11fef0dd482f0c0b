"""The one way of a payment: begun, found paid, credited, taken back. Safe to call from many threads and processes.

No transaction is open while somebody outside is asked. Whatever comes first - browser, webhook, listing, job - ends in
`_take`, which moves a locked row; the credit's reference is the payment's id, so the ledger counts it once.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Transaction

from console.gateway import Caller, CallFailed, Gateway
from console.payments.incidents import report
from console.payments.money import Price, to_text
from console.payments.port import Begun, Buyer, Finding, Forged, Known, Order, Provider, ProviderFailed
from console.payments.providers import chosen, providers_of
from console.payments.rules import Expected, backoff_s, judge, net_returned
from console.payments.tables import OPEN, REASON_CHARACTERS_MAX, WITHOUT_MONEY, Payment, Reversal, State
from console.people.store import Store
from console.people.tables import now
from console.web.language import ISTANBUL
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.log import log
from runtime.settings import Settings

CALLER = Caller("console:cashier", "credit", "*")
RETRY_FIRST_S = 2.0
RETRY_LONGEST_S = 900.0
LOOK_LONGEST_S = 600.0
ATTEMPTS_QUIET = 8
"""After as many credits in vain somebody is told; the job goes on trying, ever more seldom."""


REFUND_S = 120.0
"""For so long nobody else begins a refund of the same payment, unless the one that runs ends well before."""

OPEN_MAX = 20
"""Payments of one account that may wait for their customer at a time."""


class NoProvider(Exception):
    """No payment provider is configured."""


class RefundRunning(Exception):
    """Somebody is giving money back at this moment, or has just tried and the outcome is not known yet."""


class TooManyOpen(Exception):
    """The account has begun many payments and finished none; some expire soon."""


class Cashier:
    """Made for each use; holds no state of its own."""

    def __init__(self, settings: Settings, store: Store, gateway: Gateway) -> None:
        self._settings = settings
        self._store = store
        self._gateway = gateway
        self.providers = providers_of(settings)

    # Beginning

    def open(self, account_id: str, price: Price, buyer: Buyer, language: str, description: str) -> str:
        """A payment with the provider's page, its id. Raises NoProvider, TooManyOpen, ProviderFailed."""
        provider = chosen(self._settings, self.providers)
        if provider is None:
            raise NoProvider
        expires_at = now() + timedelta(seconds=self._settings.payment_open_s)
        with self._store.transaction() as transaction:
            waiting = select(func.count()).where(Payment.account_id == account_id, Payment.state.in_(OPEN))
            if (transaction.scalar(waiting) or 0) >= OPEN_MAX:
                raise TooManyOpen
            payment = Payment(
                account_id=account_id,
                person_id=buyer.id,
                provider=provider.name,
                net_kurus=price.net_kurus,
                vat_kurus=price.vat_kurus,
                gross_kurus=price.gross_kurus,
                vat_bps=self._settings.vat_bps,
                expires_at=expires_at,
                next_at=now() + timedelta(seconds=self._settings.payment_look_s),
            )
            transaction.add(payment)
        order = Order(
            payment_id=payment.id,
            gross_kurus=price.gross_kurus,
            currency=payment.currency,
            description=description,
            language=language,
            buyer=buyer,
            return_url=self._return_url(provider, payment.id),
        )
        try:
            begun = provider.begin(order)
        except ProviderFailed as error:
            self._fail(payment.id, str(error))
            raise
        self._began(payment.id, begun)
        return payment.id

    def _return_url(self, provider: Provider, payment_id: str) -> str:
        path = "/payments/return/iyzico" if provider.name == "iyzico" else f"/payments/{payment_id}"
        return self._settings.console_url.rstrip("/") + path

    def _began(self, payment_id: str, begun: Begun) -> None:
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            payment.token, payment.page_url = begun.token, begun.page_url
            if payment.state == State.CREATED:
                payment.state = State.PENDING

    def _fail(self, payment_id: str, reason: str) -> None:
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            payment.state, payment.reason = State.FAILED, reason[:REASON_CHARACTERS_MAX]

    # Finding out

    def notified(self, provider_name: str, headers: Mapping[str, str], body: bytes) -> None:
        """A webhook. Raises Forged after it was reported, ProviderFailed when the provider must send it again."""
        provider = self.providers.get(provider_name)
        if provider is None:
            raise Forged("no such provider")
        try:
            notice = provider.notice(headers, body)
        except Forged as error:
            report(self._store, "forged", detail=f"{provider_name}: {error}")
            raise
        if notice.finding is not None:
            self._take(notice.payment_id, notice.finding)
        else:
            self.look(notice.payment_id, said_by=provider_name)

    def returned(self, provider_name: str, token: str) -> str:
        """A browser that came back with the provider's token: the payment's id, empty where there is none.

        The token proves nothing: the provider is asked. If it does not answer now, a job asks later.
        """
        with self._store.transaction() as transaction:
            query = select(Payment.id).where(Payment.provider == provider_name, Payment.token == token)
            payment_id = transaction.scalars(query).first()
        if payment_id is None or not token:
            return ""
        try:
            self.look(payment_id)
        except ProviderFailed as error:
            log.warning("payment.look_failed", payment=payment_id, error=str(error))
        return payment_id

    def look(self, payment_id: str, said_by: str = "") -> None:
        """Ask the provider how a payment stands, and act on it. Raises ProviderFailed."""
        with self._store.transaction() as transaction:
            payment = transaction.get(Payment, payment_id)
        if payment is None or (said_by and payment.provider != said_by):
            report(self._store, "unknown_payment", detail=f"{said_by}: {payment_id[:32]}")
            return
        provider = self.providers.get(payment.provider)
        if provider is None or payment.token is None:
            return
        if payment.state in WITHOUT_MONEY:
            self._take(payment_id, provider.look(known_of(payment)))
        else:
            self._take_returned(payment_id, provider.returned_kurus(known_of(payment)))

    def _take(self, payment_id: str, finding: Finding) -> None:
        with self._store.transaction() as transaction:
            payment = transaction.get(Payment, payment_id, with_for_update=True)
            if payment is None:
                verdict = None
            else:
                expected = Expected(payment.id, payment.state, payment.gross_kurus, payment.currency)
                verdict = judge(expected, finding)
                if verdict.state is not None:
                    _move(payment, verdict.state, finding)
        if verdict is None:
            report(self._store, "unknown_payment", detail=payment_id[:32])
        elif verdict.incident:
            detail = f"{to_text(finding.paid_kurus)} {finding.currency} for {finding.payment_id}"
            report(self._store, verdict.incident, payment_id, detail)
        elif verdict.state is State.PAID:
            log.info("payment.paid", payment=payment_id)
            self.credit(payment_id)

    # Into the ledger

    def credit(self, payment_id: str) -> bool:
        """Tell the ledger of a paid payment; whether it knows now. A death in between leaves it to the job."""
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id)
        if payment.state != State.PAID:
            return payment.credited_at is not None
        request = admin.CreditAccountRequest(
            account_id=payment.account_id, amount=to_text(payment.net_kurus), reference=payment.id
        )
        try:
            self._gateway.call("CreditAccount", request, CALLER)
        except CallFailed as failure:
            self._in_vain(payment_id, failure)
            return False
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            if payment.state == State.PAID:
                payment.state, payment.credited_at, payment.attempts = State.CREDITED, now(), 0
                payment.next_at = now()  # for its invoice
        log.info("payment.credited", payment=payment_id)
        return True

    def _in_vain(self, payment_id: str, failure: CallFailed) -> None:
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            _retry_later(payment)
            tell = payment.attempts == ATTEMPTS_QUIET
        log.warning("payment.credit_failed", payment=payment_id, code=failure.code)
        if tell:
            report(self._store, "credit_failed", payment_id, failure.code)

    # Back out of it

    def refund(
        self,
        payment_id: str,
        gross_kurus: int,
        seen_kurus: int | None = None,
        note: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """Send money back to the card, then take the net of it out of the ledger.

        `seen_kurus`: what had gone back when whoever asks looked; a form that is sent twice refunds once. `note` is
        kept with the claim. Raises ProviderFailed, NoProvider, RefundRunning; ValueError when it is not refundable.
        """
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            seen_kurus = payment.returned_kurus if seen_kurus is None else seen_kurus
            provider = self.providers.get(payment.provider)
            if provider is None:
                raise NoProvider
            _check_refundable(payment, gross_kurus, seen_kurus)
            if payment.refunding_until is not None and now() < payment.refunding_until:
                raise RefundRunning
            payment.refunding_until = now() + timedelta(seconds=REFUND_S)
            note(transaction)
        self.look(payment_id)  # an earlier refund, whose answer was lost, may have been made
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            if payment.returned_kurus != seen_kurus:
                payment.refunding_until = None
        _check_refundable(payment, gross_kurus, seen_kurus)
        provider.refund(known_of(payment), gross_kurus)
        self.look(payment_id)
        with self._store.transaction() as transaction:
            transaction.get_one(Payment, payment_id, with_for_update=True).refunding_until = None

    def _take_returned(self, payment_id: str, returned_kurus: int) -> None:
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            too_much = returned_kurus > payment.gross_kurus
            total = min(returned_kurus, payment.gross_kurus)
            step = total - payment.returned_kurus
            if step > 0:
                before = net_returned(payment.net_kurus, payment.gross_kurus, payment.returned_kurus)
                net = net_returned(payment.net_kurus, payment.gross_kurus, total) - before
                row = Reversal(payment_id=payment_id, total_kurus=total, gross_kurus=step, net_kurus=net)
                transaction.add(row)
                payment.returned_kurus = total
        if too_much:
            report(self._store, "returned_too_much", payment_id, to_text(returned_kurus))
        if step > 0:
            log.info("payment.returned", payment=payment_id, kurus=step)
            self.reverse(row.id)

    def reverse(self, reversal_id: str) -> bool:
        """Take a returned amount out of the ledger; the balance stops at zero, the rest is a receivable."""
        with self._store.transaction() as transaction:
            row = transaction.get_one(Reversal, reversal_id)
            payment = transaction.get_one(Payment, row.payment_id)
        if row.reversed_at is not None:
            return True
        if not self.credit(payment.id):
            return False
        reference = f"{payment.id}:{row.total_kurus}"
        try:
            if row.net_kurus:
                request = admin.ReverseCreditRequest(
                    account_id=payment.account_id, amount=to_text(row.net_kurus), reference=reference
                )
                self._gateway.call("ReverseCredit", request, CALLER)
        except CallFailed as failure:
            log.warning("payment.reverse_failed", payment=payment.id, code=failure.code)
            with self._store.transaction() as transaction:
                _retry_later(transaction.get_one(Reversal, reversal_id, with_for_update=True))
            return False
        with self._store.transaction() as transaction:
            row = transaction.get_one(Reversal, reversal_id, with_for_update=True)
            row.reversed_at = row.reversed_at or now()
            row.next_at, row.attempts = now(), 0  # for its invoice
            payment = transaction.get_one(Payment, row.payment_id, with_for_update=True)
            if payment.returned_kurus >= payment.gross_kurus:
                payment.state = State.REFUNDED
        return True


def known_of(payment: Payment) -> Known:
    """What a provider is told of a payment that it knows."""
    day = payment.created_at.astimezone(ISTANBUL).date()
    return Known(payment.id, payment.token or "", payment.provider_payment_id or "", day)


def retry_at(attempts: int, first_s: float, longest_s: float) -> datetime:
    """When to try again."""
    return datetime.now(UTC) + timedelta(seconds=backoff_s(attempts, first_s, longest_s))


def _check_refundable(payment: Payment, gross_kurus: int, seen_kurus: int) -> None:
    left = payment.gross_kurus - payment.returned_kurus
    if payment.state != State.CREDITED or not 0 < gross_kurus <= left or payment.returned_kurus != seen_kurus:
        raise ValueError("not refundable")


def _retry_later(row: Payment | Reversal) -> None:
    row.attempts += 1
    row.next_at = retry_at(row.attempts, RETRY_FIRST_S, RETRY_LONGEST_S)


def _move(payment: Payment, state: State, finding: Finding) -> None:
    payment.state, payment.attempts, payment.next_at = state, 0, now()
    if state is State.PAID:
        payment.paid_at, payment.reason = now(), ""
        payment.provider_payment_id = finding.provider_payment_id
    elif state is State.FAILED:
        payment.reason = finding.reason
