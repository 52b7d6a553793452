"""What a caller may do: granted scopes, narrowed by the role's rules and the compartment.

Everything is allowed by a rule that names it; what no rule names is refused.
"""

import hashlib
from collections.abc import Callable

import orjson

from fhir_server.fhir.outcome import BUSY, FhirError, forbidden
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, all_of, any_of
from fhir_server.search.readiness import require_standard
from fhir_server.search.registry import Registry
from fhir_server.security.granular import scope_expression
from fhir_server.security.patient_view import FOLLOWS, patient_filter
from fhir_server.security.principal import Principal
from fhir_server.security.roles import ROLES, Role
from fhir_server.security.scopes import Action, ResourceScope, parse_scopes

ACTION_NAMES = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


class Access:
    """The permissions of one principal; `view` says what an action may touch of a type."""

    def __init__(self, principal: Principal, view: Callable[[str, Action], Expression]) -> None:
        self.principal = principal
        self._view = view
        self._filters: dict[tuple[str, str], Expression] = {}

    def permits(self, type: str, action: Action) -> bool:
        """Whether some resource of the type may be reached by the action."""
        return self.filter(type, action) != NOTHING

    def require(self, type: str, action: Action) -> None:
        """Raise FhirError 403 naming the missing permission unless `permits`."""
        if not self.permits(type, action):
            raise forbidden(f"No permission to {ACTION_NAMES[action]} {type} ({type}.{action})")

    def filter(self, type: str, action: Action = "s") -> Expression:
        """The resources of the type that the action may touch: EVERYTHING, NOTHING, or a test."""
        found = self._filters.get((type, action))
        if found is None:
            found = self._filters[type, action] = self._view(type, action)
        return found

    @property
    def binding(self) -> str:
        """What a cursor is bound to: the same string for the same caller with the same rights."""
        who = self.principal
        rights = [
            who.tenant, who.subject, who.client_id, sorted(who.roles), who.fhir_user,
            sorted(who.scopes.split()), who.patient, who.encounter,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(rights)).hexdigest()


def access_for(principal: Principal, registry: Registry) -> Access:
    """The access of a verified caller; FhirError 403 when a granted scope can't be honoured."""
    scopes = parse_scopes(principal.scopes).resources
    for scope in scopes:
        if scope.type != "*":
            scope_expression(scope, scope.type, registry)

    def view(type: str, action: Action) -> Expression:
        return any_of(
            in_compartment(scope, type, action)
            for scope in scopes
            if scope.type in ("*", type)
            and action in scope.actions
            and _role_permits(principal, scope, type, action)
        )

    def in_compartment(scope: ResourceScope, type: str, action: Action) -> Expression:
        queried = _queried(scope, type, registry)
        if scope.level != "patient":
            return queried
        if principal.patient is None:
            return NOTHING
        if action == "s" or type in FOLLOWS:
            require_standard(registry)
        is_write = action in ("c", "u", "d")
        own = patient_filter(
            type, principal.patient, seen=lambda target: view(target, "r"), is_write=is_write
        )
        return all_of([own, queried])

    return Access(principal, view)


def _queried(scope: ResourceScope, type: str, registry: Registry) -> Expression:
    try:
        return scope_expression(scope, type, registry)
    except FhirError as refusal:
        if refusal.status == BUSY:
            raise
        # `*` with a parameter that this type doesn't have: no resource of it can match.
        return NOTHING


def _role_permits(principal: Principal, scope: ResourceScope, type: str, action: Action) -> bool:
    roles = _roles(principal)
    if scope.level == "system" and ROLES["service"] not in roles:
        return False
    if type != "AuditEvent":
        return any(role.permits(type, action) for role in roles)
    is_by_name = scope.type == type
    match action:
        case "r" | "s":
            is_named_system = scope.level == "system" and is_by_name
            return is_named_system or any(role.is_auditor for role in roles)
        case "c" | "u":
            # "u" reaches as far as creating under a chosen id: the guard lets none be changed.
            return is_by_name and bool(roles)
        case "d":
            return False
    raise ValueError(f"action {action!r}")


def _roles(principal: Principal) -> list[Role]:
    """The roles of a user; a client that acts for itself has that of a service."""
    if not principal.roles and principal.subject == principal.client_id:
        return [ROLES["service"]]
    return [ROLES[name] for name in principal.roles if name in ROLES]


def _open_view(type: str, action: Action) -> Expression:
    return NOTHING if (type, action) == ("AuditEvent", "d") else EVERYTHING


OPEN_ACCESS = Access(
    Principal(
        subject="open-access",
        client_id="open-access",
        name="Open access",
        roles=frozenset({"service"}),
        fhir_user=None,
        scopes="system/*.cruds",
        patient=None,
        encounter=None,
        session=None,
    ),
    _open_view,
)
"""Everything but changing AuditEvents: the development setting without tokens."""
