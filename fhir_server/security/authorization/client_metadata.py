"""Clients as RFC 7591 describes them: metadata in JSON, read strictly and written back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from fhir_server.security.authorization.clients import (
    ASSERTION_ALGORITHMS,
    BadRegistration,
    Client,
    check_client,
)
from fhir_server.security.keys import IDENTITY_ALGORITHM
from fhir_server.security.scopes import parse_scopes

METHODS = ("private_key_jwt", "client_secret_basic", "none")
_MOST_ENTRIES, _LONGEST_NAME, _LONGEST = 20, 200, 4096
UNSUPPORTED = frozenset(
    (
        *("software_statement", "request_uris", "request_object_signing_alg"),
        *("sector_identifier_uri", "userinfo_signed_response_alg", "default_acr_values"),
        *("id_token_encrypted_response_alg", "userinfo_encrypted_response_alg"),
        *("backchannel_logout_uri", "frontchannel_logout_uri", "default_max_age"),
        *("tls_client_certificate_bound_access_tokens", "dpop_bound_access_tokens"),
        *("require_pushed_authorization_requests", "require_signed_request_object"),
    )
)
"""What asks for something that this server does not do: refused, not ignored."""
CHOSEN_HERE = frozenset(
    {"client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at"}
    | {"registration_access_token", "registration_client_uri"}
)


class Metadata(msgspec.Struct):
    """What this server knows of a client's metadata, with the defaults of RFC 7591."""

    client_name: str = ""
    scope: str = ""
    grant_types: tuple[str, ...] = ("authorization_code",)
    response_types: tuple[str, ...] = ("code",)
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    initiate_login_uri: str | None = None
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105 - the name of a method
    token_endpoint_auth_signing_alg: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    contacts: tuple[str, ...] = ()
    client_uri: str | None = None
    id_token_signed_response_alg: str = IDENTITY_ALGORITHM
    subject_type: str = "public"


OWN_FIELDS = (
    *("name", "scopes", "grant_types", "redirect_uris", "post_logout_redirect_uris"),
    *("launch_uri", "jwks", "jwks_uri", "signing_alg", "secrets", "contacts", "client_uri"),
)
"""The fields of a Client that metadata decides; all others are an administrator's."""
KNOWN = frozenset(Metadata.__struct_fields__)


def client_from_metadata(
    client_id: str, metadata: Mapping[str, Any], *, secrets: tuple[str, ...] = ()
) -> Client:
    """A client from metadata, as an administrator gives it: unknown members are refused too.
    BadRegistration names what is wrong. `secrets` are the digests of a client_secret_basic
    client's secrets."""
    if unknown := set(metadata) - KNOWN:
        raise BadRegistration(f"not supported: {', '.join(sorted(unknown))}")
    return read_metadata(client_id, metadata, secrets=secrets)


def read_metadata(
    client_id: str, metadata: Mapping[str, Any], *, secrets: tuple[str, ...] = ()
) -> Client:
    """A client from the metadata that it sends itself. What this server doesn't know is left
    out, as RFC 7591 section 2 asks; what it knows and can't do is refused by name."""
    if refused := set(metadata) & (UNSUPPORTED | CHOSEN_HERE):
        raise BadRegistration(f"not supported: {', '.join(sorted(refused))}")
    try:
        read = msgspec.convert(dict(metadata), Metadata)
    except msgspec.ValidationError as problem:
        raise BadRegistration(str(problem)) from problem
    for check in (_check_sizes, _check_words, _check_method):
        check(read)
    client = Client(
        id=client_id,
        name=read.client_name,
        scopes=read.scope,
        grant_types=frozenset(read.grant_types),
        redirect_uris=read.redirect_uris,
        launch_uri=read.initiate_login_uri,
        post_logout_redirect_uris=read.post_logout_redirect_uris,
        jwks=read.jwks,
        jwks_uri=read.jwks_uri,
        signing_alg=read.token_endpoint_auth_signing_alg,
        contacts=read.contacts,
        client_uri=read.client_uri,
    )
    if read.token_endpoint_auth_method == "client_secret_basic":  # noqa: S105
        client = replace(client, secrets=secrets)
    check_client(client)
    return client


def metadata_of(client: Client) -> dict[str, Any]:
    """What is registered, as metadata: without secrets, and without what is not there."""
    members = {
        "client_name": client.name,
        "scope": client.scopes,
        "grant_types": sorted(client.grant_types),
        "response_types": ["code"] if "authorization_code" in client.grant_types else [],
        "redirect_uris": list(client.redirect_uris),
        "post_logout_redirect_uris": list(client.post_logout_redirect_uris),
        "initiate_login_uri": client.launch_uri,
        "token_endpoint_auth_method": client.method,
        "token_endpoint_auth_signing_alg": client.signing_alg,
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
        "contacts": list(client.contacts),
        "client_uri": client.client_uri,
    }
    kept = {name: value for name, value in members.items() if value not in (None, [])}
    return {**kept, "response_types": members["response_types"]}


def _check_sizes(read: Metadata) -> None:
    names = (read.client_name, *read.contacts)
    if any(len(name) > _LONGEST_NAME or not name.isprintable() for name in names):
        raise BadRegistration(f"client_name, contacts: {_LONGEST_NAME} printable characters each")
    uris = (*read.redirect_uris, *read.post_logout_redirect_uris)
    singles = (read.scope, read.initiate_login_uri, read.jwks_uri, read.client_uri)
    for name, listed in (("redirect_uris", uris), ("contacts", read.contacts)):
        if len(listed) > _MOST_ENTRIES:
            raise BadRegistration(f"{name}: more than {_MOST_ENTRIES} entries")
    if any(len(text) > _LONGEST for text in (*uris, *(one or "" for one in singles))):
        raise BadRegistration(f"an address or scope has more than {_LONGEST} characters")


def _check_words(read: Metadata) -> None:
    scopes = parse_scopes(read.scope)
    if scopes.refused:
        first = scopes.refused[0]
        raise BadRegistration(f"scope: {first.text}: {first.reason}")
    if not scopes.resources and not scopes.contexts:
        raise BadRegistration("scope: name the scopes that the client may ask for")
    if set(read.response_types) - {"code"}:
        raise BadRegistration("response_types: code is the only one")
    if "refresh_token" in read.grant_types and "authorization_code" not in read.grant_types:
        raise BadRegistration("grant_types: refresh_token comes with authorization_code alone")
    if read.id_token_signed_response_alg != IDENTITY_ALGORITHM:
        raise BadRegistration("id_token_signed_response_alg: RS256 is the only one")
    if read.subject_type != "public":
        raise BadRegistration("subject_type: public is the only one")


def _check_method(read: Metadata) -> None:
    method, has_keys = read.token_endpoint_auth_method, bool(read.jwks or read.jwks_uri)
    if method not in METHODS:
        raise BadRegistration(f"token_endpoint_auth_method: one of {', '.join(METHODS)}")
    if has_keys != (method == "private_key_jwt"):
        raise BadRegistration(
            "token_endpoint_auth_method: private_key_jwt with a jwks or jwks_uri, and no other"
        )
    algorithm = read.token_endpoint_auth_signing_alg
    if algorithm is not None and not (has_keys and algorithm in ASSERTION_ALGORITHMS):
        raise BadRegistration("token_endpoint_auth_signing_alg: RS384 or ES384, with a key")
