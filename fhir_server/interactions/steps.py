"""The entries of a transaction as steps, with every problem that shows without the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fhir_server.fhir.narrow import refuse_subsetted
from fhir_server.fhir.outcome import FhirError, Issue, invalid, unsupported
from fhir_server.interactions.conditions import criteria, reservation
from fhir_server.interactions.context import Context, FhirRequest, Resource
from fhir_server.interactions.entries import at_entry, entries_of, entry_request, shell
from fhir_server.interactions.links import Link, expression_of, links_of, root_of
from fhir_server.interactions.update import require_same_id
from fhir_server.interactions.write import require_valid
from fhir_server.search.expression import Query
from fhir_server.security.scopes import Action
from fhir_server.security.visibility import has_links
from fhir_server.storage.port import Key

_ACTIONS: Mapping[str, Action] = {"create": "c", "update": "u", "delete": "d"}


@dataclass(frozen=True)
class Condition:
    """A search that a step depends on; `name` is what it reserves, `text` what was written."""

    text: str
    query: Query
    name: str


@dataclass(frozen=True)
class Step:
    """One entry. `key` is the identity that a write is about: a new one for a create. `links`
    are the places in `resource` that depend on other entries or on the store."""

    index: int
    request: FhirRequest
    key: Key | None = None
    full_url: str | None = None
    resource: Resource | None = None
    links: tuple[Link, ...] = ()
    condition: Condition | None = None
    references: tuple[tuple[Link, Condition], ...] = ()

    @property
    def is_write(self) -> bool:
        return self.key is not None


@dataclass(frozen=True)
class Problems:
    """What was found wrong so far, each with the status that it would have alone."""

    found: list[tuple[int, Issue]]

    def add(self, refusal: FhirError, index: int) -> None:
        self.found.extend((refusal.status, issue) for issue in at_entry(refusal, index))

    def raise_if_any(self) -> None:
        """One refusal with all of them. What the caller may not do outweighs the rest; else the
        status is that of the first."""
        if self.found:
            statuses = [status for status, _ in self.found]
            status = 403 if 403 in statuses else statuses[0]
            raise FhirError(status, tuple(issue for _, issue in self.found))


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
    urls = frozenset(step.full_url for step in found if step.full_url and step.resource)
    linked = [_linked(context, step, urls, problems) for step in found]
    problems.raise_if_any()
    return linked


def _step(context: Context, outer: FhirRequest, entry: Resource, index: int) -> Step:
    asked = entry_request(context, entry, outer)
    resource = entry.get("resource")
    key = _key(context, asked)
    if key is None:
        return Step(index, asked)
    context.access.require(key.type, _ACTIONS[asked.interaction])
    if not isinstance(resource, dict):
        return Step(index, asked, key)
    found = resource.get("resourceType")
    if found != key.type:
        raise invalid(f"the URL says {key.type}, the resource is {found!r}", "resource")
    if asked.interaction == "update":
        require_same_id(resource, key)
        refuse_subsetted(resource)
    text = asked.if_none_exist
    condition = None if text is None else _condition(context, key.type, text)
    return Step(index, asked, key, entry.get("fullUrl"), resource, condition=condition)


def _key(context: Context, asked: FhirRequest) -> Key | None:
    if asked.interaction not in _ACTIONS or asked.type is None:
        return None
    return Key(asked.type, asked.id or context.new_id())


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
        if step.key is None:
            continue
        if step.key in keys:
            twice = invalid(f"{step.key} is written by another entry too", "request.url")
            problems.add(twice, step.index)
        if step.full_url in urls:
            problems.add(invalid("another entry has the same fullUrl", "fullUrl"), step.index)
        keys.add(step.key)
        if step.full_url is not None:
            urls.add(step.full_url)


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
                raise invalid(f"{link.text} is the fullUrl of no entry that is written here")
            if link.kind == "criteria":
                type = link.text.partition("?")[0]
                references.append((link, _condition(context, type, link.text)))
        except FhirError as refusal:
            problems.add(at_link(refusal, step.resource, link), step.index)
    return replace(step, links=tuple(links), references=tuple(references))


def at_link(refusal: FhirError, resource: Resource, link: Link) -> FhirError:
    """The refusal, said of the place of the link."""
    place = (expression_of(resource, link),)
    issues = tuple(replace(issue, expression=place) for issue in refusal.issues)
    return FhirError(refusal.status, issues)
