"""What all pages share."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from console.analytics import Analytics
from console.gateway import Gateway
from console.identity.secrets import Vault
from console.mail import Mailbox, Mailer, Smtp
from console.people.store import Store
from runtime.settings import Settings

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Services:
    """Made once for each process."""

    settings: Settings
    store: Store
    gateway: Gateway
    analytics: Analytics
    mailer: Mailer
    vault: Vault
    templates: Environment


def open_services(settings: Settings) -> Services:
    """Open the store, bring it up to date, and make the rest. Raises OSError and the store's own errors."""
    store = Store(settings.console_database or f"sqlite:///{settings.console_dir / 'people.sqlite'}")
    store.migrate()
    smtp = settings.smtp_url.get_secret_value()
    return Services(
        settings=settings,
        store=store,
        gateway=Gateway(settings.admin_address, settings.admin_token.get_secret_value()),
        analytics=Analytics(settings.analytics_url or settings.analytics_dsn.get_secret_value()),
        mailer=Smtp(smtp) if smtp else Mailbox(settings.console_dir / "mail"),
        vault=Vault(settings.console_secret.get_secret_value()),
        templates=Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        ),
    )
