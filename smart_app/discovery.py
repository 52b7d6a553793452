"""What an issuer says about itself: SMART App Launch 2.2, "Conformance", and what came before.

`.well-known/smart-configuration` first; servers older than it name their endpoints in the
CapabilityStatement (extension `oauth-uris`, SMART 1.0). What neither says is looked for in the
OpenID configuration of the issuer named there.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from smart_app.answers import bounded

TIMEOUT_SECONDS = 10.0
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_NAMES = {
    "authorize": "authorization_endpoint",
    "token": "token_endpoint",
    "revoke": "revocation_endpoint",
}
_ENDPOINTS = (*_NAMES.values(), "jwks_uri", "end_session_endpoint")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class IssuerUnreachable(Exception):
    """The issuer did not answer, or not with a usable SMART configuration."""


class NotSmart(IssuerUnreachable):
    """The issuer answered, but its configuration lacks what a launch needs; the text says what."""


@dataclass(frozen=True)
class SmartConfiguration:
    """The endpoints that the app uses, and how this server wants to be spoken to. `issuer` and
    `jwks` are None where the server announces no OpenID Connect: who signs in can't be proved
    then. `offers` are its `capabilities`, `scopes` its `scopes_supported` (it may list neither)."""

    issuer: str | None
    authorize: str
    token: str
    jwks: str | None
    revoke: str | None
    end_session: str | None
    offers: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    names_itself: bool = False
    has_document: bool = True
    has_pkce: bool = False

    @property
    def authorize_origin(self) -> str:
        """Scheme, host and port of the authorization endpoint, for `form-action`."""
        parts = urlsplit(self.authorize)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def speaks_v2(self) -> bool:
        """Whether it takes SMART v2 scopes (`.rs`); others know v1 (`.read`) alone."""
        if self.offers & {"permission-v1", "permission-v2"}:
            return "permission-v2" in self.offers
        endings = {scope.partition("?")[0].rpartition(".")[2] for scope in self.scopes}
        return bool(endings & {"rs", "cruds", "cud", "crus"})


async def discover(http: httpx.AsyncClient, fhir_base: str) -> SmartConfiguration:
    """Fetch and check the configuration of the FHIR server at `fhir_base`."""
    root = fhir_base.rstrip("/")
    has_document = True
    try:
        found = await fetch_json(http, f"{root}/.well-known/smart-configuration")
    except IssuerUnreachable as missing:
        try:
            found = await _from_capabilities(http, root)
        except NotSmart:
            raise
        except IssuerUnreachable:
            raise missing from None
        has_document = False
    lacking = {"authorization_endpoint", "token_endpoint"} - found.keys()
    if lacking:
        raise NotSmart(f"its SMART configuration has no {', '.join(sorted(lacking))}")
    if "S256" not in found.get("code_challenge_methods_supported", ["S256"]):
        raise NotSmart("its SMART configuration does not offer PKCE with S256")
    found = {**await _openid(http, root, found), **found}
    for name in _ENDPOINTS:
        if found.get(name) is not None and not is_safe(found[name], root):
            raise NotSmart(f"its {name} is not a safe address")
    return _configuration(found, has_document)


def is_safe(url: object, fhir_base: str) -> bool:
    """Whether an endpoint that a server names may be called: HTTPS, without a user, and not an
    address inside a network; plain HTTP only on the host that the administrator registered so."""
    if not isinstance(url, str):
        return False
    try:
        parts, own = urlsplit(url), urlsplit(fhir_base)
        if parts.username is not None or not parts.hostname or parts.fragment:
            return False
        is_registered = parts.hostname == own.hostname
        parts.port  # noqa: B018 - one that is no number raises
    except ValueError:
        return False
    if is_registered and own.scheme == "http":
        return parts.scheme in {"http", "https"}
    return parts.scheme == "https" and (is_registered or not _is_inner(parts.hostname))


def _is_inner(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host in _LOOPBACK


def _configuration(found: Mapping[str, Any], has_document: bool) -> SmartConfiguration:
    return SmartConfiguration(
        issuer=found.get("issuer"),
        authorize=found["authorization_endpoint"],
        token=found["token_endpoint"],
        jwks=found.get("jwks_uri"),
        revoke=found.get("revocation_endpoint"),
        end_session=found.get("end_session_endpoint"),
        offers=_words(found, "capabilities"),
        scopes=_words(found, "scopes_supported"),
        methods=tuple(sorted(_words(found, "token_endpoint_auth_methods_supported"))),
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        has_document=has_document,
        has_pkce="S256" in _words(found, "code_challenge_methods_supported"),
    )


def _words(found: Mapping[str, Any], name: str) -> frozenset[str]:
    listed = found.get(name)
    return frozenset(str(word) for word in listed) if isinstance(listed, list) else frozenset()


async def _from_capabilities(http: httpx.AsyncClient, root: str) -> dict[str, Any]:
    """The endpoints as SMART 1.0 named them, under their names of today."""
    statement = await fetch_json(http, f"{root}/metadata", "application/fhir+json")
    found: dict[str, Any] = {}
    extensions = [
        extension
        for rest in statement.get("rest", ())
        for extension in rest.get("security", {}).get("extension", ())
        if extension.get("url") == OAUTH_URIS
    ]
    for part in (part for each in extensions for part in each.get("extension", ())):
        if part.get("url") in _NAMES and "valueUri" in part:
            found[_NAMES[part["url"]]] = part["valueUri"]
    if not found:
        raise NotSmart("its CapabilityStatement names no OAuth endpoints")
    return found


async def _openid(http: httpx.AsyncClient, root: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the OpenID configuration adds: keys, issuer and, for RP-Initiated Logout, where."""
    issuer = str(known.get("issuer") or root)
    if {"issuer", "jwks_uri", "end_session_endpoint"} <= known.keys():
        return {}
    if not is_safe(issuer, root):
        return {}
    try:
        found = await fetch_json(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    except IssuerUnreachable:
        return {}
    if "issuer" in known and found.get("issuer") != known["issuer"]:
        return {}
    names = (
        *("issuer", "jwks_uri", "end_session_endpoint"),
        "authorization_response_iss_parameter_supported",
    )
    return {name: found[name] for name in names if name in found}


async def fetch_json(
    http: httpx.AsyncClient, url: str, accept: str = "application/json"
) -> dict[str, Any]:
    """GET a JSON object, IssuerUnreachable when there is none."""
    try:
        answer = await bounded(
            http, "GET", url, seconds=TIMEOUT_SECONDS, headers={"accept": accept}
        )
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise IssuerUnreachable(f"{url} could not be read") from error
    if not isinstance(found, dict):
        raise IssuerUnreachable(f"{url} is not a JSON object")
    return found
