"""By what names a Consent may call a caller: references, and identifiers of clients and users."""

from dataclasses import dataclass

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.security.principal import Principal

CLIENTS = f"{CANONICAL}/identifier/client"
USERS = f"{CANONICAL}/identifier/user"
"""The systems under which the audit trail names clients and users too."""

ROLE_PURPOSES = {
    "doctor": "TREAT",
    "nurse": "TREAT",
    "admin": "HOPERAT",
    "auditor": "HOPERAT",
}
"""What people of a role are here for (v3-PurposeOfUse); of a service nobody can tell."""

ANALYSING = frozenset({"medsage-worker", "medsage-monitor"})
"""The clients of the analysis and of the watch over it. What a rule says of one holds for both: who
refuses the analysis is in no figures about it either."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One caller as a Consent sees it. `names` are all that is known; `is_person` tells whether
    the Organizations among them are all that there are; `purposes` is None when unknown."""

    names: frozenset[str]
    is_person: bool
    purposes: frozenset[str] | None


def client_name(client_id: str) -> str:
    """A client, as the actor of a provision."""
    return f"client {client_id}"


def user_name(subject: str) -> str:
    """A user, as the actor of a provision."""
    return f"user {subject}"


def actor_of(principal: Principal, places: frozenset[str] = frozenset()) -> Actor:
    """The caller; `places` are the PractitionerRoles and Organizations of the person."""
    clients = ANALYSING if principal.client_id in ANALYSING else {principal.client_id}
    names = {*map(client_name, clients), *places}
    if not principal.acts_for_itself:
        names.add(user_name(principal.subject))
    if principal.fhir_user is not None:
        names.add(principal.fhir_user)
    known = [ROLE_PURPOSES[role] for role in principal.roles if role in ROLE_PURPOSES]
    return Actor(
        frozenset(names), principal.fhir_user is not None, frozenset(known) if known else None
    )
