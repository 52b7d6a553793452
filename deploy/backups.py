"""Backups as the settings say: where they lie, what seals them, what is in them besides the store,
and the work that makes them by itself."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from deploy import tls
from deploy.commands.operating import noted
from fhir_server.backup.catalogue import catalogue
from fhir_server.backup.create import Source, known_identity
from fhir_server.backup.manifest import Manifest
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.prune import Retention
from fhir_server.backup.rows import FileRow
from fhir_server.backup.s3 import Bucket, S3Target
from fhir_server.backup.schedule import BackupMetrics, Plan, Schedule
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.signature import Access
from fhir_server.backup.target import FolderTarget, Target
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import UnusableKeys, read_master_keys
from fhir_server.storage.port import ResourceStore
from fhir_server.storage.snapshot import WholeStore
from fhir_server.system import utc_now
from smart_app.registered import read_registrations

SETTINGS_FILE = "settings-of-backup.env"
_S3_SECONDS = 60


def target_of(settings: Settings, place: str | None) -> Target:
    """The place named, or that of the settings; BackupFailed when it can't be one."""
    place = place or settings.backup_target
    if not place:
        raise BackupFailed("say where backups lie, or set MEDSAGE_BACKUP_TARGET")
    if not place.startswith("s3://"):
        return FolderTarget(Path(place))
    parts = urlsplit(place)
    if not parts.netloc:
        raise BackupFailed(f"{place} names no bucket: s3://BUCKET/PREFIX")
    key_id, key = settings.backup_s3_key_id, settings.backup_s3_key
    if key_id is None or key is None:
        raise BackupFailed("MEDSAGE_BACKUP_S3_KEY_ID and MEDSAGE_BACKUP_S3_KEY must be set")
    region = settings.backup_s3_region
    endpoint = settings.backup_s3_endpoint or f"https://s3.{region}.amazonaws.com"
    prefix = parts.path.strip("/")
    http = httpx.AsyncClient(timeout=_S3_SECONDS, trust_env=False, verify=tls.calling(settings))
    return S3Target(
        http,
        Bucket(endpoint.rstrip("/"), parts.netloc, f"{prefix}/" if prefix else ""),
        Access(key_id, key.get_secret_value(), region),
        utc_now,
    )


def keys_of(settings: Settings, file: Path | None) -> SealKeys:
    """The keys of the file named, or of that of the settings; BackupFailed when there are none."""
    file = file or settings.backup_key_file
    if file is None:
        raise BackupFailed(
            "name a key file (`medsage backup key FILE` makes one), or set MEDSAGE_BACKUP_KEY_FILE"
        )
    try:
        return SealKeys(read_master_keys(file))
    except UnusableKeys as problem:
        raise BackupFailed(f"the key file: {problem}") from None


def source_of(settings: Settings, store: WholeStore) -> Source:
    """What a backup is made of."""
    return Source(store, lambda: _files(settings), settings.base_url, utc_now)


def schedule_of(
    settings: Settings, store: WholeStore, metrics: CollectorRegistry
) -> Schedule | None:
    """What makes backups by itself; None where no target is set. BackupFailed when it can't."""
    if settings.backup_target is None:
        return None
    plan = Plan(
        every=timedelta(minutes=settings.backup_minutes),
        full_after=timedelta(days=settings.backup_full_days),
        retention=retention_of(settings),
    )

    async def note(manifest: Manifest) -> None:
        await store.note(noted(settings, "backup", manifest.backup))

    return Schedule(
        source_of(settings, store),
        target_of(settings, None),
        keys_of(settings, None),
        plan,
        BackupMetrics(metrics, plan.every),
        note,
    )


async def last_at_target(settings: Settings, store: ResourceStore) -> datetime | None:
    """When the last backup of this store that can be restored was made, whoever made it; None where
    there is none, or no target. BackupFailed when the target can't be looked at."""
    if settings.backup_target is None:
        return None
    own = await known_identity(store)
    keys = keys_of(settings, None)
    target = target_of(settings, None)
    try:
        found = await catalogue(target, keys)
    finally:
        await target.close()
    chain = found.last_whole(own) if own else ()
    return chain[-1].manifest.cut.moment if chain else None


def retention_of(settings: Settings) -> Retention:
    """Which backups are kept."""
    return Retention(settings.backup_keep_least, settings.backup_keep_days)


def _files(settings: Settings) -> Iterator[FileRow]:
    """The keys of development, the registered record systems with the files that they name, and
    the settings. Key files of the store and of backups are kept apart from backups."""
    apart = {settings.encryption_key_file, settings.backup_key_file}
    never = {each.resolve() for each in apart if each is not None}
    found = {f"keys/{each.name}": each for each in sorted((settings.data / "keys").glob("*"))}
    issuers = settings.issuers_file
    if issuers.exists():
        found["issuers.json"] = issuers
        named = (each.file for each in read_registrations(issuers) if each.file)
        found |= {Path(name).name: issuers.parent / Path(name).name for name in named}
    for name, file in found.items():
        if file.is_file() and file.resolve() not in never and not file.name.startswith("."):
            yield FileRow(name, file.stat().st_mode & 0o777, file.read_bytes())
    yield FileRow(SETTINGS_FILE, 0o600, _settings(settings).encode())


def _settings(settings: Settings) -> str:
    """What is set otherwise than by default, without secrets."""
    lines = ["# The settings when the backup was made; secrets are not among them."]
    for name, field in sorted(Settings.model_fields.items()):
        value = getattr(settings, name)
        if value != field.default and not isinstance(value, SecretStr):
            lines.append(f"MEDSAGE_{name.upper()}={value}")
    return "\n".join([*lines, ""])
