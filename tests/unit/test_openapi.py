"""The OpenAPI document shows the FHIR base from the table that dispatch works by."""

from fastapi import FastAPI

from deploy.openapi import fhir_paths, with_fhir_paths
from fhir_server.rest.body import PATCH_FORMATS
from fhir_server.rest.routes import ROUTES


def test_every_row_of_the_route_table_is_shown() -> None:
    paths = fhir_paths()

    for route in ROUTES:
        operation = paths[f"/fhir/{route.shape}".rstrip("/")][route.method.lower()]
        assert route.interaction in operation["summary"].split(", ")


def test_nothing_else_is_shown_below_the_fhir_base() -> None:
    shown = {(method, path) for path, each in fhir_paths().items() for method in each}

    rows = {(route.method.lower(), f"/fhir/{route.shape}".rstrip("/")) for route in ROUTES}
    assert shown == rows


def test_a_patch_is_shown_with_the_forms_in_which_it_is_taken() -> None:
    for path in ("/fhir/{type}", "/fhir/{type}/{id}"):
        body = fhir_paths()[path]["patch"]["requestBody"]
        assert list(body["content"]) == list(PATCH_FORMATS)
        assert body["required"]


def test_the_document_has_the_apps_own_routes_too() -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {}

    with_fhir_paths(app)

    assert {"/health", "/fhir/{type}/{id}"} <= set(app.openapi()["paths"])


def test_the_headers_that_say_how_are_shown_where_they_count() -> None:
    paths = fhir_paths()

    def headers(method: str, path: str) -> set[str]:
        shown = paths[path][method]["parameters"]
        return {each["name"] for each in shown if each["in"] == "header"}

    assert headers("post", "/fhir/{type}") == {"Prefer", "Idempotency-Key"}
    assert headers("get", "/fhir/{type}") == {"Prefer"}
    assert headers("get", "/fhir/_async/{job}") == set()
    assert "202" in paths["/fhir/{type}"]["get"]["responses"]
    assert "202" not in paths["/fhir/{type}"]["post"]["responses"]
