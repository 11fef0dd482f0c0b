"""Tokens that are kept as hashes, and secrets that are kept encrypted."""

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken

TOKEN_BYTES = 32


def new_token() -> str:
    """A random token for a cookie or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_of(token: str) -> str:
    """What is kept of a token: it is random, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


class Vault:
    """Encrypts what must be read back, such as a second factor's secret, under the console's own secret."""

    def __init__(self, secret: str) -> None:
        key = hashlib.sha256(b"onysoft console vault" + secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, plain: str) -> str:
        """The text, encrypted."""
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, closed: str) -> str:
        """The text again. Raises ValueError when it was encrypted under another secret."""
        try:
            return self._fernet.decrypt(closed.encode()).decode()
        except InvalidToken:
            raise ValueError("encrypted under another secret") from None
