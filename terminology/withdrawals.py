"""The mark of drafts of an analysis that the patient does not permit any more."""

from fhir_server.fhir.withdrawn import WITHDRAWN
from terminology.concepts import Concept, System

SYSTEMS = (
    System(
        "withdrawal",
        "MedSAGE withdrawals",
        "Marks a draft whose patient does not permit the analysis any more (meta.tag).",
        (
            Concept(
                WITHDRAWN["code"],
                WITHDRAWN["display"],
                "Consent was withdrawn, or processing restricted, before anybody signed it: it is "
                "not to be signed as long as it bears this mark.",
            ),
        ),
    ),
)
