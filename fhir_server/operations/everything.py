"""$everything on Patient and Encounter (R4 Patient $everything, Encounter $everything): the whole
record, streamed, or in pages of `_count`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.narrow import narrowing_of
from fhir_server.fhir.outcome import bad_parameter, gone, not_found
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.searchset import Form, Found, entry_json, searchset
from fhir_server.operations.operation import CORE, Operation, OperationRequest, Parameter
from fhir_server.operations.record import BATCH, SUPPORTING, Place, Wanted, patients_of, resources
from fhir_server.search.parse import near
from fhir_server.search.readiness import require_standard
from fhir_server.storage.port import Stored

LARGEST_PAGE = 1000
"""Most resources of one page; also its size where the answer can't be streamed."""


@dataclass(frozen=True, slots=True)
class _Page:
    matches: list[Stored]
    supporting: list[Stored]
    next: Place | None


async def everything(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and a searchset: the compartment as matches, what it refers to as included."""
    wanted = await _wanted(context, asked)
    narrowing = narrowing_of(_pairs(asked))
    form = Form(_path(asked), _pairs(asked), narrowing)
    about = wanted.focus
    count, cursor = asked.only("_count"), asked.only("_cursor")
    if count is not None and count < 1:
        raise bad_parameter("_count is a whole number above 0")
    binding = _binding(context, asked)
    if count is None and cursor is None and asked.request.accepts_stream:
        chunks = _chunks(context, form, wanted)
        return FhirResponse(200, chunks=chunks, about=about)
    after = None if cursor is None else _place(context.cursors.open(cursor, binding))
    page = await _page(context, wanted, after, min(count or LARGEST_PAGE, LARGEST_PAGE))
    next_cursor = None if page.next is None else context.cursors.seal(page.next, binding)
    is_whole = after is None and page.next is None
    found = Found(
        matches=page.matches,
        included=page.supporting,
        total=len(page.matches) if is_whole else None,
        next_cursor=next_cursor,
    )
    answer = searchset(context, form, found)
    return FhirResponse(200, answer.body, about=about)


async def _chunks(context: Context, form: Form, wanted: Wanted) -> AsyncIterator[bytes]:
    """The searchset, a batch of entries at a time."""
    base = context.base_url.rstrip("/")
    head = searchset(context, form, Found()).body
    waiting: list[bytes] = []
    separator = b',"entry":['
    yield head[:-1]
    async for place, stored in resources(context, wanted):
        mode = "include" if place[0] == SUPPORTING else "match"
        waiting.append(entry_json(base, form, stored, mode))
        if len(waiting) == BATCH:
            yield separator + b",".join(waiting)
            waiting, separator = [], b","
    if waiting:
        yield separator + b",".join(waiting)
    yield b"]}" if waiting or separator == b"," else b"}"


async def _wanted(context: Context, asked: OperationRequest) -> Wanted:
    request = asked.request
    require_standard(context.registry)
    focus = None
    own: frozenset[str] = frozenset()
    if request.id is not None:
        focus = await _focus(context, asked)
        own = patients_of(focus.key, context.extract(parse(focus.body)))
    return Wanted(
        compartment=request.type or "",
        focus=focus,
        types=_types(context, asked),
        since=asked.only("_since"),
        start=asked.only("start"),
        end=asked.only("end"),
        own_patients=own,
    )


async def _focus(context: Context, asked: OperationRequest) -> Stored:
    key = key_of(asked.request)
    found = await context.store.get(key)
    if found is None:
        raise not_found(key)
    if found.is_deleted:
        raise gone(key)
    return found


def _types(context: Context, asked: OperationRequest) -> frozenset[str] | None:
    named = [each for value in asked.all("_type") for each in value.split(",")]
    for type in named:
        if type not in resource_types():
            hint = near(type, sorted(resource_types()))
            raise bad_parameter(f"_type: {type!r} is not a resource type of R4{hint}")
        context.access.require(type, "s")
    return frozenset(named) if named else None


async def _page(context: Context, wanted: Wanted, after: Place | None, size: int) -> _Page:
    matches: list[Stored] = []
    supporting: list[Stored] = []
    last = after
    async for place, stored in resources(context, wanted, after):
        if len(matches) + len(supporting) == size:
            return _Page(matches, supporting, last)
        (supporting if place[0] == SUPPORTING else matches).append(stored)
        last = place
    return _Page(matches, supporting, None)


def _place(opened: tuple[str | None, ...]) -> Place:
    stage, type, id = (each or "" for each in opened)
    return stage, type, id


def _pairs(asked: OperationRequest) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, values in asked.values.items() for value in values]


def _path(asked: OperationRequest) -> str:
    request = asked.request
    owner = (request.type, request.id, "$everything")
    return "/".join(each for each in owner if each)


def _binding(context: Context, asked: OperationRequest) -> str:
    """A cursor fits its caller and the same record, whatever the size of the page."""
    fixed = sorted(pair for pair in _pairs(asked) if pair[0] not in ("_cursor", "_count"))
    return repr((context.access.binding, _path(asked), fixed))


_PARAMETERS = (
    Parameter("_since", "instant"),
    Parameter("_type", "code", most=None),
    Parameter("_count", "integer"),
    Parameter("_cursor", "string"),
    Parameter("_summary", "code"),
    Parameter("_elements", "string", most=None),
)

PATIENT = Operation(
    code="everything",
    definition=f"{CORE}Patient-everything",
    levels=frozenset({"type", "instance"}),
    types=frozenset({"Patient"}),
    parameters=(Parameter("start", "date"), Parameter("end", "date"), *_PARAMETERS),
    actions=("r",),
    run=everything,
)
ENCOUNTER = Operation(
    code="everything",
    definition=f"{CORE}Encounter-everything",
    levels=frozenset({"instance"}),
    types=frozenset({"Encounter"}),
    parameters=_PARAMETERS,
    actions=("r",),
    run=everything,
)
