"""The operations that this server defines itself, as OperationDefinitions."""

from fhir_server.fhir.assessment import CANONICAL


def definition_url(code: str) -> str:
    """The canonical URL of the definition of one of them."""
    return f"{CANONICAL}/OperationDefinition/{code}"
