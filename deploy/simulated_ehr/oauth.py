"""The simulated EHR as a client of the authorization server: sign-in, tokens, launches.

It is an ordinary confidential client (authorization code with PKCE, private_key_jwt), told apart
only by its registration, which allows it to create launches.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 60
_TIMEOUT_SECONDS = 10
SCOPES = "openid fhirUser online_access user/Patient.rs user/Encounter.rs user/DiagnosticReport.rs"


def private_key(jwk: Mapping[str, Any]) -> ECKey:
    """The EHR's key from its private JWK (EC P-384, with a kid)."""
    return ECKey.import_key(dict(jwk))


class Refused(Exception):
    """The server refused; the text is its reason."""


@dataclass(frozen=True)
class Tokens:
    """What the EHR holds for a signed-in clinician. `expires` is in seconds since 1970."""

    access: str
    refresh: str | None
    identity: str | None
    expires: float
    name: str


@dataclass(frozen=True)
class Server:
    """The authorization server seen from the EHR. `key` is the EHR's private P-384 key."""

    http: httpx.AsyncClient
    issuer: str
    fhir_base: str
    client_id: str
    key: ECKey
    clock: Callable[[], datetime]
    new_secret: Callable[[], str]

    def sign_in_url(self, redirect_uri: str, state: str, verifier: str) -> str:
        """Where the browser goes to sign in."""
        hashed = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "state": state,
            "aud": self.fhir_base,
            "code_challenge": base64.urlsafe_b64encode(hashed).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self.issuer}/authorize?{urlencode(asked)}"

    def sign_out_url(self, tokens: Tokens, back: str) -> str:
        """Where the browser goes to end the session and every app launched from it."""
        if tokens.identity is None:
            return back
        asked = {"id_token_hint": tokens.identity, "post_logout_redirect_uri": back}
        return f"{self.issuer}/logout?{urlencode(asked)}"

    async def redeem(self, code: str, redirect_uri: str, verifier: str) -> Tokens:
        """The tokens for a code; Refused when the server says no."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return self._tokens(await self._token(form), None)

    async def refreshed(self, tokens: Tokens) -> Tokens:
        """Tokens that are good for a while; the same ones if they still are."""
        if tokens.expires > self.clock().timestamp() + 60:
            return tokens
        if tokens.refresh is None:
            raise Refused("the sign-in has expired")
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh}
        return self._tokens(await self._token(form), tokens)

    async def launch(self, tokens: Tokens, context: Mapping[str, Any]) -> str:
        """The address that opens the app in the context (`client_id`, `patient` …)."""
        answer = await self._post(
            f"{self.issuer}/launch",
            json=dict(context),
            headers={"Authorization": f"Bearer {tokens.access}"},
        )
        return str(answer["launch_url"])

    async def fhir(self, tokens: Tokens, path: str, query: str = "") -> dict[str, Any]:
        """One resource or search result; Refused when the server says no."""
        try:
            answer = await self.http.get(
                f"{self.fhir_base}/{path}" + (f"?{query}" if query else ""),
                headers={
                    "Authorization": f"Bearer {tokens.access}",
                    "Accept": "application/fhir+json",
                },
                timeout=_TIMEOUT_SECONDS,
            )
        except httpx.HTTPError as problem:
            raise Refused("the FHIR server can't be reached") from problem
        if answer.status_code != 200:
            raise Refused(f"the FHIR server answered {answer.status_code} to {path}")
        return dict(answer.json())

    async def _token(self, form: Mapping[str, str]) -> dict[str, Any]:
        assertion = self._assertion()
        proof = {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        return await self._post(f"{self.issuer}/token", data={**form, **proof})

    async def _post(self, url: str, **content: Any) -> dict[str, Any]:
        try:
            answer = await self.http.post(url, timeout=_TIMEOUT_SECONDS, **content)
            body = dict(answer.json())
        except (httpx.HTTPError, ValueError) as problem:
            raise Refused("the authorization server can't be reached") from problem
        if answer.status_code >= 400:
            raise Refused(str(body.get("error_description") or body.get("error")))
        return body

    def _assertion(self) -> str:
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{self.issuer}/token",
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
            "jti": self.new_secret(),
        }
        header = {"alg": "ES384", "kid": self.key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, self.key, ["ES384"])

    def _tokens(self, answer: Mapping[str, Any], before: Tokens | None) -> Tokens:
        identity = answer.get("id_token") or (before.identity if before else None)
        return Tokens(
            access=answer["access_token"],
            refresh=answer.get("refresh_token"),
            identity=identity,
            expires=self.clock().timestamp() + float(answer["expires_in"]),
            name=before.name if before else _name_in(identity),
        )


def _name_in(id_token: str | None) -> str:
    """The display name. The token came straight from the server that made it, so it is read
    without a second check of its signature (OpenID Connect Core section 3.1.3.7, rule 6)."""
    if id_token is None:
        return ""
    payload = id_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims.get("name", claims.get("sub", "")))
