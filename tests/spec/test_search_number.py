"""R4 Search, "number": implied precision for eq, ne and ap; exact for the other prefixes."""

from pathlib import Path

import pytest

from fhir_server.fhir.outcome import FhirError
from tests.search_ward import Resource, plan, ward


def sequence(id: str, *starts: int) -> Resource:
    variants = [{"start": start} for start in starts]
    return {
        "resourceType": "MolecularSequence",
        "id": id,
        "coordinateSystem": 0,
        "variant": variants,
    }


def risk(id: str, *predictions: dict[str, object]) -> Resource:
    return {
        "resourceType": "RiskAssessment",
        "id": id,
        "status": "final",
        "subject": {"display": "x"},
        "prediction": list(predictions),
    }


def between(low: float, high: float) -> dict[str, object]:
    return {"probabilityRange": {"low": {"value": low}, "high": {"value": high}}}


RESOURCES = [
    sequence("99", 99),
    sequence("100", 100),
    sequence("101", 101),
    sequence("104", 104),
    sequence("110", 110),
    sequence("minus", -5),
    sequence("two", 1, 1000),
    risk("half", {"probabilityDecimal": 0.5}),
    risk("more", {"probabilityDecimal": 0.504}),
    risk("range", between(0.2, 0.4)),
    risk("ranges", between(0.1, 0.45), between(0.25, 0.9)),
]

START = [
    ("100", {"100"}),
    ("1e2", {"99", "100", "101", "104"}),
    ("1.00e2", {"100"}),
    ("100.00", {"100"}),
    ("100.4", set()),
    ("-5", {"minus"}),
    ("5", set()),
    ("ne100", {"99", "101", "104", "110", "minus", "two"}),
    ("gt100", {"101", "104", "110", "two"}),
    ("ge100", {"100", "101", "104", "110", "two"}),
    ("lt100", {"99", "minus", "two"}),
    ("le100", {"99", "100", "minus", "two"}),
    ("sa100", {"101", "104", "110", "two"}),
    ("eb100", {"99", "minus", "two"}),
    ("ap100", {"99", "100", "101", "104", "110"}),
    ("ap-5", {"minus"}),
    ("gt-6", {"99", "100", "101", "104", "110", "minus", "two"}),
    ("lt-5", set()),
    ("99,101", {"99", "101"}),
]


@pytest.mark.parametrize(("value", "expected"), START)
async def test_whole_numbers_are_found(value: str, expected: set[str], tmp_path: Path) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(f"MolecularSequence?variant-start={value}") == expected


PROBABILITY = [
    ("0.5", {"half", "more"}),
    ("0.50", {"half", "more"}),
    ("0.500", {"half"}),
    ("0.3", set()),  # 0.25 to 0.35 does not contain all of 0.2 to 0.4
    ("3e-1", set()),
    ("gt0.4", {"half", "more", "ranges"}),
    ("ge0.4", {"half", "more", "range", "ranges"}),
    ("lt0.2", {"ranges"}),
    ("le0.2", {"range", "ranges"}),
    ("sa0.2", {"half", "more", "ranges"}),
    ("eb0.45", {"range"}),
    ("eb0.5", {"range", "ranges"}),
    ("ap0.43", {"range", "ranges"}),
    ("ne0.5", {"range", "ranges"}),
]


@pytest.mark.parametrize(("value", "expected"), PROBABILITY)
async def test_decimals_and_ranges_are_found(
    value: str, expected: set[str], tmp_path: Path
) -> None:
    async with ward(tmp_path, RESOURCES) as searched:
        assert await searched.ids(f"RiskAssessment?probability={value}") == expected


async def test_both_bounds_of_a_range_count_together(tmp_path: Path) -> None:
    inside = [risk("one", between(0.28, 0.32)), risk("two", between(0.1, 0.3), between(0.3, 0.9))]
    async with ward(tmp_path, inside) as searched:
        assert await searched.ids("RiskAssessment?probability=0.3") == {"one"}


@pytest.mark.parametrize("value", ["abc", "1.2.3", "xx5", "1,", "0x10", "NaN", "1e9999", "eq"])
def test_malformed_numbers_are_refused_by_name(value: str) -> None:
    with pytest.raises(FhirError, match="variant-start") as refusal:
        plan(f"MolecularSequence?variant-start={value}")
    assert refusal.value.status == 400
