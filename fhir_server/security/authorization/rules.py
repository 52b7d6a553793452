"""What this installation asks of people who sign in."""

from dataclasses import dataclass, field

from fhir_server.security.authorization.passwords import PasswordRules
from fhir_server.security.authorization.providers import Provider
from fhir_server.security.authorization.users import PEOPLES_ROLES


@dataclass(frozen=True)
class SignInRules:
    """The rules for new passwords, the roles that need a second factor, and the other providers
    that people may sign in at. ValueError for a role that there is not."""

    passwords: PasswordRules = field(default_factory=PasswordRules)
    second_factor_roles: frozenset[str] = frozenset()
    providers: tuple[Provider, ...] = ()

    def __post_init__(self) -> None:
        if unknown := self.second_factor_roles - PEOPLES_ROLES:
            raise ValueError(f"unknown roles: {', '.join(sorted(unknown))}")

    def provider(self, id: str | None) -> Provider | None:
        """The provider of the id."""
        return next((each for each in self.providers if each.id == id), None)

    def needs_second_factor(self, roles: frozenset[str]) -> bool:
        """Whether somebody with these roles must have one."""
        return bool(roles & self.second_factor_roles)
