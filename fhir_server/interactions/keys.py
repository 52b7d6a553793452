"""The identity in a request's URL."""

from fhir_server.interactions.context import FhirRequest
from fhir_server.storage.port import Key


def key_of(request: FhirRequest) -> Key:
    """The key of an instance-level request; the route table gives those a type and an id."""
    if request.type is None or request.id is None:
        raise ValueError(f"{request.interaction} names no resource")
    return Key(request.type, request.id)


def type_of(request: FhirRequest) -> str:
    """The type of a type-level request; the route table gives those a type."""
    if request.type is None:
        raise ValueError(f"{request.interaction} names no type")
    return request.type
