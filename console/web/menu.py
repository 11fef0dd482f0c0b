"""Which links a person sees. What they lead to is guarded by itself."""

from console.people.tables import Person, Role, Standing


def menu_of(person: Person) -> list[tuple[str, str]]:
    """Path and English text of each link."""
    links: list[tuple[str, str]] = []
    if person.memberships:
        links += [("/home", "Overview"), ("/keys", "API keys"), ("/usage", "Usage"), ("/requests", "Requests")]
        links += [
            ("/tasks", "Creations"),
            ("/models", "Models"),
            ("/playground", "Playground"),
            ("/members", "Members"),
        ]
    if any(each.role in (Role.OWNER, Role.PARTNER) for each in person.memberships):
        links += [("/top-up", "Top-up"), ("/payments", "Payments"), ("/billing", "Billing details")]
    if any(each.role == Role.PARTNER for each in person.memberships):
        links += [("/partner", "Customers")]
    if person.standing != Standing.CUSTOMER:
        links += [("/admin", "Administration")]
    return [*links, ("/docs", "Docs"), ("/sign-ins", "Sign-ins")]
