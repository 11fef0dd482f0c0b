"""Which links a person sees. What they lead to is guarded by itself."""

from console.people.tables import Person, Role, Standing

ADMIN = (
    ("/admin", "Health"),
    ("/admin/accounts", "Accounts"),
    ("/admin/people", "People"),
    ("/admin/credits", "Manual credits"),
    ("/admin/payments", "Payments"),
    ("/admin/invoices", "Invoices"),
    ("/admin/incidents", "Incidents"),
    ("/admin/sync", "Model Synchronization"),
    ("/admin/catalogue", "Catalogue"),
    ("/admin/rates", "Exchange rates"),
    ("/admin/ledger", "Ledger"),
    ("/admin/reconcile", "Reconcile"),
    ("/admin/acts", "Audit"),
)
"""Path and English text of each part of the administration."""

PARTNER = (
    ("/partner", "Overview"),
    ("/partner/accounts", "Customers and projects"),
    ("/partner/usage", "Usage Analysis"),
    ("/partner/margins", "Margins"),
    ("/partner/statements", "Statements"),
)
"""Path and English text of each part of the partner portal."""


def menu_of(person: Person) -> list[tuple[str, str]]:
    """Path and English text of each link."""
    links: list[tuple[str, str]] = []
    if person.memberships:
        links += [("/home", "Overview"), ("/keys", "API keys"), ("/usage", "Usage"), ("/requests", "Requests")]
        links += [
            ("/limits", "Limits"),
            ("/tasks", "Creations"),
            ("/models", "Models"),
            ("/playground", "Playground"),
            ("/members", "Members"),
        ]
    if any(each.role in (Role.OWNER, Role.PARTNER) for each in person.memberships):
        if any(each.role == Role.OWNER for each in person.memberships):
            links += [("/top-up", "Top-up")]  # cards pay into accounts in lira, which a partner's is not
        links += [("/payments", "Payments"), ("/billing", "Billing details")]
    if any(each.role == Role.PARTNER for each in person.memberships):
        links += [("/partner", "Partner portal")]
    if person.standing != Standing.CUSTOMER:
        links += [("/admin", "Administration")]
    return [*links, ("/docs", "Docs"), ("/sign-ins", "Sign-ins")]
