"""Where a Subscription may be told (R4 Subscription, "channel.endpoint"), judged when it is asked
for. What comes by another way, as by a patch, is judged before it is put in force."""

from fhir_server.fhir.outcome import business_rule
from fhir_server.interactions.context import Context, Resource
from fhir_server.security.endpoints import WORKER, OutOfReach
from fhir_server.security.subscribers import TYPE

_IN_FORCE = ("requested", "active")


async def require_reachable(context: Context, resource: Resource) -> None:
    """FhirError 422 for a Subscription to be told where the operator lets nothing be sent."""
    if resource.get("resourceType") != TYPE or resource.get("status") not in _IN_FORCE:
        return
    if context.writer.client_id == WORKER:
        return
    try:
        await context.endpoints.require(resource.get("channel", {}).get("endpoint", ""))
    except OutOfReach as problem:
        raise business_rule(str(problem), "Subscription.channel.endpoint") from None
