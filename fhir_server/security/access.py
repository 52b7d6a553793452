"""What a caller may do: granted scopes, narrowed by the role's rules and the compartment.

Everything is allowed by a rule that names it; what no rule names is refused.
"""

from typing import Literal

from fhir_server.search.expression import Expression
from fhir_server.search.registry import Registry
from fhir_server.security.principal import Principal

Action = Literal["c", "r", "u", "d", "s"]


class Access:
    """The permissions of one principal, as one expression for each type and action."""

    principal: Principal

    def permits(self, type: str, action: Action) -> bool:
        """Whether some resource of the type may be reached by the action."""
        raise NotImplementedError

    def require(self, type: str, action: Action) -> None:
        """Raise FhirError 403 naming the missing scope unless `permits`."""
        raise NotImplementedError

    def filter(self, type: str, action: Action = "s") -> Expression:
        """The resources of the type that the action may touch: EVERYTHING, NOTHING, or a test."""
        raise NotImplementedError

    @property
    def binding(self) -> str:
        """What a cursor is bound to: the same string for the same caller with the same rights."""
        raise NotImplementedError


def access_for(principal: Principal, registry: Registry) -> Access:
    """The access of a verified caller; FhirError 403 when a granted scope can't be honoured."""
    raise NotImplementedError


OPEN_ACCESS = Access()
"""Everything but changing AuditEvents: the development setting without tokens."""
