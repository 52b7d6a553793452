"""Why a caller may or may not do something, hop by hop: the parts that `access.py` joins into one
filter, one by one. The verdict is the filter's own."""

from collections.abc import Iterator
from dataclasses import dataclass

from fhir_server.search.expression import EVERYTHING, NOTHING, Expression
from fhir_server.search.registry import Registry
from fhir_server.security.access import (
    Access,
    access_for,
    label_filter,
    names,
    role_permits,
    scope_query,
)
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.consent_filter import consent_filter
from fhir_server.security.patient_view import patient_filter
from fhir_server.security.principal import Principal
from fhir_server.security.scopes import Action, ResourceScope, parse_scopes
from fhir_server.security.tenants import tenant_filter


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that is asked: by which mechanism, what of it, and which resources pass."""

    name: str
    text: str
    view: Expression


@dataclass(frozen=True)
class Case:
    """One caller, one action on one type, in the circumstances of now."""

    principal: Principal
    circumstances: Circumstances
    registry: Registry
    type: str
    action: Action

    @property
    def access(self) -> Access:
        """What the guard itself goes by."""
        return access_for(self.principal, self.registry, self.circumstances)

    def scopes(self) -> list[tuple[ResourceScope, list[Hop]]]:
        """Each granted scope with its own hops; one scope whose hops all pass is enough."""
        granted = parse_scopes(self.principal.scopes).resources
        return [(scope, list(self._scope_hops(scope))) for scope in granted]

    def shared_hops(self) -> list[Hop]:
        """The hops that hold whatever the scope."""
        who, policy = self.principal, self.circumstances.policy
        tenant: Expression = EVERYTHING
        said = "the store has one tenant"
        if policy.has_tenants:
            tenant = tenant_filter(self.type, self.action, who.tenant)
            said = f"the caller is of the tenant {who.tenant}"
        consents = consent_filter(self.type, who, self.circumstances, self.registry)
        return [Hop("tenant", said, tenant), Hop("consent", self._consents_said(), consents)]

    def _scope_hops(self, scope: ResourceScope) -> Iterator[Hop]:
        if not names(scope, self.type, self.action):
            yield Hop("scope", f"is not about {self.type}.{self.action}", NOTHING)
            return
        yield Hop("scope", f"is about {self.type}.{self.action}", self._queried(scope))
        may = role_permits(self.principal, scope, self.type, self.action)
        roles = ", ".join(sorted(self.principal.roles)) or "service"
        yield Hop("role", roles, EVERYTHING if may else NOTHING)
        yield self._compartment(scope)
        opened = ", ".join(sorted(scope.opens)) or "no restricted label"
        labels = label_filter(scope, self.type, self.circumstances)
        yield Hop("labels", f"the scope names {opened}", labels)

    def _queried(self, scope: ResourceScope) -> Expression:
        return scope_query(scope, self.type, self.registry)

    def _compartment(self, scope: ResourceScope) -> Hop:
        if scope.level != "patient":
            return Hop("compartment", f"{scope.level}: any patient", EVERYTHING)
        patient = self.principal.patient
        if patient is None:
            return Hop("compartment", "no patient was chosen at the launch", NOTHING)
        access = self.access
        view = patient_filter(
            self.type,
            patient,
            seen=lambda target: access.filter(target, "r"),
            is_write=self.action in ("c", "u", "d"),
        )
        return Hop("compartment", f"that of Patient/{patient}", view)

    def _consents_said(self) -> str:
        circumstances = self.circumstances
        count = len(circumstances.rules.directives)
        basis = "shares" if circumstances.policy.consents_by_default else "does not share"
        opened = ", ".join(sorted(circumstances.emergencies))
        emergency = f"; emergency access to {opened}" if opened else ""
        return f"{count} in force; who has said nothing {basis}{emergency}"
