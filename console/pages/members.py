"""Who may use an account: invited by e-mail, with a role, and removed again."""

import smtplib

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction
from starlette.responses import Response

from console.mail import compose
from console.pages.entry import is_email
from console.people import acts, invitations
from console.people.tables import Membership, Person, Role, Standing
from console.web.context import Context, NotFound, Problem, own_path
from console.web.guards import Guard, Row, form_of
from console.web.reach import CHANGES_PEOPLE, current_account, may
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.log import log


def members(context: Context) -> Response:
    """Everybody who may use the account, and who is invited."""
    account = current_account(context)
    return context.render("members/list.html", people_of(context, account, f"/members?account={account.account_id}"))


def people_of(context: Context, account: admin.Account, back: str) -> dict[str, object]:
    """What `members/people.html` shows of an account, on the page that its forms lead back to."""
    with context.services.store.transaction() as transaction:
        found = _members_of(transaction, account.account_id)
        people = [(transaction.get_one(Person, each.person_id), each) for each in found]
        waiting = invitations.waiting(transaction, account.account_id)
    may_change = may(context, account, CHANGES_PEOPLE)
    return {
        "account": account,
        "people": people,
        "waiting": waiting if may_change or context.me.person.standing == Standing.SUPPORT else [],
        "roles": roles_of(account),
        "may_change": may_change,
        "back": back,
    }


def invite(context: Context) -> Response:
    """Sends a link that only somebody with that address can use."""
    account = current_account(context, CHANGES_PEOPLE)
    values = form_of(context)
    email, role = values.get("email", "").lower(), role_of(context, account, values)
    check_email(context, email)
    send_invitation(context, account, email, role)
    return _back(context, account)


def check_email(context: Context, email: str) -> None:
    """Raises Problem for what is no e-mail address."""
    if not is_email(email):
        raise Problem(context.translate("Please give a valid e-mail address."))


def send_invitation(context: Context, account: admin.Account, email: str, role: Role) -> None:
    """Invite somebody to an account. Raises Problem where too many wait, or the message cannot be sent."""
    try:
        with context.services.store.transaction() as transaction:
            token = invitations.invite(transaction, account.account_id, email, role, context.me.person.id)
            _note(transaction, context, "member.invited", account, role)
    except invitations.TooManyInvitations:
        raise Problem(context.translate("Too many invitations wait already.")) from None
    _send(context, email, token)


def change_role(context: Context) -> Response:
    """Another role; an account keeps somebody who looks after it."""
    account = current_account(context, CHANGES_PEOPLE)
    values = form_of(context)
    role = role_of(context, account, values)
    with context.services.store.transaction() as transaction:
        membership = _membership(transaction, account, values)
        membership.role = role
        _check_somebody_left(context, transaction, account)
        _note(transaction, context, "member.role", account, f"{membership.person_id} {role}")
    return _back(context, account)


def remove(context: Context) -> Response:
    """Takes somebody out. Anybody may take themselves out."""
    values = form_of(context)
    leaving = values.get("person_id") == context.me.person.id
    account = current_account(context) if leaving else current_account(context, CHANGES_PEOPLE)
    with context.services.store.transaction() as transaction:
        membership = _membership(transaction, account, values)
        transaction.delete(membership)
        transaction.flush()
        _check_somebody_left(context, transaction, account)
        _note(transaction, context, "member.removed", account, membership.person_id)
    return context.go("/home") if leaving else _back(context, account)


def withdraw(context: Context) -> Response:
    """Takes an invitation back."""
    account = current_account(context, CHANGES_PEOPLE)
    named = form_of(context).get("invitation_id", "")
    with context.services.store.transaction() as transaction:
        found = [each for each in invitations.waiting(transaction, account.account_id) if each.id == named]
        if not found:
            raise NotFound
        transaction.delete(found[0])
        _note(transaction, context, "member.withdrawn", account, found[0].role)
    return _back(context, account)


def invitation(context: Context) -> Response:
    """What a link leads to. Somebody who is not signed in signs in, or up, with the invited address first."""
    token = context.request.path_params["token"]
    found = None
    if context.signed_in is not None and not context.me.needs_second_factor:
        with context.services.store.transaction() as transaction:
            found = invitations.find(transaction, token, context.me.person)
    return context.render(
        "members/invitation.html", {"invitation": found}, 200 if found or not context.signed_in else 404
    )


def accept(context: Context) -> Response:
    """From now on the person may use the account."""
    with context.services.store.transaction() as transaction:
        account_id = invitations.accept(transaction, context.request.path_params["token"], context.me.person.id)
        if account_id is None:
            raise NotFound
        acts.record(transaction, context.me.person.id, "member.joined", account_id)
    return context.go("/home")


def _back(context: Context, account: admin.Account) -> Response:
    """To the page whose form it was."""
    return context.go(own_path(form_of(context).get("back", ""), f"/members?account={account.account_id}"))


def roles_of(account: admin.Account) -> list[Role]:
    """What somebody can be on this account; a partner's account is looked after by partners."""
    return [Role.PARTNER, Role.MEMBER] if account.kind == ledger.PARTNER else [Role.OWNER, Role.MEMBER]


def role_of(context: Context, account: admin.Account, values: dict[str, str]) -> Role:
    """The role that a form asks for. Raises Problem for one that nobody has on this account."""
    role = values.get("role", "")
    if role not in roles_of(account):
        raise Problem(context.translate("Choose one of the roles."))
    return Role(role)


def _members_of(transaction: Transaction, account_id: str) -> list[Membership]:
    found = select(Membership).where(Membership.account_id == account_id).order_by(Membership.created_at)
    return list(transaction.scalars(found.with_for_update()))


def _membership(transaction: Transaction, account: admin.Account, values: dict[str, str]) -> Membership:
    for each in _members_of(transaction, account.account_id):
        if each.person_id == values.get("person_id"):
            return each
    raise NotFound


def _check_somebody_left(context: Context, transaction: Transaction, account: admin.Account) -> None:
    if not any(each.role in CHANGES_PEOPLE.roles for each in _members_of(transaction, account.account_id)):
        raise Problem(context.translate("Somebody must look after the account: make another member its owner first."))


def _note(transaction: Transaction, context: Context, what: str, account: admin.Account, detail: str = "") -> None:
    acts.record(transaction, context.me.person.id, what, account.account_id, detail)


def _send(context: Context, email: str, token: str) -> None:
    settings = context.services.settings
    text = context.translate(
        "You are invited to use an account at Onysoft.\n\n"
        "Sign in, or sign up, with this e-mail address, and open this link within seven days:\n%(link)s",
        link=f"{settings.console_url}/invitations/{token}",
    )
    message = compose(settings.mail_from, email, context.translate("An invitation"), text)
    try:
        context.services.mailer.send(message)
    except (OSError, smtplib.SMTPException) as error:
        log.error("mail.not_sent", error_type=type(error).__name__)
        raise Problem(context.translate("The e-mail could not be sent. Please try again later."), 503) from None


ROWS = [
    Row("/members", members, Guard.PERSON),
    Row("/members/invite", invite, Guard.PERSON, ("POST",)),
    Row("/members/role", change_role, Guard.PERSON, ("POST",)),
    Row("/members/remove", remove, Guard.PERSON, ("POST",)),
    Row("/members/withdraw", withdraw, Guard.PERSON, ("POST",)),
    Row("/invitations/{token}", invitation, Guard.ANYONE),
    Row("/invitations/{token}", accept, Guard.PERSON, ("POST",)),
]
