"""Tells owners by e-mail when little is left: once for each time that a balance falls below what they chose."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select

from console.gateway import Caller, CallFailed, Gateway
from console.invoices.tables import LowBalance
from console.mail import Mailer, compose
from console.payments.money import to_text
from console.people.store import Store
from console.people.tables import now
from console.web.language import Formats, translator
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.log import log
from runtime.settings import Settings

CALLER = Caller("console:low-balance", "read", "*")
LOOK_EVERY_S = 60.0
RETRY_S = 300.0
ROWS_MAX = 200
KURUS = Decimal("0.01")


class LowBalanceRound:
    """One round of the job."""

    def __init__(
        self, settings: Settings, store: Store, gateway: Gateway, mailer: Mailer, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._store = store
        self._gateway = gateway
        self._mailer = mailer
        self._stopping = stopping

    def work(self) -> None:
        """Look at every account whose turn it is."""
        for account_id in self._due():
            if self._stopping():
                return
            self.look(account_id)

    def _due(self) -> list[str]:
        with self._store.transaction() as transaction:
            query = (
                select(LowBalance)
                .where(LowBalance.next_at <= now())
                .order_by(LowBalance.next_at)
                .limit(ROWS_MAX)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.scalars(query).all()
            for row in rows:
                row.next_at = now() + timedelta(seconds=LOOK_EVERY_S)
            return [row.account_id for row in rows]

    def look(self, account_id: str) -> None:
        """Compare what is available with what the owner chose. An e-mail that cannot be sent is tried again."""
        try:
            balance: admin.Balance = self._gateway.call("GetBalance", admin.AccountRef(account_id=account_id), CALLER)
        except CallFailed as failure:
            log.warning("low_balance.look_failed", account=account_id, code=failure.code)
            return
        available = Decimal(balance.available)
        with self._store.transaction() as transaction:
            row = transaction.get(LowBalance, account_id, with_for_update=True)
            if row is None:
                return
            is_below = available < row.threshold_kurus * KURUS
            fell = is_below and not row.is_below
            row.is_below = is_below
            if fell:
                row.told_at = now()
        if fell and not self._tell(row, balance):
            with self._store.transaction() as transaction:
                again = transaction.get(LowBalance, account_id, with_for_update=True)
                if again is not None:
                    again.is_below, again.next_at = False, now() + timedelta(seconds=RETRY_S)

    def _tell(self, row: LowBalance, balance: admin.Balance) -> bool:
        _, formats = translator(row.language), Formats(row.language)
        available = formats.money(balance.available, balance.currency, 2)
        threshold = formats.money(to_text(row.threshold_kurus), balance.currency)
        link = f"{self._settings.console_url}/top-up?account={row.account_id}"
        text = _(
            "%(available)s is left in your account %(account)s; you asked to be told below %(threshold)s.\n\n%(link)s",
            available=available,
            account=row.account_id,
            threshold=threshold,
            link=link,
        )
        message = compose(self._settings.mail_from, row.email, _("Your balance is low"), text)
        try:
            self._mailer.send(message)
        except OSError as error:
            log.warning("low_balance.mail_failed", account=row.account_id, error=type(error).__name__)
            return False
        return True
