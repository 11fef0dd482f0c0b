"""Every setting of every process, under one name: `nats_url` here, `ONYSOFT_NATS_URL` in the environment.

`onysoft config` prints them all with their source. Durations end in `_s` or `_ms`, sizes in `_bytes`.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.addresses import listed_ranges


class Settings(BaseSettings):
    """Read from the environment; wrong values are a clear error at start."""

    model_config = SettingsConfigDict(env_prefix="ONYSOFT_", extra="ignore", frozen=True)

    # Everywhere
    nats_url: str = Field(default="nats://127.0.0.1:4222", description="NATS servers, comma separated")
    nats_user: str = Field(default="", description="NATS user, where the server asks for one")
    nats_password: SecretStr = Field(default=SecretStr(""), description="NATS password")
    process_name: str = Field(default="", description="name in logs and metrics; default: kind of process and its id")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    ops_host: str = Field(
        default="127.0.0.1", description="address of /healthz, /readyz and /metrics; never a public one"
    )
    ops_port: int = Field(
        default=0, ge=0, le=65535, description="port of /healthz, /readyz and /metrics; 0: any free one"
    )
    drain_s: float = Field(default=20.0, ge=0, description="how long running calls may take to end after SIGTERM")

    # Ledger
    partitions: int = Field(default=16, ge=1, le=256, description="partitions of a ledger, fixed when it is created")
    stream_replicas: Literal[1, 3, 5] = Field(default=1, description="JetStream replicas; 3 in production")
    key_pepper: SecretStr = Field(default=SecretStr(""), description="secret mixed into the hash of every API key")

    # Edge
    edge_host: str = Field(default="127.0.0.1", description="address on which the edge serves clients")
    edge_port: int = Field(default=8080, ge=0, le=65535, description="port on which the edge serves clients")
    body_limit_bytes: int = Field(default=10_000_000, ge=1_000, description="largest request body")
    header_limit_bytes: int = Field(default=32_768, ge=1_024, description="largest request line and headers together")
    header_timeout_s: float = Field(default=10.0, gt=0, description="time for a request's headers to arrive")
    body_timeout_s: float = Field(default=60.0, gt=0, description="longest pause while a request's body arrives")
    core_patience_s: float = Field(
        default=10.0, gt=0, description="how long an edge looks for a core before it answers 503"
    )
    core_silence_s: float = Field(
        default=5.0, gt=0, description="silence after which an edge believes that a core is dead"
    )
    keep_alive_s: float = Field(default=15.0, gt=0, description="pause in a stream after which a comment line is sent")
    max_connections: int = Field(
        default=10_000, ge=1, description="client connections of one edge; more are closed at once"
    )
    max_calls_in_flight: int = Field(default=4_000, ge=1, description="calls one edge relays at a time; more get 503")
    trusted_proxies: str = Field(
        default="",
        description="addresses and ranges of proxies whose X-Forwarded-For or Forwarded is believed, comma separated",
    )
    cors_origins: str = Field(
        default="", description="origins that browsers may call from, comma separated; empty: none"
    )

    # Core
    admin_host: str = Field(default="127.0.0.1", description="address of the gRPC admin service")
    admin_port: int = Field(default=0, ge=0, le=65535, description="port of the gRPC admin service; 0: any free one")
    admin_token: SecretStr = Field(default=SecretStr(""), description="bearer token of the gRPC admin service")
    admin_address: str = Field(default="", description="where the admin service is, host:port, comma separated")
    manual_credit_bound: int = Field(
        default=1_000,
        ge=0,
        description="largest credit by an administrator, in the account's currency, that needs no second one",
    )
    openrouter_url: str = Field(default="https://openrouter.ai/api/v1", description="base URL of OpenRouter's API")
    openrouter_api_key: SecretStr = Field(
        default=SecretStr(""), description="key for OpenRouter; without it the sandbox is used"
    )
    fallback_url: str = Field(
        default="", description="base URL of an OpenAI-compatible provider that is tried second; empty: none"
    )
    fallback_api_key: SecretStr = Field(default=SecretStr(""), description="key for the second provider")
    sandbox_url: str = Field(
        default="", description="base URL of the sandbox, used in place of providers without a key"
    )
    catalogue_refresh_s: float = Field(
        default=300.0, gt=0, description="how often the providers' model lists are read again"
    )
    models_approval: Literal["manual", "automatic"] = Field(
        default="manual",
        description="whether new models and large repricings wait for `onysoft models sync`, or are taken as they come",
    )
    models_bound_bps: int = Field(
        default=2_000, ge=0, description="largest repricing of a model, in basis points, that waits for nobody"
    )
    hold_lease_s: float = Field(default=60.0, ge=5, description="a hold ends this long after it was last extended")
    call_timeout_s: float = Field(default=600.0, gt=0, description="longest call, from admission to its end")
    first_byte_timeout_s: float = Field(default=120.0, gt=0, description="longest wait for a provider's first byte")
    provider_idle_timeout_s: float = Field(default=60.0, gt=0, description="longest pause within a provider's answer")
    provider_connections: int = Field(default=1_000, ge=1, description="connections of one core to one provider")
    core_calls_in_flight: int = Field(
        default=4_000, ge=1, description="calls one core serves at a time; more are refused with 503"
    )
    first_hold_output_tokens: int = Field(
        default=1_024,
        ge=16,
        description="output tokens that the hold of a streamed call without a stated limit begins with",
    )
    activate_rules: bool = Field(
        default=False,
        description="let a core put the newest rules in force on an older ledger; all processes must know them",
    )
    useful_output_tokens: int = Field(
        default=16, ge=1, description="below this many affordable output tokens a call is refused"
    )

    # Exchange rates
    fx_url: str = Field(
        default="auto",
        description="URL of the bulletin of rates; auto: the central bank's where OpenRouter has a key; empty: none",
    )
    fx_refresh_s: float = Field(default=900.0, gt=0, description="how often the bulletin is read")
    fx_jump_max_bps: int = Field(
        default=500, ge=0, description="change of a rate, in basis points, beyond which a person must confirm it"
    )
    fx_stale_h: float = Field(default=100.0, gt=0, description="hours after which an exchange rate is reported as old")

    # Media tasks
    public_url: str = Field(
        default="http://127.0.0.1:8080", description="where providers and clients reach the edges: callbacks and files"
    )
    kie_url: str = Field(default="https://api.kie.ai", description="base URL of KieAI's API")
    kie_upload_url: str = Field(
        default="https://kieai.redpandaai.co", description="base URL of KieAI's API for source files"
    )
    kie_api_key: SecretStr = Field(default=SecretStr(""), description="key for KieAI; without it the sandbox is used")
    kie_webhook_key: SecretStr = Field(
        default=SecretStr(""), description="KieAI's webhook HMAC key; empty: callbacks are not signed by it"
    )
    kie_creates_per_10s: int = Field(default=20, ge=1, description="tasks that may be begun at KieAI in any 10 s")
    create_wait_s: float = Field(
        default=8.0, ge=0, description="longest wait for a turn to begin a task; what waits longer gets 503"
    )
    task_patience_s: float = Field(
        default=3_600.0, ge=1, description="a task that has not ended by then has expired: nothing is charged"
    )
    task_late_s: float = Field(
        default=86_400.0, ge=0, description="how long an expired task's late result is still looked for"
    )
    task_poll_s: float = Field(default=2.0, gt=0, description="first pause between two looks at a task; it grows")
    task_poll_max_s: float = Field(default=15.0, gt=0, description="longest pause between two looks at a task")
    files_url: str = Field(
        default="", description="object store for results, s3://bucket/prefix; empty: the folder files_dir"
    )
    files_dir: Path = Field(
        default=Path("data/files"), description="folder of results and source images, seen by all edges and cores"
    )
    result_days: int = Field(default=14, ge=1, description="how long results can be downloaded")
    source_hours: int = Field(default=24, ge=1, description="how long source images are served")
    source_images: Literal["gateway", "provider"] = Field(
        default="gateway", description="where base64 images go: a short-lived file here, or the provider's upload API"
    )
    callback_private_addresses: bool = Field(
        default=False, description="allow webhooks to private addresses and results from there; for tests only"
    )

    # Projections
    projections_dir: Path = Field(default=Path("data/projections"), description="folder of the read models")
    snapshot_every_positions: int = Field(default=4_096, ge=256, description="ledger positions between two snapshots")
    snapshot_every_s: float = Field(default=60.0, ge=0, description="shortest time between two snapshots")

    request_index_days: int = Field(default=90, ge=1, description="how long a request can be looked up by its id")
    checkpoint_every_s: float = Field(
        default=5.0, gt=0, description="shortest time between two checkpoints in the ledger"
    )

    # Analytics
    analytics_dsn: SecretStr = Field(
        default=SecretStr(""),
        description="analytics store: chdb:///PATH, or clickhouse://USER:PASSWORD@HOST:PORT/DATABASE; "
        "empty: embedded, below projections_dir",
    )
    analytics_url: str = Field(
        default="",
        description="where the CLI and the console ask the analytics process: its operator's port, http://HOST:PORT; "
        "empty: the CLI finds a local one, the console asks the server of analytics_dsn",
    )
    analytics_replicated: bool = Field(
        default=False, description="make ClickHouse tables on the Replicated engines, for a cluster with Keeper"
    )
    analytics_charges_days: int = Field(default=0, ge=0, description="days that charges are kept there; 0: for ever")
    analytics_requests_days: int = Field(
        default=400, ge=0, description="days that edges' requests are kept there; 0: for ever"
    )
    analytics_hourly_days: int = Field(
        default=0, ge=0, description="days that hourly roll-ups are kept there; 0: for ever; daily ones always are"
    )
    analytics_memory_bytes: int = Field(
        default=1_000_000_000, ge=200_000_000, description="memory that the embedded engine may use"
    )
    analytics_range_rows: int = Field(default=50_000, ge=1, description="rows at which a range is sent to the store")
    analytics_range_s: float = Field(
        default=1.0, gt=0, description="how long rows gather before they are sent, where there are fewer"
    )
    reconcile_every_s: float = Field(
        default=900.0, ge=0, description="how often analytics compares itself with the ledger; 0: never"
    )
    analytics_threads: int = Field(default=2, ge=1, description="threads of one query or insert there")
    analytics_query_s: float = Field(default=30.0, gt=0, description="longest time of one query")
    analytics_result_bytes: int = Field(
        default=64_000_000, ge=1_000, description="largest answer of one query; a larger one is refused"
    )
    archive_dir: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, description="folder of the ledger's archive, for whoever reads what was trimmed; empty: none"
    )

    # Console
    console_host: str = Field(default="127.0.0.1", description="address on which the console serves browsers")
    console_port: int = Field(default=8090, ge=0, le=65535, description="port of the console; 0: any free one")
    console_url: str = Field(default="", description="the console's public address, as it stands in e-mails")
    console_dir: Path = Field(default=Path("data/console"), description="folder of the console's own files")
    console_database: str = Field(
        default="",
        description="DSN of people's data, sqlite:/// or postgresql+psycopg://; empty: SQLite in console_dir",
    )
    console_secret: SecretStr = Field(
        default=SecretStr(""), description="secret under which the console encrypts what it must read back"
    )
    console_proxies: str = Field(
        default="", description="addresses of proxies in front of the console whose X-Forwarded-For counts"
    )
    api_url: str = Field(
        default="", description="base URL of the API as customers see it, such as https://api.example/v1"
    )
    smtp_url: SecretStr = Field(
        default=SecretStr(""), description="mail server, smtp(s)://user:password@host:port; empty: a folder of messages"
    )
    mail_from: str = Field(default="no-reply@localhost", description="sender of e-mails")

    # Payments
    payment_provider: Literal["", "iyzico", "paytr", "sandbox"] = Field(
        default="", description="who takes card payments; sandbox: iyzico's protocol at sandbox_url; empty: nobody"
    )
    iyzico_url: str = Field(default="https://api.iyzipay.com", description="base URL of iyzico's API")
    iyzico_api_key: SecretStr = Field(default=SecretStr(""), description="API key of iyzico")
    iyzico_secret_key: SecretStr = Field(default=SecretStr(""), description="secret key of iyzico")
    paytr_url: str = Field(default="https://www.paytr.com", description="base URL of PayTR")
    paytr_merchant_id: str = Field(default="", description="merchant number at PayTR")
    paytr_merchant_key: SecretStr = Field(default=SecretStr(""), description="merchant key at PayTR")
    paytr_merchant_salt: SecretStr = Field(default=SecretStr(""), description="merchant salt at PayTR")
    vat_bps: int = Field(default=2_000, ge=1, le=10_000, description="VAT on top of a top-up, in basis points")
    topup_min_kurus: int = Field(default=5_000, ge=100, description="smallest top-up, net, in kuruş")
    topup_max_kurus: int = Field(default=10_000_000, ge=100, description="largest top-up, net, in kuruş")
    payment_open_s: float = Field(
        default=2_400.0, ge=1, description="how long a payment page is waited for; a later payment still counts"
    )
    payment_look_s: float = Field(
        default=20.0, gt=0, description="first pause before the provider is asked how an open payment stands; it grows"
    )
    payment_listing_s: float = Field(
        default=14_400.0, gt=0, description="how often the provider's listing of the last days is compared with ours"
    )
    payment_listing_days: int = Field(default=3, ge=1, le=31, description="days that such a comparison goes back")

    # Invoices
    invoice_integrator: Literal["folder", "nilvera", "sandbox"] = Field(
        default="folder",
        description="who passes invoices to the tax administration; folder: files below console_dir; "
        "sandbox: Nilvera's protocol at sandbox_url",
    )
    nilvera_url: str = Field(default="https://api.nilvera.com", description="base URL of Nilvera's API")
    nilvera_api_key: SecretStr = Field(default=SecretStr(""), description="key for Nilvera")
    invoice_series: str = Field(
        default="ONY", pattern="^[A-Z0-9]{3}$", description="series of e-Fatura numbers: three letters or digits"
    )
    invoice_archive_series: str = Field(
        default="ONA", pattern="^[A-Z0-9]{3}$", description="series of e-Arşiv numbers: three letters or digits"
    )
    seller_tax_id: str = Field(
        default="", pattern="^([0-9]{10})?$", description="the seller's VKN; empty: no invoices are issued"
    )
    seller_name: str = Field(default="", description="the seller's name as it stands on invoices")
    seller_tax_office: str = Field(default="", description="the seller's tax office")
    seller_address: str = Field(default="", description="the seller's street address")
    seller_district: str = Field(default="", description="the seller's district")
    seller_city: str = Field(default="", description="the seller's city")

    # Sandbox
    sandbox_host: str = Field(default="127.0.0.1", description="address of the sandbox")
    sandbox_port: int = Field(default=0, ge=0, le=65535, description="port of the sandbox; 0: any free one")
    sandbox_journal_path: str = Field(
        default="", description="file in which the sandbox keeps its journal; empty: memory only"
    )

    @field_validator("fx_url")
    @classmethod
    def _is_auto_or_a_url(cls, value: str) -> str:
        url = urlsplit(value)
        if value not in ("", "auto") and (url.scheme not in ("http", "https") or not url.hostname or url.query):
            raise ValueError("must be auto, empty, or http(s)://host/path without a query")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _has_ranges(cls, value: str) -> str:
        listed_ranges(value)
        return value
