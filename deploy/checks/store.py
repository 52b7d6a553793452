"""The store as a start would find it: whether it answers, its index, its keys, its clock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from deploy.monitoring.backups import backup_finding, last_backup
from deploy.monitoring.parts import parts_of
from fhir_server.app import knowledge, open_store
from fhir_server.findings import Finding
from fhir_server.indexing.definitions import Definitions
from fhir_server.migrating import schema_state
from fhir_server.security.keys import read_keys
from fhir_server.security.signing_keys import USES, Keys, NotRotatable, signer
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import UnusableKeys
from fhir_server.storage.port import Past, ResourceStore
from fhir_server.storage.rotation import SealedStore
from fhir_server.storage.schema import SchemaMismatch, SchemaState

KEY_DAYS = 365
"""Older signing keys should be rotated."""
SKEW = timedelta(seconds=5)
_WHAT = "Store"


async def store_findings(settings: Settings, clock: Callable[[], datetime]) -> Sequence[Finding]:
    """Nothing is made: an embedded store that is not there yet is only said to be so."""
    file = settings.data / "medsage.sqlite"
    if settings.mongodb_uri is None and not file.exists():
        return [Finding(_WHAT, "unknown", f"{file} is not there: the first start makes it")]
    try:
        schema = _schema(await schema_state(settings))
        if schema.state != "ok":
            return [schema]  # to open it would bring it forward
        store = await open_store(settings)
    except UnusableKeys as problem:
        to_do = "Set MEDSAGE_ENCRYPTION_KEY_FILE to the file that has this store's master key"
        return [Finding(_WHAT, "failed", str(problem), to_do)]
    except SchemaMismatch as problem:
        return [Finding(_WHAT, "failed", str(problem), "See docs/operating.md, Upgrades")]
    except Exception as problem:  # a driver's text may quote the address with its password
        return [_away(type(problem).__name__)]
    try:
        return [schema, *await _looked_at(settings, store, clock())]
    except Exception as problem:
        return [_away(type(problem).__name__)]
    finally:
        await store.close()


def _schema(found: SchemaState) -> Finding:
    what = "Schema of the store"
    if found.steps:
        left = f"{found.found}, this version's is {found.needed}"
        return Finding(what, "warning", left, "Run medsage migrate, or let the next start do it")
    return Finding(what, "ok", str(found.found or "none yet: the first start makes it"))


def _away(kind: str) -> Finding:
    return Finding(_WHAT, "failed", f"can't be used ({kind})", "See docs/runbooks/store-failing.md")


async def _looked_at(settings: Settings, store: SealedStore, now: datetime) -> list[Finding]:
    await store.check()
    kind = "embedded" if settings.mongodb_uri is None else "MongoDB"
    parts = await parts_of(store)
    last = await last_backup(settings, store, parts)
    running = ", ".join(f"{part.role} {part.version}" for part in parts)
    return [
        Finding(_WHAT, "ok", f"{kind}: reads and durably writes"),
        Finding("Processes", "ok" if parts else "unknown", running or "none has left word"),
        await _index(settings, store),
        *key_findings(await read_keys(store), await _begun(store), now),
        clock_finding(await _newest(store), now),
        backup_finding(last, now, is_declined=settings.backup_declined),
    ]


async def _index(settings: Settings, store: ResourceStore) -> Finding:
    definitions = Definitions(store, knowledge(f"{settings.base_url}/fhir").live)
    status = await definitions.behind()
    what = "Search index"
    if status.is_whole:
        return Finding(what, "ok", "whole")
    left = f"{status.percent} % done, {len(status.pending)} search parameters wait"
    return Finding(what, "warning", left, "Let a worker run, or: medsage reindex")


async def _begun(store: ResourceStore) -> datetime | None:
    """When the store got its first version: its first keys are as old."""
    if await _newest(store) is None:
        return None
    async with aclosing(store.changes(None)) as feed:  # type: ignore[type-var]
        async for change in feed:
            return change.stored.updated
    return None


async def _newest(store: ResourceStore) -> datetime | None:
    versions = (await store.history(Past(limit=1))).versions
    return versions[0].updated if versions else None


def key_findings(keys: Keys, begun: datetime | None, now: datetime) -> Iterator[Finding]:
    """One for each use of a signing key; none before the first start."""
    for use in USES if keys else ():
        what = f"Signing key ({use} tokens)"
        try:
            starts = signer(keys, use, now.timestamp()).starts
        except NotRotatable as problem:
            yield Finding(what, "failed", str(problem), "Start a server: it makes one")
            continue
        since = datetime.fromtimestamp(starts, UTC) if starts else begun
        if since is None:
            yield Finding(what, "ok", "made at the first start")
            continue
        days = (now - since).days
        is_old = days > KEY_DAYS
        to_do = "medsage keys rotate" if is_old else ""
        yield Finding(what, "warning" if is_old else "ok", f"{days} days old", to_do)


def clock_finding(newest: datetime | None, now: datetime) -> Finding:
    """Whether this machine's clock is behind what was written before."""
    what = "Clock"
    if newest is not None and newest - now > SKEW:
        behind = (newest - now).total_seconds()
        found = f"{behind:.0f} seconds behind the newest version in the store"
        return Finding(what, "failed", found, "Set the clock: NTP on every machine")
    return Finding(what, "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC, not behind the store")
