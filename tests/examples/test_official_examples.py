"""The 720 official R4 examples: valid, and the same bytes after a round trip."""

import pytest

from fhir_server.fhir import codec
from fhir_server.validation.validate import Validator, is_accepted_early

# Published with mistakes: names and link ids that are required are missing.
KNOWN_BAD = {"ImplementationGuide-fhir", "ig-r4", "Questionnaire-qs1"}
EXPECTED_COUNT = 720

pytestmark = pytest.mark.shared


def test_all_official_examples_are_there(examples: dict[str, bytes]):
    assert len(examples) == EXPECTED_COUNT


def test_every_official_example_is_valid(examples: dict[str, bytes]):
    validator = Validator()
    wrong = {}
    for name, body in examples.items():
        issues = validator.issues(codec.parse(body))
        errors = [each.diagnostics for each in issues if each.severity == "error"]
        if errors:
            wrong[name] = errors[:3]
    assert wrong.keys() == KNOWN_BAD, wrong


def test_at_most_eight_official_examples_have_warnings(examples: dict[str, bytes]):
    # Four refer to types that their definition does not list, four show an empty narrative.
    validator = Validator()
    warned = [
        name
        for name, body in examples.items()
        if name not in KNOWN_BAD and validator.issues(codec.parse(body))
    ]
    assert len(warned) == 8, warned


def test_every_official_example_is_written_as_it_was_read(examples: dict[str, bytes]):
    changed = []
    for name, body in examples.items():
        parsed = codec.parse(body)
        # Their repr tells 1.50 from 1.5, which are equal.
        if repr(codec.parse(codec.encode(parsed))) != repr(parsed):
            changed.append(name)
    assert changed == []


def test_most_official_examples_take_the_fast_road(examples: dict[str, bytes]):
    early = sum(is_accepted_early(codec.parse(body)) for body in examples.values())
    assert early > 0.75 * EXPECTED_COUNT
