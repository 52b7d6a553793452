"""Registered OAuth clients: apps, backend services and EHRs (RFC 7591 names where it has one)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record, Transaction

KIND = "client"
GRANT_TYPES = frozenset({"authorization_code", "refresh_token", "client_credentials"})
ASSERTION_ALGORITHMS = ("RS384", "ES384")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class BadRegistration(ValueError):
    """A client can't be registered as given; the text says which member is wrong."""


@dataclass(frozen=True)
class Client:
    """What was registered. `scopes` is the most that may be granted; `jwks` holds the public keys
    for private_key_jwt, None marks a public client. `frame_origins` are the EHR origins that may
    frame its launch. `is_preapproved` (first party) skips the consent page. `is_ehr` may create
    launches, which sign its own signed-in user in to the launched app. A client of a `tenant`
    serves that tenant's users alone, one of the default tenant everybody."""

    id: str
    name: str
    scopes: str
    grant_types: frozenset[str] = frozenset({"authorization_code", "refresh_token"})
    redirect_uris: tuple[str, ...] = ()
    launch_uri: str | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    frame_origins: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    is_preapproved: bool = False
    is_ehr: bool = False
    tenant: str = DEFAULT

    @property
    def is_public(self) -> bool:
        return self.jwks is None

    @property
    def origins(self) -> frozenset[str]:
        """The web origins that its redirect URIs live on (for CORS)."""
        return frozenset(origin_of(uri) for uri in self.redirect_uris)


async def register_client(tx: Transaction, client: Client) -> None:
    """Insert or replace a client; BadRegistration when it is not sound."""
    check_client(client)
    await tx.put_record(Record(KIND, client.id, _value(client)))


def check_client(client: Client) -> None:
    """BadRegistration when a redirect URI, key, grant type or scope is not sound."""
    if not client.id or not client.name:
        raise BadRegistration("a client needs an id and a name")
    if unknown := client.grant_types - GRANT_TYPES:
        raise BadRegistration(f"grant_types: {', '.join(sorted(unknown))} is not supported")
    for uri in (*client.redirect_uris, *client.post_logout_redirect_uris):
        _check_uri(uri)
    if client.launch_uri is not None:
        _check_uri(client.launch_uri)
    for origin in client.frame_origins:
        if origin != origin_of(origin):
            raise BadRegistration(f"frame_origins: {origin} is not an origin")
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        raise BadRegistration("redirect_uris: the authorization_code grant needs one")
    if client.jwks is not None:
        _check_keys(client.jwks)
    elif client.is_ehr or "client_credentials" in client.grant_types:
        raise BadRegistration("jwks: an EHR or a backend service authenticates with a key")


def client_from_metadata(client_id: str, metadata: Mapping[str, Any]) -> Client:
    """A client from RFC 7591 metadata (JSON). Members that are unknown, or that this server does
    not support, `jwks_uri` among them, are refused by name."""
    unsupported = set(metadata) - set(_METADATA)
    if unsupported:
        raise BadRegistration(f"not supported: {', '.join(sorted(unsupported))}")
    method = metadata.get("token_endpoint_auth_method", "none")
    if method != ("none" if metadata.get("jwks") is None else "private_key_jwt"):
        raise BadRegistration(
            "token_endpoint_auth_method: private_key_jwt with a jwks, or none without"
        )
    members: dict[str, Any] = {"name": "", "scopes": ""}
    for name, value in metadata.items():
        if field := _METADATA[name]:
            members[field] = value
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        members[name] = tuple(members.get(name, ()))
    members["grant_types"] = frozenset(members.get("grant_types", ("authorization_code",)))
    client = Client(id=client_id, **members)
    check_client(client)
    return client


_METADATA = {  # RFC 7591 and SMART names → our field; None: judged above, not kept
    "client_name": "name",
    "scope": "scopes",
    "grant_types": "grant_types",
    "redirect_uris": "redirect_uris",
    "post_logout_redirect_uris": "post_logout_redirect_uris",
    "initiate_login_uri": "launch_uri",
    "jwks": "jwks",
    "token_endpoint_auth_method": None,
}


def client_from(record: Record) -> Client:
    """The client that a record of this kind holds."""
    value = dict(record.value)
    for name in ("redirect_uris", "post_logout_redirect_uris", "frame_origins"):
        value[name] = tuple(value[name])
    value["grant_types"] = frozenset(value["grant_types"])
    return Client(**value)


def origin_of(uri: str) -> str:
    """`scheme://host[:port]` of an absolute URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _value(client: Client) -> dict[str, Any]:
    value = asdict(client)
    for name in ("redirect_uris", "post_logout_redirect_uris", "frame_origins"):
        value[name] = list(value[name])
    value["grant_types"] = sorted(client.grant_types)
    return value


def _check_uri(uri: str) -> None:
    parts = urlsplit(uri)
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.netloc or not (parts.scheme == "https" or is_local):
        raise BadRegistration(f"{uri} must be https, or http on a loopback address")
    if parts.fragment or parts.username or "*" in uri or any(c.isspace() for c in uri):
        raise BadRegistration(f"{uri} must be one exact address without fragment or user")


def _check_keys(jwks: Mapping[str, Any]) -> None:
    try:
        keys = KeySet.import_key_set(dict(jwks)).keys  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError) as problem:
        raise BadRegistration(f"jwks: {problem}") from problem
    if not all("kid" in key for key in jwks["keys"]):
        raise BadRegistration("jwks: each key needs a kid")
    for key in keys:
        if key.is_private:
            raise BadRegistration("jwks: has a private key; send the public part only")
        is_ec = isinstance(key, ECKey) and key.curve_name == "P-384"
        is_rsa = isinstance(key, RSAKey) and key.public_key.key_size >= 2048
        if not (is_ec or is_rsa):
            raise BadRegistration("jwks: keys are EC P-384 (ES384) or RSA of 2048 bits (RS384)")
