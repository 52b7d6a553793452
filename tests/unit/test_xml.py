"""FHIR XML: what is read, what is refused and where, and that nothing is lost either way."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.outcome import FhirError
from fhir_server.fhir.xml import json_of, pretty_xml, xml_of

NAMESPACE = "http://hl7.org/fhir"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def patient(inside: str) -> bytes:
    return f'<Patient xmlns="{NAMESPACE}">{inside}</Patient>'.encode()


def read(inside: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_of(patient(inside)), parse_float=str)
    return found


def refusal(body: bytes) -> str:
    with pytest.raises(FhirError) as refused:
        json_of(body)
    assert refused.value.status == 400
    return refused.value.issues[0].diagnostics


def written(**members: Any) -> str:
    return xml_of(json.dumps({"resourceType": "Patient"} | members).encode()).decode()


def test_values_become_what_json_writes() -> None:
    found = read(
        '<active value="true"/><birthDate value="2000-01"/><multipleBirthInteger value="+2"/>'
    )
    assert found == {
        "resourceType": "Patient",
        "active": True,
        "birthDate": "2000-01",
        "multipleBirthInteger": 2,
    }


@pytest.mark.parametrize("text", ["1.50", "0.0000001", "1e5", "-0.0", "12345678901234567890.5"])
def test_a_decimal_keeps_its_digits_both_ways(text: str) -> None:
    inside = f'<extension url="http://x.y/z"><valueDecimal value="{text}"/></extension>'
    body = json_of(patient(inside))
    assert f'"valueDecimal":{text}'.encode() in body
    assert inside.encode() in xml_of(body)


def test_ids_and_extensions_of_primitives_lie_beside_them() -> None:
    extension = '<extension url="http://x.y/z"><valueCode value="a"/></extension>'
    inside = (
        f'<name><given value="A"/><given id="b">{extension}</given><given value="C"/></name>'
        f'<birthDate id="d" value="2000"/>'
    )
    found = read(inside)
    beside = {"id": "b", "extension": [{"url": "http://x.y/z", "valueCode": "a"}]}
    assert found["name"] == [{"given": ["A", None, "C"], "_given": [None, beside, None]}]
    assert found["birthDate"] == "2000"
    assert found["_birthDate"] == {"id": "d"}
    assert inside.encode() in xml_of(json_of(patient(inside)))


def test_a_list_with_extensions_alone_has_no_values() -> None:
    extension = '<extension url="http://x.y/z"><valueCode value="a"/></extension>'
    found = read(f"<name><given>{extension}</given><given>{extension}</given></name>")
    assert "given" not in found["name"][0]
    assert len(found["name"][0]["_given"]) == 2


def test_a_narrative_is_kept_as_it_is() -> None:
    div = f"{DIV}<!-- kept --><p>a &amp; <b>b</b>\n  c</p></div>"
    found = read(f'<text><status value="generated"/>{div}</text>')
    assert found["text"]["div"] == div
    assert div.encode() in xml_of(
        json_of(patient(f'<text><status value="additional"/>{div}</text>'))
    )
    assert div.encode() in pretty_xml(xml_of(json.dumps(found).encode()))


def test_the_line_ends_of_a_narrative_are_kept() -> None:
    text = {"status": "additional", "div": f"{DIV}a\r\nb</div>"}
    assert json.loads(json_of(written(text=text).encode()))["text"]["div"] == (
        f"{DIV}a&#13;\nb</div>"
    )


def test_a_narrative_does_not_take_declarations_of_the_outside_along() -> None:
    body = (
        f'<Patient xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd">'
        f'<text><status value="empty"/>{DIV}x</div></text></Patient>'
    )
    assert json.loads(json_of(body.encode()))["text"]["div"] == f"{DIV}x</div>"


def test_a_narrative_may_have_a_prefix() -> None:
    div = '<h:div xmlns:h="http://www.w3.org/1999/xhtml">x</h:div>'
    found = read(f'<text><status value="empty"/>{div}</text>')
    assert found["text"]["div"] == div
    assert div.encode() in xml_of(json.dumps(found).encode())


def test_contained_and_bundled_resources_are_wrapped() -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"resource": {"resourceType": "Patient", "contained": [{"resourceType": "Group"}]}}
        ],
    }
    body = xml_of(json.dumps(bundle).encode())
    wrapped = (
        b"<entry><resource><Patient><contained><Group></Group></contained></Patient></resource>"
    )
    assert wrapped in body
    assert json.loads(json_of(body)) == bundle


def test_elements_are_written_in_the_order_of_r4() -> None:
    text = written(gender="male", id="p", active=True, name=[{"given": ["G"], "use": "usual"}])
    assert text.endswith(
        '<id value="p"/><active value="true"/><name><use value="usual"/><given value="G"/></name>'
        '<gender value="male"/></Patient>'
    )


def test_what_xml_would_change_is_written_as_references() -> None:
    value = 'a\n\t"<&>\r b'
    text = written(name=[{"text": value}])
    assert 'value="a&#10;&#9;&quot;&lt;&amp;&gt;&#13; b"' in text
    assert json.loads(json_of(text.encode()))["name"][0]["text"] == value


def test_what_xml_has_no_character_for_is_replaced() -> None:
    assert 'value="a\ufffdb"' in written(name=[{"text": "a\uffffb"}])


def test_comments_and_instructions_are_dropped() -> None:
    body = b"<?xml version='1.0'?><?style x?><!-- a -->" + patient(
        '<!-- b --><active value="true"/><?c?>\n'
    )
    assert json.loads(json_of(body)) == {"resourceType": "Patient", "active": True}


def test_elements_may_have_a_prefix() -> None:
    body = f'<f:Patient xmlns:f="{NAMESPACE}"><f:active value="true"/></f:Patient>'.encode()
    assert json.loads(json_of(body))["active"] is True


REFUSED = {
    "an unknown element": ("\n<colour value='red'/>", "line 2: <colour>", "/Patient/colour"),
    "an unknown inner element": (
        '<name><family value="f"/></name><name><x/></name>',
        "<x> is not an element of name",
        "/Patient/name[2]/x",
    ),
    "an unknown attribute": ('<active value="true" a="b"/>', "no attribute 'a'", "/Patient/active"),
    "an attribute of a complex type": (
        '<name value="x"/>',
        "no attribute 'value'",
        "/Patient/name",
    ),
    "a wrong order": (
        '<gender value="male"/><active value="true"/>',
        "too late",
        "/Patient/active",
    ),
    "one element twice": (
        '<active value="true"/><active value="true"/>',
        "more than once",
        "/Patient/active[2]",
    ),
    "two of a choice": (
        '<deceasedBoolean value="true"/><deceasedDateTime value="2000"/>',
        "deceased is given more than once",
        "/Patient/deceasedDateTime",
    ),
    "text": ("<name>Peter</name>", "'Peter'", "/Patient/name"),
    "an empty element": ("<name/>", "<name> is empty", "/Patient/name"),
    "an empty value": ('<gender value=""/>', "empty value", "/Patient/gender"),
    "no value": ("<gender/>", "neither a value", "/Patient/gender"),
    "no boolean": ('<active value="yes"/>', "'yes' is no boolean", "/Patient/active"),
    "no integer": (
        '<multipleBirthInteger value="1.5"/>',
        "'1.5' is no integer",
        "/Patient/multipleBirthInteger",
    ),
    "no decimal": (
        '<extension url="u"><valueDecimal value="NaN"/></extension>',
        "'NaN' is no decimal",
        "/Patient/extension/valueDecimal",
    ),
    "another namespace": ('<a xmlns="urn:b"/>', "namespace", "/Patient/a"),
    "a narrative of another namespace": (
        '<text><status value="empty"/><div>x</div></text>',
        "http://www.w3.org/1999/xhtml",
        "/Patient/text/div",
    ),
    "two resources in one": (
        "<contained><Group/><Group/></contained>",
        "holds one resource",
        "/Patient/contained",
    ),
    "what is no resource": ("<contained><Meta/></contained>", "Meta", "/Patient/contained/Meta"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_where_it_stands(name: str) -> None:
    inside, what, where = REFUSED[name]
    text = refusal(patient(inside))
    assert text.startswith("line ")
    assert what in text
    assert text.endswith(f"at {where}")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "empty"),
        (b'{"resourceType":"Patient"}', "not well-formed"),
        (b"<Patient/>", "namespace"),
        (b'<Patient xmlns="http://hl7.org/fhir">', "not well-formed"),
        (b'<Patients xmlns="http://hl7.org/fhir"/>', "Patients"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + patient(""), "document type"),
        (b'<!DOCTYPE a SYSTEM "http://x.y/z">' + patient(""), "document type"),
        (patient('<gender value="&nbsp;"/>'), "not well-formed"),
        (patient("").decode().encode("utf-16"), "UTF-8"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?>" + patient(""), "UTF-8"),
        (
            patient('<gender value="\xff"/>'.encode("latin-1").decode("latin-1"))[:-3],
            "not well-formed",
        ),
        (patient('<gender value="a').replace(b"a", b"\xff"), "not well-formed"),
    ],
)
def test_what_is_no_fhir_xml_is_refused(body: bytes, what: str) -> None:
    assert what in refusal(body)


@pytest.mark.parametrize("levels", [101, 5000])
def test_what_is_very_deep_is_refused(levels: int) -> None:
    inside = '<extension url="u">' * levels + "</extension>" * levels
    assert "line" in refusal(patient(inside)) or "depth" in refusal(patient(inside))


_TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"),
    min_size=1,
)
_EXTENSION = st.fixed_dictionaries(
    {
        "url": st.just("http://x.y/z"),
        "valueDecimal": st.decimals(-(10**9), 10**9, places=3).map(str),
    }
)
_BESIDE = st.none() | st.fixed_dictionaries(
    {"extension": st.lists(_EXTENSION, min_size=1, max_size=2)}
)


@st.composite
def _name(draw: st.DrawFn) -> dict[str, Any]:
    pairs = draw(st.lists(st.tuples(st.none() | _TEXT, _BESIDE), min_size=1, max_size=4))
    pairs = [(value, beside) for value, beside in pairs if value is not None or beside is not None]
    name: dict[str, Any] = {"family": draw(_TEXT)}
    if any(value is not None for value, _ in pairs):
        name["given"] = [value for value, _ in pairs]
    if any(beside is not None for _, beside in pairs):
        name["_given"] = [beside for _, beside in pairs]
    return name


@given(st.lists(_name(), min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_resource_comes_back_as_it_was(names: list[dict[str, Any]], is_active: bool) -> None:
    resource = {"resourceType": "Patient", "active": is_active, "name": names}
    # The decimals are written as numbers, with all their digits.
    body = json.dumps(resource)
    for name in names:
        for beside in name.get("_given", ()):
            for each in (beside or {}).get("extension", ()):
                body = body.replace(f'"{each["valueDecimal"]}"', each["valueDecimal"])
    again = json_of(xml_of(body.encode()))
    assert json.loads(again, parse_float=str) == json.loads(body, parse_float=str)
    assert json.loads(json_of(pretty_xml(xml_of(body.encode())))) == json.loads(body)
