"""What staff looks at: people, payments, invoices, incidents and credits by hand, as full as they get."""

from console.credits.tables import Kind as CreditKind
from console.credits.tables import Proposal
from console.credits.tables import State as CreditState
from console.invoices.tables import Invoice, Kind
from console.invoices.tables import State as InvoiceState
from console.payments.tables import Incident, Payment, Reversal, State
from console.people.store import Store
from console.people.tables import Membership, Person, Role, new_id, now
from console.web.words import INCIDENTS
from tests.faults.gateway import Gateway

LONG = (
    "a reason that is as long as reasons may be, about an outage on Monday and what was promised then, ticket 12345; "
)


def fill(site: Gateway) -> list[str]:
    """Put it into the console's store of a running instance; the paths of pages about one thing."""
    account_id = site.document["account_id"]
    store = Store(f"sqlite:///{site.data}/console/people.sqlite")
    try:
        with store.transaction() as transaction:
            people = [
                Person(email=f"{'long.' * 12}{number}@example.com", name=f"Ayşe Öztürk {number}", password_hash="!")
                for number in range(3)
            ]
            people[1].disabled_at, people[2].totp_since, people[0].verified_at = now(), now(), now()
            people[0].memberships.append(Membership(account_id=account_id, role=Role.MEMBER))
            transaction.add_all(people)
            transaction.flush()
            payments = [_payment(account_id, people[0].id, state) for state in State]
            transaction.add_all(payments)
            transaction.flush()
            credited = next(each for each in payments if each.state == State.CREDITED)
            transaction.add(
                Reversal(
                    payment_id=credited.id, total_kurus=3_000, gross_kurus=3_000, net_kurus=2_500, reversed_at=now()
                )
            )
            transaction.add_all(_invoice(credited, number, state) for number, state in enumerate(InvoiceState))
            transaction.add_all(
                Incident(kind=kind, subject=credited.id, detail="1.00 TRY for " + "9" * 32, count=3)
                for kind in INCIDENTS
            )
            transaction.add_all(
                _proposal(account_id, people[number % 3].id, state) for number, state in enumerate(CreditState)
            )
        return [
            f"/admin/accounts/{account_id}",
            f"/admin/people/{people[0].id}",
            f"/admin/people/{people[2].id}",
            f"/admin/payments/{credited.id}",
            f"/admin/credits?account={account_id}",
            "/admin/incidents?state=closed",
            f"/invoices?account={account_id}",
            f"/payments?account={account_id}",
        ]
    finally:
        store.close()


def _payment(account_id: str, person_id: str, state: State) -> Payment:
    moment = now()
    return Payment(
        account_id=account_id,
        person_id=person_id,
        provider="iyzico",
        state=state,
        net_kurus=123_456_789,
        vat_kurus=24_691_358,
        gross_kurus=148_148_147,
        vat_bps=2_000,
        returned_kurus=3_000 if state == State.CREDITED else 0,
        paid_at=moment if state in (State.PAID, State.CREDITED, State.REFUNDED) else None,
        credited_at=moment if state in (State.CREDITED, State.REFUNDED) else None,
        next_at=moment.replace(year=moment.year + 1),  # no job touches it
        expires_at=moment.replace(year=moment.year + 1),
    )


def _invoice(payment: Payment, number: int, state: InvoiceState) -> Invoice:
    return Invoice(
        account_id=payment.account_id,
        cause=f"ui:{number}",
        payment_id=payment.id,
        kind=Kind.RETURN if number == 1 else Kind.SALE,
        series="TST",
        year=2026,
        sequence=number,
        number=f"TST202600000000{number}",
        ettn=new_id(),
        profile="EARSIVFATURA",
        issued_at=now(),
        net_kurus=payment.net_kurus,
        vat_kurus=payment.vat_kurus,
        gross_kurus=payment.gross_kurus,
        document="{}",
        xml=b"<Invoice/>",
        state=state,
        reason="1150 Şematron kontrolü başarısız: " + LONG if state == InvoiceState.REJECTED else "",
        next_at=payment.next_at,
    )


def _proposal(account_id: str, person_id: str, state: CreditState) -> Proposal:
    moment = now()
    return Proposal(
        form_id=new_id(),
        account_id=account_id,
        kind=CreditKind.CREDIT,
        currency="TRY",
        amount_kurus=12_345_600,
        reason=LONG,
        state=state,
        proposed_by=person_id,
        decided_by=person_id if state in (CreditState.DONE, CreditState.DECLINED) else None,
        problem="The gateway cannot be reached." if state == CreditState.APPROVED else "",
        next_at=moment.replace(year=moment.year + 1),
    )
