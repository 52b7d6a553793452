"""$meta, $meta-add and $meta-delete (R4 Resource $meta, $meta-add, $meta-delete).

Labels that are added or taken away make a new version (docs/spec-readings.md, "$meta-add and
versions").
"""

from collections.abc import Callable
from typing import Any

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.outcome import bad_parameter, gone, not_found
from fhir_server.interactions.audited import read_record
from fhir_server.interactions.context import Context, FhirResponse, Resource
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.write import Submission, draft, put, require_valid
from fhir_server.operations.labels import LABELS, identity, labels_in_use
from fhir_server.operations.operation import CORE, Operation, OperationRequest, Parameter
from fhir_server.security.tenants import TENANTS
from fhir_server.storage.port import Stored, Transaction

Meta = dict[str, Any]
Change = Callable[[Meta, Meta], Meta]


async def meta(context: Context, asked: OperationRequest) -> FhirResponse:
    """The meta of a resource or of one of its versions; of a type or the whole server, the
    profiles, tags and security labels of what the caller may see."""
    request = asked.request
    if request.id is None:
        return _answer(await labels_in_use(context, request.type))
    key = key_of(request)
    stored = await context.store.get(key, request.version)
    if stored is None:
        raise not_found(key if request.version is None else f"{key} version {request.version}")
    if stored.is_deleted:
        raise gone(key)
    return _answer(parse(stored.body)["meta"], stored)


async def add(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and the meta with the labels that were given; those that it has already stay as they
    are, and if it has all of them there is no new version."""
    return await _changed(context, asked, _with)


async def delete(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and the meta without the labels that were given; those that it has not are no mistake."""
    return await _changed(context, asked, _without)


async def _changed(context: Context, asked: OperationRequest, change: Change) -> FhirResponse:
    given: Meta = asked.only("meta")
    foreign = sorted(given.keys() - LABELS)
    if foreign:
        raise bad_parameter(
            f"meta: {', '.join(foreign)} can't be set here; {', '.join(sorted(LABELS))} can"
        )
    if any(each.get("system") == TENANTS for each in given.get("security", ())):
        raise bad_parameter(f"meta.security: the labels of {TENANTS} are the server's own")
    key = key_of(asked.request)

    async def perform(transaction: Transaction) -> Done:
        current = await transaction.get(key)
        # What may be written but not read comes without its body.
        if current is None or not (current.body or current.is_deleted):
            raise not_found(key)
        if current.is_deleted:
            raise gone(key)
        resource = parse(current.body)
        labels = change(resource["meta"], given)
        stored = current
        if labels != resource["meta"]:
            made = draft(context, _submission(context, current, resource, labels), current)
            await put(transaction, made)
            stored = made.stored
        record = read_record(context, asked.request, FhirResponse(200, stored=stored))
        await transaction.journal(record)
        return Done((FhirResponse(200, stored.body, stored),))

    return await once_whole(context, asked.request, Work(perform, _answer_of))


def _answer_of(done: Done) -> FhirResponse:
    return _answer(parse(done.only.body)["meta"], done.only.stored)


def _submission(context: Context, current: Stored, resource: Resource, labels: Meta) -> Submission:
    changed = {**resource, "meta": labels}
    require_valid(context, changed)
    return Submission(current.key, changed, encode(changed), "PUT")


def _with(meta: Meta, given: Meta) -> Meta:
    found = dict(meta)
    for name in LABELS & given.keys():
        known = [identity(each) for each in meta.get(name, ())]
        new = {identity(each): each for each in given[name] if identity(each) not in known}
        if new:
            found[name] = [*meta.get(name, ()), *new.values()]
    return found


def _without(meta: Meta, given: Meta) -> Meta:
    found = dict(meta)
    for name in LABELS & given.keys() & meta.keys():
        unwanted = [identity(each) for each in given[name]]
        kept = [each for each in meta[name] if identity(each) not in unwanted]
        found[name] = kept
        if not kept:
            del found[name]
    return found


def _answer(found: Meta, stored: Stored | None = None) -> FhirResponse:
    body = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": found}]}
    return FhirResponse(200, encode(body), about=stored)


META = Operation(
    code="meta",
    definition=f"{CORE}Resource-meta",
    levels=frozenset({"system", "type", "instance", "version"}),
    actions=("r",),
    run=meta,
)
META_ADD = Operation(
    code="meta-add",
    definition=f"{CORE}Resource-meta-add",
    levels=frozenset({"instance"}),
    parameters=(Parameter("meta", "Meta", least=1),),
    actions=("r", "u"),
    affects_state=True,
    run=add,
)
META_DELETE = Operation(
    code="meta-delete",
    definition=f"{CORE}Resource-meta-delete",
    levels=frozenset({"instance"}),
    parameters=(Parameter("meta", "Meta", least=1),),
    actions=("r", "u"),
    affects_state=True,
    run=delete,
)
