"""Issues invoices for payments, takes them back for returns, and sees them through to the tax administration.

Nobody outside is asked while a number's transaction is open. What fails is tried again by the job.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction

from console.invoices import numbers, ubl
from console.invoices.document import ARCHIVE, BASIC, Document, Line, Party, from_json, problems
from console.invoices.integrator import Folder, Integrator, IntegratorFailed, Letter, Refused
from console.invoices.nilvera import Nilvera
from console.invoices.tables import BillingProfile, Invoice, Kind, State
from console.invoices.tax_ids import UNKNOWN_PERSON
from console.payments.cashier import retry_at
from console.payments.incidents import report
from console.payments.tables import Payment, Reversal
from console.payments.tables import State as PaymentState
from console.people.store import Store
from console.people.tables import now
from console.web.language import ISTANBUL
from runtime.log import log
from runtime.settings import Settings

SANDBOX_KEY = "sandbox-nilvera-key"
RETRY_FIRST_S = 5.0
RETRY_LONGEST_S = 3_600.0
LOOK_FIRST_S = 5.0
LEASE_S = 120.0
ROWS_MAX = 50
ATTEMPTS_QUIET = 10
Waiting = type[Payment] | type[Reversal] | type[Invoice]
"""What has a turn of its own."""
_LINES = {Kind.SALE: "Yapay zekâ API kredisi", Kind.RETURN: "Yapay zekâ API kredisi iadesi"}


def integrator_of(settings: Settings) -> Integrator:
    """The one that is configured."""
    if settings.invoice_integrator == "nilvera":
        return Nilvera(settings.nilvera_url, settings.nilvera_api_key.get_secret_value())
    if settings.invoice_integrator == "sandbox":
        return Nilvera(settings.sandbox_url, SANDBOX_KEY)
    return Folder(settings.console_dir / "invoices")


class Unfit(Exception):
    """An invoice would break a rule, so it is not issued; a person must correct what it is made of."""


class Office:
    """Holds no state of its own."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        integrator: Integrator | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._store = store
        self._integrator = integrator or integrator_of(settings)
        self._stopping = stopping

    def work(self) -> None:
        """One round of the job: issue what is missing, send what waits, ask about what was sent."""
        if not self._settings.seller_tax_id:
            return
        self._each(self._uninvoiced(), self.invoice_payment, Payment)
        self._each(self._unreturned(), self.invoice_reversal, Reversal)
        self._each(self._due(State.ISSUED), self._send, Invoice)
        self._each(self._due(State.SENT), self._look, Invoice)

    def _each(self, ids: list[str], act: Callable[[str], object], table: Waiting) -> None:
        for each in ids:
            if self._stopping():
                return
            try:
                act(each)
            except IntegratorFailed as error:
                log.warning("invoice.postponed", subject=each, error=str(error))
                self._later(table, each, RETRY_FIRST_S)
            except Unfit as error:
                report(self._store, "invoice_unfit", each, str(error))
                self._later(table, each, RETRY_LONGEST_S)

    def _uninvoiced(self) -> list[str]:
        credited = Payment.state.in_((PaymentState.CREDITED, PaymentState.REFUNDED))
        missing = ~exists().where(Invoice.payment_id == Payment.id, Invoice.kind == Kind.SALE)
        turn = Payment.next_at <= now()
        with self._store.transaction() as transaction:
            query = select(Payment.id).where(credited, turn, missing).order_by(Payment.credited_at).limit(ROWS_MAX)
            return list(transaction.scalars(query))

    def _unreturned(self) -> list[str]:
        missing = ~exists().where(Invoice.cause == "reversal:" + Reversal.id)
        sold = exists().where(Invoice.payment_id == Reversal.payment_id, Invoice.kind == Kind.SALE)
        with self._store.transaction() as transaction:
            done, turn = Reversal.reversed_at.is_not(None), Reversal.next_at <= now()
            query = select(Reversal.id).where(done, turn, missing, sold).order_by(Reversal.created_at).limit(ROWS_MAX)
            return list(transaction.scalars(query))

    def _due(self, state: State) -> list[str]:
        with self._store.transaction() as transaction:
            query = (
                select(Invoice)
                .where(Invoice.state == state, Invoice.next_at <= now())
                .order_by(Invoice.next_at)
                .limit(ROWS_MAX)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.scalars(query).all()
            for row in rows:
                row.next_at = now() + timedelta(seconds=LEASE_S)
            return [row.id for row in rows]

    def invoice_payment(self, payment_id: str) -> str:
        """The invoice of a payment, issued now or before: its id.

        Raises Unfit, and IntegratorFailed where it cannot be told whether the buyer is registered.
        """
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id)
            profile = transaction.get(BillingProfile, payment.account_id)
        if profile is None:
            raise Unfit("there are no billing details")
        buyer = _buyer(profile)
        alias = "" if buyer.tax_id == UNKNOWN_PERSON else self._integrator.mailbox(buyer.tax_id)
        line = Line(_LINES[Kind.SALE], payment.net_kurus, payment.vat_kurus, payment.vat_bps)
        return self._issue(f"payment:{payment_id}", payment, buyer, alias, line, None)

    def invoice_reversal(self, reversal_id: str) -> str:
        """The return invoice for money that went back to a card: its id, empty where no sale was invoiced."""
        with self._store.transaction() as transaction:
            reversal = transaction.get_one(Reversal, reversal_id)
            payment = transaction.get_one(Payment, reversal.payment_id)
            query = select(Invoice).where(Invoice.payment_id == payment.id, Invoice.kind == Kind.SALE)
            sale = transaction.scalars(query).first()
        vat = reversal.gross_kurus - reversal.net_kurus
        if sale is None or reversal.net_kurus <= 0:
            return ""
        line = Line(_LINES[Kind.RETURN], reversal.net_kurus, vat, payment.vat_bps)
        buyer = from_json(sale.document).buyer
        return self._issue(f"reversal:{reversal_id}", payment, buyer, sale.alias, line, sale)

    def _issue(
        self, cause: str, payment: Payment, buyer: Party, alias: str, line: Line, returned: Invoice | None
    ) -> str:
        try:
            with self._store.transaction() as transaction:
                return self._number(transaction, cause, payment, buyer, alias, line, returned)
        except IntegrityError:  # another process was first, in the other series
            with self._store.transaction() as transaction:
                return str(transaction.scalars(select(Invoice.id).where(Invoice.cause == cause)).one())

    def _number(
        self,
        transaction: Transaction,
        cause: str,
        payment: Payment,
        buyer: Party,
        alias: str,
        line: Line,
        returned: Invoice | None,
    ) -> str:
        settings = self._settings
        series = settings.invoice_series if alias else settings.invoice_archive_series
        counter = numbers.lock(transaction, series)
        known = transaction.scalars(select(Invoice.id).where(Invoice.cause == cause)).first()
        if known is not None:
            return known
        number = numbers.take(counter)
        document = Document(
            kind=Kind.SALE if returned is None else Kind.RETURN,
            profile=BASIC if alias else ARCHIVE,
            number=str(number),
            ettn=str(uuid.uuid4()),
            issued_at=number.issued_at,
            seller=seller_of(settings),
            buyer=buyer,
            lines=(line,),
            note=f"Ödeme: {payment.id}",
            paid_on=f"{payment.paid_at.astimezone(ISTANBUL):%Y-%m-%d}" if payment.paid_at and returned is None else "",
            returned_number="" if returned is None else returned.number,
            returned_on="" if returned is None else f"{returned.issued_at.astimezone(ISTANBUL):%Y-%m-%d}",
        )
        wrong = problems(document)
        if wrong:
            raise Unfit("; ".join(wrong))
        invoice = Invoice(
            account_id=payment.account_id,
            cause=cause,
            payment_id=payment.id,
            kind=document.kind,
            returns_id=None if returned is None else returned.id,
            series=number.series,
            year=number.year,
            sequence=number.sequence,
            number=document.number,
            ettn=document.ettn,
            profile=document.profile,
            alias=alias,
            issued_at=document.issued_at,
            net_kurus=document.net_kurus,
            vat_kurus=document.vat_kurus,
            gross_kurus=document.gross_kurus,
            document=document.to_json(),
            xml=ubl.to_xml(document),
        )
        transaction.add(invoice)
        transaction.flush()
        return invoice.id

    def send_again(self, transaction: Transaction, invoice_id: str) -> None:
        """At the job's next turn: one that was rejected, as it is, or one that waits. Raises ValueError for others."""
        row = transaction.get_one(Invoice, invoice_id, with_for_update=True)
        if row.state not in (State.ISSUED, State.REJECTED):
            raise ValueError("on its way, or accepted")
        row.state, row.reason, row.attempts, row.next_at = State.ISSUED, "", 0, now()

    def _send(self, invoice_id: str) -> None:
        letter = self._letter(invoice_id)
        try:
            self._integrator.send(letter)
        except Refused as refusal:
            self._end(invoice_id, State.REJECTED, str(refusal))
        else:
            log.info("invoice.sent", number=letter.number)
            with self._store.transaction() as transaction:
                row = transaction.get_one(Invoice, invoice_id, with_for_update=True)
                row.state, row.attempts, row.next_at = State.SENT, 0, now()

    def _look(self, invoice_id: str) -> None:
        standing = self._integrator.standing(self._letter(invoice_id))
        if standing.state in (State.ACCEPTED, State.REJECTED):
            self._end(invoice_id, standing.state, standing.reason)
        else:
            self._later(Invoice, invoice_id, LOOK_FIRST_S)

    def _letter(self, invoice_id: str) -> Letter:
        with self._store.transaction() as transaction:
            row = transaction.get_one(Invoice, invoice_id)
        return Letter(row.number, row.ettn, row.profile, row.alias, row.xml)

    def _end(self, invoice_id: str, state: State, reason: str) -> None:
        with self._store.transaction() as transaction:
            row = transaction.get_one(Invoice, invoice_id, with_for_update=True)
            row.state, row.reason = state, reason
        log.info("invoice.ended", number=row.number, state=state)
        if state is State.REJECTED:
            report(self._store, "invoice_rejected", row.payment_id or "", f"{row.number}: {reason}")

    def _later(self, table: Waiting, row_id: str, first_s: float) -> None:
        with self._store.transaction() as transaction:
            row: Any = transaction.get_one(table, row_id, with_for_update=True)
            row.attempts += 1
            row.next_at = retry_at(row.attempts, first_s, RETRY_LONGEST_S)
        if row.attempts == ATTEMPTS_QUIET:
            report(self._store, "invoice_waits", row_id)


def seller_of(settings: Settings) -> Party:
    """Who sells, by settings."""
    return Party(
        name=settings.seller_name,
        tax_id=settings.seller_tax_id,
        tax_office=settings.seller_tax_office,
        address=settings.seller_address,
        district=settings.seller_district,
        city=settings.seller_city,
        website=settings.console_url,
    )


def _buyer(profile: BillingProfile) -> Party:
    return Party(
        name=profile.name,
        tax_id=profile.tax_id or UNKNOWN_PERSON,
        tax_office=profile.tax_office,
        address=profile.address,
        district=profile.district,
        city=profile.city,
        email=profile.email,
        phone=profile.phone,
    )
