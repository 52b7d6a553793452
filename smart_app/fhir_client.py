"""FHIR REST as one session's user: reads, searches and transactions with the session's token."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import httpx

from fhir_server.fhir import codec

Resource = dict[str, Any]
TIMEOUT_SECONDS = 30.0
PAGE = 50
MOST_PAGES = 4


@dataclass(eq=False)
class FhirFailure(Exception):
    """The FHIR server refused or could not be reached (`status` 0). `problems` are its own words
    with the FHIRPath they are about."""

    status: int
    problems: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        return f"FHIR answered {self.status}"


@dataclass(frozen=True)
class FhirClient:
    """`token()` gives an access token that is good now, refreshing it when needed."""

    http: httpx.AsyncClient
    fhir_base: str
    token: Callable[[], Awaitable[str]]

    async def read(self, type_: str, id_: str) -> Resource:
        """The current version of one resource."""
        return await self._json("GET", f"{type_}/{id_}")

    async def read_reference(self, reference: str) -> Resource:
        """What a reference of this server (relative, or absolute within it) points to."""
        type_, id_ = self.key(reference)
        return await self.read(type_, id_)

    def key(self, reference: str) -> tuple[str, str]:
        """Type and id of a reference to this server; a FhirFailure 404 for any other."""
        local = reference.removeprefix(self.fhir_base.rstrip("/") + "/").split("/_history/")[0]
        type_, _, id_ = local.partition("/")
        if not id_ or "/" in id_ or ":" in type_ or not type_.isalpha():
            raise FhirFailure(404, (("a reference to another server is not followed", ""),))
        return type_, id_

    async def search(self, type_: str, parameters: Mapping[str, str]) -> list[Resource]:
        """All matches, page by page, up to a few hundred."""
        query = {"_count": str(PAGE), **parameters}
        page = await self._json("GET", type_, params=query)
        found = _matches(page)
        for _ in range(MOST_PAGES - 1):
            following = next(
                (link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None
            )
            if following is None:
                break
            page = await self._json("GET", following)
            found += _matches(page)
        return found

    async def create(self, resource: Resource, *, if_none_exist: str | None = None) -> Resource:
        """Create, or with `if_none_exist` find, a resource; the stored one comes back."""
        headers = {"prefer": "return=representation"}
        if if_none_exist is not None:
            headers["if-none-exist"] = if_none_exist
        return await self._json(
            "POST", resource["resourceType"], content=codec.encode(resource), headers=headers
        )

    async def transaction(self, bundle: Resource) -> Resource:
        """Send one transaction; the transaction-response Bundle comes back."""
        return await self._json("POST", "", content=codec.encode(bundle))

    async def _json(self, method: str, path: str, **options: Any) -> Resource:
        url = self.fhir_base if path == "" else urljoin(self.fhir_base.rstrip("/") + "/", path)
        if not url.startswith(self.fhir_base.rstrip("/")):
            raise FhirFailure(404, (("a link to another server is not followed", ""),))
        headers = {
            "authorization": f"Bearer {await self.token()}",
            "accept": "application/fhir+json",
            "content-type": "application/fhir+json",
            **options.pop("headers", {}),
        }
        try:
            answer = await self.http.request(
                method, url, headers=headers, timeout=TIMEOUT_SECONDS, **options
            )
        except httpx.HTTPError as error:
            raise FhirFailure(0) from error
        if answer.status_code >= 300:
            raise FhirFailure(answer.status_code, _problems(answer))
        return codec.parse(answer.content) if answer.content else {}


def _matches(page: Resource) -> list[Resource]:
    return [
        entry["resource"]
        for entry in page.get("entry", ())
        if entry.get("search", {}).get("mode", "match") == "match"
    ]


def _problems(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    try:
        issues = answer.json()["issue"]
        return tuple(
            (
                issue.get("diagnostics") or issue.get("details", {}).get("text") or issue["code"],
                ", ".join(issue.get("expression", ())),
            )
            for issue in issues
        )
    except (ValueError, KeyError, TypeError):
        return ()
