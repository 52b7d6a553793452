"""Registered OAuth clients: apps, backend services and EHRs (RFC 7591 names where it has one)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.security.loopback import is_plain_local
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record, ResourceStore, Transaction

KIND = "client"
GRANT_TYPES = frozenset({"authorization_code", "refresh_token", "client_credentials"})
ASSERTION_ALGORITHMS = ("RS384", "ES384")
RSA_BITS = range(2048, 8193)
"""Shorter keys are weak; longer ones only make this server work."""
MOST_SECRETS = 2
"""So many secrets of one client are good at once: the new one, and the one before it."""
Status = Literal["pending", "active", "rejected"]
Method = Literal["private_key_jwt", "client_secret_basic", "none"]
_LISTS = ("redirect_uris", "post_logout_redirect_uris", "frame_origins", "secrets", "contacts")
_PAGE = 500


class BadRegistration(ValueError):
    """A client can't be registered as given; the text says which member is wrong."""

    @property
    def error(self) -> str:
        """The code of RFC 7591 section 3.2.2."""
        is_uri = str(self).startswith(("redirect_uris", "post_logout_redirect_uris"))
        return "invalid_redirect_uri" if is_uri else "invalid_client_metadata"


@dataclass(frozen=True)
class Client:
    """What was registered. `scopes` is the most that may be granted. A client proves itself by
    the keys in `jwks`, by those at `jwks_uri`, or by a secret, of which `secrets` holds the
    digests, newest first; with none of these it is public. `signing_alg` is the one algorithm of
    its assertions, None for any that this server takes. `frame_origins` are the EHR origins
    that may frame its launch. `is_preapproved` (first party) skips the consent page. `is_ehr` may
    create launches, which sign its own signed-in user in to the launched app. `is_resource_server`
    may ask about the tokens of every client (introspection). A client of a `tenant` serves that
    tenant's users alone, one of the default tenant everybody.

    Only an `active` one may do anything; those that registered themselves are `pending` until an
    administrator approves them, and have a `registration`: the digest of the token with which
    they read and change what they registered."""

    id: str
    name: str
    scopes: str
    grant_types: frozenset[str] = frozenset({"authorization_code", "refresh_token"})
    redirect_uris: tuple[str, ...] = ()
    launch_uri: str | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    frame_origins: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    signing_alg: str | None = None
    secrets: tuple[str, ...] = ()
    is_preapproved: bool = False
    is_ehr: bool = False
    is_resource_server: bool = False
    status: Status = "active"
    registration: str | None = None
    registered: float | None = None
    contacts: tuple[str, ...] = ()
    client_uri: str | None = None
    tenant: str = DEFAULT

    @property
    def method(self) -> Method:
        """How it proves itself, by the name in `token_endpoint_auth_method`."""
        if self.jwks is not None or self.jwks_uri is not None:
            return "private_key_jwt"
        return "client_secret_basic" if self.secrets else "none"

    @property
    def is_public(self) -> bool:
        return self.method == "none"

    @property
    def is_active(self) -> bool:
        return self.status == "active"

    @property
    def origins(self) -> frozenset[str]:
        """The web origins that its redirect URIs live on (for CORS)."""
        return frozenset(origin_of(uri) for uri in self.redirect_uris)


async def register_client(tx: Transaction, client: Client, expected: int | None = None) -> None:
    """Insert or replace a client; BadRegistration when it is not sound. `expected` is the
    revision that it replaces (0: a new one), None replaces any."""
    check_client(client)
    await tx.put_record(record_of(client), expected)


async def every_client(store: ResourceStore) -> list[tuple[Client, int]]:
    """All clients with the revision of their record, by id."""
    page = await store.records(KIND, limit=_PAGE)
    records = list(page)
    while len(page) == _PAGE:
        page = await store.records(KIND, after=records[-1].id, limit=_PAGE)
        records += page
    return [(client_from(record), record.revision) for record in records]


def check_client(client: Client) -> None:
    """BadRegistration when a redirect URI, key, grant type or scope is not sound."""
    if not client.id or not client.name:
        raise BadRegistration("a client needs an id and a name")
    if unknown := client.grant_types - GRANT_TYPES:
        raise BadRegistration(f"grant_types: {', '.join(sorted(unknown))} is not supported")
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        for uri in getattr(client, name):
            check_uri(uri, name)
    for name in ("launch_uri", "jwks_uri", "client_uri"):
        if (one := getattr(client, name)) is not None:
            check_uri(one, name)
    for origin in client.frame_origins:
        if origin != origin_of(origin):
            raise BadRegistration(f"frame_origins: {origin} is not an origin")
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        raise BadRegistration("redirect_uris: the authorization_code grant needs one")
    _check_proof(client)


def _check_proof(client: Client) -> None:
    """How the client proves itself is one way, and strong enough for what it may do."""
    if client.jwks is not None:
        check_keys(client.jwks)
    ways = (client.jwks, client.jwks_uri, client.secrets or None)
    if sum(way is not None for way in ways) > 1:
        raise BadRegistration("a client has a jwks, a jwks_uri or a secret, one of them")
    if len(client.secrets) > MOST_SECRETS:
        raise BadRegistration(f"a client has at most {MOST_SECRETS} secrets")
    # SMART means secrets for apps with a user, not for backend services.
    is_strong = client.method == "private_key_jwt"
    if not is_strong and (client.is_ehr or "client_credentials" in client.grant_types):
        raise BadRegistration("jwks: an EHR or a backend service authenticates with a key")
    if client.signing_alg is not None and not (
        is_strong and client.signing_alg in ASSERTION_ALGORITHMS
    ):
        raise BadRegistration("token_endpoint_auth_signing_alg: RS384 or ES384, with a key")
    if client.is_resource_server and client.is_public:
        raise BadRegistration("a resource server has a key or a secret")


def client_from(record: Record) -> Client:
    """The client that a record of this kind holds."""
    value = dict(record.value)
    for name in _LISTS:
        value[name] = tuple(value.get(name, ()))
    value["grant_types"] = frozenset(value["grant_types"])
    return Client(**value)


def record_of(client: Client) -> Record:
    """The client as a record, without an end."""
    value = asdict(client)
    for name in _LISTS:
        value[name] = list(value[name])
    value["grant_types"] = sorted(client.grant_types)
    return Record(KIND, client.id, value)


def origin_of(uri: str) -> str:
    """`scheme://host[:port]` of an absolute URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def check_uri(uri: str, name: str) -> None:
    """BadRegistration, which names the member, unless it is one exact address: https, or http on
    loopback."""
    try:
        parts = urlsplit(uri)
        is_local = is_plain_local(parts)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as problem:
        raise BadRegistration(f"{name}: {uri} is not an address") from problem
    if not is_whole or not (parts.scheme == "https" or is_local):
        raise BadRegistration(f"{name}: {uri} must be https, or http on a loopback address")
    is_odd = any(c.isspace() or not c.isprintable() or c in '\\"<>*' for c in uri)
    if parts.fragment or parts.username is not None or is_odd:
        raise BadRegistration(f"{name}: {uri} must be one exact address without fragment or user")


def check_keys(jwks: Mapping[str, Any]) -> None:
    """BadRegistration unless all keys are public ones that an assertion may be signed with."""
    try:
        keys = KeySet.import_key_set(dict(jwks)).keys  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError) as problem:
        raise BadRegistration(f"jwks: {problem}") from problem
    named = [key.get("kid") for key in jwks["keys"]]
    if not all(isinstance(kid, str) and kid for kid in named):
        raise BadRegistration("jwks: each key needs a kid")
    for key in keys:
        if key.is_private:
            raise BadRegistration("jwks: has a private key; send the public part only")
        if not is_usable(key):
            raise BadRegistration(
                "jwks: keys are EC P-384 (ES384) or RSA of 2048 to 8192 bits (RS384)"
            )


def is_usable(key: object) -> bool:
    """Whether it is the kind of public key that RS384 and ES384 ask for, and long enough."""
    if isinstance(key, ECKey):
        return key.curve_name == "P-384" and not key.is_private
    if isinstance(key, RSAKey):
        return key.public_key.key_size in RSA_BITS and not key.is_private
    return False
