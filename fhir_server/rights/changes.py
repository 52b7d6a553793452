"""What was changed in a patient's record, when, and by whom (GDPR article 16): the versions of each
resource, one against the next, with the people whom the audit trail names."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fhir_server.fhir.codec import instant, parse
from fhir_server.operations.difference import Difference, differences
from fhir_server.operations.record import every_match, patients_of
from fhir_server.rights.extent import BATCH, Extract
from fhir_server.search import terms
from fhir_server.search.expression import HasAnyTerm, Query
from fhir_server.storage.port import Key, Past, ResourceStore, Stored

Resource = dict[str, Any]
People = Mapping[tuple[str, str], tuple[str, ...]]
"""(reference, version) → who wrote it."""
LONGEST = 400
"""Of a longer value the page shows the beginning; the JSON has it whole."""


@dataclass(frozen=True)
class Change:
    """One version against the one before it. `how` is created, changed or deleted, or taken in:
    what there was before belonged to somebody else, and is not told."""

    key: Key
    version: int
    at: str
    how: str
    by: tuple[str, ...]
    differences: tuple[Difference, ...]

    def as_json(self) -> Resource:
        """The change as `changes.json` tells it."""
        told = [{"path": d.path, "before": d.before, "after": d.after} for d in self.differences]
        return {
            "resource": str(self.key),
            "version": self.version,
            "at": self.at,
            "how": self.how,
            "by": list(self.by),
            "changes": told,
        }


async def changes_of(
    store: ResourceStore, extract: Extract, patient: Key, keys: Sequence[Key]
) -> list[Change]:
    """Every change of these resources, which belong to the patient, by resource and version."""
    people = await _people(store, keys)
    found: list[Change] = []
    for key in sorted(keys):
        before: Stored | None = None
        async for stored in _oldest_first(store, key):
            if not _is_told(extract, patient, stored, before):
                before = None
                continue
            found.append(_change(before, stored, people))
            before = stored
    return found


def _is_theirs(extract: Extract, patient: Key, stored: Stored) -> bool:
    return patients_of(stored.key, extract(parse(stored.body))) <= {str(patient)}


def _is_told(extract: Extract, patient: Key, stored: Stored, before: Stored | None) -> bool:
    """Whether the version was the patient's; a deletion is whose it was before."""
    if stored.is_deleted:
        return before is not None
    return _is_theirs(extract, patient, stored)


def _change(before: Stored | None, stored: Stored, people: People) -> Change:
    how = "changed"
    told: tuple[Difference, ...] = ()
    if stored.is_deleted:
        how = "deleted"
    elif before is None:
        how = "created" if stored.version == 1 else "taken in"
    elif not before.is_deleted:
        told = tuple(differences(parse(before.body), parse(stored.body)))
    else:
        how = "created again"
    by = people.get((str(stored.key), str(stored.version)), ())
    return Change(stored.key, stored.version, instant(stored.updated), how, by, told)


async def _oldest_first(store: ResourceStore, key: Key) -> AsyncIterator[Stored]:
    versions: list[Stored] = []
    past: Past | None = Past(key=key, limit=BATCH)
    while past is not None:
        page = await store.history(past)
        versions += page.versions
        past = Past(key=key, limit=BATCH, before=page.next) if page.next else None
    for stored in reversed(versions):
        yield stored


async def _people(store: ResourceStore, keys: Sequence[Key]) -> People:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for start in range(0, len(keys), BATCH):
        names = frozenset(str(key) for key in keys[start : start + BATCH])
        about = HasAnyTerm(terms.key("AuditEvent", "entity"), names)
        async for stored in every_match(store, Query("AuditEvent", about, limit=BATCH)):
            event = parse(stored.body)
            if event.get("action") in ("C", "U", "D"):
                found |= dict.fromkeys(_versions(event), people_of(event))
    return found


def people_of(event: Resource) -> tuple[str, ...]:
    """Who did what an AuditEvent tells of, by name."""
    said = [
        agent.get("name") or agent.get("who", {}).get("display", "")
        for agent in event.get("agent", ())
        if agent.get("requestor")
    ]
    return tuple(filter(None, said))


def _versions(event: Resource) -> Iterable[tuple[str, str]]:
    for entity in event.get("entity", ()):
        reference = entity.get("what", {}).get("reference")
        for detail in entity.get("detail", ()):
            if reference and detail.get("type") == "versionId":
                yield reference, str(detail.get("valueString"))


def page(changes: Sequence[Change], head: str) -> str:
    """The changes as a page to read; `head` begins it."""
    sections = "".join(_section(each) for each in changes if each.how != "created")
    return f"{head}<h1>What was changed in your record, when and by whom</h1>{sections}</html>"


def _section(change: Change) -> str:
    by = ", ".join(change.by) or "unknown"
    title = f"{change.key}, version {change.version}: {change.how}, {change.at}, by {by}"
    rows = "".join(
        f"<dt>{escape(each.path)}</dt><dd>{_told(each.before)} → {_told(each.after)}</dd>"
        for each in change.differences
    )
    return f"<section><h2>{escape(title)}</h2><dl>{rows}</dl></section>"


def _told(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text)} characters)"
    return escape(shown)
