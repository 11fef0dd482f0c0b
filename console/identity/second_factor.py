"""The second factor: time-based codes (RFC 6238), each usable once, and recovery codes."""

import secrets
import time

import pyotp
import segno

from console.people.tables import Person

ISSUER = "Onysoft"
STEP_S = 30
RECOVERY_CODES = 10
_RECOVERY_BYTES = 5


def new_secret() -> str:
    """For an authenticator app."""
    return pyotp.random_base32()


def uri_of(secret: str, email: str) -> str:
    """What the app reads from the picture."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


def picture_of(uri: str) -> str:
    """The picture, as an SVG data URI."""
    return str(segno.make(uri, error="m").svg_data_uri(scale=4, border=2))


def accept(person: Person, secret: str, code: str, now_s: float | None = None) -> bool:
    """Is the code right now, or a step ago or ahead, and not used before? Remembers that it was used."""
    digits = code.replace(" ", "")
    step = int(now_s if now_s is not None else time.time()) // STEP_S
    for each in (step - 1, step, step + 1):
        right = secrets.compare_digest(pyotp.TOTP(secret).generate_otp(each).encode(), digits.encode())
        if right and each > person.totp_counter:
            person.totp_counter = each
            return True
    return False


def new_recovery_codes() -> list[str]:
    """Shown once."""
    return [secrets.token_hex(_RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
