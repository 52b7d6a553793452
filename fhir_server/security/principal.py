"""Who is calling: what an access token says once it has been verified."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    `subject` is the user's id (the client's id for a backend service); `roles` are keys of
    `access.ROLES`; `fhir_user` is the reference of the person (`Practitioner/dr-amina`);
    `scopes` the granted scope string; `patient` and `encounter` the ids of the launch context,
    without their type; `session` the id of the sign-in session.
    `grant` and `expires` say how long the token lasts; they do not make another caller.
    """

    subject: str
    client_id: str
    name: str
    roles: frozenset[str]
    fhir_user: str | None
    scopes: str
    patient: str | None
    encounter: str | None
    session: str | None
    tenant: str = "default"
    grant: str | None = field(default=None, compare=False)
    expires: float | None = field(default=None, compare=False)

    @property
    def acts_for_itself(self) -> bool:
        """Whether it is a client of its own right (SMART backend services), and for no person."""
        return self.subject == self.client_id


def own_principal(subject: str, name: str, client_id: str | None = None) -> Principal:
    """Somebody of this service who acts without a token: no roles, scopes or context. `client_id`
    is the subject unless it is given."""
    return Principal(
        subject=subject,
        client_id=client_id or subject,
        name=name,
        roles=frozenset(),
        fhir_user=None,
        scopes="",
        patient=None,
        encounter=None,
        session=None,
    )


def principal_json(who: Principal) -> dict[str, Any]:
    """The principal as a record keeps it."""
    plain = {name: getattr(who, name) for name in Principal.__dataclass_fields__}
    return plain | {"roles": sorted(who.roles)}


def principal_of(value: dict[str, Any]) -> Principal:
    """The principal that a record holds."""
    return Principal(**{**value, "roles": frozenset(value["roles"])})
