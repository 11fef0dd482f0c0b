"""Signing up, in and out; verifying an address; a forgotten password."""

import smtplib

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction
from starlette.responses import Response

from console.identity import links, passwords, sessions, throttle
from console.identity.links import Purpose
from console.identity.throttle import TooManyAttempts
from console.mail import compose
from console.people.tables import EMAIL_CHARACTERS_MAX, NAME_CHARACTERS_MAX, Person, now
from console.web.context import LANGUAGE_COOKIE, Context, Problem, own_path
from console.web.guards import SESSION_COOKIE, Guard, Row, form_of
from console.web.language import LANGUAGES
from runtime.log import log

COOKIE_AGE_S = int(sessions.LIFE.total_seconds())
LANGUAGE_AGE_S = 365 * 86_400


def start(context: Context) -> Response:
    """`/`: home for somebody who is signed in, else the sign-in page."""
    return context.go("/home" if context.signed_in is not None else "/sign-in")


def sign_up_form(context: Context) -> Response:
    """An empty form."""
    return context.render("entry/sign_up.html", {"values": {}, "problem": ""})


def sign_up(context: Context) -> Response:
    """A new person, not yet verified. The page says the same whether or not the address was known."""
    values = form_of(context)
    email, name, password = (values.get(field, "") for field in ("email", "name", "password"))
    email = email.lower()
    problem = _sign_up_problem(context, email, name, password)
    if problem:
        return context.render("entry/sign_up.html", {"values": values, "problem": problem}, 400)
    with context.services.store.transaction() as transaction:
        known = _person_of(transaction, email)
        if known is None:
            person = Person(
                email=email, name=name, password_hash=passwords.hash_password(password), language=context.language
            )
            transaction.add(person)
            transaction.flush()
            token = links.issue(transaction, person, Purpose.VERIFY)
    if known is None:
        _send_link(context, email, Purpose.VERIFY, token)
    return context.render("entry/sent.html", {"email": email})


def _sign_up_problem(context: Context, email: str, name: str, password: str) -> str:
    _ = context.translate
    if not is_email(email):
        return _("Please give a valid e-mail address.")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        return _("Please give your name.")
    return password_problem(context, password, email)


def is_email(text: str) -> bool:
    """Whether it looks like an address; only a message that arrives proves more."""
    at = text.find("@")
    return 0 < at < len(text) - 3 and "." in text[at:] and len(text) <= EMAIL_CHARACTERS_MAX and " " not in text


def password_problem(context: Context, password: str, email: str) -> str:
    """Why a new password is refused, for a person; empty when it is good."""
    _ = context.translate
    problem = passwords.problem_of(password, email)
    if problem == "password_length":
        return _("A password must have at least %(count)s characters.", count=passwords.CHARACTERS_MIN)
    return _("That password is too easy to guess.") if problem else ""


def verify(context: Context) -> Response:
    """The link from the e-mail."""
    with context.services.store.transaction() as transaction:
        person = links.redeem(transaction, context.request.path_params["token"], Purpose.VERIFY)
        if person is not None and person.verified_at is None:
            person.verified_at = now()
    if person is None:
        raise Problem(context.translate("This link has been used or is too old."), 410)
    return context.render("entry/verified.html")


def sign_in_form(context: Context) -> Response:
    """An empty form."""
    return context.render("entry/sign_in.html", {"values": {}, "problem": ""})


def sign_in(context: Context) -> Response:
    """A new session. The answer does not tell whether the address is known."""
    values = form_of(context)
    email = values.get("email", "").lower()
    try:
        token = _try_sign_in(context, email, values.get("password", ""))
    except TooManyAttempts as error:
        return _sign_in_refused(context, values, _wait(context, error), 429)
    if token is None:
        text = context.translate("E-mail address or password is wrong, or the address is not verified yet.")
        return _sign_in_refused(context, values, text, 400)
    answer = context.go("/home")
    answer.set_cookie(SESSION_COOKIE, token, COOKIE_AGE_S, secure=_is_secure(context), httponly=True, samesite="lax")
    return answer


def _try_sign_in(context: Context, email: str, password: str) -> str | None:
    """A session's token; None when the password is wrong. Raises TooManyAttempts."""
    store = context.services.store
    with store.transaction() as transaction:
        throttle.check(transaction, "email", email)
        throttle.check(transaction, "address", context.address)
        person = _person_of(transaction, email)
    right = passwords.is_correct(None if person is None else person.password_hash, password)
    with store.transaction() as transaction:
        person = _person_of(transaction, email)
        if not right or person is None or person.verified_at is None or person.disabled_at is not None:
            throttle.count_failure(transaction, "email", email)
            throttle.count_failure(transaction, "address", context.address)
            return None
        if passwords.is_outdated(person.password_hash):
            person.password_hash = passwords.hash_password(password)
        return sessions.begin(transaction, person, context.address, context.request.headers.get("user-agent", ""))


def _sign_in_refused(context: Context, values: dict[str, str], problem: str, status: int) -> Response:
    return context.render("entry/sign_in.html", {"values": values, "problem": problem}, status)


def _wait(context: Context, error: TooManyAttempts) -> str:
    minutes = -(-error.retry_after_s // 60)
    return context.translate("Too many attempts. Please try again in %(minutes)s minutes.", minutes=minutes)


def _is_secure(context: Context) -> bool:
    return context.request.url.scheme == "https" or context.services.settings.console_url.startswith("https:")


def sign_out(context: Context) -> Response:
    """Ends this session."""
    me = context.me
    with context.services.store.transaction() as transaction:
        sessions.end(transaction, me.person.id, me.session.id)
    answer = context.go("/sign-in")
    answer.delete_cookie(SESSION_COOKIE)
    return answer


def forgot_form(context: Context) -> Response:
    """An empty form."""
    return context.render("entry/forgot.html")


def forgot(context: Context) -> Response:
    """Sends a link, when the address is known; the page says the same either way."""
    email = form_of(context).get("email", "").lower()
    token = ""
    with context.services.store.transaction() as transaction:
        throttle.check(transaction, "address", context.address)
        throttle.count_failure(transaction, "address", context.address)  # each asks for an e-mail
        person = _person_of(transaction, email)
        if person is not None and person.disabled_at is None:
            token = links.issue(transaction, person, Purpose.RESET)
    if token:
        _send_link(context, email, Purpose.RESET, token)
    return context.render("entry/sent.html", {"email": email})


def reset_form(context: Context) -> Response:
    """Asks for a new password; the link is not used up by looking."""
    return context.render("entry/reset.html", {"problem": ""})


def reset(context: Context) -> Response:
    """A new password; every session ends."""
    password = form_of(context).get("password", "")
    problem = password_problem(context, password, "")
    if problem:
        return context.render("entry/reset.html", {"problem": problem}, 400)
    with context.services.store.transaction() as transaction:
        person = links.redeem(transaction, context.request.path_params["token"], Purpose.RESET)
        if person is not None:
            person.password_hash = passwords.hash_password(password)
            person.verified_at = person.verified_at or now()
            sessions.end_all(transaction, person.id)
    if person is None:
        raise Problem(context.translate("This link has been used or is too old."), 410)
    return context.go("/sign-in")


def choose_language(context: Context) -> Response:
    """Remembers a language, for this browser and for the person."""
    language = form_of(context).get("language", "")
    if language not in LANGUAGES:
        raise Problem(context.translate("This language is not available."))
    if context.signed_in is not None:
        with context.services.store.transaction() as transaction:
            person = transaction.get_one(Person, context.signed_in.person.id)
            person.language = language
    answer = context.go(own_path(form_of(context).get("back", "")))
    answer.set_cookie(LANGUAGE_COOKIE, language, LANGUAGE_AGE_S, secure=_is_secure(context), samesite="lax")
    return answer


def _person_of(transaction: Transaction, email: str) -> Person | None:
    return transaction.scalars(select(Person).where(Person.email == email)).one_or_none()


def _send_link(context: Context, email: str, purpose: Purpose, token: str) -> None:
    _ = context.translate
    base = context.services.settings.console_url or str(context.request.base_url).rstrip("/")
    subjects = {Purpose.VERIFY: _("Verify your e-mail address"), Purpose.RESET: _("Choose a new password")}
    text = f"{subjects[purpose]}:\n\n{base}/{purpose}/{token}\n\n" + _("If you did not ask for this, do nothing.")
    message = compose(context.services.settings.mail_from, email, subjects[purpose], text)
    try:
        context.services.mailer.send(message)
    except (OSError, smtplib.SMTPException) as error:
        log.error("mail.not_sent", purpose=purpose, error=type(error).__name__)
        raise Problem(_("The e-mail could not be sent. Please try again later."), 503) from None


ROWS = [
    Row("/", start, Guard.ANYONE),
    Row("/sign-up", sign_up_form, Guard.ANYONE),
    Row("/sign-up", sign_up, Guard.ANYONE, ("POST",)),
    Row("/verify/{token}", verify, Guard.ANYONE),
    Row("/sign-in", sign_in_form, Guard.ANYONE),
    Row("/sign-in", sign_in, Guard.ANYONE, ("POST",)),
    Row("/sign-out", sign_out, Guard.SIGNED_IN, ("POST",)),
    Row("/forgot", forgot_form, Guard.ANYONE),
    Row("/forgot", forgot, Guard.ANYONE, ("POST",)),
    Row("/reset/{token}", reset_form, Guard.ANYONE),
    Row("/reset/{token}", reset, Guard.ANYONE, ("POST",)),
    Row("/language", choose_language, Guard.ANYONE, ("POST",)),
]
