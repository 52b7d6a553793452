"""Bad input: each gets the right 4xx with an OperationOutcome that names the cause, leaves an
audit record, and changes nothing."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fhir_server.fhir.outcome import login_required
from tests.fhir_world import JSON, World, fhir_world, issues, text_of

VALID = b'{"resourceType":"Patient","active":true}'


@dataclass(frozen=True)
class Bad:
    """A request and what its refusal must be."""

    method: str
    url: str
    status: int
    names: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def _body(body: bytes, status: int, names: str) -> Bad:
    return Bad("POST", "/Patient", status, names, body, JSON)


def _header(status: int, names: str, **headers: str) -> Bad:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Bad("POST", "/Patient", status, names, VALID, JSON | named)


_JSON_PATCH = {"content-type": "application/json-patch+json"}
_LATIN_PATCH = {"content-type": "application/json-patch+json; charset=latin-1"}
_MERGE_PATCH = {"content-type": "application/merge-patch+json"}

CASES = {
    "broken JSON": _body(b'{"resourceType":"Patient"', 400, "JSON"),
    "an empty body": _body(b"", 400, "empty"),
    "a JSON array": _body(b"[]", 400, "array"),
    "a duplicate key": _body(
        b'{"resourceType":"Patient","active":true,"active":false}', 400, "active"
    ),
    "NaN": _body(b'{"resourceType":"Patient","active":NaN}', 400, "JSON"),
    "a byte order mark": _body(b"\xef\xbb\xbf" + VALID, 400, "byte order mark"),
    "bad UTF-8": _body(b'{"resourceType":"Patient","language":"\xff"}', 400, "UTF-8"),
    "nesting": _body(
        b'{"resourceType":"Patient","x":' + b"[" * 200 + b"]" * 200 + b"}", 400, "100"
    ),
    "the separator": _body(
        b'{"resourceType":"Patient","name":[{"family":"a\\u001fb"}]}', 400, "U+001F"
    ),
    "another type": _body(b'{"resourceType":"Observation"}', 400, "Observation"),
    "no type": _body(b'{"active":true}', 400, "Patient"),
    "an unknown field": _body(b'{"resourceType":"Patient","colour":"red"}', 400, "colour"),
    "a wrong code": _body(b'{"resourceType":"Patient","gender":"x"}', 400, "gender"),
    "too large": _body(
        b'{"resourceType":"Patient","language":"' + b"a" * 1_000_001 + b'"}', 413, "1000000"
    ),
    "no content type": Bad("POST", "/Patient", 415, "Content-Type", VALID),
    "Turtle": _header(415, "application/fhir+turtle", content_type="application/fhir+turtle"),
    "a form": _header(415, "form", content_type="application/x-www-form-urlencoded"),
    "another charset": _header(415, "latin", content_type="application/json; charset=latin-1"),
    "another FHIR version": _header(
        415, "fhirVersion", content_type="application/fhir+json; fhirVersion=3.0"
    ),
    "compressed": _header(415, "Content-Encoding", content_encoding="gzip"),
    "Accept Turtle": _header(406, "application/fhir+turtle", accept="application/fhir+turtle"),
    "Accept nothing": _header(406, "Accept", accept="application/json;q=0"),
    "_format Turtle": Bad("GET", "/Patient/p?_format=ttl", 406, "ttl"),
    "_format twice": Bad("GET", "/Patient/p?_format=json&_format=json", 400, "_format"),
    "_pretty maybe": Bad("GET", "/Patient/p?_pretty=maybe", 400, "_pretty"),
    "a Prefer that is none": _header(400, "return=all", prefer="return=all"),
    "a handling that is none": _header(400, "handling", prefer="handling=lax"),
    "If-Match malformed": Bad(
        "PUT", "/Patient/p", 400, "If-Match", VALID, JSON | {"If-Match": "three"}
    ),
    "If-Match misplaced": _header(400, "If-Match", If_Match='W/"1"'),
    "If-None-Match malformed": Bad(
        "GET", "/Patient/p", 400, "If-None-Match", None, {"If-None-Match": "1"}
    ),
    "If-None-Match empty": Bad(
        "GET", "/Patient/p", 400, "If-None-Match", None, {"If-None-Match": ","}
    ),
    "an unknown parameter": Bad("GET", "/Patient/p?colour=red", 400, "colour"),
    "the separator in a search": Bad("GET", "/Patient?family=a%1fb", 400, "U+001F"),
    "an unknown search parameter": Bad("GET", "/Patient?colour=red", 400, "colour"),
    "an unknown modifier": Bad("GET", "/Patient?family:loud=x", 400, "loud"),
    "a date that is none": Bad("GET", "/Patient?birthdate=2026-13", 400, "birthdate"),
    "a parameter on create": Bad("POST", "/Patient?name=x", 400, "name", VALID, JSON),
    "a parameter that is not UTF-8": Bad("GET", "/Patient/p?_pretty=%ff", 400, "UTF-8"),
    "an unknown type": Bad("GET", "/Person2/p", 404, "Person2"),
    "an abstract type": Bad("GET", "/DomainResource/p", 404, "DomainResource"),
    "an unknown path": Bad("GET", "/Patient/p/q/r/s", 404, "/Patient/p/q/r/s"),
    "an operation that is not built": Bad("GET", "/Patient/p/$summary", 404, "summary"),
    "an id that is none": Bad("GET", "/Patient/a_b", 400, "a_b"),
    "an id that is too long": Bad("PUT", f"/Patient/{'a' * 65}", 400, "a" * 65, VALID, JSON),
    "a merge patch": Bad(
        "PATCH", "/Patient/p", 415, "application/json-patch+json", b"{}", _MERGE_PATCH
    ),
    "a patch without a type": Bad("PATCH", "/Patient/p", 415, "Content-Type is missing", b"[]"),
    "a JSON Patch sent as a resource": Bad("PATCH", "/Patient/p", 400, "array", b"[]", JSON),
    "a patch in another charset": Bad("PATCH", "/Patient/p", 415, "latin", b"[]", _LATIN_PATCH),
    "content as a patch of Binary": Bad(
        "PATCH", "/Binary/p", 415, "image/png", b"x", {"content-type": "image/png"}
    ),
    "PATCH on the base": Bad("PATCH", "", 405, "PATCH", b"[]", JSON),
    "PUT on all of a type": Bad("PUT", "/Patient", 412, "criterion", VALID, JSON),
    "PATCH on all of a type": Bad("PATCH", "/Patient", 412, "criterion", b"[]", _JSON_PATCH),
    "DELETE on all of a type": Bad("DELETE", "/Patient", 412, "criterion"),
    "DELETE on everything": Bad("DELETE", "", 405, "DELETE"),
    "GET on the base": Bad("GET", "", 400, "_type"),
    "PUT on the base": Bad("PUT", "", 405, "PUT", VALID, JSON),
    "a Patient to the base": Bad("POST", "", 400, "Patient", VALID, JSON),
    "a document to the base": Bad(
        "POST", "", 400, "document", b'{"resourceType":"Bundle","type":"document"}', JSON
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_is_refused_by_name_and_audited(world: World, name: str) -> None:
    bad = CASES[name]
    response = await world.http.request(bad.method, bad.url, content=bad.body, headers=bad.headers)
    assert response.status_code == bad.status, response.text
    said = text_of(response) + str([each.get("expression") for each in issues(response)])
    assert bad.names in said
    journal = await world.journal()
    assert [(each["outcome"], each["status"]) for each in journal] == [("refused", bad.status)]
    assert await world.count("Patient") == 0


async def test_a_body_that_grows_too_large_is_refused_before_it_is_read(world: World) -> None:
    async def endless():  # type: ignore[no-untyped-def]
        while True:
            yield b"x" * 100_000

    response = await world.http.post("/Patient", content=endless(), headers=JSON)
    assert response.status_code == 413


async def test_an_unknown_failure_shows_a_request_id_and_nothing_else(tmp_path: Path) -> None:
    def broken(resource: object) -> None:
        raise RuntimeError("the patient's name is Chalmers")

    async with fhir_world(tmp_path, extract=broken) as world:
        response = await world.http.post("/Patient", content=VALID, headers=JSON)
        assert response.status_code == 500
        assert "Chalmers" not in response.text
        assert "request-1" in text_of(response)
        assert response.headers["x-request-id"] == "request-1"
        assert (await world.journal())[0]["outcome"] == "failed"


async def test_without_a_token_everything_but_metadata_is_401(tmp_path: Path) -> None:
    async def nobody(headers: object) -> None:
        raise login_required("no access token was sent")

    async with fhir_world(tmp_path, authenticate=nobody, is_open=False) as world:
        for method, url in (("GET", "/Patient/p"), ("POST", "/Patient"), ("GET", "/Nothing/p")):
            response = await world.http.request(method, url)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert issues(response)[0]["code"] == "login"
        assert (await world.get("/metadata")).status_code == 200
        assert [each["status"] for each in await world.journal()] == [401, 401, 401, 200]


async def test_nobody_is_let_in_where_access_is_not_open(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, is_open=False) as world:
        assert (await world.get("/Patient/p")).status_code == 401


async def test_a_request_id_of_the_caller_is_kept_when_it_is_a_plain_token(world: World) -> None:
    kept = await world.get("/metadata", X_Request_Id="trace-7")
    replaced = await world.get("/metadata", X_Request_Id='"><script>')
    assert kept.headers["x-request-id"] == "trace-7"
    assert replaced.headers["x-request-id"] == "request-1"
