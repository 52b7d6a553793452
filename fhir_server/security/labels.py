"""Security labels (R4 Security Labels, v3-Confidentiality): what is restricted stays hidden unless
a granted scope names its label, or emergency access is under way. What a model says in the shadow
is hidden likewise, and no emergency shows it (ADR 0021)."""

from collections.abc import Iterable

from fhir_server.fhir.model_versions import SHADOW_RESULT
from fhir_server.search import terms
from fhir_server.search.expression import EVERYTHING, Expression, HasTerm, Not, all_of

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LEVELS = ("U", "L", "M", "N", "R", "V")
"""From unrestricted to very restricted; what has no label is normal (N)."""
RESTRICTED = frozenset({"R", "V"})

SHADOW = SHADOW_RESULT["code"]

PARAMETER = "_security"


def label_key(type: str) -> str:
    """The key under which the security labels of resources of a type stand."""
    return terms.key(type, PARAMETER)


def label_term(code: str, system: str = CONFIDENTIALITY) -> str:
    """A label as a term."""
    return terms.joined(code, system)


def opened_by(query: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The restricted labels that a scope's query names: `_security=R`, or with the system (that
    of shadows with it alone)."""
    named = {value for name, listed in query if name == PARAMETER for value in listed.split(",")}
    opened = {code for code in RESTRICTED if named & {code, f"{CONFIDENTIALITY}|{code}"}}
    if f"{SHADOW_RESULT['system']}|{SHADOW}" in named:
        opened.add(SHADOW)
    return frozenset(opened)


def unrestricted(type: str, opened: frozenset[str]) -> Expression:
    """Resources of the type without a restricted label, those of `opened` excepted."""
    key = label_key(type)
    return all_of(Not(HasTerm(key, label_term(code))) for code in sorted(RESTRICTED - opened))


def outside_shadow(type: str, opened: frozenset[str]) -> Expression:
    """Resources of the type that no model wrote in the shadow; all where that is opened."""
    return EVERYTHING if SHADOW in opened else Not(HasTerm(label_key(type), _SHADOW_TERM))


def bears_restricted(type: str, found: Iterable[tuple[str, str]]) -> bool:
    """Whether resources of the type with these terms are restricted."""
    key, named = label_key(type), restricted_terms()
    return any(param == key and value in named for param, value in found)


def restricted_terms() -> frozenset[str]:
    """The terms of all labels that hide."""
    return frozenset({*(label_term(code) for code in RESTRICTED), _SHADOW_TERM})


_SHADOW_TERM = label_term(SHADOW, SHADOW_RESULT["system"])
