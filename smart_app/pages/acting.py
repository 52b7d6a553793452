"""Who acts on a page, and when."""

from smart_app.problems import Problem
from smart_app.signing import Signer
from smart_app.visit import Visit


def signer(visit: Visit) -> Signer:
    """The signed-in clinician; Problem `not-permitted` for an account that is no practitioner."""
    user = visit.session.fhir_user or ""
    if not user.startswith(("Practitioner/", "PractitionerRole/")):
        raise Problem("not-permitted")
    return Signer(user, visit.session.user_name, now_of(visit))


def now_of(visit: Visit) -> str:
    """The time now, as an instant."""
    moment = visit.parts.clock().isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
