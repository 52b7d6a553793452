"""R4 Binary, "Serving Binary Resources using the RESTful API": content in its own media type, in
and out; and the content of a Media."""

import base64

import pytest

from fhir_server.security.principal import Principal
from tests.fhir_world import PATIENT, Json, World, text_of

PNG = b"\x89PNG\r\n\x1a\n\x00rest"
FHIR_JSON, FHIR_XML = "application/fhir+json", "application/fhir+xml"


async def made(world: World, content: bytes = PNG, type: str = "image/png", **more: str) -> str:
    response = await world.post("/Binary", content, Content_Type=type, **more)
    assert response.status_code == 201, response.text
    id: str = response.json()["id"]
    return id


async def resource(world: World, id: str) -> Json:
    found: Json = (await world.get(f"/Binary/{id}", Accept=FHIR_JSON)).json()
    return found


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "image/*",
        "*/*",
        "text/html, image/webp, */*;q=0.8",
        f"{FHIR_JSON};q=0.5, image/png",
    ],
)
async def test_a_read_that_does_not_ask_for_fhir_gets_the_content(
    world: World, accept: str
) -> None:
    id = await made(world)
    for url in (f"/Binary/{id}", f"/Binary/{id}/_history/1"):
        response = await world.get(url, Accept=accept)
        assert response.status_code == 200
        assert response.content == PNG
        assert response.headers["content-type"] == "image/png"
        assert response.headers["etag"] == 'W/"1"'
        assert "last-modified" in response.headers


@pytest.mark.parametrize(
    ("url", "accept", "expected"),
    [
        ("", FHIR_JSON, FHIR_JSON),
        ("", FHIR_XML, FHIR_XML),
        ("", f"image/png;q=0.5, {FHIR_JSON}", FHIR_JSON),
        ("", "application/json", "application/json"),
        ("?_format=json", "image/png", FHIR_JSON),
        ("?_format=xml", "*/*", FHIR_XML),
        ("?_summary=false", "*/*", FHIR_JSON),
    ],
)
async def test_a_read_that_asks_for_fhir_gets_the_resource(
    world: World, url: str, accept: str, expected: str
) -> None:
    id = await made(world)
    response = await world.get(f"/Binary/{id}{url}", Accept=accept)
    assert response.headers["content-type"] == f"{expected}; charset=utf-8"
    assert base64.b64encode(PNG) in response.content


async def test_plain_json_is_the_content_where_that_is_json(world: World) -> None:
    id = await made(world, b'{"a":1}', "application/json")
    response = await world.get(f"/Binary/{id}", Accept="application/json")
    assert response.json() == {"a": 1}
    assert (await resource(world, id))["contentType"] == "application/json"


async def test_neither_content_nor_resource_is_406(world: World) -> None:
    id = await made(world)
    response = await world.get(f"/Binary/{id}", Accept="image/jpeg")
    assert response.status_code == 406
    assert "the content is image/png" in text_of(response)


async def test_what_is_not_there_is_refused_as_any_resource(world: World) -> None:
    assert (await world.get("/Binary/nothing", Accept="image/png")).status_code == 404
    id = await made(world)
    await world.delete(f"/Binary/{id}")
    assert (await world.get(f"/Binary/{id}", Accept="image/png")).status_code == 410


async def test_a_caller_who_has_the_content_is_told_so(world: World) -> None:
    id = await made(world)
    response = await world.get(f"/Binary/{id}", If_None_Match='W/"1"')
    assert (response.status_code, response.content) == (304, b"")
    await world.put(f"/Binary/{id}", b"new", Content_Type="text/plain")
    assert (await world.get(f"/Binary/{id}", If_None_Match='W/"1"')).content == b"new"


async def test_a_browser_runs_nothing_of_it(world: World) -> None:
    for type, kind in (
        ("image/png", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/x-unknown", "attachment"),
    ):
        id = await made(world, b"<script>", type)
        headers = (await world.get(f"/Binary/{id}")).headers
        assert headers["content-disposition"].startswith(kind)
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("type", ["image/png", "text/plain; charset=utf-8", "application/dicom"])
async def test_content_that_is_sent_becomes_a_binary(world: World, type: str) -> None:
    id = await made(world, PNG, type, X_Security_Context="Patient/p")
    found = await resource(world, id)
    assert found["contentType"] == type
    assert base64.b64decode(found["data"]) == PNG
    assert found["securityContext"] == {"reference": "Patient/p"}
    raw = await world.get(f"/Binary/{id}")
    assert raw.headers["content-type"] == type
    assert raw.headers["x-security-context"] == "Patient/p"


async def test_another_resource_is_content_too(world: World) -> None:
    id = await made(world, b'{"resourceType":"Patient"}', FHIR_JSON)
    assert (await resource(world, id))["contentType"] == FHIR_JSON
    xml = b'<Patient xmlns="http://hl7.org/fhir"/>'
    id = await made(world, xml, FHIR_XML)
    assert (await world.get(f"/Binary/{id}", Accept="text/html, */*")).content == xml


async def test_a_binary_resource_is_itself(world: World) -> None:
    body = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGk="}
    id = await world.create(body)
    assert (await world.get(f"/Binary/{id}")).content == b"hi"
    xml = b'<Binary xmlns="http://hl7.org/fhir"><contentType value="a/b"/></Binary>'
    for type in (FHIR_XML, "text/xml"):
        id = await made(world, xml, type)
        assert (await resource(world, id))["contentType"] == "a/b"


@pytest.mark.parametrize(
    ("type", "body"),
    [(FHIR_JSON, b'{"resourceType":"Binary"'), (FHIR_XML, b"<Binary"), (FHIR_JSON, b"")],
)
async def test_a_resource_that_cannot_be_read_is_no_content(
    world: World, type: str, body: bytes
) -> None:
    assert (await world.post("/Binary", body, Content_Type=type)).status_code == 400


async def test_an_update_keeps_the_security_context_unless_it_names_one(world: World) -> None:
    id = await made(world, X_Security_Context="Patient/p")
    for header, expected in (({}, "Patient/p"), ({"X_Security_Context": "Patient/q"}, "Patient/q")):
        response = await world.put(f"/Binary/{id}", b"new", Content_Type="text/plain", **header)
        assert response.status_code == 200
        assert (await resource(world, id))["securityContext"] == {"reference": expected}
    created = await world.put("/Binary/chosen", b"new", Content_Type="text/plain")
    assert created.status_code == 201


async def test_a_security_context_is_never_ignored(world: World) -> None:
    body = {"resourceType": "Binary", "contentType": "text/plain"}
    response = await world.post("/Binary", body, X_Security_Context="Patient/p")
    assert response.status_code == 400
    assert "X-Security-Context" in text_of(response)


async def test_content_without_a_type_is_unknown_bytes(world: World) -> None:
    absent = {"extension": [{"url": "http://x.y/absent", "valueCode": "unknown"}]}
    id = await world.create({"resourceType": "Binary", "_contentType": absent, "data": "aGk="})
    response = await world.get(f"/Binary/{id}")
    assert response.content == b"hi"
    assert response.headers["content-type"] == "application/octet-stream"
    picture = await world.create(
        {"resourceType": "Media", "status": "completed", "content": {"url": f"Binary/{id}"}}
    )
    assert (await world.get(f"/Media/{picture}", Accept="image/png")).status_code == 406


async def test_content_is_guarded_and_audited_as_the_resource(world: World) -> None:
    id = await made(world, X_Security_Context="Patient/other")
    world.caller.principal = Principal(
        subject="p",
        client_id="app",
        name="P",
        roles=frozenset({"doctor"}),
        fhir_user="Practitioner/dr",
        scopes="patient/*.cruds",
        patient="p",
        encounter=None,
        session=None,
    )
    assert (await world.get(f"/Binary/{id}", Accept="image/png")).status_code == 404
    world.caller.principal = None
    await world.get(f"/Binary/{id}", Accept="image/png")
    last = (await world.journal())[-1]
    assert (last["interaction"], last["key"]) == ("read", f"Binary/{id}")


def media(**content: str) -> Json:
    return {"resourceType": "Media", "status": "completed", "content": content}


async def test_a_media_gives_its_picture_to_who_asks_for_one(world: World) -> None:
    data = base64.b64encode(PNG).decode()
    inside = await world.create(media(contentType="image/png", data=data))
    binary = await made(world)
    beside = await world.create(media(contentType="image/png", url=f"Binary/{binary}"))
    absolute = await world.create(
        media(contentType="image/png", url=f"http://fhir.example/fhir/Binary/{binary}")
    )
    for id in (inside, beside, absolute):
        for accept in ("image/png", "image/*", f"{FHIR_JSON};q=0.5, image/*"):
            response = await world.get(f"/Media/{id}", Accept=accept)
            assert (response.status_code, response.content) == (200, PNG)
            assert response.headers["content-type"] == "image/png"
        for accept in ("*/*", FHIR_JSON, f"image/png;q=0.5, {FHIR_JSON}"):
            assert (await world.get(f"/Media/{id}", Accept=accept)).json()["id"] == id
        assert (await world.get(f"/Media/{id}", Accept="image/jpeg")).status_code == 406


async def test_a_picture_that_lies_elsewhere_is_not_fetched(world: World) -> None:
    id = await world.create(media(contentType="image/png", url="http://elsewhere.example/x.png"))
    response = await world.get(f"/Media/{id}", Accept="image/png")
    assert response.status_code == 404
    assert "on this server" in text_of(response)


async def test_a_media_says_nothing_of_a_binary_that_may_have_changed(world: World) -> None:
    binary = await made(world)
    id = await world.create(media(contentType="image/png", url=f"Binary/{binary}"))
    await world.put(f"/Binary/{binary}", b"new", Content_Type="image/png")
    response = await world.get(f"/Media/{id}", Accept="image/png", If_None_Match='W/"1"')
    assert (response.status_code, response.content) == (200, b"new")
    assert "etag" not in response.headers


async def test_other_types_are_never_content(world: World) -> None:
    id = await world.create(PATIENT)
    assert (await world.get(f"/Patient/{id}", Accept="image/png")).status_code == 406
