"""What an app demands of the sign-in (OpenID Connect Core 1.0 section 3.1.2.1).

`prompt`, `max_age`, `login_hint` and `id_token_hint` do what they say. `display`, `ui_locales`,
`claims_locales` and `acr_values` may be left out of account by the standard, and are. What would
change the request and is not built is refused by name.
"""

import re
from typing import TypedDict

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from authlib.oidc.core.errors import (
    LoginRequiredError,
    RegistrationNotSupportedError,
    RequestNotSupportedError,
    RequestURINotSupportedError,
)

from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import AuthorizationRequest
from fhir_server.security.keys import IDENTITY_ALGORITHM, KeyRing
from fhir_server.security.tokens import UNREADABLE
from fhir_server.storage.port import Record

PROMPTS = ("none", "login", "consent", "select_account")
_SIGN_IN_PROMPTS = frozenset({"login", "select_account"})
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_NOT_BUILT: dict[str, type[OAuth2Error]] = {
    "request": RequestNotSupportedError,
    "request_uri": RequestURINotSupportedError,
    "registration": RegistrationNotSupportedError,
}


class Demands(TypedDict):
    """Fields of the AuthorizationRequest."""

    prompt: str | None
    max_age: int | None
    login_hint: str | None
    nonce: str | None


def read_demands(parameters: Parameters) -> Demands:
    """What the request demands; an OAuth2Error names what is malformed or not supported."""
    for name, refusal in _NOT_BUILT.items():
        if name in parameters:
            raise refusal(f"{name} is not supported")
    if "claims" in parameters:
        raise InvalidRequestError("claims is not supported")
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("response_mode must be query")
    prompts = parameters.get("prompt", "").split()
    if not set(prompts) <= set(PROMPTS):
        raise InvalidRequestError(f"prompt must be some of: {', '.join(PROMPTS)}")
    if "none" in prompts and len(prompts) > 1:
        raise InvalidRequestError("prompt can't be none and something else")
    max_age = parameters.get("max_age")
    if max_age is not None and not _SECONDS.fullmatch(max_age):
        raise InvalidRequestError("max_age must be a whole number of seconds")
    return Demands(
        prompt=" ".join(prompts) or None,
        max_age=None if max_age is None else int(max_age),
        login_hint=parameters.get("login_hint"),
        nonce=parameters.get("nonce"),
    )


async def hinted_user(parameters: Parameters, keys: KeyRing, issuer: str) -> str | None:
    """The user whom the `id_token_hint` is about; expired ones still say so. InvalidRequestError
    when it is not an id_token of this issuer."""
    hint = parameters.get("id_token_hint")
    if hint is None:
        return None
    try:
        claims = (await keys.read(hint, IDENTITY_ALGORITHM)).claims
    except UNREADABLE as problem:
        raise InvalidRequestError("id_token_hint is not an id_token of this server") from problem
    if claims.get("iss") != issuer or not isinstance(claims.get("sub"), str):
        raise InvalidRequestError("id_token_hint is not an id_token of this server")
    return str(claims["sub"])


def prompts_for(asked: AuthorizationRequest, prompt: str) -> bool:
    """Whether the app asked for this prompt."""
    return prompt in (asked.prompt or "").split()


def prompts_sign_in(asked: AuthorizationRequest) -> bool:
    """Whether the app wants the sign-in page to be shown."""
    return any(prompts_for(asked, each) for each in _SIGN_IN_PROMPTS)


def must_sign_in_again(asked: AuthorizationRequest, session: Record) -> bool:
    """Whether this session won't do: the app asked for a fresh sign-in, for a younger one, or
    for another user, and nobody has signed in since."""
    started = float(session.value["started"])
    if started >= asked.received:
        return False
    is_too_old = asked.max_age is not None and asked.received - started > asked.max_age
    is_foreign = asked.hinted_user not in (None, session.value["user"])
    return is_too_old or is_foreign or prompts_sign_in(asked)


def check_user(asked: AuthorizationRequest, session: Record) -> None:
    """LoginRequiredError when another user signed in than the one that the app named."""
    if asked.hinted_user not in (None, session.value["user"]):
        raise LoginRequiredError("another user signed in than the app named")
