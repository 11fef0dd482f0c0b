"""Sending e-mail: a port, a folder of messages by default, SMTP by setting."""

import smtplib
import ssl
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

SMTP_TIMEOUT_S = 20.0


class Mailer(Protocol):
    """Sends one message, or raises OSError when it cannot now."""

    def send(self, message: EmailMessage) -> None:
        """Hand it over."""


class Mailbox:
    """Messages as `.eml` files in a folder, for machines without a mail server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def send(self, message: EmailMessage) -> None:
        """One file a message, named by time."""
        path = self._folder / f"{time.time_ns()}.eml"
        path.write_bytes(message.as_bytes())


class Smtp:
    """A mail server: `smtp://user:password@host:port` with STARTTLS, or `smtps://…`."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def send(self, message: EmailMessage) -> None:
        """Raises OSError, smtplib.SMTPException included."""
        host = self._url.hostname or "localhost"
        tls = ssl.create_default_context()
        if self._url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, self._url.port or 465, timeout=SMTP_TIMEOUT_S, context=tls)
        else:
            server = smtplib.SMTP(host, self._url.port or 587, timeout=SMTP_TIMEOUT_S)
        with server:
            if self._url.scheme != "smtps":
                server.starttls(context=tls)
            if self._url.username:
                server.login(self._url.username, self._url.password or "")
            server.send_message(message)


def compose(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """A plain message."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message.set_content(text)
    return message
