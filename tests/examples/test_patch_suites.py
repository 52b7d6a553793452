"""The official patch suites for R4: JSON Patch and FHIRPath Patch, every case."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.fhir import codec
from fhir_server.fhir.fhirpath_patch import fhirpath_patch
from fhir_server.fhir.outcome import FhirError
from fhir_server.fhir.patch import json_patch
from fhir_server.fhir.xml import json_of

CONFORMANCE = Path(__file__).parents[2].parent / "shared" / "conformance"
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not (CONFORMANCE / "fhirpath-r4.tar.xz").exists(), reason="the official suites are not here"
)


def suite(name: str) -> bytes:
    with tarfile.open(CONFORMANCE / "fhirpath-r4.tar.xz") as archive:
        file = archive.extractfile(f"r4/patch/{name}")
        assert file is not None
        return file.read()


def test_json_patch() -> None:
    cases = json.loads(suite("json-patch-tests.json"))
    assert len(cases) == 16
    for case in cases:
        document, body = case["doc"], json.dumps(case["patch"]).encode()
        if "error" in case:
            with pytest.raises(FhirError):
                json_patch(body).applied(document)
        else:
            assert json_patch(body).applied(document) == case["expected"], case["comment"]


def resource(case: Any, name: str) -> Json:
    """The resource in one part of a case."""
    return codec.parse(json_of(etree.tostring(case.find(name)[0])))


def test_fhirpath_patch() -> None:
    cases = etree.fromstring(suite("fhir-patch-tests.xml")).findall("case")
    assert len(cases) == 33
    for case in cases:
        document, patch = resource(case, "input"), fhirpath_patch(resource(case, "diff"))
        if case.find("error") is not None:
            with pytest.raises(FhirError) as refusal:
                patch.applied(document)
            assert refusal.value.status == 422
        else:
            assert patch.applied(document) == resource(case, "output"), case.get("name")
