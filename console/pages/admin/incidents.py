"""What somebody must look at in payments, invoices and credits; closed with a note."""

from sqlalchemy import select
from starlette.responses import Response

from console.credits.tables import Proposal
from console.invoices.tables import Invoice
from console.pages.admin.reasons import reason_of
from console.payments.tables import Incident, Payment
from console.people import acts
from console.people.tables import Act, Person, Standing, now
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE, page_of

CLOSED = "incident.closed"


def incidents(context: Context) -> Response:
    """A page of them: open ones, the latest first; on request those that were closed, with their notes."""
    closed, page = context.request.query_params.get("state") == "closed", page_of(context)
    query = select(Incident).order_by(Incident.last_at.desc(), Incident.id)
    query = query.where(Incident.closed_at.is_not(None) if closed else Incident.closed_at.is_(None))
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.offset(page * ROWS_A_PAGE).limit(ROWS_A_PAGE + 1)).all()
        shown = found[:ROWS_A_PAGE]
        ids, subjects = [each.id for each in shown], [each.subject for each in shown]
        noted = transaction.scalars(select(Act).where(Act.what == CLOSED, Act.subject.in_(ids)).order_by(Act.at)).all()
        notes = {each.subject: each for each in noted}
        people = select(Person.id, Person.name).where(Person.id.in_({each.person_id for each in noted}))
        names = {person_id: name for person_id, name in transaction.execute(people).all()}
        leads = {
            **{
                each: f"/admin/payments/{each}"
                for each in transaction.scalars(select(Payment.id).where(Payment.id.in_(subjects)))
            },
            **{
                each.id: f"/admin/invoices?number={each.number}"
                for each in transaction.scalars(select(Invoice).where(Invoice.id.in_(subjects)))
            },
            **{
                each.id: f"/admin/credits?account={each.account_id}"
                for each in transaction.scalars(select(Proposal).where(Proposal.id.in_(subjects)))
            },
        }
    values = {
        "incidents": shown,
        "notes": notes,
        "names": names,
        "leads": leads,
        "closed": closed,
        "may_change": context.me.person.standing == Standing.ADMINISTRATOR,
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
    }
    return context.render("admin/incidents.html", values)


def close(context: Context) -> Response:
    """Looked at. What happens again opens it again."""
    note = reason_of(context)
    with context.services.store.transaction() as transaction:
        found = transaction.get(Incident, context.request.path_params["incident_id"], with_for_update=True)
        if found is None:
            raise NotFound
        if form_of(context).get("count") != str(found.count) or found.closed_at is not None:
            raise Problem(context.translate("It happened again, or was closed meanwhile. Please look again."), 409)
        found.closed_at = now()
        acts.record(transaction, context.me.person.id, CLOSED, found.id, note)
    return context.go("/admin/incidents")


ROWS = [
    Row("/admin/incidents", incidents, Guard.SUPPORT),
    Row("/admin/incidents/{incident_id}/close", close, Guard.ADMINISTRATOR, ("POST",)),
]
