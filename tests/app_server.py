"""A small FHIR and authorization server in memory, for tests of the app alone.

It keeps to the part of both standards that the app uses, and lets a test spoil an answer.
"""

import base64
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from fhir_server.fhir import codec

ORIGIN = "http://localhost:5000"
FHIR = f"{ORIGIN}/fhir"
Resource = dict[str, Any]


class RecordSystem:
    """`token_extra` is merged into token responses, `claims_extra` into id_tokens; `forbidden`
    types answer 403, those in `instead` as it says; `refuse_token` is an OAuth error code to answer
    with; `documents` replaces what it says about itself (empty: HTML); `calls` are the types
    of the Bundles that were posted."""

    def __init__(self, client_key: ECKey, origin: str = ORIGIN) -> None:
        self.fhir, self.auth = f"{origin}/fhir", f"{origin}/auth"
        self.key = ECKey.generate_key("P-256", {"kid": "issuer", "use": "sig"})
        self.published = self.key
        self.client_key = client_key
        self.resources: dict[tuple[str, str], Resource] = {}
        self.history: list[Resource] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.forbidden: set[str] = set()
        self.token_extra: Resource = {"patient": "p1", "encounter": "e1"}
        self.claims_extra: Resource = {}
        self.refuse_token: str | None = None
        self.scope: str | None = None
        self.grants: list[str] = []
        self.ignores_conditions = False
        self.calls: list[str] = []
        self.instead: dict[str, Callable[[], Awaitable[Response]]] = {}
        self.documents: dict[str, Resource] = {}
        self._answers = self.search_or_create
        self.app = Starlette(
            routes=[
                Route("/fhir/.well-known/smart-configuration", self.configuration),
                Route("/fhir/metadata", self.metadata),
                Route("/auth/.well-known/openid-configuration", self.openid),
                Route("/auth/authorize", self.authorize),
                Route("/auth/token", self.token, methods=["POST"]),
                Route("/auth/jwks", self.jwks),
                Route("/fhir", self.transaction, methods=["POST"]),
                Route("/fhir/{type}", self._collection, methods=["GET", "POST"]),
                Route("/fhir/{type}/{id}", self.read),
                Route("/fhir/{type}/{id}/_history/{version}", self.read_version),
            ]
        )

    def put(self, resource: Resource) -> Resource:
        """Store a resource as a new version."""
        resource = {**resource}
        resource.setdefault("id", str(uuid.uuid4()))
        old = self.resources.get((resource["resourceType"], resource["id"]))
        version = int(old["meta"]["versionId"]) + 1 if old else 1
        updated = datetime.now(UTC).isoformat()
        meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": updated}
        resource["meta"] = meta
        self.resources[resource["resourceType"], resource["id"]] = resource
        self.history.append(resource)
        return resource

    def all(self, type_: str) -> list[Resource]:
        """Every current resource of a type, oldest first."""
        return [r for (kind, _id), r in self.resources.items() if kind == type_]

    async def metadata(self, request: Request) -> Response:
        found = self.documents.get("metadata")
        return JSONResponse(found) if found is not None else Response(status_code=404)

    async def configuration(self, request: Request) -> Response:
        if "configuration" in self.documents:
            found = self.documents["configuration"]
            return JSONResponse(found) if found else Response("<html>", media_type="text/html")
        return JSONResponse(
            {
                "issuer": self.auth,
                "authorization_endpoint": f"{self.auth}/authorize",
                "token_endpoint": f"{self.auth}/token",
                "jwks_uri": f"{self.auth}/jwks",
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def openid(self, request: Request) -> Response:
        found = self.documents.get("openid")
        return JSONResponse(found) if found is not None else Response(status_code=404)

    async def jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.published.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        code = str(uuid.uuid4())
        self.codes[code] = dict(request.query_params)
        query = f"code={code}&state={request.query_params['state']}"
        return RedirectResponse(f"{request.query_params['redirect_uri']}?{query}", 303)

    async def token(self, request: Request) -> Response:
        form = dict(await request.form())
        jwt.decode(str(form["client_assertion"]), self.client_key, algorithms=["ES384"])
        if form["grant_type"] != "client_credentials":
            self.grants.append(str(form["grant_type"]))
        if self.refuse_token:
            return JSONResponse({"error": self.refuse_token}, 400)
        if form["grant_type"] == "client_credentials":
            return JSONResponse(self._tokens(str(form["scope"])))
        if form["grant_type"] == "refresh_token":
            return JSONResponse({**self._tokens(""), "scope": self.scope or ""})
        asked = self.codes.pop(str(form["code"]), None)
        verifier = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": self.auth,
            "aud": asked["client_id"],
            "sub": "u1",
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + 300,
            "name": "Dr Amina Njoroge",
            "fhirUser": "Practitioner/dr-amina",
            **self.claims_extra,
        }
        header = {"alg": "ES256", "kid": "issuer"}
        id_token = jwt.encode(header, claims, self.key, algorithms=["ES256"])
        extra = self.token_extra if "launch" in asked else {}
        answer = {**self._tokens(asked["scope"]), "id_token": id_token, **extra}
        return JSONResponse({name: value for name, value in answer.items() if value is not None})

    def _tokens(self, scope: str) -> Resource:
        return {
            "access_token": str(uuid.uuid4()),
            "token_type": "Bearer",
            "expires_in": 600,
            "refresh_token": str(uuid.uuid4()),
            "scope": self.scope or scope,
        }

    async def read(self, request: Request) -> Response:
        type_, id_ = request.path_params["type"], request.path_params["id"]
        if type_ in self.forbidden:
            return _outcome(403, "not in your scopes")
        if type_ in self.instead:
            return await self.instead[type_]()
        resource = self.resources.get((type_, id_))
        return _fhir(resource) if resource else _outcome(404, "not known here")

    async def read_version(self, request: Request) -> Response:
        wanted = (request.path_params["type"], request.path_params["id"])
        version = request.path_params["version"]
        found = [
            each
            for each in self.history
            if (each["resourceType"], each["id"]) == wanted and each["meta"]["versionId"] == version
        ]
        return _fhir(found[0]) if found else _outcome(404, "not known here")

    def replace_endpoint(self, answers: Callable[[Request], Awaitable[Response]]) -> None:
        """Answer searches and creates in another way."""
        self._answers = answers

    async def _collection(self, request: Request) -> Response:
        return await self._answers(request)

    async def search_or_create(self, request: Request) -> Response:
        type_ = request.path_params["type"]
        if type_ in self.forbidden:
            return _outcome(403, "not in your scopes")
        if type_ in self.instead:
            return await self.instead[type_]()
        if request.method == "POST":
            condition = request.headers.get("if-none-exist")
            if (
                condition
                and not self.ignores_conditions
                and (found := self._find(type_, dict(parse_qsl(condition))))
            ):
                return _fhir(found[0])
            return _fhir(self.put(codec.parse(await request.body())), 201)
        asked = dict(request.query_params)
        found = self._find(type_, asked)[::-1]
        start = int(asked.get("_cursor", "0"))
        end = start + int(asked.get("_count", "50"))
        entry = [{"resource": r, "search": {"mode": "match"}} for r in found[start:end]]
        page = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entry}
        if end < len(found):
            url = f"{self.fhir}/{type_}?{urlencode({**asked, '_cursor': end})}"
            page["link"] = [{"relation": "next", "url": url}]
        return _fhir(page)

    def _find(self, type_: str, query: dict[str, str]) -> list[Resource]:
        found = self.all(type_)
        if patient := query.get("patient"):
            found = [r for r in found if f'"Patient/{patient}"' in codec.encode(r).decode()]
        if identifier := query.get("identifier"):
            system, _, value = identifier.rpartition("|")
            wanted = {"system": system} | ({"value": value} if value else {})
            found = [
                r for r in found
                if any(wanted.items() <= i.items() for i in r.get("identifier", ()))
            ]  # fmt: skip
        if codes := query.get("code"):
            wanted_codes = {code.rpartition("|")[2] for code in codes.split(",")}
            found = [
                r for r in found
                if wanted_codes & {c.get("code") for c in r["code"].get("coding", ())}
            ]  # fmt: skip
        if measure := query.get("measure"):
            found = [r for r in found if r["measure"].partition("|")[0] == measure]
        if name := query.get("name"):
            found = [r for r in found if name.lower() in codec.encode(r["name"]).decode().lower()]
        return found

    async def transaction(self, request: Request) -> Response:
        text = (await request.body()).decode()
        bundle = codec.parse(text.encode())
        self.calls.append(bundle["type"])
        if bundle["type"] == "batch":
            return await self._batch(bundle)
        for entry in bundle["entry"]:
            asked = entry["request"]
            if "ifMatch" in asked:
                now = self.resources[tuple(asked["url"].split("/"))]["meta"]["versionId"]  # type: ignore[index]
                if asked["ifMatch"] != f'W/"{now}"':
                    return _outcome(412, "the version is not the current one")
        ids = {e["fullUrl"]: str(uuid.uuid4()) for e in bundle["entry"] if "fullUrl" in e}
        for entry in bundle["entry"]:
            if entry["request"]["method"] == "POST" and "fullUrl" in entry:
                kind = entry["resource"]["resourceType"]
                text = text.replace(f'"{entry["fullUrl"]}"', f'"{kind}/{ids[entry["fullUrl"]]}"')
        answers = []
        for entry in codec.parse(text.encode())["entry"]:
            resource = entry["resource"]
            full_url = str(entry.get("fullUrl", ""))
            if re.fullmatch(r"[A-Za-z]+/[0-9a-f-]{36}", full_url):
                resource["id"] = full_url.partition("/")[2]
            stored = self.put(resource)
            location = f"{stored['resourceType']}/{stored['id']}/_history/1"
            answers.append({"response": {"status": "201", "location": location}})
        return _fhir({"resourceType": "Bundle", "type": "transaction-response", "entry": answers})

    async def _batch(self, bundle: Resource) -> Response:
        """Each read as a request of its own."""
        entries: list[Resource] = []
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as own:
            for entry in bundle["entry"]:
                answer = await own.get(f"{self.fhir}/{entry['request']['url']}")
                said = {"status": str(answer.status_code)}
                found = codec.parse(answer.content)
                is_good = answer.status_code == 200
                entries.append(
                    {"resource": found, "response": said}
                    if is_good
                    else {"response": {**said, "outcome": found}}
                )
        return _fhir({"resourceType": "Bundle", "type": "batch-response", "entry": entries})


def _fhir(resource: Resource, status: int = 200) -> Response:
    return Response(codec.encode(resource), status, media_type="application/fhir+json")


def _outcome(status: int, text: str) -> Response:
    issue = {"severity": "error", "code": "processing", "diagnostics": text}
    return _fhir({"resourceType": "OperationOutcome", "issue": [issue]}, status)
