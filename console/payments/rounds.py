"""What the console's jobs do for payments: whatever a browser, a webhook or a death left undone.

Each round claims a few rows by moving their `next_at`, so several console processes share the work.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from sqlalchemy import select

from console.payments.cashier import LOOK_LONGEST_S, Cashier, retry_at
from console.payments.incidents import report
from console.payments.port import Mention, Provider, ProviderFailed
from console.payments.tables import OPEN, WITHOUT_MONEY, Payment, Reversal, State
from console.people.store import Store
from console.people.tables import now
from console.web.language import ISTANBUL
from runtime.log import log
from runtime.settings import Settings

ROWS_MAX = 50
LEASE_S = 60.0


class Rounds:
    """Called again and again; each call ends soon."""

    def __init__(
        self, settings: Settings, store: Store, cashier: Cashier, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._settings = settings
        self._store = store
        self._cashier = cashier
        self._stopping = stopping

    def settle(self) -> None:
        """Credit what is paid, take back what was returned, ask about what is open, let it expire."""
        self._each(self._due(State.PAID), self._cashier.credit)
        self._each(self._due_reversals(), self._cashier.reverse)
        self._each(self._due(*OPEN), self._look)

    def _each(self, ids: list[str], work: Callable[[str], object]) -> None:
        for each in ids:
            if self._stopping():
                return
            work(each)

    def _due(self, *states: State) -> list[str]:
        with self._store.transaction() as transaction:
            query = (
                select(Payment)
                .where(Payment.state.in_(states), Payment.next_at <= now())
                .order_by(Payment.next_at)
                .limit(ROWS_MAX)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.scalars(query).all()
            for row in rows:
                row.next_at = now() + timedelta(seconds=LEASE_S)
            return [row.id for row in rows]

    def _due_reversals(self) -> list[str]:
        with self._store.transaction() as transaction:
            query = (
                select(Reversal)
                .where(Reversal.reversed_at.is_(None), Reversal.next_at <= now())
                .order_by(Reversal.next_at)
                .limit(ROWS_MAX)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.scalars(query).all()
            for row in rows:
                row.next_at = now() + timedelta(seconds=LEASE_S)
            return [row.id for row in rows]

    def _look(self, payment_id: str) -> None:
        try:
            self._cashier.look(payment_id)
        except ProviderFailed as error:
            log.warning("payment.look_failed", payment=payment_id, error=str(error))
            failed = True
        else:
            failed = False
        with self._store.transaction() as transaction:
            payment = transaction.get_one(Payment, payment_id, with_for_update=True)
            if payment.state not in OPEN:
                return
            payment.attempts += 1
            payment.next_at = retry_at(payment.attempts, self._settings.payment_look_s, LOOK_LONGEST_S)
            if payment.expires_at <= now() and not failed:
                payment.state = State.EXPIRED

    def compare(self) -> int:
        """Go through the providers' listings of the last days; how many payments they told something new of."""
        today = datetime.now(ISTANBUL).date()
        news = 0
        for provider in self._cashier.providers.values():
            for back in range(self._settings.payment_listing_days):
                try:
                    news += self._compare_day(provider, today - timedelta(days=back))
                except ProviderFailed as error:
                    log.warning("payment.listing_failed", provider=provider.name, error=str(error))
        return news

    def _compare_day(self, provider: Provider, day: date) -> int:
        news = 0
        for mention in provider.mentions(day):
            if self._stopping():
                break
            news += self._compare(provider, mention)
        return news

    def _compare(self, provider: Provider, mention: Mention) -> bool:
        payment = self._mentioned(provider, mention)
        if payment is None:
            report(self._store, "unknown_payment", detail=f"{provider.name}: {mention.payment_id[:32]}")
            return False
        if not mention.returned and payment.state not in WITHOUT_MONEY:
            return False
        self._cashier.look(payment.id)
        if mention.returned and payment.state in WITHOUT_MONEY:
            self._cashier.look(payment.id)  # first that it was paid, then that it went back
        with self._store.transaction() as transaction:
            after = transaction.get_one(Payment, payment.id)
        return (after.state, after.returned_kurus) != (payment.state, payment.returned_kurus)

    def _mentioned(self, provider: Provider, mention: Mention) -> Payment | None:
        ours = select(Payment).where(Payment.provider == provider.name)
        with self._store.transaction() as transaction:
            found = transaction.scalars(ours.where(Payment.id == mention.payment_id)).first()
            if found is None and mention.provider_payment_id:
                query = ours.where(Payment.provider_payment_id == mention.provider_payment_id)
                found = transaction.scalars(query).first()
            return found
