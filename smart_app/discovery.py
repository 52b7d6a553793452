"""SMART App Launch, "Conformance": what an issuer's `.well-known/smart-configuration` says."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

TIMEOUT_SECONDS = 10.0


class IssuerUnreachable(Exception):
    """The issuer did not answer, or not with a usable SMART configuration."""


@dataclass(frozen=True)
class SmartConfiguration:
    """The endpoints that the app uses."""

    issuer: str
    authorize: str
    token: str
    jwks: str
    revoke: str | None
    end_session: str | None

    @property
    def authorize_origin(self) -> str:
        """Scheme, host and port of the authorization endpoint, for `form-action`."""
        parts = urlsplit(self.authorize)
        return f"{parts.scheme}://{parts.netloc}"


async def discover(http: httpx.AsyncClient, fhir_base: str) -> SmartConfiguration:
    """Fetch and check the configuration of the FHIR server at `fhir_base`."""
    url = f"{fhir_base.rstrip('/')}/.well-known/smart-configuration"
    found = await fetch_json(http, url)
    missing = {"authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"} - found.keys()
    if missing:
        raise IssuerUnreachable(f"its SMART configuration has no {', '.join(sorted(missing))}")
    if "S256" not in found.get("code_challenge_methods_supported", ()):
        raise IssuerUnreachable("its SMART configuration does not offer PKCE with S256")
    return SmartConfiguration(
        issuer=found["issuer"],
        authorize=found["authorization_endpoint"],
        token=found["token_endpoint"],
        jwks=found["jwks_uri"],
        revoke=found.get("revocation_endpoint"),
        end_session=found.get("end_session_endpoint") or await _end_session(http, found["issuer"]),
    )


async def _end_session(http: httpx.AsyncClient, issuer: str) -> str | None:
    """OpenID Connect RP-Initiated Logout: announced in the OpenID configuration, where at all."""
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        return (await fetch_json(http, url)).get("end_session_endpoint")
    except IssuerUnreachable:
        return None


async def fetch_json(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """GET a JSON object, IssuerUnreachable when there is none."""
    try:
        answer = await http.get(
            url, headers={"accept": "application/json"}, timeout=TIMEOUT_SECONDS
        )
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise IssuerUnreachable(f"{url} could not be read") from error
    if not isinstance(found, dict):
        raise IssuerUnreachable(f"{url} is not a JSON object")
    return found
