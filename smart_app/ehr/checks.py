"""What an administrator is told about a registered record system: what works, what is missing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from smart_app.discovery import SmartConfiguration
from smart_app.issuers import Issuer
from smart_app.launch.foreign_scopes import READ, foreign_scope

State = Literal["works", "missing", "unclear"]


@dataclass(frozen=True)
class Check:
    """One line of the result. Only `missing` keeps a launch from working; `unclear` is what the
    server does not say, or what works with less."""

    state: State
    text: str


def judge(
    issuer: Issuer, found: SmartConfiguration, capabilities: Mapping[str, Any] | None
) -> Sequence[Check]:
    """Everything that can be told without a launch; `capabilities` is the CapabilityStatement,
    None when it could not be read."""
    return [
        *_endpoints(found),
        _launch(found),
        _pkce(found),
        _authentication(issuer, found),
        *_people(found),
        Check("works", f"asks for: {foreign_scope(issuer, found)}"),
        _renewal(issuer, found),
        *_interactions(issuer, capabilities),
    ]


def _endpoints(found: SmartConfiguration) -> Iterator[Check]:
    if found.has_document:
        yield Check("works", "has .well-known/smart-configuration")
    else:
        yield Check(
            "unclear", "has no .well-known/smart-configuration; endpoints from /metadata (SMART 1)"
        )
    yield Check("works", f"authorization at {found.authorize}")
    yield Check("works", f"tokens at {found.token}")


def _launch(found: SmartConfiguration) -> Check:
    if "launch-ehr" in found.offers:
        return Check("works", "offers launch-ehr")
    if not found.offers:
        return Check("unclear", "does not list its capabilities")
    return Check("missing", "lists capabilities, and launch-ehr is not among them")


def _pkce(found: SmartConfiguration) -> Check:
    if found.has_pkce:
        return Check("works", "offers PKCE with S256")
    return Check("unclear", "does not announce PKCE; it is used all the same")


def _authentication(issuer: Issuer, found: SmartConfiguration) -> Check:
    if issuer.private_jwk is not None:
        wanted = {"private_key_jwt"}
    elif issuer.secret is not None:
        wanted = {"client_secret_basic", "client_secret_post"}
    else:
        return Check("unclear", "registered as a public client: anybody can pretend to be it")
    named = " or ".join(sorted(wanted))
    if wanted & set(found.methods):
        return Check("works", f"takes {named}")
    if not found.methods:
        return Check("unclear", f"does not say whether it takes {named}")
    return Check("missing", f"does not take {named}: only {', '.join(found.methods)}")


def _people(found: SmartConfiguration) -> Iterator[Check]:
    if found.issuer is None or found.jwks is None:
        yield Check(
            "unclear",
            "announces no OpenID Connect keys: users sign if their id_token leads to some",
        )
    else:
        yield Check("works", f"says who signs in, as {found.issuer}")


def _renewal(issuer: Issuer, found: SmartConfiguration) -> Check:
    if {"permission-online", "permission-offline"} & found.offers or (
        {"online_access", "offline_access"} & found.scopes
    ):
        return Check("works", "renews tokens")
    if issuer.write_back and not issuer.acts_alone:
        return Check("unclear", "does not renew tokens: late reports wait for the next launch")
    return Check("unclear", "does not renew tokens")


def _interactions(issuer: Issuer, capabilities: Mapping[str, Any] | None) -> Iterator[Check]:
    if capabilities is None:
        yield Check("unclear", "its CapabilityStatement can't be read")
        return
    supported = _supported(capabilities.get("rest", ()))
    for type_ in READ:
        wanted = {"read"} if type_ in {"Patient", "Practitioner", "Encounter"} else {"search-type"}
        yield _interaction(type_, wanted, supported, is_needed=type_ == "Patient")
    for type_ in sorted(issuer.write_back):
        yield _interaction(type_, {"create"}, supported, is_needed=True)


def _interaction(
    type_: str, wanted: set[str], supported: Mapping[str, set[str]], *, is_needed: bool
) -> Check:
    (action,) = wanted
    if wanted <= supported.get(type_, set()):
        return Check("works", f"{action} of {type_}")
    return Check("missing" if is_needed else "unclear", f"no {action} of {type_}")


def _supported(rest: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    return {
        str(resource.get("type")): {
            str(each.get("code")) for each in resource.get("interaction", ())
        }
        for server in rest
        for resource in server.get("resource", ())
    }
