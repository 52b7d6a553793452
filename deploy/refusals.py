"""What production does not start with: things for development, and secrets that are missing,
short, or known to everybody. All of it is named at once, and no secret is shown."""

import json
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from deploy import tls
from fhir_server.settings import Settings

SHORTEST_SECRET = 32
SHORTEST_PASSWORD = 12
_FEWEST_CHARACTERS = 10
"""Different ones: `kkkk…` is long and no secret."""
_DEFAULTS = ("changeme", "change-me", "default", "example", "medsage", "password", "secret")
"""A secret that begins so was never chosen."""
_WITH_STORE = ("all", "server", "worker")
_WITH_BACKUPS = ("all", "worker")


def problems(settings: Settings) -> list[str]:
    """A line for each; in the profile dev only for files that can't be used."""
    found = list(tls.problems(settings))
    found += _backup_key(settings)
    if settings.profile == "dev":
        return found
    own = [*_for_development(settings), *_secrets(settings), *_encryption(settings)]
    return [*own, *_backups(settings), *found]


def _for_development(settings: Settings) -> Iterator[str]:
    if settings.open_access:
        yield "MEDSAGE_OPEN_ACCESS: tokens must be asked for"
    if settings.demo:
        yield "MEDSAGE_DEMO: demonstration users and clients are known to everybody"
    if settings.demonstration_models and settings.profile == "prod":
        yield "MEDSAGE_DEMONSTRATION_MODELS: models that are for no patient, where patients are"
    if not settings.base_url.startswith("https://"):
        yield "MEDSAGE_BASE_URL: must begin with https://"
    if any(ip_network(each.strip()).prefixlen == 0 for each in _listed(settings.trusted_proxies)):
        yield "MEDSAGE_TRUSTED_PROXIES: everybody could say any address of themselves"
    if settings.log_level == "debug":
        yield "MEDSAGE_LOG_LEVEL: debug is for development"


def _listed(text: str) -> list[str]:
    return [each for each in text.split(",") if each.strip()]


def _secrets(settings: Settings) -> Iterator[str]:
    wanted = {"MEDSAGE_SECRET_KEY": _bad_secret(settings.secret_key)}
    if settings.role != "worker":
        wanted["MEDSAGE_APP_KEY"] = _bad_key(settings.app_key)
    if settings.role != "app":
        wanted["MEDSAGE_WORKER_KEY"] = _bad_key(settings.worker_key)
    for name, url in (
        ("MEDSAGE_MONGODB_URI", settings.mongodb_uri),
        ("MEDSAGE_REDIS_URL", settings.redis_url),
    ):
        wanted[name] = _bad_password(url)
    for name, problem in wanted.items():
        if problem is not None:
            yield f"{name}: {problem}"


def _encryption(settings: Settings) -> Iterator[str]:
    has_keys = settings.encryption_key_file is not None
    if settings.encryption_declined and has_keys:
        yield "MEDSAGE_ENCRYPTION_DECLINED: a key file is set all the same"
    is_needed = settings.profile == "prod" and settings.role in _WITH_STORE
    if is_needed and not has_keys and not settings.encryption_declined:
        yield (
            "MEDSAGE_ENCRYPTION_KEY_FILE: must be set, or MEDSAGE_ENCRYPTION_DECLINED where the "
            "disks are encrypted"
        )


def _backups(settings: Settings) -> Iterator[str]:
    has_target = settings.backup_target is not None
    if settings.backup_declined and has_target:
        yield "MEDSAGE_BACKUP_DECLINED: a backup target is set all the same"
    is_needed = settings.profile == "prod" and settings.role in _WITH_BACKUPS
    if is_needed and not has_target and not settings.backup_declined:
        yield (
            "MEDSAGE_BACKUP_TARGET: must be set, or MEDSAGE_BACKUP_DECLINED where others back the "
            "store up"
        )


def _backup_key(settings: Settings) -> Iterator[str]:
    """Who makes backups can seal them, and knows how to reach a bucket."""
    if settings.role not in _WITH_BACKUPS or settings.backup_target is None:
        return
    if settings.backup_key_file is None:
        yield "MEDSAGE_BACKUP_KEY_FILE: must be set with a backup target"
    has_key = settings.backup_s3_key_id is not None and settings.backup_s3_key is not None
    if settings.backup_target.startswith("s3://") and not has_key:
        yield "MEDSAGE_BACKUP_S3_KEY_ID: must be set with a bucket, and MEDSAGE_BACKUP_S3_KEY"


def _bad_secret(secret: SecretStr | None) -> str | None:
    if secret is None:
        return "must be set"
    text = secret.get_secret_value()
    if len(text.encode()) < SHORTEST_SECRET:
        return f"must have {SHORTEST_SECRET} bytes or more"
    if text.lower().startswith(_DEFAULTS) or len(set(text)) < _FEWEST_CHARACTERS:
        return "must be random"
    return None


def _bad_key(key: SecretStr | None) -> str | None:
    if key is None:
        return "must be set"
    try:
        jwk = json.loads(key.get_secret_value())
    except ValueError:
        return "is no JSON"
    is_private = isinstance(jwk, dict) and "d" in jwk and jwk.get("crv") == "P-384"
    return None if is_private else "must be a private EC P-384 JWK"


def _bad_password(url: SecretStr | None) -> str | None:
    """Of a URL that has one: a store may also know its clients by certificate or network."""
    if url is None:
        return None
    try:
        password = urlsplit(url.get_secret_value()).password
    except ValueError:
        return "can't be read"
    if password is None:
        return None
    text = unquote(password)
    if len(text) < SHORTEST_PASSWORD or text.lower().startswith(_DEFAULTS):
        return f"its password must be random and have {SHORTEST_PASSWORD} characters or more"
    return None
