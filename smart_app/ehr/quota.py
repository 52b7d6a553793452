"""How many analyses a clinician of another record system may ask for in an hour: our server sees
the app alone, so the app counts its people."""

from smart_app.problems import Problem
from smart_app.sessions import Session, SessionStore

HOUR = 3600


async def take_one(store: SessionStore, session: Session, most: int | None) -> None:
    """Use up one analysis of the session's clinician; Problem `too-many` when none is left. None
    is no limit; who signed in at our own server is counted there."""
    if session.origin is None or most is None:
        return
    who = f"{session.origin.fhir_base} {session.fhir_user or session.user_name}"
    for place in range(most):
        if await store.claim(f"analysis:{who}:{place}", HOUR):
            return
    raise Problem("too-many")
