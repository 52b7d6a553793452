"""Random requests to a ward, by every route on which something hidden could show."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from bench.guard.ward import CODES, RECORDS, Ward

SEARCHED = (*RECORDS, "Patient", "Binary", "Provenance", "Device", "Practitioner", "Consent")


@dataclass(frozen=True)
class Request:
    """What is asked, by which `route`; `type` is the one that a permission is needed for."""

    route: str
    type: str
    url: str
    method: str = "GET"
    body: bytes = b""
    kind: str = "application/fhir+json"


def random_request(chance: Random, ward: Ward) -> Request:
    """One request that changes nothing."""
    return chance.choices(_ROUTES, _WEIGHTS)[0](chance, ward)


def _search(chance: Random, ward: Ward) -> Request:
    id_, person = f"{ward.name}r{chance.randrange(16)}", chance.choice(ward.patients)
    templates = [
        *(f"{type_}?" for type_ in SEARCHED),
        f"Patient?_id={person}",
        f"Observation?subject=Patient/{person}",
        f"Observation?code={chance.choice(CODES)}",
        "Observation?status:not=final",
        "Observation?_tag=shared",
        "Observation?_security:not=PSY",
        "Observation?_filter=not (status eq final)",
        f"Observation?patient={person}&_filter=code eq {chance.choice(CODES)}",
        "DocumentReference?type=11506-3",
        f"Task?focus=Observation/{id_}",
        f"Provenance?target=Observation/{id_}",
        f"Observation?_id={id_},{ward.name}r1,{ward.name}r2",
    ]
    return _asked("search", chance.choice(templates))


def _chain(chance: Random, ward: Ward) -> Request:
    id_, person = f"{ward.name}r{chance.randrange(16)}", chance.choice(ward.patients)
    templates = [
        "Observation?subject:Patient.name=mensah",
        f"Observation?encounter:Encounter.subject=Patient/{person}",
        f"Observation?encounter:Encounter._id={id_}",
        "Observation?encounter:Encounter.subject:Patient.name=okafor",
        "Observation?subject:Patient.general-practitioner:Practitioner.name=diallo",
        "Task?focus:Observation.subject:Patient.name=mensah",
        "Provenance?target:Observation.status=final",
        f"Patient?link:Patient._id={person}",
        "Observation?subject:Patient.name:not=mensah",
    ]
    return _asked("chain", chance.choice(templates))


def _has(chance: Random, ward: Ward) -> Request:
    id_, person = f"{ward.name}r{chance.randrange(16)}", chance.choice(ward.patients)
    templates = [
        "Patient?_has:Observation:subject:status=final",
        "Patient?_has:Encounter:subject:_has:Observation:encounter:status=final",
        f"Encounter?_has:Observation:encounter:_id={id_}",
        f"Encounter?_has:Observation:encounter:subject=Patient/{person}",
        "Practitioner?_has:Patient:general-practitioner:name=mensah",
        "Practitioner?_has:Patient:general-practitioner:_has:Observation:subject:status=final",
        f"Patient?_has:Condition:subject:code={chance.choice(CODES)}",
    ]
    return _asked("_has", chance.choice(templates))


def _include(chance: Random, ward: Ward) -> Request:
    templates = [
        "Observation?_include=Observation:encounter",
        "Observation?_include=Observation:subject&_include:iterate=Patient:general-practitioner",
        "Observation?_include=*",
        "Task?_include=Task:focus&_include:iterate=Observation:encounter",
        "Provenance?_include=Provenance:target",
        "DocumentReference?_include=DocumentReference:subject",
    ]
    return _asked("_include", chance.choice(templates))


def _revinclude(chance: Random, ward: Ward) -> Request:
    person = chance.choice(ward.patients)
    templates = [
        f"Patient?_id={person}&_revinclude=Observation:subject",
        f"Patient?_id={person}&_revinclude=*",
        "Encounter?_revinclude=Observation:encounter&_revinclude:iterate=Provenance:target",
        "Observation?_revinclude=Task:focus",
    ]
    return _asked("_revinclude", chance.choice(templates))


def _sort(chance: Random, ward: Ward) -> Request:
    templates = [
        "Observation?_sort=-date&_count=2",
        "Observation?_sort=date,_id&status=final&_count=1",
        "Observation?_sort=-status,date&_count=3",
        "Patient?_sort=name&_count=1",
        "Condition?_sort=code&_count=1",
    ]
    return _asked("sort and cursor", chance.choice(templates))


def _total(chance: Random, ward: Ward) -> Request:
    type_ = chance.choice(SEARCHED)
    end = chance.choice(["_total=accurate&_count=1", "_summary=count", "_total=estimate&_count=1"])
    return _asked("total", f"{type_}?{end}")


def _compartment(chance: Random, ward: Ward) -> Request:
    person = chance.choice(ward.patients)
    type_ = chance.choice(RECORDS[:2])
    return Request("compartment", type_, f"Patient/{person}/{type_}?")


def _several(chance: Random, ward: Ward) -> Request:
    types = ",".join(sorted(chance.sample(("Encounter", "Observation"), chance.randint(1, 2))))
    return Request("system search", types, f"?_type={types}&_count=4")


def _post(chance: Random, ward: Ward) -> Request:
    form = f"subject=Patient/{chance.choice(ward.patients)}".encode()
    kind = "application/x-www-form-urlencoded"
    return Request("_search", "Observation", "Observation/_search", "POST", form, kind)


def _read(chance: Random, ward: Ward) -> Request:
    return Request("read", *_some(chance, ward))


def _vread(chance: Random, ward: Ward) -> Request:
    type_, url = _some(chance, ward)
    return Request("vread", type_, f"{url}/_history/1")


def _history(chance: Random, ward: Ward) -> Request:
    type_, url = _some(chance, ward)
    return Request("history", type_, f"{url}/_history")


def _meta(chance: Random, ward: Ward) -> Request:
    type_, url = _some(chance, ward)
    return Request("$meta", type_, f"{url}/$meta")


def _everything(chance: Random, ward: Ward) -> Request:
    return Request("$everything", "Patient", f"Patient/{chance.choice(ward.patients)}/$everything")


def _lastn(chance: Random, ward: Ward) -> Request:
    person = chance.choice(ward.patients)
    return Request("$lastn", "Observation", f"Observation/$lastn?patient=Patient/{person}&max=2")


def _document(chance: Random, ward: Ward) -> Request:
    return Request("$document", "Composition", f"Composition/{ward.name}d/$document")


def _labels(chance: Random, ward: Ward) -> Request:
    type_ = chance.choice(("Observation", "Patient", "Condition"))
    return Request("labels in use", type_, f"{type_}/$meta")


def _bundle(chance: Random, ward: Ward) -> Request:
    kind = chance.choice(["batch", "batch", "transaction"])
    makers = (_read, _search, _chain, _vread, _total)
    inner = [chance.choice(makers)(chance, ward) for _ in range(3)]
    entry = [{"request": {"method": "GET", "url": each.url.rstrip("?")}} for each in inner]
    body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entry}).encode()
    return Request(kind, ",".join(each.type for each in inner), "", "POST", body)


def _asked(route: str, url: str) -> Request:
    return Request(route, url.partition("?")[0], url)


def _some(chance: Random, ward: Ward) -> tuple[str, str]:
    name = chance.choice(sorted(ward.resources))
    return name.partition("/")[0], name


Route = Callable[[Random, Ward], Request]
_WEIGHED: tuple[tuple[Route, int], ...] = (
    *((_search, 5), (_chain, 4), (_has, 4), (_include, 3), (_revinclude, 3), (_sort, 3)),
    *((_total, 3), (_compartment, 1), (_several, 1), (_post, 1), (_read, 5), (_vread, 2)),
    *(
        (_history, 2),
        (_meta, 1),
        (_everything, 1),
        (_lastn, 1),
        (_labels, 1),
        (_bundle, 1),
        (_document, 1),
    ),
)
_ROUTES = [route for route, _ in _WEIGHED]
_WEIGHTS = [weight for _, weight in _WEIGHED]


def refused_write(chance: Random, name: str) -> Request:
    """An attempt to change the resource (`Type/id`), which its caller can't see."""
    type_, _, id_ = name.partition("/")
    put = json.dumps({"resourceType": type_, "id": id_}).encode()
    patch = b'[{"op": "add", "path": "/language", "value": "en"}]'
    tag = {"name": "meta", "valueMeta": {"tag": [{"code": "planted"}]}}
    meta = json.dumps({"resourceType": "Parameters", "parameter": [tag]}).encode()
    json_patch = "application/json-patch+json"
    return chance.choice(
        [
            Request("write: put", type_, name, "PUT", put),
            Request("write: patch", type_, name, "PATCH", patch, json_patch),
            Request("write: patch by _id", type_, f"{type_}?_id={id_}", "PATCH", patch, json_patch),
            Request("write: delete", type_, name, "DELETE"),
            Request("write: delete by _id", type_, f"{type_}?_id={id_}", "DELETE"),
            Request("write: $meta-add", type_, f"{name}/$meta-add", "POST", meta),
        ]
    )
