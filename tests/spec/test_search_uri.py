"""R4 Search, "uri": precise, :below, :above."""

from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward

URLS = {
    "root": "http://acme.org/fhir/",
    "one": "http://acme.org/fhir/ValueSet/1",
    "ten": "http://acme.org/fhir/ValueSet/10",
    "Case": "http://acme.org/fhir/valueset/1",
    "urn": "urn:oid:1.2.3",
}
RESOURCES = [
    {"resourceType": "ValueSet", "id": id, "status": "draft", "url": url}
    for id, url in URLS.items()
]

CASES = [
    ("url=http://acme.org/fhir/ValueSet/1", {"one"}),
    ("url=http://acme.org/fhir/VALUESET/1", set()),
    ("url=http://acme.org/fhir/ValueSet", set()),
    ("url=urn:oid:1.2.3", {"urn"}),
    ("url:below=http://acme.org/fhir/ValueSet/1", {"one", "ten"}),
    ("url:below=http://acme.org/fhir/", {"root", "one", "ten", "Case"}),
    ("url:below=http://acme.org/fhir/ValueSet/100", set()),
    ("url:above=http://acme.org/fhir/ValueSet/1/_history/5", {"root", "one"}),
    ("url:above=http://acme.org/fhir/ValueSet/10", {"root", "one", "ten"}),
    ("url:above=http://acme.org", set()),
    ("url=urn:oid:1.2.3,http://acme.org/fhir/", {"urn", "root"}),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_uris_are_found(query: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(f"ValueSet?{query}") == expected


@pytest.mark.parametrize("query", ["url:exact=x", "url:contains=x", "url=", "url:below="])
def test_what_cannot_be_answered_is_refused_by_name(query: str) -> None:
    with pytest.raises(FhirError, match="url") as refusal:
        plan(f"ValueSet?{query}")
    assert refusal.value.status == 400
