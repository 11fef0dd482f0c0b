"""The providers that the settings name."""

from core.providers.http import Limits
from core.providers.openai_compatible import OpenAICompatible
from core.providers.openrouter import OpenRouter
from core.providers.port import Provider
from runtime.errors import OperatorError
from runtime.settings import Settings

SANDBOX_PATH = "/api/v1"
"""Where the sandbox speaks OpenRouter's protocol."""
SANDBOX_KEY = "sandbox"


def configured(settings: Settings) -> list[Provider]:
    """OpenRouter with its key, else the sandbox in its place, named `openrouter` either way; then the fallback, if any.

    Raises OperatorError when neither a key nor a sandbox is set.
    """
    limits = Limits.of(settings)
    key = settings.openrouter_api_key.get_secret_value()
    providers: list[Provider] = []
    if key:
        providers.append(OpenRouter(settings.openrouter_url, key, limits))
    elif settings.sandbox_url:
        providers.append(OpenRouter(settings.sandbox_url.rstrip("/") + SANDBOX_PATH, SANDBOX_KEY, limits))
    else:
        raise OperatorError("set ONYSOFT_OPENROUTER_API_KEY, or ONYSOFT_SANDBOX_URL to work without an account")
    if settings.fallback_url:
        fallback_key = settings.fallback_api_key.get_secret_value()
        providers.append(OpenAICompatible("fallback", settings.fallback_url, fallback_key, limits))
    return providers
