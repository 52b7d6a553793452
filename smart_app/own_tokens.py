"""Tokens of the app itself (client credentials), one for each scope, kept until shortly before
they expire."""

from collections.abc import Callable
from datetime import datetime

import httpx

from smart_app.discovery import IssuerUnreachable, SmartConfiguration
from smart_app.fhir_client import FhirFailure
from smart_app.issuers import Issuer
from smart_app.launch.exchange import TokenEndpoint, TokenRefused, life_seconds

EARLY_SECONDS = 60.0
MOST_TOKENS = 2000


class OwnTokens:
    """The app's own tokens at any issuer."""

    def __init__(self, http: httpx.AsyncClient, clock: Callable[[], datetime]) -> None:
        self._http = http
        self._clock = clock
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    async def token(self, issuer: Issuer, configuration: SmartConfiguration, scope: str) -> str:
        """A token that is good for a minute or more; TokenRefused or IssuerUnreachable when there
        is none."""
        now = self._clock()
        key = (issuer.fhir_base, scope)
        expires, token = self._tokens.get(key, (0.0, ""))
        if expires - EARLY_SECONDS < now.timestamp():
            endpoint = TokenEndpoint(self._http, issuer, configuration)
            answer = await endpoint.by_own_credentials(scope, now)
            token = str(answer["access_token"])
            expires = now.timestamp() + life_seconds(answer)
            self._drop_expired(now.timestamp())
            self._tokens[key] = (expires, token)
        return token

    def _drop_expired(self, now: float) -> None:
        alive = {key: kept for key, kept in self._tokens.items() if kept[0] > now}
        self._tokens = alive if len(alive) < MOST_TOKENS else {}


async def or_failure(
    tokens: OwnTokens, issuer: Issuer, configuration: SmartConfiguration, scope: str
) -> str:
    """The token for a FHIR client, whose callers expect failures of FHIR alone."""
    try:
        return await tokens.token(issuer, configuration, scope)
    except IssuerUnreachable as error:
        raise FhirFailure(0) from error
    except TokenRefused as error:
        raise FhirFailure(403, ((f"no permission: {error.error}", ""),)) from error
