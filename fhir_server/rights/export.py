"""A patient's record handed over (GDPR articles 15 and 20): one ZIP with what is held as FHIR JSON,
as a page to read, with the files themselves, with what was changed in it and by whom, and with who
looked at it when."""

import base64
import binascii
import mimetypes
import zipfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from fhir_server.fhir.codec import encode, parse
from fhir_server.operations.record import every_match
from fhir_server.rights.changes import changes_of, people_of
from fhir_server.rights.changes import page as changes_page
from fhir_server.rights.extent import BATCH, Extent, Extract
from fhir_server.search.expression import Expression, HasAnyTerm, HasTerm, Query
from fhir_server.storage.port import Key, ResourceStore, Stored

Resource = dict[str, Any]
_SAY_NO_PATIENT = frozenset({"Binary", "Provenance"})
_HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    "<title>Record</title><style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}dt{font-weight:bold}dd{margin:0 0 .3rem 1rem;overflow-wrap:anywhere}"
    "section{border-top:1px solid #888}</style>"
)


async def export(
    store: ResourceStore, extract: Extract, patient: Key, extent: Extent, target: Path
) -> int:
    """Write the ZIP to `target`, which must not exist; the number of resources comes back.
    FileExistsError when it does; LookupError when the store has no such Patient now."""
    current = await store.get(patient)
    if current is None or current.is_deleted:
        raise LookupError(f"there is no {patient}")
    found = await _current(store, (patient, *(key for key in extent.own if key != patient)))
    seen = await _seen(store, patient, extent)
    changes = await changes_of(store, extract, patient, extent.own)
    with target.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        resources = [parse(each.body) for each in found]
        archive.writestr("record.json", encode(_collection(resources)))
        archive.writestr("record.html", _page(resources, seen))
        archive.writestr("access.json", encode(_collection(seen)))
        archive.writestr("changes.json", encode([each.as_json() for each in changes]))
        archive.writestr("changes.html", changes_page(changes, _HEAD))
        for name, content in _files(resources):
            archive.writestr(f"files/{name}", content)
    return len(resources)


async def _seen(store: ResourceStore, patient: Key, extent: Extent) -> list[Resource]:
    """What was done with the record, oldest first. What says of itself no patient (a picture's
    bytes) has events that say none: they are found by its id."""
    silent = [str(key) for key in extent.own if key.type in _SAY_NO_PATIENT]
    batches = [frozenset(silent[at : at + BATCH]) for at in range(0, len(silent), BATCH)]
    asked: list[Expression] = [
        HasTerm("AuditEvent.patient", str(patient)),
        *(HasAnyTerm("AuditEvent.entity", batch) for batch in batches),
    ]
    found: dict[Key, Resource] = {}
    for where in asked:
        query = Query("AuditEvent", where, limit=BATCH)
        found |= {each.key: parse(each.body) async for each in every_match(store, query)}
    return sorted(found.values(), key=lambda event: (event["recorded"], event["id"]))


async def _current(store: ResourceStore, keys: tuple[Key, ...]) -> list[Stored]:
    found: list[Stored] = []
    for start in range(0, len(keys), BATCH):
        some = keys[start : start + BATCH]
        known = await store.get_many(some)
        found += [known[key] for key in some if key in known and not known[key].is_deleted]
    return found


def _collection(resources: list[Resource]) -> Resource:
    entries = [{"resource": each} for each in resources]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        **({"entry": entries} if entries else {}),
    }


def _files(resources: list[Resource]) -> Iterator[tuple[str, bytes]]:
    """Every attachment and Binary that holds its content, under the name of its resource."""
    for resource in resources:
        place = f"{resource['resourceType']}-{resource['id']}"
        for number, (kind, data) in enumerate(_attachments(resource), start=1):
            suffix = mimetypes.guess_extension(kind.partition(";")[0].strip()) or ".bin"
            yield f"{place}-{number}{suffix}", data


def _attachments(value: Any) -> Iterator[tuple[str, bytes]]:
    match value:
        case {"contentType": str(kind), "data": str(data)}:
            try:
                yield kind, base64.b64decode(data, validate=True)
            except binascii.Error:
                return
        case dict():
            for each in value.values():
                yield from _attachments(each)
        case list():
            for each in value:
                yield from _attachments(each)


def _page(resources: list[Resource], seen: list[Resource]) -> str:
    sections = "".join(_section(each) for each in resources)
    looks = "".join(_look(each) for each in seen)
    return (
        f"{_HEAD}<h1>Everything held about you</h1><p>{len(resources)} entries. The same is in "
        f"record.json as HL7 FHIR R4; pictures and documents are in the folder files.</p>{sections}"
        f"<section><h2>Who did what with it ({len(seen)})</h2><ul>{looks}</ul></section></html>"
    )


def _section(resource: Resource) -> str:
    title = f"{resource['resourceType']} {resource['id']}"
    rows = "".join(
        f"<dt>{escape(path)}</dt><dd>{escape(text)}</dd>"
        for path, text in _lines(resource)
        if path not in ("resourceType", "id")
    )
    return f"<section><h2>{escape(title)}</h2><dl>{rows}</dl></section>"


def _lines(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value with the path to it; content of files is named, not shown."""
    match value:
        case {"data": str(data), **rest} if "contentType" in value:
            yield from _lines(rest, path)
            yield f"{path}.data".lstrip("."), f"a file of {len(data) * 3 // 4} bytes"
        case dict():
            for name, each in value.items():
                yield from _lines(each, f"{path}.{name}" if path else name)
        case list():
            for number, each in enumerate(value, start=1):
                yield from _lines(each, f"{path} {number}" if len(value) > 1 else path)
        case _:
            yield path, str(value)


def _look(event: Resource) -> str:
    what = event["subtype"][0].get("display") or event["subtype"][0]["code"]
    words = f"{event['recorded']}: {what} by {', '.join(people_of(event)) or 'unknown'}"
    return f"<li>{escape(words)}</li>"
