"""Composition/$document (R4 Composition $document; Documents): the Composition and what it names,
as a document Bundle."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.fhir.outcome import (
    FhirError,
    Issue,
    bad_parameter,
    error,
    gone,
    not_found,
    too_costly,
    unsupported,
)
from fhir_server.fhir.reference import ParsedReference, parse_reference
from fhir_server.interactions.audited import patient_of_stored, write_record
from fhir_server.interactions.context import Context, FhirResponse, Resource
from fhir_server.interactions.entries import join_entries
from fhir_server.interactions.repeats import Done, Work, once_whole, repeated
from fhir_server.interactions.write import Submission, draft, put, require_valid
from fhir_server.operations.operation import CORE, Operation, OperationRequest, Parameter
from fhir_server.operations.record import patients_of
from fhir_server.storage.port import Key, Stored, Transaction

MOST_RESOURCES = 1000
"""Most resources of one document."""


@dataclass
class _Document:
    """What was found so far: the Composition first, each version once; `patients` are those
    that the Composition is about."""

    patients: frozenset[str]
    found: dict[tuple[Key, int], Stored] = field(default_factory=dict)
    missing: list[Issue] = field(default_factory=list)


async def document(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and the document; with persist=true it is stored as a Bundle, and Location says where.
    422 naming every reference of the Composition that can't be resolved."""
    if asked.only("graph") is not None:
        raise unsupported(f"graph: {asked.only('graph')}: documents by GraphDefinition")
    persist = asked.only("persist")
    again = await _persisted_before(context, asked) if persist else None
    if again is not None:
        return again
    composition = await _composition(context, asked)
    made = await _collected(context, composition)
    if made.missing:
        raise FhirError(422, tuple(made.missing))
    body = _bundle(context, made.found.values())
    if not persist:
        return FhirResponse(200, body, about=composition)
    return await _persisted(context, asked, body, composition)


async def _composition(context: Context, asked: OperationRequest) -> Stored:
    given, id = asked.only("id"), asked.request.id
    if id is not None and given is not None:
        raise bad_parameter("id: the Composition is named in the URL already")
    if id is None and given is None:
        raise error(400, "required", "$document on the type needs the parameter id")
    if id is None:
        id = given.removeprefix(f"{context.base_url}/Composition/")
        if "/" in id:
            raise unsupported(f"id: {given}: a Composition of another server")
    key = Key("Composition", id)
    found = await context.store.get(key)
    if found is None:
        raise not_found(key)
    if found.is_deleted:
        raise gone(key)
    return found


async def _collected(context: Context, composition: Stored) -> _Document:
    """The Composition, what it refers to, and what that refers to in turn, except what belongs
    to other patients alone."""
    resource = parse(composition.body)
    made = _Document(patients_of(composition.key, context.extract(resource)))
    made.found[composition.key, composition.version] = composition
    waiting = [resource]
    is_direct = True
    while waiting:
        reached: list[Resource] = []
        for text in dict.fromkeys(text for each in waiting for text in _references(each)):
            stored = await _resolved(context, text)
            if stored is None and is_direct:
                text = f"{text}, which the Composition names, can't be resolved here"
                made.missing.append(Issue("error", "not-found", text))
            if stored is None or (stored.key, stored.version) in made.found:
                continue
            resource = parse(stored.body)
            if not is_direct and not _may_follow(context, made, stored.key, resource):
                continue
            made.found[stored.key, stored.version] = stored
            reached.append(resource)
        if len(made.found) > MOST_RESOURCES:
            raise too_costly(f"the document has more than {MOST_RESOURCES} resources")
        waiting, is_direct = reached, False
    return made


def _may_follow(context: Context, made: _Document, key: Key, resource: Resource) -> bool:
    patients = patients_of(key, context.extract(resource))
    return not patients or bool(patients & made.patients)


def _references(value: Any) -> Iterator[str]:
    """Every literal reference, those to contained resources left out."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name != "reference" or not isinstance(each, str):
                yield from _references(each)
            elif not each.startswith("#"):
                yield each


async def _resolved(context: Context, text: str) -> Stored | None:
    try:
        parsed = parse_reference(text)
    except ValueError:
        return None
    key = _local(context, parsed)
    if key is None:
        return None
    version = parsed.version
    if version is not None and not version.isdigit():
        return None
    stored = await context.store.get(key, int(version) if version else None)
    return None if stored is None or stored.is_deleted else stored


def _local(context: Context, parsed: ParsedReference) -> Key | None:
    if parsed.kind not in ("relative", "absolute") or parsed.type is None or parsed.id is None:
        return None
    is_own = parsed.service in (None, context.base_url.rstrip("/"))
    return Key(parsed.type, parsed.id) if is_own else None


def _bundle(context: Context, resources: Iterable[Stored]) -> bytes:
    head = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{context.new_id()}"},
        "type": "document",
        "timestamp": instant(context.clock()),
    }
    entries = (
        encode({"fullUrl": f"{context.base_url}/{each.key}"})[:-1]
        + b',"resource":'
        + each.body
        + b"}"
        for each in resources
    )
    return join_entries(head, entries)


async def _persisted_before(context: Context, asked: OperationRequest) -> FhirResponse | None:
    """The answer to a repeat: the document as it was stored, whatever became of its parts."""

    async def perform(_: Transaction) -> Done:
        raise ValueError("a repeat persists nothing")

    work = Work(perform, lambda done: _persisted_answer(context, done))
    return await repeated(context, asked.request, work)


async def _persisted(
    context: Context, asked: OperationRequest, body: bytes, composition: Stored
) -> FhirResponse:
    context.access.require("Bundle", "c")
    resource = parse(body)
    require_valid(context, resource)
    submission = Submission(Key("Bundle", context.new_id()), resource, body, "POST")
    made = draft(context, submission, None)
    patient = patient_of_stored(context, composition)
    record = write_record(context, made.stored, "create", 201, patient)

    async def perform(transaction: Transaction) -> Done:
        await put(transaction, made)
        await transaction.journal(record)
        return Done((FhirResponse(200, made.stored.body, made.stored),))

    work = Work(perform, lambda done: _persisted_answer(context, done))
    return replace(await once_whole(context, asked.request, work), about=composition)


def _persisted_answer(context: Context, done: Done) -> FhirResponse:
    stored = done.only.stored
    if stored is None:
        raise ValueError("a document that was persisted has a version")
    location = f"{context.base_url}/{stored.key}/_history/{stored.version}"
    return FhirResponse(200, done.only.body, headers={"Location": location}, about=stored)


DOCUMENT = Operation(
    code="document",
    definition=f"{CORE}Composition-document",
    levels=frozenset({"type", "instance"}),
    types=frozenset({"Composition"}),
    parameters=(
        Parameter("id", "uri"),
        Parameter("persist", "boolean"),
        Parameter("graph", "uri"),
    ),
    actions=("r",),
    run=document,
)
