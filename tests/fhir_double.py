"""A small FHIR server in memory for tests of FHIR clients: what they use, and failures on demand.

It keeps to R4 where a client could notice: versions, If-Match, atomic transactions with urn
references and conditional creates, searches by identifier, status, code and `_lastUpdated`.
"""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

Resource = dict[str, Any]
BASE = "http://fhir.test/fhir"


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, text: str, code: str = "processing") -> None:
        super().__init__(text)
        self.status, self.text, self.code = status, text, code


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class FhirDouble:
    """`resources` by `Type/id`; `interrupt` sees each request first and may raise Refused or
    an httpx error; `after` sees it when it is done (an answer lost on the way)."""

    clock: Callable[[], datetime] = _now
    resources: dict[str, Resource] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    interrupt: Callable[[httpx.Request], None] = lambda request: None
    after: Callable[[httpx.Request], None] = lambda request: None
    _next_id: int = 0

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def of_type(self, type_: str) -> list[Resource]:
        return [r for r in self.resources.values() if r["resourceType"] == type_]

    def add(self, resource: Resource) -> str:
        return self._store(resource, resource.get("id"))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        try:
            self.interrupt(request)
            status, content = self._perform(request)
            self.after(request)
        except Refused as refused:
            issue = {"severity": "error", "code": refused.code, "diagnostics": refused.text}
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            return httpx.Response(refused.status, json=outcome)
        return httpx.Response(status, json=content)

    def _perform(self, request: httpx.Request) -> tuple[int, Resource]:
        path = request.url.path.removeprefix("/fhir").strip("/")
        body = json.loads(request.content) if request.content else {}
        match request.method, path.count("/"):
            case "POST", 0 if not path:
                return 200, self._transaction(body)
            case "GET", 1:
                return 200, self._read(path)
            case "GET", 0:
                return 200, self._search(path, request.url.params)
            case "PUT", 1:
                self._match(path, request.headers.get("If-Match"))
                self._store(body, body["id"])
                return 200, self.resources[path]
            case _:
                raise Refused(400, "not built in the double")

    def _read(self, key: str) -> Resource:
        if key not in self.resources:
            raise Refused(404, f"{key} is not known here")
        return self.resources[key]

    def _match(self, key: str, if_match: str | None) -> None:
        version = self._read(key)["meta"]["versionId"]
        if if_match is not None and if_match != f'W/"{version}"':
            raise Refused(412, f"{key} is at version {version}")

    def _store(self, resource: Resource, id_: str | None) -> str:
        if id_ is None:
            self._next_id += 1
            id_ = str(self._next_id)
        key = f"{resource['resourceType']}/{id_}"
        version = int(self.resources.get(key, {}).get("meta", {}).get("versionId", 0)) + 1
        updated = self.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": updated}
        self.resources[key] = {**deepcopy(resource), "id": id_, "meta": meta}
        return key

    def _transaction(self, bundle: Resource) -> Resource:
        before = dict(self.resources)
        try:
            return {
                "resourceType": "Bundle",
                "type": "transaction-response",
                "entry": self._entries(bundle["entry"]),
            }
        except Exception:
            self.resources = before
            raise

    def _entries(self, entries: list[Resource]) -> list[Resource]:
        keys: list[str] = []
        existing: set[str] = set()
        for entry in entries:
            request = entry["request"]
            if request["method"] == "PUT":
                self._match(request["url"], request.get("ifMatch"))
                keys.append(request["url"])
                continue
            found = self._conditional(request)
            existing |= {found} if found else set()
            keys.append(found or self._store(entry["resource"], None))
        urns = {e["fullUrl"]: key for e, key in zip(entries, keys, strict=True) if "fullUrl" in e}
        for entry, key in zip(entries, keys, strict=True):
            text = re.sub(
                r'"(urn:uuid:[^"]+)"',
                lambda m: f'"{urns.get(m.group(1), m.group(1))}"',
                json.dumps(entry["resource"]),
            )
            if entry["request"]["method"] == "PUT":
                self._store(json.loads(text), key.split("/")[1])
            elif key not in existing:
                meta = self.resources[key]["meta"]
                self.resources[key] = {**json.loads(text), "id": key.split("/")[1], "meta": meta}
        return [
            {
                "resource": self.resources[key],
                "response": {"status": "201", "location": f"{key}/_history/1"},
            }
            for key in keys
        ]

    def _conditional(self, request: Resource) -> str | None:
        query = request.get("ifNoneExist")
        if query is None:
            return None
        found = self._search(request["url"], httpx.QueryParams(query))["entry"]
        if not found:
            return None
        return f"{request['url']}/{found[0]['resource']['id']}"

    def _search(self, type_: str, params: httpx.QueryParams) -> Resource:
        found = [r for r in self.of_type(type_) if all(_holds(r, *pair) for pair in params.items())]
        found.sort(key=lambda r: r.get("authoredOn", ""))
        entries = [{"resource": r, "search": {"mode": "match"}} for r in found]
        return {"resourceType": "Bundle", "type": "searchset", "entry": entries}


def _holds(resource: Resource, name: str, value: str) -> bool:
    match name:
        case "_sort" | "_count":
            return True
        case "status":
            return resource["status"] == value
        case "code" | "identifier":
            if "," in value:
                return any(_holds(resource, name, each) for each in value.split(","))
            system, _, code = value.partition("|")
            stored = (
                resource.get("identifier", [])
                if name == "identifier"
                else (resource["code"]["coding"])
            )
            return any(
                (s["system"], s.get("value", s.get("code"))) == (system, code) for s in stored
            )
        case "_lastUpdated":
            return resource["meta"]["lastUpdated"] < value.removeprefix("lt")
        case "type":
            codings = resource["type"].get("coding", [])
            return value in [f"{each['system']}|{each['code']}" for each in codings]
        case "url":
            return resource["channel"]["endpoint"] == value
        case _:
            raise Refused(400, f"unknown parameter {name}")
