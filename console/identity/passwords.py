"""Passwords: argon2id, and what a password must be."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

CHARACTERS_MIN = 10
CHARACTERS_MAX = 200

_hasher = PasswordHasher()
_NOBODYS = _hasher.hash("nobody has this password")


def problem_of(password: str, email: str) -> str | None:
    """Why a new password is refused, as a message key; None when it is good."""
    if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
        return "password_length"
    if password.casefold() in (email.casefold(), email.partition("@")[0].casefold()) or len(set(password)) < 4:
        return "password_easy"
    return None


def hash_password(password: str) -> str:
    """For the store."""
    return _hasher.hash(password)


def is_correct(password_hash: str | None, password: str) -> bool:
    """Takes as long for somebody who is not known (None) as for somebody who is."""
    try:
        _hasher.verify(password_hash or _NOBODYS, password[:CHARACTERS_MAX])
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Was it hashed with weaker parameters than today's?"""
    return _hasher.check_needs_rehash(password_hash)
