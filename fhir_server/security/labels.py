"""Security labels (R4 Security Labels, v3-Confidentiality): what is restricted stays hidden unless
a granted scope names its label, or emergency access is under way."""

from collections.abc import Iterable

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, Not, all_of

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LEVELS = ("U", "L", "M", "N", "R", "V")
"""From unrestricted to very restricted; what has no label is normal (N)."""
RESTRICTED = frozenset({"R", "V"})

PARAMETER = "_security"


def label_key(type: str) -> str:
    """The key under which the security labels of resources of a type stand."""
    return terms.key(type, PARAMETER)


def label_term(code: str, system: str = CONFIDENTIALITY) -> str:
    """A label as a term."""
    return terms.joined(code, system)


def opened_by(query: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The restricted labels that a scope's query names: `_security=R`, or with the system."""
    named = {value for name, listed in query if name == PARAMETER for value in listed.split(",")}
    return frozenset(code for code in RESTRICTED if named & {code, f"{CONFIDENTIALITY}|{code}"})


def unrestricted(type: str, opened: frozenset[str]) -> Expression:
    """Resources of the type without a restricted label, those of `opened` excepted."""
    key = label_key(type)
    return all_of(Not(HasTerm(key, label_term(code))) for code in sorted(RESTRICTED - opened))


def bears_restricted(type: str, found: Iterable[tuple[str, str]]) -> bool:
    """Whether resources of the type with these terms are restricted."""
    key, named = label_key(type), {label_term(code) for code in RESTRICTED}
    return any(param == key and value in named for param, value in found)
