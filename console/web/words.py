"""What codes of the gateway are called. `N_` marks a text for translation where it is only looked up."""

from proto.onysoft.v1 import ledger_pb2 as ledger


def N_(text: str) -> str:
    """The text itself."""
    return text


LIMITS = {
    "requests_per_minute": N_("requests a minute"),
    "requests_per_day": N_("requests in 24 hours"),
    "daily_requests": N_("requests a day"),
    "daily_tokens": N_("tokens a day"),
    "monthly_tokens": N_("tokens a month"),
    "free_model_requests": N_("requests to free models in 24 hours"),
}
KEY_STATES = {
    "active": N_("active"),
    "suspended": N_("suspended"),
    "expired": N_("expired"),
    "revoked": N_("revoked"),
}
GROUPED_BY = {"day": N_("By day"), "model": N_("By model"), "key": N_("By key")}
GROUP = {"day": N_("Day"), "model": N_("Model"), "key": N_("Key")}
REQUEST_STATES = {
    "settled": N_("settled"),
    "released": N_("ended without a charge"),
    "refused": N_("refused"),
    "open": N_("running"),
    "expired": N_("waiting for its end"),
}
BASES = {
    "provider_cost": N_("the provider's own figure"),
    "provider_tokens": N_("the provider's token counts and the price list"),
    "estimated": N_("tokens counted here and the price list"),
    "cost_basis_unspecified": N_("nothing was used"),
}
TASK_STATES = {
    "pending": N_("waiting"),
    "processing": N_("being made"),
    "completed": N_("completed"),
    "failed": N_("failed"),
}
KINDS = {
    "chat": N_("chat"),
    "image": N_("image"),
    "video": N_("video"),
    "audio": N_("audio"),
    "voice": N_("voice"),
    "music": N_("music"),
}
ROLES = {"owner": N_("owner"), "member": N_("member"), "partner": N_("partner")}
MODEL_ORDERS = {"name": N_("by name"), "price": N_("cheapest first"), "newest": N_("newest first")}
UNITS = {
    "second": N_("second"),
    "image": N_("image"),
    "clip": N_("clip"),
    "request": N_("request"),
    "thousand_characters": N_("1000 characters"),
    "minute": N_("minute"),
    "megapixel": N_("megapixel"),
}
ACCOUNT_KINDS = {
    ledger.USER: N_("user"),
    ledger.ORGANISATION: N_("organisation"),
    ledger.PROJECT: N_("project"),
    ledger.PARTNER: N_("partner"),
    ledger.PARTNER_PROJECT: N_("partner's project"),
    ledger.PARTNER_CUSTOMER: N_("partner's customer"),
}
BELOW = {"customer": N_("customers"), "project": N_("projects")}
