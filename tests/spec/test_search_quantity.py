"""R4 Search, "quantity": value, value|system|code, value||code; UCUM across units; composites."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import plan, ward

UCUM, LOINC = "http://unitsofmeasure.org", "http://loinc.org"


def quantity(value: float, code: str | None = None, unit: str | None = None, **more: Any) -> Any:
    coded = {"system": UCUM, "code": code} if code else {}
    text = {"unit": unit} if unit else {}
    return {"value": value, **coded, **text, **more}


def observation(id: str, **value: Any) -> dict[str, Any]:
    code = {"coding": [{"system": LOINC, "code": value.pop("code", "x")}]}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code, **value}


RESOURCES = [
    observation("mg", valueQuantity=quantity(5.4, "mg", "milligram")),
    observation("g", valueQuantity=quantity(0.0054, "g")),
    observation("plain", valueQuantity=quantity(5.4)),
    observation("text", valueQuantity=quantity(5.4, None, "mg")),
    observation("kg", valueQuantity=quantity(5.4, "kg")),
    observation("odd", valueQuantity={"value": 5.4, "system": "http://x", "code": "mg"}),
    observation("more", valueQuantity=quantity(5.46, "mg")),
    observation("below", valueQuantity=quantity(5, "mg", comparator="<")),
    observation("atleast", valueQuantity=quantity(6, "mg", comparator=">=")),
    observation("cold", valueQuantity=quantity(35, "Cel")),
    observation("fahrenheit", valueQuantity=quantity(98.6, "[degF]")),
]
ALL = {each["id"] for each in RESOURCES}

CASES = [
    ("5.4", {"mg", "plain", "text", "kg", "odd"}),
    ("5.40", {"mg", "plain", "text", "kg", "odd"}),
    ("5.5", {"more"}),
    (f"5.4|{UCUM}|mg", {"mg", "g"}),
    (f"5.4e-3|{UCUM}|g", {"mg", "g"}),
    (f"0.0054|{UCUM}|g", {"mg", "g"}),
    (f"5400|{UCUM}|ug", {"mg", "g"}),
    (f"5.4|{UCUM}|g", set()),
    (f"5400|{UCUM}|g", {"kg"}),
    ("5.4|http://x|mg", {"odd"}),
    ("5.4|http://y|mg", set()),
    ("5.4||mg", {"mg", "text", "odd"}),
    ("5.4||milligram", {"mg"}),
    ("5.4||g", set()),
    (f"gt5.4|{UCUM}|mg", {"more", "kg", "atleast"}),
    (f"ge5.4|{UCUM}|mg", {"mg", "g", "more", "kg", "atleast"}),
    (f"lt5.4|{UCUM}|mg", {"below"}),
    (f"le5.4|{UCUM}|mg", {"mg", "g", "below"}),
    (f"ge5|{UCUM}|mg", {"mg", "g", "more", "kg", "atleast"}),
    (f"lt0|{UCUM}|mg", {"below"}),
    (f"gt1000000|{UCUM}|mg", {"kg", "atleast"}),
    (f"sa5.9|{UCUM}|mg", {"kg", "atleast"}),
    (f"sa6|{UCUM}|mg", {"kg"}),
    (f"eb5|{UCUM}|mg", {"below"}),
    (f"eb4.9|{UCUM}|mg", set()),
    (f"ap5.4|{UCUM}|mg", {"mg", "g", "more", "below"}),
    (f"ne5.4|{UCUM}|mg", {"more", "kg", "below", "atleast"}),
    (f"35.0|{UCUM}|Cel", {"cold"}),
    (f"37.0|{UCUM}|Cel", {"fahrenheit"}),
    (f"ap37|{UCUM}|Cel", {"cold", "fahrenheit"}),
    (f"ap30|{UCUM}|Cel", set()),
    (f"308.15|{UCUM}|K", {"cold"}),
    (f"5.4|{UCUM}|nonsense", set()),
]


@pytest.mark.parametrize(("value", "expected"), CASES)
async def test_quantities_are_found(value: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(f"Observation?value-quantity={value}") == expected


async def test_ranges_money_and_samples_are_quantities_too(tmp_path: Path) -> None:
    condition = {
        "resourceType": "Condition",
        "id": "age",
        "subject": {"display": "x"},
        "onsetRange": {"low": quantity(40, "a"), "high": quantity(50, "a")},
    }
    invoice = {
        "resourceType": "Invoice",
        "id": "bill",
        "status": "issued",
        "totalNet": {"value": 12.5, "currency": "EUR"},
    }
    sampled = {
        "origin": quantity(2, "mV"),
        "period": 10,
        "factor": 2,
        "dimensions": 1,
        "data": "-1 0 E 4 U",
    }
    others = [condition, invoice, observation("ecg", valueSampledData=sampled)]
    async with ward(tmp_path, others) as searched:
        assert await searched.ids(f"Condition?onset-age=gt45|{UCUM}|a") == {"age"}
        assert await searched.ids(f"Condition?onset-age=gt50|{UCUM}|a") == set()
        assert await searched.ids(f"Condition?onset-age=4.5e1|{UCUM}|a") == set()
        assert await searched.ids(f"Condition?onset-age=sa39|{UCUM}|a") == {"age"}
        assert await searched.ids("Invoice?totalnet=12.5|urn:iso:std:iso:4217|EUR") == {"bill"}
        assert await searched.ids("Invoice?totalnet=12.5||USD") == set()
        assert await searched.ids(f"Observation?value-quantity=ge10|{UCUM}|mV") == {"ecg"}
        assert await searched.ids(f"Observation?value-quantity=gt10|{UCUM}|mV") == set()
        assert await searched.ids(f"Observation?value-quantity=le0|{UCUM}|mV") == {"ecg"}


@pytest.mark.parametrize(
    "value", ["abc", "5.4|mg", f"5.4|{UCUM}|", "5.4||", "5.4|a|b|c", "xx5.4", "|a|b"]
)
def test_malformed_quantities_are_refused_by_name(value: str) -> None:
    with pytest.raises(FhirError, match="value-quantity") as refusal:
        plan(f"Observation?value-quantity={value}")
    assert refusal.value.status == 400


def component(code: str, value: float) -> dict[str, Any]:
    coded = {"coding": [{"system": LOINC, "code": code}]}
    return {"code": coded, "valueQuantity": quantity(value, "mm[Hg]")}


PRESSURES = [
    observation("high", component=[component("8480-6", 160), component("8462-4", 90)]),
    observation("low", component=[component("8480-6", 90), component("8462-4", 160)]),
    observation("alone", code="8480-6", valueQuantity=quantity(160, "mm[Hg]")),
]

PAIRS = [
    ("component-code-value-quantity=8480-6$gt150", {"high"}),
    ("component-code-value-quantity=8462-4$gt150", {"low"}),
    ("component-code-value-quantity=8480-6$lt150", {"low"}),
    (f"component-code-value-quantity={LOINC}|8480-6$160|{UCUM}|mm[Hg]", {"high"}),
    ("component-code-value-quantity=8480-6$gt200", set()),
    ("component-code-value-quantity=8480-6$160,8462-4$160", {"high", "low"}),
    ("combo-code-value-quantity=8480-6$160", {"high", "alone"}),
    ("code-value-quantity=8480-6$160", {"alone"}),
    ("code-value-quantity=8480-6,8462-4$160", {"alone"}),
    ("code-value-quantity=8480-6$ap150", {"alone"}),
    ("code-value-quantity:missing=true", {"high", "low"}),
]


@pytest.mark.parametrize(("query", "expected"), PAIRS)
async def test_components_come_from_one_element(
    query: str, expected: set[str], tmp_path: Path
) -> None:
    async with ward(tmp_path, PRESSURES) as searched:
        assert await searched.ids(f"Observation?{query}") == expected


@pytest.mark.parametrize("value", ["8480-6", "8480-6$", "$160", "a$1$2", "8480-6$abc"])
def test_malformed_composites_are_refused_by_name(value: str) -> None:
    with pytest.raises(FhirError, match="code-value-quantity") as refusal:
        plan(f"Observation?code-value-quantity={value}")
    assert refusal.value.status == 400
