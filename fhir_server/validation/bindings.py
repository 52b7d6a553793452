"""Required bindings: which codes of a value set are allowed (R4 Terminologies, "Binding")."""

from functools import cache
from typing import Any

from fhir_server.fhir.definitions import value_sets


@cache
def allowed_codes(url: str) -> frozenset[str] | None:
    """The codes of the value set, whatever their system; None when it can't be enumerated."""
    systems = value_sets().get(url)
    return (
        None if systems is None else frozenset(code for codes in systems.values() for code in codes)
    )


def allows_concept(url: str, concept: Any) -> bool:
    """Whether one coding of the CodeableConcept is in the value set, system and code."""
    systems = value_sets().get(url)
    if systems is None:
        return True
    return any(
        coding.get("code") in systems.get(coding.get("system", ""), ())
        for coding in concept.get("coding", ())
    )


def sample(codes: frozenset[str]) -> str:
    """A few of the codes for a message: all when there are not many."""
    shown = sorted(codes)
    return ", ".join(shown) if len(shown) <= 12 else ", ".join(shown[:10]) + f" … ({len(shown)})"
