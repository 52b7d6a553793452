"""What a caller may do: granted scopes, narrowed by the role's rules, the compartment, security
labels, the tenant and Consents (ADR 0018).

Everything is allowed by a rule that names it; what no rule names is refused.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property

import orjson

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import BUSY, FhirError, forbidden
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, all_of, any_of
from fhir_server.search.readiness import require_standard
from fhir_server.search.registry import Registry
from fhir_server.security.analysis import Permissions, permissions
from fhir_server.security.circumstances import PLAIN, Circumstances
from fhir_server.security.consent_filter import consent_filter, of_patients
from fhir_server.security.granular import scope_expression
from fhir_server.security.labels import SHADOW, outside_shadow, unrestricted
from fhir_server.security.patient_view import FOLLOWS, patient_filter
from fhir_server.security.principal import Principal
from fhir_server.security.roles import ROLES, Role
from fhir_server.security.scopes import Action, ResourceScope, parse_scopes
from fhir_server.security.tenants import tenant_filter
from fhir_server.security.words import describe

READING: tuple[Action, ...] = ("r", "s")
ACTION_NAMES = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


class Access:
    """The permissions of one principal; `view` says what an action may touch of a type."""

    def __init__(
        self,
        principal: Principal,
        view: Callable[[str, Action], Expression],
        circumstances: Circumstances = PLAIN,
        registry: Registry | None = None,
    ) -> None:
        self.principal = principal
        self.circumstances = circumstances
        self._view = view
        self._registry = registry
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

    @cached_property
    def analysis(self) -> Permissions:
        """Which patients permit that their record is analysed: all of them with open access."""
        if self._registry is None:
            return Permissions()
        return permissions(self.circumstances, self._registry)

    @cached_property
    def unconsented(self) -> "Access":
        """What the same caller might do if no patient had said anything."""
        if self._registry is None:
            return self
        return access_for(self.principal, self._registry, self.circumstances.unconsented)

    @cached_property
    def extent(self) -> str:
        """The same string as long as the caller may read and search the same."""
        views = (
            describe(self.filter(type, action))
            for type in sorted(resource_types())
            for action in READING
        )
        return hashlib.sha256("\n".join(views).encode()).hexdigest()

    @property
    def binding(self) -> str:
        """What a cursor is bound to: the same string for the same caller with the same rights."""
        who = self.principal
        rights = [
            who.tenant, who.subject, who.client_id, sorted(who.roles), who.fhir_user,
            sorted(who.scopes.split()), who.patient, who.encounter,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(rights)).hexdigest()


def access_for(principal: Principal, registry: Registry, circumstances: Circumstances) -> Access:
    """The access of a verified caller in these circumstances; FhirError 403 when a granted scope
    can't be honoured."""
    scopes = parse_scopes(principal.scopes).resources
    for scope in scopes:
        if scope.type != "*":
            scope_expression(scope, scope.type, registry)

    def view(type: str, action: Action) -> Expression:
        granted = any_of(
            all_of([reached(scope, type, action), label_filter(scope, type, circumstances)])
            for scope in scopes
            if names(scope, type, action) and role_permits(principal, scope, type, action)
        )
        if granted == NOTHING:
            return NOTHING
        found = all_of(
            [
                granted,
                _tenancy(principal, type, action, circumstances),
                consent_filter(type, principal, circumstances, registry),
            ]
        )
        if found != granted and (action == "s" or type in FOLLOWS):
            require_standard(registry)
        return found

    def reached(scope: ResourceScope, type: str, action: Action) -> Expression:
        queried = scope_query(scope, type, registry)
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

    return Access(principal, view, circumstances, registry)


def names(scope: ResourceScope, type: str, action: Action) -> bool:
    """Whether the scope speaks of the action on the type."""
    return scope.type in ("*", type) and action in scope.actions


def label_filter(scope: ResourceScope, type: str, circumstances: Circumstances) -> Expression:
    """The resources of the type whose labels the scope may pass by: all that are not restricted,
    those with a label that it names, and those of patients in an emergency. What models say in
    the shadow is no part of a record: no emergency shows it."""
    labelled = circumstances.rules.labelled
    if labelled is not None and type not in labelled:
        return EVERYTHING
    emergency = of_patients(type, circumstances.emergencies)
    open_to_care = any_of([unrestricted(type, scope.opens), emergency])
    return all_of([open_to_care, outside_shadow(type, scope.opens)])


def _tenancy(
    principal: Principal, type: str, action: Action, circumstances: Circumstances
) -> Expression:
    if not circumstances.policy.has_tenants:
        return EVERYTHING
    return tenant_filter(type, action, principal.tenant)


def scope_query(scope: ResourceScope, type: str, registry: Registry) -> Expression:
    """What the scope's own query leaves of the type."""
    try:
        return scope_expression(scope, type, registry)
    except FhirError as refusal:
        if refusal.status == BUSY:
            raise
        # `*` with a parameter that this type doesn't have: no resource of it can match.
        return NOTHING


def role_permits(principal: Principal, scope: ResourceScope, type: str, action: Action) -> bool:
    """Whether one of the caller's roles lets them use the scope for this."""
    roles = _roles(principal)
    if scope.level == "system" and ROLES["service"] not in roles:
        return False
    if SHADOW in scope.opens and not any(role.sees_shadows for role in roles):
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
    if not principal.roles and principal.acts_for_itself:
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
