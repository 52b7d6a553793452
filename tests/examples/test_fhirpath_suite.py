"""The official FHIRPath suite for R4, on our engine; what fails stands here by name.

The suite is an edition ahead of FHIRPath 2.0, to which R4 refers. Nothing is skipped: a test that
begins to pass fails here until its name is taken off the table.
"""

import tarfile
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir import codec
from fhir_server.fhir.fhirpath import compiled

CONFORMANCE = Path(__file__).parents[2].parent / "shared" / "conformance"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
COUNT = 935

FAILING = {
    "the engine's own reading": """
        testStringIntegerLiteralToQuantity
        testStringQuantityMonthLiteralToQuantity testStringQuantityYearLiteralToQuantity
        testDecimalLiteralConvertsToBoolean testIndexOf5 testStartsWith10
        testReplaceMatches2 testReplace6 testEquivalent21 testEquivalent23
        testNotEquivalent21 testCombine1 testRound1 testPrecedence4 from-zulip-1
        testFHIRPathAsFunction11 testFHIRPathAsFunction16
    """,
    "accepted, with an empty or plain answer, where the suite wants an error": """
        testSimpleFail testSimpleWithWrongContext testPolymorphismB testPolymorphismAsB
        testDollarOrderNotAllowed testLiteralTimeUTC testLiteralTimeTimezoneOffset
        testNotInvalid testCollectionBoolean1 testSingle2 testIif6 testIif10 testPrecedence3
        testPolymorphicsB testFHIRPathAsFunction21 testFHIRPathAsFunction23
        testFHIRPathAsFunction24
    """,
    "dates of different precision or zone, and the type Date": """
        testLiteralDateYear testLiteralDateMonth testLiteralDateDay testLiteralDateTimeYear
        testLiteralDateTimeMonth testLiteralDateTimeDay testDateNotEqualTimezoneOffsetBefore
        testDateNotEqualTimezoneOffsetAfter testDateNotEqualUTC testDateTimeGreaterThanDate2
        testEquality23 testNEquality17
    """,
    "comparing and computing with units": """
        testQuantity7 testQuantity8 testQuantity9 testQuantity10 testQuantity11
        testLessThan22 testLessOrEqual22 testGreatorOrEqual22 testGreaterThan22 testAbs3
    """,
    "its input is not among the official examples": """
        testStartsWithNonString1 testEndsWithNonString1 testContainsNonString1 testTypeA1
        testTypeA2 testTypeA3 testTypeA4 testTypeA testPeriodInvariantOld
        testPeriodInvariantNew testContainedId testPrimitiveExtensions
    """,
    "a function of FHIRPath 3.0, which R4 does not ask for": """
        testMatchesFullWithinUrl1 testMatchesFullWithinUrl3 testMatchesFullWithinUrl4
        testMatchesFullWithinUrl1a testMatchesFullWithinUrl2 testEscapeHtml testEscapeJson
        testUnescapeHtml testUnescapeJson testSort1 testSort2 testSort3 testSort4 testSort5
        testSort6 testSort7 testSort8 testSort9 testSort10 testConformsTo1 testConformsTo2
        LowBoundaryDecimalDefault LowBoundaryDecimal1 LowBoundaryDecimal2
        LowBoundaryDecimal3 LowBoundaryDecimal4 LowBoundaryDecimal5
        LowBoundaryNegDecimalDefault LowBoundaryNegDecimal1 LowBoundaryNegDecimal2
        LowBoundaryNegDecimal3 LowBoundaryNegDecimal4 LowBoundaryNegDecimal5
        LowBoundaryDecimal6 LowBoundaryDecimal7 LowBoundaryDecimal8 LowBoundaryDecimal9
        LowBoundaryDecimal10 LowBoundaryDecimal11 LowBoundaryDecimal12 LowBoundaryDecimal13
        LowBoundaryDecimal14 LowBoundaryDecimal15 LowBoundaryQuantity LowBoundaryDateMonth
        LowBoundaryDateTimeMillisecond1 LowBoundaryDateTimeMillisecond2
        LowBoundaryDateTimeMillisecond3 LowBoundaryTimeMillisecond
        HighBoundaryDecimalDefault HighBoundaryDecimal1 HighBoundaryDecimal2
        HighBoundaryDecimal3 HighBoundaryDecimal4 HighBoundaryDecimal5 HighBoundaryDecimal6
        HighBoundaryDecimal7 HighBoundaryDecimal8 HighBoundaryDecimal9 HighBoundaryDecimal10
        HighBoundaryDecimal11 HighBoundaryDecimal12 HighBoundaryDecimal13
        HighBoundaryDecimal14 HighBoundaryDecimal15 HighBoundaryDecimal16
        HighBoundaryDecimal HighBoundaryQuantity HighBoundaryDateMonth
        HighBoundaryDateTimeMillisecond1 HighBoundaryDateTimeMillisecond2
        HighBoundaryDateTimeMillisecond3 HighBoundaryTimeMillisecond Comparable1 Comparable2
        Comparable3 PrecisionDecimal PrecisionYear PrecisionDateTimeMilliseconds
        PrecisionTimeMinutes PrecisionTimeMilliseconds
    """,
    "arithmetic of dates: the answer is in UTC, or the unit is not taken": """
        testPlusDate3 testPlusDate4 testPlusDate5 testPlusDate6 testPlusDate7 testPlusDate8
        testPlusDate18 testPlusDate19 testPlusDate20 testPlusDate21 testPlusDate22
        testMinus5
    """,
    "the official example lacks the extension that this input has": """
        testFHIRPathIsFunction8 testFHIRPathIsFunction9 testFHIRPathIsFunction10
    """,
}
"""Reason → the names of the tests."""

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not CONFORMANCE.exists(), reason="not run: ../shared/conformance is not here"
    ),
]


def test_the_official_suite() -> None:
    documents = inputs()
    cases = [case for group in suite().iter("group") for case in group.iter("test")]
    failing = [case.attrib["name"] for case in cases if not passes(case, documents)]
    assert len(cases) == COUNT
    assert sorted(failing) == sorted(" ".join(FAILING.values()).split())


def suite() -> ET.Element:
    with tarfile.open(CONFORMANCE / "fhirpath-r4.tar.xz") as archive:
        file = archive.extractfile("r4/fhirpath/tests-fhir-r4.xml")
        assert file is not None
        return ET.fromstring(file.read())


def inputs() -> dict[str, Any]:
    """The official examples in JSON, by the name that they have in XML and in JSON."""
    wanted = {case.get("inputfile", "").rpartition(".")[0] for case in suite().iter("test")}
    found = {}
    with tarfile.open(CONFORMANCE / "r4-json-named.tar.xz") as archive:
        for member in archive:
            name = Path(member.name).stem
            if name in wanted and (file := archive.extractfile(member)) is not None:
                found[name] = codec.parse(file.read())
    return found


def passes(case: ET.Element, documents: dict[str, Any]) -> bool:
    expression = case.find("expression")
    assert expression is not None
    name = case.get("inputfile", "").rpartition(".")[0]
    if name and name not in documents:
        return False
    try:
        found = compiled(expression.text or "").values(documents.get(name, {}), now=NOW)
    except ValueError:
        return expression.get("invalid") is not None
    if case.get("predicate") == "true":
        found = [bool(found)]
    expected = [(each.get("type"), each.text or "") for each in case.findall("output")]
    return (
        expression.get("invalid") is None
        and len(found) == len(expected)
        and all(same(*each) for each in zip(found, expected, strict=True))
    )


def same(found: Any, expected: tuple[str | None, str]) -> bool:
    type_, text = expected
    if isinstance(found, bool):
        return text == str(found).lower()
    if isinstance(found, Decimal) and type_ == "decimal":
        return found == Decimal(text)
    return str(found) == (text.lstrip("@") if type_ in ("date", "dateTime", "time") else text)
