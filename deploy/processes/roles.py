"""What Compose gives each role, as a table: the variables and the secret files. A test holds it
against `docker-compose.yml`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.processes.plan import Plan, Slot
from fhir_server.seed_settings import known_names

_DECIDED = (
    "MEDSAGE_TENANTS",
    "MEDSAGE_CONSENT_POLICY",
    "MEDSAGE_EMERGENCY_MINUTES",
    "MEDSAGE_SECOND_FACTOR_ROLES",
    "MEDSAGE_PASSWORD_LENGTH",
    "MEDSAGE_SESSION_SECONDS",
    "MEDSAGE_ACCESS_TOKEN_SECONDS",
    "MEDSAGE_RATE_LIMITS",
    "MEDSAGE_UPDATE_CREATES",
    "MEDSAGE_UNDO_DAYS",
    "MEDSAGE_DELETES_AT_ONCE",
    "MEDSAGE_SEARCH_SECONDS",
    "MEDSAGE_IDEMPOTENCY_HOURS",
    "MEDSAGE_ASYNC_JOBS",
    "MEDSAGE_ASYNC_HOURS",
    "MEDSAGE_ASYNC_RESULT_BYTES",
    "MEDSAGE_MAX_BODY_BYTES",
    "MEDSAGE_MAX_UPLOAD_BYTES",
    "MEDSAGE_DEMONSTRATION_MODELS",
    "MEDSAGE_DRAIN_SECONDS",
    "MEDSAGE_SUBSCRIPTION_NETWORKS",
)
"""What the operator decides for all roles; empty is the program's default."""
_DECIDED_OF_WORKERS = (
    "MEDSAGE_BACKUP_FULL_DAYS",
    "MEDSAGE_BACKUP_KEEP_DAYS",
    "MEDSAGE_BACKUP_KEEP_LEAST",
    "MEDSAGE_TASK_LEASE_SECONDS",
    "MEDSAGE_GEMINI_BASE_URL",
)
"""And for workers alone."""
_SETTINGS = {
    **dict.fromkeys(_DECIDED, ""),
    "MEDSAGE_PROFILE": "prod",
    "MEDSAGE_DEMO": "false",
    "MEDSAGE_BASE_URL": "{base_url}",
    "MEDSAGE_SECRETS_DIR": "{secrets}",
    "MEDSAGE_LOG_LEVEL": "info",
    "MEDSAGE_TRUSTED_PROXIES": "127.0.0.1",
}
_FRONT = {"MEDSAGE_REQUESTS_IN_HAND": ""}
_STORE = {
    "MEDSAGE_MONGODB_DATABASE": "medsage",
    "MEDSAGE_ENCRYPTION_KEY_FILE": "{secrets}/encryption_master_key",
}
ENVIRONMENT: Mapping[str, Mapping[str, str]] = {
    "server": {
        **_SETTINGS,
        **_STORE,
        **_FRONT,
        "MEDSAGE_CLIENT_REGISTRATION": "true",
        "MEDSAGE_JWKS_NETWORKS": "",
    },
    "worker": {
        **_SETTINGS,
        **_STORE,
        "MEDSAGE_SERVER_URL": "http://127.0.0.1:{server}",
        "MEDSAGE_WORKER_URL": "http://127.0.0.1:{worker}",
        "MEDSAGE_WORKER_CONCURRENCY": "2",
        "MEDSAGE_GEMINI_MODEL": "gemini-2.5-flash",
        "MEDSAGE_GEMINI_INPUT_PRICE": "",
        "MEDSAGE_GEMINI_OUTPUT_PRICE": "",
        "MEDSAGE_BACKUP_TARGET": "{backups}",
        "MEDSAGE_BACKUP_KEY_FILE": "{secrets}/backup_key",
        "MEDSAGE_BACKUP_MINUTES": "60",
        "MEDSAGE_BACKUP_S3_ENDPOINT": "",
        "MEDSAGE_BACKUP_S3_REGION": "us-east-1",
        **dict.fromkeys(_DECIDED_OF_WORKERS, ""),
    },
    "app": {
        **_SETTINGS,
        **_FRONT,
        "MEDSAGE_SERVER_URL": "http://127.0.0.1:{server}",
        "MEDSAGE_ISSUERS": "{issuers}/issuers.json",
    },
    "all": {"MEDSAGE_PROFILE": "dev", "MEDSAGE_BASE_URL": "{base_url}"},
}
"""Role → variable → its value here, or its default where the operator's settings have it too."""
_ELSEWHERE = frozenset({"MEDSAGE_ROLE", "MEDSAGE_DATA", "MEDSAGE_OPEN_ACCESS"})
"""The shape's own, by the command line of its parts; open access is refused by them anyway."""
_ADDRESSES = frozenset({"MEDSAGE_MONGODB_URI", "MEDSAGE_REDIS_URL"})
"""Looked at when a shape is planned, and compared with its secret files later."""
SECRETS: Mapping[str, tuple[str, ...]] = {
    "server": (
        "encryption_master_key",
        "medsage_mongodb_uri",
        "medsage_redis_url",
        "medsage_secret_key",
        "medsage_app_key",
        "medsage_worker_key",
        "medsage_openid_providers",
    ),
    "worker": (
        "encryption_master_key",
        "backup_key",
        "medsage_backup_s3_key_id",
        "medsage_backup_s3_key",
        "medsage_mongodb_uri",
        "medsage_secret_key",
        "medsage_worker_key",
        "medsage_gemini_api_key",
    ),
    "app": ("medsage_redis_url", "medsage_secret_key", "medsage_app_key"),
    "all": (),
}
"""Role → the secret files that it may read."""
GIVEN = frozenset(
    (
        *_DECIDED,
        *_DECIDED_OF_WORKERS,
        *("MEDSAGE_LOG_LEVEL", "MEDSAGE_CLIENT_REGISTRATION", "MEDSAGE_JWKS_NETWORKS"),
        "MEDSAGE_REQUESTS_IN_HAND",
        *("MEDSAGE_WORKER_CONCURRENCY", "MEDSAGE_GEMINI_MODEL", "MEDSAGE_GEMINI_INPUT_PRICE"),
        *("MEDSAGE_GEMINI_OUTPUT_PRICE", "MEDSAGE_BACKUP_TARGET", "MEDSAGE_BACKUP_MINUTES"),
        *("MEDSAGE_BACKUP_S3_ENDPOINT", "MEDSAGE_BACKUP_S3_REGION"),
    )
)
"""The variables that the operator's environment decides, as in Compose."""


def not_passed_on(names: Iterable[str]) -> list[str]:
    """The settings among the names that reach no part, and that the shape doesn't set itself: who
    set them would believe that they are in force."""
    tables = {name for table in ENVIRONMENT.values() for name in table}
    return sorted(known_names().intersection(names) - GIVEN - tables - _ADDRESSES - _ELSEWHERE)


def is_secret(name: str) -> bool:
    """Whether the setting is a secret file of some part."""
    return any(name.lower() in files for files in SECRETS.values())


def environment(plan: Plan, name: str) -> dict[str, str]:
    """The variables of this part."""
    role = plan.slot(name).role
    here = {
        "base_url": plan.base_url,
        "secrets": str(plan.own(name) / "secrets"),
        "backups": str(plan.backups),
        "issuers": str(plan.folder / "issuers"),
    }
    if not plan.is_development:
        here |= {door: str(plan.door(door)) for door in ("server", "worker")}
    table = {name: value.format_map(here) for name, value in ENVIRONMENT[role].items()}
    # What Compose does not give a role, an operator may still set for all of them.
    elsewhere = {name for each in ENVIRONMENT.values() for name in each} - set(table)
    given = {name: value for name, value in plan.settings.items() if name not in elsewhere}
    return table | given


def mark(plan: Plan, slot: Slot) -> str:
    """Stands for all that the part is given now: its variables, and the content of its secret
    files, which can't be read from it. While it stays the same, another start would change
    nothing."""
    if slot.role not in ENVIRONMENT:
        return ""
    found = hashlib.sha256(json.dumps(environment(plan, slot.name), sort_keys=True).encode())
    for each in SECRETS[slot.role]:
        found.update(hashlib.sha256((plan.secrets / each).read_bytes()).digest())
    return found.hexdigest()


def give_secrets(plan: Plan, name: str) -> None:
    """Copies of the secret files of the part's role in a folder of its own."""
    folder = plan.own(name) / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    wanted = SECRETS[plan.slot(name).role]
    for old in set(folder.iterdir()) - {folder / each for each in wanted}:
        old.unlink()
    for each in wanted:
        _copy(plan.secrets / each, folder / each)


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.new")
    draft.write_bytes(source.read_bytes())
    draft.chmod(0o400)
    draft.replace(target)
