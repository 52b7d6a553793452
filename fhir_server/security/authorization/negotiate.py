"""Which of the requested scopes are granted (SMART App Launch 2.2, "Scopes and launch context").

What the client was registered for, met with what it asks for: an app may be given less than it
asked for, and is told so in the token response.
"""

from dataclasses import replace

from authlib.oauth2.rfc6749.errors import InvalidScopeError

from fhir_server.security.scopes import (
    V1_ENDINGS,
    Scopes,
    parse_scope,
    parse_scopes,
)

_V1_ENDINGS = tuple(f".{ending}" for ending in V1_ENDINGS)

_EXTENSIONS = ("launch/", "http://", "https://", "__")
"""How scopes begin that SMART leaves to servers to support or to ignore."""


def negotiate_user_scopes(requested: str, registered: str, *, absent: frozenset[str]) -> str:
    """The granted scope string of a user's authorization. `absent` are the contexts that there
    are none of; without `launch/patient`, patient/ scopes are left out too. InvalidScopeError
    when a resource scope is malformed or nothing is left."""
    met = requested_of_registered(requested, registered)
    levels = {"user"} if "launch/patient" in absent else {"user", "patient"}
    resources = tuple(scope for scope in met.resources if scope.level in levels)
    granted = replace(met, resources=resources, contexts=met.contexts - absent)
    if not granted.resources and not granted.contexts & {"openid", "fhirUser", "profile"}:
        raise InvalidScopeError("this client is not registered for any of the scopes")
    return str(granted)


def requested_of_registered(requested: str, registered: str) -> Scopes:
    """What a client asks for, as far as it was registered for that. InvalidScopeError when a
    resource scope is malformed."""
    return parse_scopes(registered).meet(_parse(requested))


def negotiate_system_scopes(requested: str, registered: str) -> str:
    """The granted scope string of a backend service: `system/` scopes alone. InvalidScopeError
    when one is malformed, of another kind, or beyond what was registered."""
    asked = _parse(requested)
    if asked.contexts or any(scope.level != "system" for scope in asked.resources):
        raise InvalidScopeError("a backend service may ask for system/ scopes alone")
    if not asked.resources:
        raise InvalidScopeError("scope is missing")
    met = parse_scopes(registered).meet(asked)
    if not met.resources:
        raise InvalidScopeError("this client is not registered for any of the scopes")
    return in_words_of(requested, str(met))


def narrow_scopes(requested: str | None, granted: str) -> str:
    """The scopes of a refreshed token: the same, or the subset asked for. InvalidScopeError when
    it asks for more than was granted."""
    if not requested:
        return granted
    asked = _parse(requested)
    if not parse_scopes(granted).contains(asked):
        raise InvalidScopeError("a refresh can't ask for more than was granted")
    if not asked.resources and not asked.contexts:
        raise InvalidScopeError("no scope is left")
    return in_words_of(requested, str(asked))


def in_words_of(requested: str, granted: str) -> str:
    """The granted scopes; those that were asked for in v1 words and are granted whole in those
    words, as SMART recommends."""
    v1 = (word for word in requested.split() if word.endswith(_V1_ENDINGS))
    words = {str(parse_scope(word)): word for word in v1}
    return " ".join(words.get(word, word) for word in granted.split())


def _parse(requested: str) -> Scopes:
    scopes = parse_scopes(requested)
    for refused in scopes.refused:
        # Other words may be another profile's scopes, and launch/… are hints: not granted.
        if "/" in refused.text and not refused.text.startswith(_EXTENSIONS):
            raise InvalidScopeError(_ascii(f"{refused.text}: {refused.reason}"))
    return scopes


def _ascii(text: str) -> str:
    """RFC 6749 lets an error_description have printable ASCII without quote and backslash."""
    kept = text.replace('"', "'").replace("\\", "/")
    return "".join(c if " " <= c <= "~" else "?" for c in kept)
