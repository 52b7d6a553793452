"""What `medsage models recall` does: a version is recalled on a running server, or the recall's way
so far is told."""

from dataclasses import dataclass
from typing import Any

import httpx

from deploy import tls
from deploy.analysis import worker_client
from deploy.keys import keys_of
from fhir_server.settings import Settings
from models.fhir_client import CallerToken, FhirClient


@dataclass(frozen=True)
class Order:
    """Which Device, why, and what period (instants; None: open); `operator` is whose order it is,
    where nobody's token says that."""

    device: str
    reason: str
    start: str | None = None
    end: str | None = None
    is_dry_run: bool = False
    operator: str | None = None

    def parameters(self) -> dict[str, Any]:
        """The Parameters resource of `$recall`."""
        parts: list[dict[str, Any]] = [{"name": "reason", "valueString": self.reason}]
        for name, moment in (("from", self.start), ("to", self.end)):
            if moment is not None:
                parts.append({"name": name, "valueInstant": moment})
        if self.operator is not None:
            parts.append({"name": "operator", "valueString": self.operator})
        if self.is_dry_run:
            parts.append({"name": "dryRun", "valueBoolean": True})
        return {"resourceType": "Parameters", "parameter": parts}


async def recalled(settings: Settings, order: Order, token: str | None = None) -> dict[str, Any]:
    """The answer of `$recall` by name: in the name of whose `token` it is, without one with the
    worker's key. FhirFailure when the server refuses or does not answer."""
    own = tls.calling(settings) if settings.tls_ca_file else True
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=own) as http:
        if token is None:
            fhir = worker_client(http, settings.base_url, keys_of(settings).worker)
        else:
            fhir = FhirClient(http, f"{settings.base_url}/fhir", CallerToken(token))
        return answered(await fhir.call(f"{order.device}/$recall", order.parameters()))


def answered(parameters: dict[str, Any]) -> dict[str, Any]:
    """The values of an answer by name; a reference as its text."""
    found = {}
    for part in parameters.get("parameter", ()):
        value = next(value for name, value in part.items() if name.startswith("value"))
        found[part["name"]] = value["reference"] if isinstance(value, dict) else value
    return found
