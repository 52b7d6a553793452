"""Terms that only the guard asks for, added to what a search can find a resource by.

They state what no search parameter of R4 tells: the security context of a Binary, that a Device
or DocumentReference concerns no patient (a device model, a model card), and which Binary an
attachment has as its content. The first two are positive statements, so a resource indexed without
them is hidden rather than shown; for the third, `search/fingerprint.py` has older stores indexed
anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fhir_server.fhir.compartments import SHARED_TYPES
from fhir_server.fhir.reference import parse_reference
from fhir_server.search import terms
from fhir_server.search.expression import TermTuple
from fhir_server.storage.port import Terms

Resource = dict[str, Any]
Extract = Callable[[Resource], Terms]

SECURITY_CONTEXT = terms.key("Binary", "securityContext")
OFTEN_ABOUT_NOBODY = frozenset({"Device", "DocumentReference"})
ABOUT_NOBODY = "about-nobody"
HOLDERS = (
    "Communication", "CommunicationRequest", "DiagnosticReport", "DocumentManifest",
    "DocumentReference", "Media", "Patient", "QuestionnaireResponse", "RelatedPerson",
)  # fmt: skip
"""Types about a patient that have Binaries as their content."""
_HARMLESS_TARGETS = SHARED_TYPES | OFTEN_ABOUT_NOBODY | {"Binary"}
_ABOUT = frozenset({"patient", "subject", "sourcePatientInfo"})


def guard_key(type: str) -> str:
    """The key under which ABOUT_NOBODY stands for resources of a type."""
    return terms.key(type, "guard")


def content_key(type: str) -> str:
    """The key of the Binaries, as references, that resources of a type have as their content."""
    return terms.key(type, "guard-content")


def with_guard_terms(extract: Extract, base_url: str) -> Extract:
    """The extractor, with the guard's terms added. References below `base_url` are local."""
    local = base_url.rstrip("/")

    def extract_all(resource: Resource) -> Terms:
        found = extract(resource)
        extra = tuple(_guard_terms(resource, local))
        return replace(found, terms=found.terms + extra) if extra else found

    return extract_all


def _guard_terms(resource: Resource, local: str) -> Iterator[TermTuple]:
    type_ = resource["resourceType"]
    if type_ == "Binary":
        target = _local_target(resource.get("securityContext"), local)
        if target is not None:
            yield SECURITY_CONTEXT, target
    if type_ in OFTEN_ABOUT_NOBODY and not any(_names_somebody(each) for each in _nodes(resource)):
        yield guard_key(type_), ABOUT_NOBODY
    if type_ in HOLDERS:
        key = content_key(type_)
        yield from ((key, each) for each in sorted(set(_contents(resource, local))))


def _contents(resource: Resource, local: str) -> Iterator[str]:
    """The Binaries of this server that an attachment or a reference in the resource names."""
    for node in _nodes(resource):
        for name in ("url", "reference"):
            target = _local_target({"reference": node.get(name)}, local)
            if target is not None and target.startswith("Binary/"):
                yield target


def _local_target(reference: Any, local: str) -> str | None:
    text = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(text, str):
        return None
    try:
        parsed = parse_reference(text)
    except ValueError:
        return None
    if parsed.type is None or parsed.service not in (None, local):
        return None
    return f"{parsed.type}/{parsed.id}"


def _nodes(value: Any) -> Iterator[Resource]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def _names_somebody(node: Resource) -> bool:
    """Whether this object, a contained resource or reference, may stand for a patient."""
    if node.get("resourceType") not in (None, *_HARMLESS_TARGETS):
        return True
    if any("reference" not in node[name] for name in _ABOUT & node.keys()):
        return True  # known by an identifier or a name alone
    text = node.get("reference")
    if not isinstance(text, str) or text.startswith("#"):
        return False
    try:
        return parse_reference(text).type not in _HARMLESS_TARGETS
    except ValueError:
        return True
