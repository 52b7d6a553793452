"""How copies of charts from other record systems are marked (Resource.meta.tag)."""

from fhir_server.fhir.assessment import FROM_EHR
from terminology.concepts import Concept, Resource, System, unlisted_system

ORIGIN = System(
    "origin",
    "MedSAGE origins",
    "Where a resource comes from, when it was not made here (meta.tag).",
    (
        Concept(
            FROM_EHR["code"],
            FROM_EHR["display"],
            "It belongs to a chart that was copied from another record system at a launch.",
        ),
    ),
)
SYSTEMS = (ORIGIN,)


def chart() -> Resource:
    """The CodeSystem of copied charts: a code is the id of the copied Patient, so none is
    listed."""
    return unlisted_system(
        "chart",
        "MedSAGE copied charts",
        "The chart that a copied resource belongs to (meta.tag): the id of its Patient here.",
    )
