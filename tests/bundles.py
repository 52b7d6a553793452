"""Bundles for the tests of batch and transaction."""

from tests.fhir_world import Json


def transaction(*entries: Json) -> Json:
    """A transaction of these entries."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def batch(*entries: Json) -> Json:
    """A batch of these entries."""
    return {"resourceType": "Bundle", "type": "batch", "entry": list(entries)}


def entry(method: str, url: str, resource: Json | None = None, **request: str) -> Json:
    """An entry that asks for `method` on `url`; further elements of its request by name."""
    made: Json = {"request": {"method": method, "url": url} | request}
    return made if resource is None else made | {"resource": resource}
