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
GROUPED_BY = {"day": N_("By day"), "account": N_("By account"), "model": N_("By model"), "key": N_("By key")}
GROUP = {"day": N_("Day"), "account": N_("Account"), "model": N_("Model"), "key": N_("Key")}
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
ON_SALE = {"": N_("all"), "on": N_("on sale"), "off": N_("not on sale")}
APPROVALS = {
    "new": N_("I approve new models"),
    "repriced": N_("I approve repricings of any size"),
    "gone": N_("I believe that most models are gone"),
}
DIFFERENCES = {
    "new": N_("New"),
    "repriced": N_("Repriced"),
    "gone": N_("Gone"),
    "back": N_("Back"),
    "changed": N_("Changed"),
    "routed": N_("Other routes"),
}
STANDINGS = {"customer": N_("customer"), "support": N_("support"), "administrator": N_("administrator")}
CREDIT_KINDS = {"credit": N_("credit"), "reversal": N_("taking back")}
CREDIT_STATES = {
    "proposed": N_("waits for a second person"),
    "approved": N_("approved, being carried out"),
    "declined": N_("declined"),
    "done": N_("done"),
}
INCIDENTS = {
    "forged": N_("a message that the provider did not sign"),
    "unknown_payment": N_("a payment that we do not know"),
    "other_order": N_("another order was paid"),
    "other_currency": N_("paid in another currency"),
    "other_amount": N_("another amount was paid"),
    "credit_failed": N_("a payment cannot be credited"),
    "returned_too_much": N_("more went back than was paid"),
    "invoice_unfit": N_("an invoice would break a rule"),
    "invoice_rejected": N_("an invoice was rejected"),
    "invoice_waits": N_("an invoice waits for long"),
    "manual_credit_failed": N_("a credit by hand cannot be carried out"),
}
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
PAYERS = {"TRY": N_("Customers, in lira"), "USD": N_("Projects, in dollars")}
MARGINS_BY = {"customer": N_("By customer"), "month": N_("By month")}
BELOW = {"customer": N_("customers"), "project": N_("projects")}
ACTS = {
    "account_opened": N_("account opened"),
    "account_suspended": N_("account suspended"),
    "account_resumed": N_("account resumed"),
    "credit_added": N_("credit added"),
    "credit_reversed": N_("credit taken back"),
    "credit_moved": N_("balance moved"),
    "key_issued": N_("key issued"),
    "key_changed": N_("key changed"),
    "key_rotated": N_("key rotated"),
    "key_suspended": N_("key suspended"),
    "key_resumed": N_("key resumed"),
    "key_revoked": N_("key revoked"),
    "limit_set": N_("limit set"),
    "limit_cleared": N_("limit removed"),
    "model_blocked": N_("model blocked"),
    "model_unblocked": N_("model unblocked"),
    "markup_set": N_("markup set"),
    "markup_cleared": N_("markup removed"),
    "fx_rate_set": N_("exchange rate set"),
    "model_set": N_("model or price changed"),
    "model_activated": N_("model activated"),
    "model_deactivated": N_("model deactivated"),
    "alias_set": N_("alias set"),
    "alias_removed": N_("alias removed"),
    "member.invited": N_("member invited"),
    "member.added": N_("member added"),
    "member.joined": N_("invitation accepted"),
    "member.role": N_("role changed"),
    "member.removed": N_("member removed"),
    "member.withdrawn": N_("invitation taken back"),
    "credit.proposed": N_("credit by hand proposed"),
    "credit.approved": N_("credit by hand approved"),
    "credit.declined": N_("credit by hand declined"),
    "payment.refund_asked": N_("refund asked for"),
    "invoice.sent_again": N_("invoice sent again"),
    "incident.closed": N_("incident closed"),
    "person.standing": N_("standing changed"),
    "person.disabled": N_("person disabled"),
    "person.enabled": N_("person enabled"),
    "person.signed_out": N_("sign-ins ended"),
    "person.second_factor_reset": N_("second factor reset"),
    "person.erased": N_("person erased"),
}
"""What is done in somebody's name: events of the ledger, and acts of the console, which have a dot in their name."""

EVENTS = {
    **{kind: text for kind, text in ACTS.items() if "." not in kind},
    "request_opened": N_("call asks for a hold"),
    "request_settled": N_("call settled"),
    "request_released": N_("call released"),
    "hold_extended": N_("hold extended"),
    "task_submitted": N_("task taken by its provider"),
    "checkpoint": N_("checkpoint"),
    "rules_activated": N_("rules activated"),
    "fx_rate_proposed": N_("exchange rate waits for confirmation"),
    "credit_moved_out": N_("balance moved away"),
    "credit_moved_in": N_("balance moved here"),
    "credit_reversed": N_("credit taken back"),
}
"""Events of the ledger, as people call them."""

JOBS = {
    "cashier": N_("payments"),
    "payments": N_("payments"),
    "low-balance": N_("low balances"),
}
"""Jobs of the console, as `console:…` names them in the ledger; the first ones had no `console:`."""

ACT_FACTS = {
    "amount": N_("amount"),
    "to_account_id": N_("to"),
    "to_amount": N_("amount there"),
    "parent_id": N_("below"),
    "kind": N_("kind"),
    "currency": N_("currency"),
    "base": N_("from currency"),
    "quote": N_("to currency"),
    "allowed_models": N_("allowed models"),
    "allowed_ips": N_("allowed addresses"),
    "expires_ms": N_("expires"),
    "grace_ms": N_("the old secret goes on for"),
    "reference": N_("reference"),
    "reason": N_("reason"),
    "approved_by": N_("approved by"),
    "pattern": N_("models"),
    "rate": N_("rate"),
    "source": N_("source"),
    "markup_bps": N_("markup in basis points"),
    **LIMITS,
}
"""What an event says besides, where people need its name."""
