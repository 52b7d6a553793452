"""A journal record as an R4 AuditEvent in the patterns of IHE BALP 1.1.5; pure.

`agent.who` and `entity.what` are plain references, so that the R4 search parameters `agent`,
`patient` and `entity` find them.
"""

import base64
import hashlib
import re
import uuid
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from fhir_server.audit.kinds import KINDS, Coding, Kind
from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.recalls import OPERATORS
from fhir_server.fhir.reference import ID

Resource = dict[str, Any]
Record = dict[str, Any]

URI = "urn:ietf:rfc:3986"
CLIENTS = f"{CANONICAL}/identifier/client"
USERS = f"{CANONICAL}/identifier/user"
ROLES = f"{CANONICAL}/CodeSystem/role"
ENTITY_TYPES = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ENTITY_ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
REQUEST_IDS = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
SOURCE_TYPES = "http://terminology.hl7.org/CodeSystem/security-source-type"

TENANTS = f"{CANONICAL}/CodeSystem/tenant"
"""The labels of tenants, to whose auditors the event belongs."""
PURPOSES = {
    "BTG": Coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "BTG", "break the glass")
}

OUTCOMES = {"success": "0", "refused": "4", "failed": "8"}
PERSON = Coding(ENTITY_TYPES, "1", "Person")
SYSTEM_OBJECT = Coding(ENTITY_TYPES, "2", "System Object")
AS_PATIENT = Coding(ENTITY_ROLES, "1", "Patient")
AS_RESOURCE = Coding(ENTITY_ROLES, "4", "Domain Resource")
AS_QUERY = Coding(ENTITY_ROLES, "24", "Query")
AS_USER = Coding(ENTITY_ROLES, "11", "Security User Entity")
# BALP asks for a network address of either side; a caller within this process has none.
IN_PROCESS = {"address": "in-process", "type": "1"}


def audit_event(entry: bytes) -> Resource:
    """The AuditEvent of one journal record, its id the record's own. A record that can't be
    read still leaves an event: a serious failure that carries the record's bytes."""
    try:
        record: Record = orjson.loads(entry)
        return _event(record, KINDS[record["interaction"]])
    except (ValueError, KeyError, TypeError):
        return _unreadable(entry)


def _event(record: Record, kind: Kind) -> Resource:
    entities = _entities(record, kind)
    event: Resource = {
        "resourceType": "AuditEvent",
        "id": record["id"],
        "type": kind.type.as_json(),
        "subtype": [kind.subtype.as_json()],
        "action": kind.action,
        "recorded": record["time"],
        "outcome": OUTCOMES[record["outcome"]],
        "outcomeDesc": _sentence(record),
        "agent": _agents(record, kind),
        "source": _source(record["base"]),
    }
    profile = _profile(record, kind)
    if profile is not None:
        event["meta"] = {"profile": [profile]}
    if "tenant" in record:
        label = {"system": TENANTS, "code": record["tenant"]}
        event["meta"] = {**event.get("meta", {}), "security": [label]}
    if "purpose" in record:
        event["purposeOfEvent"] = [_typed(PURPOSES[record["purpose"]])]
    if entities:
        event["entity"] = entities
    return event


def _sentence(record: Record) -> str:
    detail = record.get("detail")
    return f"{record['status']}: {detail}" if detail else str(record["status"])


def _profile(record: Record, kind: Kind) -> str | None:
    """BALP's profiles describe success, and each needs the entity that it is about."""
    is_whole = "query" in record if kind.has_query else "key" in record
    if record["outcome"] != "success" or not is_whole:
        return None
    return kind.patient_profile if _patient(record) else kind.profile


def _patient(record: Record) -> str | None:
    """The Patient concerned, as a reference."""
    key = record.get("key", "")
    if key.startswith("Patient/"):
        return str(key)
    patient = record.get("patient") or _searched_patient(record.get("query", ""))
    return f"Patient/{patient.removeprefix('Patient/')}" if patient else None


def _searched_patient(query: str) -> str | None:
    """The one patient that a search names; None when it names none, or several."""
    named = {
        value.removeprefix("Patient/")
        for name, value in parse_qsl(query.rpartition("?")[2])
        if name in ("patient", "patient:Patient", "subject:Patient")
        or (name == "subject" and value.startswith("Patient/"))
    }
    only = named.pop() if len(named) == 1 else ""
    return only if re.fullmatch(ID, only) else None


def _agents(record: Record, kind: Kind) -> list[Resource]:
    user = _user(record, kind)
    agents = [_client(record, kind, is_alone=user is None), _server(record, kind)]
    return agents if user is None else [*agents, user]


def _typed(coding: Coding) -> Resource:
    return {"coding": [coding.as_json()]}


def _client(record: Record, kind: Kind, is_alone: bool) -> Resource:
    client = record.get("client")
    who: Resource = {"display": "unknown client"}
    if client is not None:
        who = {"identifier": {"system": CLIENTS, "value": client}, "display": client}
    if is_alone and "user" in record:
        who["reference"] = record["user"]
    agent: Resource = {
        "type": _typed(kind.client),
        "who": who,
        "requestor": is_alone,
        "network": _network(record.get("address")),
    }
    if is_alone and "name" in record:
        agent["name"] = record["name"]
    if is_alone and client is not None:
        agent["altId"] = client
    return agent


@lru_cache(256)
def _network(address: str | None) -> Resource:
    if not address:
        return IN_PROCESS
    try:
        ip_address(address)
    except ValueError:
        return {"address": address, "type": "1"}  # a machine's name
    return {"address": address, "type": "2"}


def _server(record: Record, kind: Kind) -> Resource:
    return {
        "type": _typed(kind.server),
        "who": _this_server(record["base"]),
        "requestor": False,
        "network": {"address": record["base"], "type": "5"},
    }


def _user(record: Record, kind: Kind) -> Resource | None:
    """The person behind the client; None for a client that acts for itself."""
    if "operator" in record:
        return _operator(record["operator"], kind)
    subject = record.get("subject")
    if subject is None or subject == record.get("client"):
        return None
    who: Resource = {"identifier": {"system": USERS, "value": subject}}
    if "user" in record:
        who["reference"] = record["user"]
    agent: Resource = {"type": _typed(kind.user), "who": who, "altId": subject, "requestor": True}
    if "name" in record:
        who["display"] = agent["name"] = record["name"]
    if record.get("roles"):
        agent["role"] = [_typed(Coding(ROLES, role)) for role in record["roles"]]
    return agent


def _operator(name: str, kind: Kind) -> Resource:
    """Who gave the order, as the client says it: not signed in, so no user."""
    text = f"operator {name}"
    who = {"identifier": {"system": OPERATORS, "value": name}, "display": text}
    return {"type": _typed(kind.user), "who": who, "name": text, "requestor": True}


@lru_cache(256)
def _this_server(base_url: str) -> Resource:
    return {
        "identifier": {"system": URI, "value": base_url},
        "display": "MedSAGE FHIR server",
    }


@lru_cache(256)
def _source(base_url: str) -> Resource:
    return {
        "site": urlsplit(base_url).netloc or base_url,
        "observer": _this_server(base_url),
        "type": [Coding(SOURCE_TYPES, "4", "Application Server").as_json()],
    }


def _entities(record: Record, kind: Kind) -> list[Resource]:
    entities: list[Resource] = []
    if "query" in record:
        query = base64.b64encode(record["query"].encode()).decode()
        entities.append(
            {"type": SYSTEM_OBJECT.as_json(), "role": AS_QUERY.as_json(), "query": query}
        )
    if "key" in record and not (kind.has_query and "query" in record):
        entities.append(_resource(record))
    patient = _patient(record)
    if patient is not None:
        entities.append(
            {"what": {"reference": patient}, "type": PERSON.as_json(), "role": AS_PATIENT.as_json()}
        )
    if "about" in record:
        person = {"what": {"identifier": {"system": USERS, "value": record["about"]}}}
        entities.append(person | {"type": PERSON.as_json(), "role": AS_USER.as_json()})
    if "request" in record:
        request = {"what": {"identifier": {"value": record["request"]}}}
        entities.append(request | {"type": Coding(REQUEST_IDS, "XrequestId").as_json()})
    return entities


def _resource(record: Record) -> Resource:
    entity: Resource = {
        "what": {"reference": record["key"]},
        "type": SYSTEM_OBJECT.as_json(),
        "role": AS_RESOURCE.as_json(),
    }
    if "version" in record:
        # The reference itself stays without a version, as `entity=Type/id` must find it.
        entity["detail"] = [{"type": "versionId", "valueString": str(record["version"])}]
    return entity


def _unreadable(entry: bytes) -> Resource:
    digest = hashlib.sha256(entry).hexdigest()
    unknown = {"display": "unknown"}
    return {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, digest)),
        "type": KINDS["operation"].type.as_json(),
        "recorded": "1970-01-01T00:00:00.000Z",
        "outcome": OUTCOMES["failed"],
        "outcomeDesc": "A journal record that could not be read; its bytes are the entity's query",
        "agent": [{"who": unknown, "requestor": True}],
        "source": {"observer": unknown},
        "entity": [
            {"type": SYSTEM_OBJECT.as_json(), "query": base64.b64encode(entry).decode() or "AA=="},
        ],
    }
