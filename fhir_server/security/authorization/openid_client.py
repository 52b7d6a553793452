"""This server as a client of another OpenID provider (OpenID Connect Core 1.0, code flow with
PKCE; Discovery 1.0), by Authlib's client. What the provider says is believed only after every
check of Core section 3.1.3.7."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.security.authorization.providers import Provider
from fhir_server.security.loopback import is_plain_local
from fhir_server.security.tokens import UNREADABLE

_TIMEOUT_SECONDS = 10
_REMEMBERED_SECONDS = 3600
_KEYS_AGAIN_SECONDS = 60
_LEEWAY_SECONDS = 60
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_BY_SECRET = ("client_secret_basic", "client_secret_post")
_LONGEST_SUBJECT = 255


class ProviderProblem(Exception):
    """The provider can't be reached, or what it sent is not to be believed; the text is for the
    audit trail."""


@dataclass(frozen=True)
class Identity:
    """Who the provider says it is: checked claims, and the token that they came in."""

    claims: Mapping[str, Any]
    token: str


class OpenIdClient:
    """One provider. `redirect_uri` is where it sends people back to; `transport` replaces the
    network."""

    def __init__(
        self,
        provider: Provider,
        redirect_uri: str,
        clock: Callable[[], float],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.provider = provider
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._transport = transport
        self._metadata: tuple[dict[str, Any], float] | None = None
        self._keys: tuple[KeySet, float] | None = None

    async def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser; ProviderProblem when discovery fails."""
        metadata = await self.metadata()
        async with self._client(metadata) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                code_verifier=verifier,
                nonce=nonce,
                **(self.provider.parameters or {}),
            )
        return str(url)

    async def identity(self, code: str, verifier: str, nonce: str) -> Identity:
        """Exchange the code, and check the id_token; ProviderProblem when anything is wrong."""
        metadata = await self.metadata()
        try:
            async with self._client(metadata) as client:
                answer = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=verifier
                )
        except OAuthError as refusal:
            raise ProviderProblem(f"the token endpoint refused: {refusal.error}") from refusal
        except (httpx2.HTTPError, ValueError) as problem:
            raise ProviderProblem("the token endpoint gave no answer") from problem
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderProblem("there was no id_token")
        claims = await self._verified(token, metadata)
        self._check(claims, nonce)
        return Identity(claims, token)

    async def end_session_url(self, token: str, back: str) -> str | None:
        """Where a person signs out there too; None when the provider has no such address."""
        metadata = await self.metadata()
        endpoint = metadata.get("end_session_endpoint")
        if not isinstance(endpoint, str) or not _is_safe(endpoint):
            return None
        named = {"id_token_hint": token, "client_id": self.provider.client_id}
        query = urlencode({**named, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def metadata(self) -> dict[str, Any]:
        """The provider's discovery document, remembered for an hour; ProviderProblem when it is
        not one of this issuer."""
        now = self._clock()
        if self._metadata is None or self._metadata[1] <= now:
            url = f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration"
            document = await self._get(url)
            if document.get("issuer") != self.provider.issuer:
                raise ProviderProblem("the discovery document is of another issuer")
            if not all(_is_safe(str(document.get(name, ""))) for name in _ENDPOINTS):
                raise ProviderProblem("the discovery document lacks an https endpoint")
            self._metadata = document, now + _REMEMBERED_SECONDS
        return self._metadata[0]

    async def _verified(self, token: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims, once the signature is by one of the provider's keys: fetched again when
        they do not fit, as the provider may have changed them."""
        if self._keys is not None:
            claims = _signed(token, self._keys[0], self.provider.algorithms)
            if claims is not None:
                return claims
        if self._keys is None or self._clock() >= self._keys[1]:
            try:
                keys = KeySet.import_key_set(await self._get(metadata["jwks_uri"]))  # type: ignore[arg-type]
            except UNREADABLE as problem:
                raise ProviderProblem("the keys can't be read") from problem
            self._keys = keys, self._clock() + _KEYS_AGAIN_SECONDS
            claims = _signed(token, keys, self.provider.algorithms)
            if claims is not None:
                return claims
        raise ProviderProblem("the id_token is not signed as it must be")

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        """The claims, one by one (Core section 3.1.3.7)."""
        audience, now = claims.get("aud"), self._clock()
        audiences = audience if isinstance(audience, list) else [audience]
        party, subject = claims.get("azp"), claims.get("sub")
        sound = {
            "iss": claims.get("iss") == self.provider.issuer,
            "aud": self.provider.client_id in audiences,
            "azp": party == self.provider.client_id or (party is None and len(audiences) == 1),
            "exp": _number(claims, "exp") > now - _LEEWAY_SECONDS,
            "iat": now - _REMEMBERED_SECONDS < _number(claims, "iat") <= now + _LEEWAY_SECONDS,
            "nonce": hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()),
            "sub": isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT,
        }
        if wrong := [name for name, is_sound in sound.items() if not is_sound]:
            raise ProviderProblem(f"id_token: {', '.join(wrong)} is not right")

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(**self._network()) as client:
                answer = await client.get(url)
                answer.raise_for_status()
                document = answer.json()
        except (httpx2.HTTPError, ValueError) as problem:
            raise ProviderProblem(f"{url} gave no answer: {type(problem).__name__}") from problem
        if not isinstance(document, dict):
            raise ProviderProblem(f"{url} is no JSON object")
        return document

    def _client(self, metadata: Mapping[str, Any]) -> Any:
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        by_secret = [
            each for each in ("client_secret_basic", "client_secret_post") if each in methods
        ]
        method = (by_secret or ["client_secret_basic"])[0]
        return AsyncOAuth2Client(
            self.provider.client_id,
            self.provider.client_secret,
            token_endpoint_auth_method=method if self.provider.client_secret else "none",
            scope=self.provider.scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            **self._network(),
        )

    def _network(self) -> dict[str, Any]:
        return {"transport": self._transport, "timeout": _TIMEOUT_SECONDS, "trust_env": False}


def _signed(token: str, keys: KeySet, algorithms: tuple[str, ...]) -> Mapping[str, Any] | None:
    try:
        return jwt.decode(token, keys, list(algorithms)).claims
    except UNREADABLE:
        return None


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) and (parts.scheme == "https" or is_plain_local(parts))
