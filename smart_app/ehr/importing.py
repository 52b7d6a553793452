"""Copies a chart of another record system to our own server, and keeps the copies up to date.

What is unchanged since the last launch is not written again. Each write carries its Provenance in
the same transaction, so no copy lies here without saying where it is from.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.fhir.assessment import FROM_EHR
from smart_app.ehr.chart import Listing, newest_of_each
from smart_app.ehr.copies import (
    Chart,
    entry_copy,
    identified,
    is_restricted,
    person_copy,
    same_content,
)
from smart_app.ehr.evidence import Retrieval, copy_provenance
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.launch.own_scopes import chart_tag, copy_access
from smart_app.parts import Parts
from smart_app.problems import Problem

_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")
_ROUNDS = 5
_LOST_RACE = frozenset({409, 412})


@dataclass(frozen=True)
class Write:
    """One entry of a transaction: the copy as it is to be, and the resource that it is made of.
    `id` and `version` are of the copy that is there already; `copy` is None for one to delete."""

    type: str
    copy: Resource | None
    source: Resource | None
    id: str | None = None
    version: str | None = None
    condition: str = ""


@dataclass
class Import:
    """One launch's copying. `own` is the app at our own server, confined to one issuer's copies."""

    own: FhirClient
    retrieval: Retrieval
    new_id: Callable[[], str]
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    async def person(self, copy: Resource, source: Resource | None) -> str:
        """Keep the copy of a Patient or Practitioner; its id here. One without a `source` (a mere
        name) never replaces what was once read."""
        key = copy["identifier"][-1]
        condition = identified(key["system"], key["value"])
        type_ = copy["resourceType"]
        is_written = False
        for _ in range(_ROUNDS):
            known = await self._known(type_, {"identifier": condition.partition("=")[2]})
            is_done = is_written or source is None or (known and same_content(known, copy))
            if known is not None and is_done:
                return str(known["id"])
            try:
                await self._commit([Write(type_, copy, source, *_version(known), condition)])
                is_written = True
            except FhirFailure as failure:
                # Another launch wrote it at the same time: look again.
                if failure.status not in _LOST_RACE:
                    raise
        raise FhirFailure(409)

    async def entries(self, chart: Chart, listings: Sequence[Listing]) -> None:
        """Bring the copies of the chart's entries up to date."""
        own = replace(self.own, tags=(*self.own.tags, chart_tag(chart.copy)))
        for _ in range(_ROUNDS):
            self.left_out.clear()
            writes: list[Write] = []
            for listing in listings:
                if listing.gap is None:
                    writes += await self._changes(chart, listing)
            try:
                await self._commit_sound(writes, own)
                return
            except FhirFailure as failure:
                # Another launch wrote some of it at the same time: look again.
                if failure.status not in _LOST_RACE:
                    raise
        raise FhirFailure(409)

    async def _commit_sound(self, writes: Sequence[Write], own: FhirClient) -> None:
        """Commit those that our server takes; it names the entries that it refuses."""
        while writes:
            try:
                await self._commit(writes, own)
                return
            except FhirFailure as failure:
                refused = _refused_entries(failure)
                kept = [w for n, w in enumerate(writes) if n not in refused]
                if failure.status not in {400, 422} or len(kept) == len(writes):
                    raise
                self.left_out.update(w.type for n, w in enumerate(writes) if n in refused)
                writes = kept

    async def _changes(self, chart: Chart, listing: Listing) -> list[Write]:
        query = {"patient": chart.copy, "identifier": f"{chart.issuer}|"}
        known = {
            key: each for each in await self.own.search(listing.type, query)
            if (key := _key_in(each, chart.issuer)) is not None
        }  # fmt: skip
        found = list(listing.found)
        chosen = newest_of_each(found) if listing.type == "Observation" else found
        writes = []
        for source in chosen:
            copy, old = entry_copy(chart, source), known.get(source["id"])
            if copy is None:
                self.left_out[listing.type] += 1
                # What may not be copied any more does not stay as it once was.
                writes += [] if old is None else [Write(listing.type, None, None, *_version(old))]
            elif old is None or not same_content(old, copy):
                condition = identified(chart.issuer, source["id"])
                writes.append(Write(listing.type, copy, source, *_version(old), condition))
        if listing.is_whole:
            there = {source["id"] for source in found}
            gone = [each for key, each in known.items() if key not in there]
            writes += [Write(listing.type, None, None, *_version(each)) for each in gone]
        return writes

    async def _known(self, type_: str, query: dict[str, str]) -> Resource | None:
        found = await self.own.search(type_, query)
        return found[0] if found else None

    async def _commit(self, writes: Sequence[Write], own: FhirClient | None = None) -> None:
        entries = [self._entry(write) for write in writes]
        kept = [(e, w) for e, w in zip(entries, writes, strict=True) if w.copy is not None]
        targets = [entry["fullUrl"] for entry, _write in kept]
        if targets:
            sources = [write.source for _entry, write in kept if write.source is not None]
            made = copy_provenance(self.retrieval, targets, sources)
            entries.append({"resource": made, "request": {"method": "POST", "url": "Provenance"}})
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        await (own or self.own).transaction(bundle)

    def _entry(self, write: Write) -> dict[str, Any]:
        place = f"{write.type}/{write.id}"
        if write.copy is None:
            return {"request": {"method": "DELETE", "url": place}}
        if write.id is None:
            request = {"method": "POST", "url": write.type, "ifNoneExist": write.condition}
            return {
                "fullUrl": f"urn:uuid:{self.new_id()}",
                "resource": write.copy,
                "request": request,
            }
        request = {"method": "PUT", "url": place, "ifMatch": f'W/"{write.version}"'}
        return {"fullUrl": place, "resource": {**write.copy, "id": write.id}, "request": request}


def importer(parts: Parts, retrieval: Retrieval) -> Import:
    """The copying of one launch, with rights to the copies of its issuer alone."""
    own = parts.in_own_name(copy_access(retrieval.issuer), tags=(FROM_EHR,))
    return Import(own, retrieval, parts.new_id)


def patient_copy(issuer: str, patient: Resource) -> Resource:
    """The copy of the launch's patient; Problem `no-chart` when it can't be read safely."""
    copy = person_copy(issuer, patient)
    if copy is None and is_restricted(patient):
        raise Problem("no-chart", ("Patient: it is labelled as restricted",))
    if copy is None:
        raise Problem("no-chart", ("Patient: it has a modifier that MedSAGE does not know",))
    return copy


def _version(known: Resource | None) -> tuple[str | None, str | None]:
    return (None, None) if known is None else (known["id"], known["meta"]["versionId"])


def _key_in(copy: Resource, issuer: str) -> str | None:
    return next((i["value"] for i in copy.get("identifier", ()) if i.get("system") == issuer), None)


def _refused_entries(failure: FhirFailure) -> set[int]:
    places = (_ENTRY.search(where) for _text, where in failure.problems)
    return {int(place[1]) for place in places if place}
