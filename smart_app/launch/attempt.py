"""The first half of a launch: remember the attempt, send the browser to the authorize endpoint."""

import base64
import hashlib
import secrets
from urllib.parse import urlencode

from smart_app.discovery import SmartConfiguration
from smart_app.issuers import Issuer
from smart_app.launch.foreign_scopes import foreign_scope
from smart_app.launch.scopes import chart_scope, standalone_scope
from smart_app.sessions import Attempt


def new_attempt(issuer: Issuer, binding: str, *, standalone: bool) -> Attempt:
    """A fresh attempt with its own state, nonce and PKCE verifier, bound to one browser."""
    return Attempt(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        fhir_base=issuer.fhir_base,
        binding=binding,
        standalone=standalone,
    )


def asked_scope(issuer: Issuer, configuration: SmartConfiguration, *, standalone: bool) -> str:
    """The scope parameter of a launch at this issuer."""
    if not issuer.is_own:
        return foreign_scope(issuer, configuration)
    return standalone_scope() if standalone else chart_scope()


def authorize_url(
    attempt: Attempt,
    issuer: Issuer,
    configuration: SmartConfiguration,
    *,
    redirect_uri: str,
    launch: str | None,
) -> str:
    """Where the browser goes to sign in; `launch` is the EHR's handle, None when standalone.
    `aud` is the FHIR server as it was registered, so no other server can be given the token."""
    digest = hashlib.sha256(attempt.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": redirect_uri,
        "scope": asked_scope(issuer, configuration, standalone=launch is None),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "aud": issuer.fhir_base,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if launch is not None:
        query["launch"] = launch
    join = "&" if "?" in configuration.authorize else "?"
    return f"{configuration.authorize}{join}{urlencode(query)}"
