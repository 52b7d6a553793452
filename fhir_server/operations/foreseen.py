"""What would become of one entry of a transaction that was rehearsed, as parts of Parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.outcome import Issue, operation_outcome
from fhir_server.interactions.context import Context, Resource
from fhir_server.operations.difference import Difference, differences
from fhir_server.operations.rehearsal import Write
from fhir_server.search import terms
from fhir_server.search.expression import HasTerm, Query, any_of
from fhir_server.storage.port import Key

MOST_CHANGES = 200
"""Most elements of one resource whose change is told."""

MOST_DUPLICATES = 5

Part = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """How the rehearsal of a Bundle went: `answered` are the entries of the transaction's answer,
    empty when there was none; `problems` are by entry, None for those of the whole."""

    bundle: Resource
    status: int
    problems: Mapping[int | None, Sequence[Issue]]
    answered: Sequence[Resource] = ()
    writes: Sequence[Write] = ()


async def foreseen_entry(context: Context, trial: Trial, index: int) -> list[Part]:
    """Action, identity, links, changes, duplicates and problems of an entry."""
    parts: list[Part] = [{"name": "index", "valueUnsignedInt": index}]
    if index in trial.problems:
        parts.append({"name": "action", "valueCode": "refused"})
        parts.append(outcome_part(trial.problems[index]))
        return parts
    if index >= len(trial.answered):
        parts.append({"name": "action", "valueCode": "unknown"})
        return parts
    entry, response = trial.bundle["entry"][index], trial.answered[index]["response"]
    writes = _writes_of(trial, entry, response)
    write = writes[0] if writes else None
    parts.append({"name": "action", "valueCode": _action(entry, response, write)})
    parts.append({"name": "status", "valueString": response["status"]})
    parts.extend(_identity(entry, response, writes))
    if write is not None and not write.after.is_deleted:
        parts.extend(_content(entry, write))
        if write.before is None:
            parts.extend(await _duplicates(context, parse(write.after.body)))
    return parts


def outcome_part(issues: Sequence[Issue]) -> Part:
    """The problems as an OperationOutcome."""
    return {"name": "problems", "resource": operation_outcome(issues)}


def _writes_of(trial: Trial, entry: Resource, response: Resource) -> list[Write]:
    """What the entry writes: its answer names the version; a deletion its URL, or by criteria
    whatever no other entry deletes."""
    if entry["request"]["method"] != "DELETE":
        location = response.get("location", "")
        named = (each for each in trial.writes if _location(each) == location)
        return list(islice(named, 1))
    deleted = {str(each.after.key): each for each in trial.writes if each.after.is_deleted}
    url = _path(entry)
    if "?" not in url:
        return [deleted[url]] if url in deleted else []
    others = {_path(each) for each in trial.bundle["entry"]}
    type = url.partition("?")[0]
    return [
        each for name, each in deleted.items() if name not in others and each.after.key.type == type
    ]


def _location(write: Write) -> str:
    return f"{write.after.key}/_history/{write.after.version}"


def _path(entry: Resource) -> str:
    """The last part of the entry's URL: a type with criteria, or a type and an id."""
    path, mark, criteria = entry["request"]["url"].partition("?")
    steps = path.strip("/").split("/")
    return steps[-1] + mark + criteria if mark else "/".join(steps[-2:])


def _action(entry: Resource, response: Resource, write: Write | None) -> str:
    method = entry["request"]["method"]
    if write is None:
        is_match = method == "POST" and "location" in response
        reads = "read" if method in ("GET", "HEAD") else "no-op"
        return "match" if is_match else reads
    if write.after.is_deleted:
        return "delete"
    return "update" if write.before is not None and not write.before.is_deleted else "create"


def _identity(entry: Resource, response: Resource, writes: Sequence[Write]) -> Iterator[Part]:
    matched = response.get("location", "").partition("/_history/")[0]
    references = [str(each.after.key) for each in writes] or [matched]
    if not references[0] or entry["request"]["method"] == "GET":
        return
    for each in references:
        yield {"name": "target", "valueReference": {"reference": each}}
    # An id that is given at this trial is not kept for the transaction itself.
    is_given = bool(writes) and writes[0].after.method == "POST"
    yield {"name": "id-is-promised", "valueBoolean": not is_given}


def _content(entry: Resource, write: Write) -> Iterator[Part]:
    """The links that were resolved in what was sent, and what changes in what is stored."""
    written = parse(write.after.body)
    sent = entry.get("resource")
    if isinstance(sent, dict) and sent.get("resourceType") == written["resourceType"]:
        for each in differences({**sent, "id": written["id"]}, written):
            yield _part("link", each)
    if write.before is not None and write.before.body:
        found = differences(parse(write.before.body), written)
        yield from (_part("change", each) for each in islice(found, MOST_CHANGES))
        more = sum(1 for _ in found)
        if more:
            yield {"name": "more-changes", "valueInteger": more}


def _part(name: str, found: Difference) -> Part:
    parts = [{"name": "path", "valueString": found.path}]
    for side, value in (("before", found.before), ("after", found.after)):
        if value is not None:
            text = value if isinstance(value, str) else encode(value).decode()
            parts.append({"name": side, "valueString": text})
    return {"name": name, "part": parts}


async def _duplicates(context: Context, resource: Resource) -> list[Part]:
    """Resources that have an identifier of the new one already, and are not it."""
    type, identifiers = resource["resourceType"], resource.get("identifier")
    values = [
        terms.joined(each["value"], each["system"])
        for each in (identifiers if isinstance(identifiers, list) else [identifiers])
        if isinstance(each, dict) and "value" in each and "system" in each
    ]
    if not values or not context.access.permits(type, "s"):
        return []
    key = terms.key(type, "identifier")
    where = any_of(HasTerm(key, value) for value in values)
    page = await context.store.find(Query(type, where, limit=MOST_DUPLICATES))
    own = Key(type, resource["id"])
    return [
        {"name": "duplicate", "valueReference": {"reference": str(each.key)}}
        for each in page.matches
        if each.key != own
    ]
