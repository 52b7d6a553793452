"""The resources that Consents leave to one caller, and those of given patients, as expressions."""

from collections.abc import Collection
from functools import lru_cache

from fhir_server.fhir.compartments import patient_parameters
from fhir_server.search import terms
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    LinkedFrom,
    LinksTo,
    Not,
    all_of,
    any_of,
)
from fhir_server.search.registry import Registry
from fhir_server.security.actors import actor_of
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.consent_rules import Judging, ruling
from fhir_server.security.guard_terms import HOLDERS, SECURITY_CONTEXT, content_key
from fhir_server.security.patient_view import FOLLOWS
from fhir_server.security.principal import Principal

_ALL_PATIENTS = "Patient/"
UNGOVERNED = frozenset({"AuditEvent", "Consent"})
"""The trail, and the Consents themselves: else nobody could see why, or change it."""


def consent_filter(
    type: str, principal: Principal, circumstances: Circumstances, registry: Registry
) -> Expression:
    """The resources of the type that no Consent keeps from the caller. EVERYTHING where there are
    none and nothing is presumed."""
    rules, policy = circumstances.rules, circumstances.policy
    if type in UNGOVERNED or (policy.consents_by_default and not rules.directives):
        return EVERYTHING
    keys = patient_keys(type)
    if not keys:
        return EVERYTHING
    judging = Judging(actor_of(principal, circumstances.places), circumstances.now, registry)
    exempt = circumstances.emergencies | _own(principal)
    permitted: list[Expression] = [of_patients(type, exempt)]
    denied: list[Expression] = []
    for root, patients in rules.by_root.items():
        found, theirs = ruling(root, type, judging), of_patients(type, patients - exempt)
        permitted.append(all_of([theirs, found.permitted]))
        denied.append(all_of([theirs, found.denied]))
    if type in FOLLOWS:
        denied += _followed(type, principal, circumstances, registry)
    if type == "Binary":
        denied += _content(principal, circumstances, registry)
    kept = _not(any_of(denied))
    if policy.consents_by_default:
        return _nobodys(type) if kept == NOTHING else kept
    left = all_of([kept, any_of([_not(_about_somebody(type)), *permitted])])
    return _nobodys(type) if left == NOTHING else left


def of_patients(type: str, patients: Collection[str]) -> Expression:
    """The resources of the type in the compartment of one of the patients (ids)."""
    if not patients:
        return NOTHING
    if type == "Patient":
        ids: Expression = _one_of(terms.key("Patient", "_id"), patients)
        return any_of([ids, *_named(type, patients)])
    return any_of(_named(type, patients))


def _named(type: str, patients: Collection[str]) -> list[Expression]:
    references = [f"{_ALL_PATIENTS}{patient}" for patient in patients]
    return [_one_of(key, references) for key in patient_keys(type)]


def _one_of(key: str, values: Collection[str]) -> Expression:
    if len(values) == 1:
        return HasTerm(key, next(iter(values)))
    return HasAnyTerm(key, frozenset(values))


@lru_cache(maxsize=256)
def patient_keys(type: str) -> tuple[str, ...]:
    """The parameters that may name a patient; none for a type that belongs to nobody."""
    found = [terms.key(type, code) for code in patient_parameters(type)]
    if type in FOLLOWS:
        found.append(FOLLOWS[type][0])
    return tuple(dict.fromkeys(found))


def _about_somebody(type: str) -> Expression:
    if type == "Patient":
        return EVERYTHING
    end = terms.next_after(_ALL_PATIENTS)
    return any_of(HasRange(key, _ALL_PATIENTS, end) for key in patient_keys(type))


def _followed(
    type: str, principal: Principal, circumstances: Circumstances, registry: Registry
) -> list[Expression]:
    """What names a resource that is kept from the caller is kept from them too."""
    param, targets = FOLLOWS[type]
    found: list[Expression] = []
    for target in targets:
        view = consent_filter(target, principal, circumstances, registry)
        if view != EVERYTHING:
            found.append(LinksTo(param, target, _not(view)))
    return found


def _content(
    principal: Principal, circumstances: Circumstances, registry: Registry
) -> list[Expression]:
    """A Binary that says no record of its own (securityContext) is judged by those that have it as
    their content: kept back with any of them that is."""
    named: list[Expression] = []
    for holder in HOLDERS:
        view = consent_filter(holder, principal, circumstances, registry)
        if view != EVERYTHING:
            named.append(LinkedFrom(holder, content_key(holder), _not(view)))
    has_context = HasRange(SECURITY_CONTEXT, None, None)
    return [all_of([Not(has_context), any_of(named)])] if named else []


def _own(principal: Principal) -> frozenset[str]:
    """Nobody's Consent keeps their own record from them."""
    named = principal.fhir_user or ""
    is_patient = named.startswith(_ALL_PATIENTS)
    return frozenset({named.removeprefix(_ALL_PATIENTS)}) if is_patient else frozenset()


def _nobodys(type: str) -> Expression:
    """No resource at all, said by a test: nothing is there, which is not the same as forbidden."""
    return HasTerm(terms.key(type, "_id"), "")


def _not(expression: Expression) -> Expression:
    if expression == NOTHING:
        return EVERYTHING
    if expression == EVERYTHING:
        return NOTHING
    return expression.test if isinstance(expression, Not) else Not(expression)
