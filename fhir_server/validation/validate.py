"""Validation of one resource against base FHIR R4 4.0.1: a fast verdict and a full account."""

from typing import Any

from fhir_server.fhir.outcome import Issue

Resource = dict[str, Any]


class Validator:
    """Judges parsed resources; keeps compiled schemas, so one instance serves the process."""

    def is_valid(self, resource: Resource) -> bool:
        """True when `issues` holds no error; tens of microseconds."""
        return not any(each.severity in ("error", "fatal") for each in self.issues(resource))

    def issues(self, resource: Resource) -> tuple[Issue, ...]:
        """Every problem with its FHIRPath expression; warnings included; empty when faultless."""
        raise NotImplementedError(resource.get("resourceType"))
