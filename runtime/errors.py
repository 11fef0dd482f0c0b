"""The catalogue of errors that a client can see: code, HTTP status, Turkish, English.

Every refusal names one of these; the edge renders it. `{detail}` is filled with a parameter's name, a limit or the
like, never with a prompt, an answer or a key. Codes and the Turkish of `insufficient_balance` are the service's own.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiError:
    """One row of the catalogue."""

    code: str
    status: int
    turkish: str
    english: str


_ROWS = (
    ApiError("invalid_request", 400, "Geçersiz istek: {detail}.", "Invalid request: {detail}."),
    ApiError(
        "invalid_api_key", 401, "API anahtarı geçersiz veya devre dışı.", "The API key is invalid or deactivated."
    ),
    ApiError(
        "insufficient_balance",
        402,
        "Yetersiz bakiye. Lütfen bakiye yükleyin.",
        "Insufficient balance. Please top up.",
    ),
    ApiError(
        "insufficient_balance_held",
        402,
        "Yetersiz bakiye: bakiyenin bir kısmı süren çağrılar için ayrıldı. Biraz sonra yeniden deneyin.",
        "Insufficient balance: part of it is held by running calls. Try again shortly.",
    ),
    ApiError(
        "insufficient_balance_partner",
        402,
        "Yetersiz bakiye: iş ortağının bakiyesi bu çağrıyı karşılamıyor.",
        "Insufficient balance: the partner's balance does not cover this call.",
    ),
    ApiError(
        "insufficient_balance_partner_held",
        402,
        "Yetersiz bakiye: iş ortağının bakiyesinin bir kısmı süren çağrılar için ayrıldı. Biraz sonra yeniden deneyin.",
        "Insufficient balance: part of the partner's balance is held by running calls. Try again shortly.",
    ),
    ApiError("project_suspended", 403, "Proje askıya alınmış.", "The project is suspended."),
    ApiError("model_blocked", 403, "Bu model engellenmiş.", "This model is blocked."),
    ApiError("access_denied", 403, "Erişim reddedildi.", "Access denied."),
    ApiError("model_not_found", 404, "Model bulunamadı.", "The model was not found."),
    ApiError("not_found", 404, "Bulunamadı.", "Not found."),
    ApiError(
        "method_not_allowed", 405, "Bu adres bu yöntemi desteklemiyor.", "This address does not take that method."
    ),
    ApiError("request_timeout", 408, "İstek zamanında tamamlanmadı.", "The request was not completed in time."),
    ApiError(
        "payload_too_large", 413, "İstek çok büyük (en fazla 10 MB).", "The request is too large (10 MB at most)."
    ),
    ApiError(
        "model_not_supported",
        422,
        "Sağlayıcı bu modeli veya girdiyi desteklemiyor.",
        "The provider does not support this model or input.",
    ),
    ApiError(
        "rate_limit_exceeded", 429, "Dakikalık istek sınırı aşıldı.", "The limit of requests per minute is exceeded."
    ),
    ApiError(
        "daily_request_limit_exceeded", 429, "Günlük istek sınırı aşıldı.", "The limit of requests per day is exceeded."
    ),
    ApiError(
        "daily_token_limit_exceeded", 429, "Günlük token sınırı aşıldı.", "The limit of tokens per day is exceeded."
    ),
    ApiError(
        "monthly_token_limit_exceeded", 429, "Aylık token sınırı aşıldı.", "The limit of tokens per month is exceeded."
    ),
    ApiError(
        "free_model_rate_limit",
        429,
        "Ücretsiz modeller için 24 saatlik istek sınırı aşıldı.",
        "The limit of requests to free models in 24 hours is exceeded.",
    ),
    ApiError("headers_too_large", 431, "İstek başlıkları çok büyük.", "The request's headers are too large."),
    ApiError("internal_error", 500, "Sunucu hatası.", "Internal server error."),
    ApiError(
        "provider_error", 502, "Sağlayıcı hata verdi. Lütfen yeniden deneyin.", "The provider failed. Please try again."
    ),
    ApiError(
        "generation_failed",
        502,
        "Üretim başarısız oldu; ücret alınmadı. Lütfen yeniden deneyin.",
        "The generation failed; nothing was charged. Please try again.",
    ),
    ApiError(
        "generation_expired",
        504,
        "Üretim zamanında tamamlanmadı; ücret alınmadı.",
        "The generation was not completed in time; nothing was charged.",
    ),
    ApiError(
        "service_unavailable",
        503,
        "Hizmet şu anda kullanılamıyor. Lütfen yeniden deneyin.",
        "The service is unavailable. Please try again.",
    ),
    # In a task's status, which is a good answer to a good question.
    ApiError("generation_failed", 200, "Üretim başarısız oldu.", "The generation failed."),
    ApiError("generation_expired", 200, "Üretim zamanında tamamlanmadı.", "The generation did not end in time."),
    ApiError("provider_timeout", 504, "Sağlayıcı zamanında yanıt vermedi.", "The provider did not answer in time."),
)

CATALOGUE = {row.code: row for row in _ROWS}

SHOWN_AS = dict.fromkeys(
    ("insufficient_balance_held", "insufficient_balance_partner", "insufficient_balance_partner_held"),
    "insufficient_balance",
)
"""Codes that clients see as another: they differ only in their message."""


_BETWEEN_LANGUAGES = "\x1f"


def bilingual(turkish: str, english: str) -> str:
    """A detail that is a phrase, for readers of either language."""
    return f"{turkish}{_BETWEEN_LANGUAGES}{english}"


def in_language(detail: str, english: bool) -> str:
    """The detail for one reader; one that was not written in two languages is the same for both."""
    turkish, separator, other = detail.partition(_BETWEEN_LANGUAGES)
    return other if english and separator else turkish


class OperatorError(Exception):
    """Something an operator must put right; the message is logged as it is, so it names no body and no key."""


class Refusal(Exception):
    """Raising this is the only way to refuse a call.

    `code` is a key of CATALOGUE; `detail` fills its text, in one language or two (`bilingual`); `retry_after_s` 0 means
    that no time can be named; `do_not_retry` asks SDKs to stop (`x-should-retry: false`).
    """

    def __init__(self, code: str, detail: str = "", retry_after_s: int = 0, do_not_retry: bool = False) -> None:
        super().__init__(code)
        self.error = CATALOGUE[code]
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.do_not_retry = do_not_retry
