"""The states of a version as the models use them; they are defined, and enforced, by the server
(`fhir_server.fhir.model_versions`). A comparison (`COMPARISON`, `VERDICT`) that says `BETTER` is
what a promotion to active asks for, by reference to its MeasureReport."""

from fhir_server.fhir.model_versions import (
    BETTER,
    COMPARISON,
    VERDICT,
    Proposal,
    Standing,
    State,
    require_verdict,
    standing_of,
)

__all__ = [
    "BETTER",
    "COMPARISON",
    "VERDICT",
    "Proposal",
    "Standing",
    "State",
    "require_verdict",
    "standing_of",
]
