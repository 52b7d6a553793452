"""The launch context of an authorization: from an EHR's launch, or chosen by the user; pure
(SMART App Launch 2.2, "Scopes for requesting context data").

An EHR's launch brings what is open there. Without one, or where it brings no patient, the user is
asked (docs/adr/0016-launch-context.md); what was chosen is kept with the request and counts in
the session that it was chosen in.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.negotiate import requested_of_registered
from fhir_server.security.authorization.records import AuthorizationRequest, Grant, Launch
from fhir_server.security.authorization.style import style_url

Step = Literal["patient", "encounter"]


@dataclass(frozen=True)
class Choice:
    """What a user chose for a request. `session` is the id of the session that it was chosen in;
    `is_complete` says that nothing is left to choose, an encounter neither."""

    session: str
    patient: str
    encounter: str | None = None
    is_complete: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the request keeps it."""
        return asdict(self)


def choice_of(asked: AuthorizationRequest) -> Choice | None:
    """What was chosen for the request so far."""
    return None if asked.choice is None else Choice(**asked.choice)


def wants_encounter(asked: AuthorizationRequest, client: Client) -> bool:
    """Whether the app asks for an encounter, and is registered to."""
    return "launch/encounter" in requested_of_registered(asked.scope, client.scopes).contexts


def next_step(
    asked: AuthorizationRequest, client: Client, launch: Launch | None, session: str
) -> Step | None:
    """What the user of the session has to choose next. Nothing where an EHR's launch brought the
    patient: that the EHR has no visit open is its answer."""
    scopes = requested_of_registered(asked.scope, client.scopes)
    is_visit_wanted = "launch/encounter" in scopes.contexts
    if launch is not None and launch.patient is not None:
        return None
    if not scopes.needs_patient and not is_visit_wanted:
        return None
    choice = choice_of(asked)
    if choice is None or choice.session != session:
        return "patient"
    return "encounter" if is_visit_wanted and not choice.is_complete else None


def context_of(asked: AuthorizationRequest, launch: Launch | None) -> dict[str, Any]:
    """The context as fields of a Grant."""
    choice = choice_of(asked)
    patient, encounter = (choice.patient, choice.encounter) if choice else (None, None)
    if launch is None:
        return {"patient": patient, "encounter": encounter}
    if launch.patient is not None:
        patient, encounter = launch.patient, launch.encounter
    return {
        "patient": patient,
        "encounter": encounter,
        "need_patient_banner": launch.need_patient_banner,
        "fhir_context": launch.fhir_context,
        "intent": launch.intent,
        "smart_style_url": launch.smart_style_url,
        "tenant": launch.tenant,
        "ehr": launch.ehr,
    }


def context_parameters(grant: Grant, issuer: str) -> dict[str, Any]:
    """The launch context parameters beside an access token. An app that an EHR launched and that
    was told no style is told ours, as it is now."""
    found: dict[str, Any] = {
        "patient": grant.patient,
        "encounter": grant.encounter,
        "need_patient_banner": grant.need_patient_banner if grant.patient else None,
        "fhirContext": list(grant.fhir_context) or None,
        "intent": grant.intent,
        "smart_style_url": grant.smart_style_url or (style_url(issuer) if grant.ehr else None),
        "tenant": grant.tenant,
    }
    return {name: value for name, value in found.items() if value is not None}
