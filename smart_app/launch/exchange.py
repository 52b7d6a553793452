"""The token endpoint: code for tokens, refresh, revocation, as the client that was registered."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from smart_app.answers import bounded
from smart_app.discovery import (
    TIMEOUT_SECONDS,
    IssuerUnreachable,
    SmartConfiguration,
    fetch_json,
    is_safe,
)
from smart_app.issuers import Issuer
from smart_app.launch.keys import (
    BadIdentity,
    Unprovable,
    claimed_issuer,
    client_assertion,
    verified_identity,
)
from smart_app.sessions import Attempt, Grant

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
UNKNOWN_LIFE_SECONDS = 300.0


class TokenRefused(Exception):
    """The token endpoint said no; `error` is its RFC 6749 error code."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class TokenEndpoint:
    """One issuer's token endpoint as this client sees it."""

    http: httpx.AsyncClient
    issuer: Issuer
    configuration: SmartConfiguration

    async def redeem(self, code: str, verifier: str, redirect_uri: str, now: datetime) -> Any:
        """Exchange an authorization code; the token response as the endpoint gave it."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await self._ask(form, now)

    async def refresh(self, grant: Grant, now: datetime) -> Grant:
        """The grant with fresh tokens; TokenRefused when it can't be refreshed any more."""
        if grant.refresh_token is None:
            raise TokenRefused("invalid_grant")
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        return grant_from(await self._ask(form, now), grant.id, grant.fhir_base, now=now, old=grant)

    async def by_own_credentials(self, scope: str, now: datetime) -> Any:
        """The token response for what the app does in its own name."""
        return await self._ask({"grant_type": "client_credentials", "scope": scope}, now)

    async def end(self, grant: Grant, now: datetime, *, session_too: bool) -> None:
        """Tell the issuer that the grant ended, and with `session_too` that the user signed out
        there as well. Whether it listens changes nothing here."""
        token = grant.refresh_token or grant.access_token
        headers, proof = self._proof(now)
        calls = [(self.configuration.revoke, {"token": token, **proof})]
        if session_too and grant.id_token is not None:
            calls.append((self.configuration.end_session, {"id_token_hint": grant.id_token}))
        for url, form in calls:
            if url is None:
                continue
            try:
                await bounded(
                    self.http, "POST", url, seconds=TIMEOUT_SECONDS, data=form, headers=headers
                )
                # The proof of who we are is for the first call alone.
                headers = {}
            except httpx.HTTPError:
                continue

    def _proof(self, now: datetime) -> tuple[dict[str, str], dict[str, str]]:
        """What shows who we are: request headers, and members of the form."""
        issuer, client = self.issuer, {"client_id": self.issuer.client_id}
        if issuer.private_jwk is not None:
            assertion = client_assertion(
                issuer.client_id, issuer.private_jwk, audience=self.configuration.token, now=now
            )
            return {}, {
                **client,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": assertion,
            }
        if issuer.secret is None:
            return {}, client
        methods = self.configuration.methods
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            return {}, {**client, "client_secret": issuer.secret}
        # RFC 6749 section 2.3.1: both parts form-encoded before they are joined.
        pair = httpx.BasicAuth(quote(issuer.client_id, safe=""), quote(issuer.secret, safe=""))
        request = next(pair.auth_flow(httpx.Request("POST", self.configuration.token)))
        return {"authorization": request.headers["authorization"]}, {}

    async def _ask(self, form: dict[str, str], now: datetime) -> dict[str, Any]:
        headers, proof = self._proof(now)
        try:
            answer = await bounded(
                self.http,
                "POST",
                self.configuration.token,
                seconds=TIMEOUT_SECONDS,
                data={**form, **proof},
                headers={"accept": "application/json", **headers},
            )
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise IssuerUnreachable("its token endpoint did not answer") from error
        if answer.status_code >= 500 or not isinstance(found, dict):
            raise IssuerUnreachable("its token endpoint is not working")
        if answer.status_code != 200:
            raise TokenRefused(str(found.get("error", "invalid_request")))
        token = found.get("access_token")
        is_bearer = str(found.get("token_type", "")).lower() == "bearer"
        if not isinstance(token, str) or not token or not is_bearer:
            raise TokenRefused("invalid_token_response")
        return found

    async def identity(self, answer: dict[str, Any], attempt: Attempt, now: datetime) -> Any:
        """The verified claims of the id_token in a token response."""
        if "id_token" not in answer:
            raise BadIdentity("it is not there")
        issuer, jwks = await self._keys(answer["id_token"])
        return verified_identity(
            answer["id_token"],
            await fetch_json(self.http, jwks),
            expected={
                "iss": issuer,
                "aud": self.issuer.client_id,
                "nonce": attempt.nonce,
            },
            now=now,
        )

    async def _keys(self, id_token: object) -> tuple[str, str]:
        """The issuer to expect, and where its keys are. A server that announces neither says in
        the id_token who it is (SMART App Launch, "Scopes for requesting identity information"):
        the token came from its own token endpoint, so it is the one to say."""
        found = self.configuration
        if found.issuer is not None and found.jwks is not None:
            return found.issuer, found.jwks
        claimed = claimed_issuer(id_token)
        if found.issuer not in {None, claimed} or not is_safe(claimed, self.issuer.fhir_base):
            raise Unprovable("its server announces no keys")
        url = f"{claimed.rstrip('/')}/.well-known/openid-configuration"
        try:
            announced = await fetch_json(self.http, url)
        except IssuerUnreachable as error:
            raise Unprovable("its issuer announces no keys") from error
        jwks = announced.get("jwks_uri")
        is_same = announced.get("issuer") == claimed
        if not is_same or not isinstance(jwks, str) or not is_safe(jwks, self.issuer.fhir_base):
            raise Unprovable("its issuer announces no keys")
        return claimed, jwks


def life_seconds(answer: dict[str, Any]) -> float:
    """For how long a token response is good; some servers say it as a string, or not at all."""
    try:
        seconds = float(answer.get("expires_in", UNKNOWN_LIFE_SECONDS))
    except (TypeError, ValueError):
        return UNKNOWN_LIFE_SECONDS
    return seconds if math.isfinite(seconds) and seconds > 0 else UNKNOWN_LIFE_SECONDS


def grant_from(
    answer: dict[str, Any],
    grant_id: str,
    fhir_base: str,
    *,
    now: datetime,
    old: Grant | None = None,
) -> Grant:
    """A token response as a Grant; what a refresh leaves out stays as it was in `old`."""
    refresh_token = answer.get("refresh_token") or (old.refresh_token if old else None)
    return Grant(
        id=grant_id,
        fhir_base=fhir_base,
        access_token=answer["access_token"],
        expires_at=now.timestamp() + life_seconds(answer),
        refresh_token=refresh_token,
        scope=answer.get("scope") or (old.scope if old else ""),
        id_token=answer.get("id_token") or (old.id_token if old else None),
    )
