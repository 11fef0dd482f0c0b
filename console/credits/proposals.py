"""The one way of a credit by hand: proposed, approved by somebody else where it is large, told to the ledger.

Whatever comes first - a page, a page that is sent again, the job - ends in `carry_out`; the credit's reference is the
proposal's id, so the ledger counts it once. A death between approval and credit leaves it to the job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction

from console.credits.tables import REASON_CHARACTERS_MAX, Kind, Proposal, State
from console.gateway import Caller, CallFailed, Gateway
from console.payments.cashier import retry_at
from console.payments.incidents import report
from console.payments.money import to_text
from console.people import acts
from console.people.standing import is_administrator
from console.people.store import Store
from console.people.tables import Person, now
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.log import log
from runtime.settings import Settings

KURUS = 100
"""In a lira; cents in a dollar."""

LEASE_S = 30.0
"""For so long the job leaves to a page what the page is doing."""

RETRY_FIRST_S = 2.0
RETRY_LONGEST_S = 900.0
ROWS_MAX = 50
ATTEMPTS_QUIET = 8
"""After as many attempts in vain somebody is told; the job goes on trying."""


class NotAllowed(Exception):
    """Whoever proposes does not approve; both are administrators when it is approved."""


class Decided(Exception):
    """It was declined, or is approved already."""


class FormUsed(Exception):
    """This form was sent before, with something else in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for."""

    form_id: str
    account_id: str
    kind: Kind
    currency: str
    amount_kurus: int
    reason: str


class Proposals:
    """Made for each use; holds no state of its own."""

    def __init__(
        self, settings: Settings, store: Store, gateway: Gateway, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._bound_kurus = settings.manual_credit_bound * KURUS
        self._store = store
        self._gateway = gateway
        self._stopping = stopping

    def propose(self, person_id: str, wanted: Wanted) -> str:
        """Its id. Up to the bound it is carried out at once. Raises FormUsed."""
        try:
            with self._store.transaction() as transaction:
                proposal_id = self._add(transaction, person_id, wanted)
        except IntegrityError:  # the form was sent twice
            proposal_id = self._known(person_id, wanted)
        self.carry_out(proposal_id)
        return proposal_id

    def _add(self, transaction: Transaction, person_id: str, wanted: Wanted) -> str:
        row = Proposal(
            form_id=wanted.form_id,
            account_id=wanted.account_id,
            kind=wanted.kind,
            currency=wanted.currency,
            amount_kurus=wanted.amount_kurus,
            reason=wanted.reason,
            state=State.APPROVED if wanted.amount_kurus <= self._bound_kurus else State.PROPOSED,
            proposed_by=person_id,
            next_at=now() + timedelta(seconds=LEASE_S),
        )
        transaction.add(row)
        transaction.flush()
        _note(transaction, person_id, "credit.proposed", row, row.reason)
        return row.id

    def _known(self, person_id: str, wanted: Wanted) -> str:
        with self._store.transaction() as transaction:
            row = transaction.scalars(select(Proposal).where(Proposal.form_id == wanted.form_id)).one()
        before = Wanted(row.form_id, row.account_id, Kind(row.kind), row.currency, row.amount_kurus, row.reason)
        if (row.proposed_by, before) != (person_id, wanted):
            raise FormUsed
        return row.id

    def approve(self, proposal_id: str, person_id: str) -> None:
        """Agree, and carry it out; again, it only finishes what was begun.

        Raises NotAllowed, Decided when it was declined, NoResultFound.
        """
        with self._store.transaction() as transaction:
            row = transaction.get_one(Proposal, proposal_id, with_for_update=True)
            if row.state == State.DECLINED:
                raise Decided
            # One that nobody had to approve, and that the service holds to be too large for one person, waits too.
            waits_for_second = row.state == State.APPROVED and row.decided_by is None and row.proposed_by != person_id
            if row.state == State.PROPOSED or waits_for_second:
                _check_two(transaction, row, person_id)
                row.state, row.decided_by, row.decided_at = State.APPROVED, person_id, now()
                row.next_at = now() + timedelta(seconds=LEASE_S)
                _note(transaction, person_id, "credit.approved", row)
        self.carry_out(proposal_id)

    def decline(self, proposal_id: str, person_id: str) -> None:
        """It is not done. Whoever proposed it may take it back so. Raises Decided, NoResultFound."""
        with self._store.transaction() as transaction:
            row = transaction.get_one(Proposal, proposal_id, with_for_update=True)
            if row.state == State.DECLINED:
                return
            if row.state != State.PROPOSED:
                raise Decided
            row.state, row.decided_by, row.decided_at = State.DECLINED, person_id, now()
            _note(transaction, person_id, "credit.declined", row)

    def carry_out(self, proposal_id: str) -> bool:
        """Tell the ledger of what is approved; whether it knows now."""
        with self._store.transaction() as transaction:
            row = transaction.get_one(Proposal, proposal_id)
        if row.state != State.APPROVED:
            return row.state == State.DONE
        method, request = _call_of(row)
        try:
            self._gateway.call(method, request, Caller(row.proposed_by, "administer", "*"))
        except CallFailed as failure:
            self._in_vain(proposal_id, failure)
            return False
        with self._store.transaction() as transaction:
            row = transaction.get_one(Proposal, proposal_id, with_for_update=True)
            if row.state == State.APPROVED:
                row.state, row.done_at, row.problem = State.DONE, now(), ""
        log.info("credit.done", proposal=proposal_id)
        return True

    def _in_vain(self, proposal_id: str, failure: CallFailed) -> None:
        with self._store.transaction() as transaction:
            row = transaction.get_one(Proposal, proposal_id, with_for_update=True)
            row.attempts += 1
            row.next_at = retry_at(row.attempts, RETRY_FIRST_S, RETRY_LONGEST_S)
            row.problem = failure.message[:REASON_CHARACTERS_MAX]
            tell = row.attempts == ATTEMPTS_QUIET
        log.warning("credit.failed", proposal=proposal_id, code=failure.code)
        if tell:
            report(self._store, "manual_credit_failed", proposal_id, failure.code)

    def work(self) -> None:
        """The job: finish what was approved and not yet told to the ledger."""
        for proposal_id in self._due():
            if self._stopping():
                return
            self.carry_out(proposal_id)

    def _due(self) -> list[str]:
        with self._store.transaction() as transaction:
            query = (
                select(Proposal)
                .where(Proposal.state == State.APPROVED, Proposal.next_at <= now())
                .order_by(Proposal.next_at)
                .limit(ROWS_MAX)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.scalars(query).all()
            for row in rows:
                row.next_at = now() + timedelta(seconds=LEASE_S)
            return [row.id for row in rows]


def _call_of(row: Proposal) -> tuple[str, Any]:
    about = {"account_id": row.account_id, "amount": to_text(row.amount_kurus), "reference": row.id}
    if row.kind == Kind.REVERSAL:
        return "ReverseCredit", admin.ReverseCreditRequest(**about)
    return "CreditAccount", admin.CreditAccountRequest(**about, reason=row.reason, approved_by=row.decided_by or "")


def _check_two(transaction: Transaction, row: Proposal, person_id: str) -> None:
    wanted = (row.proposed_by, person_id)
    people = transaction.scalars(
        select(Person).where(Person.id.in_(wanted)).order_by(Person.id).with_for_update()
    ).all()
    if len([each for each in people if is_administrator(each)]) != 2:
        raise NotAllowed


def _note(transaction: Transaction, person_id: str, what: str, row: Proposal, more: str = "") -> None:
    detail = f"{row.kind} {to_text(row.amount_kurus)} {row.currency} {row.id} {more}"
    acts.record(transaction, person_id, what, row.account_id, detail.strip())
