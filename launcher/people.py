"""The demo's people in the console: a user, a partner and an administrator, with sign-ins that `./dev up` prints."""

import secrets
from collections.abc import Mapping

from sqlalchemy import select

from cli.client import AdminClient
from console.identity import passwords, second_factor
from console.identity.secrets import Vault
from console.people.store import Store
from console.people.tables import Membership, Person, Role, Standing, now
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import PARTNER

_PARTNER_CREDIT = "100.00"
_NAMES = {"user": "Ada Deneme", "partner": "Bora Deneme", "administrator": "Cem Deneme"}
_STANDINGS = {"administrator": Standing.ADMINISTRATOR}


def open_people(client: AdminClient, environment: Mapping[str, str], kept: dict[str, str]) -> None:
    """Bring `kept` and the console's store to where a demo needs them. Raises CallFailed."""
    if "partner_account_id" not in kept:
        request = admin.OpenAccountRequest(kind=PARTNER, name="demo partner")
        kept["partner_account_id"] = client.call("OpenAccount", request).account_id
        credit = admin.CreditAccountRequest(
            account_id=kept["partner_account_id"], amount=_PARTNER_CREDIT, reference="demo"
        )
        client.call("CreditAccount", credit)
    for name in _NAMES:
        kept.setdefault(f"{name}_email", f"{name}@example.com")
        kept.setdefault(f"{name}_password", secrets.token_urlsafe(9))
    kept.setdefault("administrator_totp_secret", second_factor.new_secret())
    store = Store(
        environment.get("ONYSOFT_CONSOLE_DATABASE") or f"sqlite:///{environment['ONYSOFT_CONSOLE_DIR']}/people.sqlite"
    )
    store.migrate()
    with store.transaction() as transaction:
        for name in _NAMES:
            if transaction.scalars(select(Person).where(Person.email == kept[f"{name}_email"])).first() is None:
                transaction.add(_person(name, kept, Vault(environment["ONYSOFT_CONSOLE_SECRET"])))
    store.close()


def _person(name: str, kept: dict[str, str], vault: Vault) -> Person:
    person = Person(
        email=kept[f"{name}_email"],
        name=_NAMES[name],
        password_hash=passwords.hash_password(kept[f"{name}_password"]),
        standing=_STANDINGS.get(name, Standing.CUSTOMER),
        verified_at=now(),
    )
    if name == "administrator":
        person.totp_secret, person.totp_since = vault.close(kept["administrator_totp_secret"]), now()
    if name == "user":
        person.memberships.append(Membership(account_id=kept["account_id"], role=Role.OWNER))
    if name == "partner":
        person.memberships.append(Membership(account_id=kept["partner_account_id"], role=Role.PARTNER))
    return person
