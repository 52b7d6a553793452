"""R4 RESTful API, "Content Types and encodings": XML and JSON on every road, `_format`, `_pretty`
and the FHIR version."""

import json

import pytest
from lxml import etree

from tests.bundles import entry, transaction
from tests.fhir_world import PATIENT, World, observation, text_of

NAMESPACE = "{http://hl7.org/fhir}"
XML = "application/fhir+xml"
PATIENT_XML = (
    b'<?xml version="1.0"?><Patient xmlns="http://hl7.org/fhir">'
    b'<name><family value="Chalmers"/></name><birthDate value="1974-12-25"/></Patient>'
)
BUNDLE_XML = (
    b'<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry><resource>%s</resource>'
    b'<request><method value="POST"/><url value="Patient"/></request></entry></Bundle>'
)
UUID = "urn:uuid:00000000-0000-4000-8000-00000000000a"


def root_of(body: bytes) -> etree._Element:
    return etree.fromstring(body)


def value_of(body: bytes, path: str) -> str | None:
    found = root_of(body).find(path, namespaces={None: NAMESPACE[1:-1]})
    return None if found is None else found.get("value")


@pytest.mark.parametrize("content_type", [XML, "application/xml", "text/xml;charset=utf-8"])
async def test_what_is_sent_as_xml_is_stored_as_any_resource(
    world: World, content_type: str
) -> None:
    made = await world.post("/Patient", PATIENT_XML, Content_Type=content_type)
    assert made.status_code == 201
    read = (await world.get(f"/Patient/{made.json()['id']}")).json()
    assert read["name"] == [{"family": "Chalmers"}]
    assert (await world.get("/Patient?birthdate=1974-12-25")).json()["total"] == 1


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (XML, XML),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        (f"{XML}, application/fhir+json;q=0.9", XML),
        ("application/fhir+json;q=0.2, */*;q=0.1, text/xml;q=0.3", "text/xml"),
        ("application/fhir+json;q=0, application/json;q=0, application/*", XML),
        (f"{XML};fhirVersion=3.0, application/json", "application/json"),
    ],
)
async def test_the_form_that_is_wanted_most_is_sent(
    world: World, accept: str, expected: str
) -> None:
    id = await world.create(PATIENT)
    response = await world.get(f"/Patient/{id}", Accept=accept)
    assert response.headers["content-type"] == f"{expected}; charset=utf-8"
    if expected.endswith("xml"):
        assert value_of(response.content, "name/family") == "Chalmers"


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("xml", XML),
        ("application/fhir%2Bxml", XML),
        ("application/fhir+xml", XML),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("json", "application/fhir+json"),
        ("application/json", "application/json"),
    ],
)
async def test_format_outweighs_accept(world: World, format: str, expected: str) -> None:
    id = await world.create(PATIENT)
    for accept in ("application/fhir+json", XML, "text/html"):
        response = await world.get(f"/Patient/{id}?_format={format}", Accept=accept)
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"


@pytest.mark.parametrize("url", ["?_format=ttl", "?_format=application/fhir+json;fhirVersion=3.0"])
async def test_a_format_that_is_not_spoken_is_406_and_says_what_is(world: World, url: str) -> None:
    response = await world.get(f"/Patient/p{url}")
    assert response.status_code == 406
    assert "application/fhir+json and application/fhir+xml" in text_of(response)


async def test_who_names_the_fhir_version_is_told_it(world: World) -> None:
    id = await world.create(PATIENT)
    for name in ("application/fhir+json", XML):
        response = await world.get(f"/Patient/{id}", Accept=f"{name}; fhirVersion=4.0")
        assert response.headers["content-type"] == f"{name}; charset=utf-8; fhirVersion=4.0"
    other = await world.get(f"/Patient/{id}", Accept=f"{XML}; fhirVersion=5.0")
    assert other.status_code == 406


@pytest.mark.parametrize("content_type", ["application/fhir+turtle", f"{XML};fhirVersion=3.0"])
async def test_a_body_of_another_type_is_415_and_says_what_is_taken(
    world: World, content_type: str
) -> None:
    response = await world.post("/Patient", PATIENT_XML, Content_Type=content_type)
    assert response.status_code == 415
    assert content_type in text_of(response)
    assert "application/fhir+xml" in text_of(response)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/Patient/nobody", 404),
        ("/Nothing", 404),
        ("/Patient?colour=red", 400),
        ("/Patient/p?_pretty=maybe", 400),
    ],
)
async def test_a_refusal_is_in_the_form_asked_for(world: World, url: str, status: int) -> None:
    joint = "&" if "?" in url else "?"
    by_accept = await world.get(url, Accept=XML)
    by_format = await world.get(f"{url}{joint}_format=xml")
    for response in (by_accept, by_format):
        assert response.status_code == status
        assert response.headers["content-type"].startswith(XML)
        assert root_of(response.content).tag == f"{NAMESPACE}OperationOutcome"
        assert value_of(response.content, "issue/severity") == "error"


async def test_xml_that_is_wrong_is_refused_with_its_place(world: World) -> None:
    body = PATIENT_XML.replace(b"<birthDate", b"\n<hair value='red'/><birthDate")
    response = await world.post("/Patient", body, Content_Type=XML)
    assert response.status_code == 400
    assert "line 2: <hair> is not an element of Patient, at /Patient/hair" in text_of(response)
    invalid = PATIENT_XML.replace(b"1974-12-25", b"1974-13-25")
    response = await world.post("/Patient", invalid, Content_Type=XML)
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["Patient.birthDate"]


async def test_an_entity_is_never_followed(world: World) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + PATIENT_XML
    response = await world.post("/Patient", bomb.replace(b"Chalmers", b"&b;"), Content_Type=XML)
    assert response.status_code == 400
    assert "document type" in text_of(response)


async def test_decimals_and_narratives_are_the_same_in_both(world: World) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>1 &lt; 2 <b>é</b></p></div>'
    body = json.dumps(
        observation(text={"status": "additional", "div": div}, valueQuantity={"value": 0})
    ).replace('"value": 0', '"value": 1.500')
    made = await world.post("/Observation", body.encode())
    id = made.json()["id"]
    xml = await world.get(f"/Observation/{id}?_format=xml")
    assert b'<value value="1.500"/>' in xml.content
    assert div.encode() in xml.content
    changed = xml.content.replace(b'"final"', b'"amended"')
    back = await world.put(f"/Observation/{id}", changed, Content_Type=XML)
    assert b'"value":1.500' in back.content
    assert back.json()["text"]["div"] == div


async def test_bundles_go_in_and_out_as_xml(world: World) -> None:
    sent = transaction(
        {"fullUrl": UUID} | entry("POST", "Patient", PATIENT),
        entry("POST", "Observation", observation(subject={"reference": UUID})),
    )
    made = await world.post("?_format=xml", sent)
    assert made.status_code == 200, made.text
    assert value_of(made.content, "type") == "transaction-response"
    search = await world.get("/Observation?_include=Observation:subject", Accept=XML)
    assert value_of(search.content, "total") == "1"
    inside = f"{NAMESPACE}entry/{NAMESPACE}resource/"
    assert root_of(search.content).find(f"{inside}{NAMESPACE}Patient") is not None
    again = BUNDLE_XML % PATIENT_XML.partition(b"?>")[2]
    answer = await world.post("", again, Content_Type=XML)
    assert answer.json()["entry"][0]["response"]["status"].startswith("201")


async def test_pretty_is_for_people(world: World) -> None:
    id = await world.create(PATIENT)
    for format in ("json", "xml"):
        plain = await world.get(f"/Patient/{id}?_format={format}")
        pretty = await world.get(f"/Patient/{id}?_format={format}&_pretty=true")
        assert pretty.content.count(b"\n") > plain.content.count(b"\n") + 5
        assert b"".join(pretty.content.split()) == b"".join(plain.content.split())


async def test_the_statement_names_the_formats_and_is_served_in_both(world: World) -> None:
    formats = {"application/fhir+json", "application/fhir+xml", "json", "xml"}
    statement = (await world.get("/metadata")).json()
    assert set(statement["format"]) == formats
    as_xml = await world.get("/metadata", Accept=XML)
    assert root_of(as_xml.content).tag == f"{NAMESPACE}CapabilityStatement"
    assert value_of(as_xml.content, "fhirVersion") == "4.0.1"
