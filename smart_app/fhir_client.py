"""FHIR REST as one session's user: reads, searches and transactions with the session's token."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import httpx

from fhir_server.fhir import codec
from fhir_server.fhir.outcome import FhirError
from smart_app.answers import bounded
from smart_app.together import Answers, Together

Resource = dict[str, Any]
TIMEOUT_SECONDS = 30.0
PAGE = 50
MOST_PAGES = 4
UNREADABLE = 502
"""The status of an answer that could not be read."""
_NOT_ALONE_EITHER = frozenset({401, 429, 503, 504})
"""What is said of a batch as a whole, and would be said of each of its reads."""


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
    """`token()` gives an access token that is good now, refreshing it when needed. Whatever is
    written gets the `tags`. With `batches` the server is asked in one batch for what is read in
    the same moment; not every server takes them."""

    http: httpx.AsyncClient
    fhir_base: str
    token: Callable[[], Awaitable[str]]
    tags: Sequence[Mapping[str, str]] = ()
    batches: bool = False
    _together: Together = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_together", Together(self._alone, self._batch))

    async def read(self, type_: str, id_: str) -> Resource:
        """The current version of one resource."""
        return await self._get(f"{type_}/{id_}")

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
        return (await self.listing(type_, parameters))[0]

    async def listing(
        self, type_: str, parameters: Mapping[str, str], pages: int = MOST_PAGES
    ) -> tuple[list[Resource], bool]:
        """The matches of a search, of so many pages at most, and whether that is all of them."""
        query = {"_count": str(PAGE), **parameters}
        page = await self._get(f"{type_}?{urlencode(query, quote_via=quote)}")
        found = matches_of(page)
        for _ in range(pages - 1):
            following = next_page(page)
            if following is None:
                break
            page = await self._json("GET", following)
            found += matches_of(page)
        return found, next_page(page) is None

    async def create(self, resource: Resource, *, if_none_exist: str | None = None) -> Resource:
        """Create, or with `if_none_exist` find, a resource; the stored one comes back."""
        headers = {"prefer": "return=representation"}
        if if_none_exist is not None:
            headers["if-none-exist"] = if_none_exist
        content = codec.encode(self._tagged(resource))
        return await self._json("POST", resource["resourceType"], content=content, headers=headers)

    async def update(self, resource: Resource) -> Resource:
        """The next version of a resource, if the given one is still current (412 otherwise)."""
        headers = {
            "prefer": "return=representation",
            "if-match": f'W/"{resource["meta"]["versionId"]}"',
        }
        path = f"{resource['resourceType']}/{resource['id']}"
        content = codec.encode(self._tagged(resource))
        return await self._json("PUT", path, content=content, headers=headers)

    async def transaction(self, bundle: Resource) -> Resource:
        """Send one transaction or batch; the response Bundle comes back."""
        entries = [
            {**entry, "resource": self._tagged(entry["resource"])} if "resource" in entry else entry
            for entry in bundle["entry"]
        ]
        return await self._json("POST", "", content=codec.encode({**bundle, "entry": entries}))

    def _tagged(self, resource: Resource) -> Resource:
        if not self.tags:
            return resource
        meta = resource.get("meta", {})
        others = [tag for tag in meta.get("tag", ()) if tag not in self.tags]
        return {**resource, "meta": {**meta, "tag": [*others, *self.tags]}}

    async def _get(self, url: str) -> Resource:
        return await (self._together.get(url) if self.batches else self._alone(url))

    async def _alone(self, url: str) -> Resource:
        return await self._json("GET", url)

    async def _batch(self, urls: Sequence[str]) -> Answers | None:
        """The answers to several reads; None when there was none to the batch, as from a server
        that ended meanwhile: nobody sends a batch again, as they do reads."""
        entries = [{"request": {"method": "GET", "url": url}} for url in urls]
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        try:
            answered = await self._json("POST", "", content=codec.encode(bundle))
        except FhirFailure as failure:
            is_late = isinstance(failure.__cause__, httpx.TimeoutException)
            if is_late or failure.status in _NOT_ALONE_EITHER:
                raise
            return None
        found = answered.get("entry", ())
        return [_answer_in(each) for each in found] if len(found) == len(urls) else None

    async def _json(self, method: str, path: str, **options: Any) -> Resource:
        answer = await self._answer(method, path, **options)
        if answer.status_code >= 300:
            raise FhirFailure(answer.status_code, problems_in(answer))
        if not answer.content:
            return {}
        try:
            return codec.parse(answer.content)
        except FhirError as error:
            raise FhirFailure(UNREADABLE, (("the answer is not FHIR", ""),)) from error

    async def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        root = self.fhir_base.rstrip("/")
        url = self.fhir_base if path == "" else urljoin(f"{root}/", path)
        if url != self.fhir_base and not url.startswith((f"{root}/", f"{root}?")):
            raise FhirFailure(404, (("a link to another server is not followed", ""),))
        headers = {
            "authorization": f"Bearer {await self.token()}",
            "accept": "application/fhir+json",
            "content-type": "application/fhir+json",
            **options.pop("headers", {}),
        }
        try:
            return await bounded(
                self.http, method, url, seconds=TIMEOUT_SECONDS, headers=headers, **options
            )
        except httpx.HTTPError as error:
            raise FhirFailure(0) from error


async def first_version(client: FhirClient, type_: str, id_: str) -> Resource:
    """A resource as it was first stored."""
    return await client._get(f"{type_}/{id_}/_history/1")


async def first_page(
    client: FhirClient, type_: str, parameters: Sequence[tuple[str, str]]
) -> Resource:
    """The Bundle with which a search is answered."""
    return await client._json("GET", type_, params=parameters)


async def call(client: FhirClient, path: str, parameters: Resource) -> Resource:
    """Call an operation (`Type/id/$name`); its answer comes back."""
    return await client._json("POST", path, content=codec.encode(parameters))


async def send(
    client: FhirClient, resource: Resource, headers: Mapping[str, str]
) -> httpx.Response:
    """Create a resource at a server whose answers are no promise: whatever it answered below 500;
    FhirFailure for the rest."""
    answer = await client._answer(
        "POST",
        resource["resourceType"],
        content=codec.encode(resource),
        headers=dict(headers),
    )
    if answer.status_code >= 500:
        raise FhirFailure(answer.status_code, problems_in(answer))
    return answer


def _answer_in(entry: Resource) -> Resource | FhirFailure:
    """What the entry of a batch's answer would have been as an answer of its own."""
    said = entry.get("response", {})
    status = str(said.get("status", ""))[:3]
    if status.startswith("2"):
        resource: Resource = entry.get("resource", {})
        return resource
    failed = int(status) if status.isdigit() else UNREADABLE
    return FhirFailure(failed, _problems_of(said.get("outcome")))


def next_page(page: Resource) -> str | None:
    """The address of the page after this one; None at the end of the list."""
    links = page.get("link", ())
    return next((link["url"] for link in links if link["relation"] == "next"), None)


def matches_of(page: Resource) -> list[Resource]:
    """What a page found, without what is included beside it."""
    return [
        entry["resource"]
        for entry in page.get("entry", ())
        if entry.get("search", {}).get("mode", "match") == "match" and "resource" in entry
    ]


def problems_in(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    """What an OperationOutcome says, with the FHIRPath it is about; () for any other answer."""
    try:
        return _problems_of(answer.json())
    except ValueError:
        return ()


def _problems_of(outcome: Any) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(
            (
                issue.get("diagnostics") or issue.get("details", {}).get("text") or issue["code"],
                ", ".join(issue.get("expression", ())),
            )
            for issue in outcome["issue"]
        )
    except (KeyError, TypeError, AttributeError):
        return ()
