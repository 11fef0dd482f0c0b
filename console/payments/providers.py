"""Which payment providers there are, by settings."""

from console.payments.iyzico import Iyzico
from console.payments.paytr import PayTR
from console.payments.port import Provider
from runtime.settings import Settings

SANDBOX_API_KEY = "sandbox-api-key"
SANDBOX_SECRET_KEY = "sandbox-secret-key"


def providers_of(settings: Settings) -> dict[str, Provider]:
    """All that have keys, by name: messages about payments of a provider that was left still count."""
    found: dict[str, Provider] = {}
    if settings.payment_provider == "sandbox":
        found["iyzico"] = Iyzico(settings.sandbox_url, SANDBOX_API_KEY, SANDBOX_SECRET_KEY)
    elif settings.iyzico_api_key.get_secret_value():
        key, secret = settings.iyzico_api_key.get_secret_value(), settings.iyzico_secret_key.get_secret_value()
        found["iyzico"] = Iyzico(settings.iyzico_url, key, secret)
    if settings.paytr_merchant_id:
        key, salt = settings.paytr_merchant_key.get_secret_value(), settings.paytr_merchant_salt.get_secret_value()
        found["paytr"] = PayTR(settings.paytr_url, settings.paytr_merchant_id, key, salt)
    return found


def chosen(settings: Settings, providers: dict[str, Provider]) -> Provider | None:
    """The one that new payments go to."""
    name = "iyzico" if settings.payment_provider == "sandbox" else settings.payment_provider
    return providers.get(name)
