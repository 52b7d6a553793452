"""Content negotiation, security headers and cross-origin requests of the FHIR base."""

import pytest

from tests.fhir_world import PATIENT, World


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/fhir+json", "application/fhir+json"),
        ("application/json", "application/json"),
        ("*/*", "application/fhir+json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/fhir+json"),
        ("application/fhir+turtle, application/json;q=0.5", "application/json"),
        ("application/json;q=0.2, application/fhir+json", "application/fhir+json"),
    ],
)
async def test_the_json_that_is_wanted_most_is_sent(
    world: World, accept: str, expected: str
) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}", Accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{expected}; charset=utf-8"


@pytest.mark.parametrize("format", ["json", "application/fhir%2Bjson", "application/fhir+json"])
async def test_format_outweighs_accept(world: World, format: str) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}?_format={format}", Accept="application/fhir+xml")
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/fhir+json;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
async def test_json_in_utf_8_is_taken(world: World, content_type: str) -> None:
    response = await world.post("/Patient", PATIENT, Content_Type=content_type)
    assert response.status_code == 201


async def test_answers_are_not_kept_by_caches_or_run_by_browsers(world: World) -> None:
    id = await world.create(PATIENT)
    for url in (f"/Patient/{id}", "/Patient/nobody"):
        headers = (await world.get(url)).headers
        assert headers["cache-control"] == "private, no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]


async def test_a_registered_origin_may_call_and_read_the_etag(world: World) -> None:
    id = await world.create(PATIENT)
    preflight = await world.http.options(
        f"/Patient/{id}",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"},
    )
    assert preflight.status_code == 204
    assert {"PUT", "PATCH"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
    assert "application/json-patch+json" in preflight.headers["accept-patch"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    response = await world.get(f"/Patient/{id}", Origin="https://app.example")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert "etag" in response.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in response.headers


async def test_another_origin_may_read_the_capability_statement_only(world: World) -> None:
    foreign = "https://evil.example"
    response = await world.get("/Patient/p", Origin=foreign)
    assert "access-control-allow-origin" not in response.headers
    preflight = await world.http.options("/Patient/p", headers={"Origin": foreign})
    assert "access-control-allow-methods" not in preflight.headers
    metadata = await world.get("/metadata", Origin=foreign)
    assert metadata.headers["access-control-allow-origin"] == "*"
