"""R4 Search, "token": code, system|code, |code, system|; :not, :text, :of-type."""

from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward

LOINC, SCT = "http://loinc.org", "http://snomed.info/sct"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"


def observation(id: str, *codings: dict[str, str], **other: object) -> dict[str, object]:
    concept = {"coding": list(codings)} if codings else {"text": "nothing coded"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": concept, **other}


RESOURCES = [
    observation("weight", {"system": LOINC, "code": "29463-7", "display": "Body weight"}),
    observation("both", {"system": LOINC, "code": "29463-7"}, {"system": SCT, "code": "27113001"}),
    observation("bare", {"code": "29463-7"}),
    observation("longer", {"system": LOINC, "code": "29463-70"}),
    observation("words", status="amended"),
    observation("system", {"system": LOINC}),
    observation("odd", {"system": "a,b", "code": "x|y$z\\w"}),
    {
        "resourceType": "Patient",
        "id": "pat",
        "active": True,
        "gender": "male",
        "identifier": [
            {
                "system": "urn:oid:1.2",
                "value": "12345",
                "type": {"coding": [{"system": V2, "code": "MR"}], "text": "Record number"},
            },
            {"value": "777"},
        ],
        "telecom": [
            {"system": "phone", "use": "work", "value": "(03) 5555 6473"},
            {"system": "email", "value": "p@example.org"},
        ],
        "deceasedDateTime": "2020",
    },
    {"resourceType": "Patient", "id": "alive", "active": False, "deceasedBoolean": False},
    {"resourceType": "ValueSet", "id": "vs", "status": "draft", "version": "V1"},
]

CASES = [
    ("Observation?code=29463-7", {"weight", "both", "bare"}),
    ("Observation?code=29463", set()),
    (f"Observation?code={LOINC}|29463-7", {"weight", "both"}),
    (f"Observation?code={SCT}|29463-7", set()),
    ("Observation?code=|29463-7", {"bare"}),
    (f"Observation?code={LOINC}|", {"weight", "both", "longer", "system"}),
    (f"Observation?code={SCT}|", {"both"}),
    ("Observation?code=29463-70,27113001", {"longer", "both"}),
    ("Observation?code=29463-7&code=27113001", {"both"}),
    ("Observation?code=BODY", set()),
    (r"Observation?code=a\,b|x\|y\$z\\w", {"odd"}),
    (r"Observation?code=x\|y\$z\\w", {"odd"}),
    ("Observation?code:not=29463-7", {"longer", "words", "system", "odd"}),
    ("Observation?code:not=29463-7,29463-70", {"words", "system", "odd"}),
    ("Observation?category:not=x", {"weight", "both", "bare", "longer", "words", "system", "odd"}),
    ("Observation?code:text=weight", {"weight"}),
    ("Observation?code:text=BODY wei", {"weight"}),
    ("Observation?code:text=eight", set()),
    ("Observation?code:text=coded", {"words"}),
    ("Observation?status=final", {"weight", "both", "bare", "longer", "system", "odd"}),
    ("Observation?status=http://hl7.org/fhir/observation-status|amended", {"words"}),
    ("Observation?status=http://other|amended", set()),
    ("Observation?status=FINAL", set()),
    ("Observation?_id=weight", {"weight"}),
    ("Observation?_id=weight,bare,none", {"weight", "bare"}),
    ("Observation?_id=wei", set()),
    ("Observation?_id=|weight", {"weight"}),
    (f"Observation?_id={LOINC}|weight", set()),
    ("Observation?_id:not=weight", {"both", "bare", "longer", "words", "system", "odd"}),
    ("Patient?identifier=12345", {"pat"}),
    ("Patient?identifier=urn:oid:1.2|12345", {"pat"}),
    ("Patient?identifier=|12345", set()),
    ("Patient?identifier=|777", {"pat"}),
    (f"Patient?identifier:of-type={V2}|MR|12345", {"pat"}),
    (f"Patient?identifier:of-type={V2}|MR|777", set()),
    (f"Patient?identifier:of-type={V2}|SB|12345", set()),
    ("Patient?identifier:text=record", {"pat"}),
    ("Patient?active=true", {"pat"}),
    ("Patient?active=false", {"alive"}),
    ("Patient?active=garbage", set()),
    ("Patient?deceased=true", {"pat"}),
    ("Patient?deceased=false", {"alive"}),
    ("Patient?gender:missing=true", {"alive"}),
    ("Patient?phone=(03) 5555 6473", {"pat"}),
    ("Patient?phone=p@example.org", set()),
    ("Patient?telecom=p@example.org", {"pat"}),
    ("Patient?telecom=work|(03) 5555 6473", {"pat"}),
    ("Patient?telecom=home|(03) 5555 6473", set()),
    ("ValueSet?version=v1", {"vs"}),
    ("ValueSet?version=v", set()),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_tokens_are_found(query: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(query) == expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Observation?code=a|b|c", "code: 'a|b|c' is not"),
        ("Observation?code=|", "code"),
        ("Observation?code=", "code has no value"),
        ("Observation?code:exact=x", "no modifier of a token"),
        ("Observation?code:in=http://x", "code:in: value sets cannot be looked up here"),
        ("Observation?code:not-in=http://x", "code:not-in: value sets cannot"),
        ("Observation?_id:text=x", "_id:text"),
        ("Patient?identifier:of-type=MR|12345", "system.code.value"),
        ("Observation?kode=x", "did you mean code"),
        ("Observation?_score=x", "_score is not supported"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError) as refusal:
        plan(query)
    assert refusal.value.status == 400
    assert words.replace(".", "|") in str(refusal.value)


async def test_tags_profiles_and_security_labels_are_found_on_any_type(tmp_path: Path) -> None:
    meta = {
        "profile": ["http://example.org/p"],
        "tag": [{"system": "http://t", "code": "a"}],
        "security": [{"system": "http://s", "code": "R"}],
        "source": "urn:feed:1",
    }
    devices = [
        {"resourceType": "Device", "id": "a", "meta": meta},
        {"resourceType": "Device", "id": "b"},
    ]
    async with ward(tmp_path, devices) as searched:
        for query in (
            "_tag=http://t|a",
            "_profile=http://example.org/p",
            "_security=R",
            "_source=urn:feed:1",
        ):
            assert await searched.ids(f"Device?{query}") == {"a"}
            assert await searched.ids(f"Device?{query}x") == set()
        assert await searched.ids("Device?_tag:missing=true") == {"b"}
