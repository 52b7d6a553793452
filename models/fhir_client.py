"""A FHIR R4 client for backend services (SMART App Launch 2.2, Backend Services).

It is handed an httpx client, whose transport may be the network or the server in this process.
Tokens go to the FHIR base alone: a page link that leads elsewhere is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.fhir import codec, idempotency_key
from fhir_server.fhir.outcome import FhirError

Resource = dict[str, Any]
Query = Mapping[str, str] | list[tuple[str, str]]

_MEDIA_TYPE = "application/fhir+json"
_TIMEOUT_SECONDS = 30.0


class FhirFailure(Exception):
    """The server's refusal: HTTP status, the text of its OperationOutcome, and when to come
    again, where it says that."""

    def __init__(
        self,
        status: int,
        text: str,
        outcome: Resource | None = None,
        *,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(f"{status} {text}")
        self.retry_after = retry_after
        self.status = status
        self.text = text
        self.outcome = outcome

    @property
    def is_stale(self) -> bool:
        """Another write came first (If-Match not met, or a conflict)."""
        return self.status in (409, 412)

    @property
    def is_transient(self) -> bool:
        """The same request may succeed later."""
        return self.status in (408, 429, 500, 502, 503, 504)


class FhirUnreachable(FhirFailure):
    """No answer: network, time limit, or something that is no FHIR answer."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text)


class TokenSource(Protocol):
    """Where the bearer token comes from; None when the server has open access."""

    async def token(self) -> str | None:
        """A token that is good for the next request."""
        ...

    async def refused(self, token: str) -> None:
        """The server did not accept `token`: the next one must be new."""
        ...


@dataclass(frozen=True)
class CallerToken:
    """The token of whoever called us, passed on as it came."""

    value: str | None

    async def token(self) -> str | None:
        return self.value

    async def refused(self, token: str) -> None:
        """Nothing to renew here: the refusal is the caller's answer."""


@dataclass(frozen=True)
class BackendClient:
    """A registered backend service: its id, ES384 key (JWK or PEM), scopes, token endpoint."""

    client_id: str
    key: ECKey
    scopes: str
    token_url: str


@dataclass
class BackendToken:
    """Tokens by client_credentials with private_key_jwt, kept until shortly before they expire.

    One renewal at a time: the others wait for it. `clock` is the injected now, `new_id` makes
    the assertion's jti.
    """

    http: httpx.AsyncClient
    client: BackendClient
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    early_seconds: float = 30.0
    _value: str | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)
    _renewal: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def token(self) -> str | None:
        async with self._renewal:
            if self._value is None or self.clock().timestamp() >= self._until:
                await self._renew()
            return self._value

    async def refused(self, token: str) -> None:
        """Forgets `token`, unless another caller has already brought a newer one."""
        async with self._renewal:
            if self._value == token:
                self._value = None

    async def _renew(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "scope": self.client.scopes,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self._assertion(),
        }
        try:
            answer = await self.http.post(
                self.client.token_url, data=form, timeout=_TIMEOUT_SECONDS
            )
        except httpx.HTTPError as failure:
            raise FhirUnreachable(f"token endpoint: {type(failure).__name__}") from failure
        content = _json(answer)
        if answer.status_code != 200 or "access_token" not in content:
            # RFC 6749 5.2: `error` is a code, safe to show; the description may hold anything.
            raise FhirFailure(answer.status_code, f"token endpoint: {content.get('error', '')}")
        life = float(content.get("expires_in", 60))
        self._value = str(content["access_token"])
        self._until = self.clock().timestamp() + max(life - self.early_seconds, life / 2)

    def _assertion(self) -> str:
        now = int(self.clock().timestamp())
        key, client = self.client.key, self.client.client_id
        header = {"alg": "ES384", "typ": "JWT", "kid": key.kid or key.thumbprint()}
        claims = {
            "iss": client,
            "sub": client,
            "aud": self.client.token_url,
            "iat": now,
            "exp": now + 240,
            "jti": self.new_id(),
        }
        return jwt.encode(header, claims, key, algorithms=["ES384"])


class FhirClient:
    """The interactions that the worker and the seed's API use. `base_url` has no final slash."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        tokens: TokenSource,
        *,
        moment: str | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._tokens = tokens
        self._moment = moment

    def with_tokens(self, tokens: TokenSource) -> "FhirClient":
        """The same server in another caller's name."""
        return FhirClient(self._http, self._base_url, tokens)

    def as_of(self, moment: str) -> "FhirClient":
        """The same server as it was at an instant: `read` gives the version that was current."""
        return FhirClient(self._http, self._base_url, self._tokens, moment=moment)

    @property
    def base_url(self) -> str:
        return self._base_url

    async def read(self, reference: str) -> Resource:
        """The current version of `Type/id` (or its absolute URL on this server)."""
        url = self._url(reference)
        if self._moment is None:
            return await self._ask("GET", url)
        params = {"_at": self._moment, "_count": "1"}
        page = await self._ask("GET", f"{url}/_history", params=params)
        entry: Resource = next(iter(page.get("entry", ())), {})
        if "resource" not in entry:
            raise FhirFailure(404, f"{reference} had no version at {self._moment}")
        found: Resource = entry["resource"]
        return found

    async def search(self, type_: str, query: Query) -> AsyncIterator[Resource]:
        """All matches, page after page; included resources and outcomes are left out."""
        url: str | None = f"{self._base_url}/{type_}"
        params: Query | None = query
        while url is not None:
            page = await self._ask("GET", url, params=params)
            for entry in page.get("entry", ()):
                if entry.get("search", {}).get("mode", "match") == "match":
                    yield entry["resource"]
            links = (link["url"] for link in page.get("link", ()) if link["relation"] == "next")
            url = self._url(following) if (following := next(links, None)) else None
            params = None

    async def transaction(self, bundle: Resource, key: str | None = None) -> Resource:
        """The transaction-response; a refused transaction raises and has changed nothing. With a
        `key` it is done once, and answered again as the first time (Idempotency-Key)."""
        once = {} if key is None else {idempotency_key.HEADER: idempotency_key.written(key)}
        return await self._ask("POST", self._base_url, body=bundle, more=once)

    async def call(self, operation: str, parameters: Resource) -> Resource:
        """The answer of an operation (`Device/1/$recall`) to a Parameters resource."""
        return await self._ask("POST", self._url(operation), body=parameters)

    async def update(self, resource: Resource, if_match: str) -> Resource:
        """The new version; `if_match` is the version id that must still be current."""
        url = f"{self._base_url}/{resource['resourceType']}/{resource['id']}"
        matching = {"If-Match": f'W/"{if_match}"'}
        return await self._ask("PUT", url, body=resource, more=matching)

    async def operation(self, reference: str, code: str, parts: list[Resource]) -> Resource:
        """What `Type/id/$code` answers when it is given these parameters, by POST."""
        body = {"resourceType": "Parameters", "parameter": parts}
        return await self._ask("POST", f"{self._url(reference)}/${code}", body=body)

    def _url(self, reference: str) -> str:
        if "://" not in reference:
            return f"{self._base_url}/{reference}"
        if not reference.startswith(self._base_url + "/") and not reference.startswith(
            self._base_url + "?"
        ):
            raise FhirFailure(422, "a link leads away from the FHIR server")
        return reference

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        params: Query | None = None,
        body: Resource | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Resource:
        headers = {"Accept": _MEDIA_TYPE, **more}
        if body is not None:
            headers |= {"Content-Type": _MEDIA_TYPE, "Prefer": "return=representation"}
        content = None if body is None else codec.encode(body)
        request = self._http.build_request(
            method,
            url,
            params=params,  # type: ignore[arg-type]  # httpx wants invariant containers
            headers=headers,
            content=content,
            timeout=_TIMEOUT_SECONDS,
        )
        answer = await self._send(request)
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if answer.status_code == 401 and sent:
            await self._tokens.refused(sent)
            if await self._tokens.token() != sent:
                answer = await self._send(request)
        return _resource(answer)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        token = await self._tokens.token()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        try:
            return await self._http.send(request)
        except httpx.HTTPError as failure:
            raise FhirUnreachable(type(failure).__name__) from failure


def _resource(answer: httpx.Response) -> Resource:
    content = _json(answer)
    if answer.is_success:
        if "resourceType" not in content:
            raise FhirUnreachable("the answer is no FHIR resource")
        return content
    is_outcome = content.get("resourceType") == "OperationOutcome"
    raise FhirFailure(
        answer.status_code,
        _text(content),
        content if is_outcome else None,
        retry_after=answer.headers.get("retry-after"),
    )


def _json(answer: httpx.Response) -> Resource:
    try:
        return codec.parse(answer.content)
    except FhirError:
        return {}


def _text(outcome: Resource) -> str:
    issues = outcome.get("issue", ())
    return "; ".join(str(issue.get("diagnostics") or issue.get("code")) for issue in issues)
