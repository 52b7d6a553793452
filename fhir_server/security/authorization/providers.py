"""Other OpenID providers that people may sign in at, as the settings describe them; pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from fhir_server.security.authorization.users import PEOPLES_ROLES, sign_in_name
from fhir_server.security.loopback import is_plain_local
from fhir_server.security.tenants import DEFAULT

_ID_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) | frozenset(
    {"ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
_ID = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class BadProvider(ValueError):
    """A provider can't be used as described; the text names the member."""


@dataclass(frozen=True)
class RoleRule:
    """Who has the `value` in the `claim` (which may be a list) has the role."""

    claim: str
    value: str
    role: str


@dataclass(frozen=True)
class Provider:
    """`roles` decides who may come in and as what. `parameters` are added to the authorization
    request; `fhir_user_claim` holds the person's resource, if the provider knows it. Its people
    are of the `tenant`. When
    `asks_second_factor`, ours is not asked for after a sign-in there."""

    id: str
    name: str
    issuer: str
    client_id: str
    roles: tuple[RoleRule, ...]
    client_secret: str | None = field(default=None, repr=False)
    scope: str = "openid profile"
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    parameters: Mapping[str, str] | None = None
    name_claim: str = "name"
    fhir_user_claim: str | None = None
    asks_second_factor: bool = False
    tenant: str = DEFAULT

    def roles_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The roles that the claims of an id_token give."""
        return frozenset(rule.role for rule in self.roles if rule.value in _values(claims, rule))


def read_providers(text: str) -> tuple[Provider, ...]:
    """The providers of a setting: a JSON list of objects. BadProvider when one is not sound."""
    try:
        listed = json.loads(text)
    except ValueError as problem:
        raise BadProvider("must be a JSON list") from problem
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise BadProvider("must be a JSON list of objects")
    providers = tuple(_provider(each) for each in listed)
    if len({each.id for each in providers}) < len(providers):
        raise BadProvider("two providers have the same id")
    return providers


def _provider(given: Mapping[str, Any]) -> Provider:
    name = f"provider {given.get('id', '?')}"
    if unknown := set(given) - {each.name for each in fields(Provider)}:
        raise BadProvider(f"{name}: {', '.join(sorted(unknown))} is not supported")
    needed = {each.name for each in fields(Provider) if each.default is MISSING}
    if missing := needed - set(given):
        raise BadProvider(f"{name}: {', '.join(sorted(missing))} is missing")
    provider = Provider(
        **{
            **given,
            "roles": _rules(given["roles"], name),
            "algorithms": tuple(given.get("algorithms", ("RS256", "ES256"))),
        }
    )
    _check(provider, name)
    return provider


def _rules(given: Any, name: str) -> tuple[RoleRule, ...]:
    try:
        rules = tuple(RoleRule(**each) for each in given)
    except TypeError as problem:
        raise BadProvider(f"{name}: roles are objects of claim, value and role") from problem
    if not rules or any(rule.role not in PEOPLES_ROLES for rule in rules):
        raise BadProvider(f"{name}: roles gives one of {', '.join(sorted(PEOPLES_ROLES))}")
    return rules


def _check(provider: Provider, name: str) -> None:
    parts = urlsplit(provider.issuer)
    is_local = is_plain_local(parts)
    unsound = {
        "id": not provider.id or bool(set(provider.id) - _ID) or len(provider.id) > 40,
        "name": not sign_in_name(provider.name),
        "issuer": not parts.netloc or not (parts.scheme == "https" or is_local),
        "scope": "openid" not in provider.scope.split(),
        "algorithms": not provider.algorithms or bool(set(provider.algorithms) - _ID_ALGORITHMS),
    }
    if named := [member for member, is_unsound in unsound.items() if is_unsound]:
        raise BadProvider(f"{name}: {', '.join(named)} is not sound")


def _values(claims: Mapping[str, Any], rule: RoleRule) -> Sequence[Any]:
    value = claims.get(rule.claim)
    return value if isinstance(value, list) else [value]
