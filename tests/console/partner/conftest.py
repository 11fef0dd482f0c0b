"""A partner with a customer, a project and their people, in front of a real gateway."""

from dataclasses import dataclass

import pytest

from console.people.tables import Role
from console.services import Services
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import Customer, Gateway

PARTNER_CREDIT = "50.00"


@dataclass(frozen=True)
class Family:
    """A partner's account with 50 USD, and below it a customer and a project, each with a key and nothing else."""

    gateway: Gateway
    partner_id: str
    customer: Customer
    project: Customer

    def account(self, account_id: str) -> admin.Account:
        """As the ledger has it."""
        found: admin.Account = self.gateway.admin("GetAccount", admin.AccountRef(account_id=account_id))
        return found

    def limits(self, owner_id: str) -> dict[tuple[str, str], int]:
        """Most, by pattern and kind."""
        found = self.gateway.admin("ListLimits", admin.OwnerRef(owner_id=owner_id))
        return {(each.pattern, each.kind): each.most for each in found.limits}


def open_below(gateway: Gateway, partner_id: str, kind: ledger.AccountKind.ValueType, name: str) -> Customer:
    """A customer or project with a key and no limits."""
    request = admin.OpenAccountRequest(
        kind=kind, parent_id=partner_id, name=name, requests_per_minute=0, requests_per_day=0
    )
    account_id = gateway.admin("OpenAccount", request).account_id
    key = gateway.admin("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="key"))
    return Customer(account_id, key.key_id, key.api_key)


def open_family(gateway: Gateway) -> Family:
    """A new one."""
    request = admin.OpenAccountRequest(kind=ledger.PARTNER, name="Reseller", requests_per_minute=0, requests_per_day=0)
    partner_id = gateway.admin("OpenAccount", request).account_id
    gateway.credit(partner_id, PARTNER_CREDIT, "opening")
    customer = open_below(gateway, partner_id, ledger.PARTNER_CUSTOMER, "Işık Şarküteri")
    project = open_below(gateway, partner_id, ledger.PARTNER_PROJECT, "Own project")
    return Family(gateway, partner_id, customer, project)


@pytest.fixture
def family(gateway: Gateway, services: Services) -> Family:
    """With `boss@example.com`, who looks after it, and `shop@example.com`, who owns the customer."""
    family = open_family(gateway)
    add_person(services, "boss@example.com", memberships={family.partner_id: Role.PARTNER})
    add_person(services, "shop@example.com", memberships={family.customer.account_id: Role.OWNER})
    return family


@pytest.fixture
def boss(services: Services, family: Family) -> Browser:
    """The partner, signed in."""
    browser = Browser(services)
    browser.sign_in("boss@example.com")
    return browser


@pytest.fixture
def shop(services: Services, family: Family) -> Browser:
    """The customer, signed in."""
    browser = Browser(services)
    browser.sign_in("shop@example.com")
    return browser
