"""Compartment search (R4 Search, "Search Contexts"): what belongs to one patient, encounter …"""

from fhir_server.fhir.compartments import compartments
from fhir_server.fhir.outcome import bad_parameter, error
from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, any_of
from fhir_server.search.parse import near

Focus = tuple[str, str]
"""The type and id of the resource whose compartment it is."""


def types_of(compartment: str) -> tuple[str, ...]:
    """The types that a compartment may hold, its own among them; FhirError 404 for a type that
    has no compartment."""
    members = compartments().get(compartment)
    if members is None:
        known = ", ".join(sorted(compartments()))
        raise error(404, "not-found", f"{compartment} has no compartment in R4; {known} have")
    return tuple(sorted({*members, compartment}))


def members(focus: Focus, type_: str) -> Expression:
    """The resources of `type_` in the compartment of the focus, which need not exist: what names
    it belongs. FhirError 400 for a type outside the compartment."""
    compartment, id_ = focus
    known = types_of(compartment)
    if type_ not in known:
        raise bad_parameter(
            f"{type_} is not in the {compartment} compartment of R4{near(type_, list(known))}"
        )
    codes = compartments()[compartment].get(type_, ())
    tests = [HasTerm(terms.key(type_, code), f"{compartment}/{id_}") for code in codes]
    if type_ == compartment:
        tests.append(HasTerm(terms.key(type_, "_id"), id_))
    return any_of(tests)
