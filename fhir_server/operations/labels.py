"""The profiles, tags and security labels in use (R4 Resource $meta, on a type or the server).

No index lists values, but a resource in hand shows some: between any two known values, and
before and after them, a range is asked for one more resource. So a label costs two short
searches, however many resources have it.
"""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import too_costly
from fhir_server.interactions.context import Context
from fhir_server.search import terms
from fhir_server.search.expression import HasRange, Query

CODES = {"profile": "_profile", "tag": "_tag", "security": "_security"}
"""The search parameter of each kind of label."""

LABELS = frozenset(CODES)
"""The elements of Meta that are labels."""

MOST_LABELS = 1000
"""Most labels of one kind on one type."""

Identity = tuple[str, str]

_NEXT = "\x01"
"""What makes a value the start of the range after it."""

UNASKED = frozenset({"AuditEvent"})
"""On the whole server, types that record what was done, and have no labels of their own."""


async def labels_in_use(context: Context, type: str | None) -> dict[str, list[Any]]:
    """Meta with every label on current resources that the caller may see, in order."""
    types = [type] if type is not None else sorted(resource_types() - UNASKED)
    found: dict[str, list[Any]] = {}
    for name, code in CODES.items():
        labels: dict[Identity, Any] = {}
        for each in types:
            if context.access.permits(each, "s"):
                labels |= await _labels(context, each, name, code)
        if labels:
            found[name] = [labels[identity] for identity in sorted(labels)]
    return found


def identity(label: Any) -> Identity:
    """R4: system and code of a tag or security label; the whole URL of a profile."""
    if not isinstance(label, dict):
        return str(label), ""
    return str(label.get("system", "")), str(label.get("code", ""))


async def _labels(context: Context, type: str, name: str, code: str) -> dict[Identity, Any]:
    """The labels of one kind on one type."""
    key = terms.key(type, code)
    found: dict[Identity, Any] = {}
    gaps: list[tuple[str, str | None]] = [("", None)]
    while gaps:
        low, high = gaps.pop()
        page = await context.store.find(Query(type, HasRange(key, low, high), limit=1))
        if not page.matches:
            continue
        resource = parse(page.matches[0].body)
        found |= {identity(each): each for each in resource["meta"].get(name, ())}
        if len(found) > MOST_LABELS:
            raise too_costly(f"{type} has more than {MOST_LABELS} {name} labels")
        values = {value for param, value in context.extract(resource).terms if param == key}
        inside = sorted(each for each in values if low <= each and (high is None or each < high))
        starts = [low, *(value + _NEXT for value in inside)]
        gaps.extend(zip(starts, [*inside, high], strict=True) if inside else ())
    return found
