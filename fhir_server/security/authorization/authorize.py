"""What is decided about an authorization request; pure (SMART App Launch 2.2, "Obtain
authorization code"; RFC 6749 section 4.1.1; RFC 7636)."""

import re
from dataclasses import asdict, dataclass, replace

from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    UnauthorizedClientError,
    UnsupportedResponseTypeError,
)

from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.launch import use_launch
from fhir_server.security.authorization.negotiate import negotiate_user_scopes
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    Code,
    Effects,
    Grant,
    Launch,
    expiry_of,
    insert,
)
from fhir_server.security.scopes import parse_scopes
from fhir_server.storage.port import Record

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of one SHA-256
_PROMPTS = frozenset({"none", "login"})
_LONGEST = 4096


@dataclass(frozen=True)
class Lifetimes:
    """How long things live, in seconds. `offline` is the life of a grant that outlives its
    session, `request` that of a request that waits for sign-in or consent, `emergency` the
    longest emergency access."""

    session: int = 7200
    access_token: int = 3600
    backend_token: int = 300
    code: int = 60
    launch: int = 60
    request: int = 600
    offline: int = 30 * 24 * 3600
    emergency: int = 3600


@dataclass(frozen=True)
class Secrets:
    """Fresh random strings for what a decision may make."""

    code: str
    code_id: str
    grant_id: str


def is_redirect_registered(client: Client, redirect_uri: str | None) -> bool:
    """Whether the redirect URI is one of the client's, compared character by character."""
    return redirect_uri is not None and redirect_uri in client.redirect_uris


def read_request(
    parameters: Parameters, client: Client, *, audience: str, now: float, binding: str
) -> tuple[AuthorizationRequest, str | None]:
    """The request, and its `launch` handle if it is an EHR launch. The client and the redirect
    URI have been checked before. Raises an OAuth2Error to send back by redirect."""
    if "authorization_code" not in client.grant_types:
        raise UnauthorizedClientError("the client is not registered for this grant")
    for name in ("response_type", "state", "scope", "aud", "code_challenge"):
        if name not in parameters:
            raise InvalidRequestError(f"{name} is missing")
    if parameters["response_type"] != "code":
        raise UnsupportedResponseTypeError("other than code")
    if parameters["aud"].rstrip("/") != audience:
        raise InvalidRequestError("aud is not the FHIR server that this server protects")
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidRequestError("code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(parameters["code_challenge"]):
        raise InvalidRequestError("code_challenge is not a base64url SHA-256")
    if any(len(value) > _LONGEST for value in parameters.values()):
        raise InvalidRequestError("a parameter is too long")
    if parameters.get("prompt", "login") not in _PROMPTS:
        raise InvalidRequestError("prompt must be none or login")
    if "request" in parameters or "request_uri" in parameters:
        raise InvalidRequestError("request objects are not supported")
    handle = parameters.get("launch")
    if handle and "launch" not in parse_scopes(parameters["scope"]).contexts:
        raise InvalidRequestError("the launch parameter needs the launch scope")
    asked = AuthorizationRequest(
        client_id=client.id,
        redirect_uri=parameters["redirect_uri"],
        state=parameters["state"],
        scope=parameters["scope"],
        challenge=parameters["code_challenge"],
        received=now,
        binding=binding,
        nonce=parameters.get("nonce"),
        prompt=parameters.get("prompt"),
    )
    return asked, handle


def granted_scope(asked: AuthorizationRequest, client: Client, launch: Launch | None) -> str:
    """The scopes that the request gets; InvalidScopeError when none."""
    return negotiate_user_scopes(
        asked.scope,
        client.scopes,
        patient=launch.patient if launch else None,
        encounter=launch.encounter if launch else None,
    )


@dataclass(frozen=True)
class Authorization:
    """Everything an allowed request becomes a code from. `session` is the session's record;
    `launch` the launch's record and value."""

    asked: AuthorizationRequest
    scope: str
    user: str
    session: Record
    launch: tuple[Record, Launch] | None = None


def issue_code(
    allowed: Authorization, secrets: Secrets, lifetimes: Lifetimes, now: float
) -> Effects:
    """The code's record, and the launch used up. The grant that the code turns into ends with
    the session, unless offline_access was granted."""
    asked = allowed.asked
    contexts = parse_scopes(allowed.scope).contexts
    is_offline = "offline_access" in contexts
    session_ends = expiry_of(allowed.session)
    grant = Grant(
        client_id=asked.client_id,
        user=allowed.user,
        scope=allowed.scope,
        signed_in=allowed.session.value["started"],
        session=None if is_offline else allowed.session.id,
        nonce=asked.nonce,
    )
    effects = Effects()
    if allowed.launch is not None:
        record, launch = allowed.launch
        grant = replace(
            grant,
            patient=launch.patient,
            encounter=launch.encounter,
            need_patient_banner=launch.need_patient_banner,
        )
        effects = use_launch(record)
    code = Code(
        redirect_uri=asked.redirect_uri,
        challenge=asked.challenge,
        until=now + lifetimes.code,
        session=allowed.session.id,
        grant_id=secrets.grant_id,
        grant=asdict(grant),
    )
    ends = now + lifetimes.offline if is_offline else session_ends
    return effects + insert(code, secrets.code_id, ends)
