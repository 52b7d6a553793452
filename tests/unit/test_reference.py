"""References and canonicals taken apart."""

import pytest

from fhir_server.fhir.reference import parse_canonical, parse_reference, relative_to


@pytest.mark.parametrize(
    ("text", "kind", "type_name", "id", "version"),
    [
        ("Patient/1", "relative", "Patient", "1", None),
        ("Patient/a-b.C/_history/2", "relative", "Patient", "a-b.C", "2"),
        ("http://a.org/fhir/Patient/1", "absolute", "Patient", "1", None),
        ("https://a.org/x/y/Patient/1/_history/3", "absolute", "Patient", "1", "3"),
        ("#p", "contained", None, "p", None),
        ("#", "contained", None, None, None),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "urn", None, None, None),
        ("urn:oid:1.2.3", "urn", None, None, None),
        ("http://a.org/Thing/1", "url", None, None, None),
        ("Patient?identifier=a|b", "conditional", "Patient", None, None),
    ],
)
def test_a_reference_is_taken_apart(text, kind, type_name, id, version):
    found = parse_reference(text)
    assert (found.kind, found.type, found.id, found.version) == (kind, type_name, id, version)
    assert found.text == text


def test_an_absolute_reference_names_its_service():
    assert parse_reference("https://a.org/fhir/Patient/1").service == "https://a.org/fhir"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Patient 1", "not a reference"),
        ("Patient/", "not a reference"),
        ("Patient", "not a reference"),
        ("", "not a reference"),
        ("patient/1", "'patient', which is not a resource type"),
        ("Thing/1", "'Thing', which is not a resource type"),
        ("Patient/a b", "not a reference"),
        ("Patient/" + "x" * 65, "not a reference"),
        ("Patient/é", "not a reference"),
        ("/Patient/1", "not a reference"),
        ("Resource/1", "not a resource type"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_reference(text)


def test_a_canonical_is_split_at_version_and_fragment():
    assert parse_canonical("http://a.org/V|1.0#x") == ("http://a.org/V", "1.0", "x")
    assert parse_canonical("http://a.org/V") == ("http://a.org/V", None, None)
    assert parse_canonical("#x") == ("", None, "x")
    with pytest.raises(ValueError, match="canonical"):
        parse_canonical("a b")


def test_the_servers_own_base_is_taken_off():
    assert relative_to("http://a.org/fhir/Patient/1", "http://a.org/fhir/") == "Patient/1"
    assert relative_to("http://b.org/fhir/Patient/1", "http://a.org/fhir") == (
        "http://b.org/fhir/Patient/1"
    )
