"""What is decided about a token request; pure (RFC 6749 sections 4.1.3, 4.4.2 and 6; SMART App
Launch 2.2, "Obtain access token", "Refresh access token" and "Backend services").

A refusal may have effects too: a code or refresh token that comes a second time has been stolen
or is being raced for, and ends everything that was made from it.
"""

import hmac
import re
from dataclasses import dataclass, replace

from authlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidRequestError,
    OAuth2Error,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.negotiate import narrow_scopes, negotiate_system_scopes
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import (
    Code,
    Effects,
    Grant,
    RefreshToken,
    Session,
    delete,
    expiry_of,
    insert,
    replace_value,
    value_of,
)
from fhir_server.security.authorization.users import User, user_from
from fhir_server.security.scopes import parse_scopes
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record

NO_EFFECTS = Effects()
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


@dataclass(frozen=True)
class Tokens:
    """What the client is given. `grant` and `user` are None for a backend service; `grant_ends`
    bounds the access token; `refresh_token` is the new one, if any."""

    client: Client
    scope: str
    seconds: int
    user: User | None = None
    grant_id: str | None = None
    grant: Grant | None = None
    refresh_token: str | None = None
    is_first: bool = False


@dataclass(frozen=True)
class Decision:
    """Tokens, or the refusal; and what changes either way."""

    outcome: Tokens | OAuth2Error
    effects: Effects = NO_EFFECTS


@dataclass(frozen=True)
class Moment:
    """The injected now and the fresh refresh token with its record id."""

    now: float
    refresh_token: str
    refresh_id: str
    lifetimes: Lifetimes


@dataclass(frozen=True)
class Loaded:
    """The records that a request names, as they are in this unit; None where there is none."""

    presented: Record | None
    grant: Record | None = None
    session: Record | None = None
    user: Record | None = None


def redeem_code(
    parameters: Parameters, client: Client, loaded: Loaded, *, moment: Moment
) -> Decision:
    """Exchange an authorization code; a used one ends what was made from it."""
    record = loaded.presented
    code = None if record is None else value_of(Code, record)
    if record is None or code is None or code.grant["client_id"] != client.id:
        return _refused("the code is unknown or has expired")
    if code.is_used:
        return _refused("the code was already used", delete(Grant.KIND, code.grant_id))
    if code.until <= moment.now:
        return _refused("the code is unknown or has expired")
    if parameters.get("redirect_uri") != code.redirect_uri:
        return _refused("redirect_uri is not that of the authorization request")
    if not _verifies(parameters.get("code_verifier"), code.challenge):
        return _refused("code_verifier is missing or does not match")
    if loaded.session is None or loaded.user is None:
        return _refused("the session has ended")
    if not _serves(client, loaded.user):
        return _refused("the app is another tenant's")
    grant = Grant(**code.grant)
    effects = replace_value(record, replace(code, is_used=True))
    effects += insert(grant, code.grant_id, expiry_of(record))
    if grant.session is not None:
        session = value_of(Session, loaded.session)
        joined = replace(session, grants=(*session.grants, code.grant_id))
        effects += replace_value(loaded.session, joined)
    ends = expiry_of(record)
    user = user_from(loaded.user)
    tokens = Tokens(client, grant.scope, _seconds(ends, moment), user, code.grant_id, grant)
    return _with_refresh(replace(tokens, is_first=True), effects, ends, moment)


def refresh(parameters: Parameters, client: Client, loaded: Loaded, *, moment: Moment) -> Decision:
    """Exchange a refresh token for new tokens; a used one revokes its family."""
    record = loaded.presented
    presented = None if record is None else value_of(RefreshToken, record)
    if record is None or presented is None or presented.client_id != client.id:
        return _refused("the refresh token is unknown or has expired")
    if presented.is_used:
        return _refused(
            "the refresh token was already used; its whole family is revoked",
            delete(Grant.KIND, presented.grant_id),
        )
    if loaded.grant is None or loaded.user is None:
        return _refused("the grant was revoked or its session has ended")
    if not _serves(client, loaded.user):
        return _refused("the app is another tenant's")
    grant = value_of(Grant, loaded.grant)
    ends = expiry_of(loaded.grant)
    try:
        scope = narrow_scopes(parameters.get("scope"), grant.scope)
    except OAuth2Error as refusal:
        return Decision(refusal)
    effects = replace_value(record, replace(presented, is_used=True))
    user = user_from(loaded.user)
    tokens = Tokens(client, scope, _seconds(ends, moment), user, presented.grant_id, grant)
    return _with_refresh(tokens, effects, ends, moment)


def client_credentials(parameters: Parameters, client: Client, *, moment: Moment) -> Decision:
    """A short-lived token for a backend service, without refresh."""
    try:
        scope = negotiate_system_scopes(parameters.get("scope", ""), client.scopes)
    except OAuth2Error as refusal:
        return Decision(refusal)
    return Decision(Tokens(client, scope, moment.lifetimes.backend_token))


def check_grant_type(parameters: Parameters, client: Client) -> None:
    """UnauthorizedClientError when the client is not registered for the grant;
    InvalidRequestError when what the grant needs is missing."""
    grant_type = parameters["grant_type"]
    if grant_type not in client.grant_types:
        raise UnauthorizedClientError("the client is not registered for this grant")
    needed = {"authorization_code": "code", "refresh_token": "refresh_token"}.get(grant_type)
    if needed is not None and needed not in parameters:
        raise InvalidRequestError(f"{needed} is missing")


def _seconds(ends: float, moment: Moment) -> int:
    return min(moment.lifetimes.access_token, int(ends - moment.now))


def _with_refresh(tokens: Tokens, effects: Effects, ends: float, moment: Moment) -> Decision:
    grant = tokens.grant
    if grant is None or tokens.grant_id is None or "refresh_token" not in tokens.client.grant_types:
        return Decision(tokens, effects)
    if not parse_scopes(grant.scope).contexts & {"offline_access", "online_access"}:
        return Decision(tokens, effects)
    fresh = RefreshToken(tokens.client.id, tokens.grant_id)
    effects += insert(fresh, moment.refresh_id, ends)
    return Decision(replace(tokens, refresh_token=moment.refresh_token), effects)


def _serves(client: Client, user: Record) -> bool:
    """Whether the client may act for a user of that tenant."""
    return client.tenant in (DEFAULT, user_from(user).tenant)


def _verifies(verifier: str | None, challenge: str) -> bool:
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        return False
    return hmac.compare_digest(create_s256_code_challenge(verifier), challenge)


def _refused(text: str, effects: Effects = NO_EFFECTS) -> Decision:
    return Decision(InvalidGrantError(text), effects)
