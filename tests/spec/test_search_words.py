"""R4 Search, "Text Search Parameters": `_text`, `_content`, and `:text` on strings."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward


def condition(id_: str, narrative: str | None, **other: Any) -> dict[str, Any]:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{narrative}</div>'
    text = {} if narrative is None else {"text": {"status": "generated", "div": div}}
    return {"resourceType": "Condition", "id": id_, **text, **other}


RESOURCES = [
    condition("bone", "<p>Bone <b>metastases</b>, found late</p>"),
    condition("liver", "liver&#160;metastases &amp; more"),
    condition("none", "Bone and liver are well"),
    condition("accents", "Métastases osseuses — Überbein"),
    condition(
        "coded",
        None,
        code={
            "coding": [{"system": "http://snomed.info/sct", "code": "94222008-x",
                        "display": "Metastasis to bone"}],
        },
        note=[{"text": "Seen by Dr. Müller-Lüdenscheidt"}],
        subject={"reference": "Patient/zebra"},
        onsetDateTime="1999-01-01",
        contained=[{"resourceType": "Practitioner", "id": "p", "name": [{"family": "Holm"}]}],
    ),
    {
        "resourceType": "Patient",
        "id": "anna",
        "name": [{"family": "Smith-Jones", "given": ["Anna Maria"]}],
        "address": [{"line": ["12 High Street"], "city": "Oslo"}],
    },
    {"resourceType": "Patient", "id": "maria", "name": [{"text": "Maria d'Arc"}]},
    {"resourceType": "Patient", "id": "mark", "name": [{"given": ["Mark"]}]},
    {"resourceType": "Patient", "id": "blank"},
]  # fmt: skip

CASES = [
    ("Condition?_text=metastases", "accents bone liver"),
    ("Condition?_text=METASTASES bone", "bone"),
    ("Condition?_text=bone metastases", "bone"),
    ("Condition?_text=metast", "accents bone liver"),
    ("Condition?_text=tastases", ""),
    ("Condition?_text=bone OR liver", "bone liver none"),
    ("Condition?_text=(bone OR liver) and metastases", "bone liver"),
    ("Condition?_text=bone OR liver metastases", "bone liver none"),
    ("Condition?_text=metastases AND NOT liver", "accents bone"),
    ("Condition?_text=NOT metastases", "coded none"),
    ("Condition?_text=bone NOT (late OR well)", ""),
    ("Condition?_text=uberbein", "accents"),
    ("Condition?_text=p", ""),
    ("Condition?_text=amp", ""),
    ("Condition?_text=www", ""),
    ('Condition?_text="metastases"', "accents bone liver"),
    ('Condition?_text="metast"', ""),
    ("Condition?_text=late,well", "bone none"),
    ("Condition?_text=found&_text=late", "bone"),
    ("Condition?_text:missing=true", "coded"),
    ("Condition?_text:missing=false", "accents bone liver none"),
    ("Condition?_content=bone", "bone coded none"),
    ("Condition?_content=metastasis bone", "coded"),
    ("Condition?_content=94222008-x", "coded"),
    ("Condition?_content=muller", "coded"),
    ("Condition?_content=holm", "coded"),
    ("Condition?_content=zebra", ""),
    ("Condition?_content=1999", ""),
    ("Condition?_content=snomed", ""),
    ("Condition?_content=bone -metastases", "bone"),
    ("Condition?_content:missing=false&_id=coded", "coded"),
    ("Patient?_content=maria oslo", "anna"),
    ("Patient?name:text=maria", "anna maria"),
    ("Patient?name:text=maria jones", "anna"),
    ("Patient?name:text=jon", "anna"),
    ("Patient?name:text=mar", "anna maria mark"),
    ('Patient?name:text="mark"', "mark"),
    ('Patient?name:text="mar"', ""),
    ('Patient?name:text="maria"', "anna maria"),
    ("Patient?name:text=maria NOT smith", "maria"),
    ("Patient?name:text=arc OR mark", "maria mark"),
    ("Patient?given:text=maria", "anna"),
    ("Patient?given=maria", ""),
    ("Patient?address:text=street", "anna"),
    ("Patient?address:text=12 street", "anna"),
    ("Patient?address:text=treet", ""),
]


@pytest.mark.parametrize(("query", "ids"), CASES)
async def test_words_are_found(query: str, ids: str, tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert " ".join(sorted(await searched.ids(query))) == ids


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('Condition?_text="bone metastases"', "phrases are not supported"),
        ("Condition?_text=-", "'-' is no word"),
        ("Condition?_text=", "has no value"),
        ("Condition?_text=bone OR", "a word is missing"),
        ("Condition?_text=OR bone", "a word is missing"),
        ("Condition?_text=AND bone", "a word is missing"),
        ("Condition?_text=bone AND", "a word is missing"),
        ("Condition?_text=bone and and liver", "a word is missing"),
        ("Condition?_text=NOT", "a word is missing after NOT"),
        ("Condition?_text=(bone", "left open"),
        ("Condition?_text=bone)", "a parenthesis without its other"),
        ("Condition?_text=()", "a word is missing"),
        ('Condition?_text="bone', "a quotation mark without its other"),
        ("Condition?_text=" + "(" * 12 + "a" + ")" * 12, "more than 10 parentheses"),
        ("Condition?_text=" + "a " * 51, "more than 50 words"),
        ("Condition?_text:exact=a", "no modifier of a string"),
        ("Condition?_sort=_text", "_text is a string and has no order"),
        ("Binary?_text=a", "not a search parameter"),
        ('Patient?name:text="anna maria"', "phrases are not supported"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(FhirError) as refusal:
        plan(query)
    assert refusal.value.status == 400
    assert words in str(refusal.value)
