"""A person's own sign-in: second factor, sessions, password."""

from starlette.responses import Response

from console.identity import passwords, second_factor, sessions, throttle
from console.identity.secrets import hash_of
from console.pages.entry import password_problem
from console.people.tables import Person, RecoveryCode, Session, now
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of


def second_factor_form(context: Context) -> Response:
    """Asks for a code; somebody who must have a second factor and has none sets it up here."""
    person = context.me.person
    if person.totp_since is None:
        return set_up_form(context)
    return context.render("account/second_factor.html", {"problem": ""})


def give_second_factor(context: Context) -> Response:
    """A code of the app, or a recovery code, which is then used up."""
    me = context.me
    code = form_of(context).get("code", "")
    store = context.services.store
    with store.transaction() as transaction:
        throttle.check(transaction, "code", me.person.id)
        person = transaction.get_one(Person, me.person.id, with_for_update=True)
        if person.totp_since is None or person.totp_secret is None:
            raise NotFound
        right = second_factor.accept(person, context.services.vault.open(person.totp_secret), code)
        if not right:
            used = transaction.query(RecoveryCode).filter_by(person_id=person.id, code_hash=hash_of(code.lower()))
            right = bool(used.delete())
        if right:
            transaction.get_one(Session, me.session.token_hash).second_factor_at = now()
        else:
            throttle.count_failure(transaction, "code", me.person.id)
    if not right:
        problem = context.translate("That code is wrong or was used before.")
        return context.render("account/second_factor.html", {"problem": problem}, 400)
    return context.go("/home")


def set_up_form(context: Context) -> Response:
    """A new secret with its picture. It is in force once a code was given."""
    person = context.me.person
    if person.totp_since is not None and context.me.needs_second_factor:
        raise NotFound
    secret = second_factor.new_secret()
    with context.services.store.transaction() as transaction:
        mine = transaction.get_one(Person, person.id)
        if mine.totp_since is not None:
            raise Problem(context.translate("A second factor is set up already."))
        mine.totp_secret = context.services.vault.close(secret)
    return _set_up_page(context, secret, "")


def _set_up_page(context: Context, secret: str, problem: str) -> Response:
    picture = second_factor.picture_of(second_factor.uri_of(secret, context.me.person.email))
    values = {"secret": secret, "picture": picture, "problem": problem}
    return context.render("account/set_up_second_factor.html", values, 400 if problem else 200)


def set_up(context: Context) -> Response:
    """The first code proves that the app has the secret; recovery codes are shown this once."""
    me = context.me
    with context.services.store.transaction() as transaction:
        throttle.check(transaction, "code", me.person.id)
        person = transaction.get_one(Person, me.person.id, with_for_update=True)
        if person.totp_since is not None or person.totp_secret is None:
            raise NotFound
        secret = context.services.vault.open(person.totp_secret)
        right = second_factor.accept(person, secret, form_of(context).get("code", ""))
        codes = second_factor.new_recovery_codes() if right else []
        if right:
            person.totp_since = now()
            transaction.query(RecoveryCode).filter_by(person_id=person.id).delete()
            transaction.add_all(RecoveryCode(person_id=person.id, code_hash=hash_of(code)) for code in codes)
            transaction.get_one(Session, me.session.token_hash).second_factor_at = now()
        else:
            throttle.count_failure(transaction, "code", me.person.id)
    if not right:
        return _set_up_page(context, secret, context.translate("That code is wrong or was used before."))
    return context.render("account/recovery_codes.html", {"codes": codes})


def sign_ins(context: Context) -> Response:
    """Where the person is signed in, and their password and second factor."""
    return _sign_ins_page(context, "")


def _sign_ins_page(context: Context, problem: str) -> Response:
    with context.services.store.transaction() as transaction:
        found = sessions.list_of(transaction, context.me.person)
    return context.render("account/sign_ins.html", {"sessions": found, "problem": problem}, 400 if problem else 200)


def end_session(context: Context) -> Response:
    """Signs another browser out."""
    with context.services.store.transaction() as transaction:
        if not sessions.end(transaction, context.me.person.id, form_of(context).get("session_id", "")):
            raise NotFound
    return context.go("/sign-ins")


def change_password(context: Context) -> Response:
    """The old one is asked for; other sessions end."""
    me, values = context.me, form_of(context)
    if not passwords.is_correct(me.person.password_hash, values.get("old", "")):
        return _sign_ins_page(context, context.translate("The old password is wrong."))
    problem = password_problem(context, values.get("new", ""), me.person.email)
    if problem:
        return _sign_ins_page(context, problem)
    with context.services.store.transaction() as transaction:
        transaction.get_one(Person, me.person.id).password_hash = passwords.hash_password(values["new"])
        sessions.end_all(transaction, me.person.id, but=me.session.id)
    return context.go("/sign-ins")


ROWS = [
    Row("/second-factor", second_factor_form, Guard.SIGNED_IN),
    Row("/second-factor", give_second_factor, Guard.SIGNED_IN, ("POST",)),
    Row("/second-factor/set-up", set_up_form, Guard.SIGNED_IN),
    Row("/second-factor/set-up", set_up, Guard.SIGNED_IN, ("POST",)),
    Row("/sign-ins", sign_ins, Guard.PERSON),
    Row("/sign-ins/end", end_session, Guard.PERSON, ("POST",)),
    Row("/sign-ins/password", change_password, Guard.PERSON, ("POST",)),
]
