"""Accept and `_format`: which form is wanted most (RFC 9110, 12.5.1)."""

import pytest

from fhir_server.fhir.media_types import accepted, formatted, quality, ranges_of, sent_as

JSON, XML = "application/fhir+json", "application/fhir+xml"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        (f"{JSON};q=0, */*", "application/json"),
        (f"*/*, {JSON};q=0, application/json;q=0", XML),
        (f"{XML}, {JSON}", XML),
        (f"{JSON}, {XML}", JSON),
        (f"*/*, {XML}", XML),
        (f"{XML};q=0.4, */*;q=0.5", JSON),
        ("text/*", "text/json"),
        ("TEXT/XML", "text/xml"),
        (f"{XML};q=nan, {JSON};q=0.1", JSON),
        (f"{XML};q=7, {JSON};q=0.1", JSON),
        (f"{XML};q=much, {JSON};q=0.1", JSON),
        (f" , {XML} ,", XML),
        (f"{XML};fhirVersion=3.0", None),
        ("image/png", None),
        ("", None),
        ("*/*;q=0", None),
        (", ".join(["a/b"] * 100 + [XML]), None),
    ],
)
def test_the_form_that_is_wanted_most(accept: str, expected: str | None) -> None:
    found = accepted(accept)
    assert (found and found.name) == expected


def test_the_most_exact_range_gives_the_weight() -> None:
    ranges = ranges_of("*/*;q=0.1, image/*;q=0.5, image/png;q=0.2")
    weights = [quality(ranges, name) for name in ("image/png", "image/gif", "text/plain")]
    assert weights == [0.2, 0.5, 0.1]
    assert quality(ranges, "text/plain", at_least=2) == 0


@pytest.mark.parametrize("format", ["ttl", "html", "", "application/fhir+json;fhirVersion=5.0"])
def test_a_format_that_is_not_spoken_is_none(format: str) -> None:
    assert formatted(format) is None


@pytest.mark.parametrize(
    ("content_type", "syntax"),
    [
        (JSON, "json"),
        (f'{XML}; charset="UTF-8"; fhirVersion=4.0.1', "xml"),
        (f"{XML};charset=latin-1", None),
        (f"{XML};fhirVersion=4.3", None),
        ("application/fhir+ndjson", None),
    ],
)
def test_a_body_is_in_the_form_that_it_says(content_type: str, syntax: str | None) -> None:
    found = sent_as(content_type)
    assert (found and found.syntax) == syntax
