"""Every setting of MedSAGE, read once at start (`MEDSAGE_…` variables, `.env`, or files in
`MEDSAGE_SECRETS_DIR`). Misspelt names stop the start; `.env.example` documents each one."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fhir_server.security.limits import read_rules


class Settings(BaseSettings):
    """Frozen; the parts are handed the few values that they need, never this object."""

    model_config = SettingsConfigDict(env_prefix="MEDSAGE_", env_file=".env", frozen=True)

    profile: Literal["dev", "staging", "prod"] = Field(
        "dev",
        description="dev allows plain HTTP, demo users and open access; staging and prod refuse "
        "them",
    )
    role: Literal["all", "server", "worker", "app"] = Field(
        "all",
        description="which parts this process runs: server is FHIR, authorization and /api; worker "
        "the analyses, audit sealing and Subscription delivery; app the clinician's app",
    )
    base_url: str = Field(
        "http://localhost:5000", description="public origin of this server, without a final slash"
    )
    server_url: str | None = Field(
        None,
        description="inner address at which the worker and app roles reach the server role; "
        "base_url when not set",
    )
    worker_url: str | None = Field(
        None,
        description="inner address at which the server role notifies the worker role; base_url "
        "when not set",
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="addresses or networks, comma-separated, whose X-Forwarded-For and -Proto "
        "are believed",
    )
    data: Path = Field(Path("data"), description="folder of the embedded store and its keys")
    mongodb_uri: SecretStr | None = Field(
        None, description="MongoDB replica set; when set it replaces the embedded store"
    )
    mongodb_database: str = Field("medsage", description="database name in MongoDB")
    redis_url: SecretStr | None = Field(
        None, description="Redis for rate limits and app sessions; in memory when not set"
    )
    secret_key: SecretStr | None = Field(
        None, description="32 bytes or more; seals cursors and cookies; made and kept in dev"
    )
    issuers: Path | None = Field(
        None,
        description="file of the other record systems that may launch the app (`medsage issuer`); "
        "issuers.json in the data folder when not set",
    )
    app_key: SecretStr | None = Field(
        None, description="private JWK (P-384) of the app's client; made and kept in dev"
    )
    worker_key: SecretStr | None = Field(
        None, description="private JWK (P-384) of the worker's client; made and kept in dev"
    )
    encryption_key_file: Path | None = Field(
        None,
        description="file of the master keys; when set, what the store holds is encrypted",
    )
    encryption_declined: bool = Field(
        False, description="the profile prod may run without an encryption key file"
    )
    backup_target: str | None = Field(
        None,
        description="where backups lie: a folder, or s3://BUCKET/PREFIX; when set, the roles all "
        "and worker make them",
    )
    backup_key_file: Path | None = Field(
        None, description="file of the keys that seal backups (`medsage backup key`)"
    )
    backup_declined: bool = Field(
        False, description="the profile prod may run without a backup target"
    )
    backup_minutes: int = Field(60, ge=1, description="minutes between two backups")
    backup_full_days: int = Field(
        7, ge=0, description="after so many days a backup is a full one; 0: each is"
    )
    backup_keep_days: int = Field(
        30, ge=0, description="backups of so many days are kept, with all that they go on from"
    )
    backup_keep_least: int = Field(
        7, ge=1, description="so many backups are kept, however old they are"
    )
    backup_s3_endpoint: str | None = Field(
        None, description="origin of the S3-compatible store; Amazon's of the region when not set"
    )
    backup_s3_region: str = Field(
        "us-east-1", description="region that its requests are signed for"
    )
    backup_s3_key_id: str | None = Field(None, description="id of the access key there")
    backup_s3_key: SecretStr | None = Field(None, description="the access key there")
    tls_ca_file: Path | None = Field(
        None,
        description="certificates of the authorities by which MongoDB, Redis and HTTPS servers are "
        "judged; those of the system when not set",
    )
    tls_certificate_file: Path | None = Field(
        None, description="certificate chain of this process, which then speaks TLS itself"
    )
    tls_key_file: Path | None = Field(None, description="private key of that certificate")
    tls_minimum: Literal["1.2", "1.3"] = Field(
        "1.2", description="least version of TLS, as a server and as a client"
    )
    open_access: bool = Field(False, description="no tokens asked; development only")
    demo: bool = Field(True, description="demo users, clients, ward and EHR; development only")
    update_creates: bool = Field(True, description="PUT to a new id creates the resource")
    tenants: str = Field(
        "",
        description="names of the tenants, comma-separated, that share the store beside the one "
        "that is called default",
    )
    consent_policy: Literal["opt-out", "opt-in"] = Field(
        "opt-out",
        description="what a patient without a Consent is taken to have said: with opt-out that "
        "the record may be used, with opt-in that it may not",
    )
    emergency_minutes: int = Field(
        60, ge=1, le=1440, description="longest emergency access to one patient, once asked for"
    )
    undo_days: int = Field(
        7, ge=0, description="for so many days a committed transaction can be undone; 0: never"
    )
    deletes_at_once: int = Field(
        1, ge=1, le=1000, description="how many resources one deletion by criteria may delete"
    )
    search_seconds: int = Field(
        30,
        ge=1,
        le=60,
        description="a search, count or history that would take longer is refused as too costly",
    )
    idempotency_hours: int = Field(
        24,
        ge=0,
        description="for so many hours the answer to a write with an Idempotency-Key is "
        "remembered; 0: the header is refused",
    )
    async_jobs: int = Field(
        10,
        ge=0,
        description="so many requests of one caller may wait for their answer at once (Prefer: "
        "respond-async); 0: all are answered at once",
    )
    async_hours: int = Field(
        24, ge=1, description="for so many hours the result of an asynchronous request is kept"
    )
    async_result_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="largest result of an asynchronous request"
    )
    rate_limits: str = Field(
        "",
        description="most requests in an hour by what and whom, on top of anonymous=100, "
        "diagnoses=50",
    )
    max_body_bytes: int = Field(64 * 1024 * 1024, ge=1, description="largest FHIR request body")
    max_upload_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1,
        description="largest image that the app takes, and all images of one call of /api/diagnose",
    )
    session_seconds: int = Field(7200, ge=1, description="life of a sign-in session")
    access_token_seconds: int = Field(3600, ge=1, description="life of an access token")
    password_length: int = Field(
        12,
        ge=12,
        le=64,
        description="least length of new passwords; 8 in the demonstration, whatever is set",
    )
    broken_passwords: Path | None = Field(
        None,
        description="file of SHA-1 hashes of passwords known from breaches, sorted, as "
        "haveibeenpwned.com gives it; new passwords are looked up in it",
    )
    second_factor_roles: str = Field(
        "", description="roles, comma-separated, whose people need a second factor to sign in"
    )
    openid_providers: SecretStr | None = Field(
        None,
        description="other OpenID providers that people may sign in at, as a JSON list of objects",
    )
    client_registration: bool = Field(
        True, description="apps may register themselves; nothing works before it is approved"
    )
    jwks_networks: str = Field(
        "",
        description="networks, comma-separated, besides the public internet, where clients may "
        "publish their key sets (jwks_uri); in dev loopback too, and by http",
    )
    subscription_networks: str = Field(
        "",
        description="networks, comma-separated, besides the public internet, where endpoints of "
        "Subscriptions may lie; in dev, or with a base URL on loopback, loopback too",
    )
    gemini_api_key: SecretStr | None = Field(
        None, description="Google Gen AI key; the rule engine is used when not set"
    )
    gemini_model: str = Field("gemini-2.5-flash", description="Google Gen AI model")
    gemini_input_price: float | None = Field(
        None, ge=0, description="US dollars for a million tokens sent; cost isn't counted without"
    )
    gemini_output_price: float | None = Field(
        None, ge=0, description="US dollars for a million tokens answered"
    )
    gemini_base_url: str | None = Field(None, description="other endpoint of the Gen AI API")
    models_folder: Path | None = Field(
        None, description="folder of further model versions, each in <model>/<version>/"
    )
    demonstration_models: bool = Field(
        False, description="models that show the pipeline and are for no patient may be asked"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log line that is written"
    )
    worker_concurrency: int = Field(2, ge=1, description="analyses that run at once")
    task_lease_seconds: int = Field(
        60, ge=1, description="after this a claimed Task may be repeated by another worker"
    )
    drift_limits_file: Path | None = Field(
        None,
        description="TOML file of the limits of drift, the one that holds a site's AI reading "
        "among them; the shipped models/monitoring/limits.toml when not set",
    )
    drain_seconds: int | None = Field(
        None,
        ge=0,
        le=30,
        description="so long after SIGTERM a process still takes requests, while it says that it "
        "is not ready; 3 when not set, and 0 in dev",
    )
    requests_in_hand: int | None = Field(
        None,
        ge=1,
        description="so many requests a process answers at once, and refuses further ones with 503 "
        "and Retry-After; 64 in the role app, else 256 when not set",
    )
    health_seconds: int = Field(30, ge=0, description="interval of the store's own health check")

    @field_validator("base_url")
    @classmethod
    def _is_an_origin(cls, text: str) -> str:
        """All addresses that are given out begin with it, and are compared as texts."""
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and parts.hostname
        if not is_web or text != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
            raise ValueError("must be an origin, as https://medsage.example.org, without a slash")
        return text

    @field_validator("jwks_networks", "subscription_networks", "trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        """ValueError, which stops the start, names what is no network."""
        for word in filter(None, (each.strip() for each in text.split(","))):
            ip_network(word)
        return text

    @field_validator("rate_limits")
    @classmethod
    def _are_rules(cls, text: str) -> str:
        read_rules(text)
        return text

    @property
    def drains_for(self) -> int:
        """Seconds from SIGTERM until no request is taken any more."""
        if self.drain_seconds is None:
            return 0 if self.profile == "dev" else 3
        return self.drain_seconds

    @property
    def takes_in_hand(self) -> int:
        """How many requests the process answers at once."""
        # A page costs as much as several requests to FHIR: more than 64 would wait for seconds.
        return self.requests_in_hand or (64 if self.role == "app" else 256)

    @property
    def issuers_file(self) -> Path:
        """Where the registered record systems are kept."""
        return self.issuers or self.data / "issuers.json"
