"""The entries of a transaction as steps, with every problem that shows without the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fhir_server.fhir.narrow import refuse_subsetted
from fhir_server.fhir.outcome import BUSY, FhirError, Issue, invalid, unsupported
from fhir_server.interactions.conditions import criteria, criteria_of, reservation
from fhir_server.interactions.context import Context, FhirRequest, Resource
from fhir_server.interactions.entries import at_entry, body_of, entries_of, entry_request, shell
from fhir_server.interactions.keys import type_of
from fhir_server.interactions.links import Link, expression_of, links_of, root_of
from fhir_server.interactions.patch import Patch, patch_of
from fhir_server.interactions.update import require_same_id
from fhir_server.interactions.write import require_valid
from fhir_server.search.conditional import ENOUGH
from fhir_server.search.expression import Query
from fhir_server.security.scopes import Action
from fhir_server.security.visibility import has_links
from fhir_server.storage.port import Key

_ACTIONS: Mapping[str, Action] = {"create": "c", "update": "u", "patch": "u", "delete": "d"}


@dataclass(frozen=True)
class Condition:
    """A search that a step depends on; `name` is what it reserves, `text` what was written."""

    text: str
    query: Query
    name: str


@dataclass(frozen=True)
class Step:
    """One entry. `key` is the identity that a write is about: a new one for a create, and for an
    update by criteria until it is known what they match; None for a patch or deletion by criteria
    until then, and for a read. `links` are the places in `resource` that depend on other entries
    or on the store. `condition` is the entry's own: ifNoneExist, or the criteria in its URL."""

    index: int
    request: FhirRequest
    key: Key | None = None
    full_url: str | None = None
    resource: Resource | None = None
    links: tuple[Link, ...] = ()
    condition: Condition | None = None
    references: tuple[tuple[Link, Condition], ...] = ()
    patch: Patch | None = None

    @property
    def is_write(self) -> bool:
        """Whether it writes, or would if its criteria matched."""
        return self.request.interaction in _ACTIONS

    @property
    def is_by_criteria(self) -> bool:
        """Whether what it updates, patches or deletes is found by the criteria in its URL."""
        return self.is_write and self.request.interaction != "create" and self.request.id is None


@dataclass(frozen=True)
class Problems:
    """What was found wrong so far, each with the status that it would have alone; and the
    entries that were found to overlap with others."""

    found: list[tuple[int, Issue]]
    overlapping: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def add(self, refusal: FhirError, index: int) -> None:
        self.found.extend((refusal.status, issue) for issue in at_entry(refusal, index))
        self.headers.update(refusal.headers)

    def raise_if_any(self) -> None:
        """One refusal with all of them. What the caller may not do outweighs the rest; else the
        status is that of the first."""
        if self.found:
            statuses = [status for status, _ in self.found]
            status = 403 if 403 in statuses else statuses[0]
            headers = self.headers if status == BUSY else {}
            raise FhirError(status, tuple(issue for _, issue in self.found), headers)


def steps_of(context: Context, request: FhirRequest, bundle: Resource) -> list[Step]:
    """The steps of a transaction Bundle; refuses it with the problems of all entries."""
    problems = Problems([])
    # Nothing can be asked of entries that lack their own structure.
    require_valid(context, shell(bundle))
    entries = entries_of(bundle)
    found = []
    for index, entry in enumerate(entries):
        try:
            if "resource" in entry:
                require_valid(context, entry["resource"])
        except FhirError as refusal:
            problems.add(refusal, index)
        try:
            found.append(_step(context, request, entry, index))
        except FhirError as refusal:
            problems.add(refusal, index)
    _note_overlaps(found, problems)
    urls = urls_of(found)
    linked = [_linked(context, step, urls, problems) for step in found]
    problems.raise_if_any()
    return linked


def urls_of(steps: Iterable[Step]) -> frozenset[str]:
    """The full URLs by which entries may name what the steps write."""
    return frozenset(
        step.full_url for step in steps if step.full_url and (step.resource or step.patch)
    )


def _step(context: Context, outer: FhirRequest, entry: Resource, index: int) -> Step:
    asked = entry_request(context, entry, outer)
    if asked.interaction not in _ACTIONS or asked.type is None:
        return Step(index, asked)
    context.access.require(asked.type, _ACTIONS[asked.interaction])
    resource, condition = entry.get("resource"), _condition_of(context, asked)
    key = Key(asked.type, asked.id) if asked.id is not None else None
    if not isinstance(resource, dict):
        return Step(index, asked, key, condition=condition)
    if asked.interaction == "patch":
        sent = body_of(asked, resource)
        made = patch_of(context, sent.body, sent.content_type)
        return Step(index, asked, key, entry.get("fullUrl"), condition=condition, patch=made)
    found = resource.get("resourceType")
    if found != asked.type:
        raise invalid(f"the URL says {asked.type}, the resource is {found!r}", "resource")
    if asked.interaction == "update":
        refuse_subsetted(resource)
    if key is not None:
        require_same_id(resource, key)
    else:
        given = resource.get("id") if asked.interaction == "update" else None
        # What is no text is no id, which the validation of the entry has said.
        key = Key(asked.type, given if isinstance(given, str) else context.new_id())
    return Step(index, asked, key, entry.get("fullUrl"), resource, condition=condition)


def _condition_of(context: Context, asked: FhirRequest) -> Condition | None:
    """The condition of the entry itself."""
    type = type_of(asked)
    if asked.if_none_exist is not None:
        return _condition(context, type, asked.if_none_exist)
    if asked.interaction == "create" or asked.id is not None:
        return None
    is_delete = asked.interaction == "delete"
    most = context.deletes_at_once + 1 if is_delete else ENOUGH
    query = criteria_of(context, asked, limit=most)
    text = "&".join(f"{name}={value}" for name, value in asked.query)
    if has_links(query.where) and asked.interaction == "update":
        raise unsupported(f"{text}: chained criteria in a transaction")
    return Condition(text, query, reservation(query))


def _condition(context: Context, type: str, text: str) -> Condition:
    query = criteria(context, type, text)
    if has_links(query.where):
        # A chain can't be judged against resources that are not stored yet.
        raise unsupported(f"{text}: chained criteria in a transaction")
    return Condition(text, query, reservation(query))


def _note_overlaps(steps: Iterable[Step], problems: Problems) -> None:
    """R4: if any resource identities overlap, the transaction fails."""
    keys: set[Key] = set()
    urls: set[str] = set()
    for step in steps:
        if step.key is not None and step.key in keys:
            problems.add(written_twice(step.key), step.index)
        if step.is_write and step.full_url in urls:
            problems.add(invalid("another entry has the same fullUrl", "fullUrl"), step.index)
        if step.key is not None:
            keys.add(step.key)
        if step.full_url is not None:
            urls.add(step.full_url)


def written_twice(key: Key) -> FhirError:
    """R4: identities in a transaction do not overlap, those found by criteria included."""
    return invalid(f"{key} is written by another entry too", "request.url")


def _linked(context: Context, step: Step, urls: frozenset[str], problems: Problems) -> Step:
    """The step with its links, and with the criteria of its conditional references."""
    if step.resource is None:
        return step
    links = links_of(step.resource, urls, root_of(step.full_url))
    if not links:
        return step
    references = []
    for link in links:
        try:
            if link.kind == "unknown":
                raise leads_nowhere(link)
            if link.kind == "criteria":
                type = link.text.partition("?")[0]
                references.append((link, _condition(context, type, link.text)))
        except FhirError as refusal:
            problems.add(at_link(refusal, step.resource, link), step.index)
    return replace(step, links=tuple(links), references=tuple(references))


def leads_nowhere(link: Link) -> FhirError:
    """A urn that no entry of the Bundle has."""
    return invalid(f"{link.text} is the fullUrl of no entry that is written here")


def at_link(refusal: FhirError, resource: Resource, link: Link) -> FhirError:
    """The refusal, said of the place of the link."""
    place = (expression_of(resource, link),)
    issues = tuple(replace(issue, expression=place) for issue in refusal.issues)
    return FhirError(refusal.status, issues)
