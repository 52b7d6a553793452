"""What is decided about an authorization request; pure (SMART App Launch 2.2, "Obtain
authorization code"; RFC 6749 section 4.1.1; RFC 7636)."""

import re
from dataclasses import asdict, dataclass

from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    UnauthorizedClientError,
    UnsupportedResponseTypeError,
)

from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.context import context_of
from fhir_server.security.authorization.launch import use_launch
from fhir_server.security.authorization.negotiate import in_words_of, negotiate_user_scopes
from fhir_server.security.authorization.openid_parameters import read_demands
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
from fhir_server.security.authorization.users import User
from fhir_server.security.scopes import parse_scopes
from fhir_server.storage.port import Record

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of one SHA-256
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
    for name in ("response_type", "state", "scope", "code_challenge"):
        if name not in parameters:
            raise InvalidRequestError(f"{name} is missing")
    if parameters["response_type"] != "code":
        raise UnsupportedResponseTypeError("other than code")
    _check_audience(parameters, audience)
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidRequestError("code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(parameters["code_challenge"]):
        raise InvalidRequestError("code_challenge is not a base64url SHA-256")
    if any(len(value) > _LONGEST for value in parameters.values()):
        raise InvalidRequestError("a parameter is too long")
    demands = read_demands(parameters)
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
        words=parameters["scope"],
        **demands,
    )
    return asked, handle


def _check_audience(parameters: Parameters, audience: str) -> None:
    """`resource` (RFC 8707) is a synonym of `aud`; what is given must be this FHIR server."""
    given = {name: parameters[name] for name in ("aud", "resource") if name in parameters}
    if not given:
        raise InvalidRequestError("aud is missing")
    for name, value in given.items():
        if value.rstrip("/") != audience:
            raise InvalidRequestError(f"{name} is not the FHIR server that this server protects")


def granted_scope(
    asked: AuthorizationRequest, client: Client, launch: Launch | None, *, user: User | None = None
) -> str:
    """The scopes that the request gets; InvalidScopeError when none. A `user` who is no FHIR
    resource gives no fhirUser."""
    context = context_of(asked, launch)
    found = {
        "launch": launch is not None,
        "launch/patient": context["patient"] is not None,
        "launch/encounter": context["encounter"] is not None,
        "fhirUser": user is None or user.fhir_user is not None,
    }
    absent = frozenset(name for name, is_there in found.items() if not is_there)
    granted = negotiate_user_scopes(asked.scope, client.scopes, absent=absent)
    return in_words_of(asked.words, granted)


def check_scope(asked: AuthorizationRequest, client: Client) -> None:
    """InvalidScopeError when no choice of the user's could make the request get anything."""
    negotiate_user_scopes(asked.scope, client.scopes, absent=frozenset())


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
    record, launch = allowed.launch or (None, None)
    grant = Grant(
        client_id=asked.client_id,
        user=allowed.user,
        scope=allowed.scope,
        signed_in=allowed.session.value["started"],
        session=None if is_offline else allowed.session.id,
        nonce=asked.nonce,
        **context_of(asked, launch),
    )
    effects = Effects() if record is None else use_launch(record)
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
